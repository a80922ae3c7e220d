"""What must hold at every step, said independently of the code under test.

The oracles see every signature when it is made, every log record when it becomes durable, every
frame when it leaves and every block when it becomes final. They do their own quorum arithmetic and
read signed bytes with the plain CBOR library. A broken rule raises `Violation` at once.

- A1 agreement: one header per height at all correct validators.
- A2 certificates: among all signatures in existence, two headers of one height are never both
  certifiable by COMMITs of one view, nor two of one (view, height) by PREPAREs.
- A3 validity: every transaction was signed by a client, every commit certificate by a quorum.
- A4 parents: blocks follow each other, T strictly increases.
- A5 once: no transaction is executed twice.
- A6 roots: validators of equal height hold equal stores.
- P no pool gives out what is final.
- R a validator notices that its log is damaged.
- B memory stays bounded, whatever a peer sends.
- T agreed time: T is at most PRECISION and the clock error ahead of true time, and not further
  behind it than promised when a transaction of the block was signed.
- D1 no correct validator signs twice for one (phase, view, height), across crashes.
- D2 nothing leaves with a signature of a correct validator that its disk may still lose.
- D3 no PREPARE leaves before the block it is about is durable.
- D4 a VIEW-CHANGE shows every slot its sender ever sent COMMIT for, and ends voting below it.
- G1 to G3 what a correct validator signs is permitted by what was delivered to it: guard.py.
- X a correct validator neither halts nor raises.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import cbor2

from node.chain.block import Header
from node.chain.certificate import Phase, QuorumCertificate
from node.chain.genesis import Genesis
from node.crypto import domains
from node.service.engine import CommittedBlock, Output
from node.service.log_records import RecordType
from node.service.wire import MessageKind
from node.storage import keys
from node.storage.segment import parse_segment
from tests.simulation.guard import Ballot, Guard, Leaving, Statement
from tests.simulation.memory import held_bytes
from tests.simulation.node import LogRecords, SimulatedValidator
from tests.simulation.world import World

HELD_BYTES_MAX = 600_000
"""What a validator may hold in memory besides its pool and ledger."""
POOLED_BYTES_MAX = 8_000
"""And for each request in its pool."""
_ANY = 1 << 40
_BLOCK = RecordType.BLOCK
_OF_VIEWS = (RecordType.VIEW_CHANGE, RecordType.NEW_VIEW)
_NEW_VIEW = domains.tagged(domains.NEW_VIEW, b"")


class Violation(AssertionError):  # noqa: N818 - an oracle's verdict, not an error of the program
    """A rule is broken; the message begins with its name."""


@dataclass(slots=True)
class Conduct:
    """What one correct validator is bound by."""

    volatile: dict[bytes, Statement] = field(default_factory=dict)
    """Signed and not known to be durable: may not have left. By signature."""
    ballots: dict[tuple[int, int, int], bytes] = field(default_factory=dict)
    """(phase, view, height) to digest of every vote that exists for good or may yet."""
    commits: dict[int, int] = field(default_factory=dict)
    """Height to the highest view of a durable COMMIT."""
    left_for: int = 0
    """The highest view of a durable VIEW-CHANGE."""
    blocks: dict[bytes, None] = field(default_factory=dict)
    """Digests of the blocks whose bodies its disk holds."""
    tip: int = 0
    """Height of the newest block it committed, as of its last whole turn."""
    final_height: Callable[[], int] = lambda: 0
    """The same, in the middle of a turn too."""


class Oracles:
    """The judge of one run. `correct` lists the validators that follow the protocol."""

    def __init__(self, world: World, genesis: Genesis, genesis_header: Header) -> None:
        self._world, self._genesis = world, genesis
        n = genesis.validators.size
        self.quorum = (n + (n - 1) // 3) // 2 + 1  # the least that makes two share f + 1
        self.headers: list[Header] = [genesis_header]
        self.digests: list[bytes] = [genesis_header.digest(genesis.suite)]
        self._guard = Guard(genesis, self.digests[0], self.quorum)
        self.executed: dict[bytes, int] = {}
        """tx_id to height."""
        self.submitted: dict[bytes, int] = {}
        """tx_ids that clients signed, and when: true UTC, ms."""
        self.conduct: dict[int, Conduct] = {}
        """Of the correct validators alone."""
        self._signers: dict[tuple[int, int, int], dict[bytes, dict[int, None]]] = {}
        self._certifiable: dict[int, dict[tuple[int, bytes], None]] = {}
        """Height to each (view, digest) that a quorum of COMMITs exists for."""
        self._logged: dict[bytes, bytes] = {}
        """Digests of the blocks in log records, by the record's payload."""
        self.messages: Counter[MessageKind] = Counter()
        """Sent by correct validators, each addressee counted."""
        self.view_max = 0
        self.on_final: Callable[[bytes], None] = lambda _: None
        """Told each tx_id when the first correct validator commits it."""

    def judge(self, validator: int) -> None:
        """Hold a validator to the rules from now on."""
        self.conduct[validator] = Conduct()
        self._guard.watch(validator)

    # ------------------------------------------------------------------ signatures

    def signed(self, validator: int, message: bytes, signature: bytes) -> None:
        """Take note of a signature the moment it comes into existence."""
        statement = self._guard.exists(validator, message, signature)
        if isinstance(statement, Ballot):
            self._count(validator, statement)
        conduct = self.conduct.get(validator)
        if conduct is None:
            return
        if message.startswith(_NEW_VIEW):
            body = cbor2.loads(message[len(_NEW_VIEW) :])[1]
            objection = self._guard.object_to_new_view(validator, body[2], body[3])
            if objection:
                raise Violation(f"{objection}, signed by validator {validator}")
        if statement is None:
            return
        if isinstance(statement, Ballot):
            self._judge_ballot(validator, conduct, statement)
        else:
            self._judge_leaving(validator, conduct, statement)
        conduct.volatile[signature] = statement

    def _count(self, validator: int, ballot: Ballot) -> None:
        """A2."""
        by_digest = self._signers.setdefault(ballot.place, {})
        signers = by_digest.setdefault(ballot.digest, {})
        signers[validator] = None
        if len(signers) < self.quorum:
            return
        quorums = [d for d, who in by_digest.items() if len(who) >= self.quorum]
        if len(quorums) > 1:
            raise Violation(f"A2: two certifiable headers for {ballot.place}")
        if ballot.phase == Phase.COMMIT:
            certifiable = self._certifiable.setdefault(ballot.height, {})
            certifiable[ballot.view, ballot.digest] = None
            if any(digest != ballot.digest for _, digest in certifiable):
                raise Violation(f"A2: two certifiable blocks at height {ballot.height}")

    def _uncount(self, validator: int, ballot: Ballot) -> None:
        """Forget a vote that nobody but its dead voter ever had."""
        signers = self._signers[ballot.place][ballot.digest]
        del signers[validator]
        if ballot.phase == Phase.COMMIT and len(signers) < self.quorum:
            certifiable = self._certifiable.get(ballot.height, {})
            certifiable.pop((ballot.view, ballot.digest), None)

    def _judge_ballot(self, validator: int, conduct: Conduct, ballot: Ballot) -> None:
        if ballot.place in conduct.ballots:
            raise Violation(f"D1: validator {validator} signs twice for {ballot.place}")
        conduct.ballots[ballot.place] = ballot.digest
        leaving = [s.view for s in conduct.volatile.values() if isinstance(s, Leaving)]
        if ballot.view < max([conduct.left_for, *leaving]):
            raise Violation(f"D4: validator {validator} votes in {ballot.place} after leaving it")
        objection = self._guard.object_to(validator, ballot, conduct.final_height())
        if objection:
            raise Violation(f"{objection}: validator {validator} signs {ballot}")

    def _judge_leaving(self, validator: int, conduct: Conduct, leaving: Leaving) -> None:
        shown = dict(leaving.shown)
        for height, view in conduct.commits.items():
            if height > leaving.tip and shown.get(height, -1) < view:
                raise Violation(
                    f"D4: validator {validator} hides its COMMIT at {height} in view {view} "
                    f"when leaving for {leaving.view}: tip {leaving.tip}, shown {leaving.shown}"
                )

    # ------------------------------------------------------------------ the disk

    def synced(self, validator: SimulatedValidator, records: LogRecords) -> None:
        """Take note, in order, of what can no longer be lost; D3."""
        conduct = self.conduct[validator.index]
        for kind, payload in records:
            if kind == _BLOCK:
                conduct.blocks[self._digest_of(payload)] = None
            for signature in [s for s in conduct.volatile if s in payload]:
                statement = conduct.volatile.pop(signature)
                self._bind(conduct, statement)
                if (
                    isinstance(statement, Ballot)
                    and statement.phase == Phase.PREPARE
                    and statement.digest not in conduct.blocks
                ):
                    raise Violation(f"D3: validator {validator.index} logs {statement} before it")

    def rotated(self, validator: SimulatedValidator, records: LogRecords) -> None:
        """Take note of a log that states less, as the ledger and a later view say the rest."""
        conduct = self.conduct[validator.index]
        self.synced(validator, [r for r in records if r[0] == _BLOCK])
        view = max((cbor2.loads(data)[2] for kind, data in records if kind in _OF_VIEWS), default=0)
        for signature, statement in list(conduct.volatile.items()):
            if isinstance(statement, Ballot):
                is_kept = statement.height <= validator.ledger.tip_height or statement.view < view
            else:
                is_kept = statement.view <= view
            if is_kept or any(signature in payload for _, payload in records):
                del conduct.volatile[signature]
                self._bind(conduct, statement)

    def _bind(self, conduct: Conduct, statement: Statement) -> None:
        """Hold a validator to what it signed, for ever."""
        if isinstance(statement, Leaving):
            conduct.left_for = max(conduct.left_for, statement.view)
        elif statement.phase == Phase.COMMIT:
            held = conduct.commits.get(statement.height, -1)
            conduct.commits[statement.height] = max(held, statement.view)

    def _digest_of(self, block_record: bytes) -> bytes:
        digest = self._logged.get(block_record)
        if digest is None:
            header = cbor2.loads(block_record)[0]
            digest = self._genesis.suite.tagged_hash(domains.HEADER, cbor2.dumps(header))
            self._logged[block_record] = digest
        return digest

    def crashed(self, validator: SimulatedValidator) -> None:
        """Forget the signatures that died with the process: they never left it (D2)."""
        conduct = self.conduct[validator.index]
        kept = bytes(validator.log.durable_bytes)
        for signature, statement in conduct.volatile.items():
            if signature in kept:
                self._bind(conduct, statement)
            elif isinstance(statement, Ballot):
                del conduct.ballots[statement.place]
                self._uncount(validator.index, statement)
        conduct.volatile.clear()
        found = parse_segment(kept).records
        conduct.blocks = {self._digest_of(r.payload): None for r in found if r.kind == _BLOCK}

    def started(self, validator: SimulatedValidator) -> None:
        """A1 for what a restarted validator still holds."""
        ledger = validator.ledger
        tip = ledger.tip_height
        if tip >= len(self.digests) or ledger.header_digest != self.digests[tip]:
            raise Violation(f"A1: validator {validator.index} restarts on a foreign block {tip}")
        conduct, engine = self.conduct[validator.index], validator.engine
        conduct.tip = tip
        if engine is not None:  # what the turn under way made final is not in the ledger yet
            conduct.final_height = lambda: engine.height

    # ------------------------------------------------------------------ the network

    def hearing(self, validator: SimulatedValidator, frame: Sequence[bytes]) -> None:
        """Take note of what a validator is about to know."""
        for data in frame:
            self._guard.heard(validator.index, data)

    def sending(self, validator: SimulatedValidator, peer: int, frame: Sequence[bytes]) -> None:
        """D2, D3."""
        del peer
        conduct = self.conduct[validator.index]
        for data in frame:
            self.messages[MessageKind(data[1])] += 1
            for signature, statement in conduct.volatile.items():
                if signature in data:
                    raise Violation(f"D2: validator {validator.index} sends {statement} unsynced")

    # ------------------------------------------------------------------ blocks

    def turned(self, validator: SimulatedValidator, output: Output) -> None:
        """Judge the blocks that became final in a turn."""
        for block in output.committed:
            self._judge_block(validator, block)
        if validator.engine is not None:
            self.view_max = max(self.view_max, validator.engine.core.view)

    def overlooked(self, validator: SimulatedValidator) -> None:
        """R."""
        raise Violation(f"R: validator {validator.index} starts from a damaged log")

    def halted(self, validator: SimulatedValidator, reason: str) -> None:
        """X."""
        raise Violation(f"X: validator {validator.index} halted: {reason}")

    def _judge_block(self, validator: SimulatedValidator, block: CommittedBlock) -> None:
        conduct = self.conduct[validator.index]
        header = block.executed.header
        height, digest = header.height, header.digest(self._genesis.suite)
        if height != conduct.tip + 1:
            raise Violation(
                f"A4: validator {validator.index} commits {height} on top of {conduct.tip}"
            )
        conduct.tip = height
        self._judge_certificate(block.certificate, height, digest)
        if height < len(self.digests):
            if digest != self.digests[height]:
                raise Violation(f"A1: validator {validator.index} has another block {height}")
            return
        parent = self.headers[height - 1]
        if header.parent != self.digests[height - 1] or header.time_ms <= parent.time_ms:
            raise Violation(f"A4: block {height} does not follow its parent")
        parameters = self._genesis.parameters
        ahead_ms = parameters.precision_ms + parameters.clock_error_ms
        if header.time_ms > self._world.utc_ms + ahead_ms:
            raise Violation(f"T: block {height} is stamped {header.time_ms}, ahead of time")
        for verified in block.executed.transactions:
            tx_id = verified.transaction.tx_id
            if tx_id not in self.submitted:
                raise Violation(f"A3: block {height} holds a transaction nobody signed")
            if header.time_ms + parameters.accuracy_ms < self.submitted[tx_id]:
                raise Violation(f"T: block {height} is stamped {header.time_ms}, in the past")
            if tx_id in self.executed:
                raise Violation(f"A5: {tx_id.hex()} in {self.executed[tx_id]} and {height}")
            self.executed[tx_id] = height
            self.on_final(tx_id)
        self.headers.append(header)
        self.digests.append(digest)
        self._world.note("block", height, digest)

    def _judge_certificate(
        self, certificate: QuorumCertificate, height: int, digest: bytes
    ) -> None:
        """A3."""
        subject = certificate.subject
        voters = {vote.validator: vote for vote in certificate.votes}
        if (
            subject.phase is not Phase.COMMIT
            or (subject.height, subject.header_digest) != (height, digest)
            or len(voters) < self.quorum
        ):
            raise Violation(f"A3: the certificate of block {height} is of {subject}")
        ballot = Ballot(Phase.COMMIT, subject.view, height, digest)
        for index, vote in voters.items():
            if self._guard.signed_ballot(vote.signature) != (index, ballot, vote.time_ms):
                raise Violation(f"A3: a false signature certifies block {height}")

    def judge_pools(self, validators: Iterable[SimulatedValidator]) -> None:
        """P, for validators at rest."""
        for validator in validators:
            if validator.engine is None:
                continue
            waiting = validator.engine.mempool.take(
                time_ms=self._world.utc_ms, txs_max=_ANY, bytes_max=_ANY, records_max=_ANY
            )
            for verified in waiting:
                if verified.transaction.tx_id in self.executed:
                    raise Violation(f"P: validator {validator.index} wants a final transaction")

    def judge_memory(self, validator: SimulatedValidator) -> None:
        """B, whatever a flooder has sent."""
        engine = validator.engine
        if engine is None:
            return
        apart = (validator.ledger, validator.executor, validator.log, self._genesis, self._world)
        held = held_bytes(engine, (*apart, validator.signer))
        if held > HELD_BYTES_MAX + POOLED_BYTES_MAX * engine.mempool.pending_count:
            raise Violation(f"B: validator {validator.index} holds {held} bytes")

    def judge_stores(self, validators: Iterable[SimulatedValidator]) -> None:
        """A6, for validators at rest: equal but for certificates, which stand with headers.

        And but for evidence of misbehaviour, which is no part of the chain.
        """
        first: dict[int, tuple[int, dict[bytes, bytes]]] = {}
        for validator in validators:
            rows = validator.store.scan(b"")
            own = (keys.HEADER, keys.EVIDENCE)
            content = {k: v for k, v in rows if not k.startswith(own)}
            height = validator.ledger.tip_height
            other, expected = first.setdefault(height, (validator.index, content))
            if content != expected:
                raise Violation(
                    f"A6: validators {other} and {validator.index} differ at height {height}"
                )
