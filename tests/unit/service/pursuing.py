"""The pursuits of one validator, without the engine around them: a test hands in what comes."""

from __future__ import annotations

from node.chain.block import CertifiedBlock
from node.chain.genesis import Genesis
from node.consensus.events import Now, Validate, Validated
from node.execution.apply import ExecutedBlock, Executor, sender_key, why_sender_barred
from node.service.admission import Gate, check_signatures
from node.service.ballots import Ballots
from node.service.effort import Effort
from node.service.log_records import LogRecord, encode_log_record
from node.service.mempool import Mempool
from node.service.output import CheckJob, Outlet
from node.service.pursuit import Pursuits
from node.service.recovery import recover
from node.service.term import Roster, Term
from node.service.undecided import Undecided
from node.service.wire import Bodies, WantBodies, decode_message
from node.storage.ledger import LedgerStore
from node.storage.memory import MemoryStore
from tests.unit.consensus.signing import validator_signer
from tests.unit.execution.small_chain import CREATED_MS, GENESIS
from tests.unit.service.lone import ListedLog

AT_0 = Now(monotonic_ms=0, utc_ms=CREATED_MS)


class Pursuing:
    """The pursuits of one validator that knows genesis, and what they settled."""

    def __init__(self, genesis: Genesis = GENESIS, *logged: LogRecord) -> None:
        executor = Executor(genesis)
        ledger = LedgerStore.open(MemoryStore(), genesis.suite, executor.genesis_block())
        name = genesis.validators.validators[0].validator_id
        records = [encode_log_record(record) for record in logged]
        recovery = recover(genesis, executor, ledger, records, validator_id=name)
        term = Term.of(recovery.epoch, recovery.anchor, name, Roster(genesis.validators))
        self.mempool, self.outlet = Mempool(), Outlet(lambda: 0)
        self.undecided = Undecided(ledger, self.mempool, executor, Effort())
        self.settled: list[Validated] = []
        self.pursuits = Pursuits(
            suite=genesis.suite,
            mempool=self.mempool,
            gate=Gate(
                genesis,
                key_of=lambda sender: sender_key(ledger, sender),
                why_barred=lambda sender: why_sender_barred(ledger, sender),
                is_pending=self.mempool.is_pending,
                is_final=ledger.has_transaction,
                effort=Effort(),
            ),
            verifier=term.verifier,
            ballots=Ballots(
                term=term,
                signer=validator_signer(0),
                log=ListedLog(),
                recovery=recovery,
                counters=self.outlet.counters,
            ),
            undecided=self.undecided,
            outlet=self.outlet,
            settled=self._settle,
        )
        self.ends_with_the_first = False
        """Whether everything else is given up as soon as one block is settled."""

    def _settle(self, answer: Validated) -> None:
        self.settled.append(answer)
        if self.ends_with_the_first:
            self.pursuits.retain([])

    def pursue(
        self,
        block: ExecutedBlock,
        *,
        holders: tuple[int, ...] = (1, 2),
        lists: bool = True,
        synced: CertifiedBlock | None = None,
    ) -> Pursuing:
        """Begin with a block at time 0; where it `lists` nothing, its header alone is known."""
        question = Validate(block.header, block.digest, hashes(block) if lists else None, holders)
        self.pursuits.begin(question, holders, synced, AT_0)
        return self

    def give(self, block: ExecutedBlock, *which: int, whole: bool = False) -> list[CheckJob]:
        """Be sent bodies of a block, by their place in it; return what is to be checked."""
        encoded = tuple(encodings(block)[index] for index in which)
        self.pursuits.take(Bodies(block.digest, whole, encoded))
        return self.outlet.drain().jobs

    def check(self, *jobs: CheckJob) -> None:
        for job in jobs:
            self.pursuits.checked(job, check_signatures(job.candidates))

    def chase(self, elapsed_ms: int) -> list[tuple[int | None, WantBodies]]:
        """Let it ask for bodies; return whom it asked for which."""
        self.pursuits.chase(AT_0._replace(monotonic_ms=elapsed_ms))
        return self.requests()

    def requests(self) -> list[tuple[int | None, WantBodies]]:
        found = []
        for sent in self.outlet.drain().messages:
            message = decode_message(sent.data, GENESIS.suite.signature_size)
            assert isinstance(message, WantBodies)
            found.append((sent.to, message))
        return found


def encodings(block: ExecutedBlock) -> tuple[bytes, ...]:
    return tuple(verified.transaction.encoded for verified in block.transactions)


def hashes(block: ExecutedBlock) -> tuple[bytes, ...]:
    return tuple(verified.transaction.tx_hash for verified in block.transactions)


def want(block: ExecutedBlock, *missing: bytes) -> WantBodies:
    return WantBodies(block.header.height, block.digest, tuple(sorted(missing)))
