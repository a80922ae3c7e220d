"""`node revoke`: lists of an authority, one after another, and what `verify` makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.command import Ran, run


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("revoke") / "network"
    assert run("testnet", "init", "--home", home, "-n", 2, "--json").code == 0
    return home


def revoke(network: Path, out: Path, *more: object) -> Ran:
    authority = network / "organisations" / "org-1"
    key = ("--key-file", network / "secret.key")
    return run("node", "revoke", "--authority", authority, *key, "--out", out, *more, "--json")


def test_a_list_goes_on_from_the_one_before(network: Path, tmp_path: Path) -> None:
    certificate = network / "nodes" / "validator-1" / "tsa.pem"
    empty, first, second = (tmp_path / f"{name}.pem" for name in ("empty", "first", "second"))
    assert revoke(network, empty).json["revoked"] == []
    options = ("--certificate", certificate, "--reason", "key-compromise", "--previous", empty)
    made = revoke(network, first, *options)
    assert made.code == 0, made.out
    assert len(made.json["revoked"]) == 1
    milder = ("--certificate", certificate, "--reason", "superseded", "--previous", first)
    again = revoke(network, second, *milder)
    assert again.json["revoked"] == made.json["revoked"]
    assert first.read_bytes().startswith(b"-----BEGIN X509 CRL-----")


def test_what_is_not_this_authoritys_is_refused(network: Path, tmp_path: Path) -> None:
    other = network / "nodes" / "validator-2" / "tsa.pem"
    tls = network / "nodes" / "validator-1" / "tls.pem"
    (tmp_path / "there.pem").write_bytes(b"")
    for out, options, message in (
        ("a.pem", ("--certificate", other, "--reason", "superseded"), "not issued by"),
        ("a.pem", ("--certificate", tls, "--reason", "superseded"), "tls.pem: "),
        ("a.pem", ("--previous", tls), "revocation list"),
        ("a.pem", ("--certificate", other), "--reason"),
        ("there.pem", (), "there already"),
    ):
        ran = revoke(network, tmp_path / out, *options)
        assert ran.code == 2, ran.out
        assert message in ran.json["error"]["message"]
    assert not (tmp_path / "a.pem").exists()
