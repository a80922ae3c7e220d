"""Several validators without shells on one thread: what one says the others hear at once, in order.

Logs are durable at once and signatures are checked at once. Nothing is lost, but to nodes that are
`away`; time passes only when a test says so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from node.chain.block import ResultCode
from node.chain.governance import Operation
from node.chain.transaction import VerifiedTransaction
from node.consensus.events import Now
from node.consensus.messages import Proposal
from node.execution.apply import Executor
from node.service.admission import Candidate, check_signatures
from node.service.engine import Engine, Outgoing, Output
from node.service.mempool import Mempool
from node.service.recovery import recover
from node.service.wire import Message, decode_message
from node.storage.kv import WriteBatch
from node.storage.ledger import LedgerStore
from node.storage.memory import MemoryStore
from tests.unit.execution.governed_chain import GOVERNED, governed, governed_tx, statement
from tests.unit.execution.small_chain import CREATED_MS, payload, signer, tx
from tests.unit.service.lone import ListedLog

STEP_MS = 50
SIGNATURE_BYTES = GOVERNED.suite.signature_size


class CountingStore(MemoryStore):
    """A database that counts its syncs."""

    syncs = 0

    def write(self, batch: WriteBatch, *, sync: bool) -> None:
        self.syncs += sync
        super().write(batch, sync=sync)


class Node:
    """One node: its disk, and the engine that runs on it."""

    def __init__(self, name: str, executor: Executor) -> None:
        self.name, self._executor = name, executor
        self.store, self.log = CountingStore(), ListedLog()
        self.log_syncs = 0
        self.start()

    def start(self) -> None:
        """Run on what the disk holds, forgetting all else."""
        genesis_block = self._executor.genesis_block()
        self.ledger = LedgerStore.open(self.store, GOVERNED.suite, genesis_block)
        recovery = recover(
            GOVERNED, self._executor, self.ledger, self.log.records, validator_id=self.name
        )
        self.engine = Engine(
            genesis=GOVERNED,
            validator_id=self.name,
            signer=signer(self.name),
            executor=self._executor,
            ledger=self.ledger,
            log=self.log,
            mempool=Mempool(),
            recovery=recovery,
        )


class Chat:
    """The nodes of one chain, and what is on its way between them."""

    def __init__(self, *names: str) -> None:
        executor = Executor(GOVERNED)
        self.nodes = {name: Node(name, executor) for name in names}
        self.away: list[str] = []
        """Nodes that neither hear nor are heard."""
        self.elapsed_ms = 0
        self.said: list[tuple[str, Message]] = []
        """Everything any node said, and who."""
        self.outputs: list[tuple[str, Output]] = []
        self._on_its_way: deque[tuple[str, str, bytes]] = deque()
        for node in self.nodes.values():
            node.engine.start(self.now)
            self._settle(node)
        self._deliver()

    @property
    def now(self) -> Now:
        return Now(monotonic_ms=self.elapsed_ms, utc_ms=CREATED_MS + 1_000 + self.elapsed_ms)

    def submit(self, name: str, *transactions: VerifiedTransaction) -> None:
        """Hand transactions in at one node and let everybody talk."""
        node = self.nodes[name]
        encoded = [each.transaction.encoded for each in transactions]
        verdicts = node.engine.gate.screen(encoded, node.engine.reckon(self.now))
        candidates = [verdict for verdict in verdicts if isinstance(verdict, Candidate)]
        node.engine.admit(check_signatures(candidates), self.now, from_client=True)
        node.engine.flush_gossip()
        self._settle(node)
        self._deliver()

    def pass_time(self, duration_ms: int) -> None:
        """Let time pass for all, in steps."""
        for _ in range(duration_ms // STEP_MS):
            self.elapsed_ms += STEP_MS
            for node in self.nodes.values():
                if node.name not in self.away:
                    node.engine.tick(self.now)
                    self._settle(node)
            self._deliver()

    def restart(self, name: str) -> None:
        """Kill a node and start it on what its disk holds."""
        node = self.nodes[name]
        node.start()
        node.engine.start(self.now)
        for other in self.nodes:
            if other != name:
                node.engine.connected(node.engine.roster.number(other))
        self._settle(node)
        self._deliver()

    def heights(self) -> list[int]:
        return [node.engine.height for node in self.nodes.values()]

    def proposals(self) -> list[Proposal]:
        return [message for _, message in self.said if isinstance(message, Proposal)]

    def _settle(self, node: Node) -> None:
        """Do what the shell would, until the engine asks for nothing more."""
        while True:
            node.log_syncs += node.engine.waits_for_log
            node.engine.durable(len(node.log.records), self.now)
            output = node.engine.drain()
            self.outputs.append((node.name, output))
            for message in output.messages:
                self._post(node, message)
            for job in output.jobs:
                node.engine.checked(job, check_signatures(job.candidates), self.now)
            if not output.jobs and not output.messages:
                return

    def _post(self, node: Node, message: Outgoing) -> None:
        self.said.append((node.name, decode_message(message.data, SIGNATURE_BYTES)))
        for other in self._addressees(node, message):
            self._on_its_way.append((node.name, other, message.data))

    def _addressees(self, node: Node, message: Outgoing) -> Sequence[str]:
        roster = node.engine.roster
        if message.to is not None:
            return [roster.name(message.to)]
        members = [roster.name(number) for number in node.engine.term.numbers]
        return [name for name in members if name != node.name]

    def _deliver(self) -> None:
        while self._on_its_way:
            sender, receiver, data = self._on_its_way.popleft()
            node = self.nodes.get(receiver)
            if node is None or sender in self.away or receiver in self.away:
                continue
            node.engine.receive(node.engine.roster.number(sender), [data], self.now)
            self._settle(node)


def notarize(chat: Chat, text: str, at: str = "validator-1") -> None:
    chat.submit(
        at, tx(payload(text), chain_id=GOVERNED.chain_id, not_after_ms=CREATED_MS + 600_000)
    )


def govern(
    chat: Chat, *operations: Operation, members: Sequence[str], at: str = "validator-1"
) -> ResultCode:
    """Have a change decided, on statements of the members of the new set; return its outcome."""
    epoch = chat.nodes[at].engine.term.epoch.number
    evidence = [statement(name, chat.nodes[name].ledger.header) for name in members]
    transaction = governed_tx(governed(*operations, epoch=epoch, evidence=evidence), nonce=epoch)
    chat.submit(at, transaction)
    result = chat.nodes[at].ledger.result(transaction.transaction.tx_id)
    assert result is not None
    return result.code
