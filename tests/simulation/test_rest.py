"""What a core leaves out of a step for which nothing has changed would have come to nothing."""

from __future__ import annotations

import pytest

from node.consensus.core import Core
from node.consensus.events import Action, Event, Now
from tests.simulation.runs import run_seed

_OF_A_STEP = ("_out", "_clock")


def _remembered(core: Core) -> dict[str, str]:
    known = {name: repr(value) for name, value in vars(core).items() if name not in _OF_A_STEP}
    return known | {"_clock": repr(vars(core.pacemaker))}


@pytest.mark.parametrize(("seed", "size"), [(5001, 4), (5021, 7)])
def test_after_a_step_in_a_calm_view_all_consequences_are_drawn(
    monkeypatch: pytest.MonkeyPatch, seed: int, size: int
) -> None:
    step = Core.step
    looked_at = 0

    def step_twice(core: Core, event: Event, now: Now) -> list[Action]:
        nonlocal looked_at
        actions = step(core, event, now)
        is_over = core._is_over()  # noqa: SLF001 - what a step would draw again
        is_leaving = core._view_changes.has_above(core.view)  # noqa: SLF001
        if is_over or is_leaving or not core.view_active:
            return actions
        before = _remembered(core)
        core._out = []  # noqa: SLF001
        core._progress(now)  # noqa: SLF001
        core._run_timers(now)  # noqa: SLF001
        assert core._out == [], event  # noqa: SLF001
        assert _remembered(core) == before, event
        looked_at += 1
        return actions

    monkeypatch.setattr(Core, "step", step_twice)
    report = run_seed(seed, size)
    assert report.violation == ""
    assert looked_at > 500
