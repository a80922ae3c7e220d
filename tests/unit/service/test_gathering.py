"""Who comes alone is served at once, who comes among others with them, and each gets its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from node.service.gathering import Gathering

LONG_MS = 3_600_000
SHORT_MS = 20


@dataclass
class Served:
    """Answers with the request doubled; what was asked together is noted, and what is forgotten."""

    together: list[list[int]] = field(default_factory=list)
    forgotten: list[int] = field(default_factory=list)
    has_begun: asyncio.Event = field(default_factory=asyncio.Event)
    may_go_on: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.may_go_on.set()

    async def serve(self, requests: Sequence[int]) -> list[int]:
        self.together.append([*requests])
        self.has_begun.set()
        await self.may_go_on.wait()
        if 0 in requests:
            raise ZeroDivisionError
        return [2 * request for request in requests]

    def gathering(self, *, pause_ms: int, requests_max: int = 100) -> Gathering[int, int]:
        return Gathering(
            self.serve, forget=self.forgotten.append, pause_ms=pause_ms, requests_max=requests_max
        )


async def test_who_comes_alone_waits_for_nobody() -> None:
    served = Served()
    assert await served.gathering(pause_ms=LONG_MS).ask(1) == 2
    assert served.together == [[1]]


async def test_what_comes_within_the_pause_is_served_together_and_in_order() -> None:
    served = Served()
    gathering = served.gathering(pause_ms=SHORT_MS)
    assert await gathering.ask(1) == 2
    assert await asyncio.gather(*map(gathering.ask, (2, 3, 4))) == [4, 6, 8]
    assert served.together == [[1], [2, 3, 4]]


async def test_no_more_than_allowed_are_served_together() -> None:
    served = Served()
    gathering = served.gathering(pause_ms=1, requests_max=2)
    assert await asyncio.gather(*map(gathering.ask, range(1, 6))) == [2, 4, 6, 8, 10]
    assert served.together == [[1, 2], [3, 4], [5]]


async def test_an_error_is_raised_where_each_was_asked_and_ends_nothing() -> None:
    served = Served()
    gathering = served.gathering(pause_ms=1)
    outcomes = await asyncio.gather(*map(gathering.ask, (1, 0)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ZeroDivisionError] * 2
    assert await gathering.ask(3) == 6


async def test_who_has_gone_is_not_served_and_what_it_would_have_got_is_forgotten() -> None:
    served = Served()
    gathering = served.gathering(pause_ms=SHORT_MS)
    early, stays = asyncio.create_task(gathering.ask(1)), asyncio.create_task(gathering.ask(2))
    await asyncio.sleep(0)  # lets both ask
    early.cancel()
    assert await stays == 4
    assert served.together == [[2]]
    served.has_begun.clear()
    served.may_go_on.clear()
    late, waits = asyncio.create_task(gathering.ask(3)), asyncio.create_task(gathering.ask(4))
    await served.has_begun.wait()
    late.cancel()
    await asyncio.sleep(0)  # lets it go
    served.may_go_on.set()
    assert await waits == 8
    assert served.together == [[2], [3, 4]]
    assert served.forgotten == [6]
    with pytest.raises(asyncio.CancelledError):
        await late
