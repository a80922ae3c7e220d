"""Every schedule within small bounds breaks no rule, and every planted mistake is found."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

import pytest

from node.chain.certificate import Phase
from tests.exhaustive.explorer import Outcome, State, explore, replay
from tests.exhaustive.instance import Instance
from tests.exhaustive.plants import PLANTS, planted, unplanted
from tests.exhaustive.setups import setups
from tests.exhaustive.system import TIMEOUT, Setup, System

SETUPS = list(setups(slots=2, views=2))
EQUIVOCATORS = [setup for setup in SETUPS if setup.sees is None]


def searched(setup: Setup, delays: int | None) -> Outcome:
    outcome = explore(System(setup, *unplanted()), delays)
    assert outcome.is_complete
    return outcome


@pytest.mark.parametrize("setup", SETUPS, ids=lambda setup: setup.name)
def test_one_departure_from_the_schedule_breaks_no_rule(setup: Setup) -> None:
    outcome = searched(setup, delays=1)
    assert outcome.violation == "", "\n".join(outcome.transcript)
    assert outcome.states > 500


@pytest.mark.parametrize("setup", EQUIVOCATORS, ids=lambda setup: setup.name)
def test_two_departures_under_an_equivocator_break_no_rule(setup: Setup) -> None:
    outcome = searched(setup, delays=2)
    assert outcome.violation == "", "\n".join(outcome.transcript)
    assert outcome.states > 5_000


def test_no_schedule_whatever_of_one_slot_and_two_views_breaks_a_rule() -> None:
    outcome = searched(Setup(slots=1, byzantine=2), delays=None)
    assert outcome.violation == "", "\n".join(outcome.transcript)
    assert outcome.states > 100_000


@dataclass(frozen=True, slots=True)
class Found:
    """Which plant is found where, and how."""

    plant: str
    setup: Setup
    delays: int
    rule: str


FOUND = [
    Found("small-quorum", Setup(byzantine=0), 2, "A2"),
    Found("votes-after-leaving", Setup(byzantine=1), 2, "A2"),
    Found("forgets-on-leaving", Setup(byzantine=1), 1, "A2"),
    Found("lowest-base", Setup(byzantine=0), 1, "A2"),
    Found("second-offer", Setup(byzantine=0), 0, "D1"),
    Found("lowest-view", Setup(slots=1, views=3, byzantine=3), 3, "A2"),
    Found("mixed-views", Setup(slots=1, byzantine=0), 1, "A3"),
]
FOUND_BY_LONGER_SEARCHES = ("no-parent-rule", "commit-unprepared-below")
"""README.md says by which."""


@pytest.mark.parametrize("found", FOUND, ids=lambda found: found.plant)
def test_a_planted_mistake_is_found(found: Found) -> None:
    outcome = explore(System(found.setup, *planted(found.plant)), found.delays)
    assert outcome.violation.startswith(found.rule)
    # The transcript alone leads there again, and only with the mistake.
    again = replay(System(found.setup, *planted(found.plant)), outcome.transcript)
    assert again == outcome.violation
    with suppress(LookupError):  # with the core as it is, some step is not even possible
        assert replay(System(found.setup, *unplanted()), outcome.transcript) == ""


def test_every_plant_is_accounted_for() -> None:
    accounted = [found.plant for found in FOUND] + list(FOUND_BY_LONGER_SEARCHES)
    assert sorted(accounted) == sorted(plant.name for plant in PLANTS)


def test_a_plant_whose_text_is_gone_is_refused() -> None:
    for plant in PLANTS:
        core, new_view = planted(plant.name)
        real_core, real_new_view = unplanted()
        assert (core, new_view) != (real_core, real_new_view)
    with pytest.raises(StopIteration):
        planted("no such plant")


def results(setup: Setup) -> set[tuple[tuple[bytes, ...], ...]]:
    """Return what votes and blocks there are in the states of a setup, by name."""
    system = System(setup, *unplanted())
    found = set()

    def note(state: State) -> None:
        facts = []
        for number in state[:3]:
            local = system.locals[number]
            bits = [bit for bit in range(local.cast.bit_length()) if local.cast >> bit & 1]
            subjects = [system.chain.subjects[bit] for bit in bits]
            votes = sorted(
                bytes((subject.phase, subject.view)) + subject.header_digest
                for subject in subjects
                if subject.phase in Phase
            )
            facts.append((*votes, *local.ledger))
        found.add(tuple(facts))

    assert explore(system, None, on_state=note).is_complete
    return found


@pytest.mark.parametrize("byzantine", [0, 1])
def test_votes_one_by_one_lead_where_whole_quorums_lead(byzantine: int) -> None:
    setup = Setup(slots=1, views=1, byzantine=byzantine, restarts=False)
    whole = results(setup)
    single = results(replace(setup, whole_quorums=False))
    assert len(whole) > 20
    assert whole == single


def test_a_fork_goes_its_own_way() -> None:
    system = System(Setup(byzantine=3), *unplanted())
    original: Instance = system.locals[system.start[1]].instance
    before = original.key()
    number = system.step(1, system.start[1], TIMEOUT)
    assert original.key() == before
    assert system.locals[number].instance.key() != before
    assert original.fork().key() == before


def test_a_search_is_the_same_search_every_time() -> None:
    first, second = (searched(EQUIVOCATORS[0], delays=1) for _ in range(2))
    first.cpu_seconds = second.cpu_seconds = 0.0
    assert first == second
