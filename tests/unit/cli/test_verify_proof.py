"""`verify` of proofs that stand by themselves, and beside receipts: codes and words, no socket."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

import pytest

from node.cli.exit_codes import ExitCode
from tests.unit.cli.command import CHINESE, run
from tests.unit.cli.offline import forbid_connections
from tests.vectors.standing.generate import (
    LICENCE,
    PINNED,
    RECORDED,
    RECORDED_AGAIN,
    SUPERSEDED,
    WITHDRAWN,
    build_chain,
)

VECTORS = Path(__file__).parents[2] / "vectors" / "standing"
STARTS = {"standing": b"govchain-standing", "consistency": b"govchain-consistency"}
TRUST = VECTORS / "trust" / "genesis.json"
CODES = {
    "in_force": ExitCode.DONE,
    "withdrawn": ExitCode.NOT_VERIFIED,
    "absent": ExitCode.NO_SUCH_RECORD,
}


def told_by_a_file_alone() -> list[Path]:
    """Return the vectors that are such a file, and ask for nothing beside it."""
    found = []
    for folder, start in STARTS.items():
        for path in sorted((VECTORS / folder).glob("*.json")):
            vector = json.loads(path.read_bytes())
            beside = vector.get("name") or vector.get("receipt")
            if start in base64.b64decode(vector["proof"])[:24] and not beside:
                found.append(path)
    return found


@pytest.fixture(autouse=True)
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    forbid_connections(monkeypatch)


@pytest.mark.parametrize("path", told_by_a_file_alone(), ids=lambda path: path.stem)
def test_every_vector_ends_with_its_code(path: Path, tmp_path: Path) -> None:
    vector = json.loads(path.read_bytes())
    file = tmp_path / "proof"
    file.write_bytes(base64.b64decode(vector["proof"]))
    trust = VECTORS / "trust" / vector["trust"]
    ran = run("verify", file, "--trust", trust, "--offline", "--json")
    assert ran.json["verdict"] == vector["outcome"]
    if vector["outcome"] == "not rooted":
        assert ran.code == ExitCode.NOT_ROOTED
    elif vector["outcome"] == "not verified":
        assert ran.code == ExitCode.NOT_VERIFIED
        assert f"step {vector['step']} failed" in ran.json["error"]["message"]
    elif path.parent.name == "standing":
        assert ran.code == CODES[vector["attested"]["standing"]]
    else:
        assert ran.code == ExitCode.DONE


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with receipts and proofs of the licence, by height."""
    chain, folder = build_chain(), tmp_path_factory.mktemp("files")
    for height in (RECORDED, SUPERSEDED):
        (folder / f"{height}.receipt").write_bytes(chain.receipt(height).encode())
    for height in (RECORDED, SUPERSEDED, WITHDRAWN, RECORDED_AGAIN, PINNED):
        (folder / f"{height}.standing").write_bytes(chain.proof(LICENCE, height).encode())
    (folder / "document").write_bytes(b"one")
    return folder


@pytest.mark.parametrize(
    ("height", "code", "standing", "said"),
    [
        (RECORDED, ExitCode.DONE, "in_force", "still in force at 2025"),
        (SUPERSEDED, ExitCode.DONE, "superseded", "superseded by 2025"),
        (WITHDRAWN, ExitCode.NOT_VERIFIED, "withdrawn", "WITHDRAWN at 2025"),
        (RECORDED_AGAIN, ExitCode.NOT_VERIFIED, "withdrawn", "WITHDRAWN no later than 2025"),
        (PINNED, ExitCode.NOT_VERIFIED, "withdrawn", "WITHDRAWN no later than 2025"),
    ],
)
def test_beside_a_receipt_the_fate_of_its_record_is_told(
    files: Path, height: int, code: ExitCode, standing: str, said: str
) -> None:
    options = ("--receipt", files / "1.receipt", "--trust", TRUST)
    words = ("verify", files / "document", *options, "--standing", files / f"{height}.standing")
    told = run(*words, "--json")
    assert (told.code, told.json["standing"], told.json["asked"]) == (code, standing, False)
    plain = run(*words)
    assert f"recorded at 2025-10-09T08:53:21.000Z, {said}" in plain.out
    assert "of anything later it says nothing" in plain.out
    vouching = "whether the validators vouched for the times of records, their receipts show"
    assert (vouching in plain.out) is (standing != "in_force")


def test_a_proof_older_than_the_record_or_of_another_decides_nothing(files: Path) -> None:
    two = files / "two"
    two.write_bytes(b"two")
    options = ("--receipt", files / "2.receipt", "--trust", TRUST, "--json")
    ran = run("verify", two, *options, "--standing", files / "1.standing")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.NOT_VERIFIED, "GC-2309")
    assert "step 8 failed: standing-older" in ran.json["error"]["message"]
    (files / "cut").write_bytes((files / "1.standing").read_bytes()[:-1])
    ran = run("verify", two, *options, "--standing", files / "cut")
    assert "step 1 failed" in ran.json["error"]["message"]


def test_how_old_a_proof_may_be_is_for_the_reader_to_say(files: Path) -> None:
    proof = ("verify", files / "1.standing", "--trust", TRUST)
    assert run(*proof).code == ExitCode.DONE
    assert run(*proof, "--max-age", "99999d").code == ExitCode.DONE
    ran = run(*proof, "--max-age", "24h", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.NOT_VERIFIED, "GC-2351")
    assert "days ago" in ran.json["error"]["message"]
    for wrong in ("", "7", "d", "-1d", "1.5h", "1y"):
        assert run(*proof, "--max-age", wrong).code == ExitCode.USAGE
    beside = ("verify", files / "document", "--receipt", files / "1.receipt", "--trust", TRUST)
    ran = run(*beside, "--standing", files / "1.standing", "--max-age", "7d", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.NOT_VERIFIED, "GC-2351")


def test_an_age_of_what_has_none_is_wrong_usage(tmp_path: Path) -> None:
    vector = json.loads((VECTORS / "consistency" / "good-retired.json").read_bytes())
    path = tmp_path / "it.consistency"
    path.write_bytes(base64.b64decode(vector["proof"]))
    ran = run("verify", path, "--trust", TRUST, "--max-age", "1d", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2303")


def test_a_verdict_is_in_the_language_of_the_reader(files: Path) -> None:
    ran = run("verify", files / "3.standing", "--trust", TRUST, env=CHINESE)
    assert "已于 2025-10-09T08:53:23.000Z 撤销" in ran.out
    assert "此后的情况本证明概不说明" in ran.out


def test_a_file_that_proves_nothing_by_itself_needs_its_receipt(files: Path) -> None:
    for path in (files / "document", files / "1.receipt", files / "missing"):
        ran = run("verify", path, "--trust", TRUST, "--json")
        assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2303")
        assert "--receipt" in ran.json["error"]["message"] + ran.json["error"]["fix"]


def test_a_proof_of_consistency_from_the_future_is_told_as_a_clock_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "proof"
    file.write_bytes(build_chain().consistency(RECORDED, WITHDRAWN).encode())
    assert run("verify", file, "--trust", TRUST, "--json").code == ExitCode.DONE
    monkeypatch.setattr(time, "time_ns", lambda: 1_577_836_800_000_000_000)  # 2020-01-01
    ran = run("verify", file, "--trust", TRUST, "--json")
    assert (ran.code, ran.json["verdict"]) == (ExitCode.NOT_VERIFIED, "not verified")
    assert "this machine's clock" in ran.json["error"]["fix"]
