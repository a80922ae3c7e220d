"""Asks a time-stamping authority for a token over HTTP (RFC 3161 section 3.4). Believes nothing.

Bounded in size and time, whatever an authority sends however slowly. Redirections are not followed:
a POST that is redirected loses its content or goes where nobody looked; the error says where to.
"""

from __future__ import annotations

import secrets
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final
from urllib.parse import urlsplit

from node.errors import ConfigError, NodeError
from node.timestamp.tokens.reading import ANSWER_BYTES_MAX

REQUEST_TYPE: Final = "application/timestamp-query"
REPLY_TYPE: Final = "application/timestamp-reply"
ANSWER_TIMEOUT_S: Final = 60

_CHUNK_BYTES: Final = 65_536
_NONCE_BYTES: Final = 8


class AuthorityError(NodeError):
    """An authority gave no answer by RFC 3161."""

    code = "GC-2370"


def new_nonce() -> bytes:
    """Return the content of an INTEGER for a request, random, positive and of one size."""
    return (secrets.randbits(8 * _NONCE_BYTES - 2) | 1 << 8 * _NONCE_BYTES - 2).to_bytes(
        _NONCE_BYTES
    )


def check_url(url: str) -> None:
    """Raise `ConfigError` unless `url` is one of HTTP."""
    try:
        parts = urlsplit(url)
        is_sound = parts.scheme in {"http", "https"} and parts.hostname is not None
    except ValueError:
        is_sound = False
    if not is_sound:
        raise ConfigError(f"{url:.120}: expected a URL such as https://tsa.example/tsr")


def ask_authority(
    url: str,
    request: bytes,
    *,
    bytes_max: int = ANSWER_BYTES_MAX,
    timeout_s: float = ANSWER_TIMEOUT_S,
) -> bytes:
    """Return the answer to a request (DER), a refusal too, unchecked.

    Raises `AuthorityError` where none comes within the time, `ConfigError` for no URL of HTTP.
    """
    check_url(url)
    told: SimpleQueue[bytes | Exception] = SimpleQueue()

    def ask() -> None:
        try:
            told.put(_ask(url, request, bytes_max, timeout_s))
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            told.put(error)

    # The library bounds each read, not the head of an answer: who drips one is left to a thread.
    Thread(target=ask, name="stamp-client", daemon=True).start()
    try:
        found = told.get(timeout=timeout_s)
    except Empty:
        raise AuthorityError(f"{url}: no answer within {timeout_s} s") from None
    if isinstance(found, Exception):
        raise found
    return found


def _ask(url: str, request: bytes, bytes_max: int, timeout_s: float) -> bytes:
    asked = urllib.request.Request(  # noqa: S310 - of HTTP, as just checked
        url, data=request, headers={"Content-Type": REQUEST_TYPE, "Accept": REPLY_TYPE}
    )
    opener = urllib.request.build_opener(_NoRedirections())
    deadline_s = time.monotonic() + timeout_s
    try:
        try:
            reply: Any = opener.open(asked, timeout=timeout_s)
        except urllib.error.HTTPError as refused:  # may hold an answer: that one asks too often
            reply = refused
        with reply:
            kind, status = reply.headers.get_content_type(), reply.status
            target = reply.headers.get("Location")
            content = _read(reply, bytes_max, deadline_s)
    except (OSError, ValueError, HTTPException) as error:
        raise AuthorityError(f"{url}: {error}") from error
    if kind != REPLY_TYPE:
        elsewhere = "" if target is None else f", which names {target:.200}"
        message = f"{url}: expected {REPLY_TYPE}, got {kind} with status {status}{elsewhere}"
        raise AuthorityError(message)
    return content


def _read(reply: Any, bytes_max: int, deadline_s: float) -> bytes:  # noqa: ANN401 - the library's
    content = bytearray()
    while chunk := reply.read1(_CHUNK_BYTES):
        content += chunk
        if len(content) > bytes_max:
            raise ValueError(f"expected at most {bytes_max} bytes")
        if time.monotonic() > deadline_s:
            raise TimeoutError("the answer takes too long")
    return bytes(content)


class _NoRedirections(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: Any) -> None:  # noqa: ANN401 - the library's
        return None
