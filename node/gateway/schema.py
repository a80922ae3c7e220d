"""What goes over the wire as JSON: requests, answers, events. The OpenAPI page is made of these."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from node.limits import RECORD_REFERENCE_BYTES_MAX, RECORD_TYPE_BYTES_MAX, TX_RECORDS_MAX
from node.rpc.port import RECORDS_PAGE_MAX

HEIGHT_MAX = 2**63 - 1
_TIME_MAX_MS = 2**53 - 1

Digest = Annotated[
    str, Meta(pattern="^[0-9a-f]{64}$", description="SHA-256 of a document, hexadecimal.")
]
TransactionId = Annotated[
    str, Meta(pattern="^[0-9a-f]{64}$", description="Id of a transaction, hexadecimal.")
]
TypeCode = Annotated[
    str,
    Meta(min_length=1, max_length=RECORD_TYPE_BYTES_MAX, description="Kind of document."),
]
Reference = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=RECORD_REFERENCE_BYTES_MAX,
        description="The issuer's own name of what the document states.",
    ),
]
TimeMs = Annotated[int, Meta(ge=0, le=_TIME_MAX_MS, description="Milliseconds since 1970 UTC.")]
Height = Annotated[int, Meta(ge=1, le=HEIGHT_MAX, description="Height of a block.")]
Base64 = Annotated[str, Meta(description="Base64 (RFC 4648 section 4).")]
Action = Literal["record", "supersede", "withdraw"]


class _Wire(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A JSON object with these members and no others."""


class NewRecord(_Wire, frozen=True):
    """A document to be recorded. Its content never leaves the application."""

    digest: Digest
    reference: Reference | None = None


class NewRecords(_Wire, frozen=True):
    """Documents to be recorded together, in one transaction: all or none."""

    records: Annotated[list[NewRecord], Meta(min_length=1, max_length=TX_RECORDS_MAX)]
    type: TypeCode = "document"
    action: Action = "record"


class MadeRecord(_Wire, frozen=True):
    """A record on the chain. Its receipt was verified."""

    digest: Digest
    reference: str | None
    operation: int
    receipt: str
    """Where its receipt is, relative to this host."""


class MadeRecords(_Wire, frozen=True):
    """What became of documents to be recorded."""

    transaction: TransactionId
    height: int
    time: str
    """Agreed time of the block, ISO 8601 UTC."""
    time_ms: int
    time_degraded: bool
    """Whether no clock vouches for that time."""
    records: list[MadeRecord]


class ListedRecord(_Wire, frozen=True):
    """A record as one validator tells of it: its receipt proves it."""

    log_index: int
    height: int
    time_ms: int
    digest: str
    """`ALGORITHM:HEX`."""
    type: str
    reference: str | None
    """Numbers of people and companies in it masked, as the gateway's policy says."""
    action: str
    status: str
    sender: str
    transaction: TransactionId
    operation: int
    receipt: str


class RecordList(_Wire, frozen=True):
    """A page of records, in the order of the log."""

    records: list[ListedRecord]
    next: str | None
    """Give this as `page` for what follows; null on the last page."""


class RecordQuestion(_Wire, frozen=True):
    """Which records are asked for."""

    reference: Reference | None = None
    type: TypeCode | None = None
    digest: Digest | None = None
    from_ms: TimeMs | None = None
    to_ms: TimeMs | None = None
    limit: Annotated[int, Meta(ge=1, le=RECORDS_PAGE_MAX)] = 100
    page: Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{1,88}$")] | None = None


class ReceiptQuestion(_Wire, frozen=True):
    """Whose receipt is asked for: the earliest record of a digest."""

    digest: Digest


class OperationPath(_Wire, frozen=True):
    """Where a record stands."""

    transaction: TransactionId
    operation: Annotated[int, Meta(ge=0, lt=TX_RECORDS_MAX)]


class TransactionPath(_Wire, frozen=True):
    """Which transaction is meant."""

    transaction: TransactionId


class BlockPath(_Wire, frozen=True):
    """Which block is meant."""

    height: Height


class Nothing(_Wire, frozen=True):
    """No parameters."""


class Verification(_Wire, frozen=True):
    """A receipt and the document that it is to be of."""

    receipt: Base64
    digest: Digest


class VerifiedStep(_Wire, frozen=True):
    """One step of a verification."""

    number: int
    name: str
    passed: bool
    detail: str


class Verdict(_Wire, frozen=True):
    """What a receipt shows, by the trust file of the gateway."""

    outcome: str
    """VERIFIED, NOT_VERIFIED or NOT_ROOTED."""
    steps: list[VerifiedStep]
    transaction: TransactionId | None = None
    operation: int | None = None
    height: int | None = None
    time_ms: int | None = None
    sender: str | None = None
    signers: list[str] | None = None


class ChainStatus(_Wire, frozen=True):
    """How the chain is, by the word of the validator that answered."""

    chain: str
    validator: str
    is_ready: bool
    height: int
    time_ms: int
    epoch: int
    time_degraded: bool


class FinalTransaction(_Wire, frozen=True):
    """What became of a transaction, proved by the block it is in."""

    transaction: TransactionId
    height: int
    time_ms: int
    sender: str
    kind: str
    result: str
    records: int
    log_index: int


class Block(_Wire, frozen=True):
    """A block that a quorum of the validators certified."""

    height: int
    digest: str
    time_ms: int
    time_degraded: bool
    epoch: int
    log_size: int
    transactions: list[TransactionId]


class EventQuestion(_Wire, frozen=True):
    """Which events are asked for."""

    types: (
        Annotated[
            str,
            Meta(
                pattern="^(block|transaction|governance)(,(block|transaction|governance))*$",
                description="Kinds of events, by commas; all unless told.",
            ),
        ]
        | None
    ) = None
    after: (
        Annotated[
            str,
            Meta(
                pattern="^[0-9]{1,18}[.][0-9]{1,9}$",
                description="Id of the last event that was seen; Last-Event-ID prevails.",
            ),
        ]
        | None
    ) = None


class BlockEvent(_Wire, frozen=True, tag_field="type", tag="block"):
    """A block is part of the chain."""

    id: str
    time_ms: int
    height: int
    digest: str
    time_degraded: bool
    transactions: int
    records: int


class TransactionEvent(_Wire, frozen=True, tag_field="type", tag="transaction"):
    """A transaction is final."""

    id: str
    time_ms: int
    height: int
    transaction: str
    sender: str
    kind: str
    result: str
    records: int
    log_index: int


class GovernanceEvent(_Wire, frozen=True, tag_field="type", tag="governance"):
    """A governed transaction took effect."""

    id: str
    time_ms: int
    height: int
    transaction: str
    sender: str
    operations: list[str]
    approvals: list[str]


AnyEvent = BlockEvent | TransactionEvent | GovernanceEvent
