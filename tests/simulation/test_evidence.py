"""A validator that equivocates is named by every correct one in the end, and nobody else is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest

from node.chain.block import CertifiedHeader
from node.chain.certificate import Vote
from node.chain.encoding import encode
from node.chain.evidence import Offence
from node.chain.genesis import Parameters
from node.consensus.messages import NewView, Proposal, ViewChange
from node.crypto.suite import INTERNATIONAL
from node.service.wire import decode_message
from tests.simulation.adversaries.tricks import Trick
from tests.simulation.cluster import Cluster
from tests.simulation.network import CALM, LinkProfile
from tests.simulation.node import CrashPoint, Machine
from tests.simulation.oracles import Oracles
from tests.simulation.plan import Crash, Plan
from tests.simulation.workload import Habit, WorkloadProfile
from tests.simulation.world import MS, SECOND

GUILTY = 0
"""The primary of view 0."""


def plan_of(*tricks: Trick, crash: bool = False) -> Plan:
    restart = Crash(
        at_us=2 * SECOND,
        validator=2,
        point=CrashPoint.AT_ONCE,
        record=None,
        power_loss=True,
        down_us=500 * MS,
    )
    return Plan(
        size=4,
        parameters=Parameters(view_timeout_ms=300),
        machines=(Machine(),) * 4,
        links=CALM,
        cut_links_hold=False,
        workload=WorkloadProfile(
            requests=40,
            asking_permille=1_000,
            habits=tuple(Habit),
            retry_us=1 * SECOND,
            burst_max=1,
            to_all_permille=200,
            resigned_permille=0,
            short_lived_permille=0,
            referenced_permille=0,
        ),
        byzantine={GUILTY: tricks} if tricks else {},
        faults=(restart,) if crash else (),
        chaos_us=4 * SECOND,
    )


def run(plan: Plan, seed: int) -> Cluster:
    cluster = Cluster(plan, Random(seed))
    cluster.run()
    return cluster


@pytest.mark.parametrize("trick", [Trick.EQUIVOCATE, Trick.VOTE_FOR_ALL])
@pytest.mark.parametrize("seed", range(3))
def test_every_correct_validator_ends_with_proof_that_names_the_equivocator(
    trick: Trick, seed: int
) -> None:
    """A primary that shows half of the others another block; a voter that signs whatever it hears.

    The latter contradicts itself only where there are two headers, hence with the former.
    """
    cluster = run(plan_of(Trick.EQUIVOCATE, trick), seed)
    genesis = cluster.genesis
    assert len(cluster.correct) == 3
    for validator in cluster.correct:
        held = validator.ledger.evidence()
        assert held, f"validator {validator.index} holds no proof"
        assert {each.validator for each in held} == {GUILTY}
        for each in held:
            each.check(genesis.chain_id, genesis.validators)


def test_proof_outlives_a_crash() -> None:
    cluster = run(plan_of(Trick.EQUIVOCATE, crash=True), 1)
    restarted = next(each for each in cluster.correct if each.index == 2)
    assert restarted.life == 2
    assert restarted.engine is not None
    assert restarted.engine.evidence == tuple(
        sorted(restarted.ledger.evidence(), key=lambda each: each.charge)
    )
    assert restarted.engine.evidence


def test_without_an_equivocator_nobody_is_accused() -> None:
    cluster = run(plan_of(crash=True), 1)
    assert [each.ledger.evidence() for each in cluster.correct] == [[]] * 4


# --- What correct nodes say never makes evidence, whoever gathers all of it ---


class Listener:
    """Everything that nodes sent, by what a correct one says once."""

    def __init__(self) -> None:
        self.said: dict[tuple[object, ...], bytes] = {}
        self.kinds: Counter[str] = Counter()

    def hear(self, data: bytes) -> None:
        self._take(decode_message(data, INTERNATIONAL.signature_size))

    def _take(self, message: object) -> None:
        match message:
            case Proposal():
                self._take(message.vote)
            case Vote():
                subject = message.subject
                slot = (subject.phase, subject.view, subject.height)
                voter = (message.epoch, message.validator)
                self._note("vote", (*voter, *slot), subject.header_digest)
            case CertifiedHeader():
                for vote in message.certificate.expand():
                    self._take(vote)
            case ViewChange():
                place = (message.epoch, message.view, message.validator)
                self._note("view-change", place, encode(message.unsigned_value()))
                for item in (*message.committed, *message.prepared):
                    self._take(item)
            case NewView():
                self._note(
                    "new-view", (message.epoch, message.view), encode(message.unsigned_value())
                )
                for view_change in message.view_changes:
                    self._take(view_change)
            case _:
                pass

    def _note(self, kind: str, place: tuple[object, ...], content: bytes) -> None:
        self.kinds[kind] += 1
        first = self.said.setdefault((kind, *place), content)
        assert first == content, f"two of {kind} for {place}"


def overheard(monkeypatch: pytest.MonkeyPatch, observer: type) -> Listener:
    """Have everything that leaves a node of a run heard."""
    listener = Listener()
    sending = observer.sending  # type: ignore[attr-defined]

    def listening(self: object, node: object, peer: int, frame: Sequence[bytes]) -> None:
        for data in frame:
            listener.hear(data)
        sending(self, node, peer, frame)

    monkeypatch.setattr(observer, "sending", listening)
    return listener


@pytest.mark.parametrize("seed", range(4))
def test_nothing_that_correct_nodes_say_contradicts_across_crashes_and_views(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """One after the other is killed, some lose what was not synced, and views end all the time."""
    listener = overheard(monkeypatch, Oracles)
    plan = plan_of()
    restarts = tuple(
        Crash(
            at_us=(500 + 400 * number) * MS,
            validator=(seed + number) % 4,
            point=list(CrashPoint)[number % len(CrashPoint)],
            record=None,
            power_loss=number % 2 == 0,
            down_us=350 * MS,
        )
        for number in range(8)
    )
    parameters = replace(plan.parameters, rotation_blocks=4)
    cluster = run(replace(plan, faults=restarts, parameters=parameters), seed)
    assert all(listener.kinds[kind] for kind in ("vote", "view-change", "new-view"))
    assert [each.ledger.evidence() for each in cluster.correct] == [[]] * 4


# --- Other offences than two votes ---


@pytest.mark.parametrize(
    ("trick", "offence"),
    [(Trick.HIDE, Offence.VIEW_CHANGE), (Trick.TWO_NEW_VIEWS, Offence.NEW_VIEW)],
)
def test_who_tells_each_peer_another_story_is_named(trick: Trick, offence: Offence) -> None:
    """In one run or another: two stories must meet at somebody, for whom one of them was lost."""
    lossy = LinkProfile(loss_permille=100, delay_max_us=20 * MS)
    found = set()
    for seed in range(8):
        plan = plan_of(trick)
        often = replace(plan.parameters, rotation_blocks=3)
        cluster = run(replace(plan, parameters=often, links=lossy), seed)
        for validator in cluster.correct:
            found |= {each.charge for each in validator.ledger.evidence()}
        if offence in {each.offence for each in found}:
            break
    assert {each.validator for each in found} == {GUILTY}
    assert offence in {each.offence for each in found}
