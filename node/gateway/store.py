"""What a gateway must not forget: nonces that were used, requests under way, places of webhooks.

One SQLite file, each change durable before the answer that depends on it. Every call blocks; the
gateway makes them on one thread of their own.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Final

from node.errors import ClientError, StorageError

STORE_FILE: Final = "state.sqlite"
KEPT_MS: Final = 86_400_000
"""How long a request can be repeated under its key: a day."""
REQUESTS_MAX: Final = 100_000
"""Kept of one application."""
NONCES_MAX: Final = 1_000_000

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS nonce (
    application TEXT, nonce TEXT, until_ms INTEGER, PRIMARY KEY (application, nonce)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS nonce_until ON nonce (until_ms);
CREATE TABLE IF NOT EXISTS request (
    application TEXT, key TEXT, fingerprint BLOB, began_ms INTEGER, signed BLOB,
    status INTEGER, body BLOB, PRIMARY KEY (application, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS request_began ON request (began_ms);
CREATE TABLE IF NOT EXISTS webhook (id TEXT PRIMARY KEY, place TEXT) WITHOUT ROWID;
PRAGMA user_version = 1;
"""


class KeyUse(Enum):
    """What became of a request under its idempotency key."""

    NEW = auto()
    UNFINISHED = auto()
    """It was begun, and is to be gone on with."""
    FINISHED = auto()
    OTHER = auto()
    """The key stands for another request."""


@dataclass(frozen=True, slots=True)
class KeptRequest:
    """A request as it was kept."""

    use: KeyUse
    signed: bytes | None = None
    """The transaction that was made for it."""
    status: int = 0
    body: bytes = b""


class GatewayStore:
    """The store of one gateway. To be used on one thread."""

    def __init__(self, home: Path) -> None:
        """Open it, made if need be; raises `StorageError`."""
        self._path = home / STORE_FILE
        try:
            self._path.touch(mode=0o600)
            self._database = sqlite3.connect(self._path, isolation_level=None)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"{self._path}: {error}") from error

    def close(self) -> None:
        """Close it."""
        self._database.close()

    def use_nonce(self, application: str, nonce: str, now_ms: int, until_ms: int) -> bool:
        """Note that a nonce is used; return whether it was not before."""
        with self._transaction() as database:
            database.execute("DELETE FROM nonce WHERE until_ms < ?", (now_ms,))
            (count,) = database.execute("SELECT count(*) FROM nonce").fetchone()
            if count >= NONCES_MAX:
                raise ClientError("too many requests in so short a time", code="GC-2703")
            added = database.execute(
                "INSERT OR IGNORE INTO nonce VALUES (?, ?, ?)", (application, nonce, until_ms)
            )
            return added.rowcount == 1

    def begin(self, application: str, key: str, fingerprint: bytes, now_ms: int) -> KeptRequest:
        """Return what is known of a request, which is kept from now on."""
        with self._transaction() as database:
            database.execute("DELETE FROM request WHERE began_ms < ?", (now_ms - KEPT_MS,))
            row = database.execute(
                "SELECT fingerprint, signed, status, body FROM request"
                " WHERE application = ? AND key = ?",
                (application, key),
            ).fetchone()
            if row is not None:
                kept, signed, status, body = row
                if kept != fingerprint:
                    return KeptRequest(KeyUse.OTHER)
                if status is None:
                    return KeptRequest(KeyUse.UNFINISHED, signed)
                return KeptRequest(KeyUse.FINISHED, signed, status, body)
            (count,) = database.execute(
                "SELECT count(*) FROM request WHERE application = ?", (application,)
            ).fetchone()
            if count >= REQUESTS_MAX:
                raise ClientError("too many requests in a day", code="GC-2703")
            database.execute(
                "INSERT INTO request VALUES (?, ?, ?, ?, NULL, NULL, NULL)",
                (application, key, fingerprint, now_ms),
            )
            return KeptRequest(KeyUse.NEW)

    def keep_signed(self, application: str, key: str, signed: bytes) -> None:
        """Keep the transaction that was made for a request, before it is sent."""
        self._update("signed = ?", (signed,), application, key)

    def finish(self, application: str, key: str, status: int, body: bytes) -> None:
        """Keep the answer to a request: it is given again whenever that comes again."""
        self._update("status = ?, body = ?", (status, body), application, key)

    def place_of(self, webhook: str) -> str | None:
        """Return the id of the last event that a webhook took, None where there is none."""
        with self._transaction() as database:
            row = database.execute("SELECT place FROM webhook WHERE id = ?", (webhook,)).fetchone()
            return None if row is None else str(row[0])

    def move(self, webhook: str, place: str) -> None:
        """Note that a webhook took an event."""
        with self._transaction() as database:
            database.execute("INSERT OR REPLACE INTO webhook VALUES (?, ?)", (webhook, place))

    def _update(self, change: str, values: tuple[object, ...], application: str, key: str) -> None:
        with self._transaction() as database:
            database.execute(
                f"UPDATE request SET {change} WHERE application = ? AND key = ?",  # noqa: S608 - ours
                (*values, application, key),
            )

    def _transaction(self) -> _Transaction:
        return _Transaction(self._database, self._path)


class _Transaction:
    """All or nothing, durable at its end; the library's errors become `StorageError`."""

    def __init__(self, database: sqlite3.Connection, path: Path) -> None:
        self._database, self._path = database, path

    def __enter__(self) -> sqlite3.Connection:
        try:
            self._database.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise StorageError(f"{self._path}: {error}") from error
        return self._database

    def __exit__(self, kind: type[BaseException] | None, error: object, _trace: object) -> None:
        try:
            self._database.execute("COMMIT" if kind is None else "ROLLBACK")
        except sqlite3.Error as failure:
            raise StorageError(f"{self._path}: {failure}") from failure
        if isinstance(error, sqlite3.Error):
            raise StorageError(f"{self._path}: {error}") from error
