"""That the oracles object which no other test here makes object: one planted mistake for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from node.chain import evidence
from node.chain.certificate import Subject, Vote
from node.chain.evidence import Evidence, Offence, Statement
from node.chain.genesis import Parameters
from node.chain.membership import ValidatorSet
from node.consensus import core
from node.consensus.core import Core
from node.consensus.events import AnnounceNewView, BuildProposal, CastViewChange, Now
from node.consensus.messages import NewView, ViewChange
from node.execution.apply import ExecutedBlock
from node.service import proposing
from node.service.ballots import Ballots
from node.storage import keys
from node.storage.memory import MemoryStore
from tests.simulation.adversaries.tricks import Trick
from tests.simulation.cluster import Cluster
from tests.simulation.network import CALM
from tests.simulation.node import Machine
from tests.simulation.oracles import Violation
from tests.simulation.plan import PATIENT_MS, Plan
from tests.simulation.workload import Habit, WorkloadProfile
from tests.simulation.world import SECOND, UTC_AT_START_MS

Patch = pytest.MonkeyPatch


def violation(*tricks: Trick) -> str:
    """Return what the oracles say of a calm run, in which validator 0 may play tricks."""
    plan = Plan(
        size=4,
        parameters=Parameters(view_timeout_ms=PATIENT_MS, rotation_blocks=5),
        machines=(Machine(),) * 4,
        links=CALM,
        cut_links_hold=False,
        workload=WorkloadProfile(
            requests=30, habits=(Habit.FAITHFUL,), burst_max=1, to_all_permille=0
        ),
        byzantine={0: tricks} if tricks else {},
        faults=(),
        chaos_us=4 * SECOND,
    )
    try:
        Cluster(plan, Random(1)).run()
    except Violation as broken:
        return str(broken)
    return ""


def one_store_forgets_an_index(patch: Patch) -> None:
    keep = MemoryStore._set  # noqa: SLF001 - the mistake to plant
    stores: list[MemoryStore] = []

    def forget(store: MemoryStore, key: bytes, value: bytes | None) -> None:
        if store not in stores:
            stores.append(store)
        if stores[0] is not store or not key.startswith(keys.RECORD_BY_TYPE):
            keep(store, key, value)

    patch.setattr(MemoryStore, "_set", forget)


def every_vote_is_checked(patch: Patch) -> None:
    def want(self: Core, vote: Vote) -> bool:
        return vote.validator != self.me

    patch.setattr(Core, "wants_vote", want)


def votes_are_logged_before_their_blocks(patch: Patch) -> None:
    write = Ballots.write

    def write_backwards(ballots: Ballots) -> None:
        ballots._records.reverse()  # noqa: SLF001 - the mistake to plant
        write(ballots)

    patch.setattr(Ballots, "write", write_backwards)


def votes_are_for_another_set(patch: Patch) -> None:
    sign_bytes = Subject.sign_bytes

    def misname(self: Subject, chain_id: bytes, validators: ValidatorSet, time_ms: int) -> bytes:
        others = ValidatorSet(validators.epoch, validators.validators[::-1], validators.suite)
        return sign_bytes(self, chain_id, others, time_ms)

    patch.setattr(Subject, "sign_bytes", misname)


def evidence_names_the_next_in_line(patch: Patch) -> None:
    make = evidence._evidence  # noqa: SLF001 - the mistake to plant

    def misname(
        validators: ValidatorSet,
        offence: Offence,
        validator: int,
        statements: list[Statement],
        **place: int,
    ) -> Evidence:
        following = (validator + 1) % validators.size
        return make(validators, offence, following, statements, **place)

    patch.setattr(evidence, "_evidence", misname)
    patch.setattr(Evidence, "check", lambda *_: None)


def a_view_begins_on_too_few(patch: Patch) -> None:
    def announce(made: NewView) -> AnnounceNewView:
        return AnnounceNewView(replace(made, view_changes=made.view_changes[1:]))

    patch.setattr(core, "AnnounceNewView", announce)


def a_final_header_is_left_out(patch: Patch) -> None:
    def cast(made: ViewChange) -> CastViewChange:
        return CastViewChange(replace(made, committed=made.committed[1:]))

    patch.setattr(core, "CastViewChange", cast)


def blocks_are_degraded_without_need(patch: Patch) -> None:
    def build(view: int, height: int, parent_digest: bytes, _: int | None) -> BuildProposal:
        return BuildProposal(view, height, parent_digest, 2 * UTC_AT_START_MS)

    patch.setattr(core, "BuildProposal", build)
    patch.setattr(Core, "_check_degraded_time", lambda *_: None)


def time_stands_still(patch: Patch) -> None:
    patch.setattr(proposing, "proposal_time", lambda parent_time_ms, _: parent_time_ms + 1)
    patch.setattr(core, "is_timely", lambda *_: True)


def votes_keep_the_time_of_the_start(patch: Patch) -> None:
    vote = Ballots._vote  # noqa: SLF001 - the mistake to plant

    def vote_early(
        ballots: Ballots, subject: Subject, block: ExecutedBlock | None, now: Now
    ) -> Vote:
        return vote(ballots, subject, block, replace(now, utc_ms=UTC_AT_START_MS))

    patch.setattr(Ballots, "_vote", vote_early)


@pytest.mark.parametrize(
    ("rule", "plant", "tricks"),
    [
        ("A6", one_store_forgets_an_index, ()),
        ("C", every_vote_is_checked, ()),
        ("D3", votes_are_logged_before_their_blocks, ()),
        ("E2", votes_are_for_another_set, ()),
        ("E3", evidence_names_the_next_in_line, (Trick.EQUIVOCATE,)),
        ("G3", a_view_begins_on_too_few, ()),
        ("G5", blocks_are_degraded_without_need, ()),
        ("G6", time_stands_still, ()),
        ("T", votes_keep_the_time_of_the_start, ()),
        ("V", a_final_header_is_left_out, ()),
    ],
)
def test_a_planted_mistake_is_found_by_the_rule_it_breaks(
    rule: str,
    plant: Callable[[Patch], None],
    tricks: tuple[Trick, ...],
    monkeypatch: Patch,
) -> None:
    assert violation(*tricks) == ""
    plant(monkeypatch)
    assert violation(*tricks).partition(": ")[0] == rule
