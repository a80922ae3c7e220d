"""What happens on the chain, fetched and proved once for all who listen, from any place on."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final, assert_never

from node.client import Client
from node.client.blocks import BlockReader, ProvedBlock
from node.client.events import (
    BlockCommitted,
    Event,
    EventId,
    GovernanceDecided,
    TransactionFinal,
    events_of,
    follow_blocks,
    newest_height,
)
from node.errors import ClientError
from node.gateway.schema import AnyEvent, BlockEvent, GovernanceEvent, TransactionEvent

RECENT_BLOCKS: Final = 256
_PAUSE_S: Final = 1.0
"""Before the validators are asked again, where none answered."""


class EventFeed:
    """The events of a chain. Run it as a task; listen to it from as many others as there are."""

    def __init__(self, client: Client, on_failure: Callable[[Exception], None]) -> None:
        """`on_failure` learns why the validators cannot be followed for now."""
        self._client, self._on_failure = client, on_failure
        self._reader = BlockReader(client.chain, client.ledger)
        self._recent: OrderedDict[int, tuple[Event, ...]] = OrderedDict()
        self._tip: int | None = None
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Follow the chain until cancelled."""
        while True:
            try:
                start = await self._start()
                ledger = self._client.ledger
                async with aclosing(follow_blocks(ledger, self._reader, start)) as blocks:
                    async for block in blocks:
                        self._take(block)
            except ClientError as error:
                self._on_failure(error)
                await asyncio.sleep(_PAUSE_S)

    async def listen(self, after: EventId | None) -> AsyncGenerator[Event]:
        """Yield events for ever: those after an id, or those of blocks to come.

        Raises `ClientError` where what is past cannot be fetched.
        """
        while self._tip is None:
            await self._wait()
        height = self._tip + 1 if after is None else after.height
        while True:
            while height > self._tip:
                await self._wait()
            for event in await self._events(height):
                if after is None or event.id > after:
                    yield event
            height += 1

    async def _start(self) -> int:
        if self._tip is None:
            self._tip = await newest_height(self._client.ledger)
            self._tell()
        return self._tip + 1

    def _take(self, block: ProvedBlock) -> None:
        height = block.certified.header.height
        self._recent[height] = tuple(events_of(block))
        while len(self._recent) > RECENT_BLOCKS:
            self._recent.popitem(last=False)
        self._tip = height
        self._tell()

    async def _events(self, height: int) -> tuple[Event, ...]:
        if height == 0:  # genesis: nobody certified it, nothing happened in it
            return ()
        found = self._recent.get(height)
        return tuple(events_of(await self._reader.read(height))) if found is None else found

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _wait(self) -> None:
        await self._changed.wait()


def describe_event(event: Event) -> AnyEvent:
    """Return an event as it goes over the wire."""
    match event:
        case BlockCommitted():
            return BlockEvent(
                id=str(event.id),
                time_ms=event.time_ms,
                height=event.id.height,
                digest=event.header_digest.hex(),
                time_degraded=event.time_degraded,
                transactions=event.transactions,
                records=event.records,
            )
        case TransactionFinal():
            return TransactionEvent(
                id=str(event.id),
                time_ms=event.time_ms,
                height=event.id.height,
                transaction=event.tx_id.hex(),
                sender=event.sender,
                kind=event.kind,
                result=event.result.name,
                records=event.records,
                log_index=event.log_index,
            )
        case GovernanceDecided():
            return GovernanceEvent(
                id=str(event.id),
                time_ms=event.time_ms,
                height=event.id.height,
                transaction=event.tx_id.hex(),
                sender=event.sender,
                operations=list(event.operations),
                approvals=list(event.approvals),
            )
        case _:
            assert_never(event)
