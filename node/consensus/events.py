"""What goes into the core and what comes out: two closed sets of frozen structs.

Events carry *verified* messages: the driver decoded them strictly and checked every signature in
them (verification.py) before they became events. Actions are obeyed in order. The contract about
durability: what a `Cast...` or `Announce...` action signs is appended to the write-ahead log in
the order of the actions, and leaves the process, and comes back as an event, only when durable.
"""

from __future__ import annotations

from typing import NamedTuple

from node.chain.block import CertifiedHeader, Header
from node.chain.certificate import QuorumCertificate, Subject, Vote
from node.chain.struct import Struct
from node.consensus.messages import NewView, Proposal, Status, ViewChange


class Now(NamedTuple):
    """Two readings of this node's clocks, milliseconds: for timers, and UTC for agreed time."""

    monotonic_ms: int
    utc_ms: int
    is_fit: bool = True
    """Whether this node takes its UTC clock for right within the clock error."""


# --- Events ---


class ProposalReceived(Struct, frozen=True, gc=False):
    """A proposal whose embedded vote verified. `arrival_utc_ms`: when its frame came in."""

    proposal: Proposal
    arrival_utc_ms: int


class VoteReceived(Struct, frozen=True, gc=False):
    """Another validator's vote, its signature checked."""

    vote: Vote


class ViewChangeReceived(Struct, frozen=True, gc=False):
    """Another validator's VIEW-CHANGE, checked whole."""

    view_change: ViewChange


class NewViewReceived(Struct, frozen=True, gc=False):
    """A NEW-VIEW, checked whole."""

    new_view: NewView


class DecidedReceived(Struct, frozen=True, gc=False):
    """A header with a checked commit certificate, from a peer or from block sync."""

    decided: CertifiedHeader


class StatusReceived(Struct, frozen=True, gc=False):
    """Peer `validator` says where it stands."""

    validator: int
    status: Status


class PoolChanged(Struct, frozen=True, gc=False):
    """Whether any transaction waits to be ordered."""

    pending: bool


class PassedOver(Struct, frozen=True, gc=False):
    """The primary of `view` serves later transactions while one waits whose turn it is."""

    view: int
    tx_id: bytes
    """What waits."""
    earlier_by_ms: int
    """By how much it came before one that is final."""


class ProposalBuilt(Struct, frozen=True, gc=False):
    """The answer to `BuildProposal`; `header` is None when there was nothing to propose."""

    view: int
    height: int
    header: Header | None
    tx_hashes: tuple[bytes, ...]


class Validated(Struct, frozen=True, gc=False):
    """The answer to `Validate`: every body is held and execution gave exactly this header, or not.

    `matches` False means the bodies are held and the block is wrong.
    """

    header_digest: bytes
    matches: bool


class OwnVoteDurable(Struct, frozen=True, gc=False):
    """A vote this validator cast is on disk (the answer to `CastVote` and `CastProposal`)."""

    vote: Vote


class OwnViewChangeDurable(Struct, frozen=True, gc=False):
    """A VIEW-CHANGE this validator cast is on disk."""

    view_change: ViewChange


class OwnNewViewDurable(Struct, frozen=True, gc=False):
    """A NEW-VIEW this validator announces as primary is on disk."""

    new_view: NewView


class Tick(Struct, frozen=True, gc=False):
    """Time has passed; the driver sends one when `deadline()` is reached."""


Event = (
    ProposalReceived
    | VoteReceived
    | ViewChangeReceived
    | NewViewReceived
    | DecidedReceived
    | StatusReceived
    | PoolChanged
    | PassedOver
    | ProposalBuilt
    | Validated
    | OwnVoteDurable
    | OwnViewChangeDurable
    | OwnNewViewDurable
    | Tick
)


# --- Actions ---


class BuildProposal(Struct, frozen=True, gc=False):
    """Build a block on `parent_digest` from the pool and answer with `ProposalBuilt`."""

    view: int
    height: int
    parent_digest: bytes
    degraded_to_ms: int | None = None
    """None: stamp it by the clock. Else it is degraded, T by `degraded_time` up to this."""


class Validate(Struct, frozen=True, gc=False):
    """Hold every body of this header durably-to-be, execute it, answer with `Validated`.

    `tx_hashes` is None where only the header is known: `holders` (validator indices) have the list.
    """

    header: Header
    header_digest: bytes
    tx_hashes: tuple[bytes, ...] | None
    holders: tuple[int, ...]


class CastProposal(Struct, frozen=True, gc=False):
    """Log the block and this validator's PREPARE for it; when durable, broadcast both in one."""

    header: Header
    header_digest: bytes
    tx_hashes: tuple[bytes, ...]
    view: int


class CastVote(Struct, frozen=True, gc=False):
    """Sign, log, and when durable broadcast a vote.

    `evidence` is the prepared certificate a COMMIT rests on; it is logged with the vote.
    """

    subject: Subject
    evidence: CertifiedHeader | None


class CastViewChange(Struct, frozen=True, gc=False):
    """Sign, log, and when durable broadcast a VIEW-CHANGE."""

    view_change: ViewChange


class AnnounceNewView(Struct, frozen=True, gc=False):
    """Sign, log, and when durable broadcast a NEW-VIEW (primary only)."""

    new_view: NewView


class AdoptNewView(Struct, frozen=True, gc=False):
    """Log a NEW-VIEW that this validator accepted; its first vote there depends on it."""

    new_view: NewView


class Commit(Struct, frozen=True, gc=False):
    """Make this validated block final: apply it, in order, exactly once."""

    header: Header
    header_digest: bytes
    certificate: QuorumCertificate


class Retain(Struct, frozen=True, gc=False):
    """These are the undecided headers still pursued: release the transactions of all others."""

    header_digests: tuple[bytes, ...]


Sendable = Proposal | Vote | ViewChange | NewView | CertifiedHeader | Status


class Send(Struct, frozen=True, gc=False):
    """Send again what is durable already. `to` is a validator index, or None for all others."""

    to: int | None
    message: Sendable


class ReportEvidence(Struct, frozen=True, gc=False):
    """Two votes of one validator for one (phase, view, height) with different digests."""

    first: Vote
    second: Vote


class Trace(Struct, frozen=True, gc=False):
    """A transition or refusal, by rule id; never needed for correctness."""

    rule: str
    view: int
    height: int
    detail: str = ""


class Halt(Struct, frozen=True, gc=False):
    """Stop this node at once: a certified block contradicts its own execution."""

    reason: str


Action = (
    BuildProposal
    | Validate
    | CastProposal
    | CastVote
    | CastViewChange
    | AnnounceNewView
    | AdoptNewView
    | Commit
    | Retain
    | Send
    | ReportEvidence
    | Trace
    | Halt
)
