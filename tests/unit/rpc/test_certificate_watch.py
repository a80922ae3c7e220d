"""The TLS certificate of a running node: taken up anew, or not, and told before it ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from node.assembly.renewal import LoggedRenewal
from node.crypto.certificate import LOOPBACK_HOSTS, Member, build_node_certificate, encode_der
from node.crypto.keystore import KeyFileSecret, KeyPurpose, generate_key, save_key
from node.crypto.member_certificate import read_identity
from node.crypto.suite import INTERNATIONAL
from node.errors import ConfigError
from node.rpc.certificate_watch import ALARM_DAYS, CertificateWatch, load_tls
from node.rpc.client import LedgerEndpoint
from node.rpc.identity import RenewableTls, TlsIdentity
from node.rpc.server import ClientServer
from tests.unit.rpc.fake_node import FakeNetwork
from tests.unit.rpc.pki import CHAIN_ID, Pki

DAY_MS = 86_400_000


class Shelf:
    """The files of a TLS identity, and a watch over them."""

    def __init__(self, folder: Path, days: int = 365) -> None:
        self.pki = Pki(1)
        self.key, self.certificate = folder / "tls.key", folder / "tls.pem"
        first = self.issue(days)
        self.put(first)
        self.shown = RenewableTls(first)
        self.now_ms = self.pki.made_ms
        self.broken = ""
        self.watch = CertificateWatch(
            self.shown,
            (self.key, self.certificate),
            self.reload,
            lambda: self.now_ms,
            LoggedRenewal(),
        )

    def issue(self, days: int) -> TlsIdentity:
        return self.pki.client(not_after_ms=self.pki.made_ms + days * DAY_MS)

    def put(self, tls: TlsIdentity) -> None:
        for path, data in (
            (self.key, tls.private_key_pem),
            (self.certificate, tls.certificate_pem),
        ):
            made = path.with_suffix(".new")
            made.write_bytes(data)
            made.replace(path)

    def reload(self) -> TlsIdentity:
        if self.broken:
            raise ConfigError(self.broken)
        return TlsIdentity(self.certificate.read_bytes(), self.key.read_bytes())


async def test_files_that_change_are_taken_up_and_no_others_are_read(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    before = shelf.shown.now()
    await shelf.watch.look()
    assert shelf.shown.now() is before
    renewed = shelf.issue(700)
    shelf.put(renewed)
    with capture_logs() as logs:
        await shelf.watch.look()
        await shelf.watch.look()
    assert shelf.shown.now() == renewed
    assert [each["event"] for each in logs] == ["certificate-renewed"]
    assert shelf.watch.ends_ms == read_identity(renewed.certificate_pem).not_after_ms


async def test_what_does_not_fit_is_left_and_told_once_until_it_does(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    before = shelf.shown.now()
    shelf.put(shelf.issue(700))
    shelf.broken = "tls.pem: is not of the key"
    with capture_logs() as logs:
        await shelf.watch.look()
        await shelf.watch.look()
    assert [each["detail"] for each in logs] == [shelf.broken]
    assert shelf.shown.now() is before
    shelf.broken = ""
    shelf.put(shelf.issue(701))
    await shelf.watch.look()
    assert shelf.shown.now() != before


@pytest.mark.parametrize("days", ALARM_DAYS)
def test_each_alarm_is_told_once(tmp_path: Path, days: int) -> None:
    shelf = Shelf(tmp_path)
    with capture_logs() as logs:
        shelf.now_ms = shelf.watch.ends_ms - days * DAY_MS
        before = [each for each in ALARM_DAYS if each > days]
        shelf.watch.tell_end()
        assert len(logs) == bool(before)
        shelf.now_ms += 1
        shelf.watch.tell_end()
        shelf.watch.tell_end()
    assert len(logs) == bool(before) + 1
    assert (logs[-1]["event"], logs[-1]["days_left"]) == ("certificate-ends", days - 1)


async def test_a_certificate_in_der_serves_as_well(tmp_path: Path) -> None:
    """It was taken up, and no connection came about by it any more: TLS libraries take PEM."""
    secret, key = (
        KeyFileSecret.generate(tmp_path / "secret"),
        generate_key(KeyPurpose.TLS, INTERNATIONAL),
    )
    save_key(tmp_path / "tls.key", key, secret, KeyPurpose.TLS)
    network = FakeNetwork(1)
    certificate = build_node_certificate(
        network.pki.authorities["org-1"],
        Member(identity_id="validator-1", role="validator", public_key=key.public_key.encoded),
        network.pki.issuance(7),
        hosts=(*LOOPBACK_HOSTS, "validator-1"),
    )
    (tmp_path / "tls.pem").write_bytes(encode_der(certificate))
    shown = load_tls(tmp_path / "tls.pem", tmp_path / "tls.key", secret)
    server = ClientServer(
        network.nodes[0],
        ["127.0.0.1:0"],
        tls=shown,
        gatekeeper=network.pki.gatekeeper(),
        chain_id=CHAIN_ID,
        on_failure=network.failures.append,
    )
    [port] = await server.start()
    try:
        endpoint = LedgerEndpoint("validator-1", f"127.0.0.1:{port}")
        async with network.client([endpoint], tls=shown) as client:
            assert (await client.status()).validator_id == "validator-1"
    finally:
        await server.stop(0)
