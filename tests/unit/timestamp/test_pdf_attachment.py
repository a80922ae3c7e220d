"""The file attached to a PDF: the one there is, and none where a reader could be shown another."""

from __future__ import annotations

import io
import time
import tracemalloc
import zlib
from pathlib import Path

import pypdf
import pytest

from node.errors import DecodeError
from node.limits import RECEIPT_BYTES_MAX, RECEIPT_FILE_BYTES_MAX
from node.timestamp import pdf_attachment
from node.timestamp.pdf_attachment import attached_file
from tests.unit.timestamp.pdf_files import LISTED, embedded, file_of, hostile, packed, slow, sound

CONTENT, OTHER = b"the proof", b"another"
GOLDEN = Path(__file__).parents[2] / "vectors" / "receipt"
PROCESSOR_S_MAX = 10.0
"""Several times what the worst takes: a second on one core of 2024."""


@pytest.mark.parametrize("name", sound(CONTENT))
def test_the_one_file_is_found(name: str) -> None:
    assert attached_file(sound(CONTENT)[name]) == CONTENT


@pytest.mark.parametrize("name", hostile(CONTENT, OTHER))
def test_whatever_could_show_another_is_refused(name: str) -> None:
    data, reason = hostile(CONTENT, OTHER)[name]
    with pytest.raises(DecodeError, match=reason) as caught:
        attached_file(data)
    assert str(caught.value).startswith("PDF: ")


def test_a_certificate_is_found_to_hold_its_receipt() -> None:
    data = (GOLDEN / "document.txt.pdf").read_bytes()
    assert attached_file(data) == (GOLDEN / "document.txt.receipt").read_bytes()


def test_a_certificate_written_anew_or_revised_by_another_program_is_read() -> None:
    data = (GOLDEN / "document.txt.pdf").read_bytes()
    for writer in (
        pypdf.PdfWriter(clone_from=io.BytesIO(data)),
        pypdf.PdfWriter(io.BytesIO(data), incremental=True),
    ):
        writer.add_metadata({"/Subject": "read (by) me"})
        written = io.BytesIO()
        writer.write(written)
        assert written.getvalue() != data
        assert attached_file(written.getvalue()) == attached_file(data)
        writer.add_attachment("proof.receipt", OTHER)
        written = io.BytesIO()
        writer.write(written)
        with pytest.raises(DecodeError, match="got 2"):
            attached_file(written.getvalue())


def test_what_another_program_attaches_is_found_unless_it_is_packed_away() -> None:
    writer = pypdf.PdfWriter()
    writer.add_blank_page(9, 9)
    empty = io.BytesIO()
    writer.write(empty)
    with pytest.raises(DecodeError, match="expected one attached file, the proof, got 0"):
        attached_file(empty.getvalue())
    writer.add_attachment("x", CONTENT)
    written = io.BytesIO()
    writer.write(written)
    assert attached_file(written.getvalue()) == CONTENT


def test_no_changed_byte_leads_elsewhere() -> None:
    """At most it is no longer said that the file is deflated, or how it is is not looked at."""
    data = sound(CONTENT)["deflated"]
    for at in range(len(data)):
        for mask in (0x01, 0x20, 0x80):
            changed = bytearray(data)
            changed[at] ^= mask
            try:
                found = attached_file(bytes(changed))
            except DecodeError:
                continue
            assert found in (CONTENT, zlib.compress(CONTENT)), (at, mask)


@pytest.mark.parametrize("name", slow(0x1000))
def test_a_hostile_file_costs_little_time_and_memory(name: str) -> None:
    data = slow(RECEIPT_FILE_BYTES_MAX - 100)[name]
    assert len(data) > RECEIPT_FILE_BYTES_MAX - 1_000
    began_s = time.process_time()
    with pytest.raises(DecodeError):
        attached_file(data)
    assert time.process_time() - began_s < PROCESSOR_S_MAX
    small = slow(pdf_attachment.OUTLINE_BYTES_MAX // 32)[name]
    tracemalloc.start()
    with pytest.raises(DecodeError):
        attached_file(small)
    assert tracemalloc.get_traced_memory()[1] < 100 * len(small)
    tracemalloc.stop()


def test_what_inflates_without_end_is_cut_off() -> None:
    endless = zlib.compress(bytes(RECEIPT_BYTES_MAX * 4), 9)
    found = attached_file(file_of(LISTED, embedded(endless, b"/Filter/FlateDecode")))
    assert len(found) == RECEIPT_FILE_BYTES_MAX + 1
    many = file_of(LISTED, embedded(CONTENT), *(packed(bytes(1 << 21)) for _ in range(9)))
    with pytest.raises(DecodeError, match="of packed objects"):
        attached_file(many)
    with pytest.raises(DecodeError, match="expected at most"):
        attached_file(b"%PDF-".ljust(RECEIPT_FILE_BYTES_MAX + 1))
