"""What the client API asks of the node that serves it, and the values both sides of the wire speak.

Only the port `NodeApi`, its values and its bounds live here: no protobuf, no gRPC. `NodeApi` is
implemented by the composition root; `LedgerClient` gives its callers the same values.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Protocol

from node.chain.admission import Admission, FinalResult
from node.chain.genesis import Parameters
from node.chain.governance import CheckpointStatement
from node.chain.reference import ReferenceName
from node.chain.time_rules import UnfitCause
from node.consensus.standing import Standing
from node.limits import TX_BYTES_MAX

REQUEST_BYTES_MAX: Final = 4 * TX_BYTES_MAX
REPLY_BYTES_MAX: Final = 16 * TX_BYTES_MAX  # a block with its results
BATCH_TXS_MAX: Final = 1_000
BATCHES_OUTSTANDING_MAX: Final = 32  # per stream
WAIT_MS_MAX: Final = 60_000
RECEIPTS_PAGE_MAX: Final = 256
RECORDS_PAGE_MAX: Final = 1_000
HANDOVERS_PAGE_MAX: Final = 256
STATE_ENTRIES_PAGE_MAX: Final = 1_000
STATE_KEY_BYTES_MAX: Final = 512
PAGE_TOKEN_BYTES_MAX: Final = 8  # a place in the log


# --- Submitting ---


class BatchTicket(Protocol):
    """A batch inside the node. One future serves the whole batch, whatever its size."""

    @property
    def admissions(self) -> Sequence[Admission]:
        """One verdict per transaction of the batch, in its order."""

    @property
    def results(self) -> Sequence[FinalResult | None]:
        """What is known by now, in the order of the batch; None where refused or not final yet."""

    async def wait_final(self) -> None:
        """Return when every admitted transaction has its result, at once if none was admitted.

        Cancelling the wait changes nothing for the transactions.
        """

    def close(self) -> None:
        """Forget the batch's waiting, not its transactions: nobody will ask again."""


# --- Status ---


class Health(IntEnum):
    """How a validator is. Numbers are those of the wire."""

    STARTING = 1
    CATCHING_UP = 2
    READY = 3
    HALTED = 4
    FOLLOWING = 5
    """It holds the chain, and is no validator in the epoch in force."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus:
    """One validator's word about itself."""

    validator_id: str
    chain_id: bytes
    version: str
    health: Health
    health_detail: str
    """Why it is not ready, for a person; empty when ready."""
    height: int
    header_digest: bytes
    """Digest of the header at `height`."""
    time_ms: int
    """T of that header, milliseconds since 1970 UTC."""
    view: int
    epoch: int
    peers_connected: int
    pending: int
    """Transactions waiting for a block."""
    time_degraded: bool = False
    """Whether blocks are made now whose T no clock vouches for."""

    def reckoned_ms(self, clock_ms: int) -> int:
        """Return the time from which not-after is reckoned, for a client whose clock says this."""
        least_ms = self.time_ms + 1
        return least_ms if self.time_degraded else max(clock_ms, least_ms)


# --- Diagnosis ---


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSight:
    """What one validator sees of another, and what that one last said of itself."""

    validator_id: str
    connected: bool
    """Whether messages go out to it."""
    heard_ms_ago: int | None
    """How long ago anything came from it; None: never since the start."""
    height: int | None
    """Of its newest block, by its word; None while it never said."""
    view: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What one validator knows of why the chain moves or does not, at one moment."""

    status: NodeStatus
    clock_ms: int
    """Its UTC clock when it answered."""
    epoch: int
    """In force there for the next height."""
    validators: tuple[str, ...]
    """Ids of that epoch's validators, in the order of the set."""
    parameters: Parameters
    """Of that epoch."""
    standing: Standing
    peers: tuple[PeerSight, ...]
    """Everybody else it has a link to."""
    chaos: str = ""
    """What is wrong with it on purpose, for a trial, for a person."""
    accused: tuple[str, ...] = ()
    """Validators of whose misbehaviour it holds proof."""
    clock_cause: UnfitCause = UnfitCause.NONE
    """Why it does not take its clock for right."""
    clock_detail: str = ""
    """The figures that rests on, in English."""
    stamping_identity: str = ""
    """Under which it records requests for time stamps; empty where it takes none."""
    stamping_identity_ends_ms: int = 0
    """By the chain's state; 0 where the chain does not know that identity."""


# --- Membership ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Follower:
    """A node outside the set in force that follows the chain by way of the one asked."""

    node_id: str
    organisation: str
    height: int | None
    """Of its newest block, by its word; None while it never said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member of the set in force."""

    validator_id: str
    organisation: str
    address: str
    """Where it listens for peers by the state; empty where that does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """Who decides the next height, by the state of one node."""

    epoch: int
    members: tuple[Member, ...]
    """In the order of the set."""
    followers: tuple[Follower, ...]


# --- Receipts and records ---


class RecordStatus(IntEnum):
    """Whether a record still stands. Numbers are those of the wire."""

    NONE = 0
    """It carries no reference, hence has no status."""
    IN_FORCE = 1
    SUPERSEDED = 2
    WITHDRAWN = 3
    """For good, whatever is recorded under its reference later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFilter:
    """Which records are asked for: those that match every field given."""

    reference: str | None = None
    type_code: str | None = None
    from_ms: int | None = None
    """Earliest T, inclusive."""
    to_ms: int | None = None
    """Latest T, exclusive."""
    digest: bytes | None = None
    """32 bytes."""


@dataclass(frozen=True, slots=True)
class RecordEntry:
    """A committed record as the log holds it."""

    log_index: int
    leaf: bytes
    """Canonical `record-leaf`: what `node.chain.record.RecordLeaf.decode` takes."""
    status: RecordStatus


@dataclass(frozen=True, slots=True)
class RecordPage:
    """Records in log order."""

    records: tuple[RecordEntry, ...]
    next_page_token: bytes
    """Opaque, at most 64 bytes; empty on the last page."""


# --- Refusals ---


NoteRefusal = Callable[[str, str, str], None]
"""Is told who was refused, what, and the code or word that says why."""


def ignore_refusal(_who: str, _what: str, _why: str) -> None:
    """Note nothing."""


# --- Blocks ---


@dataclass(frozen=True, slots=True)
class Block:
    """A block as stored."""

    block: bytes
    """Canonical `certified-block`."""
    results: tuple[bytes, ...]
    """Canonical `result`, one per transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedTransaction:
    """A transaction with its place in the chain and its outcome."""

    height: int
    index: int
    """Position in its block."""
    time_ms: int
    """T of its block, milliseconds since 1970 UTC."""
    transaction: bytes
    """Canonical `transaction`."""
    result: bytes
    """Canonical `result`."""


@dataclass(frozen=True, slots=True)
class CertifiedHeader:
    """What a trust file pins."""

    header: bytes
    """Canonical `header`."""
    certificate: bytes
    """Canonical `certificate`; empty for height 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockSummary:
    """A committed block in one line."""

    height: int
    header_digest: bytes
    time_ms: int
    """T, milliseconds since 1970 UTC."""
    time_degraded: bool
    view: int
    proposer: int
    """Index in the validator set."""
    transactions: int
    records: int
    signers: int
    """Votes in the commit certificate."""


# --- Rights ---


@dataclass(frozen=True, slots=True)
class StateEntries:
    """Part of the state, in order of its keys."""

    height: int
    """Of the newest block there when it was asked."""
    entries: tuple[tuple[bytes, bytes], ...]
    """Canonical `state-key` and value."""


# --- The port ---


class NodeApi(Protocol):
    """The node as its client API sees it. Arguments are bounded and well formed when they arrive.

    Every method may raise `ClientError` for a request that cannot be served as asked; any other
    error means that the node is at fault.
    """

    async def submit_batch(self, transactions: Sequence[bytes], submitter: str) -> BatchTicket:
        """Judge 1..`BATCH_TXS_MAX` encoded transactions for admission and queue the sound ones.

        `submitter` is the identity of the connection, a hint for fairness and logs: rights are
        judged on the signed transactions. Batches of a stream are handed over one after the other,
        and are queued in that order.
        """

    async def submit_call(self, transactions: Sequence[bytes], submitter: str) -> BatchTicket:
        """Do the same for what came in a call of its own, whose order to others means nothing.

        Where they are few, they are judged together with those of other calls.
        """

    async def status(self) -> NodeStatus:
        """Return how the node is."""

    async def diagnosis(self) -> Diagnosis:
        """Return what the node knows of why the chain moves or does not."""

    async def evidence(self) -> Sequence[bytes]:
        """Return the canonical proofs of misbehaviour that the node holds, in a fixed order."""

    async def membership(self) -> Membership:
        """Return who decides the next height, and who follows by way of this node."""

    async def checkpoint(self) -> CheckpointStatement:
        """Return this node's signed statement of the newest header it holds, durably."""

    async def receipt_of_operation(self, tx_id: bytes, operation_index: int) -> bytes | None:
        """Return the canonical receipt of one record, or None if there is no such record."""

    async def receipt_of_digest(self, digest: bytes) -> bytes | None:
        """Return the canonical receipt of the earliest record of a document's digest, or None."""

    async def receipts(
        self, tx_id: bytes, first_operation: int, limit: int
    ) -> Sequence[bytes] | None:
        """Return up to `limit` receipts of a transaction from one operation on, none past the last.

        None if no transaction of this id wrote records.
        """

    async def records(self, wanted: RecordFilter, limit: int, page_token: bytes) -> RecordPage:
        """Return up to `limit` matching records; an empty token asks for the first page."""

    async def standing_proof(self, name: ReferenceName) -> bytes | None:
        """Return the canonical proof of what stands under a reference after the newest block.

        None where nothing is certified yet.
        """

    async def consistency_proof(self, old_height: int, new_height: int | None) -> bytes | None:
        """Return the canonical proof that the chain only grew from one height to a later one.

        To the newest block if `new_height` is None; None where a height lies above the tip.
        """

    async def block(self, height: int) -> Block | None:
        """Return a committed block, or None above the tip."""

    async def transaction(self, tx_id: bytes) -> CommittedTransaction | None:
        """Return a committed transaction, or None."""

    async def time_stamp(self, request: bytes, client: str) -> bytes:
        """Have a request recorded and return the reply: the DER of TimeStampResp (RFC 3161).

        `request` is said to be the DER of TimeStampReq. `client` is the identity of the connection,
        by which its quota is counted.
        """

    async def certified_header(self, height: int | None) -> CertifiedHeader | None:
        """Return a committed header with its certificate, the newest if `height` is None."""

    async def handovers(self, from_epoch: int, limit: int) -> Sequence[bytes]:
        """Return up to `limit` canonical handovers, from the one that ends `from_epoch` on.

        None of them where that epoch has not ended here.
        """

    async def state_entries(self, kind: int, after: bytes, limit: int) -> StateEntries:
        """Return up to `limit` entries of the state of one kind whose keys come after one.

        Raises `ClientError` for a kind that is not of organisations, identities, rights or rules.
        """

    async def genesis(self) -> bytes:
        """Return the canonical genesis."""

    def blocks(self, from_height: int) -> AsyncGenerator[BlockSummary]:
        """Yield every committed block from `from_height` on, waiting for those to come.

        It is closed (`aclose`) when the caller goes away.
        """
