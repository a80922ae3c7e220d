"""Requests that come one by one from many, served together: a turn for each would cost too much.

After a pause the first one is served at once, so whoever comes alone waits for nobody. What comes
within the pause after it waits until that has passed, and is served together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Request = TypeVar("Request")
Answer = TypeVar("Answer")


class Gathering(Generic[Request, Answer]):
    """Collects requests on the running event loop, and hands them over in order."""

    def __init__(
        self,
        serve: Callable[[Sequence[Request]], Awaitable[Sequence[Answer]]],
        *,
        forget: Callable[[Answer], None],
        pause_ms: int,
        requests_max: int,
    ) -> None:
        """`serve` gives an answer to each; `forget` takes one whose asker has gone.

        At most `requests_max` are handed over together.
        """
        self._serve, self._forget = serve, forget
        self._pause_s, self._requests_max = pause_ms / 1_000, requests_max
        self._waiting: list[tuple[Request, asyncio.Future[Answer]]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._ready_at_s = 0.0
        self._tasks: dict[asyncio.Task[None], None] = {}

    async def ask(self, request: Request) -> Answer:
        """Have a request served with others; raises what serving them raised."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, answer))
        self._arm()
        return await answer

    def _arm(self) -> None:
        if self._timer is None and self._waiting:
            loop = asyncio.get_running_loop()
            wait_s = max(self._ready_at_s - loop.time(), 0.0)
            self._timer = loop.call_later(wait_s, self._hand_over)

    def _hand_over(self) -> None:
        loop, self._timer = asyncio.get_running_loop(), None
        self._ready_at_s = loop.time() + self._pause_s
        together = self._waiting[: self._requests_max]
        del self._waiting[: self._requests_max]
        task = loop.create_task(self._answer(together))
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))
        self._arm()

    async def _answer(self, together: Sequence[tuple[Request, asyncio.Future[Answer]]]) -> None:
        asked = [(request, answer) for request, answer in together if not answer.done()]
        if not asked:
            return
        try:
            served = await self._serve([request for request, _ in asked])
        except Exception as error:  # noqa: BLE001 - it is raised where each of them was asked
            for _, answer in asked:
                if not answer.done():
                    answer.set_exception(error)
            return
        for (_, answer), value in zip(asked, served, strict=True):
            if answer.done():
                self._forget(value)
            else:
                answer.set_result(value)
