"""Whoever verifies with a clock that is behind is told to look at it, whatever the format."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest

from node.cli.exit_codes import ExitCode
from node.crypto.certificate import encode_pem
from tests.unit.cli.command import CHINESE, run

VECTORS = Path(__file__).parents[2] / "vectors"
RECEIPTS = VECTORS / "receipt"
FORMATS = (".receipt", ".cose", ".stamped.cose", ".tsr", ".pdf", ".tlog-proof", ".refreshed")
PROOFS = ("standing/standing/good-1", "standing/consistency/good-1-2")
COMMANDS = (*FORMATS, "qr", "beside", *PROOFS, "anchor", "evidence")


def unpack(folder: Path, path: str, member: str) -> tuple[Path, dict[str, Any]]:
    """Write a file of a vector; return it, and the vector."""
    vector: dict[str, Any] = json.loads((VECTORS / f"{path}.json").read_text())
    file = folder / member
    file.write_bytes(base64.b64decode(vector[member]))
    return file, vector


def command(name: str, folder: Path) -> tuple[object, ...]:
    """Return what verifies, but for the clock."""
    document, trust = RECEIPTS / "document.txt", RECEIPTS / "trust"
    if name in FORMATS:
        receipt = RECEIPTS / f"document.txt{name}"
        pinned = "pinned-7.json" if name == ".refreshed" else "genesis.json"
        return ("verify", document, "--receipt", receipt, "--trust", trust / pinned)
    if name == "qr":
        text = RECEIPTS / "compact.qr.txt"
        return ("verify", document, "--receipt", text, "--trust", trust / "compact.json")
    if name in PROOFS:
        proof, vector = unpack(folder, name, "proof")
        return ("verify", proof, "--trust", VECTORS / "standing" / "trust" / vector["trust"])
    if name == "beside":
        proof, vector = unpack(folder, "standing/standing/good-record-3", "proof")
        receipt, _vector = unpack(folder, "standing/standing/good-record-3", "receipt")
        digest = run("receipt", "show", receipt, "--json").json["receipt"]["record"]
        words = ("verify", f"{digest['digest_algorithm']}:{digest['digest']}", "--receipt", receipt)
        pinned = VECTORS / "standing" / "trust" / vector["trust"]
        return (*words, "--trust", pinned, "--standing", proof)
    if name == "anchor":
        anchor, vector = unpack(folder, "anchor/anchor/good-record", "anchor")
        receipt, _vector = unpack(folder, "anchor/anchor/good-record", "receipt")
        kept = [VECTORS / "anchor" / kind / vector[kind] for kind in ("trust", "authority")]
        trust, authority = kept
        return (
            *("anchor", "verify", anchor, "--receipt", receipt),
            *("--trust", trust, "--authority", authority),
        )
    roots = folder / "roots.pem"
    found = sorted((VECTORS / "evidence" / "roots").iterdir())
    roots.write_bytes(b"".join(encode_pem(path.read_bytes()) for path in found))
    return ("evidence", "verify", VECTORS / "evidence" / "document.txt", "--ca", roots)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_clock_behind_is_told_as_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = command(name, tmp_path)
    in_time = 2_051_222_400_000_000_000 if name == "evidence" else 1_767_225_600_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: in_time)
    sound = run(*words, "--json")
    assert sound.code == (ExitCode.NOT_VERIFIED if name == "beside" else ExitCode.DONE)
    assert sound.json.get("error", {"code": "GC-2312"})["code"] == "GC-2312"  # withdrawn
    monkeypatch.setattr(time, "time_ns", lambda: 1_577_836_800_000_000_000)  # 2020-01-01
    ran = run(*words, "--json")
    assert ran.code == ExitCode.NOT_VERIFIED
    assert "time-future" in ran.json["error"]["message"]
    assert "this machine's clock" in ran.json["error"]["fix"]
    told = run(*words, env=CHINESE)
    assert "请先检查本机时钟" in told.err + told.out


def test_a_proof_from_the_future_is_not_young(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = command(PROOFS[0], tmp_path)
    monkeypatch.setattr(time, "time_ns", lambda: 1_577_836_800_000_000_000)
    assert run(*words, "--max-age", "7d").code == ExitCode.NOT_VERIFIED


def test_an_old_receipt_is_no_way_round_the_clock_of_a_proof_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receipt is of a time that is past by the clock here, the proof is not."""
    words = command("beside", tmp_path)
    seconds = 1_760_000_001  # when the first record was made; the proof is some seconds younger
    monkeypatch.setattr(time, "time_ns", lambda: (seconds - 59) * 1_000_000_000)
    ran = run(*words, "--json")
    assert ran.json["verdict"] == "verified"
    assert ran.json["standing_proof"]["verdict"] == "not verified"
    assert "this machine's clock" in ran.json["error"]["fix"]
