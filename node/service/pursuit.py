"""Undecided blocks on their way to being validated: their bodies are gathered, then executed.

A pursuit begins when the core asks for a block's validation and ends with the answer, `settled`:
execution gave exactly this header, or the bodies are held and the block is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from node.chain.block import CertifiedBlock, Header
from node.chain.transaction import Transaction, VerifiedTransaction
from node.consensus import events as ev
from node.consensus.verification import Verifier
from node.crypto.suite import Suite
from node.errors import PeerError
from node.execution.apply import BlockInputs, sender_key
from node.service.admission import Candidate, Gate, check_signatures, vouched_for
from node.service.ballots import Ballots
from node.service.log_records import BlockRecord
from node.service.mempool import Mempool
from node.service.output import CheckJob, Outlet, Purpose
from node.service.undecided import Undecided
from node.service.wire import Bodies, WantBodies

FETCH_AFTER_MS = 50
"""How long a proposal waits for gossip to bring its bodies before they are asked for."""


@dataclass(slots=True)
class _Pursuit:
    """One undecided block on its way."""

    header: Header
    digest: bytes
    tx_hashes: tuple[bytes, ...] | None
    holders: tuple[int, ...]
    missing: set[bytes] = field(default_factory=set)
    ask_at_ms: int = 0
    asked: int = 0
    certified: CertifiedBlock | None = None
    """All of it, where a peer sent that with its certificate: nothing is missing then."""


class Pursuits:
    """Every pursuit of one validator."""

    def __init__(
        self,
        *,
        suite: Suite,
        mempool: Mempool,
        gate: Gate,
        verifier: Verifier,
        ballots: Ballots,
        undecided: Undecided,
        outlet: Outlet,
        settled: Callable[[ev.Validated], None],
    ) -> None:
        """`settled` takes the answers."""
        self._suite, self._mempool = suite, mempool
        self._gate, self._verifier = gate, verifier
        self._ballots, self._undecided, self._outlet = ballots, undecided, outlet
        self._settled = settled
        self._pursuits: dict[bytes, _Pursuit] = {}
        self._in_check: dict[CheckJob, None] = {}
        """Jobs under way: nobody is asked for the transactions in them."""

    # ------------------------------------------------------------------ from the core's question

    def begin(
        self,
        action: ev.Validate,
        holders: tuple[int, ...],
        synced: CertifiedBlock | None,
        now: ev.Now,
    ) -> None:
        """Begin, or widen, the effort to hold and execute a block; `synced`: a peer sent it all.

        `holders` are those of the action by number, as peers go here.
        """
        if self._undecided.executed(action.header_digest) is not None:
            self._settled(ev.Validated(action.header_digest, matches=True))
            return
        pursuit = self._pursuits.get(action.header_digest)
        if pursuit is None:
            tx_hashes = action.tx_hashes
            if tx_hashes is None:
                tx_hashes = self._known_list(action)
            pursuit = _Pursuit(action.header, action.header_digest, tx_hashes, holders)
            pursuit.ask_at_ms = now.monotonic_ms + FETCH_AFTER_MS
            self._pursuits[pursuit.digest] = pursuit
            if synced is not None and synced.header == action.header:
                _complete(pursuit, synced)
            elif tx_hashes is None:
                pursuit.ask_at_ms = now.monotonic_ms
                self.chase(now)
            else:
                self._expect(pursuit, tx_hashes)
        else:
            pursuit.holders = holders or pursuit.holders
        self._try(pursuit)

    def retain(self, digests: Sequence[bytes]) -> None:
        """Give up every block but those in `digests`."""
        for digest in [d for d in self._pursuits if d not in digests]:
            del self._pursuits[digest]

    def try_children(self, parent_digest: bytes) -> None:
        """Go on with the blocks that waited for the state after their parent."""
        for pursuit in list(self._pursuits.values()):
            if pursuit.header.parent == parent_digest:
                self._try(pursuit)

    def _known_list(self, action: ev.Validate) -> tuple[bytes, ...] | None:
        record = self._ballots.block(action.header_digest)
        if record is None:
            return None
        return tuple(transaction.tx_hash for transaction in self._decode(record.transactions))

    def _expect(self, pursuit: _Pursuit, tx_hashes: tuple[bytes, ...]) -> None:
        """Pin the list of a block and note which bodies are still to come."""
        pursuit.tx_hashes = tx_hashes
        self._undecided.pin(pursuit.digest, tx_hashes)
        record = self._ballots.block(pursuit.digest)
        if record is not None and self._mempool.missing(tx_hashes):
            self.hold_logged(record)  # dropped and expired since this validator prepared it
        pursuit.missing = set(self._mempool.missing(tx_hashes))

    # ------------------------------------------------------------------ bodies

    def arrived(self, tx_hash: bytes) -> None:
        """Note a body that came; the block that waited for it may be complete now."""
        for pursuit in list(self._pursuits.values()):
            if tx_hash in pursuit.missing:
                pursuit.missing.discard(tx_hash)
                if not pursuit.missing:
                    self._try(pursuit)

    def have_checked(self, job: CheckJob) -> None:
        """Have signatures checked; their transactions are on their way until `checked`."""
        self._in_check[job] = None
        self._outlet.have_checked(job)

    def checked(self, job: CheckJob, verdicts: Sequence[VerifiedTransaction | None]) -> None:
        """Take the answer to a job; of bodies alone, as others go into the pool."""
        self._in_check.pop(job, None)
        if job.purpose is not Purpose.BODIES:
            return
        pursuit = self._pursuits.get(job.header_digest)
        for verified in verdicts:
            if verified is not None:
                self._hold(verified)
        false = [job.candidates[place] for place, each in enumerate(verdicts) if each is None]
        if pursuit is not None and any(self._is_void_by(pursuit, each) for each in false):
            self._settle(pursuit, matches=False)

    def _is_void_by(self, pursuit: _Pursuit, false: Candidate) -> bool:
        """Whether a false signature makes a block void: by the key its sender has before it.

        Under a key of another state it may be false in a sound block: its parent may rotate that.
        """
        before = self._undecided.state_after(pursuit.header.parent)
        sender = false.transaction.body.sender
        return before is not None and sender_key(before, sender) == false.key.encoded

    def hold_logged(self, record: BlockRecord) -> None:
        """Put the bodies of a logged block back into the pool."""
        transactions = self._decode(record.transactions)
        digest = self._verifier.digest_of(record.header)
        self._undecided.pin(digest, tuple(transaction.tx_hash for transaction in transactions))
        candidates = [self._gate.candidate(transaction) for transaction in transactions]
        for verified in check_signatures([c for c in candidates if c is not None]):
            if verified is not None:
                self._mempool.hold_body(verified)

    def take_certified(self, block: CertifiedBlock) -> None:
        """Go on with a block under way, all of which came with its certificate."""
        pursuit = self._pursuits.get(self._verifier.digest_of(block.header))
        if pursuit is not None:
            _complete(pursuit, block)
            self._try(pursuit)

    def take(self, bodies: Bodies) -> None:
        """Take bodies that a peer sent; raises `PeerError` or `DecodeError` for wrong ones."""
        pursuit = self._pursuits.get(bodies.header_digest)
        if pursuit is None or (pursuit.tx_hashes is not None and not pursuit.missing):
            return
        transactions = self._decode(bodies.transactions)
        if bodies.whole and pursuit.tx_hashes is None:
            tx_hashes = tuple(transaction.tx_hash for transaction in transactions)
            self._verifier.check_tx_root(pursuit.header, tx_hashes)
            self._expect(pursuit, tx_hashes)
            if not pursuit.missing:
                self._try(pursuit)
        wanted = [tx for tx in transactions if tx.tx_hash in pursuit.missing]
        before = self._undecided.state_after(pursuit.header.parent)
        candidates: list[Candidate] = []
        for transaction in wanted:
            if before is None:  # by the newest final state; if it is false there, it comes again
                candidate = self._gate.candidate(transaction)
            else:
                candidate = self._gate.candidate_after(before, transaction)
                if candidate is None:  # a sender the parent's state does not know
                    self._settle(pursuit, matches=False)
                    return
            if candidate is not None:
                candidates.append(candidate)
        if candidates:
            self.have_checked(CheckJob(Purpose.BODIES, tuple(candidates), pursuit.digest))

    def chase(self, now: ev.Now) -> None:
        """Ask for bodies that gossip did not bring, each time another holder."""
        for pursuit in self._pursuits.values():
            if now.monotonic_ms < pursuit.ask_at_ms or not pursuit.holders:
                continue
            wanted = tuple(sorted(pursuit.missing - self._hashes_in_check()))
            if pursuit.tx_hashes is not None and not wanted:
                pursuit.ask_at_ms = now.monotonic_ms + FETCH_AFTER_MS
                continue
            holder = pursuit.holders[pursuit.asked % len(pursuit.holders)]
            pursuit.asked += 1
            pursuit.ask_at_ms = now.monotonic_ms + FETCH_AFTER_MS * min(1 << pursuit.asked, 32)
            self._outlet.counters.bodies_asked += 1
            self._outlet.send(holder, WantBodies(pursuit.header.height, pursuit.digest, wanted))

    def _hashes_in_check(self) -> frozenset[bytes]:
        return frozenset(
            candidate.transaction.tx_hash for job in self._in_check for candidate in job.candidates
        )

    def due_ms(self) -> list[int]:
        """Return the monotonic times (ms) by which `chase` has something to do."""
        return [
            p.ask_at_ms
            for p in self._pursuits.values()
            if p.holders and (p.missing or p.tx_hashes is None)
        ]

    def _hold(self, verified: VerifiedTransaction) -> None:
        if self._mempool.hold_body(verified):
            self.arrived(verified.transaction.tx_hash)

    def _decode(self, encoded: Sequence[bytes]) -> list[Transaction]:
        return [Transaction.decode(data, self._suite) for data in encoded]

    # ------------------------------------------------------------------ execution

    def _try(self, pursuit: _Pursuit) -> None:
        """Execute a block whose bodies and parent are there, and settle it."""
        if pursuit.missing or pursuit.tx_hashes is None or pursuit.digest not in self._pursuits:
            return
        parent = self._undecided.state_after(pursuit.header.parent)
        if parent is None:
            return
        header = pursuit.header
        if pursuit.certified is not None:
            transactions = vouched_for(pursuit.certified.transactions, parent)
        else:
            bodies = [self._mempool.get(tx_hash) for tx_hash in pursuit.tx_hashes]
            transactions = [body for body in bodies if body is not None]
        inputs = BlockInputs.of(header)
        try:
            executed = self._undecided.execute(parent, inputs, transactions)
        except PeerError as error:
            self._outlet.trace(error.rule, header.height, str(error))
            self._settle(pursuit, matches=False)
            return
        matches = executed.header == header
        if matches:
            self._undecided.add(executed, parent)
        else:
            differs = f"proposed {header}, executed {executed.header}"
            self._outlet.trace("execution-differs", header.height, differs)
        self._settle(pursuit, matches=matches)

    def _settle(self, pursuit: _Pursuit, *, matches: bool) -> None:
        self._pursuits.pop(pursuit.digest, None)
        self._settled(ev.Validated(pursuit.digest, matches))
        if matches:
            self.try_children(pursuit.digest)


def _complete(pursuit: _Pursuit, block: CertifiedBlock) -> None:
    """Have all of a block: its certificate vouches for the signatures, as its root for the list."""
    pursuit.certified, pursuit.missing = block, set()
    pursuit.tx_hashes = tuple(transaction.tx_hash for transaction in block.transactions)
