"""`testnet export`: what is written, and what is refused before anything is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from node.cli.exit_codes import ExitCode
from node.config import ClientProfile
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


def test_compose_does_not_touch_a_network_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "network").mkdir()
    ran = run("testnet", "export", "compose", "--out", tmp_path, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2102")
    assert [path.name for path in tmp_path.iterdir()] == ["network"]
