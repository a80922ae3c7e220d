"""A validator far behind and its peers, all real engines in one thread: messages as a test lets."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from node.chain.block import CertifiedHeader
from node.chain.genesis import Genesis
from node.consensus.events import Now
from node.consensus.messages import Status
from node.execution.apply import Executor
from node.service.engine import Engine
from node.service.log_records import CommittedRecord, encode_log_record
from node.service.mempool import Mempool
from node.service.recovery import recover
from node.service.wire import Message, decode_message, encode_message
from node.storage.ledger import CertifiedExecution, LedgerStore
from node.storage.memory import MemoryStore
from tests.unit.consensus.signing import validator_signer
from tests.unit.execution.small_chain import (
    CREATED_MS,
    GENESIS,
    SmallChain,
    certify,
    payload,
    tx,
)
from tests.unit.service.lone import ListedLog

LIFETIME_MS = 600_000
GAP = 20
FETCHER = 3
STEP_MS = 5
_NO_FAULTS = ("snapshot-begun", "snapshot-complete", "past-whole")


class MemoryDrafts:
    """A `DraftHome` without a disk."""

    def __init__(self) -> None:
        self.store: MemoryStore | None = None
        self.is_complete = False
        self.discarded = 0

    def open(self) -> MemoryStore:
        self.store = self.store or MemoryStore()
        return self.store

    def complete(self) -> None:
        self.is_complete = True

    def discard(self) -> None:
        self.store = None
        self.discarded += 1


def long_chain(
    count: int, *, step_ms: int = 1_000, old: int = 0, genesis: Genesis = GENESIS
) -> list[CertifiedExecution]:
    """Return certified blocks, each with a reference of its own; the first `old` long before."""
    chain, made = SmallChain(genesis), []
    for height in range(1, count + 1):
        gap_ms = LIFETIME_MS if height == old + 1 and old else step_ms
        now_ms = chain.state.header.time_ms + gap_ms
        named = payload(f"{height}", references=[f"R-{height}"])
        more = payload(*(f"{height}-{n}" for n in range(height % 5 + 1)))
        executed = chain.commit(
            tx(named, not_after_ms=now_ms + 60_000, chain_id=genesis.chain_id),
            tx(more, not_after_ms=now_ms + 60_000, chain_id=genesis.chain_id),
            step_ms=gap_ms,
        )
        made.append((executed, certify(executed, genesis)))
    return made


class Node:
    """One engine over stores in memory."""

    def __init__(self, me: int, genesis: Genesis = GENESIS) -> None:
        self.me, self.genesis = me, genesis
        self.store, self.log, self.drafts = MemoryStore(), ListedLog(), MemoryDrafts()
        self.start()

    def start(self) -> None:
        """Begin a life, with what the one before left."""
        if self.drafts.is_complete:
            assert self.drafts.store is not None
            self.store = self.drafts.store
            self.drafts = MemoryDrafts()
        executor = Executor(self.genesis)
        self.ledger = LedgerStore.open(self.store, self.genesis.suite, executor.genesis_block())
        name = self.genesis.validators.validators[self.me].validator_id
        self.engine = Engine(
            genesis=self.genesis,
            validator_id=name,
            signer=validator_signer(self.me),
            executor=executor,
            ledger=self.ledger,
            log=self.log,
            mempool=Mempool(),
            recovery=recover(
                self.genesis, executor, self.ledger, self.log.records, validator_id=name
            ),
        )
        self.engine.allow_snapshots(self.drafts, GAP)

    def commit(self, blocks: Sequence[CertifiedExecution]) -> None:
        """Take blocks over as if this node had made them final; it begins anew after them."""
        self.ledger.commit(blocks, sync=True)
        executed, certificate = blocks[-1]
        newest = CommittedRecord(CertifiedHeader(executed.header, certificate))
        self.log.append([encode_log_record(newest)])
        self.start()


class Catching:
    """Node 3 with nothing, and three peers with a chain; `meddle` may change what a peer says."""

    def __init__(self, blocks: Sequence[CertifiedExecution], genesis: Genesis = GENESIS) -> None:
        self.genesis = genesis
        self.nodes = [Node(me, genesis) for me in range(4)]
        for node in self.nodes[:FETCHER]:
            node.commit(blocks)
        self.now_ms = 0
        self.frozen: set[int] = set()
        self.said: list[tuple[int, int, Message]] = []
        """From, to, what: everything delivered."""
        self._rules: list[str] = []
        self.meddle: Callable[[int, Message], Sequence[Message]] = lambda _peer, said: (said,)

    @property
    def fetcher(self) -> Node:
        return self.nodes[FETCHER]

    def now(self) -> Now:
        utc_ms = CREATED_MS + 10 * LIFETIME_MS + self.now_ms
        return Now(monotonic_ms=self.now_ms, utc_ms=utc_ms)

    def greet(self) -> None:
        """Let the fetcher know where its peers stand."""
        for peer in range(FETCHER):
            height = self.nodes[peer].engine.height
            self.deliver(peer, FETCHER, Status(0, 0, True, height))  # noqa: FBT003

    def deliver(self, peer: int, to: int, message: Message) -> None:
        self.said.append((peer, to, message))
        self.nodes[to].engine.receive(peer, [encode_message(message)], self.now())

    def step(self) -> None:
        """Let a little time pass, and everybody say what they have to say."""
        self.now_ms += STEP_MS
        for node in self.nodes:
            if node.me not in self.frozen and not node.engine.is_superseded:
                node.engine.tick(self.now())
        for node in self.nodes:
            if node.me in self.frozen:
                continue
            output = node.engine.drain()
            if node.me == FETCHER:
                told = [trace.rule for trace in output.traces]
                self._rules += [rule for rule in told if rule not in _NO_FAULTS]
            for sent in output.messages:
                if sent.to is None or sent.to in self.frozen or FETCHER not in (node.me, sent.to):
                    continue
                message = decode_message(sent.data, self.genesis.suite.signature_size)
                said = self.meddle(node.me, message) if node.me != FETCHER else (message,)
                for each in said:
                    self.deliver(node.me, sent.to, each)

    def watch_rules(self) -> list[str]:
        """Return the list that the rules of the fetcher's refusals go into from now on."""
        self.fetcher.engine.drain()
        self._rules = []
        return self._rules

    def outgoing(self, me: int) -> list[Message]:
        """Return, instead of delivering it, what a node has to say."""
        size = self.genesis.suite.signature_size
        return [decode_message(each.data, size) for each in self.nodes[me].engine.drain().messages]

    def run(self, until: Callable[[], object], *, most_ms: int = 60_000) -> None:
        """Take steps until something is so."""
        end_ms = self.now_ms + most_ms
        while not until():
            assert self.now_ms < end_ms, "it takes too long"
            self.step()

    def head(self) -> CertifiedHeader:
        """Return the newest certified header of the peers."""
        ledger = self.nodes[0].ledger
        header, certificate = ledger.header_at(ledger.tip_height) or (None, None)
        assert header is not None
        assert certificate is not None
        return CertifiedHeader(header, certificate)
