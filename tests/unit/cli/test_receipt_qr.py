"""`receipt export --format qr`, read back by a decoder, and `verify` on what was read."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import segno
from msgspec import structs

from node.cli.exit_codes import ExitCode
from node.cli.qr import draw
from node.timestamp.compact import CompactReceipt
from node.timestamp.receipt import Receipt
from tests.unit.cli.command import CHINESE, Ran, run
from tests.unit.cli.qr_reader import Picture, read_codes, read_png
from tests.vectors.receipt.chain import seed

VECTORS = Path(__file__).parents[2] / "vectors" / "receipt"
DOCUMENT = VECTORS / "document.txt"
TRUST = VECTORS / "trust" / "compact.json"
TEXT = VECTORS / "compact.qr.txt"


@pytest.fixture
def receipt(tmp_path: Path) -> Path:
    path = tmp_path / "compact.receipt"
    path.write_bytes((VECTORS / "compact.receipt").read_bytes())
    return path


def export(receipt: Path, *options: object) -> Ran:
    return run("receipt", "export", receipt, "--format", "qr", *options, "--json")


def verify(receipt: object, trust: Path = TRUST, document: object = DOCUMENT) -> Ran:
    return run("verify", document, "--receipt", receipt, "--trust", trust, "--offline", "--json")


def test_the_picture_and_the_text_are_the_golden_files(receipt: Path) -> None:
    ran = export(receipt)
    drawn = receipt.with_name("compact.qr.svg")
    assert (ran.code, ran.json["path"]) == (ExitCode.DONE, str(drawn))
    assert drawn.read_bytes() == (VECTORS / "compact.qr.svg").read_bytes()
    text = receipt.with_name("text.txt")
    assert export(receipt, "--out", text).code == ExitCode.DONE
    assert text.read_bytes() == TEXT.read_bytes()


def test_a_decoder_reads_from_the_picture_what_verifies(receipt: Path, tmp_path: Path) -> None:
    picture = tmp_path / "code.png"
    assert export(receipt, "--out", picture).code == ExitCode.DONE
    (text,) = read_codes(read_png(picture.read_bytes()))
    assert text.encode() + b"\n" == TEXT.read_bytes()
    scanned = tmp_path / "scanned"
    scanned.write_text(text + "\r\n")
    assert verify(scanned).code == ExitCode.DONE


def test_a_damaged_print_is_still_read(receipt: Path, tmp_path: Path) -> None:
    """A stain over 3 % of the code, within what the least error correction makes good."""
    picture = tmp_path / "code.png"
    export(receipt, "--out", picture)
    whole = read_png(picture.read_bytes())
    pixels = bytearray(whole.pixels)
    side = whole.width // 6
    for row in range(side):
        at = (whole.height // 2 + row) * whole.width + whole.width // 2
        pixels[at : at + side] = bytes(side)
    damaged = Picture(whole.width, whole.height, bytes(pixels))
    (text,) = read_codes(damaged)
    assert text.encode() + b"\n" == TEXT.read_bytes()


def test_the_text_verifies_from_a_file_and_from_standard_input() -> None:
    for ran in (
        verify(TEXT),
        run(
            "verify",
            DOCUMENT,
            *("--receipt", "-", "--trust", TRUST, "--offline", "--json"),
            stdin=TEXT.read_bytes(),
        ),
    ):
        assert ran.code == ExitCode.DONE
        assert (ran.json["format"], ran.json["verdict"]) == ("qr", "verified")
        assert [step["step"] for step in ran.json["steps"]] == [1, 2, 3, 4, 5, 6]
        assert ran.json["attestation"]["signers"] == ["validator-1", "validator-2", "validator-3"]
        assert ran.json["asked"] is False
    told = run("verify", DOCUMENT, "--receipt", TEXT, "--trust", TRUST)
    assert "VERIFIED" in told.out.splitlines()[0]
    assert "3 of 4 validators signed the log together at block 5" in told.out
    chinese = run("verify", DOCUMENT, "--receipt", TEXT, "--trust", TRUST, env=CHINESE)
    assert "4 个验证节点中的 3 个" in chinese.out


def test_the_page_for_verifiers_of_others_verifies_it_too(tmp_path: Path) -> None:
    """The script of proto/verify/qr.md, as it stands there."""
    page = (Path(__file__).parents[3] / "proto" / "verify" / "qr.md").read_text(encoding="utf-8")
    (code,) = re.findall("```python\n(.*?)```", page, re.DOTALL)
    script = tmp_path / "verify.py"
    script.write_text(code)

    def ran(text: Path, document: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *map(str, (script, text, document, TRUST))]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    good = ran(TEXT, DOCUMENT)
    assert (good.returncode, good.stdout) == (0, "verified: block 2 by agency-1\n")
    assert "another document" in ran(TEXT, TRUST).stderr
    changed = tmp_path / "changed"
    text = TEXT.read_bytes()
    changed.write_bytes(text[:-4] + (b"B" if text[-4:-3] == b"A" else b"A") + text[-3:])
    assert ran(changed, DOCUMENT).returncode == 1


def test_one_standard_input_is_not_two_things() -> None:
    ran = verify("-", document="-")
    assert ran.code == ExitCode.USAGE


def test_changed_text_another_document_and_another_chain_are_told_apart(tmp_path: Path) -> None:
    text = TEXT.read_bytes()
    changed = tmp_path / "changed"
    changed.write_bytes(text[:700] + (b"A" if text[700:701] != b"A" else b"B") + text[701:])
    ran = verify(changed)
    assert (ran.code, ran.json["verdict"]) == (ExitCode.NOT_VERIFIED, "not verified")
    other = tmp_path / "other"
    other.write_text("another document")
    ran = verify(TEXT, document=other)
    assert (ran.code, ran.json["steps"][-1]["name"]) == (ExitCode.NOT_VERIFIED, "document")
    ran = verify(TEXT, VECTORS / "trust" / "genesis.json")
    assert (ran.code, ran.json["verdict"]) == (ExitCode.NOT_ROOTED, "not rooted")
    assert ran.json["error"]["code"] == "GC-2310"


def test_a_receipt_without_the_certificate_says_how_to_get_one(receipt: Path) -> None:
    bare = replace(Receipt.decode(receipt.read_bytes()), compact=None)
    receipt.write_bytes(bare.encode())
    ran = export(receipt)
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.REFUSED, "GC-2340")
    assert "receipt fetch" in ran.json["error"]["fix"]
    told = run("receipt", "export", receipt, "--format", "qr", env=CHINESE)
    assert "紧凑证明" in told.err + told.out


def test_other_pictures_are_not_drawn(receipt: Path, tmp_path: Path) -> None:
    for name in ("code.gif", "code"):
        ran = export(receipt, "--out", tmp_path / name)
        assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2303")
        assert "--out" in ran.json["error"]["message"]


def of_log(size: int, reference: str = "粤-2025-0000000001") -> CompactReceipt:
    """Return a receipt as a log of so many leaves would give it: of the right size, not sound."""
    small = CompactReceipt.parse(TEXT.read_bytes())
    depth = (size - 1).bit_length()
    record = structs.replace(small.leaf.record, reference=reference)
    leaf = structs.replace(small.leaf, record=record, height=size // 2)
    at = replace(small.proof.certificate.checkpoint, height=size // 2, log_size=size)
    certificate = replace(small.proof.certificate, checkpoint=at, signers=2**63 - 1)
    path = tuple(seed(f"node {level}") for level in range(depth))
    proof = replace(small.proof, certificate=certificate, log_path=path)
    return replace(small, leaf=leaf, log_index=0, proof=proof)


@pytest.mark.parametrize(
    ("size", "version_max"), [(2**10, 19), (2**16, 22), (2**20, 24), (2**24, 25), (2**30, 28)]
)
def test_it_stays_small_as_the_log_grows(size: int, version_max: int) -> None:
    text = of_log(size).text()
    code = segno.make_qr(text.decode(), error="l", mode="alphanumeric")
    assert int(code.version) <= version_max, (len(text), code.designator)
    assert read_codes(read_png(draw(text, ".png"))) == [text.decode()]


def test_the_longest_record_of_the_longest_log_still_fits_one_code() -> None:
    longest = "x" * 128
    text = of_log(2**50, longest).text()
    assert int(segno.make_qr(text.decode(), error="l").version) <= 40
    assert read_codes(read_png(draw(text, ".png"))) == [text.decode()]
