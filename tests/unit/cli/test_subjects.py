"""What people name: documents and digests, transactions, times."""

from __future__ import annotations

import hashlib
from pathlib import Path

import click
import pytest

from node.cli.subjects import read_document, read_file, read_time_ms, read_tx_id
from node.cli.verb import CommandError
from node.crypto.suite import SHA_256, SM3

DIGEST = hashlib.sha256(b"x").digest()


def test_a_document_is_a_file_or_a_digest(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"x")
    assert read_document(str(path)).value == DIGEST
    assert read_document(str(path), SM3).algorithm is SM3
    for text in (DIGEST.hex(), f"sha-256:{DIGEST.hex()}"):
        named = read_document(text)
        assert (named.algorithm, named.value) == (SHA_256, DIGEST)
    assert read_document(f"sm3:{DIGEST.hex()}").algorithm is SM3


@pytest.mark.parametrize("text", ["missing.txt", "00", "md5:" + "0" * 32, ""])
def test_what_is_neither_is_told(text: str) -> None:
    with pytest.raises(CommandError, match="no such file, and no digest either") as raised:
        read_document(text)
    assert raised.value.code == "GC-2301"


def test_a_folder_is_no_document(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="directory"):
        read_document(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("0", 0),
        ("1795268206688", 1_795_268_206_688),
        ("1970-01-02", 86_400_000),
        ("1970-01-01T08:00:00.001+08:00", 1),
        ("1970-01-01T00:00:01Z", 1_000),
        ("1970-01-01T00:00:01", 1_000),
    ],
)
def test_times_are_utc_unless_they_say(text: str, time_ms: int) -> None:
    assert read_time_ms(text) == time_ms


@pytest.mark.parametrize("text", ["yesterday", "", "2026-13-01", "-5"])
def test_what_is_no_time_is_wrong_usage(text: str) -> None:
    with pytest.raises(click.UsageError, match="expected a time"):
        read_time_ms(text)


def test_a_transaction_id_is_64_digits() -> None:
    assert read_tx_id(DIGEST.hex()) == DIGEST
    for text in ("", "00", "zz" * 32):
        with pytest.raises(click.UsageError, match="64 hexadecimal digits"):
            read_tx_id(text)


def test_a_file_longer_than_any_receipt_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(1 << 32)
    assert len(read_file(path)) < 1 << 23
