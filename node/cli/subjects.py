"""What people name on the command line, read: documents and digests, transactions, times, files."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from gettext import gettext as _
from pathlib import Path
from typing import Final

import click

from node.cli.inputs import STANDARD_INPUT, hash_one, open_file
from node.cli.verb import CommandError
from node.crypto.suite import SHA_256, DocumentDigest
from node.errors import ClientError
from node.limits import RECEIPT_FILE_BYTES_MAX
from node.timestamp.verify import NamedDigest

TX_ID_BYTES: Final = 32


def read_document(argument: str, algorithm: DocumentDigest = SHA_256) -> NamedDigest:
    """Return the digest of a file or of standard input, or the digest that was given.

    Raises `CommandError` for what is neither.
    """
    if argument == STANDARD_INPUT or os.path.lexists(argument):
        return NamedDigest(algorithm, hash_one(argument, algorithm))
    try:
        return NamedDigest.parse(argument, algorithm)
    except ClientError as error:
        message = _("{document}: no such file, and no digest either")
        raise CommandError("GC-2301", message.format(document=argument)) from error


def read_tx_id(text: str) -> bytes:
    """Return a transaction id written in hexadecimal."""
    try:
        tx_id = bytes.fromhex(text)
    except ValueError:
        tx_id = b""
    if len(tx_id) != TX_ID_BYTES:
        message = _("{text}: expected a transaction id of {digits} hexadecimal digits")
        raise click.UsageError(message.format(text=text, digits=2 * TX_ID_BYTES))
    return tx_id


def read_time_ms(text: str) -> int:
    """Return a time in ms since 1970 UTC: a number of them, or ISO 8601, UTC unless it says."""
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        message = _("{text}: expected a time such as 2026-11-21 or 2026-11-21T10:00:00+08:00")
        raise click.UsageError(message.format(text=text)) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1_000)


def read_file(path: Path, size_max: int = RECEIPT_FILE_BYTES_MAX) -> bytes:
    """Return the content of a receipt or trust file; raises `CommandError` naming it."""
    try:
        with open_file(path) as file:
            return file.read(size_max + 1)  # decoding refuses what is longer
    except OSError as error:
        raise CommandError("GC-2301", f"{path}: {error.strerror}") from error
