"""The peer transport: one stream dialled to every other validator, one accepted from each.

It moves opaque messages between authenticated nodes and knows nothing of their meaning. Messages
may be lost (overflow, a broken stream), never altered or attributed to another; whoever needs one
delivered sends it again.

Who the others are may change at any time (`assign`). Besides them, followers come by themselves:
whoever the owner lets in is dialled for as long as its own stream lasts, so that it gets answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

import grpc

from node.crypto.certificate_profile import CertificateIdentity
from node.errors import DecodeError, InvariantViolation, PeerError
from node.limits import PEER_FRAME_BYTES_MAX, PEER_MESSAGE_BYTES_MAX, PEER_QUEUE_BYTES_MAX
from node.rpc.identity import (
    AccessError,
    Gatekeeper,
    TlsSource,
    channel_credentials,
    read_distrust,
)
from node.rpc.outbox import FRAME_MESSAGES_MAX, Outbox
from node.rpc.pb.peer_pb2 import PeerFrame
from node.rpc.pb.peer_pb2_grpc import PeerServicer, PeerStub
from node.rpc.strict import refuse_malformed

UNREACHABLE_QUEUE_BYTES_MAX: Final = PEER_MESSAGE_BYTES_MAX
"""Bound of the queue while the peer is away: it will be told anew, so old messages are no use."""

CONNECT_TIMEOUT_MS: Final = 3_000
BACKOFF_MS_MIN: Final = 50
BACKOFF_MS_MAX: Final = 2_000

FOLLOWERS_MAX: Final = 16
"""At once; each costs a stream both ways and what it asks for."""

VALIDATOR_ROLE: Final = "validator"
_CUT_OFF: Final = ("Socket closed", "Connection reset")
"""What gRPC says of a peer that was there and let go before it took our certificate."""
_CUT_OFF_TIMES: Final = 3
"""In a row; fewer are of a peer that ends or starts."""
_REFUSALS_TOLD_MAX: Final = 64
KEEPALIVE_OPTIONS: Final = (
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
)

_Context: TypeAlias = grpc.aio.ServicerContext[PeerFrame, PeerFrame]
_Stream: TypeAlias = grpc.aio.StreamStreamCall[PeerFrame, PeerFrame]
_CHANNEL_OPTIONS: Final = (
    *KEEPALIVE_OPTIONS,
    ("grpc.max_send_message_length", PEER_FRAME_BYTES_MAX),
    ("grpc.max_receive_message_length", 0),  # nothing is expected in this direction
    ("grpc.use_local_subchannel_pool", 1),  # else a new channel inherits an old one's back-off
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
)


@dataclass(frozen=True, slots=True)
class RemotePeer:
    """Another node: the number it goes by, who it must prove to be, where it may listen."""

    number: int
    validator_id: str
    organisation: str
    """Whose authority has to certify it; empty: that of any member organisation."""
    addresses: tuple[str, ...]
    """`host:port` to try in turn, an IPv6 host in brackets; none: it is waited for."""


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


@dataclass(frozen=True, slots=True, eq=False)
class _Accepted:
    """A stream from a peer, and the task that reads it."""

    context: _Context
    task: asyncio.Task[object]


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

    def on_refusal(self, reason: str) -> None:
        """Learn that somebody was not let in, or does not let us in; told once while it lasts."""


class Porter(Protocol):
    """Decides who may follow."""

    def __call__(self, shown: CertificateIdentity, /) -> RemotePeer:
        """Return whom to answer; raises `PeerError` saying why it may not come in."""


def turn_away(shown: CertificateIdentity) -> RemotePeer:
    """Let nobody follow."""
    raise PeerError("stranger", f"{shown.role} {shown.identity_id!r} is no other validator")


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
        tls: TlsSource,
        gatekeeper: Gatekeeper,
        jitter: Callable[[], float],
        porter: Porter = turn_away,
    ) -> None:
        self._listener, self._porter = listener, porter
        self._tls, self._gatekeeper, self._jitter = tls, gatekeeper, jitter
        self._peers: dict[str, RemotePeer] = {}
        self._followers: dict[str, RemotePeer] = {}
        self._accepted: dict[int, _Accepted] = {}  # the newest stream of each peer
        self._links: dict[int, _Link] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._ending: dict[asyncio.Task[None], None] = {}
        self._is_running = False
        self._refused: dict[str, str] = {}
        self.assign(peers)

    async def start(self) -> None:
        """Begin to dial every peer, and keep dialling. Messages queued before are sent then."""
        self._is_running = True
        self._tasks = {peer: asyncio.create_task(link.run()) for peer, link in self._links.items()}

    async def stop(self) -> None:
        """Close the streams to all peers. What still waits is not sent."""
        self._is_running = False
        tasks = [*self._tasks.values(), *self._ending]
        self._tasks = {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def assign(self, peers: Sequence[RemotePeer]) -> None:
        """Deal with these from now on: dial who is new among them, let go of who is not of them.

        Who stays keeps its streams. Who goes may come back as a follower, if it is let in.
        """
        wanted = {peer.number for peer in peers}
        for peer in [*self._peers.values()]:
            if peer.number not in wanted:
                self._close(peer.number)
        for peer in peers:
            link = self._links.get(peer.number)
            if link is not None and link.peer.organisation == peer.organisation:
                link.peer = peer
            else:
                self._close(peer.number)
                self._open(peer)
            self._followers.pop(peer.validator_id, None)
        self._peers = {peer.validator_id: peer for peer in peers}

    def let_go_of_barred(self) -> None:
        """Send nothing more to followers that are let in no more, and end their streams."""
        for follower in [*self._followers.values()]:
            accepted = self._accepted.get(follower.number)
            try:
                if accepted is not None:
                    self._gatekeeper.identify(accepted.context.auth_context())
            except AccessError:
                self._close(follower.number)
                del self._followers[follower.validator_id]

    def send(self, peer: int, priority: int, message: bytes) -> None:
        """Queue a message for one peer; it is lost if there is no link to it.

        Returns at once; `priority` is one of `Priority`.
        """
        link = self._links.get(peer)
        if link is not None:
            link.put(priority, message)

    def broadcast(self, priority: int, message: bytes) -> None:
        """Queue a message for every assigned peer, without copying it."""
        for peer in self._peers.values():
            self._links[peer.number].put(priority, message)

    @property
    def assigned(self) -> tuple[int, ...]:
        """Return the peers that what is for all goes to."""
        return tuple(peer.number for peer in self._peers.values())

    @property
    def followers(self) -> tuple[RemotePeer, ...]:
        """Return who follows by way of this node now."""
        return tuple(self._followers.values())

    @property
    def refusals(self) -> tuple[str, ...]:
        """Return why others do not let this node in, or why it does not believe them."""
        return tuple(self._refused[who] for who in self._refused if who.startswith("by "))

    @property
    def connected(self) -> tuple[int, ...]:
        """Return the peers that messages go out to, followers included, in order of number."""
        return tuple(sorted(peer for peer, link in self._links.items() if link.state.is_connected))

    @property
    def states(self) -> Mapping[int, PeerState]:
        """Return how things stand with every peer, followers included, by number. Thread-safe."""
        return {peer: link.read_state() for peer, link in self._links.copy().items()}

    def _open(self, peer: RemotePeer) -> None:
        link = _Link(peer, self._credentials_for, self._listener, self._jitter, self._note_refusal)
        self._links[peer.number] = link
        if self._is_running:
            self._tasks[peer.number] = asyncio.create_task(link.run())

    def _close(self, peer: int) -> None:
        """Let go of a peer: of the stream to it, and of the one from it."""
        self._links.pop(peer, None)
        self._accept_no_more(peer)
        task = self._tasks.pop(peer, None)
        if task is not None:
            task.cancel()
            self._ending[task] = None
            task.add_done_callback(lambda ended: self._ending.pop(ended, None))

    def _accept_no_more(self, peer: int) -> None:
        """End the stream from a peer, if there is one; within its own task, once that waits."""
        accepted = self._accepted.pop(peer, None)
        if accepted is not None:
            accepted.task.cancel()

    def _credentials_for(self, peer: RemotePeer) -> grpc.ChannelCredentials | None:
        """Return what a peer is dialled with; None while nobody could certify it."""
        gatekeeper = self._gatekeeper
        organisation = peer.organisation
        roots = gatekeeper.root_pem(organisation) if organisation else gatekeeper.roots_pem
        return channel_credentials(self._tls, roots) if roots else None

    def _note_refusal(self, who: str, reason: str) -> None:
        """Tell of a refusal unless the last one of this node was the same; no reason ends it."""
        if not reason:
            self._refused.pop(who, None)
            return
        if self._refused.get(who) == reason:
            return
        if len(self._refused) >= _REFUSALS_TOLD_MAX:
            self._refused.clear()
        self._refused[who] = reason
        self._listener.on_refusal(reason)

    async def Exchange(  # type: ignore[override]  # the stub knows the generator style alone
        self,
        request_iterator: AsyncIterator[PeerFrame],
        context: _Context,
    ) -> None:
        """Accept a peer's stream and hand on what comes, until it ends or breaks a rule.

        A peer that lost its stream may be back before this end has noticed, so its newest stream
        counts; an older one ends with that. Kept until its next frame, a peer that has none to send
        could hold any number of them.
        """
        shown: CertificateIdentity | None = None
        try:
            shown = self._gatekeeper.identify(context.auth_context())
            peer = self._recognise(shown)
        except (AccessError, PeerError) as error:
            who = "" if shown is None else shown.identity_id
            self._note_refusal(f"from {who}", f"not let in: {error}")
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))
        self._refused.pop(f"from {peer.validator_id}", None)
        number = peer.number
        self._accept_no_more(number)
        own = self._accepted[number] = _Accepted(context, _this_task())
        try:
            await context.send_initial_metadata(())
            if number in self._links:
                self._links[number].hurry()
            judged_in = self._gatekeeper.verdicts_of
            async for frame in request_iterator:
                if judged_in != self._gatekeeper.verdicts_of:
                    judged_in = self._gatekeeper.verdicts_of
                    self._gatekeeper.identify(context.auth_context())
                await self._receive(number, frame)
        except (PeerError, DecodeError) as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except AccessError as error:
            self._note_refusal(f"from {peer.validator_id}", f"let in no more: {error}")
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))
        except asyncio.CancelledError:
            if self._accepted.get(number) is own:
                raise  # it was not `_accept_no_more`
            await context.abort(grpc.StatusCode.ABORTED, self._why_over(number))
        finally:
            if self._accepted.get(number) is own:
                del self._accepted[number]
                if self._followers.pop(peer.validator_id, None) is not None:
                    self._close(number)

    def _why_over(self, peer: int) -> str:
        if peer in self._accepted:
            return "a newer stream took over"
        return "this node has another part in the chain now: connect again"

    def _recognise(self, shown: CertificateIdentity) -> RemotePeer:
        """Return who is there: an assigned peer, or a follower that is let in."""
        peer = self._peers.get(shown.identity_id)
        if peer is None or shown.role != VALIDATOR_ROLE:
            return self._let_follow(shown)
        if peer.organisation and peer.organisation != shown.organisation:
            raise AccessError(
                f"{shown.identity_id!r}: expected a certificate of {peer.organisation!r}, "
                f"got one of {shown.organisation!r}"
            )
        return peer

    def _let_follow(self, shown: CertificateIdentity) -> RemotePeer:
        peer = self._porter(shown)
        known = self._followers.get(peer.validator_id)
        if known is None and len(self._followers) >= FOLLOWERS_MAX:
            raise AccessError(
                f"{peer.validator_id!r}: {FOLLOWERS_MAX} nodes follow by way of this one already; "
                "follow by way of another"
            )
        if known != peer:
            self._close(peer.number)
            self._open(peer)
            self._followers[peer.validator_id] = peer
        return peer

    async def _receive(self, peer: int, frame: PeerFrame) -> None:
        refuse_malformed(frame)
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
        credentials_for: Callable[[RemotePeer], grpc.ChannelCredentials | None],
        listener: PeerListener,
        jitter: Callable[[], float],
        note_refusal: Callable[[str, str], None],
    ) -> None:
        self.peer = peer
        """Its addresses may change while it is dialled."""
        self._credentials_for = credentials_for
        self._listener = listener
        self._jitter = jitter
        self._note_refusal = note_refusal
        self._attempts = 0
        self._cut_off_times = 0
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
        peer = self.peer
        if not peer.addresses:
            self.state.last_error = "nobody has said where it listens"
            return
        credentials = self._credentials_for(peer)
        if credentials is None:
            self.state.last_error = f"the authority of {peer.organisation!r} cannot be used"
            return
        address = peer.addresses[self._attempts % len(peer.addresses)]
        self._attempts += 1
        target = ("grpc.ssl_target_name_override", peer.validator_id)
        async with grpc.aio.secure_channel(
            address, credentials, (*_CHANNEL_OPTIONS, target)
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
                self._cut_off_times = 0
                self._note_refusal(f"by {peer.validator_id}", "")
                self._set_connected(connected=True)
                try:
                    await self._write_to(stream)
                finally:
                    self._set_connected(connected=False)
                self._attempts -= 1  # the address was right
            code, details = await stream.code(), await stream.details()
            self.state.last_error = f"{code.name}: {details}"
            reason = self._refusal_in(code, details or "")
            if reason:
                self._note_refusal(f"by {peer.validator_id}", f"{peer.validator_id} {reason}")

    def _refusal_in(self, code: grpc.StatusCode, details: str) -> str:
        """Return what an end means if the peer does not want us, or we not it; else nothing.

        A server that does not know the authority of our certificate says nothing: TLS ends, on its
        side before it has read who we are. So this is told from the outside, as what is likely.
        """
        if code is grpc.StatusCode.PERMISSION_DENIED:
            return f"does not let us in: {details}"
        if code is not grpc.StatusCode.UNAVAILABLE:
            return ""
        if (distrust := read_distrust(details)) is not None:
            return f"is not believed: {distrust}"
        is_cut_off = any(words in details for words in _CUT_OFF)
        self._cut_off_times = self._cut_off_times + 1 if is_cut_off else 0
        if self._cut_off_times < _CUT_OFF_TIMES:
            return ""
        return (
            "is there, but lets go while TLS begins: most likely its chain does not know the "
            "authority of this node's organisation yet, or this node's certificate is not valid "
            "now; have the node registered (govchain node join --introduction), check the clocks"
        )

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
        self._listener.on_peer(self.peer.number, connected=connected)


def _this_task() -> asyncio.Task[object]:
    task = asyncio.current_task()
    if task is None:
        raise InvariantViolation("a call is served by a task")
    return task
