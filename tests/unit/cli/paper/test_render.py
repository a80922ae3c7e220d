"""The PDF certificate, taken apart by pypdf: standard, fonts, attachment, words; and drawn."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pypdf
import pytest
import typst

from node.chain.record import RecordAction
from node.cli.paper import render
from node.cli.paper.render import render_pdf
from node.cli.paper.texts import code_text
from node.cli.paper.versions import TYPST_VERSION, require_typst
from node.timestamp.opening import open_receipt
from node.timestamp.receipt import Receipt
from node.timestamp.verify import NamedDigest, Outcome, verify_receipt
from tests.unit.cli.qr_reader import Picture, read_codes
from tests.vectors.receipt.case import DIGEST
from tests.vectors.receipt.chain import Chain, record_of
from tests.vectors.receipt.formats import golden_receipt
from tests.vectors.receipt.story import DOCUMENT, build_chain, receipt_alone

ROOT = Path(__file__).parents[4]
GOLDEN = ROOT / "tests" / "vectors" / "receipt" / "document.txt.pdf"
FONTS = Path(render.__file__).parent / "fonts"


@pytest.fixture(scope="module")
def chain() -> Chain:
    return build_chain()


@pytest.fixture(scope="module")
def receipt(chain: Chain) -> Receipt:
    return golden_receipt(chain)


def test_the_golden_certificate_is_made_to_the_byte(receipt: Receipt) -> None:
    assert render_pdf(receipt) == GOLDEN.read_bytes()


def test_the_pinned_typst_is_the_one_that_is_asked_for() -> None:
    require_typst()
    assert f'"typst=={TYPST_VERSION}"' in (ROOT / "pyproject.toml").read_text()


def test_it_says_that_it_is_pdf_a_3_and_fonts_are_inside() -> None:
    reader = pypdf.PdfReader(GOLDEN)
    catalogue: Any = reader.trailer["/Root"]
    metadata = catalogue["/Metadata"].get_data().decode()
    assert "<pdfaid:part>3</pdfaid:part>" in metadata
    assert "<pdfaid:conformance>A</pdfaid:conformance>" in metadata
    (page,) = reader.pages
    assert page.mediabox[2:] == pytest.approx([595.3, 841.9], abs=0.1)  # A4
    names = set()
    resources: Any = page["/Resources"]
    for font in resources["/Font"].values():
        for inner in font.get_object()["/DescendantFonts"]:
            descriptor = inner.get_object()["/FontDescriptor"]
            assert {"/FontFile2", "/FontFile3"} & set(descriptor)
            names.add(str(descriptor["/FontName"]).split("+")[1])
    assert any("NotoSerifCJKsc" in name for name in names)


def test_the_one_attachment_is_the_receipt(receipt: Receipt) -> None:
    attached = pypdf.PdfReader(GOLDEN).attachments
    assert list(attached) == ["proof.receipt"]
    assert attached["proof.receipt"] == [receipt.encode()]


def test_the_words_can_be_selected() -> None:
    text = "".join(pypdf.PdfReader(GOLDEN).pages[0].extract_text().split())
    digest = hashlib.sha256(DOCUMENT).hexdigest()
    for words in ("存证证书", digest, "2025-10-09T08:53:22.000Z", "agency-1", "2025-0001"):
        assert words in text


def test_it_verifies_as_a_receipt(chain: Chain) -> None:
    verdict = verify_receipt(
        GOLDEN.read_bytes(), chain.trust().establish(), NamedDigest.parse(DIGEST)
    )
    assert verdict.outcome is Outcome.VERIFIED
    assert verdict.steps[0].detail.startswith("carried by pdf: ")


@pytest.mark.parametrize("action", RecordAction)
def test_the_longest_texts_and_characters_of_any_kind_fit_one_page(
    chain: Chain, action: RecordAction
) -> None:
    record = record_of(
        DOCUMENT,
        action=action,
        type_code="证照" * 5 + "xx",
        reference="A" * 60 + "㐀𠮷" * 9,
        digest_algorithm=4,
        digest=hashlib.sha512(DOCUMENT).digest(),
    )
    leaf = {"sender": "局" * 21 + "x", "record": record}
    receipt = receipt_alone(chain, header={"time_degraded": True}, leaf=leaf)
    data = render_pdf(receipt)
    assert len(pypdf.PdfReader(io.BytesIO(data)).pages) == 1
    assert open_receipt(data).receipt == receipt


def test_the_font_has_every_character_that_is_not_escaped(tmp_path: Path) -> None:
    pairs = (bytes((row, cell)) for row in range(0xA1, 0xF8) for cell in range(0xA1, 0xFF))
    decoded = (pair.decode("gb2312", errors="ignore") for pair in pairs)
    latin = (chr(code) for code in (*range(0x20, 0x7F), *range(0xA1, 0x100)) if code != 0xAD)
    characters = "".join([*decoded, *latin])
    assert len(characters) > 7_500
    page = tmp_path / "all.typ"
    (tmp_path / "all.txt").write_text(characters, encoding="utf-8")
    page.write_text(
        '#set document(date: datetime(year: 2025, month: 1, day: 1), title: "all")\n'
        '#set text(font: ("Libertinus Serif", "Noto Serif CJK SC"), fallback: false)\n'
        '#read("all.txt")\n'
    )
    typst.compile(page, font_paths=[FONTS], ignore_system_fonts=True, pdf_standards="a-3b")


def test_a_receipt_of_no_sense_is_printed_all_the_same(receipt: Receipt) -> None:
    late = replace(receipt.block.header, time_ms=2**64 - 1)
    unsigned = replace(receipt.block.certificate, votes=())
    block = replace(receipt.block, header=late, certificate=unsigned)
    assert render_pdf(replace(receipt, block=block)).startswith(b"%PDF-1.7")


def test_the_font_comes_with_its_licence() -> None:
    licence = (FONTS / "OFL.txt").read_text()
    assert "SIL OPEN FONT LICENSE Version 1.1" in licence
    assert [path.name for path in FONTS.glob("*.otf")] == ["NotoSerifSC-Regular.otf"]
    assert (FONTS / "NotoSerifSC-Regular.otf").stat().st_size < 3_000_000


@pytest.mark.parametrize("name", ["document.txt.receipt", "compact.receipt"])
def test_poppler_draws_it_and_its_code_can_be_read(tmp_path: Path, name: str) -> None:
    if shutil.which("pdftoppm") is None:
        pytest.skip("NOT RUN: pdftoppm is not installed (Debian: poppler-utils)")
    receipt = Receipt.decode((GOLDEN.parent / name).read_bytes())
    certificate = tmp_path / "certificate.pdf"
    certificate.write_bytes(render_pdf(receipt))
    command = ["pdftoppm", "-r", "200", "-gray", str(certificate), str(tmp_path / "page")]
    drawn = subprocess.run(command, capture_output=True, text=True, check=True)
    assert drawn.stderr == ""
    (image,) = tmp_path.glob("page*.pgm")
    kind, width, height, _, pixels = image.read_bytes().split(maxsplit=4)
    assert kind == b"P5"
    assert read_codes(Picture(int(width), int(height), pixels)) == [code_text(receipt)]
