"""Compact certificates of four nodes: their real parts over ledgers in memory, links in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from node.assembly import sharing
from node.assembly.sharing import Sharing
from node.chain.compact import Share
from node.chain.membership import ValidatorSet
from node.crypto.suite import SHA_256
from node.service.queries import Queries
from node.service.wire import Message
from node.storage.ledger import LedgerStore
from node.storage.memory import MemoryStore
from node.timestamp.compact_verify import verify_compact
from node.timestamp.export import export_qr
from node.timestamp.trust import TrustFile
from node.timestamp.verify import NamedDigest, Outcome, verify_receipt
from tests.unit.execution.small_chain import GENESIS, SmallChain, certify, payload, tx
from tests.vectors.receipt.keyed import registered, sharer

MEMBERS = tuple(
    replace(each, aggregate_key=registered(each.validator_id))
    for each in GENESIS.validators.validators
)
KEYED = replace(GENESIS, validators=ValidatorSet(0, MEMBERS, GENESIS.suite))
NAMES = tuple(each.validator_id for each in MEMBERS)
ANCHOR = TrustFile(chain_id=KEYED.chain_id, genesis=KEYED).establish()


@dataclass
class Cluster:
    """Four nodes by number; `alter` may change or drop (None) what passes between two of them."""

    alter: Callable[[int, int, Share], Share | None] = lambda _from, _to, share: share
    ledgers: list[LedgerStore] = field(default_factory=list)
    parts: list[Sharing] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    chain: SmallChain = field(default_factory=lambda: SmallChain(KEYED))

    def start(self) -> None:
        for number, name in enumerate(NAMES):
            genesis_block = self.chain.executor.genesis_block()
            ledger = LedgerStore.open(MemoryStore(), KEYED.suite, genesis_block)
            network = Links(self, number)
            self.ledgers.append(ledger)
            self.parts.append(
                Sharing(KEYED, ledger, name, sharer(name), network, on_error=self.errors.append)
            )

    def commit(self, document: str) -> None:
        transaction = tx(payload(document), chain_id=KEYED.chain_id)
        executed = self.chain.commit(transaction)
        certificate = certify(executed, KEYED)
        for ledger in self.ledgers:
            ledger.commit([(executed, certificate)], sync=False)

    def pass_on(self, sender: int, receiver: int, share: Share) -> None:
        altered = self.alter(sender, receiver, share)
        if altered is not None:
            self.parts[receiver].hear(sender, altered)

    async def state(self, *nodes: int) -> None:
        """Have nodes state the tip, and wait until nothing is under way."""
        for number in nodes:
            self.parts[number].state(self.ledgers[number].header)
        await self.rest()

    async def rest(self) -> None:
        me = asyncio.current_task()
        while others := [task for task in asyncio.all_tasks() if task is not me]:
            await asyncio.wait(others)
        assert not self.errors

    def heights(self) -> list[int | None]:
        """Return of which height each node holds a certificate."""
        found = [ledger.compact(0) for ledger in self.ledgers]
        return [None if each is None else each.checkpoint.height for each in found]

    def close(self) -> None:
        for part in self.parts:
            part.close()


@dataclass
class Links:
    """What one node says to the others."""

    cluster: Cluster
    me: int

    def send(self, peer: int | None, message: Message) -> None:
        assert isinstance(message, Share)
        for other in range(len(NAMES)) if peer is None else (peer,):
            if other != self.me:
                self.cluster.pass_on(self.me, other, message)

    def name_of(self, peer: int) -> str:
        return NAMES[peer]


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


async def test_every_node_comes_to_hold_the_certificate_and_receipts_have_it(
    cluster: Cluster,
) -> None:
    cluster.start()
    cluster.commit("a")
    cluster.commit("b")
    await cluster.state(0, 1, 2, 3)
    assert cluster.heights() == [2, 2, 2, 2]
    digest = payload("a").digests
    receipt = Queries(cluster.ledgers[3], KEYED).receipt_of_digest(digest)
    assert receipt is not None
    named = NamedDigest(SHA_256, digest)
    assert verify_receipt(receipt.encode(), ANCHOR, named).outcome is Outcome.VERIFIED
    text = export_qr(receipt)
    assert text is not None
    assert verify_compact(text, ANCHOR, named).outcome is Outcome.VERIFIED
    cluster.close()


async def test_a_record_above_the_newest_certificate_has_none_yet(cluster: Cluster) -> None:
    cluster.start()
    cluster.commit("a")
    await cluster.state(0, 1, 2, 3)
    cluster.commit("b")
    queries = Queries(cluster.ledgers[0], KEYED)
    early, late = (queries.receipt_of_digest(payload(name).digests) for name in "ab")
    assert early is not None
    assert early.compact is not None
    assert late is not None
    assert late.compact is None
    await cluster.state(0, 1, 2, 3)
    late = queries.receipt_of_digest(payload("b").digests)
    assert late is not None
    assert late.compact is not None
    cluster.close()


async def test_without_a_quorum_there_is_none_and_who_comes_late_completes_it(
    cluster: Cluster,
) -> None:
    cluster.start()
    cluster.commit("a")
    await cluster.state(0, 1)
    assert cluster.heights() == [None] * 4
    await cluster.state(2)
    assert cluster.heights() == [1, 1, 1, None]
    await cluster.state(3)
    assert cluster.heights() == [1, 1, 1, 1], "it had heard the others before it signed"
    cluster.close()


async def test_who_was_cut_off_catches_up_when_a_link_comes_back(cluster: Cluster) -> None:
    cluster.alter = lambda sender, to, share: None if 3 in (sender, to) else share
    cluster.start()
    cluster.commit("a")
    await cluster.state(0, 1, 2, 3)
    assert cluster.heights() == [1, 1, 1, None]
    cluster.alter = lambda _from, _to, share: share
    for other in (0, 1, 2):
        cluster.parts[3].greet(other)
    await cluster.rest()
    assert cluster.heights() == [1, 1, 1, 1]
    cluster.close()


async def test_one_that_lies_stops_nothing(cluster: Cluster) -> None:
    def spoil(sender: int, _to: int, share: Share) -> Share:
        return replace(share, signature=bytes(96)) if sender == 1 else share

    cluster.alter = spoil
    cluster.start()
    for document in "ab":
        cluster.commit(document)
        await cluster.state(0, 1, 2, 3)
    assert cluster.heights() == [2, 2, 2, 2]
    held = cluster.ledgers[0].compact(0)
    assert held is not None
    assert 1 not in held.indices
    cluster.close()


async def test_without_the_library_a_node_takes_no_part(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "is_native", lambda: False)
    cluster.start()
    cluster.commit("a")
    await cluster.state(0, 1, 2, 3)
    assert cluster.heights() == [None] * 4
    cluster.parts[0].greet(1)
    cluster.close()
