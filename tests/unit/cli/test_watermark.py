"""Marked copies: what is seen, what is found again after what, and after what it is not."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pypdf import PdfReader, PdfWriter

from node.cli.watermark.image import SCORE_LEAST, mark_image, score_image
from node.cli.watermark.marking import find_marks, marked_copy, read_statements
from node.cli.watermark.overlay import overlay, text_of
from node.cli.watermark.pdf import codes_in_pdf, mark_pdf
from node.errors import ClientError
from tests.unit.cli.command import CHINESE, run
from tests.unit.disclosure.test_watermark import MARK

ROOT = Path(__file__).parents[2]
PDF = (ROOT / "vectors/receipt/document.txt.pdf").read_bytes()
OTHERS = [replace(MARK, key=hashlib.sha256(bytes((n,))).digest()) for n in range(4)]
MARKS = [MARK, *OTHERS]
CODES = [mark.code for mark in MARKS]


def photograph(width: int, height: int) -> Image.Image:
    """Return a picture with as much structure at every size as photographs have (1/f)."""
    noise = np.random.default_rng(7).normal(size=(height, width))
    down, across = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    shaped = np.fft.rfft2(noise) / (np.sqrt(down**2 + across**2) + 1 / 500)
    plane = np.fft.irfft2(shaped, s=(height, width))
    plane = (plane - plane.min()) / (plane.max() - plane.min()) * 255
    return Image.fromarray(np.stack([plane, plane * 0.9, 255 - plane], -1).astype(np.uint8))


def encoded(image: Image.Image, form: str = "PNG", quality: int = 90) -> bytes:
    out = io.BytesIO()
    image.save(out, form, quality=quality)
    return out.getvalue()


@pytest.fixture(scope="module")
def original() -> bytes:
    return encoded(photograph(900, 700))


@pytest.fixture(scope="module")
def copy(original: bytes) -> Image.Image:
    data = marked_copy(original, MARK)
    return Image.open(io.BytesIO(data)).convert("RGB")


def found(data: bytes) -> list[bool]:
    return [score >= SCORE_LEAST for score in score_image(data, CODES)]


THIS, NONE = [True, False, False, False, False], [False] * 5


def test_the_mark_of_an_image_is_its_own_and_an_unmarked_one_has_none(
    original: bytes, copy: Image.Image
) -> None:
    assert found(encoded(copy)) == THIS
    assert found(original) == NONE


def test_a_copy_that_bears_one_code_names_none_of_a_hundred_others() -> None:
    """In an image that bears any code all others match better than in one that bears none."""
    smooth = np.random.default_rng(5).normal(128, 30, size=(40, 60)).clip(0, 255).astype(np.uint8)
    original = Image.fromarray(smooth).resize((900, 600), Image.Resampling.BICUBIC)
    others = [hashlib.sha256(bytes((n,))).digest()[:16] for n in range(100)]
    own, *scores = score_image(marked_copy(encoded(original), MARK), [MARK.code, *others])
    assert own > 3 * SCORE_LEAST
    assert max(scores) < 0.75 * SCORE_LEAST


def test_what_is_hidden_is_not_seen(original: bytes) -> None:
    """The pattern alone, without the text: three levels of 255 at most."""
    clear = encoded(Image.new("RGBA", (900, 700)))
    marked = np.asarray(Image.open(io.BytesIO(mark_image(original, MARK.code, clear))), dtype=int)
    before = np.asarray(Image.open(io.BytesIO(original)).convert("RGB"), dtype=int)
    assert abs(marked - before).max() == 3


@pytest.mark.parametrize("quality", [90, 75, 50, 20])
def test_it_survives_compression(copy: Image.Image, quality: int) -> None:
    assert found(encoded(copy, "JPEG", quality)) == THIS


@pytest.mark.parametrize(
    "box", [(101, 53, 899, 699), (33, 200, 633, 600), (301, 299, 601, 599), (200, 200, 456, 456)]
)
def test_it_survives_cropping_and_compression(
    copy: Image.Image, box: tuple[int, int, int, int]
) -> None:
    assert found(encoded(copy.crop(box), "JPEG", 75)) == THIS


def test_it_does_not_survive_scaling_or_rotation_and_says_nobodys_name_then(
    copy: Image.Image,
) -> None:
    assert found(encoded(copy.resize((810, 630)))) == NONE
    assert found(encoded(copy.resize((891, 693)))) == NONE
    assert found(encoded(copy.rotate(1))) == NONE


def test_a_mark_over_another_leaves_both(copy: Image.Image) -> None:
    again = marked_copy(encoded(copy), OTHERS[2])
    assert found(again) == [True, False, False, True, False]


def test_a_pdf_shows_text_and_code_on_every_page_and_they_are_read_again() -> None:
    marked = mark_pdf(PDF, MARK)
    reader = PdfReader(io.BytesIO(marked))
    assert len(reader.pages) == len(PdfReader(io.BytesIO(PDF)).pages)
    for page in reader.pages:
        assert MARK.code_text in page.extract_text()
        assert MARK.recipient in page.extract_text()
    assert codes_in_pdf(marked) == {MARK.code_text}
    assert codes_in_pdf(PDF) == set()


def test_a_pdf_written_anew_without_its_properties_or_by_pages_keeps_the_code() -> None:
    reader = PdfReader(io.BytesIO(mark_pdf(PDF, MARK)))
    writer = PdfWriter()
    writer.add_page(reader.pages[0])
    writer.compress_identical_objects()
    for page in writer.pages:
        page.compress_content_streams()
    out = io.BytesIO()
    writer.write(out)
    assert PdfReader(out).metadata is None or "/GovchainWatermark" not in str(
        PdfReader(out).metadata
    )
    assert codes_in_pdf(out.getvalue()) == {MARK.code_text}


def test_a_rotated_page_is_marked_upright_and_pages_of_other_sizes_too() -> None:
    writer = PdfWriter()
    for page, degrees in zip(PdfReader(io.BytesIO(PDF)).pages, (90,), strict=False):
        writer.add_page(page).rotate(degrees)
    writer.add_blank_page(300, 200)
    out = io.BytesIO()
    writer.write(out)
    reader = PdfReader(io.BytesIO(mark_pdf(out.getvalue(), MARK)))
    assert all(MARK.code_text in page.extract_text() for page in reader.pages)


def test_numbers_of_people_are_masked_in_what_is_printed() -> None:
    mark = replace(MARK, recipient="张三 13800138000")
    assert "138****8000" in text_of(mark)
    assert b"13800138000" not in overlay(mark, 300, 200, "pdf")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "PNG or JPEG"),
        (b"text", "PNG or JPEG"),
        (b"%PDF-1.7\n", "PDF"),
        (encoded(Image.new("RGB", (255, 400))), "256 x 256"),
        (encoded(Image.new("RGB", (300, 300)))[:200], "PNG or JPEG"),
    ],
)
def test_what_cannot_be_marked_is_refused_by_what_is_wrong(data: bytes, why: str) -> None:
    with pytest.raises(ClientError, match=why) as refused:
        marked_copy(data, MARK)
    assert refused.value.code == "GC-2615"


def test_an_encrypted_pdf_is_refused() -> None:
    writer = PdfWriter()
    writer.add_blank_page(200, 200)
    writer.encrypt("secret", algorithm="AES-256")
    out = io.BytesIO()
    writer.write(out)
    with pytest.raises(ClientError, match="encrypted"):
        mark_pdf(out.getvalue(), MARK)


def test_copies_are_found_by_their_statements(tmp_path: Path, copy: Image.Image) -> None:
    for number, mark in enumerate(MARKS):
        (tmp_path / f"{number}.watermark").write_bytes(mark.encode())
    (tmp_path / "other.watermark").write_bytes(b"something else")
    statements = read_statements([tmp_path])
    assert len(statements) == 5
    (match,) = find_marks(encoded(copy, "JPEG", 75), statements)
    assert match.path.name == "0.watermark"
    (match,) = find_marks(mark_pdf(PDF, OTHERS[0]), statements)
    assert match.path.name == "1.watermark"


def test_the_command_says_whose_copy_it_is_or_that_it_shows_no_mark(
    tmp_path: Path, original: bytes, copy: Image.Image
) -> None:
    leaked, clean = tmp_path / "leaked.jpg", tmp_path / "clean.png"
    leaked.write_bytes(encoded(copy, "JPEG", 75))
    clean.write_bytes(original)
    statement = tmp_path / "0.watermark"
    statement.write_bytes(MARK.encode())
    ran = run("watermark", "find", leaked, statement, "--json")
    assert ran.code == 0
    (row,) = ran.json["found"]
    assert (row["recipient"], row["code"]) == (MARK.recipient, MARK.code_text)
    assert row["score"] > SCORE_LEAST
    ran = run("watermark", "find", clean, tmp_path, "--json")
    assert ran.json["error"]["code"] == "GC-2616"
    assert "没有" in run("watermark", "find", clean, statement, env=CHINESE).err
    ran = run("watermark", "find", leaked, clean, "--json")
    assert ran.json["error"]["code"] == "GC-1001"
