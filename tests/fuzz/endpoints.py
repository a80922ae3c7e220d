"""`python -m tests.fuzz.endpoints`: hostile requests to every method that a real network serves.

Four validators on loopback, in processes of their own, are sent what `hostile.py` draws: to each
method of the client API and of the vault as raw bytes under a member's certificate, to the peers'
port under a validator's, and over HTTP. A find is an answer that blames the node (INTERNAL,
UNKNOWN, 5xx), none in time, an error in a validator's log, memory that grows, or a chain that does
not go on afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from node.crypto.keystore import KeyFileSecret, load_tls_key_pem
from node.operations.provision import DEFAULT_IDENTITY
from node.operations.topology import SECRET_FILE, NodeEntry
from node.rpc.identity import TlsIdentity, channel_credentials
from node.rpc.pb import ledger_pb2, vault_pb2
from node.service.home import TLS_FILE, TLS_KEY_FILE
from tests.commands import above_zero, at_least, end_tidily
from tests.fuzz import corpora
from tests.fuzz.hostile import Hostile
from tests.network.local_network import LocalNetwork, running_network

METHODS: Final[tuple[MethodDescriptor, ...]] = tuple(
    method
    for module in (ledger_pb2, vault_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    if service.name != "VaultPeer"
    for method in service.methods
)
"""What the port of clients serves."""
_OURS: Final = {
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DATA_LOSS,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}
_NOT_OURS: Final = "Internal error from Core"
"""What the client library says of a stream that was refused while it still wrote to it."""
_ANSWER_S: Final = 30
_STREAM_S: Final = 0.3
"""How long a stream is listened to that may go on for ever."""
_GROWTH_BYTES_MAX: Final = 96 << 20
_SERVER_ERROR: Final = 500


@dataclass
class Report:
    """How many requests had which answer, and what was found."""

    answers: dict[str, Counter[str]] = field(default_factory=dict)
    finds: list[str] = field(default_factory=list)

    def note(self, what: str, answer: str) -> None:
        """Count an answer."""
        self.answers.setdefault(what, Counter())[answer] += 1


async def fuzz(network: LocalNetwork, seed: int, seconds: float) -> Report:
    """Send requests for so long, to the first three of four; a find is told with its round."""
    report = Report()
    await network.until_ready(network.ids)
    hostile = Hostile(
        Random(seed), await _known(network), corpora.read("service.wire:decode_message")
    )
    stopped = network.ids[-1]
    network.end(stopped, signal.SIGTERM)
    entries = network.entries[:-1]
    before = {entry.id: _resident_bytes(network, entry.id) for entry in entries}
    client = network.home / "clients" / DEFAULT_IDENTITY
    credentials = _credentials_of(network, client / "client.pem", client / "tls.key")
    end_s, round_number = time.monotonic() + seconds, 0
    while round_number < 1 or time.monotonic() < end_s:
        entry = entries[round_number % len(entries)]
        where = f"--seed {seed}, round {round_number}"
        async with grpc.aio.secure_channel(
            f"{entry.host}:{entry.client_port}", credentials
        ) as channel:
            for method in METHODS:
                await _call(channel, method, hostile, report, where)
        await _exchange(network, entry, hostile, report, where)
        for _ in range(len(METHODS)):
            await _ask(entry, hostile.http(), report, where)
        round_number += 1
    await _after(network, before, report)
    return report


async def _call(
    channel: grpc.aio.Channel,
    method: MethodDescriptor,
    hostile: Hostile,
    report: Report,
    where: str,
) -> None:
    path = f"/{method.containing_service.full_name}/{method.name}"
    kind = GetMessageClass(method.input_type)
    request = hostile.message(kind)
    requests = [request, *(hostile.message(kind) for _ in range(2))]
    anything: Any = channel  # its methods take bytes as well, unlike their stubs
    match method.client_streaming, method.server_streaming:
        case False, False:
            call = anything.unary_unary(path)(request, timeout=_ANSWER_S)
        case False, True:
            call = anything.unary_stream(path)(request, timeout=_ANSWER_S)
        case _:
            call = anything.stream_stream(path)(iter(requests), timeout=_ANSWER_S)
    status, details = await (_listened(call) if method.server_streaming else _answered(call))
    report.note(path, status.name)
    if _is_find(status, details):
        sent = [each.hex() for each in (requests if method.client_streaming else [request])]
        report.finds.append(f"{path}: {status.name}, {details}, for {sent} ({where})"[:4_000])


def _is_find(status: grpc.StatusCode, details: str) -> bool:
    return status in _OURS and details != _NOT_OURS


async def _answered(call: Any) -> tuple[grpc.StatusCode, str]:  # noqa: ANN401 - a call of grpc
    with suppress(grpc.aio.AioRpcError):
        await call
    return await call.code(), await call.details()


async def _listened(call: Any) -> tuple[grpc.StatusCode, str]:  # noqa: ANN401 - a call of grpc
    """Return how a stream ends: of itself, or by our leaving it once nothing more comes."""
    try:
        while await asyncio.wait_for(call.read(), _STREAM_S) is not grpc.aio.EOF:
            pass
    except TimeoutError:
        call.cancel()
    except (grpc.aio.AioRpcError, asyncio.CancelledError):
        pass
    return await call.code(), await call.details()


async def _ask(entry: NodeEntry, data: bytes, report: Report, where: str) -> None:
    reader, writer = await asyncio.open_connection(entry.host, entry.http_port)
    answer = b""
    try:
        writer.write(data)
        with suppress(ConnectionError):
            await writer.drain()
            writer.write_eof()
        with suppress(ConnectionError):
            answer = await asyncio.wait_for(reader.read(65_536), _ANSWER_S)
    except TimeoutError:
        report.finds.append(f"http: no answer for {data.hex()} ({where})"[:4_000])
    finally:
        writer.close()
    status = answer.split(b" ")[1].decode() if answer.startswith(b"HTTP/1.") else "closed"
    report.note("http", status)
    if status.isdigit() and int(status) >= _SERVER_ERROR and status not in ("501", "505"):
        report.finds.append(f"http: {status} for {data.hex()} ({where})"[:4_000])


async def _known(network: LocalNetwork) -> list[bytes]:
    """Have a transaction in the chain; return what a client knows of it."""
    transaction = network.transaction(records=3)
    async with network.client() as client:
        await client.submit([transaction.encoded])
    return [transaction.encoded, transaction.tx_id, network.genesis.chain_id]


def _credentials_of(network: LocalNetwork, certificate: Path, key: Path) -> grpc.ChannelCredentials:
    secret = KeyFileSecret.load(network.home / SECRET_FILE)
    tls = TlsIdentity(certificate.read_bytes(), load_tls_key_pem(key, secret))
    return channel_credentials(tls, (network.home / "ca-bundle.pem").read_bytes())


async def _exchange(
    network: LocalNetwork, entry: NodeEntry, hostile: Hostile, report: Report, where: str
) -> None:
    """Send frames as the validator that was stopped would: whoever has its keys may be anyone."""
    target = (("grpc.ssl_target_name_override", entry.id),)
    home = network.folder(network.ids[-1])
    credentials = _credentials_of(network, home / TLS_FILE, home / TLS_KEY_FILE)
    frames = [hostile.frame() for _ in range(20)]
    async with grpc.aio.secure_channel(
        f"{entry.host}:{entry.peer_port}", credentials, target
    ) as channel:
        anything: Any = channel
        call = anything.stream_stream("/govchain.peer.v1.Peer/Exchange")(iter(frames))
        status, details = await _listened(call)
    report.note("peer", status.name)
    if _is_find(status, details):
        report.finds.append(f"peer: {status.name}, {details} ({where})")


async def _after(network: LocalNetwork, before: Mapping[str, int], report: Report) -> None:
    """Look at whether the network is well: it answers, goes on, has grown little, blames nobody."""
    running = network.ids[:-1]
    await network.until_ready(running)
    async with network.client(*running) as client:
        (outcome,) = await client.submit([network.transaction().encoded])
    if outcome.result is None:
        report.finds.append("the chain does not go on")
    for name in running:
        grown = _resident_bytes(network, name) - before[name]
        report.answers.setdefault("memory grown, MiB", Counter())[name] = grown >> 20
        if grown > _GROWTH_BYTES_MAX:
            report.finds.append(f"{name}: {grown >> 20} MiB more than before")
        errors = [line for line in network.log(name) if '"level": "error"' in line]
        report.finds += [f"{name}: {line}"[:9_000] for line in errors[:5]]


def _resident_bytes(network: LocalNetwork, name: str) -> int:
    status = Path(f"/proc/{network.process(name).pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) << 10


def main() -> int:
    """Run for as long as asked; 1 if anything was found."""
    parser = argparse.ArgumentParser("python -m tests.fuzz.endpoints", description=__doc__)
    parser.add_argument("--minutes", type=above_zero, default=30, help="how long in all (30)")
    parser.add_argument("--seed", type=at_least(0), default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    end_tidily()
    with (
        tempfile.TemporaryDirectory(prefix="govchain-fuzz-") as folder,
        running_network(Path(folder) / "net") as network,
    ):
        report = asyncio.run(fuzz(network, options.seed, options.minutes * 60))
    lines = [json.dumps({"answers": report.answers, "finds": report.finds}, indent=1)]
    if not options.json:
        lines = [
            " ".join((what, *(f"{name} {count}" for name, count in answers.most_common())))
            for what, answers in report.answers.items()
        ]
        lines += report.finds or ["nothing found"]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return int(bool(report.finds))


if __name__ == "__main__":
    sys.exit(main())
