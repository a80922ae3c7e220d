"""What the quickstart notarizes when nobody says, and what it suggests."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import node
from node.cli import quickstart
from node.cli.screen import Answer


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "node" / "room").mkdir(parents=True)
    for name in ("README.md", "LICENSE", "node/room/README.md", "node/__init__.py", "draft.md"):
        (tmp_path / name).touch()
    monkeypatch.setattr(node, "__file__", str(tmp_path / "node" / "__init__.py"))
    return tmp_path


def git(checkout: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", checkout, *arguments], check=True, capture_output=True)


def test_a_checkout_has_the_documents_that_git_knows(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(checkout, "init")
    git(checkout, "add", "README.md", "LICENSE", "node")
    monkeypatch.chdir(checkout)
    assert quickstart.own_documents() == ["LICENSE", "README.md", "node/room/README.md"]


def test_elsewhere_the_package_has_its_pages(checkout: Path) -> None:
    assert quickstart.own_documents() == [
        f"{checkout}/README.md",
        f"{checkout}/LICENSE",
        f"{checkout}/node/room/README.md",
    ]


def test_a_deleted_document_is_left_out(checkout: Path) -> None:
    git(checkout, "init")
    git(checkout, "add", "README.md", "LICENSE")
    (checkout / "LICENSE").unlink()
    assert quickstart.own_documents() == [f"{checkout}/README.md"]


def test_commands_are_suggested_as_they_can_be_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(tmp_path / ".venv/bin/govchain")])
    assert quickstart.own_program() == ".venv/bin/govchain"
    monkeypatch.setattr(sys, "argv", ["/x/__main__.py"])
    assert quickstart.own_program() == "python -m node"
    (tmp_path / "govchain").touch(mode=0o755)
    assert quickstart.own_program() == "govchain"


def test_suggested_commands_can_be_pasted_whatever_the_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quickstart, "own_program", lambda: "govchain")
    home, path, receipt, trust = "my net", "it's; a file", "out $1/x.receipt", "my net/trust.json"
    answer = Answer({"items": [{"path": path, "receipt": receipt}], "trust": trust})
    commands = [shlex.split(line) for line in quickstart.suggest_commands(Path(home), answer)]
    proof = ["--receipt", receipt, "--trust", trust, "--offline"]
    assert commands == [
        ["govchain", "testnet", "status", "--home", home],
        ["govchain", "notarize", "FILE", "--home", home],
        ["govchain", "verify", path, *proof],
        ["govchain", "testnet", "down", "--home", home],
    ]
