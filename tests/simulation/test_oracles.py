"""That oracles object: for each here, a mistake is planted which it alone is there to find."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from random import Random

import pytest

from node.chain.block import CertifiedBlock
from node.chain.genesis import Parameters
from node.consensus.events import Now, Validate
from node.errors import DecodeError
from node.service import reception, wire
from node.service.allowance import Patience
from node.service.mempool import Mempool
from node.service.peer_signs import PeerSigns
from node.service.pursuit import Pursuits
from node.service.wire import Message, MessageKind
from node.storage import segment
from node.storage.segment import ParsedSegment, Tail
from tests.simulation import disk
from tests.simulation.adversaries.tricks import Trick
from tests.simulation.cluster import Cluster
from tests.simulation.network import CALM
from tests.simulation.node import Machine
from tests.simulation.oracles import Violation
from tests.simulation.plan import Fault, Plan, Rot
from tests.simulation.workload import Habit, WorkloadProfile
from tests.simulation.world import SECOND


def violation(*tricks: Trick, faults: tuple[Fault, ...] = (), seed: int = 1) -> str:
    """Return what the oracles say of a small run, in which validator 0 may play tricks."""
    plan = Plan(
        size=4,
        parameters=Parameters(view_timeout_ms=300),
        machines=(Machine(),) * 4,
        links=CALM,
        cut_links_hold=False,
        workload=WorkloadProfile(requests=30, habits=(Habit.FAITHFUL,), to_all_permille=0),
        byzantine={0: tricks} if tricks else {},
        faults=faults,
        chaos_us=2 * SECOND,
    )
    cluster = Cluster(plan, Random(seed))
    try:
        cluster.run()
    except Violation as broken:
        return str(broken)
    return ""


def test_a_pool_that_keeps_what_is_final_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
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

    monkeypatch.setattr(Mempool, "remove_committed", keep_some)
    monkeypatch.setattr(Mempool, "discard", keep_all)
    assert violation().startswith("P: ")


def test_a_damaged_log_taken_for_a_sound_one_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    rot = Rot(1 * SECOND, 2)
    assert violation(faults=(rot,)) == ""
    parse = segment.parse_segment

    def overlook(data: bytes) -> ParsedSegment:
        return replace(parse(data), tail=Tail.CLEAN)

    monkeypatch.setattr(disk, "parse_segment", overlook)
    assert violation(faults=(rot,)).startswith("R: ")


def test_memory_that_a_flood_fills_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert violation(Trick.FLOOD) == ""
    heard = PeerSigns.note_heard

    def hoard(signs: PeerSigns, peer: int, now: Now) -> None:
        signs.hoard = [*getattr(signs, "hoard", []), bytes(20_000)]  # type: ignore[attr-defined]
        heard(signs, peer, now)

    monkeypatch.setattr(PeerSigns, "note_heard", hoard)
    assert violation(Trick.FLOOD).startswith("B: ")


def test_bodies_asked_of_the_proposer_alone_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = Pursuits.begin

    def ask_the_proposer(
        self: Pursuits, action: Validate, synced: CertifiedBlock | None, now: Now
    ) -> None:
        holders = tuple(each for each in action.holders if each == action.header.proposer)
        begin(self, replace(action, holders=holders), synced, now)

    seeds = range(4)
    assert not any(violation(Trick.STARVE, seed=seed) for seed in seeds)
    monkeypatch.setattr(Pursuits, "begin", ask_the_proposer)
    assert any(violation(Trick.STARVE, seed=seed).startswith("W: ") for seed in seeds)


def test_a_correct_validator_that_is_cut_off_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    decode = wire.decode_message

    def refuse_votes(data: bytes, signature_size: int) -> Message:
        if data[1] == MessageKind.VOTE:
            raise DecodeError("no vote is good enough")
        return decode(data, signature_size)

    monkeypatch.setattr(reception, "decode_message", refuse_votes)
    monkeypatch.setattr(Patience, "note_refusal", lambda *_: True)
    assert violation().startswith("N: ")
