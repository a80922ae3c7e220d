"""`testnet` and `node` without a running process: what they make, refuse and explain."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from node.cli.exit_codes import ExitCode
from node.cli.network import read_genesis
from node.config import NodeConfig
from node.crypto.suite import SUITES
from node.operations.topology import GENESIS_FILE, Topology
from node.rpc.port import NodeStatus
from tests.suites import SUITE
from tests.unit.cli.command import run
from tests.unit.cli.served import served
from tests.unit.rpc.fake_node import FakeLedger, FakeNode

OTHER_SUITE = next(suite.name for suite in SUITES if suite is not SUITE)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "net"
    assert run("testnet", "init", "--home", folder, "-n", 1).code == 0
    return folder


def test_init_makes_a_network_and_tells_its_ports(tmp_path: Path) -> None:
    home = tmp_path / "net"
    ran = run("testnet", "init", "--home", home, "-n", 2, "--json")
    assert ran.code == 0
    topology = Topology.load(home)
    assert ran.json["chain_id"] == topology.chain_id
    assert ran.json["quorum"] == topology.quorum
    assert [node["client_port"] for node in ran.json["nodes"]] == [
        node.client_port for node in topology.nodes
    ]
    for node in topology.nodes:
        config = NodeConfig.load(home / node.home)
        assert {config.peer_address.host, config.client_address.host} == {"127.0.0.1"}


def test_init_never_overwrites(home: Path) -> None:
    before = (home / "genesis.cbor").read_bytes()
    ran = run("testnet", "init", "--home", home, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2102")
    assert f"govchain testnet destroy --home {home}" in ran.json["error"]["fix"]
    assert "rm -r" not in ran.json["error"]["fix"]
    assert (home / "genesis.cbor").read_bytes() == before


@pytest.mark.parametrize("option", [("-n", 4), ("--suite", OTHER_SUITE)])
def test_up_does_not_change_what_a_network_is(home: Path, option: tuple[str, object]) -> None:
    ran = run("testnet", "up", "--home", home, *option, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2102")
    assert "destroy" in ran.json["error"]["fix"]


def test_a_half_made_folder_is_told_from_a_network(tmp_path: Path) -> None:
    (tmp_path / "nodes").mkdir()
    for verb in ("up", "status", "down", "destroy"):
        ran = run("testnet", verb, "--home", tmp_path, "--json")
        assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2102"), verb
    assert (tmp_path / "nodes").is_dir()


def test_where_nothing_is_only_up_makes_something(tmp_path: Path) -> None:
    for verb in ("status", "down", "destroy"):
        ran = run("testnet", verb, "--home", tmp_path / "net", "--json")
        assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2101"), verb
        assert "testnet up" in ran.json["error"]["fix"]


def test_a_stopped_network_is_shown_and_does_not_serve(home: Path) -> None:
    ran = run("testnet", "status", "--home", home, "--json")
    assert ran.code == ExitCode.UNAVAILABLE
    assert ran.json["serving"] == 0
    assert [node["health"] for node in ran.json["nodes"]] == ["STOPPED"]
    assert run("testnet", "down", "--home", home, "--json").json["stopped"] == []


class Degraded(FakeNode):
    """Says that nobody vouches for the time of its blocks."""

    is_degraded = True

    async def status(self) -> NodeStatus:
        return replace(await super().status(), time_degraded=self.is_degraded)


def test_that_nobody_vouches_for_the_time_of_blocks_is_said(home: Path) -> None:
    node = Degraded("validator-1", FakeLedger())
    with served(node, home, read_genesis(home / GENESIS_FILE).chain_id):
        ran = run("testnet", "status", "--home", home)
        told = run("testnet", "status", "--home", home, "--json")
        node.is_degraded = False
        sound = run("testnet", "status", "--home", home)
    assert "time nobody vouches for: govchain doctor" in ran.out + ran.err
    assert [each["time_degraded"] for each in told.json["nodes"]] == [True]
    assert "vouches" not in sound.out + sound.err


def test_destroy_removes_the_network_alone(home: Path) -> None:
    neighbour = home.parent / "neighbour"
    neighbour.touch()
    assert run("testnet", "destroy", "--home", home).code == 0
    assert not home.exists()
    assert neighbour.exists()


def test_client_verbs_say_when_no_validator_answers(home: Path) -> None:
    for words in (("record", "list"), ("block", "show"), ("tx", "show", "00" * 32)):
        ran = run(*words, "--home", home, "--json")
        assert (ran.code, ran.json["error"]["code"]) == (ExitCode.UNAVAILABLE, "GC-2205"), words


def test_client_verbs_name_a_missing_network_and_missing_credentials(home: Path) -> None:
    ran = run("record", "list", "--home", home / "elsewhere", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2101")
    ran = run("record", "list", "--home", home, "--as", "nobody-7", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2002")
    assert "nobody-7" in ran.json["error"]["message"]
    ran = run("record", "list", "--home", home, "--profile", home / "profile.toml", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2303")


def test_a_profile_of_its_own_folder_works_as_well(home: Path) -> None:
    profile = home / "clients" / "auditor-1" / "profile.toml"
    ran = run("record", "list", "--profile", profile, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.UNAVAILABLE, "GC-2205")


def test_a_genesis_that_is_not_the_profiles_is_refused(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    run("testnet", "init", "--home", other, "-n", 1)
    (home / "genesis.cbor").write_bytes((other / "genesis.cbor").read_bytes())
    (tmp_path / "document").touch()
    ran = run("block", "show", "0", "--home", home, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2002")
    assert "genesis" in ran.json["error"]["message"]


def test_the_genesis_block_is_known_without_a_network(home: Path) -> None:
    ran = run("block", "show", "0", "--home", home, "--json")
    assert ran.code == 0
    assert ran.json["block"]["height"] == 0
    assert ran.json["block"]["signers"] == []


def test_a_node_without_a_home_is_refused(tmp_path: Path) -> None:
    ran = run("node", "run", "--home", tmp_path, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2101")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--type", ""), "--type: expected 1 to 32 bytes"),
        (("--type", "照" * 11), "--type: expected 1 to 32 bytes"),
        (("--ref", "r" * 129), "--ref: expected 1 to 128 bytes"),
        (("--batch", "0"), "range"),
        (("--batch", "10001"), "range"),
    ],
)
def test_records_out_of_bounds_are_refused_before_anything_is_sent(
    home: Path, options: tuple[str, ...], message: str
) -> None:
    ran = run("notarize", __file__, "--home", home, *options, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2303")
    assert message in ran.json["error"]["message"]


def test_one_reference_is_for_one_document(home: Path) -> None:
    folder = Path(__file__).parent
    ran = run("notarize", folder, "--ref", "case-7", "--home", home, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2303")


def test_nothing_to_notarize_is_told(home: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    ran = run("notarize", empty, "--home", home, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2304")
    ran = run("notarize", tmp_path / "missing", "--home", home, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2301")
    assert ran.json["items"][0]["status"] == "failed"


@pytest.mark.parametrize("words", [("init",), ("up",), ("export", "compose", "--out", "new")])
def test_an_unknown_suite_is_wrong_usage_and_the_known_are_named(
    tmp_path: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run("testnet", *words, "--suite", "rot13", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2303")
    assert "'rot13' is not known; known are: international" in ran.json["error"]["message"]
    assert [*tmp_path.iterdir()] == []
