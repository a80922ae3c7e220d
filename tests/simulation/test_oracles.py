"""That oracles object to what is planted in the code that runs: whole clusters, calm but for it.

What an oracle can be told of without a run, test_oracles_told.py and test_guard_told.py tell it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable
from dataclasses import replace
from random import Random

import pytest

from node.chain import evidence
from node.chain.block import CertifiedBlock, ResultCode
from node.chain.certificate import Subject, Vote
from node.chain.epoch import Epoch
from node.chain.evidence import Evidence, Offence, Statement
from node.chain.genesis import Parameters
from node.chain.identity import RotateIdentity
from node.chain.membership import ValidatorSet
from node.chain.transaction import VerifiedTransaction
from node.consensus import core
from node.consensus.core import Core
from node.consensus.events import (
    AnnounceNewView,
    BuildProposal,
    CastViewChange,
    Event,
    Now,
    Validate,
)
from node.consensus.messages import NewView, ViewChange
from node.consensus.verification import Verifier
from node.errors import DecodeError
from node.execution import governance
from node.execution.apply import Executor
from node.execution.identity import People
from node.execution.state import BlockInputs, ExecutedBlock, StateReader
from node.service import reception, wire
from node.service.allowance import Patience
from node.service.ballots import Ballots, Cast
from node.service.mempool import Mempool
from node.service.peer_signs import PeerSigns
from node.service.pursuit import Pursuits
from node.service.senders import Senders
from node.service.wire import Message, MessageKind
from node.storage import keys, segment
from node.storage.memory import MemoryStore
from node.storage.segment import ParsedSegment, Tail
from tests.simulation import disk
from tests.simulation.__main__ import repeated
from tests.simulation.adversaries.tricks import Trick
from tests.simulation.cluster import Cluster, judged
from tests.simulation.governed import GovernedCluster
from tests.simulation.network import CALM
from tests.simulation.node import Machine, SimulatedValidator
from tests.simulation.plan import PATIENT_MS, Fault, Plan, Rot
from tests.simulation.runs import Report
from tests.simulation.test_rules import Case
from tests.simulation.violation import Violation
from tests.simulation.workload import Habit, WorkloadProfile
from tests.simulation.world import MS, SECOND, UTC_AT_START_MS

Patch = pytest.MonkeyPatch
Plant = Callable[[Patch], None]

PARAMETERS = Parameters(view_timeout_ms=PATIENT_MS, rotation_blocks=5)
ONE_PRIMARY = Parameters(view_timeout_ms=PATIENT_MS)

CASES: list[Case] = []


def finds(
    says: str,
    *tricks: Trick,
    faults: tuple[Fault, ...] = (),
    parameters: Parameters = PARAMETERS,
    machine: Machine = Machine(),  # noqa: B008 - it never changes
    seed: int = 1,
    cluster_type: type[Cluster] = Cluster,
    client_changes: int = 0,
) -> Callable[[Plant], Plant]:
    """Have what is planted in a small run, in which 0 may play tricks, be a case of a rule."""
    plan = Plan(
        size=4,
        parameters=parameters,
        machines=(machine,) * 4,
        links=CALM,
        cut_links_hold=False,
        workload=WorkloadProfile(
            requests=10, habits=(Habit.FAITHFUL,), burst_max=1, to_all_permille=0
        ),
        byzantine={0: tricks} if tricks else {},
        faults=faults,
        client_changes=client_changes,
        chaos_us=1 * SECOND,
    )

    def keep(plant: Plant) -> Plant:
        def play(patch: Patch, wrong: bool) -> None:  # noqa: FBT001 - as a `Case` calls it
            if wrong:
                plant(patch)
            violation = judged(cluster_type(plan, Random(seed)), shares=False)
            if violation:
                raise Violation(violation)

        CASES.append(Case(says, plant.__name__, play))
        return plant

    return keep


# --- What is final ---


@finds("A6: validators {} and {} differ at height {}")
def one_store_forgets_an_index(patch: Patch) -> None:
    keep = MemoryStore._set  # noqa: SLF001 - the mistake to plant
    stores: list[MemoryStore] = []

    def forget(store: MemoryStore, key: bytes, value: bytes | None) -> None:
        if store not in stores:
            stores.append(store)
        if stores[0] is not store or not key.startswith(keys.RECORD_BY_TYPE):
            keep(store, key, value)

    patch.setattr(MemoryStore, "_set", forget)


@finds(
    "A3: block {} holds what {} signed under another key",
    seed=7,
    cluster_type=GovernedCluster,
    client_changes=5,
)
def a_rotation_leaves_the_key_as_it_was(patch: Patch) -> None:
    rotate = People.rotate

    def change_the_certificate(people: People, operation: RotateIdentity) -> ResultCode | None:
        return rotate(people, replace(operation, public_key=None))

    patch.setattr(People, "rotate", change_the_certificate)


@finds(
    "A3: {} is frozen and has its way",
    seed=7,
    cluster_type=GovernedCluster,
    client_changes=5,
)
def nobody_is_ever_barred(patch: Patch) -> None:
    patch.setattr("node.execution.policy.lost_rights", lambda *_: None)
    patch.setattr(Senders, "why_barred", lambda *_: None)


@finds("P: validator {} wants a final transaction", parameters=ONE_PRIMARY)
def a_pool_keeps_what_is_final(patch: Patch) -> None:
    remove, discard = Mempool.remove_committed, Mempool.discard
    pools: list[Mempool] = []

    def is_last_of_four(pool: Mempool) -> bool:
        """Whether it is that of a validator that proposes nothing while all is well."""
        if pool not in pools:
            pools.append(pool)
        return pools.index(pool) == 3

    def keep_some(pool: Mempool, tx_ids: Iterable[bytes], *, time_ms: int) -> int:
        some = list(tx_ids)[1:] if is_last_of_four(pool) else tx_ids
        return remove(pool, some, time_ms=time_ms)

    def keep_all(pool: Mempool, tx_ids: Iterable[bytes]) -> None:
        discard(pool, [] if is_last_of_four(pool) else tx_ids)

    patch.setattr(Mempool, "remove_committed", keep_some)
    patch.setattr(Mempool, "discard", keep_all)


@finds("L: {}")
def primaries_propose_nothing(patch: Patch) -> None:
    patch.setattr(Mempool, "take", lambda *_, **__: [])


@finds("L: no change comes through: {}", seed=2, cluster_type=GovernedCluster)
def no_change_is_ever_in_time(patch: Patch) -> None:
    patch.setattr(GovernedCluster, "_try", lambda *_: None)


@finds("E1: block {} names another set than {}", seed=2, cluster_type=GovernedCluster)
def a_new_set_is_in_another_order(patch: Patch) -> None:
    finish = governance._Draft.finish  # noqa: SLF001 - the mistake to plant

    def finish_backwards(draft: governance._Draft, first_height: int) -> Epoch:
        draft.members.reverse()
        return finish(draft, first_height)

    patch.setattr(governance._Draft, "finish", finish_backwards)  # noqa: SLF001


# --- What may be signed, and when ---


@finds(
    "D2: validator {} sends {} unsynced",
    parameters=replace(ONE_PRIMARY, block_txs_max=1),
    machine=Machine(sync_max_us=20 * MS),
)
def what_is_written_counts_as_durable(patch: Patch) -> None:
    durable = Ballots.durable

    def release_all(ballots: Ballots, lsn: int) -> list[tuple[Event, Cast]]:
        return durable(ballots, max(lsn, 1 << 40))

    patch.setattr(Ballots, "durable", release_all)


@finds("D3: validator {} logs {} before it")
def votes_are_logged_before_their_blocks(patch: Patch) -> None:
    write = Ballots.write

    def write_backwards(ballots: Ballots) -> None:
        ballots._records.reverse()  # noqa: SLF001 - the mistake to plant
        write(ballots)

    patch.setattr(Ballots, "write", write_backwards)


@finds("E2: validator {} votes {}, members are {}")
def votes_are_for_another_set(patch: Patch) -> None:
    sign_bytes = Subject.sign_bytes

    def misname(self: Subject, chain_id: bytes, validators: ValidatorSet, time_ms: int) -> bytes:
        others = ValidatorSet(validators.epoch, validators.validators[::-1], validators.suite)
        return sign_bytes(self, chain_id, others, time_ms)

    patch.setattr(Subject, "sign_bytes", misname)


@finds("E3: validator {} accuses {}, which is correct, of {}", Trick.EQUIVOCATE)
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


@finds("G2: {} is not prepared, only by {}")
def a_quorum_is_half_of_all(patch: Patch) -> None:
    patch.setattr(ValidatorSet, "quorum", property(lambda self: self.size // 2))


@finds("G3: a NEW-VIEW for {} from {}")
def a_view_begins_on_too_few(patch: Patch) -> None:
    def announce(made: NewView) -> AnnounceNewView:
        return AnnounceNewView(replace(made, view_changes=made.view_changes[1:]))

    patch.setattr(core, "AnnounceNewView", announce)


@finds("G5: degraded in a view that nobody left another for")
def blocks_are_degraded_without_need(patch: Patch) -> None:
    def build(view: int, height: int, parent_digest: bytes, _: int | None) -> BuildProposal:
        return BuildProposal(view, height, parent_digest, 2 * UTC_AT_START_MS)

    patch.setattr(core, "BuildProposal", build)
    patch.setattr(Core, "_check_degraded_time", lambda *_: None)


@finds("G6: T is {}, and it came at {}")
def time_stands_still(patch: Patch) -> None:
    patch.setattr(core, "is_timely", lambda *_: True)
    patch.setattr(
        "node.service.proposing.proposal_time", lambda parent_time_ms, _: parent_time_ms + 1
    )


@finds("T: block {} was sealed at {}, before it existed")
def votes_keep_the_time_of_the_start(patch: Patch) -> None:
    vote = Ballots._vote  # noqa: SLF001 - the mistake to plant

    def vote_early(
        ballots: Ballots, subject: Subject, block: ExecutedBlock | None, now: Now
    ) -> Vote:
        return vote(ballots, subject, block, now._replace(utc_ms=UTC_AT_START_MS))

    patch.setattr(Ballots, "_vote", vote_early)


@finds("V: {}")
def a_final_header_is_left_out(patch: Patch) -> None:
    def cast(made: ViewChange) -> CastViewChange:
        return CastViewChange(replace(made, committed=made.committed[1:]))

    patch.setattr(core, "CastViewChange", cast)


# --- What it costs, and how it is borne ---


@finds("C: {} {} for {} blocks, expected at most {}")
def every_vote_is_checked(patch: Patch) -> None:
    def want(self: Core, vote: Vote) -> bool:
        return vote.validator != self.me

    patch.setattr(Core, "wants_vote", want)


@finds("B: validator {} holds {} bytes", Trick.FLOOD)
def what_peers_send_is_kept(patch: Patch) -> None:
    heard = PeerSigns.note_heard

    def hoard(signs: PeerSigns, peer: int, now: Now) -> None:
        signs.hoard = [*getattr(signs, "hoard", []), bytes(20_000)]  # type: ignore[attr-defined]
        heard(signs, peer, now)

    patch.setattr(PeerSigns, "note_heard", hoard)


@finds("W: validator {} waits {} ms for {}", Trick.STARVE, parameters=ONE_PRIMARY, seed=7)
def bodies_are_asked_of_the_proposer_alone(patch: Patch) -> None:
    begin = Pursuits.begin

    def ask_the_proposer(
        self: Pursuits,
        action: Validate,
        holders: tuple[int, ...],
        synced: CertifiedBlock | None,
        now: Now,
    ) -> None:
        proposer = tuple(each for each in holders if each == action.header.proposer)
        begin(self, action, proposer, synced, now)

    patch.setattr(Pursuits, "begin", ask_the_proposer)


@finds("W: validator {} waits {} ms for {}", Trick.ALTER, parameters=ONE_PRIMARY)
def what_is_decided_is_forgotten(patch: Patch) -> None:
    patch.setattr(Core, "_on_decided", lambda *_: None)


@finds("N: validator {} cuts off {}")
def votes_of_who_is_correct_are_refused(patch: Patch) -> None:
    decode = wire.decode_message

    def refuse_votes(data: bytes, signature_size: int) -> Message:
        if data[1] == MessageKind.VOTE:
            raise DecodeError("no vote is good enough")
        return decode(data, signature_size)

    patch.setattr(reception, "decode_message", refuse_votes)
    patch.setattr(Patience, "note_refusal", lambda *_: True)


@finds("R: validator {} starts from a damaged log", faults=(Rot(500 * MS, 2),))
def a_damaged_log_is_taken_for_a_sound_one(patch: Patch) -> None:
    parse = segment.parse_segment

    def overlook(data: bytes) -> ParsedSegment:
        return replace(parse(data), tail=Tail.CLEAN)

    patch.setattr(disk, "parse_segment", overlook)


@finds("X: validator {} halted: {}")
def one_executes_otherwise(patch: Patch) -> None:
    class Otherwise(Executor):
        def execute(
            self,
            parent: StateReader,
            inputs: BlockInputs,
            transactions: Iterable[VerifiedTransaction],
        ) -> ExecutedBlock:
            executed = super().execute(parent, inputs, [*transactions])
            header = replace(executed.header, results_root=bytes(32))
            return replace(executed, header=header, digest=bytes(32))

    start = SimulatedValidator.start

    def start_otherwise(validator: SimulatedValidator) -> None:
        if validator.index == 3:
            validator.executor = Otherwise(validator.genesis)
        start(validator)

    patch.setattr(SimulatedValidator, "start", start_otherwise)


@finds("X: {}")
def a_validators_number_is_used_as_an_index_unseen(patch: Patch) -> None:
    def look_up(verifier: Verifier, *_: object) -> None:
        raise IndexError(f"no validator {verifier.validators.size}")

    patch.setattr(Verifier, "check_proposal", look_up)


# --- A run is one run ---


def play_again(patch: Patch, wrong: bool) -> None:  # noqa: FBT001 - as a `Case` calls it
    """Have another process, which is not started here, tell of the same run or another."""
    told = "another" if wrong else "one"
    done = subprocess.CompletedProcess([], 0, stdout=f"{told}\n")
    patch.setattr(subprocess, "run", lambda *_, **__: done)
    first = Report(
        seed=1,
        size=4,
        violation="",
        blocks=1,
        steps=1,
        views=0,
        healing_ms=0,
        epochs=0,
        trace="one",
        cpu_us=1,
    )
    violation = repeated(first).violation
    if violation:
        raise Violation(violation)


CASES.append(Case("H: another run under another hash seed, nothing shared", "order", play_again))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_mistake_is_found_by_the_rule_it_breaks_and_its_neighbour_passes(
    case: Case, monkeypatch: Patch
) -> None:
    case.check(monkeypatch)
