"""The thread that reads the ledger for those who ask: a page of receipts holds up no vote."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_Answer = TypeVar("_Answer")


class Reader:
    """One thread, for questions that take a while."""

    def __init__(self) -> None:
        """Start it with the first question."""
        self._thread = ThreadPoolExecutor(1, "queries")

    async def read(self, question: Callable[[], _Answer]) -> _Answer:
        """Ask on the thread, and wait."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, question)

    def close(self) -> None:
        """End the reading, before the store under it is closed."""
        self._thread.shutdown(wait=True)
