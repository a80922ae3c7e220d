"""The peer transport: one stream dialled to every other validator, one accepted from each.

It moves opaque messages between authenticated members and knows nothing of their meaning. Messages
may be lost (overflow, a broken stream), never altered or attributed to another; whoever needs one
delivered sends it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

import grpc

from node.crypto.certificate import CertificateIdentity
from node.errors import DecodeError, PeerError
from node.limits import PEER_FRAME_BYTES_MAX, PEER_MESSAGE_BYTES_MAX, PEER_QUEUE_BYTES_MAX
from node.rpc.identity import AccessError, Gatekeeper, TlsIdentity, channel_credentials
from node.rpc.outbox import FRAME_MESSAGES_MAX, Outbox
from node.rpc.pb.peer_pb2 import PeerFrame
from node.rpc.pb.peer_pb2_grpc import PeerServicer, PeerStub
from node.rpc.strict import refuse_unknown_fields

UNREACHABLE_QUEUE_BYTES_MAX: Final = PEER_MESSAGE_BYTES_MAX
"""Bound of the queue while the peer is away: it will be told anew, so old messages are no use."""

CONNECT_TIMEOUT_MS: Final = 3_000
BACKOFF_MS_MIN: Final = 50
BACKOFF_MS_MAX: Final = 2_000

VALIDATOR_ROLE: Final = "validator"
KEEPALIVE_OPTIONS: Final = (
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
)

_Stream: TypeAlias = grpc.aio.StreamStreamCall[PeerFrame, PeerFrame]
_CHANNEL_OPTIONS: Final = (
    *KEEPALIVE_OPTIONS,
    ("grpc.max_send_message_length", PEER_FRAME_BYTES_MAX),
    ("grpc.max_receive_message_length", 0),  # nothing is expected in this direction
    ("grpc.use_local_subchannel_pool", 1),  # else a new channel inherits an old one's back-off
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemotePeer:
    """Another validator: its place in the set, who it must prove to be, where it listens."""

    index: int
    validator_id: str
    organisation: str
    address: str
    """`host:port`, an IPv6 host in brackets."""


@dataclass(slots=True)
class PeerState:
    """How things stand with one peer, and what passed since the start (those never decrease)."""

    is_connected: bool = False
    """Whether messages go out to it."""
    last_error: str = ""
    """Why the last attempt to connect, or the last stream, ended; for a person."""
    connections: int = 0
    """Streams to the peer that came about."""
    frames_sent: int = 0
    """Handed to a stream: what a broken one still held may not have arrived."""
    messages_sent: int = 0
    bytes_sent: int = 0
    frames_received: int = 0
    messages_received: int = 0
    bytes_received: int = 0
    messages_dropped: int = 0
    """Not sent, because the queue overflowed."""
    bytes_dropped: int = 0


class PeerListener(Protocol):
    """What the transport tells its owner, all on the event loop."""

    async def on_messages(self, peer: int, messages: Sequence[bytes]) -> None:
        """Take the messages of one frame, in order, most urgent first.

        The peer's next frame is read when this returns: an owner that cannot keep up waits here.
        Raise `PeerError` or `DecodeError` to break the peer's stream.
        """

    def on_peer(self, peer: int, *, connected: bool) -> None:
        """Learn that messages to `peer` go out from now on, or no longer do."""

    def on_failure(self, error: Exception) -> None:
        """Learn that `on_messages` raised something else, which is this node's own fault."""


class PeerTransport(PeerServicer):
    """Sends to every other validator and receives from each. Use it on one event loop.

    `jitter` draws from [0, 1): it spreads reconnections, so that validators that lost one peer at
    the same time do not come back at the same time.
    """

    def __init__(
        self,
        peers: Sequence[RemotePeer],
        listener: PeerListener,
        *,
        tls: TlsIdentity,
        gatekeeper: Gatekeeper,
        jitter: Callable[[], float],
    ) -> None:
        self._listener = listener
        self._gatekeeper = gatekeeper
        self._peers = {peer.validator_id: peer for peer in peers}
        self._accepted: dict[int, object] = {}  # the newest stream of each peer, by its context
        self._links = {
            peer.index: _Link(
                peer,
                channel_credentials(tls, gatekeeper.root_pem(peer.organisation)),
                listener,
                jitter,
            )
            for peer in peers
        }
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to dial every peer, and keep dialling. Messages queued before are sent then."""
        self._tasks = [asyncio.create_task(link.run()) for link in self._links.values()]

    async def stop(self) -> None:
        """Close the streams to all peers. What still waits is not sent."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def send(self, peer: int, priority: int, message: bytes) -> None:
        """Queue a message for one peer. Returns at once; `priority` is one of `Priority`."""
        self._links[peer].put(priority, message)

    def broadcast(self, priority: int, message: bytes) -> None:
        """Queue a message for every peer, without copying it."""
        for link in self._links.values():
            link.put(priority, message)

    @property
    def connected(self) -> tuple[int, ...]:
        """Return the peers that messages go out to, in order of index."""
        return tuple(sorted(peer for peer, link in self._links.items() if link.state.is_connected))

    @property
    def states(self) -> Mapping[int, PeerState]:
        """Return how things stand with every peer, by index."""
        return {peer: link.read_state() for peer, link in self._links.items()}

    async def Exchange(  # type: ignore[override]  # the stub knows the generator style alone
        self,
        request_iterator: AsyncIterator[PeerFrame],
        context: grpc.aio.ServicerContext[PeerFrame, PeerFrame],
    ) -> None:
        """Accept a peer's stream and hand on what comes, until it ends or breaks a rule.

        A peer that lost its stream may be back before this end has noticed, so its newest stream
        counts; an older one is refused at its next frame.
        """
        try:
            peer = self._recognise(self._gatekeeper.identify(context.auth_context()))
        except AccessError as error:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))
        self._accepted[peer.index] = context
        await context.send_initial_metadata(())
        self._links[peer.index].hurry()
        try:
            async for frame in request_iterator:
                if self._accepted.get(peer.index) is not context:
                    await context.abort(grpc.StatusCode.ABORTED, "a newer stream took over")
                await self._receive(peer.index, frame)
        except (PeerError, DecodeError) as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        finally:
            if self._accepted.get(peer.index) is context:
                del self._accepted[peer.index]

    def _recognise(self, identity: CertificateIdentity) -> RemotePeer:
        peer = self._peers.get(identity.identity_id)
        if peer is None or identity.role != VALIDATOR_ROLE:
            raise AccessError(f"{identity.role} {identity.identity_id!r} is no other validator")
        if peer.organisation != identity.organisation:
            raise AccessError(
                f"{identity.identity_id!r}: expected a certificate of {peer.organisation!r}, "
                f"got one of {identity.organisation!r}"
            )
        return peer

    async def _receive(self, peer: int, frame: PeerFrame) -> None:
        refuse_unknown_fields(frame)
        if len(frame.messages) > FRAME_MESSAGES_MAX:
            raise PeerError(
                "frame-messages",
                f"expected at most {FRAME_MESSAGES_MAX} messages, got {len(frame.messages)}",
            )
        messages = list(frame.messages)
        sizes = [len(message) for message in messages]
        if max(sizes, default=0) > PEER_MESSAGE_BYTES_MAX:
            raise PeerError(
                "message-size",
                f"expected at most {PEER_MESSAGE_BYTES_MAX} bytes, got {max(sizes)}",
            )
        state = self._links[peer].state
        state.frames_received += 1
        state.messages_received += len(messages)
        state.bytes_received += sum(sizes)
        try:
            await self._listener.on_messages(peer, messages)
        except (PeerError, DecodeError):
            raise
        except Exception as error:
            self._listener.on_failure(error)
            raise


class _Link:
    """The stream this node dials to one peer, dialled again whenever it ends."""

    def __init__(
        self,
        peer: RemotePeer,
        credentials: grpc.ChannelCredentials,
        listener: PeerListener,
        jitter: Callable[[], float],
    ) -> None:
        self._peer = peer
        self._credentials = credentials
        self._listener = listener
        self._jitter = jitter
        self._outbox = Outbox(UNREACHABLE_QUEUE_BYTES_MAX)
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        self.state = PeerState()

    def put(self, priority: int, message: bytes) -> None:
        """Queue a message and wake the writer."""
        self._outbox.put(priority, message)
        self._wake.set()

    def hurry(self) -> None:
        """Dial now if the next attempt is being waited for: the peer has shown that it is up."""
        self._hurry.set()

    def read_state(self) -> PeerState:
        """Return the state, what the queue dropped included."""
        self.state.messages_dropped = self._outbox.messages_dropped
        self.state.bytes_dropped = self._outbox.bytes_dropped
        return self.state

    async def run(self) -> None:
        """Dial for ever, waiting longer each time a stream did not last."""
        loop = asyncio.get_running_loop()
        backoff_ms = BACKOFF_MS_MIN
        while True:
            started_s = loop.time()
            self._hurry.clear()
            try:
                await self._converse()
            except Exception as error:
                self._listener.on_failure(error)
                raise
            if (loop.time() - started_s) * 1_000 > CONNECT_TIMEOUT_MS + BACKOFF_MS_MAX:
                backoff_ms = BACKOFF_MS_MIN
            pause_ms = backoff_ms * (1 + self._jitter()) / 2
            await asyncio.sleep(BACKOFF_MS_MIN / 2_000)  # even in a hurry
            with suppress(TimeoutError):
                async with asyncio.timeout((pause_ms - BACKOFF_MS_MIN / 2) / 1_000):
                    await self._hurry.wait()
            backoff_ms = min(2 * backoff_ms, BACKOFF_MS_MAX)

    async def _converse(self) -> None:
        """Dial once, and send for as long as the stream lasts."""
        target = ("grpc.ssl_target_name_override", self._peer.validator_id)
        async with grpc.aio.secure_channel(
            self._peer.address, self._credentials, (*_CHANNEL_OPTIONS, target)
        ) as channel:
            stream: _Stream = PeerStub(channel).Exchange()
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_MS / 1_000):
                    await stream.initial_metadata()  # sent once the peer has accepted us
            except TimeoutError:
                self.state.last_error = f"no answer within {CONNECT_TIMEOUT_MS} ms"
                return
            if not stream.done():
                stream.add_done_callback(lambda _: self._wake.set())
                self._set_connected(connected=True)
                try:
                    await self._write_to(stream)
                finally:
                    self._set_connected(connected=False)
            self.state.last_error = f"{(await stream.code()).name}: {await stream.details()}"

    async def _write_to(self, stream: _Stream) -> None:
        """Send until the stream ends, each turn all that waits as one frame."""
        state = self.state
        while not stream.done():
            messages = self._outbox.take_frame()
            if not messages:
                self._wake.clear()
                await self._wake.wait()
                continue
            state.frames_sent += 1
            state.messages_sent += len(messages)
            state.bytes_sent += sum(map(len, messages))
            try:
                await stream.write(PeerFrame(messages=messages))
            except (grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError):
                return

    def _set_connected(self, *, connected: bool) -> None:
        self.state.is_connected = connected
        self.state.connections += connected
        self._outbox.resize(PEER_QUEUE_BYTES_MAX if connected else UNREACHABLE_QUEUE_BYTES_MAX)
        self._listener.on_peer(self._peer.index, connected=connected)
