"""`node init` makes a node on a machine of its own, and `node join` takes its introduction."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from node.operations.provision import update_toml
from tests.unit.cli.command import CHINESE, Ran, run


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a network of one that does not run."""
    home = tmp_path_factory.mktemp("init") / "network"
    assert run("testnet", "init", "--home", home, "-n", 1, "--json").code == 0
    return home


def init(network: Path, home: Path, *more: object, env: dict[str, str] | None = None) -> Ran:
    return run(
        *("node", "init", home, "--genesis", network / "genesis.cbor"),
        *("--id", "city-a", "--organisation", "city", "--listen", "[::1]:7100"),
        *("--peer", "validator-1=[::1]:7200", "--json", *more),
        env=env,
    )


def code_of(ran: Ran) -> str:
    return str(ran.json["error"]["code"])


def test_it_says_what_others_are_to_compare_and_no_secret(network: Path, tmp_path: Path) -> None:
    home = tmp_path / "city-a"
    made = init(network, home, "--authority", tmp_path / "authority", "--at", "city.example")
    assert made.code == 0
    assert (made.json["peers_at"], made.json["clients_at"]) == (
        "city.example:7100",
        "city.example:7101",
    )
    introduction = json.loads((home / "introduction.json").read_bytes())
    assert made.json["vote_key"] == introduction["vote_key"]
    assert made.json["chain_id"] == introduction["chain_id"]
    secret = (home / "secret.key").read_bytes().hex()
    assert secret not in made.out + made.err
    again = init(network, home, "--authority", tmp_path / "authority", env=CHINESE)
    assert (again.code, code_of(again)) == (2, "GC-2102")


def test_where_the_authority_is_elsewhere_there_is_a_request(network: Path, tmp_path: Path) -> None:
    home = tmp_path / "city-a"
    asked = init(network, home, "--request")
    assert (asked.code, asked.json["request"]) == (0, str(home / "tls.csr"))
    assert not (home / "introduction.json").exists()
    shutil.copy(network / "organisations/org-1/ca.pem", tmp_path / "ca.pem")
    shutil.copy(network / "nodes/validator-1/tls.pem", tmp_path / "tls.pem")
    issued = ("--certificate", tmp_path / "tls.pem", "--ca", tmp_path / "ca.pem")
    refused = init(network, home, *issued)
    assert (refused.code, code_of(refused)) == (2, "GC-1002")
    assert "tls.csr" in refused.json["error"]["fix"]


@pytest.mark.parametrize(
    "more",
    [
        (),
        ("--authority", "ca", "--request"),
        ("--certificate", "tls.pem"),
        ("--request", "--ca", "ca.pem"),
        ("--request", "--peer", "::1"),
        ("--request", "--peer", "validator-1"),
        ("--request", "--clients", "::1:7101"),
        ("--request", "--listen", "::1"),
        ("--request", "--key-file", "a", "--passphrase"),
    ],
)
def test_wrong_usage(network: Path, tmp_path: Path, more: tuple[str, ...]) -> None:
    ran = init(network, tmp_path / "city-a", *more)
    assert (ran.code, code_of(ran)) == (2, "GC-2303")
    assert not (tmp_path / "city-a").exists()


def test_an_introduction_is_checked_before_anything_is_proposed(
    network: Path, tmp_path: Path
) -> None:
    home = tmp_path / "city-a"
    assert init(network, home, "--authority", tmp_path / "authority").code == 0
    introduction = home / "introduction.json"
    join = ("node", "join", "--home", network, "--introduction", introduction, "--json")
    wrong = run(*join, "--organisation", "city")
    assert (wrong.code, code_of(wrong)) == (2, "GC-2303")
    rotate = ("node", "rotate", "validator-1", *join[2:])
    foreign = run(*rotate)
    assert (foreign.code, code_of(foreign)) == (2, "GC-2324")
    assert "is of city, but validator-1 is of org-1" in foreign.json["error"]["message"]
    meet = ("node", "meet", introduction, "--json")
    nowhere = run(*meet, "--home", network)
    assert (nowhere.code, code_of(nowhere)) == (2, "GC-2303")
    early = run(*meet, "--profile", network / "profile.toml")
    assert (early.code, code_of(early)) == (2, "GC-2324")
    assert "is no validator of epoch 0" in early.json["error"]["message"]
    introduction.write_bytes(introduction.read_bytes().replace(b"city-a", b"city-b"))
    changed = run(*join)
    assert (changed.code, code_of(changed)) == (2, "GC-2324")
    introduction.unlink()
    gone = run(*join)
    assert (gone.code, code_of(gone)) == (2, "GC-2324")


def test_a_profile_of_one_administrator_signs_as_no_other(network: Path, tmp_path: Path) -> None:
    office = tmp_path / "office"
    shutil.copytree(network / "clients/admin-1", office)
    for name in ("ca-bundle.pem", "genesis.cbor", "secret.key"):
        shutil.copy(network / name, office)
    files = {"ca_bundle": "ca-bundle.pem", "genesis": "genesis.cbor", "key_file": "secret.key"}
    update_toml(office / "profile.toml", files)
    profile, step = office / "profile.toml", tmp_path / "step.json"
    run("node", "leave", "validator-1", "--profile", profile, "--propose", step)
    approve = ("node", "leave", "--profile", profile, "--approve", step, "--yes", "--json")
    other = run(*approve, "--as", "agency-1")
    assert (other.code, code_of(other)) == (2, "GC-2002")
    assert json.loads(step.read_bytes())["approved_by"] == []
    own = run(*approve, "--as", "admin-1")
    assert (own.code, own.json["approved_by"]) == (0, ["admin-1"])
