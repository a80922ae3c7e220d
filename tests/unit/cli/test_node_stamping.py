"""`node stamping` as far as it goes without a running network."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from node.config import NodeConfig
from node.operations.stamping_identity import NEXT_KEY_FILE
from tests.unit.cli.command import run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("stamping") / "network"
    assert run("testnet", "init", "--home", home, "-n", 2, "--json").code == 0
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "network")
    return tmp_path / "network"


def test_it_is_proposed_approved_and_used(home: Path) -> None:
    step, node = home / "step.json", home / "nodes" / "validator-2"
    propose = ("node", "stamping", "--node-home", node, "--home", home, "--propose", step, "--json")
    proposed = run(*propose)
    assert proposed.code == 0, proposed.out
    (operation,) = proposed.json["operations"]
    assert (operation["operation"], operation["role"]) == ("register-identity", "agency")
    assert (operation["identity"], operation["organisation"]) == ("org-2-tsa.2", "org-2")
    assert run(*propose).json["error"]["code"] == "GC-2306"  # it may be approved of by now
    step.unlink()
    assert run(*propose).json["operations"][0]["public_key"] == operation["public_key"]
    approve = ("node", "stamping", "--home", home, "--approve", step, "--yes", "--json")
    assert run(*approve, "--as", "admin-1").json["approved_by"] == ["admin-1"]
    assert NodeConfig.load(node).timestamp_identity == "org-2-tsa"
    used = run("node", "stamping", "validator-2", "--home", home, "--use", "org-2-tsa.2", "--json")
    assert used.code == 0, used.out
    assert (used.json["node"], used.json["identity"]) == ("validator-2", "org-2-tsa.2")
    assert NodeConfig.load(node).timestamp_identity == "org-2-tsa.2"
    assert not (node / NEXT_KEY_FILE).exists()


def test_nothing_changes_while_nobody_registers_it(home: Path) -> None:
    node = home / "nodes" / "validator-1"
    before = NodeConfig.load(node)
    ran = run("node", "stamping", "validator-1", "--home", home, "--wait", "1", "--json")
    assert ran.code == 6, ran.out
    assert NodeConfig.load(node) == before


@pytest.mark.parametrize(
    "arguments",
    [(), ("validator-1", "--node-home", "x"), ("no-such-node",), ("validator-1", "--use", "x")],
)
def test_what_is_missing_is_told(home: Path, arguments: tuple[str, ...]) -> None:
    ran = run("node", "stamping", *arguments, "--home", home)
    assert ran.code == 2
    assert "fix" in ran.err.lower() or "see" in ran.err.lower(), ran.err
