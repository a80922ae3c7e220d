"""Certificates replaced on a server that runs, and rights lost on connections that are open."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from node.crypto.certificate import LOOPBACK_HOSTS, build_node_certificate, encode_der, encode_pem
from node.rpc.identity import AccessError, Gatekeeper, RenewableTls, TlsIdentity
from node.rpc.server import ClientServer
from tests.unit.rpc.fake_node import FakeNetwork
from tests.unit.rpc.pki import CHAIN_ID, HOUR_MS, now_ms, shared_pki


def shown_at(address: str) -> str:
    """Return the SHA-256 of the certificate that is shown to whoever connects now, by TLS 1.3."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout=5) as connection,
        context.wrap_socket(connection) as secured,
    ):
        assert secured.version() == "TLSv1.3"
        certificate = secured.getpeercert(binary_form=True)
    assert certificate is not None
    return hashlib.sha256(certificate).hexdigest()


def sha256_of(tls: TlsIdentity) -> str:
    return hashlib.sha256(encode_der(tls.certificate_pem)).hexdigest()


class Office(FakeNetwork):
    """One validator whose certificate may be renewed, and who lets in whom it is told to."""

    def __init__(self) -> None:
        super().__init__(1)
        self.barred: dict[str, str] = {}
        self.tls = RenewableTls(self.pki.validator(1))
        self._authorities = {name: (a.certificate,) for name, a in self.pki.authorities.items()}
        self.gatekeeper = Gatekeeper(
            self._authorities, now_ms, lambda shown, _: self.barred.get(shown.fingerprint.hex())
        )
        self.servers = [
            ClientServer(
                self.nodes[0],
                [f"{self.host}:0"],
                tls=self.tls,
                gatekeeper=self.gatekeeper,
                chain_id=CHAIN_ID,
                on_failure=self.failures.append,
            )
        ]

    def bar(self) -> None:
        """Go by `barred` from now on."""
        self.gatekeeper.admit(self._authorities)


@asynccontextmanager
async def opened() -> AsyncIterator[Office]:
    office = Office()
    await office.start()
    try:
        yield office
    finally:
        await office.stop()


async def test_a_certificate_is_replaced_under_load_and_no_request_fails() -> None:
    async with opened() as office, office.client() as held:
        asked, done = 0, asyncio.Event()

        async def load() -> None:
            nonlocal asked
            while not done.is_set():
                await held.genesis()
                async with office.client() as fresh:
                    await fresh.genesis()
                asked += 1

        loading = asyncio.create_task(load())
        try:
            for number in (2, 3, 4):
                validity_ms = now_ms() + number * HOUR_MS
                renewed = _validator_until(validity_ms)
                before = asked
                office.tls.renew(renewed)
                address = office.endpoints[0].address
                assert await asyncio.to_thread(shown_at, address) == sha256_of(renewed)
                while asked < before + 2:
                    await asyncio.sleep(0)
                    assert not loading.done()
        finally:
            done.set()
            await loading
        assert not office.failures


def _validator_until(not_after_ms: int) -> TlsIdentity:
    pki = shared_pki()
    member, key = pki.member(1_001, "validator-1", "validator")
    certificate = build_node_certificate(
        pki.authorities["org-1"],
        member,
        pki.issuance(7, not_after_ms),
        hosts=(*LOOPBACK_HOSTS, "validator-1"),
    )
    return TlsIdentity(encode_pem(certificate), key)


async def test_who_loses_its_rights_is_refused_on_what_it_has_open() -> None:
    async with opened() as office, office.client() as held, office.client() as watching:
        assert await held.genesis()
        stream = watching.blocks(0)
        assert (await anext(stream)).height == 0
        office.barred[sha256_of(office.pki.client())] = "identity 'agency-1' is frozen"
        office.bar()
        office.ledger.commit()  # the block that did it
        with pytest.raises(AccessError, match="is frozen"):
            await held.genesis()
        with pytest.raises(AccessError, match="is frozen"):
            async for _summary in stream:
                pass
        office.barred.clear()
        office.bar()
        assert await held.genesis()
        assert not office.failures


async def test_the_certificate_before_a_rotation_goes_on_until_it_is_barred() -> None:
    async with opened() as office:
        before, after = office.pki.client(), office.pki.client(not_after_ms=now_ms() + HOUR_MS)
        async with office.client(tls=before) as old, office.client(tls=after) as new:
            assert await old.genesis()
            assert await new.genesis()
            office.barred[sha256_of(before)] = "shows another certificate than the one registered"
            office.bar()
            assert await new.genesis()
            with pytest.raises(AccessError, match="another certificate"):
                await old.genesis()
