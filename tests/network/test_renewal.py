"""Every certificate of a network is replaced under load: no request fails, no height is skipped."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from node.chain.block import ResultCode
from node.crypto.certificate import encode_pem
from node.errors import ClientError
from node.operations.topology import NodeEntry
from node.rpc.port import NodeStatus
from tests.network.local_network import LocalNetwork, running_network, until, utc_ms
from tests.unit.cli.command import Ran, run
from tests.unit.crypto.rsa_authority import rsa_authority, rsa_member

FOUNDERS = ("validator-1", "validator-2", "validator-3", "validator-4")


async def govchain(home: Path, *arguments: object) -> Ran:
    """Run a command beside what this test does meanwhile."""
    return await asyncio.to_thread(run, *arguments, "--home", home, "--json")


def shown_at(host: str, port: int) -> str:
    """Return the SHA-256 of the certificate that is shown to whoever connects now."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((host, port), timeout=5) as connection,
        context.wrap_socket(connection) as secured,
    ):
        assert secured.version() == "TLSv1.3"
        certificate = secured.getpeercert(binary_form=True)
    assert certificate is not None
    return hashlib.sha256(certificate).hexdigest()


class StrictLoad:
    """Hands in one batch after the other; the first that is not final and well ends it."""

    def __init__(self, network: LocalNetwork) -> None:
        self._network = network
        self.is_over = False
        self.batches = 0

    async def run(self) -> None:
        async with self._network.client() as client:
            while not self.is_over:
                encoded = [self._network.transaction().encoded for _ in range(10)]
                outcomes = await client.submit(encoded)
                assert {each.final().code for each in outcomes} == {ResultCode.OK}
                self.batches += 1


async def until_shown(entry: NodeEntry, port: int, sha256: str) -> None:
    async def is_shown() -> bool | None:
        return (await asyncio.to_thread(shown_at, entry.host, port)) == sha256 or None

    await until(is_shown, f"{entry.id} shows its new certificate at port {port}")


async def test_every_certificate_is_replaced_under_load(tmp_path: Path) -> None:
    home = tmp_path / "network"
    with running_network(home) as network:
        await network.until_ready(network.ids)
        processes = {name: network.process(name).pid for name in FOUNDERS}
        load = StrictLoad(network)
        loading = asyncio.create_task(load.run())
        try:
            for entry in network.entries:
                before = load.batches
                ran = await govchain(home, "node", "renew", entry.id)
                assert ran.code == 0, ran.out
                (renewed,) = ran.json["renewed"]
                await until_shown(entry, entry.client_port, renewed["sha256"])
                await until_shown(entry, entry.peer_port, renewed["sha256"])

                async def goes_on(reached: int = before) -> bool | None:
                    assert not loading.done(), loading.result()
                    return load.batches > reached or None

                await until(goes_on, "a batch after the renewal")
            first = await govchain(home, "identity", "rotate", "agency-1", "--as", "admin-1")
            assert first.code == 0, first.out
            again = LocalNetwork(home)  # reads the credentials anew
            async with again.client() as fresh:
                (outcome,) = await fresh.submit([again.transaction().encoded])
                assert outcome.final().code is ResultCode.OK
                assert not loading.done()  # the connections of the old certificate go on, too
        finally:
            load.is_over = True
            await loading
        assert {name: network.process(name).pid for name in FOUNDERS} == processes
        shown = await govchain(home, "identity", "show", "agency-1", "--as", "admin-1")
        assert len(shown.json["certificates"]) == 1  # the one before was never registered


async def test_an_external_authority_of_rsa_certifies_for_tls_once_the_chain_names_it(
    tmp_path: Path,
) -> None:
    home = tmp_path / "network"
    with running_network(home) as network:
        await network.until_ready(network.ids)
        shown = home / "clients" / "agency-1" / "client.pem"
        at_ms = utc_ms()
        key = x509.load_pem_x509_certificate(shown.read_bytes()).public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        issued = rsa_member(at_ms, key, "agency:agency-1")
        shown.write_bytes(encode_pem(issued))
        with pytest.raises(ClientError):  # no authority of the organisation issued it
            await status_of(home)

        external, new = tmp_path / "external.pem", tmp_path / "new.pem"
        external.write_bytes(encode_pem(rsa_authority(at_ms)))
        new.write_bytes(encode_pem(issued))
        (own,) = (path for path in home.rglob("ca.pem") if path.parent.name == "org-1")
        words = ("org-1", "--ca", own, "--ca", external, "--reason", "outsourced")
        named = await govchain(home, "org", "authorities", *words, "--as", "admin-1")
        assert named.code == 0, named.out
        rotated = await govchain(
            home, "identity", "rotate", "agency-1", "--certificate", new, "--as", "admin-1"
        )
        assert rotated.code == 0, rotated.out

        async def is_believed() -> bool | None:
            try:
                return (await status_of(home)).height > 0
            except ClientError:
                return None

        await until(is_believed, "who shows the new certificate to be let in")


async def status_of(home: Path) -> NodeStatus:
    """Ask a validator as the agency, by the certificate that is in place now."""
    async with LocalNetwork(home).client("validator-1") as client:
        return await client.status()
