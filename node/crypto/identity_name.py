"""The name by which a certificate says whose it is: `govchain:<role>:<identity id>`.

A URI of one form alone: letters, digits and `-._~` as they are, all other bytes of the id (UTF-8)
as `%XX` in capitals. No libraries: what a chain accepts may not hang on the version of one.
"""

from __future__ import annotations

import re
from typing import Final

from node.errors import CryptoError
from node.limits import IDENTITY_ID_BYTES_MAX

URI_SCHEME: Final = "govchain"

_ROLE: Final = re.compile(r"[a-z]{1,16}")
_ESCAPED: Final = re.compile(rb"%([0-9A-F]{2})")
_LITERALS: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def encode_identity_name(role: str, identity_id: str) -> str:
    """Return the URI of an identity; raises `CryptoError` for a role or an id that cannot be."""
    if not _ROLE.fullmatch(role):
        raise CryptoError(f"role: expected 1 to 16 lower-case letters, got {role!r:.40}")
    identity = identity_id.encode()
    if not 0 < len(identity) <= IDENTITY_ID_BYTES_MAX:
        got = f"1 to {IDENTITY_ID_BYTES_MAX} bytes, got {len(identity)}"
        raise CryptoError(f"identity id: expected {got}")
    escaped = "".join(chr(b) if b in _LITERALS else f"%{b:02X}" for b in identity)
    return f"{URI_SCHEME}:{role}:{escaped}"


def decode_identity_name(uri: str) -> tuple[str, str]:
    """Return role and identity id; raises `CryptoError` unless it is the one form of them."""
    scheme, *rest = uri.split(":")
    if scheme != URI_SCHEME or len(rest) != len(("role", "identity")):
        raise CryptoError(f"certificate: expected one name {URI_SCHEME}:<role>:<identity id>")
    role, escaped = rest
    raw = _ESCAPED.sub(lambda hit: bytes([int(hit[1], 16)]), escaped.encode())
    identity_id = raw.decode(errors="replace")
    if encode_identity_name(role, identity_id) != uri:
        raise CryptoError(f"certificate: identity {escaped!r} is not in its canonical form")
    return role, identity_id
