"""What happens on a chain, one event after the other, each with a place to go on from.

The events of a block are a pure function of it, so whoever comes back later finds the same ones
under the same ids, from any validator. No block is told of that is not proved.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, Self, TypeAlias

from node.chain.block import ResultCode, TransactionResult
from node.chain.governance import Governance
from node.chain.membership import faults_tolerated
from node.chain.transaction import Transaction
from node.client.blocks import BlockReader, ProvedBlock
from node.errors import ClientError, DecodeError
from node.rpc.client import LedgerClient
from node.rpc.connection import judge
from node.rpc.port import NodeStatus

HEIGHT_MAX: Final = 2**63 - 1
_INDEX_MAX: Final = 2**31 - 1
_ASK_MS: Final = 2_000
_WATCH_MS: Final = 600_000
"""How long one subscription lasts; then the next one follows it."""


@dataclass(frozen=True, slots=True, order=True)
class EventId:
    """Where an event stands: its block, and its place among the events of that, from 0."""

    height: int
    index: int

    def __str__(self) -> str:
        return f"{self.height}.{self.index}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `HEIGHT.INDEX`; raises `DecodeError`."""
        height, _, index = text.partition(".")
        for part in (height, index):
            if not (part.isascii() and part.isdigit() and len(part) < len(str(HEIGHT_MAX))):
                raise DecodeError(f"event id: expected HEIGHT.INDEX, got {text!r:.60}")
        found = cls(int(height), int(index))
        if str(found) != text or found.index > _INDEX_MAX:
            raise DecodeError(f"event id: expected HEIGHT.INDEX, got {text!r:.60}")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockCommitted:
    """A block is part of the chain."""

    id: EventId
    time_ms: int
    """T, milliseconds since 1970 UTC."""
    time_degraded: bool
    """Whether no clock vouches for that time."""
    header_digest: bytes
    transactions: int
    records: int
    """How many the transactions of the block wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionFinal:
    """A transaction is in a block: what became of it can no longer change."""

    id: EventId
    time_ms: int
    tx_id: bytes
    sender: str
    kind: str
    result: ResultCode
    records: int
    """How many it wrote: none if it failed."""
    log_index: int
    """Place in the log of the first of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GovernanceDecided:
    """A governed transaction took effect: who is on the chain, or what it goes by, changed."""

    id: EventId
    time_ms: int
    tx_id: bytes
    sender: str
    operations: tuple[str, ...]
    approvals: tuple[str, ...]
    """Identities that approved."""


Event: TypeAlias = BlockCommitted | TransactionFinal | GovernanceDecided

KINDS: Final = {
    "block": BlockCommitted,
    "transaction": TransactionFinal,
    "governance": GovernanceDecided,
}
"""The kinds of events by name."""


def kind_of(event: Event) -> str:
    """Return the name of an event's kind."""
    return next(name for name, kind in KINDS.items() if isinstance(event, kind))


def events_of(block: ProvedBlock) -> Iterator[Event]:
    """Yield the events of a block, in the order of their ids."""
    header = block.certified.header
    height, index = header.height, 0
    pairs = list(zip(block.certified.transactions, block.results, strict=True))
    yield BlockCommitted(
        id=EventId(height, index),
        time_ms=header.time_ms,
        time_degraded=header.time_degraded,
        header_digest=block.header_digest,
        transactions=len(pairs),
        records=sum(_records(transaction, result) for transaction, result in pairs),
    )
    for transaction, result in pairs:
        body, index = transaction.body, index + 1
        yield TransactionFinal(
            id=EventId(height, index),
            time_ms=header.time_ms,
            tx_id=transaction.tx_id,
            sender=body.sender,
            kind=body.kind.name.lower(),
            result=result.code,
            records=_records(transaction, result),
            log_index=result.log_index,
        )
        payload = body.payload
        if isinstance(payload, Governance) and result.code is ResultCode.OK:
            index += 1
            yield GovernanceDecided(
                id=EventId(height, index),
                time_ms=header.time_ms,
                tx_id=transaction.tx_id,
                sender=body.sender,
                operations=tuple(type(each).__name__ for each in payload.operations),
                approvals=tuple(each.identity_id for each in payload.approvals),
            )


async def newest_height(client: LedgerClient) -> int:
    """Return how far the chain is, by the word of f + 1 validators: one of them is correct.

    By that of one alone, events from now on would be those from any height that it likes to name.
    Raises `ClientError` where none answers.
    """
    told = await client.statuses(_ASK_MS)
    heights = [each.height for each in told.values() if isinstance(each, NodeStatus)]
    if not heights:
        raise judge([each for each in told.values() if isinstance(each, ClientError)])
    faults = faults_tolerated(len(told))
    return sorted(heights, reverse=True)[min(faults, len(heights) - 1)]


async def follow_blocks(
    client: LedgerClient, reader: BlockReader, start: int
) -> AsyncGenerator[ProvedBlock]:
    """Yield the blocks from a height on, for ever.

    Raises `ClientError` where no validator answers any more.
    """
    while True:
        async with aclosing(client.blocks(start, _WATCH_MS)) as summaries:
            async for summary in summaries:
                yield await reader.read(summary.height)
                start = summary.height + 1


async def follow_events(
    client: LedgerClient, reader: BlockReader, after: EventId | None
) -> AsyncGenerator[Event]:
    """Yield events for ever: those after an id, or from the next block on.

    Raises `ClientError` as above; going on after the last id that was seen loses nothing.
    """
    start = await newest_height(client) + 1 if after is None else max(1, after.height)
    async with aclosing(follow_blocks(client, reader, start)) as blocks:
        async for block in blocks:
            for event in events_of(block):
                if after is None or event.id > after:
                    yield event


def _records(transaction: Transaction, result: TransactionResult) -> int:
    return transaction.body.payload.count if result.code is ResultCode.OK else 0
