"""When a step looks for consequences, and when it sets the timers: not where nothing can follow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from node.chain.certificate import Phase
from node.consensus.core import Core
from node.consensus.events import (
    Event,
    PoolChanged,
    StatusReceived,
    Tick,
    ViewChangeReceived,
    VoteReceived,
)
from node.consensus.messages import Status
from tests.unit.consensus.rig import FIRST, SECOND, Rig
from tests.unit.consensus.signing import view_change, vote

NOTHING = (0, 0)
TIMERS = (0, 1)
ALL = (1, 1)

Looks = Counter[str]


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    """How often consequences were drawn and timers run since the last `clear`."""
    counted: Looks = Counter()
    for name in ("_progress", "_run_timers"):
        monkeypatch.setattr(Core, name, _counting(getattr(Core, name), counted, name))
    return counted


def _counting(
    method: Callable[[Core, object], None], counted: Looks, name: str
) -> Callable[[Core, object], None]:
    def counting(core: Core, now: object) -> None:
        counted[name] += 1
        method(core, now)

    return counting


def commit(voter: int) -> Event:
    return VoteReceived(vote(Phase.COMMIT, 0, FIRST.header, voter))


def prepare(voter: int) -> Event:
    return VoteReceived(vote(Phase.PREPARE, 0, FIRST.header, voter))


def status(height: int) -> Event:
    return StatusReceived(1, Status(0, 0, view_active=True, height=height))


def at_rest() -> Rig:
    """Return a core that has work, and of the first height two PREPAREs of three."""
    return Rig().feed(PoolChanged(pending=True)).prepare(FIRST).feed(Tick())


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (Tick(), NOTHING),
        (commit(0), NOTHING),
        (prepare(0), NOTHING),
        (prepare(1), ALL),
        (VoteReceived(vote(Phase.PREPARE, 0, SECOND.header, 1)), NOTHING),
        (status(0), TIMERS),
        (PoolChanged(pending=False), TIMERS),
        (PoolChanged(pending=True), ALL),
    ],
)
def test_a_step_looks_only_where_something_can_follow(
    looks: Looks, event: Event, expected: tuple[int, int]
) -> None:
    rig = at_rest()
    looks.clear()
    rig.feed(event)
    assert (looks["_progress"], looks["_run_timers"]) == expected


def test_a_vote_below_the_quorum_tells_who_has_the_bodies_that_are_awaited(looks: Looks) -> None:
    rig = Rig().propose(FIRST)
    looks.clear()
    rig.feed(commit(2))
    assert (looks["_progress"], looks["_run_timers"]) == ALL


def test_timers_run_when_one_is_due_and_not_a_millisecond_sooner(looks: Looks) -> None:
    rig = at_rest()
    looks.clear()
    rig.last(rig.core.deadline() - rig.now_ms - 1)
    assert (looks["_progress"], looks["_run_timers"]) == NOTHING
    rig.last(1)
    assert looks["_run_timers"] == 1


@pytest.mark.parametrize("event", [Tick(), commit(0), status(0), PoolChanged(pending=False)])
def test_another_opinion_of_the_own_clock_can_have_consequences(looks: Looks, event: Event) -> None:
    rig = at_rest()
    looks.clear()
    rig.clock_is_fit = False
    rig.feed(event)
    assert (looks["_progress"], looks["_run_timers"]) == ALL


@pytest.mark.parametrize(
    "leaving", [Rig.leave, lambda rig: rig.feed(ViewChangeReceived(view_change(1, 1)))]
)
def test_while_anybody_is_leaving_every_step_looks(
    looks: Looks, leaving: Callable[[Rig], Rig]
) -> None:
    rig = leaving(at_rest())
    looks.clear()
    rig.feed(commit(0)).feed(Tick())
    assert looks["_progress"] == 2
