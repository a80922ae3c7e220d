"""A gateway before a real validator: what it records is told, and proved offline."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.client import Client
from node.crypto.keystore import KeyFileSecret, load_tls_key_pem
from node.operations.topology import SECRET_FILE
from node.rpc.client import LedgerClient, LedgerEndpoint, WrongChainError
from node.rpc.identity import TlsIdentity
from node.storage.security_log import read_log
from node.timestamp.trust import TrustFile
from tests.network.local_network import LocalNetwork, running_network, until
from tests.unit.cli.command import run
from tests.unit.gateway.rig import GatewayRig, digest_of
from tests.unit.gateway.test_gateway import read_events


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    with running_network(tmp_path_factory.mktemp("gateway") / "network", 1) as network:
        asyncio.run(network.until_ready(network.ids))
        yield network


@pytest.fixture(scope="module")
def trust(network: LocalNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trust") / "trust.json"
    made = TrustFile(chain_id=network.genesis.chain_id, genesis=network.genesis)
    path.write_bytes(made.encode())
    return path


def test_an_application_records_and_its_receipt_holds_without_gateway_and_chain(
    network: LocalNetwork, trust: Path, tmp_path: Path
) -> None:
    rig = GatewayRig(tmp_path, network.home / "clients/agency-1/profile.toml")
    app = rig.app("licences")
    with rig.gateway():
        made = app.record("licence-1", 1, 2, type="licence").json
        (event,) = read_events(app, f"/v1/events?after={made['height']}.0&types=transaction", 1)
        assert json.loads(event["data"])["transaction"] == made["transaction"]
        network.end(network.ids[0], signal.SIGKILL)
        assert app.record("licence-1", 1, 2, type="licence").json == made  # it was kept
        gone = app.record("licence-2", 3)
        assert (gone.status, gone.json["code"]) == (503, "GC-2205")
        network.supervisor.up()
        asyncio.run(network.until_ready(network.ids))

        async def recorded() -> bool | None:  # as Retry-After asks: the channel may be closed yet
            reply = await asyncio.to_thread(app.record, "licence-2", 3)
            return True if reply.status == 201 else None

        assert asyncio.run(until(recorded, "the request carried out"))
        receipt = app.ask("GET", made["records"][0]["receipt"]).body
    (tmp_path / "a.receipt").write_bytes(receipt)
    verdict = run(
        "verify",
        f"sha-256:{digest_of(1)}",
        "--receipt",
        tmp_path / "a.receipt",
        "--trust",
        trust,
        "--offline",
        "--json",
    )
    assert verdict.code == 0, verdict.out
    log = run("security-log", "verify", rig.home / "security", "--trust", trust, "--json")
    assert log.code == 0, log.out
    assert log.json["notarized"]


async def test_a_node_notes_who_was_refused(network: LocalNetwork, trust: Path) -> None:
    (node,) = network.ids
    endpoints = [each for each in network.entries if each.id == node]
    folder = network.home / "clients/agency-1"
    secret = KeyFileSecret.load(network.home / SECRET_FILE)
    tls = TlsIdentity(
        (folder / "client.pem").read_bytes(), load_tls_key_pem(folder / "tls.key", secret)
    )
    astray = LedgerClient(
        [LedgerEndpoint(node, f"{each.host}:{each.client_port}") for each in endpoints],
        tls=tls,
        roots_pem=(network.home / "ca-bundle.pem").read_bytes(),
        chain_id=bytes(32),
    )
    async with astray:
        with pytest.raises(WrongChainError):
            await astray.status()
    forged = bytearray(network.transaction().encoded)
    forged[-1] ^= 1
    async with network.client(node) as client:
        (outcome,) = await client.submit([bytes(forged)], 2_000)
        assert not outcome.admission.code.is_admitted
    security = network.folder(node) / "security"

    async def noted() -> bool | None:
        lines = [entry.fields for entry in read_log(security)]
        found = {(line["what"], line["outcome"]) for line in lines}
        return {("access", "refused"), ("admission", "refused")} <= found or None

    assert await until(noted, "the refusals noted")
    profile = network.home / "clients/agency-1/profile.toml"
    recorded = await asyncio.to_thread(
        run, "security-log", "notarize", security, "--profile", profile, "--json"
    )
    assert recorded.code == 0, recorded.out
    verified = await asyncio.to_thread(
        run, "security-log", "verify", security, "--trust", trust, "--json"
    )
    assert verified.code == 0, verified.out
    assert verified.json["notarized"][0]["size"] == recorded.json["lines"]


async def test_the_client_module_speaks_to_real_validators(network: LocalNetwork) -> None:
    async with Client.open(network.home / "clients/agency-1/profile.toml") as client:
        recorded = await client.notarize(bytes.fromhex(digest_of(7)), "licence")
        assert await client.receipt(recorded.tx_id) == recorded.receipt
        assert (await client.status()).height >= 1
