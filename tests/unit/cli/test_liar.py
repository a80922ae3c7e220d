"""What the command makes of a validator that lies: nothing it says counts unless it is proved."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import node
from node.cli.exit_codes import ExitCode
from node.cli.under_way import UNDER_WAY_SUFFIX
from tests.unit.cli.command import run

ROOT = Path(node.__file__).parent.parent


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("liar") / "net"
    assert run("testnet", "init", "--home", folder, "-n", 1).code == 0
    command = [sys.executable, "-m", "tests.unit.cli.liar", str(folder / "nodes/validator-1")]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield folder
        process.communicate()


def test_a_receipt_counts_only_once_it_is_verified(home: Path, tmp_path: Path) -> None:
    documents = [tmp_path / name for name in ("forged", "malformed", "missing")]
    for path in documents:
        path.write_bytes(secrets.token_bytes(8))
    out = tmp_path / "receipts"
    ran = run("notarize", *documents, "--home", home, "--out", out, "--json")
    assert ran.code == ExitCode.NOT_VERIFIED
    assert [item["error"]["code"] for item in ran.json["items"]] == ["GC-2305"] * 3
    assert "document-digest" in ran.json["items"][0]["error"]["message"]
    assert not any("receipt" in item for item in ran.json["items"])
    assert [each.suffix for each in out.iterdir()] == [UNDER_WAY_SUFFIX]


@pytest.mark.parametrize(
    "words",
    [
        ("receipt", "fetch", "00" * 32),
        ("receipt", "fetch", f"tx:{'00' * 32}:0"),
        ("receipt", "fetch", f"tx:{'00' * 32}:1"),
        ("block", "show", "1"),
        ("tx", "show", "00" * 32),
        ("trust", "export"),
    ],
    ids=" ".join,
)
def test_forged_answers_are_told_and_not_kept(
    home: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    keeps = ("--out", tmp_path / "out") if words[0] in ("receipt", "trust") else ()
    ran = run(*words, *keeps, "--home", home, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.NOT_VERIFIED, "GC-2305")
    assert not (tmp_path / "out").exists()


def test_a_wrong_operation_is_wrong_usage(home: Path) -> None:
    ran = run("receipt", "fetch", f"tx:{'00' * 32}:x", "--home", home, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2303")
