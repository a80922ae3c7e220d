"""A client's connections: channels to the validators, asked in turn, and what their errors mean.

Only this module and batch_stream.py of the client's side speak gRPC.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import grpc

from node.errors import ClientError, DecodeError
from node.rpc.guard import CHAIN_ID_KEY, CODE_KEY, NotFound, WrongChainError
from node.rpc.identity import AccessError, TlsIdentity, channel_credentials, read_distrust
from node.rpc.pb.ledger_pb2_grpc import LedgerStub
from node.rpc.port import REPLY_BYTES_MAX, REQUEST_BYTES_MAX

if TYPE_CHECKING:
    from node.rpc.pb.ledger_pb2_grpc import LedgerAsyncStub

RETIREMENT_MS: Final = 660_000
"""How long connections of a certificate that was renewed may go on: longer than any call lasts."""

_OPTIONS: Final = (
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.max_send_message_length", REQUEST_BYTES_MAX),
    ("grpc.max_receive_message_length", REPLY_BYTES_MAX),
    ("grpc.use_local_subchannel_pool", 1),  # else a new client inherits an old one's back-off
    ("grpc.enable_retries", 0),  # whom to ask next is decided here
    ("grpc.enable_http_proxy", 0),
)
_ANSWERS: Final[Mapping[grpc.StatusCode, type[ClientError]]] = {
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.PERMISSION_DENIED: AccessError,
    grpc.StatusCode.FAILED_PRECONDITION: WrongChainError,
    grpc.StatusCode.INVALID_ARGUMENT: ClientError,
}
"""Status codes that are an answer. With any other, the validator gave none."""

_Request = TypeVar("_Request")
_Reply = TypeVar("_Reply")
_Value = TypeVar("_Value")


class NetworkUnavailable(ClientError):  # noqa: N818 - the condition, as the exit codes name it
    """A validator, or none of them, answered in time. The message says of each why."""

    code = "GC-2205"


class DistrustedValidator(NetworkUnavailable):
    """What listens at a validator's address does not prove to be that validator."""


@dataclass(frozen=True, slots=True)
class LedgerEndpoint:
    """A validator as a client reaches it."""

    validator_id: str
    """The name its certificate must bear."""
    address: str
    """`host:port`, an IPv6 host in brackets."""
    roots_pem: bytes = b""
    """Who has to certify it, where that is none of those that the client believes anyway."""


class Connections:
    """Channels to a chain's validators, each opened when first used. Use it on one event loop."""

    def __init__(
        self,
        endpoints: Sequence[LedgerEndpoint],
        *,
        tls: TlsIdentity,
        roots_pem: bytes,
        chain_id: bytes,
    ) -> None:
        if not endpoints:
            raise ClientError("endpoints: expected at least one validator")
        self._tls, self._roots_pem = tls, roots_pem
        self.metadata = ((CHAIN_ID_KEY, chain_id.hex()),)
        """Goes with every call, so that a validator of another chain refuses it."""
        self._endpoints = list(endpoints)  # the one that answered last comes first
        self._channels: dict[LedgerEndpoint, grpc.aio.Channel] = {}
        self._stubs: dict[LedgerEndpoint, LedgerAsyncStub] = {}
        """Making one costs more than a call by it."""
        self._retired: list[grpc.aio.Channel] = []
        self._closing: set[asyncio.Future[None]] = set()

    def now(self) -> TlsIdentity:
        """Return what new connections show."""
        return self._tls

    def renew(self, identity: TlsIdentity) -> None:
        """Show this from the next call on, by new connections.

        What is under way ends on those it began on. They are closed `RETIREMENT_MS` later.
        """
        self._tls = identity
        retired = list(self._channels.values())
        self._channels, self._stubs = {}, {}
        self._retired += retired
        loop = asyncio.get_running_loop()
        loop.call_later(RETIREMENT_MS / 1_000, partial(self._close_retired, retired))

    @property
    def endpoints(self) -> tuple[LedgerEndpoint, ...]:
        """Return the validators in the order in which they will be asked."""
        return tuple(self._endpoints)

    def stub(self, endpoint: LedgerEndpoint) -> LedgerAsyncStub:
        """Return the API of one validator; connecting begins with the first call."""
        if endpoint not in self._stubs:
            self._stubs[endpoint] = LedgerStub(self.channel(endpoint))
        return self._stubs[endpoint]

    def channel(self, endpoint: LedgerEndpoint) -> grpc.aio.Channel:
        """Return the channel to one validator, for its other APIs."""
        if endpoint not in self._channels:
            target = ("grpc.ssl_target_name_override", endpoint.validator_id)
            credentials = channel_credentials(self._tls, endpoint.roots_pem or self._roots_pem)
            self._channels[endpoint] = grpc.aio.secure_channel(
                endpoint.address, credentials, (*_OPTIONS, target)
            )
        return self._channels[endpoint]

    def prefer(self, endpoint: LedgerEndpoint) -> None:
        """Ask this validator first from now on, and then those that came after it."""
        place = self._endpoints.index(endpoint)
        self._endpoints = self._endpoints[place:] + self._endpoints[:place]

    def turns(self, deadline_s: float) -> Iterator[tuple[LedgerEndpoint, float]]:
        """Yield every validator once, with its fair share in seconds of the time that is left."""
        endpoints = self.endpoints
        for place, endpoint in enumerate(endpoints):
            left_s = deadline_s - asyncio.get_running_loop().time()
            if left_s <= 0:
                return
            yield endpoint, left_s / (len(endpoints) - place)

    async def ask(
        self,
        method: Callable[[LedgerAsyncStub], grpc.aio.UnaryUnaryMultiCallable[_Request, _Reply]],
        request: _Request,
        read: Callable[[_Reply], _Value],
        timeout_ms: int,
    ) -> _Value:
        """Return what `read` makes of the first answer that is no error.

        An error is believed only once every validator was asked: one alone may be behind, or lie.
        Raises the first answer that is an error, or `NetworkUnavailable` if there was none.
        """
        failures: list[ClientError] = []
        for endpoint, share_s in self.turns(after_ms(timeout_ms)):
            call = method(self.stub(endpoint))
            try:
                value = read(await call(request, timeout=share_s, metadata=self.metadata))
            except (grpc.aio.AioRpcError, DecodeError) as error:
                failures.append(read_failure(endpoint, error))
            else:
                self.prefer(endpoint)
                return value
        raise judge(failures)

    async def close(self) -> None:
        """Close the channels; calls under way are cancelled."""
        channels = [*self._channels.values(), *self._retired]
        self._channels, self._stubs, self._retired = {}, {}, []
        await asyncio.gather(*(channel.close() for channel in channels), *self._closing)

    def _close_retired(self, channels: Sequence[grpc.aio.Channel]) -> None:
        due = [channel for channel in channels if channel in self._retired]
        self._retired = [channel for channel in self._retired if channel not in due]
        for channel in due:
            closing = asyncio.ensure_future(channel.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)


def after_ms(timeout_ms: int) -> float:
    """Return the time of the event loop that is `timeout_ms` from now, in seconds."""
    return asyncio.get_running_loop().time() + timeout_ms / 1_000


def is_over(deadline_s: float) -> bool:
    """Say whether this time of the event loop, in seconds, has come."""
    return asyncio.get_running_loop().time() >= deadline_s


def read_failure(endpoint: LedgerEndpoint, error: BaseException) -> ClientError:
    """Return what one validator's failing call means: its answer, or that it gave none."""
    codes: list[str] = []
    if not isinstance(error, grpc.aio.AioRpcError):
        reason = str(error) or "the call was cancelled"
    else:
        trailing: Any = error.trailing_metadata() or ()
        codes = [value for key, value in trailing if key == CODE_KEY]
        if error.code() in _ANSWERS:
            kind = _ANSWERS[error.code()]
            return kind(error.details() or "", code=codes[0] if codes else kind.code)
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            codes = []  # that of its own fault says nothing to who asks
        reason = f"{error.code().name}: {error.details()}"
    where = f"{endpoint.validator_id} ({endpoint.address})"
    if (distrust := read_distrust(reason)) is not None:
        return DistrustedValidator(f"{where}: {distrust}")
    return NetworkUnavailable(f"{where}: {reason}", code=codes[0] if codes else None)


def judge(failures: Sequence[ClientError]) -> ClientError:
    """Return what it means that every validator failed: an answer if one gave any."""
    answers = [failure for failure in failures if not isinstance(failure, NetworkUnavailable)]
    if answers:
        return answers[0]
    each = "; ".join(map(str, failures))
    said = [failure for failure in failures if failure.code != NetworkUnavailable.code]
    if said:  # it has not got it, and says why: pruned, not fetched yet
        return NetworkUnavailable(f"no validator has it: {each}", code=said[0].code)
    if any(isinstance(failure, DistrustedValidator) for failure in failures):
        return NetworkUnavailable(
            f"no validator answered that can be believed: {each}",
            fix="use profile and ca_bundle of this very network; check this machine's clock",
        )
    return NetworkUnavailable(
        f"no validator answered: {each or 'no time was left'}",
        fix="see that the network runs and that the addresses of the profile are right",
    )
