"""Reads a public log over HTTP: its checkpoint, tiles and handovers. Nothing of it is checked here.

Bounded in size and time; no redirections are followed, no proxies used.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from node.chain.log import TILE_BYTES, TileId
from node.errors import ConfigError, NodeError
from node.timestamp.history import HANDOVER_BYTES_MAX
from node.timestamp.log.note import NOTE_BYTES_MAX
from node.timestamp.log.tiles import file_of

TIMEOUT_S: Final = 10


class SourceError(NodeError):
    """A log cannot be read where it was said to be."""

    code = "GC-2361"


class LogReader:
    """Reads the log below one URL."""

    def __init__(self, url: str) -> None:
        """Read below `url`; raises `ConfigError` unless that is one of HTTP."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query:
            raise ConfigError(f"{url:.90}: expected a URL such as https://log.example")
        self.url = url.rstrip("/")
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), _NoRedirections()
        )

    def checkpoint(self) -> bytes:
        """Return the newest checkpoint; raises `SourceError`."""
        return self._require("/checkpoint", NOTE_BYTES_MAX)

    def read_tile(self, tile: TileId, size: int) -> bytes:
        """Return a tile as a log of `size` leaves has it; raises `SourceError`."""
        path = f"/tile/{file_of(tile.level, tile.index, size).path}"
        return self._require(path, TILE_BYTES)

    def handover(self, epoch: int) -> bytes | None:
        """Return how an epoch ended, None where it has not; raises `SourceError`."""
        return self._get(f"/handover/{epoch}", HANDOVER_BYTES_MAX)

    def _require(self, path: str, bytes_max: int) -> bytes:
        found = self._get(path, bytes_max)
        if found is None:
            raise SourceError(f"{self.url}{path}: there is no such file")
        return found

    def _get(self, path: str, bytes_max: int) -> bytes | None:
        try:
            with self._opener.open(self.url + path, timeout=TIMEOUT_S) as reply:
                data: bytes = reply.read(bytes_max + 1)
        except urllib.error.HTTPError as error:
            if error.code == HTTPStatus.NOT_FOUND:
                return None
            raise SourceError(f"{self.url}{path}: answered {error.code}") from error
        except (OSError, ValueError) as error:
            raise SourceError(f"{self.url}{path}: {error}") from error
        if len(data) > bytes_max:
            raise SourceError(f"{self.url}{path}: expected at most {bytes_max} bytes")
        return data


class _NoRedirections(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: Any) -> None:  # noqa: ANN401 - the library's
        return None
