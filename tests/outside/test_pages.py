"""What proto/verify says to run: on golden files it verifies, on broken ones it does not."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cbor2
import pytest

from node.timestamp.cose import CoseReceipt
from node.timestamp.log.policy import policy_of
from node.timestamp.opening import open_receipt
from node.timestamp.receipt import Receipt
from node.timestamp.trust import load_trust
from tests.outside.environments import RUN_TIMEOUT_S, python_with

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "proto" / "verify"
GOLDEN = ROOT / "tests" / "vectors" / "receipt"
DOCUMENT, TRUST = GOLDEN / "document.txt", GOLDEN / "trust" / "genesis.json"
ANCHORS = ROOT / "tests" / "vectors" / "anchor"
GOLDEN_S = 1_760_000_100
"""A time at which the certificates of the golden files were valid."""
SCRIPT = re.compile(r"^( *)```python\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)


def script(page: str, at: int, folder: Path) -> Path:
    """Write the script that stands at a position of a page into a folder of its own."""
    indent, text = SCRIPT.findall((PAGES / page).read_text(encoding="utf-8"))[at]
    path = folder / f"{page}-{at}.py"
    path.write_text(re.sub(f"^{indent}", "", text, flags=re.MULTILINE), encoding="utf-8")
    return path


def run(
    python: Path, program: Path, *files: Path, at: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    command = [str(python), str(program), *map(str, files)]
    return subprocess.run(command, cwd=at, capture_output=True, check=False, timeout=RUN_TIMEOUT_S)


def read_anchor(name: str) -> dict[str, Any]:
    case: dict[str, Any] = json.loads((ANCHORS / "anchor" / f"{name}.json").read_text())
    return case


def test_every_page_fits_a_page() -> None:
    pages = sorted(PAGES.glob("*.md"))
    assert {"native.md", "tsr.md", "cose.md", "pdf.md", "tlog.md"} <= {page.name for page in pages}
    for page in pages:
        assert len(page.read_text(encoding="utf-8").splitlines()) <= 90, page.name


def test_a_native_receipt_is_verified_as_its_page_says(tmp_path: Path) -> None:
    program = script("native.md", 0, tmp_path)
    shutil.copy(ROOT / "tests" / "unit" / "timestamp" / "independent_verifier.py", tmp_path)
    shutil.copy(ROOT / "tests" / "unit" / "timestamp" / "independent_tlog.py", tmp_path)
    receipt = GOLDEN / "document.txt.receipt"
    done = run(Path(sys.executable), program, receipt, DOCUMENT, TRUST)
    assert done.stdout.startswith(b"verified"), done.stderr
    assert b"'height': 2" in done.stdout
    assert done.returncode == 0
    other = run(Path(sys.executable), program, receipt, TRUST, TRUST)
    assert (other.stdout.strip(), other.returncode) == (b"not verified at step 2", 1)


def test_a_cose_receipt_is_verified_as_its_page_says(tmp_path: Path) -> None:
    python, program = python_with("pycose"), script("cose.md", 0, tmp_path)
    golden = GOLDEN / "document.txt.cose"
    done = run(python, program, golden, DOCUMENT, TRUST)
    assert done.stdout.startswith(b"validator-2 says: recorded in block 2"), done.stderr
    assert done.returncode == 0
    assert run(python, program, golden, TRUST, TRUST).returncode
    data, broken = golden.read_bytes(), tmp_path / "broken.cose"
    written = CoseReceipt.decode(data)
    receipt = open_receipt(data).receipt
    for position in (
        data.index(written.protected) + 20,
        data.index(written.log_path[0]),  # it is there once more, in the receipt that is carried
        data.index(receipt.leaf.encode()) + 3,
        data.rindex(written.signature),
    ):
        flipped = bytearray(data)
        flipped[position] ^= 1
        broken.write_bytes(flipped)
        assert run(python, program, broken, DOCUMENT, TRUST).returncode, position


@pytest.mark.parametrize("name", ["receipt", "refreshed"])
def test_the_receipt_comes_out_of_a_cose_receipt_as_its_page_says(
    tmp_path: Path, name: str
) -> None:
    file = "document.txt.cose" if name == "receipt" else "document.txt.refreshed.cose"
    done = run(python_with("pycose"), script("cose.md", 1, tmp_path), GOLDEN / file)
    assert done.stdout == (GOLDEN / f"document.txt.{name}").read_bytes(), done.stderr


def test_a_token_is_verified_by_openssl_as_its_page_says(tmp_path: Path) -> None:
    roots = run(Path(sys.executable), script("tsr.md", 0, tmp_path), TRUST).stdout
    (tmp_path / "roots.pem").write_bytes(roots)
    assert roots.count(b"BEGIN CERTIFICATE") == 4
    shutil.copy(DOCUMENT, tmp_path / "document")
    golden = (GOLDEN / "document.txt.tsr").read_bytes()
    (text,) = re.findall(r"```sh\n(.*?)```", (PAGES / "tsr.md").read_text(), re.DOTALL)
    environment = {"PATH": os.environ["PATH"], "OPENSSL_CONF": os.devnull}
    for data, verdict in ((golden, True), (golden.replace(b"20251009", b"20251008"), False)):
        (tmp_path / "document.tsr").write_bytes(data)
        command = ["sh", "-c", text]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, check=False
        )
        assert (b"Verification: OK" in done.stdout + done.stderr) is verdict, done.stderr
        assert (done.returncode == 0) is verdict


def test_the_stamp_of_a_cose_receipt_is_verified_by_openssl_as_its_page_says(
    tmp_path: Path,
) -> None:
    golden = GOLDEN / "document.txt.stamped.cose"
    roots = run(Path(sys.executable), script("tsr.md", 0, tmp_path), TRUST).stdout
    (tmp_path / "roots.pem").write_bytes(roots)
    token = run(python_with("pycose"), script("cose.md", 2, tmp_path), golden).stdout
    (tmp_path / "token.der").write_bytes(token)
    (text,) = re.findall(r"```sh\n(.*?)```", (PAGES / "cose.md").read_text(), re.DOTALL)
    environment = {"PATH": os.environ["PATH"], "OPENSSL_CONF": os.devnull}
    for data, verdict in ((golden.read_bytes(), True), (golden.read_bytes() + b"x", False)):
        (tmp_path / "document.cose").write_bytes(data)
        command = ["sh", "-c", text.replace("-CAfile", f"-attime {GOLDEN_S} -CAfile")]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, check=False
        )
        assert (b"Verification: OK" in done.stdout + done.stderr) is verdict, done.stderr


def test_the_chain_proof_comes_out_of_the_token_as_its_page_says(tmp_path: Path) -> None:
    done = run(Path(sys.executable), script("tsr.md", 1, tmp_path), GOLDEN / "document.txt.tsr")
    receipt = Receipt.decode((GOLDEN / "document.txt.receipt").read_bytes())
    assert Receipt.decode(done.stdout) == replace(receipt, token=None)


@pytest.mark.parametrize(
    ("name", "is_good"),
    [
        ("good-record", True),
        ("good-retired", True),
        ("good-handover", True),
        ("good-within", True),
        ("9-receipt", False),
        ("10-fork", False),
        ("10-fork-within", False),
        ("10-path", False),
        ("10-short", False),
    ],
)
def test_a_record_is_joined_to_what_is_stamped_as_its_page_says(
    tmp_path: Path, name: str, *, is_good: bool
) -> None:
    program, case = script("anchor.md", 0, tmp_path), read_anchor(name)
    shutil.copy(ROOT / "tests" / "unit" / "timestamp" / "independent_verifier.py", tmp_path)
    files = [tmp_path / each for each in ("it.anchor", "it.receipt", "document")]
    contents = (*(base64.b64decode(case[each]) for each in ("anchor", "receipt")), b"a licence")
    for path, content in zip(files, contents, strict=True):
        path.write_bytes(content)
    trust = ANCHORS / "trust" / case["trust"]
    done = run(Path(sys.executable), program, *files, trust, at=tmp_path)
    assert (done.returncode == 0) is is_good, done.stderr
    assert done.stdout.startswith(b"recorded at height") is is_good
    assert (b"keys retired since" in done.stdout) is (name == "good-retired")
    if is_good:
        files[2].write_bytes(b"another licence")
        assert run(Path(sys.executable), program, *files, trust, at=tmp_path).returncode


@pytest.mark.parametrize(
    ("name", "is_good"),
    [
        ("good-record", True),
        ("good-handover", True),
        ("4-other-checkpoint", False),
        ("4-other-authority", False),
        ("4-other-votes", False),
        ("4-expired", False),
    ],
)
def test_the_stamp_of_an_anchor_is_verified_by_openssl_as_its_page_says(
    tmp_path: Path, name: str, *, is_good: bool
) -> None:
    case = read_anchor(name)
    _, _, stamped, token, _ = cbor2.loads(base64.b64decode(case["anchor"]))
    (tmp_path / "stamped").write_bytes(stamped)
    (tmp_path / "token.der").write_bytes(token)
    shutil.copy(ANCHORS / "authority" / case["authority"], tmp_path / "authority.pem")
    (text,) = re.findall(r"```sh\n(.*?)```", (PAGES / "anchor.md").read_text(), re.DOTALL)
    environment = {"PATH": os.environ["PATH"], "OPENSSL_CONF": os.devnull, "TZ": "Asia/Shanghai"}
    done = subprocess.run(
        ["sh", "-c", text], cwd=tmp_path, env=environment, capture_output=True, check=False
    )
    assert (done.returncode == 0) is is_good, done.stderr
    assert (b"existed no later than Oct  9 08:53:2" in done.stdout) is is_good


def test_a_tlog_proof_is_verified_as_its_page_says(tmp_path: Path) -> None:
    anchor = load_trust(TRUST.read_bytes())
    policy = tmp_path / "policy"
    policy.write_text(policy_of(anchor.chain_id, anchor.validator_sets[0]))
    program, golden = script("tlog.md", 0, tmp_path), GOLDEN / "document.txt.tlog-proof"
    done = run(Path(sys.executable), program, golden, policy, DOCUMENT)
    assert done.stdout.startswith(b"recorded at height 2, T = "), done.stderr
    assert done.returncode == 0
    assert run(Path(sys.executable), program, golden, policy, TRUST).returncode
    lines = golden.read_bytes().split(b"\n")
    broken = tmp_path / "broken.tlog-proof"
    for at, line in enumerate(lines):
        if line:
            broken.write_bytes(b"\n".join([*lines[:at], *lines[at + 1 :]]))
            assert run(Path(sys.executable), program, broken, policy, DOCUMENT).returncode, at


def test_the_native_receipt_comes_out_of_the_others_as_their_pages_say(tmp_path: Path) -> None:
    receipt = (GOLDEN / "document.txt.receipt").read_bytes()
    for page, at, golden, python in (
        ("cose.md", 1, "document.txt.cose", python_with("pycose")),
        ("pdf.md", 0, "document.txt.pdf", Path(sys.executable)),
    ):
        done = run(python, script(page, at, tmp_path), GOLDEN / golden)
        assert done.stdout == receipt, done.stderr


def test_poppler_takes_the_receipt_out(tmp_path: Path) -> None:
    if shutil.which("pdfdetach") is None:
        pytest.skip("NOT RUN: pdfdetach is not installed (Debian: poppler-utils)")
    out = tmp_path / "proof.receipt"
    command = ["pdfdetach", "-save", "1", "-o", str(out), str(GOLDEN / "document.txt.pdf")]
    subprocess.run(command, check=True, timeout=RUN_TIMEOUT_S)
    assert out.read_bytes() == (GOLDEN / "document.txt.receipt").read_bytes()
