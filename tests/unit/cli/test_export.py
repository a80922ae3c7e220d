"""`testnet export`: what is written, and what is refused before anything is."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from node.chain.genesis import Genesis
from node.cli.exit_codes import ExitCode
from node.config import ClientProfile
from node.crypto.keystore import KeyFileSecret, KeyPurpose, load_signer
from node.errors import CryptoError
from tests.unit.cli.command import run


def test_compose_finds_free_ports_and_says_what_to_do_next(tmp_path: Path) -> None:
    ran = run("testnet", "export", "compose", "-n", 2, "--out", tmp_path)
    assert ran.code == 0, ran.err
    profile = ClientProfile.load(tmp_path / "network" / "profile.toml")
    addresses = [str(endpoint.address) for endpoint in profile.endpoints]
    assert re.findall(r"validator-\d +(\S+)", ran.out) == addresses
    assert f"docker-compose -f {tmp_path}/compose.yaml up -d" in ran.out
    assert f"govchain notarize --home {tmp_path}/network" in ran.out


def test_compose_takes_given_ports_and_answers_programs(tmp_path: Path) -> None:
    ran = run(
        *("testnet", "export", "compose", "-n", 1, "--out", tmp_path),
        *("--first-port", 4_321, "--json"),
    )
    assert ran.code == 0
    profile = ClientProfile.load(tmp_path / "network" / "profile.toml")
    assert ran.json["chain_id"] == profile.chain_id.hex()
    assert ran.json["nodes"] == [{"id": "validator-1", "host": "127.0.0.1", "client_port": 4_321}]
    assert Path(ran.json["compose_file"]).is_file()
    assert ran.json["home"] == str(tmp_path / "network")


@pytest.mark.parametrize(
    "options",
    [("-n", 0), ("-n", 65), ("--first-port", 65_535), ("--first-port", 0), ("--suite", "rot13")],
    ids=str,
)
def test_compose_refuses_what_cannot_be(tmp_path: Path, options: tuple[str, object]) -> None:
    ran = run("testnet", "export", "compose", "--out", tmp_path / "new", *options)
    assert ran.code == ExitCode.USAGE
    assert not (tmp_path / "new").exists()


def test_compose_makes_a_gateway_where_one_is_asked_for(tmp_path: Path) -> None:
    asked = ("testnet", "export", "compose", "-n", 1, "--out", tmp_path, "--json")
    ran = run(*asked, "--gateway", "127.0.0.1:4433", "--gateway-name", "api.example.gov:443")
    assert ran.code == 0, ran.out
    network, home = tmp_path / "network", tmp_path / "network/gateway"
    assert ran.json["gateway"]["published"] == "127.0.0.1:4433"
    variables = (tmp_path / ".env").read_text()
    assert "GATEWAY_HOST=127.0.0.1\nGATEWAY_PORT=4433\n" in variables
    settings = tomllib.loads((home / "gateway.toml").read_text())
    assert settings["names"] == ["127.0.0.1:4433", "api.example.gov:443"]
    assert settings["key_file"] == "/run/secrets/gateway-key"
    profile = ClientProfile.load(home / "client/profile.toml")
    assert (profile.identity, str(profile.endpoints[0].address)) == (
        "gateway-1",
        "validator-1:7200",
    )
    genesis = Genesis.decode(profile.genesis.read_bytes())
    (enrolled,) = (each for each in genesis.identities if each.identity_id == "gateway-1")
    # Its keys open with a secret of its own, and that of the validators opens none of them.
    own, shared = (KeyFileSecret.load(network / name) for name in ("gateway.key", "secret.key"))
    signer = load_signer(home / "client/client.key", own, KeyPurpose.IDENTITY)
    assert signer.public_key.encoded == enrolled.public_key
    for path in home.rglob("*.key"):
        purpose = KeyPurpose(json.loads(path.read_bytes())["purpose"])
        load_signer(path, own, purpose)
        with pytest.raises(CryptoError, match="does not open with this secret"):
            load_signer(path, shared, purpose)
    assert not (network / "clients/gateway-1").exists()
    assert not (home / "secret.key").exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--gateway", "api.example.gov:443"),
        ("--gateway", "127.0.0.1"),
        ("--gateway-name", "api.example.gov:443"),
        ("--gateway", "127.0.0.1:443", "--gateway-name", "api.example.gov"),
    ],
    ids=str,
)
def test_compose_publishes_a_gateway_where_it_was_told_alone(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    ran = run("testnet", "export", "compose", "--out", tmp_path / "new", *options)
    assert ran.code == ExitCode.USAGE
    assert not (tmp_path / "new").exists()


def test_compose_makes_no_gateway_unasked(tmp_path: Path) -> None:
    assert run("testnet", "export", "compose", "-n", 1, "--out", tmp_path).code == 0
    assert not list(tmp_path.rglob("*gateway*"))
    assert "GATEWAY" not in (tmp_path / ".env").read_text()


def test_compose_does_not_touch_a_network_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "network").mkdir()
    ran = run("testnet", "export", "compose", "--out", tmp_path, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2102")
    assert [path.name for path in tmp_path.iterdir()] == ["network"]
