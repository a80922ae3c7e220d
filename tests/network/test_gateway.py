"""A gateway before a real validator: what it records is told, and proved offline."""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from node.client import Client
from node.crypto.application_key import encode_public_pem
from node.crypto.keystore import KeyFileSecret, load_tls_key_pem
from node.crypto.suite import INTERNATIONAL
from node.operations.topology import SECRET_FILE
from node.rpc.client import LedgerClient, LedgerEndpoint, WrongChainError
from node.rpc.identity import TlsIdentity
from node.storage.security_log import read_log
from node.timestamp.receipt import Receipt
from node.timestamp.trust import TrustFile
from tests.network.local_network import LocalNetwork, running_network, until
from tests.suites import SUITE
from tests.unit.cli.command import run
from tests.unit.gateway.rig import App, GatewayRig, digest_of
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
        fetched = Receipt.decode(await client.receipt(recorded.tx_id))
        # Tokens are signed anew, and SM2 signs the same statement otherwise each time.
        given = Receipt.decode(recorded.receipt)
        assert replace(fetched, token=None) == replace(given, token=None)
        if SUITE is INTERNATIONAL:
            assert fetched == given
        assert (await client.status()).height >= 1


# --- Renewal ---


@dataclass
class StrictLoad:
    """Applications that record one document after the other; an answer but 201 ends it."""

    apps: list[App]
    made: int = 0
    is_over: bool = False
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(10_000, 1_000_000)))

    def run(self) -> None:
        while not self.is_over:
            for app in self.apps:
                number = next(self.numbers)
                reply = app.record(f"load-{number}", number)
                assert reply.status == 201, reply
                self.made += 1

    async def until_more(self, running: asyncio.Future[None]) -> None:
        """Wait until each application has recorded two more."""
        wanted = self.made + 2 * len(self.apps)

        async def reached() -> bool | None:
            if running.done():
                running.result()
            return self.made >= wanted or None

        await until(reached, "records after a renewal")


def shown_by(app: App) -> str:
    """Return the SHA-256 of the certificate that the gateway shows whoever connects now."""
    with app.connected() as connection:
        connection.connect()
        assert isinstance(connection.sock, ssl.SSLSocket)
        certificate = connection.sock.getpeercert(binary_form=True)
    assert certificate is not None
    return hashlib.sha256(certificate).hexdigest()


async def test_all_that_a_gateway_shows_is_renewed_without_a_failed_request(
    network: LocalNetwork, tmp_path: Path
) -> None:
    rig = GatewayRig(tmp_path, network.home / "clients/agency-1/profile.toml")
    signing, shown = rig.app("licences"), rig.app("portal", seed=2, p256=True)
    rolled = rig.app("rolled", seed=3)

    async def renewed(which: str, count: int) -> None:
        async def noted() -> bool | None:
            lines = [each for each in rig.log() if each["what"] == "certificate.renewed"]
            assert all(each["outcome"] == "allowed" for each in lines), lines
            return len([each for each in lines if each["which"] == which]) == count or None

        await until(noted, f"the certificate of the {which} renewed {count} times")

    async def govchain(*arguments: object) -> dict[str, Any]:
        ran = await asyncio.to_thread(run, *arguments, "--json")
        assert ran.code == 0, ran.out
        return ran.json

    with rig.gateway():
        load = StrictLoad([signing, shown, rolled])
        running = asyncio.get_running_loop().run_in_executor(None, load.run)
        try:
            for count in (1, 2):
                before = await asyncio.to_thread(shown_by, signing)
                made = await govchain("gateway", "renew", rig.home)
                assert [each["name"] for each in made["applications"]] == ["portal"]
                await renewed("server", count)
                assert await asyncio.to_thread(shown_by, signing) != before
                await load.until_more(running)
                # What the gateway shows the chain: issued, registered, put in place.
                rotate = ("identity", "rotate", "agency-1", "--as", "admin-1")
                await govchain(*rotate, "--home", network.home)
                await renewed("chain", count)
                await load.until_more(running)
            (made_again,) = (await govchain("gateway", "renew", rig.home, "portal"))["applications"]
            old = shown.shown
            shown.shown = ssl.create_default_context(cafile=str(rig.home / "ca.pem"))
            shown.shown.load_cert_chain(made_again["certificate"], tmp_path / "portal.key")
            for tls in (old, shown.shown):  # the one before is good until it ends
                reply = await asyncio.to_thread(shown.send, "GET", "/v1/status", b"", {}, tls)
                assert reply.status == 200
            # An application's key: the new one let in, used, and then the old one let in no more.
            key_id = rolled.key_id
            successor = type(rolled.signer).from_secret(bytes([4]) * 32)
            (tmp_path / "new.pub").write_bytes(encode_public_pem(successor))
            await govchain(
                "gateway", "app", "add", rig.home, "rolled", "--key", tmp_path / "new.pub"
            )
            await load.until_more(running)
            rolled.signer = successor
            await load.until_more(running)
            await govchain("gateway", "app", "remove", rig.home, "rolled", "--key", key_id)
            await load.until_more(running)
            unknown = await asyncio.to_thread(run, "gateway", "renew", rig.home, "nobody", "--json")
            assert unknown.json["error"]["code"] == "GC-2203"
        finally:
            load.is_over = True
            await running
    assert [line for line in rig.errors if not line.startswith("listens on port ")] == []
