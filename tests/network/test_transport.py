"""The peer transport over real sockets: mutual TLS on loopback, restarts, floods, impostors."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

import grpc
import pytest

from node.crypto.certificate_profile import CertificateIdentity
from node.errors import PeerError
from node.limits import PEER_MESSAGE_BYTES_MAX
from node.rpc.identity import Gatekeeper, TlsIdentity, channel_credentials
from node.rpc.outbox import FRAME_BYTES_AIM, FRAME_MESSAGES_MAX, Priority
from node.rpc.pb.peer_pb2 import PeerFrame
from node.rpc.pb.peer_pb2_grpc import PeerStub
from node.rpc.peer import PeerTransport, Porter, RemotePeer, turn_away
from node.rpc.server import PeerServer
from tests.unit.rpc.pki import Pki, now_ms, shared_pki

DEADLINE_S = 20
MIB = 1_048_576


PORTS = count(20_000 + os.getpid() % 400 * 30)
"""Below the range from which Linux draws ports of outgoing connections, apart for each process."""


def free_port(host: str) -> int:
    """Return a port of `host` that nothing listens on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in PORTS:
        with socket.socket(family) as probe:
            try:
                probe.bind((host, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return port
    raise AssertionError("no port is free")


@dataclass
class Ear:
    """A listener that remembers what it heard and lets a test wait for it."""

    heard: list[tuple[int, bytes]] = field(default_factory=list)
    connections: list[tuple[int, bool]] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    pauses: int = 0
    answer: Callable[[int, Sequence[bytes]], Exception | None] = lambda _peer, _messages: None
    attentive: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.attentive.set()

    async def on_messages(self, peer: int, messages: Sequence[bytes]) -> None:
        self.heard += [(peer, message) for message in messages]
        self.changed.set()
        await self.attentive.wait()
        if (error := self.answer(peer, messages)) is not None:
            raise error

    def on_peer(self, peer: int, *, connected: bool) -> None:
        self.connections.append((peer, connected))
        self.changed.set()

    def on_failure(self, error: Exception) -> None:
        self.failures.append(error)
        self.changed.set()

    def on_refusal(self, reason: str) -> None:
        self.refusals.append(reason)
        self.changed.set()

    def draw_jitter(self) -> float:
        """Count the pauses between two attempts to connect."""
        self.pauses += 1
        self.changed.set()
        return 0.5

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something heard that makes the condition true."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


class Party:
    """Validators of one network, in this process, each with its transport and its server."""

    def __init__(self, size: int, host: str = "127.0.0.1", pki: Pki | None = None) -> None:
        self.pki = pki or shared_pki()
        shown = f"[{host}]" if ":" in host else host
        self.addresses = [f"{shown}:{free_port(host)}" for _ in range(size)]
        self.ears = [Ear() for _ in range(size)]
        self.tls = [self.pki.validator(index + 1) for index in range(size)]
        self.transports = [self.make_transport(index) for index in range(size)]
        self.servers = [self.make_server(index) for index in range(size)]

    def make_transport(
        self, index: int, porter: Porter = turn_away, gatekeeper: Gatekeeper | None = None
    ) -> PeerTransport:
        peers = [
            RemotePeer(
                number=other,
                validator_id=f"validator-{other + 1}",
                organisation=f"org-{other + 1}",
                addresses=(address,),
            )
            for other, address in enumerate(self.addresses)
            if other != index
        ]
        return PeerTransport(
            peers,
            self.ears[index],
            tls=self.tls[index],
            gatekeeper=gatekeeper or self.pki.gatekeeper(),
            jitter=self.ears[index].draw_jitter,
            porter=porter,
        )

    def make_server(self, index: int, gatekeeper: Gatekeeper | None = None) -> PeerServer:
        return PeerServer(
            self.transports[index],
            [self.addresses[index]],
            tls=self.tls[index],
            gatekeeper=gatekeeper or self.pki.gatekeeper(),
        )

    async def start(self, *indexes: int) -> None:
        for index in indexes or range(len(self.servers)):
            await self.servers[index].start()
            await self.transports[index].start()

    async def stop(self, *indexes: int) -> None:
        for index in indexes or range(len(self.servers)):
            await self.transports[index].stop()
            await self.servers[index].stop()

    async def restart(self, index: int) -> None:
        """Stop one validator and start it as a new process would: with nothing remembered."""
        await self.stop(index)
        self.ears[index] = Ear()
        self.transports[index] = self.make_transport(index)
        self.servers[index] = self.make_server(index)
        await self.start(index)

    async def meet(self) -> None:
        """Wait until everyone reaches everyone else."""
        for index, transport in enumerate(self.transports):
            ear = self.ears[index]
            await ear.until(lambda t=transport: len(t.connected) == len(self.servers) - 1)  # type: ignore[misc]


@asynccontextmanager
async def party(size: int, host: str = "127.0.0.1") -> AsyncIterator[Party]:
    """Yield validators that all reach each other."""
    guests = Party(size, host)
    await guests.start()
    try:
        await guests.meet()
        yield guests
    finally:
        await guests.stop()


async def test_every_validator_hears_every_other() -> None:
    async with party(4) as guests:
        for index, transport in enumerate(guests.transports):
            transport.broadcast(Priority.VOTE, b"from %d" % index)
        for index, ear in enumerate(guests.ears):
            others = [(other, b"from %d" % other) for other in range(4) if other != index]
            await ear.until(lambda e=ear: len(e.heard) == 3)  # type: ignore[misc]
            assert sorted(ear.heard) == others


async def test_one_message_goes_to_one_peer() -> None:
    async with party(3) as guests:
        guests.transports[0].send(2, Priority.SYNC, b"for the third")
        guests.transports[0].broadcast(Priority.GOSSIP, b"for all")
        await guests.ears[2].until(lambda: len(guests.ears[2].heard) == 2)
        await guests.ears[1].until(lambda: len(guests.ears[1].heard) == 1)
        assert guests.ears[2].heard == [(0, b"for the third"), (0, b"for all")]
        assert guests.ears[1].heard == [(0, b"for all")]


async def test_what_waits_goes_out_as_one_frame_most_urgent_first() -> None:
    guests = Party(2)
    sent: dict[Priority, list[bytes]] = {priority: [] for priority in Priority}
    for number in range(100):
        for priority in reversed(Priority):
            message = b"%s %d" % (priority.name.encode(), number)
            sent[priority].append(message)
            guests.transports[0].send(1, priority, message)
    await guests.start()
    try:
        await guests.ears[1].until(lambda: len(guests.ears[1].heard) == 500)
        assert guests.ears[1].heard == [
            (0, message) for priority in Priority for message in sent[priority]
        ]
        state = guests.transports[0].states[1]
        assert (state.frames_sent, state.messages_sent) == (1, 500)
        assert state.bytes_sent == sum(len(m) for messages in sent.values() for m in messages)
        received = guests.transports[1].states[0]
        assert (received.frames_received, received.messages_received) == (1, 500)
        assert received.bytes_received == state.bytes_sent
    finally:
        await guests.stop()


async def test_an_urgent_message_overtakes_all_but_the_frame_under_way() -> None:
    async with party(2) as guests:
        ear = guests.ears[1]
        ear.attentive.clear()
        bulk = bytes(FRAME_BYTES_AIM)
        for _ in range(40):  # far more than the stream's window takes
            guests.transports[0].send(1, Priority.GOSSIP, bulk)
        await ear.until(lambda: len(ear.heard) == 1)
        sent = guests.transports[0].states[1].frames_sent
        guests.transports[0].send(1, Priority.VIEW_CHANGE, b"urgent")
        ear.attentive.set()
        await ear.until(lambda: len(ear.heard) == 41)
        assert [message for _, message in ear.heard].index(b"urgent") <= sent < 40


async def test_a_full_queue_drops_the_least_urgent_and_oldest() -> None:
    guests = Party(2)  # the peer is away: the small bound holds
    transport = guests.transports[0]
    for number in range(12):
        transport.send(1, Priority.GOSSIP, bytes([number]) * MIB)
    transport.send(1, Priority.VOTE, b"vote")
    state = transport.states[1]
    assert (state.messages_dropped, state.bytes_dropped) == (5, 5 * MIB)
    await guests.start()
    try:
        ear = guests.ears[1]
        await ear.until(lambda: len(ear.heard) == 8)
        assert [message[:4] for _, message in ear.heard] == [
            b"vote",
            *(bytes([number]) * 4 for number in range(5, 12)),
        ]
    finally:
        await guests.stop()


async def test_a_restarted_peer_is_reached_again() -> None:
    async with party(2) as guests:
        ear = guests.ears[0]
        await guests.restart(1)
        await ear.until(lambda: ear.connections == [(1, True), (1, False), (1, True)])
        guests.transports[0].send(1, Priority.VOTE, b"welcome back")
        await guests.ears[1].until(lambda: (0, b"welcome back") in guests.ears[1].heard)
        guests.transports[1].send(0, Priority.VOTE, b"thanks")
        await ear.until(lambda: (1, b"thanks") in ear.heard)
        state = guests.transports[0].states[1]
        assert (state.connections, state.is_connected) == (2, True)


async def test_a_peer_that_is_away_is_dialled_when_it_shows_up() -> None:
    guests = Party(2)
    await guests.start(0)
    try:
        transport, ear = guests.transports[0], guests.ears[0]
        await ear.until(lambda: ear.pauses > 2)
        assert "Connection refused" in transport.states[1].last_error
        transport.send(1, Priority.VOTE, b"kept")
        await guests.start(1)
        await guests.ears[1].until(lambda: guests.ears[1].heard == [(0, b"kept")])
        assert ear.connections == [(1, True)]
    finally:
        await guests.stop()


async def test_a_peer_that_does_not_read_delays_nobody_else() -> None:
    async with party(3) as guests:
        slow, quick = guests.ears[1], guests.ears[2]
        slow.attentive.clear()
        for number in range(100):
            guests.transports[0].broadcast(Priority.GOSSIP, number.to_bytes(4, "big") * 65_536)
        await quick.until(lambda: len(quick.heard) == 100)
        assert len(slow.heard) < 100
        states = guests.transports[0].states
        assert states[1].is_connected
        assert states[1].bytes_dropped + states[1].bytes_sent < 100 * 262_144
        slow.attentive.set()


async def test_a_peer_that_never_reads_costs_bounded_memory() -> None:
    async with party(2) as guests:
        slow = guests.ears[1]
        slow.attentive.clear()
        message = bytes(PEER_MESSAGE_BYTES_MAX)
        for _ in range(12):
            guests.transports[0].send(1, Priority.GOSSIP, message)
        state = guests.transports[0].states[1]
        assert state.messages_dropped == 4  # 64 MiB wait
        slow.attentive.set()
        await slow.until(lambda: len(slow.heard) == 8)


async def test_a_peer_that_breaks_a_rule_loses_its_stream_and_may_return() -> None:
    async with party(2) as guests:
        accuser, culprit = guests.ears
        accuser.answer = lambda _, messages: (
            PeerError("manners", "expected politeness") if b"rude" in messages else None
        )
        guests.transports[1].send(0, Priority.VOTE, b"rude")
        await culprit.until(lambda: culprit.connections == [(0, True), (0, False), (0, True)])
        assert "manners" in guests.transports[1].states[0].last_error
        guests.transports[1].send(0, Priority.VOTE, b"polite")
        await accuser.until(lambda: (1, b"polite") in accuser.heard)
        assert accuser.failures == []


async def test_a_fault_of_the_listener_is_reported_to_it() -> None:
    async with party(2) as guests:
        ear = guests.ears[0]
        ear.answer = lambda _, __: KeyError("our own fault")
        guests.transports[1].send(0, Priority.VOTE, b"harmless")
        await ear.until(lambda: bool(ear.failures))
        assert isinstance(ear.failures[0], KeyError)


async def test_a_fault_in_learning_of_a_peer_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    guests = Party(2)
    fault = KeyError("our own fault")

    def fail(_peer: int, **_news: bool) -> None:
        raise fault

    monkeypatch.setattr(guests.ears[0], "on_peer", fail)
    await guests.start()
    try:
        await guests.ears[0].until(lambda: guests.ears[0].failures == [fault])
    finally:
        await guests.stop()


async def test_a_peer_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.rpc.peer.CONNECT_TIMEOUT_MS", 100)
    guests = Party(2)
    host, _, port = guests.addresses[1].rpartition(":")
    with socket.create_server((host, int(port))):
        await guests.start(0)
        try:
            await guests.ears[0].until(lambda: guests.ears[0].pauses > 1)
            assert guests.transports[0].states[1].last_error == "no answer within 100 ms"
        finally:
            await guests.stop(0)


# --- Impostors ---


@asynccontextmanager
async def dial(
    guests: Party, index: int, tls: TlsIdentity
) -> AsyncIterator[grpc.aio.StreamStreamCall[PeerFrame, PeerFrame]]:
    """Yield a stream to one validator, opened by whoever `tls` says."""
    root = guests.pki.gatekeeper().root_pem(f"org-{index + 1}")
    async with grpc.aio.secure_channel(
        guests.addresses[index],
        channel_credentials(tls, root),
        (("grpc.ssl_target_name_override", f"validator-{index + 1}"),),
    ) as channel:
        yield PeerStub(channel).Exchange(timeout=DEADLINE_S)


async def test_a_certificate_of_another_organisation_does_not_make_a_validator() -> None:
    async with party(2) as guests:
        forged = guests.pki.validator(2, authority=guests.pki.authorities["org-3"])
        async with dial(guests, 0, forged) as stream:
            assert await stream.code() is grpc.StatusCode.PERMISSION_DENIED
            assert "expected a certificate of 'org-2', got one of 'org-3'" in await stream.details()
        assert guests.ears[0].heard == []


async def test_a_stranger_is_no_validator() -> None:
    async with party(2) as guests:
        for stranger in (guests.pki.client(), guests.pki.validator(3), guests.tls[0]):
            async with dial(guests, 0, stranger) as stream:
                assert await stream.code() is grpc.StatusCode.PERMISSION_DENIED
                assert "is no other validator" in await stream.details()


async def test_a_client_with_a_validators_name_is_no_validator() -> None:
    async with party(2) as guests:
        agency = guests.pki.client("validator-2", authority=guests.pki.authorities["org-2"])
        async with dial(guests, 0, agency) as stream:
            assert await stream.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_certificate_of_no_member_ends_the_handshake() -> None:
    async with party(2) as guests:
        outsider = guests.pki.validator(2, authority=guests.pki.authority(99, "org-2"))
        async with dial(guests, 0, outsider) as stream:
            assert await stream.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_server_with_another_validators_certificate_is_not_believed() -> None:
    guests = Party(2)
    guests.tls[1] = guests.pki.validator(3)  # of a member, but not the one dialled
    guests.servers[1] = guests.make_server(1)
    await guests.start()
    try:
        transport, ear = guests.transports[0], guests.ears[0]
        await ear.until(lambda: ear.pauses > 0)
        assert "UNAVAILABLE" in transport.states[1].last_error
        assert transport.connected == ()
    finally:
        await guests.stop()


@pytest.mark.parametrize(
    ("frame", "rule"),
    [
        (PeerFrame(messages=[b""] * (FRAME_MESSAGES_MAX + 1)), "frame-messages"),
        (PeerFrame(messages=[bytes(PEER_MESSAGE_BYTES_MAX + 1)]), "message-size"),
        (PeerFrame.FromString(b"\x98\x06\x01"), "PeerFrame: field 99 is unknown"),
    ],
)
async def test_a_frame_beyond_the_bounds_breaks_the_stream(frame: PeerFrame, rule: str) -> None:
    async with party(2) as guests:
        await guests.stop(1)
        async with dial(guests, 0, guests.tls[1]) as stream:
            await stream.initial_metadata()
            await stream.write(frame)
            assert await stream.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert rule in await stream.details()
        assert guests.ears[0].heard == []


async def test_the_newest_stream_of_a_peer_counts() -> None:
    async with party(2) as guests:
        await guests.stop(1)
        ear = guests.ears[0]
        async with dial(guests, 0, guests.tls[1]) as old:
            await old.initial_metadata()
            async with dial(guests, 0, guests.tls[1]) as new:
                await new.initial_metadata()
                async with asyncio.timeout(DEADLINE_S):  # not at its next frame: it may send none
                    assert await old.code() is grpc.StatusCode.ABORTED
                assert await old.details() == "a newer stream took over"
                await new.write(PeerFrame(messages=[b"fresh"]))
                await ear.until(lambda: ear.heard == [(1, b"fresh")])


async def test_the_stream_of_who_is_let_go_of_ends_though_nothing_comes() -> None:
    async with party(2) as guests:
        await guests.stop(1)
        async with dial(guests, 0, guests.tls[1]) as stream:
            await stream.initial_metadata()
            guests.transports[0].assign([])
            async with asyncio.timeout(DEADLINE_S):
                assert await stream.code() is grpc.StatusCode.ABORTED
            assert "has another part in the chain now" in await stream.details()


async def test_ipv6() -> None:
    try:
        free_port("::1")
    except OSError as error:
        pytest.skip(f"no IPv6 on this machine's loopback: {error}")
    async with party(2, "::1") as guests:
        guests.transports[0].send(1, Priority.VOTE, b"over IPv6")
        await guests.ears[1].until(lambda: guests.ears[1].heard == [(0, b"over IPv6")])


# --- Who the others are changes ---


def city(guests: Party, number: int = 9) -> tuple[RemotePeer, TlsIdentity]:
    """Return a node of `org-4` that is no validator, where it listens, and what it shows."""
    tls = guests.pki.validator(number, authority=guests.pki.authorities["org-4"])
    address = f"127.0.0.1:{free_port('127.0.0.1')}"
    return RemotePeer(number, f"validator-{number}", "org-4", (address,)), tls


def admit(*known: RemotePeer) -> Callable[[CertificateIdentity], RemotePeer]:
    """Return a porter that lets these in."""

    def porter(shown: CertificateIdentity) -> RemotePeer:
        for peer in known:
            if peer.validator_id == shown.identity_id:
                return peer
        raise PeerError("stranger", f"{shown.identity_id} is not registered")

    return porter


async def test_a_follower_is_answered_for_as_long_as_it_is_there() -> None:
    guests = Party(2)
    follower, tls = city(guests)
    ear = Ear()
    founder = RemotePeer(0, "validator-1", "org-1", (guests.addresses[0],))
    guests.transports[0] = guests.make_transport(0, porter=admit(follower))
    guests.servers[0] = guests.make_server(0)
    own = PeerTransport(
        [founder], ear, tls=tls, gatekeeper=guests.pki.gatekeeper(), jitter=ear.draw_jitter
    )
    server = PeerServer(own, follower.addresses, tls=tls, gatekeeper=guests.pki.gatekeeper())
    await guests.start()
    await server.start()
    await own.start()
    try:
        host, transport = guests.ears[0], guests.transports[0]
        own.send(0, Priority.SYNC, b"a question")
        await host.until(lambda: (9, b"a question") in host.heard)
        assert [*transport.followers] == [follower]
        assert transport.assigned == (1,)
        transport.broadcast(Priority.VOTE, b"for those who decide")
        transport.send(9, Priority.SYNC, b"an answer")
        await ear.until(lambda: bool(ear.heard))
        assert ear.heard == [(0, b"an answer")]
        await own.stop()
        await host.until(lambda: (9, False) in host.connections)
        assert [*transport.followers] == []
        transport.send(9, Priority.SYNC, b"nobody is there")
        assert set(transport.states) == {1}
    finally:
        await own.stop()
        await server.stop()
        await guests.stop()


async def test_a_follower_that_is_barred_is_sent_nothing_more_and_told_why() -> None:
    guests = Party(2)
    follower, tls = city(guests)
    ear = Ear()
    barred: dict[str, str] = {}
    certificates = {name: (a.certificate,) for name, a in guests.pki.authorities.items()}
    gatekeeper = Gatekeeper(certificates, now_ms, lambda who, _: barred.get(who.identity_id))
    founder = RemotePeer(0, "validator-1", "org-1", (guests.addresses[0],))
    guests.transports[0] = guests.make_transport(0, porter=admit(follower), gatekeeper=gatekeeper)
    guests.servers[0] = guests.make_server(0, gatekeeper)
    own = PeerTransport(
        [founder], ear, tls=tls, gatekeeper=guests.pki.gatekeeper(), jitter=ear.draw_jitter
    )
    server = PeerServer(own, follower.addresses, tls=tls, gatekeeper=guests.pki.gatekeeper())
    await guests.start()
    await server.start()
    await own.start()
    try:
        host, transport = guests.ears[0], guests.transports[0]
        own.send(0, Priority.SYNC, b"a question")
        await host.until(lambda: (9, b"a question") in host.heard)
        transport.let_go_of_barred()
        assert [*transport.followers] == [follower]
        barred[follower.validator_id] = "identity is frozen since block 7"
        gatekeeper.admit(certificates)
        transport.let_go_of_barred()
        assert [*transport.followers] == []
        assert set(transport.states) == {1}
        own.send(0, Priority.SYNC, b"another question")
        await ear.until(lambda: any("frozen since block 7" in each for each in ear.refusals))
        assert (9, b"another question") not in host.heard
        barred.clear()
        gatekeeper.admit(certificates)
        await host.until(lambda: [*transport.followers] == [follower])
    finally:
        await own.stop()
        await server.stop()
        await guests.stop()


async def test_followers_are_so_many_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.rpc.peer.FOLLOWERS_MAX", 1)
    guests = Party(2)
    (one, its_tls), (other, others_tls) = city(guests, 8), city(guests, 9)
    guests.transports[0] = guests.make_transport(0, porter=admit(one, other))
    guests.servers[0] = guests.make_server(0)
    await guests.start()
    try:
        async with dial(guests, 0, its_tls) as first:
            await first.initial_metadata()
            async with dial(guests, 0, others_tls) as second:
                assert await second.code() is grpc.StatusCode.PERMISSION_DENIED
                assert "1 nodes follow by way of this one already" in await second.details()
    finally:
        await guests.stop()


async def test_who_is_refused_is_told_once_and_why() -> None:
    async with party(2) as guests:
        for _ in range(3):
            async with dial(guests, 0, guests.pki.validator(3)) as stream:
                assert await stream.code() is grpc.StatusCode.PERMISSION_DENIED
        assert guests.ears[0].refusals == [
            "not let in: stranger: validator 'validator-3' is no other validator"
        ]


async def test_who_is_not_believed_yet_says_what_is_likely() -> None:
    guests = Party(2)
    authority = guests.pki.authorities["org-1"].certificate
    guests.servers[0] = guests.make_server(0, Gatekeeper({"org-1": (authority,)}, now_ms))
    await guests.start()
    try:
        await guests.ears[1].until(lambda: bool(guests.ears[1].refusals))
        (reason,) = guests.transports[1].refusals
        assert "validator-1 is there, but lets go while TLS begins" in reason
        assert "govchain node join --introduction" in reason
    finally:
        await guests.stop()


async def test_who_is_let_go_of_is_neither_dialled_nor_heard() -> None:
    async with party(3) as guests:
        transport, ear, gone = guests.transports[0], guests.ears[0], guests.ears[2]
        kept = RemotePeer(1, "validator-2", "org-2", (guests.addresses[1],))
        transport.assign([kept])
        await ear.until(lambda: (2, False) in ear.connections)
        assert set(transport.states) == {1}
        guests.transports[2].send(0, Priority.VOTE, b"still a vote")
        await gone.until(lambda: (0, False) in gone.connections)
        await gone.until(lambda: bool(gone.refusals))
        assert "validator-1 does not let us in" in gone.refusals[0]
        guests.transports[1].send(0, Priority.VOTE, b"a vote")
        await ear.until(lambda: bool(ear.heard))
        assert ear.heard == [(1, b"a vote")]


async def test_who_is_new_is_dialled_and_tried_at_each_address() -> None:
    guests = Party(3)
    known = [RemotePeer(1, "validator-2", "org-2", (guests.addresses[1],))]
    guests.transports[0].assign(known)
    await guests.start()
    try:
        nowhere = f"127.0.0.1:{free_port('127.0.0.1')}"
        new = RemotePeer(2, "validator-3", "org-3", (nowhere, guests.addresses[2]))
        guests.transports[0].assign([*known, new])
        ear = guests.ears[0]
        await ear.until(lambda: (2, True) in ear.connections)
        guests.transports[0].broadcast(Priority.VOTE, b"to both")
        await guests.ears[2].until(lambda: (0, b"to both") in guests.ears[2].heard)
    finally:
        await guests.stop()


async def test_an_organisation_that_joins_is_believed_without_a_restart() -> None:
    guests = Party(2)
    late = guests.pki.gatekeeper()
    certificates = {name: (a.certificate,) for name, a in guests.pki.authorities.items()}
    without = {name: found for name, found in certificates.items() if name != "org-2"}
    late.admit({**without, "org-9": (b"no certificate at all",)})
    guests.transports[0] = guests.make_transport(0, gatekeeper=late)
    guests.servers[0] = PeerServer(
        guests.transports[0], [guests.addresses[0]], tls=guests.tls[0], gatekeeper=late
    )
    await guests.start()
    try:
        ear = guests.ears[0]
        await guests.ears[1].until(lambda: guests.ears[1].pauses > 1)
        assert "UNAVAILABLE" in guests.transports[1].states[0].last_error
        assert not ear.heard
        late.admit(certificates)
        await guests.meet()
        guests.transports[1].send(0, Priority.VOTE, b"at last")
        await ear.until(lambda: ear.heard == [(1, b"at last")])
    finally:
        await guests.stop()


async def test_who_cannot_be_found_or_certified_is_not_dialled() -> None:
    guests = Party(2)
    transport, ear = guests.transports[0], guests.ears[0]
    uncertified = RemotePeer(8, "validator-8", "org-77", (guests.addresses[1],))
    transport.assign([uncertified, RemotePeer(9, "validator-9", "org-2", ())])
    await transport.start()
    try:
        await ear.until(lambda: ear.pauses > 3)
        assert transport.states[8].last_error == "the authority of 'org-77' cannot be used"
        assert transport.states[9].last_error == "nobody has said where it listens"
        assert transport.connected == ()
    finally:
        await transport.stop()
