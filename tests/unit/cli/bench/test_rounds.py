"""What rounds make of what their loads found, on a network that makes nothing final."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from node.cli.bench.figures import summarise
from node.cli.bench.rig import Field, Load, Seen
from node.cli.bench.rounds import ROUNDS, Plan
from node.cli.screen import Screen
from node.cli.verb import CommandError
from tests.suites import SUITE
from tests.unit.cli.bench.test_figures import window

PLAN = Plan(nodes=[4], runs=2, load=Load(seconds=6, warm_up_s=1), share=0.5, long_s=60)


class Standstill:
    """A network under load on which nothing becomes final."""

    validators = ("validator-1", "validator-2", "validator-3", "validator-4")

    def __init__(self) -> None:
        self.rates_per_s: list[float] = []

    def measure_idle(self) -> dict[str, Any]:
        return {}

    def load(self, load: Load) -> Seen:
        self.rates_per_s.append(load.rate_per_s)
        seen = window([], [0.0] * load.seconds)
        return Seen(window=seen, figures=summarise(seen))


class StillField(Field):
    """A field where nothing is put up."""

    def __init__(self) -> None:
        screen = Screen("", as_json=True)
        super().__init__(
            screen, None, suite=SUITE, hashing="hashlib", clients=1, seed=1, limit_minutes=1
        )
        self.network = Standstill()

    @contextmanager
    def rig(self, nodes: int, *, alone: bool = True) -> Iterator[Any]:
        assert (nodes, alone) == (4, True)
        yield self.network


@pytest.mark.parametrize("name", ["latency", "stability", "caict"])
def test_where_nothing_is_final_no_rate_is_made_of_it(name: str) -> None:
    """A rate of zero would be a load without any: as much as goes."""
    field = StillField()
    with pytest.raises(CommandError, match="4 validators on this machine") as caught:
        list(ROUNDS[name](field, PLAN))
    assert caught.value.code == "GC-2382"
    assert set(field.network.rates_per_s) == {0.0}  # nothing but the loads before


def test_a_rate_that_was_asked_for_is_kept_all_the_same() -> None:
    field = StillField()
    plan = Plan(nodes=[4], runs=1, load=PLAN.load, rate_per_s=40.0)
    (found,) = ROUNDS["latency"](field, plan)
    assert field.network.rates_per_s == [40.0]
    assert found.load["transactions"] == 0
