"""`receipt export`, and `verify` on what it wrote: every format, and what is missing for one."""

from __future__ import annotations

import base64
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from node.cli.exit_codes import ExitCode
from node.cli.paper import versions
from node.cli.receipt_export import FORMATS
from node.timestamp.cose import CoseReceipt
from node.timestamp.export import EXPORTS
from node.timestamp.receipt import Receipt
from tests.unit.cli.command import CHINESE, run
from tests.vectors.receipt.story import DEGRADED, build_chain

VECTORS = Path(__file__).parents[2] / "vectors" / "receipt"
DOCUMENT = VECTORS / "document.txt"
TRUST = VECTORS / "trust" / "genesis.json"
SUFFIXES = {
    "native": ".receipt",
    "tsr": ".tsr",
    "tlog": ".tlog-proof",
    "cose": ".cose",
    "pdf": ".pdf",
}
QR = "qr"
"""Of receipts with a compact certificate: test_receipt_qr.py."""


@pytest.fixture
def receipt(tmp_path: Path) -> Path:
    path = tmp_path / "document.txt.receipt"
    path.write_bytes((VECTORS / "document.txt.receipt").read_bytes())
    return path


def test_the_verb_knows_every_format() -> None:
    assert set(FORMATS) == {*EXPORTS, "pdf"} == {*SUFFIXES, QR}


@pytest.mark.parametrize("name", SUFFIXES)
def test_every_format_is_the_golden_file(receipt: Path, name: str) -> None:
    golden = VECTORS / f"document.txt{SUFFIXES[name]}"
    ran = run("receipt", "export", receipt, "--format", name, "--json")
    made = receipt.with_suffix(SUFFIXES[name])
    assert (ran.code, ran.json["path"]) == (ExitCode.DONE, str(made))
    assert made.read_bytes() == golden.read_bytes()


@pytest.mark.parametrize("name", ["native", "tsr", "cose", "pdf"])
def test_what_carries_the_receipt_verifies_and_gives_it_back(receipt: Path, name: str) -> None:
    made = VECTORS / f"document.txt{SUFFIXES[name]}"
    verified = run("verify", DOCUMENT, "--receipt", made, "--trust", TRUST, "--offline", "--json")
    assert (verified.code, verified.json["verdict"]) == (ExitCode.DONE, "verified")
    back = receipt.with_name("again.receipt")
    assert run("receipt", "export", made, "--format", "native", "--out", back).code == ExitCode.DONE
    assert back.read_bytes() == receipt.read_bytes()
    assert run("receipt", "show", made).code == ExitCode.DONE


def test_what_is_there_is_kept(receipt: Path) -> None:
    target = receipt.with_suffix(".cose")
    for content, code in ((b"a letter", ExitCode.USAGE), (None, ExitCode.DONE)):
        if content is None:
            target.unlink()
        else:
            target.write_bytes(content)
        assert run("receipt", "export", receipt, "--format", "cose").code == code
        if content is not None:
            assert target.read_bytes() == content
    assert run("receipt", "export", receipt, "--format", "cose").code == ExitCode.DONE


@pytest.mark.parametrize(
    ("name", "lack", "chinese"),
    [
        ("tsr", "no time-stamp token", "没有时间戳令牌"),
        ("cose", "signature of the log root", "日志根的签名"),
        ("tlog", "no checkpoint", "检查点"),
    ],
)
def test_a_format_that_lacks_something_says_what_and_how_to_get_it(
    receipt: Path, name: str, lack: str, chinese: str
) -> None:
    bare = replace(Receipt.decode(receipt.read_bytes()), token=None, cose=None, checkpoint=None)
    receipt.write_bytes(bare.encode())
    ran = run("receipt", "export", receipt, "--format", name, "--json")
    assert ran.code == ExitCode.REFUSED
    assert ran.json["error"]["code"] == "GC-2340"
    assert lack in ran.json["error"]["message"]
    operation = f"tx:{bare.leaf.tx_id.hex()}:{bare.leaf.operation_index}"
    assert ran.json["error"]["fix"].endswith(f"govchain receipt fetch {operation}")
    told = run("receipt", "export", receipt, "--format", name, env=CHINESE)
    assert chinese in told.err + told.out


@pytest.mark.parametrize("name", ["tsr", "tlog", "qr"])
def test_of_a_time_that_nobody_vouches_for_no_other_receipt_is_promised(
    receipt: Path, name: str
) -> None:
    degraded = build_chain().receipt(DEGRADED)
    assert degraded.block.header.time_degraded
    receipt.write_bytes(degraded.encode())
    error = run("receipt", "export", receipt, "--format", name, "--json").json["error"]
    assert error["code"] == "GC-2340"
    assert "do not vouch for the time" in error["message"]
    assert "receipt fetch" not in error["fix"]
    assert run("receipt", "export", receipt, "--format", "cose").code == ExitCode.DONE


def test_a_stamp_over_the_signature_goes_into_the_cose_receipt(receipt: Path) -> None:
    stamped = VECTORS / "document.txt.stamped.cose"
    token = receipt.with_name("signature.tsr")
    token.write_bytes(CoseReceipt.decode(stamped.read_bytes()).token or b"")
    options = ("--format", "cose", "--stamp", token)
    assert run("receipt", "export", receipt, *options).code == ExitCode.DONE
    assert receipt.with_suffix(".cose").read_bytes() == stamped.read_bytes()
    again = run("receipt", "export", receipt, "--format", "pdf", "--stamp", token)
    assert again.code == ExitCode.USAGE
    token.write_bytes((VECTORS / "document.txt.tsr").read_bytes())
    other = run("receipt", "export", receipt, *options, "--json")
    assert other.json["error"]["code"] == "GC-1004"
    assert "imprint" in other.json["error"]["message"]
    assert "tail -c 66" in other.json["error"]["fix"]


def test_without_typst_it_says_what_to_install(
    receipt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "TYPST_VERSION", "0.0.1")
    ran = run("receipt", "export", receipt, "--format", "pdf", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2341")
    assert "0.0.1" in ran.json["error"]["message"]
    verified = run(
        "verify",
        DOCUMENT,
        *("--receipt", VECTORS / "document.txt.pdf", "--trust", TRUST, "--offline", "--json"),
    )
    assert (verified.code, verified.json["page"]) == (ExitCode.DONE, "not compared")


def test_a_typst_that_cannot_be_loaded_compares_no_page_and_is_no_defect(
    receipt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "node.cli.paper.render", raising=False)
    monkeypatch.setitem(sys.modules, "typst", None)
    options = ("--receipt", VECTORS / "document.txt.pdf", "--trust", TRUST, "--offline", "--json")
    verified = run("verify", DOCUMENT, *options)
    assert (verified.code, verified.json["page"]) == (ExitCode.DONE, "not compared")
    ran = run("receipt", "export", receipt, "--format", "pdf", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2341")


def test_what_is_no_receipt_is_not_exported(tmp_path: Path) -> None:
    path = tmp_path / "x.pdf"
    path.write_bytes(b"%PDF-1.7 nothing attached")
    ran = run("receipt", "export", path, "--format", "native", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-1001")


def test_a_page_that_says_otherwise_than_its_proof_is_told(tmp_path: Path) -> None:
    golden = (VECTORS / "document.txt.pdf").read_bytes()
    forged = tmp_path / "forged.pdf"
    forged.write_bytes(golden + b"% an update that shows another page\n")
    pages = {}
    for path in (forged, VECTORS / "document.txt.pdf"):
        options = ("--receipt", path, "--trust", TRUST, "--offline", "--json")
        ran = run("verify", DOCUMENT, *options)
        pages[path.name] = (ran.json["verdict"], ran.json["page"], ran.code)
    assert pages == {
        "forged.pdf": ("verified", "other", ExitCode.SOME_FAILED),
        "document.txt.pdf": ("verified", "as proven", ExitCode.DONE),
    }
    told = run("verify", DOCUMENT, "--receipt", forged, "--trust", TRUST, "--offline")
    assert "NOT on the page" in told.out.splitlines()[0]
    promised = (VECTORS.parents[2] / "proto/verify/pdf.md").read_text()
    assert all(f"`{status}`" in promised for status in ("other", "as proven", "not compared"))
    assert "GC-2343" in told.err


def test_a_stamp_is_carried_to_cose_and_missed_aloud_elsewhere(tmp_path: Path) -> None:
    stamped, again = VECTORS / "document.txt.stamped.cose", tmp_path / "again.cose"
    ran = run("receipt", "export", stamped, "--format", "cose", "--out", again, "--json")
    assert (ran.code, ran.json["left_out"]) == (ExitCode.DONE, [])
    assert again.read_bytes() == stamped.read_bytes()
    options = ("receipt", "export", stamped, "--format", "native", "--out", tmp_path / "x.receipt")
    assert run(*options, "--json").json["left_out"] == ["stamp"]
    told = run(*options)
    assert "left out: the time stamp" in told.err + told.out


@pytest.fixture
def refreshed(tmp_path: Path) -> Path:
    path = tmp_path / "document.refreshed"
    path.write_bytes((VECTORS / "document.txt.refreshed").read_bytes())
    return path


@pytest.mark.parametrize("name", ["native", "tsr", "cose", "pdf"])
def test_what_joins_a_receipt_is_carried_by_what_has_room(refreshed: Path, name: str) -> None:
    ran = run("receipt", "export", refreshed, "--format", name, "--json")
    assert (ran.code, ran.json["left_out"]) == (ExitCode.DONE, [])
    suffix = ".refreshed" if name == "native" else f".refreshed{SUFFIXES[name]}"
    made = Path(ran.json["path"])
    assert made == refreshed.with_suffix(".refreshed" if name == "native" else SUFFIXES[name])
    assert made.read_bytes() == (VECTORS / f"document.txt{suffix}").read_bytes()
    trust = VECTORS / "trust" / "pinned-7.json"
    verified = run("verify", DOCUMENT, "--receipt", made, "--trust", trust, "--offline", "--json")
    assert (verified.code, verified.json["verdict"]) == (ExitCode.DONE, "verified")
    assert verified.json["attestation"]["joined_height"] == 9
    assert verified.json.get("page", "as proven") == "as proven"
    back = refreshed.with_name("back.refreshed")
    options = ("--format", "native", "--out", back)
    assert run("receipt", "export", made, *options).code == ExitCode.DONE
    assert back.read_bytes() == refreshed.read_bytes()


def test_the_vector_of_a_retired_epoch_verifies_in_every_format_it_is_exported_to(
    tmp_path: Path,
) -> None:
    vector = json.loads((VECTORS / "refreshed-cases" / "good-retired.json").read_bytes())
    path = tmp_path / "retired.refreshed"
    path.write_bytes(base64.b64decode(vector["receipt"]))
    trust = VECTORS / "trust" / vector["trust"]
    for name in ("native", "cose", "pdf"):
        made = run("receipt", "export", path, "--format", name, "--json").json["path"]
        ran = run("verify", DOCUMENT, "--receipt", made, "--trust", trust, "--offline")
        assert ran.code == ExitCode.DONE, name


def test_what_joined_a_receipt_is_missed_aloud_where_there_is_no_room(refreshed: Path) -> None:
    words = ("receipt", "export", refreshed, "--format", "tlog")
    ran = run(*words, "--json")
    assert (ran.code, ran.json["left_out"]) == (ExitCode.DONE, ["join"])
    told = run(*words)
    assert "left out: what joins" in told.err + told.out
    assert "for which tlog has no room" in told.err + told.out
    chinese = run(*words, env=CHINESE)
    assert "未写入" in chinese.err + chinese.out


def test_each_part_that_is_lost_is_missed(refreshed: Path) -> None:
    made = CoseReceipt.decode((VECTORS / "document.txt.refreshed.cose").read_bytes())
    token = CoseReceipt.decode((VECTORS / "document.txt.stamped.cose").read_bytes()).token
    both = refreshed.with_name("both.cose")
    both.write_bytes(replace(made, token=token).encode())
    lost = {"cose": [], "native": ["stamp"], "tlog": ["join", "stamp"]}
    for name, parts in lost.items():
        out = refreshed.with_name(f"{name}.out")
        ran = run("receipt", "export", both, "--format", name, "--out", out, "--json")
        assert (ran.code, ran.json["left_out"]) == (ExitCode.DONE, parts)
    assert refreshed.with_name("cose.out").read_bytes() == both.read_bytes()
