"""A record's fields as an SD-JWT (RFC 9901), for holders and readers outside this chain.

Every field is a claim of its own, named by its path: all are hidden by digests, and those chosen
are shown by disclosures. It proves what any signed token does: that its issuer signed it. When the
record was committed to, the receipt proves of the commitment that it names.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from node.crypto import domains
from node.crypto.signature import P256PublicKey
from node.disclosure.fields import FieldPath, path_text
from node.disclosure.opening import OpenField, Opening
from node.errors import ClientError

SD_JWT_TYPE: Final = "govchain+sd-jwt"
"""Explicit typing, RFC 9901 section 9.11."""
SD_JWT_SALT_BYTES: Final = 16
_ALGORITHM: Final = "sha-256"
_RESERVED: Final = frozenset({"_sd", "_sd_alg", "..."})
"""RFC 9901 section 4.2.1."""


def disclosure_of(salt: str, name: str, value: object) -> str:
    """Return the disclosure of a claim (RFC 9901 section 4.2.1)."""
    return encode_part([salt, name, value])


def disclosure_digest(disclosure: str) -> str:
    """Return what stands for a disclosure in `_sd` (RFC 9901 section 4.2.3)."""
    return base64url(hashlib.sha256(disclosure.encode("ascii")).digest())


def build_sd_jwt(
    opening: Opening,
    shown: Collection[FieldPath],
    claims: Mapping[str, object],
    key: P256PublicKey,
    sign: Callable[[bytes], bytes],
) -> str:
    """Return the SD-JWT of a record, with disclosures of the fields `shown`.

    `claims` are shown to all; `key` goes into `jwk`, for readers to compare with the one that the
    chain has of the issuer; `sign` gives its ES256 signature, 64 bytes (RFC 7518 section 3.4).
    Raises `ClientError` for a field that cannot be shown, or whose name is a claim already.
    """
    chosen = frozenset(map(opening.index_of, shown))
    digests, disclosures = [], []
    for index, entry in enumerate(opening.entries):
        if not isinstance(entry, OpenField):
            continue  # erased: nothing is said of it
        name = path_text(entry.path)
        if name in claims or name in _RESERVED:
            raise ClientError(
                f"field {name!r}: SD-JWT has a claim of this name with another meaning",
                code="GC-2611",
            )
        disclosure = disclosure_of(_salt_of(opening, entry), name, entry.value)
        digests.append(disclosure_digest(disclosure))
        if index in chosen:
            disclosures.append(disclosure)
    x, y = map(base64url, key.coordinates)
    public = {"kty": "EC", "crv": "P-256", "x": x, "y": y}  # RFC 7517, RFC 7518 section 6.2.1
    header = {"alg": "ES256", "typ": SD_JWT_TYPE, "jwk": public}
    payload: dict[str, Any] = {**claims, "_sd": sorted(digests), "_sd_alg": _ALGORITHM}
    signed = f"{encode_part(header)}.{encode_part(payload)}"
    token = f"{signed}.{base64url(sign(signed.encode('ascii')))}"
    return "".join(f"{part}~" for part in (token, *disclosures))


def base64url(data: bytes) -> str:
    """Return base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def encode_part(value: object) -> str:
    """Return JSON in UTF-8, in base64url."""
    return base64url(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def _salt_of(opening: Opening, entry: OpenField) -> str:
    """Return the salt of a claim: derived, so that it tells nothing of the field's own."""
    message = domains.tagged(domains.SD_JWT_SALT, b"")
    code = opening.suite.keyed_hash.authenticate(entry.salt.value, message)
    return base64url(code[:SD_JWT_SALT_BYTES])
