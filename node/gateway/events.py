"""Server-sent events: what happens on the chain, to applications that keep a connection open.

Format: WHATWG HTML, section 9.2. An event's id is its place on the chain, so a connection that ends
anywhere is gone on with by `Last-Event-ID`, at this gateway or another, and nothing is missed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from typing import Final

import msgspec

from node.client.events import KINDS, Event, EventId, kind_of
from node.errors import ClientError, NodeError
from node.gateway.door import Caller
from node.gateway.exchange import Exchange
from node.gateway.feed import EventFeed, describe_event
from node.gateway.problems import TOO_OFTEN, UNKNOWN_CALLER, Refusal
from node.gateway.schema import EventQuestion

EVENTS_TYPE: Final = "text/event-stream"
STREAMS_MAX: Final = 64
STREAMS_OF_ONE_MAX: Final = 8
KEEP_ALIVE_S: Final = 15.0
"""After so long without an event a comment is sent: who went away is noticed by it."""


class EventStreams:
    """The streams that are open."""

    def __init__(self, feed: EventFeed, may_go_on: Callable[[Caller], bool]) -> None:
        """`may_go_on` says of who was let in whether it still would be."""
        self._feed, self._may_go_on = feed, may_go_on
        self._open: Counter[str] = Counter()

    @property
    def count(self) -> int:
        """How many are open."""
        return self._open.total()

    def open(self, asked: Exchange) -> AsyncGenerator[bytes]:
        """Return what is sent; raises `Refusal` where there is no room, `ClientError`."""
        question = asked.query_as(EventQuestion)
        kinds = frozenset(question.types.split(",")) if question.types else frozenset(KINDS)
        place = asked.last_event_id or question.after
        after = None if place is None else EventId.parse(place)
        name = asked.caller.application.name
        if self.count >= STREAMS_MAX or self._open[name] >= STREAMS_OF_ONE_MAX:
            raise Refusal(
                429,
                f"expected at most {STREAMS_OF_ONE_MAX} streams, {STREAMS_MAX} of all together",
                code=TOO_OFTEN,
                retry_ms=10_000,
            )
        return self._send(asked.caller, kinds, after)

    async def _send(
        self, caller: Caller, kinds: frozenset[str], after: EventId | None
    ) -> AsyncGenerator[bytes]:
        name = caller.application.name
        self._open[name] += 1
        try:
            yield b": govchain\n\n"
            async with aclosing(self._feed.listen(after)) as events:
                following = asyncio.ensure_future(anext(events))
                try:
                    while True:
                        done, _ = await asyncio.wait([following], timeout=KEEP_ALIVE_S)
                        if not self._may_go_on(caller):
                            yield b": ended: " + UNKNOWN_CALLER.encode() + b"\n\n"
                            return
                        if not done:
                            yield b": still here\n\n"
                            continue
                        event = following.result()
                        if kind_of(event) in kinds:
                            yield encode_event(event)
                        following = asyncio.ensure_future(anext(events))
                except NodeError as error:
                    yield b": ended: " + error.code.encode() + b"\n\n"
                finally:
                    following.cancel()
                    with suppress(asyncio.CancelledError, ClientError):
                        await following
        finally:
            self._open[name] -= 1


def encode_event(event: Event) -> bytes:
    """Return an event as it is sent: the data is one line of JSON."""
    data = msgspec.json.encode(describe_event(event))
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (
        str(event.id).encode(),
        kind_of(event).encode(),
        data,
    )
