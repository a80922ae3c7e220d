"""`verify` and `receipt show`: exit codes and words for every receipt vector, without a socket."""

from __future__ import annotations

import base64
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from node.cli.exit_codes import ExitCode
from tests.unit.cli.command import CHINESE, run
from tests.unit.cli.offline import forbid_connections

VECTORS = Path(__file__).parents[2] / "vectors" / "receipt"
CASES = sorted((VECTORS / "cases").glob("*.json"))
DOCUMENT = VECTORS / "document.txt"
RECEIPT = VECTORS / "document.txt.receipt"
TRUST = VECTORS / "trust" / "genesis.json"
EXIT_CODES = {
    "verified": ExitCode.DONE,
    "not verified": ExitCode.NOT_VERIFIED,
    "not rooted": ExitCode.NOT_ROOTED,
}


@pytest.fixture(autouse=True)
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    forbid_connections(monkeypatch)


def case(name: str) -> dict[str, Any]:
    value = json.loads((VECTORS / "cases" / f"{name}.json").read_bytes())
    assert isinstance(value, dict)
    return value


def save_receipt(folder: Path, vector: dict[str, Any]) -> Path:
    path = folder / "vector.receipt"
    path.write_bytes(base64.b64decode(vector["receipt"]))
    return path


@pytest.mark.parametrize("data", [b"", b"noise \xff\xfe", bytes(range(256))])
def test_what_is_like_no_receipt_at_all_is_told_with_what_one_is(
    tmp_path: Path, data: bytes
) -> None:
    path = tmp_path / "what.receipt"
    path.write_bytes(data)
    words = ("verify", DOCUMENT, "--receipt", path, "--trust", TRUST)
    ran = run(*words, "--json")
    assert (ran.code, ran.json["verdict"]) == (ExitCode.NOT_VERIFIED, "not verified")
    message = ran.json["error"]["message"]
    assert message.startswith(f"{path} does not begin as any of these does: a receipt, ")
    for kind in ("a COSE Receipt", "a PDF certificate", "a time-stamp token", "a tlog-proof"):
        assert kind in message
    assert "govchain notarize" in ran.json["error"]["fix"]
    assert "均不相符" in run(*words, env=CHINESE).err


@pytest.mark.parametrize("name", ["compact.qr.txt", "document.txt.tlog-proof"])
def test_a_standing_beside_what_holds_no_record_is_wrong_usage(name: str, tmp_path: Path) -> None:
    standing = tmp_path / "standing"
    vector = VECTORS.parent / "standing" / "standing" / "good-1.json"
    standing.write_bytes(base64.b64decode(json.loads(vector.read_bytes())["proof"]))
    words = ("verify", DOCUMENT, "--receipt", VECTORS / name, "--trust", TRUST, "--json")
    for said in (("--standing", standing), ("--max-age", "1d")):
        ran = run(*words, *said)
        assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2303")
        assert (
            said[0] in ran.json["error"]["message"] or "--receipt" in ran.json["error"]["message"]
        )
    alone = run("verify", standing, "--trust", TRUST, "--standing", standing, "--json")
    assert alone.code == ExitCode.USAGE


def test_an_age_that_nothing_is_held_to_is_wrong_usage() -> None:
    words = ("verify", DOCUMENT, "--receipt", RECEIPT, "--trust", TRUST, "--max-age", "1d")
    ran = run(*words, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2303")
    assert "--standing, or --home or --profile" in ran.json["error"]["message"]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_every_vector_ends_with_the_code_of_its_outcome(path: Path, tmp_path: Path) -> None:
    vector = json.loads(path.read_bytes())
    receipt = save_receipt(tmp_path, vector)
    trust = VECTORS / "trust" / vector["trust"]
    options = ("--receipt", receipt, "--trust", trust, "--offline", "--json")
    ran = run("verify", vector["digest"], *options)
    assert ran.code == EXIT_CODES[vector["outcome"]]
    assert ran.json["verdict"] == vector["outcome"]
    last = ran.json["steps"][-1]
    if vector["step"] is None:
        assert all(step["passed"] for step in ran.json["steps"])
        assert "error" not in ran.json
    else:
        assert (last["step"], last["passed"]) == (vector["step"], False)
        assert f"step {vector['step']} failed" in ran.json["error"]["message"]
        assert ran.json["error"]["fix"]


def test_the_first_line_is_the_verdict_in_words_and_the_steps_are_numbered() -> None:
    ran = run("verify", DOCUMENT, "--receipt", RECEIPT, "--trust", TRUST)
    assert ran.code == 0
    first, *rest = ran.out.splitlines()
    assert first.startswith(f"VERIFIED  {DOCUMENT} existed no later than 20")
    assert "validators signed)" in first
    assert [line.split(".")[0].strip() for line in rest[:10]] == [str(n) for n in range(1, 11)]
    assert "accurate to 1000 ms" in rest[10]


def test_a_degraded_time_is_not_spoken_of_as_the_time(tmp_path: Path) -> None:
    vector = case("good-degraded")
    receipt = save_receipt(tmp_path, vector)
    ran = run("verify", vector["digest"], "--receipt", receipt, "--trust", TRUST)
    assert ran.code == 0
    assert "as sealed; the block's own time is not vouched for" in ran.out
    assert "accurate" not in ran.out


def test_a_document_may_come_on_standard_input_or_as_a_digest() -> None:
    options = ("--receipt", RECEIPT, "--trust", TRUST, "--json")
    piped = run("verify", "-", *options, stdin=DOCUMENT.read_bytes())
    assert piped.code == 0
    named = run("verify", piped.json["digest"], *options)
    assert named.code == 0
    other = run("verify", "-", *options, stdin=b"something else")
    assert other.code == ExitCode.NOT_VERIFIED
    assert other.json["steps"][-1]["name"] == "document"


def test_every_flipped_byte_of_a_receipt_is_noticed(tmp_path: Path) -> None:
    whole = RECEIPT.read_bytes()
    path = tmp_path / "flipped.receipt"
    for at in range(0, len(whole), 37):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        ran = run("verify", DOCUMENT, "--receipt", path, "--trust", TRUST, "--json")
        assert ran.code in (ExitCode.NOT_VERIFIED, ExitCode.NOT_ROOTED), at


@pytest.mark.parametrize(
    ("document", "receipt", "trust", "code"),
    [
        ("missing.txt", RECEIPT, TRUST, "GC-2301"),
        (DOCUMENT, "missing.receipt", TRUST, "GC-2301"),
        (DOCUMENT, RECEIPT, "missing.json", "GC-2301"),
        (DOCUMENT, RECEIPT, DOCUMENT, "GC-2308"),
        (VECTORS, RECEIPT, TRUST, "GC-2301"),
    ],
)
def test_unreadable_input_ends_with_2(
    document: object, receipt: object, trust: object, code: str
) -> None:
    ran = run("verify", document, "--receipt", receipt, "--trust", trust, "--json")
    assert ran.code == ExitCode.USAGE
    assert ran.json["error"]["code"] == code


@pytest.mark.parametrize("named", ["document", "receipt", "trust"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, named: str) -> None:
    """A pipe that nobody writes to would keep a reader waiting."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        given = {"document": DOCUMENT, "receipt": RECEIPT, "trust": TRUST, named: path}
        options = ("--receipt", given["receipt"], "--trust", given["trust"])
        ran = run("verify", given["document"], *options, "--json")
        assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2301")
        assert ran.json["error"]["message"] == f"{path}: not a file"


def test_a_trust_file_that_contradicts_itself_is_unusable(tmp_path: Path) -> None:
    fields = json.loads(TRUST.read_bytes())
    fields["chain_id"] = "00" * 32
    path = tmp_path / "trust.json"
    path.write_text(json.dumps(fields), encoding="utf-8")
    ran = run("verify", DOCUMENT, "--receipt", RECEIPT, "--trust", path, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2308")


def test_the_trust_file_of_another_chain_ends_with_5() -> None:
    trust = VECTORS / "trust" / "other-chain.json"
    ran = run("verify", DOCUMENT, "--receipt", RECEIPT, "--trust", trust)
    assert ran.code == ExitCode.NOT_ROOTED
    assert ran.out.startswith(f"NOT ROOTED  {DOCUMENT}\n")
    assert "GC-2310" in ran.err


def test_offline_prevails_over_a_network(tmp_path: Path) -> None:
    options = ("--receipt", RECEIPT, "--trust", TRUST, "--home", tmp_path)
    assert run("verify", DOCUMENT, *options, "--offline").code == 0


@pytest.mark.parametrize("name", ["good-all-signed", "good-epoch-1"])
@pytest.mark.parametrize("option", ["--home", "--profile"])
def test_a_network_that_is_not_there_is_refused_whether_needed_or_not(
    tmp_path: Path, name: str, option: str
) -> None:
    vector = case(name)
    options = ("--receipt", save_receipt(tmp_path, vector), "--trust", TRUST, "--json")
    ran = run("verify", vector["digest"], *options, option, tmp_path / "nowhere")
    assert (ran.code, "verdict" in ran.json) == (ExitCode.USAGE, False)
    assert str(tmp_path / "nowhere") in ran.json["error"]["message"]


@pytest.mark.parametrize("name", ["good-all-signed", "good-epoch-1", "good-degraded"])
def test_the_answer_says_that_nobody_was_asked(tmp_path: Path, name: str) -> None:
    vector = case(name)
    trust = VECTORS / "trust" / vector["trust"]
    options = ("--receipt", save_receipt(tmp_path, vector), "--trust", trust)
    assert "nobody was asked" in run("verify", vector["digest"], *options).out
    assert run("verify", vector["digest"], *options, "--json").json["asked"] is False
    failed = run("verify", "00" * 32, *options, "--json")
    assert (failed.code, failed.json["asked"]) == (ExitCode.NOT_VERIFIED, False)


def test_the_verdict_is_spoken_in_chinese() -> None:
    ran = run("verify", DOCUMENT, "--receipt", RECEIPT, "--trust", TRUST, env=CHINESE)
    assert ran.out.startswith(f"核验通过  {DOCUMENT} 不晚于 20")


def test_steps_are_told_in_chinese_and_to_programs_in_english(tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_bytes(b"other")
    command = ("verify", other, "--receipt", RECEIPT, "--trust", TRUST)
    told, written = run(*command, env=CHINESE), run(*command, "--json", env=CHINESE).json
    lines = [*told.out.splitlines()[1:], *told.err.splitlines()[1:2]]
    assert len(lines) == 3
    assert not [line for line in lines if re.search(r"\b(expected|got|step|version)\b", line)]
    assert written["steps"][0]["detail"].startswith("version 1, ")
    assert written["error"]["message"].startswith("step 2 failed: document-digest: expected sha")


def test_a_receipt_is_shown_without_a_word_on_its_truth() -> None:
    ran = run("receipt", "show", RECEIPT)
    assert ran.code == 0
    assert "whether it is true" in ran.out
    told = run("receipt", "show", RECEIPT, "--json").json["receipt"]
    assert told["record"]["digest"] in ran.out


def test_what_is_no_receipt_is_not_shown() -> None:
    ran = run("receipt", "show", DOCUMENT, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-1001")
    assert f"{DOCUMENT} is a text, not a receipt" in ran.json["error"]["message"]


@pytest.mark.parametrize(
    ("case", "said", "command"),
    [
        ("6-retired-epoch", "of epoch 0, whose keys are retired: the trust file pins 1", "refresh"),
        ("6-handovers-none-pinned", "of epoch 2, the trust file leads to epoch 1", "trust export"),
    ],
)
def test_a_receipt_of_another_epoch_names_both_and_the_command_that_helps(
    tmp_path: Path, case: str, said: str, command: str
) -> None:
    vector = json.loads((VECTORS / "cases" / f"{case}.json").read_bytes())
    path = tmp_path / "old.receipt"
    path.write_bytes(base64.b64decode(vector["receipt"]))
    words = ("verify", vector["digest"], "--receipt", path, "--offline", "--trust")
    trust = VECTORS / "trust" / vector["trust"]
    ran = run(*words, trust, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.NOT_ROOTED, "GC-2310")
    assert said in ran.json["error"]["message"]
    assert command in ran.json["error"]["fix"]
    assert "纪元" in run(*words, trust, env=CHINESE).err


def test_a_tlog_proof_of_a_retired_epoch_says_the_same() -> None:
    proof, trust = VECTORS / "document.txt.tlog-proof", VECTORS / "trust" / "pinned-7.json"
    ran = run("verify", DOCUMENT, "--receipt", proof, "--trust", trust, "--offline", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.NOT_ROOTED, "GC-2310")
    assert "epoch 0, whose keys are retired: the trust file pins 1" in ran.json["error"]["message"]
    assert "govchain receipt refresh" in ran.json["error"]["fix"]
