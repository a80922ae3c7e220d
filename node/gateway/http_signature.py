"""HTTP Message Signatures (RFC 9421) of requests, in the one profile that the gateway takes.

A signature covers `@method`, `@authority`, `@path`, `@query`, every field of `COVERED_FIELDS` that
the request has, and `content-digest` (RFC 9530) where it has a body. Its parameters are `created`,
`keyid`, `nonce` and `tag="govchain"`; `alg` and `expires` may be there. Fields are read in their
canonical form (RFC 8941 section 4.1) alone, so there is one way to read each.

Pure: who holds a key, what time it is and which nonces were seen is for the caller.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from node.crypto.application_key import ECDSA_P256, ED25519, ApplicationKey
from node.crypto.signature import P256PublicKey, Signer
from node.errors import DecodeError

TAG: Final = "govchain"
FIELD_BYTES_MAX: Final = 2_048
NONCE_CHARACTERS: Final = range(16, 65)
COMPONENTS: Final = ("@method", "@authority", "@path", "@query")
COVERED_FIELDS: Final = ("content-digest", "content-type", "idempotency-key", "last-event-id")
"""Fields that count: each one that a request has must be covered."""

_LABELS_MAX: Final = 4
_DIGESTS: Final = {"sha-256": hashlib.sha256, "sha-512": hashlib.sha512}
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}

_KEY: Final = r"[a-z*][a-z0-9_\-.*]*"
_STRING: Final = r'"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"'
_BYTES: Final = r":[A-Za-z0-9+/]*={0,2}:"
_PARAMETER: Final = rf";({_KEY})=({_STRING}|0|-?[1-9][0-9]{{0,14}})"
_INPUT: Final = re.compile(
    rf"({_KEY})=(\(((?:{_STRING}(?: {_STRING})*)?)\)((?:{_PARAMETER})*))(?:, |\Z)"
)
_VALUE: Final = re.compile(rf"({_KEY})=({_BYTES})(?:, |\Z)")


@dataclass(frozen=True, slots=True)
class SignedHead:
    """What of a request a signature speaks of, but for its body."""

    method: str
    scheme: str
    authority: str
    """As the field Host has it."""
    path: str
    """As sent: nothing is decoded."""
    query: str
    """As sent, without the question mark."""
    fields: Mapping[str, str]
    """By name in lower case; a field that came twice is joined by `, `."""

    def component(self, name: str) -> str:
        """Return the value of a component (RFC 9421 section 2); raises `DecodeError`."""
        derived = {
            "@method": self.method,
            "@authority": canonical_authority(self.scheme, self.authority),
            "@path": self.path or "/",
            "@query": f"?{self.query}",
        }
        value = derived.get(name)
        if value is None and not name.startswith("@"):
            value = self.fields.get(name)
        if value is None:
            raise DecodeError(f"signature: covers {name}, which the request does not have")
        return value.strip()


@dataclass(frozen=True, slots=True)
class RequestSignature:
    """A signature of a request as it came: nothing of it is checked but its form."""

    components: tuple[str, ...]
    created_s: int
    expires_s: int | None
    key_id: str
    nonce: str
    algorithm: str | None
    parameters: str
    """`@signature-params`, canonical."""
    value: bytes

    @classmethod
    def read(cls, fields: Mapping[str, str]) -> RequestSignature:
        """Find the signature with our tag among the fields; raises `DecodeError`."""
        inputs = _read_members(_INPUT, "signature-input", fields)
        values = _read_members(_VALUE, "signature", fields)
        ours = []
        for label, (_, inner, listed, parameters, *_more) in inputs.items():
            found = _read_parameters(parameters)
            if found.get("tag") == TAG:
                ours.append((label, inner, listed, found))
        if len(ours) != 1:
            raise DecodeError(f'signature-input: expected one with tag="{TAG}", got {len(ours)}')
        ((label, inner, listed, found),) = ours
        if label not in values:
            raise DecodeError(f"signature: expected a value of {label}")
        unknown = found.keys() - {"created", "expires", "keyid", "nonce", "alg", "tag"}
        if unknown:
            raise DecodeError(f"signature-input: unknown parameter {min(unknown)}")
        expires, algorithm = found.get("expires"), found.get("alg")
        signature = cls(
            components=tuple(_unquote(each) for each in re.findall(_STRING, listed)),
            created_s=_expect_number(found.get("created"), "created"),
            expires_s=None if expires is None else _expect_number(expires, "expires"),
            key_id=_expect_text(found.get("keyid"), "keyid"),
            nonce=_expect_text(found.get("nonce"), "nonce"),
            algorithm=None if algorithm is None else _expect_text(algorithm, "alg"),
            parameters=inner,
            value=_decode_bytes(values[label][1]),
        )
        signature._check_form()
        return signature

    def _check_form(self) -> None:
        if len(self.nonce) not in NONCE_CHARACTERS:
            expected = f"{NONCE_CHARACTERS[0]}..{NONCE_CHARACTERS[-1]}"
            raise DecodeError(f"nonce: expected {expected} characters, got {len(self.nonce)}")
        if len(frozenset(self.components)) != len(self.components):
            raise DecodeError("signature-input: expected each component once")

    def expect_coverage(self, head: SignedHead, *, has_body: bool) -> None:
        """Check that all that counts is covered; raises `DecodeError` naming what is not."""
        wanted = [*COMPONENTS, *(name for name in COVERED_FIELDS if name in head.fields)]
        if has_body:
            wanted.append("content-digest")
        for name in wanted:
            if name not in self.components:
                raise DecodeError(f"signature: expected it to cover {name}")

    def is_by(self, key: ApplicationKey, head: SignedHead) -> bool:
        """Tell whether it is a key's, over this head; raises `DecodeError` for what it lacks."""
        if self.algorithm not in (None, key.algorithm):
            return False
        base = signature_base(head, self.components, self.parameters)
        return key.verify(base, self.value)


def signature_base(head: SignedHead, components: Sequence[str], parameters: str) -> bytes:
    """Return what is signed (RFC 9421 section 2.5)."""
    lines = [f'"{name}": {head.component(name)}' for name in components]
    return "\n".join([*lines, f'"@signature-params": {parameters}']).encode()


def canonical_authority(scheme: str, authority: str) -> str:
    """Return `@authority` (RFC 9421 section 2.2.3): lower case, without the scheme's own port."""
    return authority.lower().removesuffix(_DEFAULT_PORTS.get(scheme, "\0"))


def content_digest(body: bytes) -> str:
    """Return the field Content-Digest of a body, by SHA-256."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


def check_content_digest(field: str, body: bytes) -> None:
    """Check that a body is what Content-Digest names; raises `DecodeError`.

    Every digest that is known must fit, and one at least must be known.
    """
    named = _read_members(_VALUE, "content-digest", {"content-digest": field})
    known = [name for name in named if name in _DIGESTS]
    if not known:
        raise DecodeError(f"content-digest: expected one of {', '.join(_DIGESTS)}")
    for name in known:
        if _decode_bytes(named[name][1]) != _DIGESTS[name](body).digest():
            raise DecodeError(f"content-digest: {name} is not that of the body")


def sign_request(
    signer: Signer,
    key_id: str,
    method: str,
    url: str,
    *,
    created_s: int,
    nonce: str,
    body: bytes = b"",
    fields: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the fields of a request with those that sign it, for a client.

    `fields` are those that it has already, by name in any case.
    """
    parts = urlsplit(url)
    signed = {name.lower(): value for name, value in (fields or {}).items()}
    if body:
        signed["content-digest"] = content_digest(body)
    head = SignedHead(method, parts.scheme, parts.netloc, parts.path, parts.query, signed)
    components = (*COMPONENTS, *(name for name in COVERED_FIELDS if name in signed))
    algorithm = ECDSA_P256 if isinstance(signer.public_key, P256PublicKey) else ED25519
    listed = " ".join(f'"{name}"' for name in components)
    parameters = (
        f'({listed});created={created_s};keyid="{key_id}";nonce="{nonce}";alg="{algorithm}"'
        f';tag="{TAG}"'
    )
    value = base64.b64encode(signer.sign(signature_base(head, components, parameters))).decode()
    return signed | {"signature-input": f"{TAG}={parameters}", "signature": f"{TAG}=:{value}:"}


def _read_members(
    pattern: re.Pattern[str], name: str, fields: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """Return the members of a dictionary field, each with the groups of `pattern`."""
    text = fields.get(name, "")
    if not 0 < len(text) <= FIELD_BYTES_MAX:
        raise DecodeError(f"{name}: expected 1..{FIELD_BYTES_MAX} bytes, got {len(text)}")
    found: dict[str, tuple[str, ...]] = {}
    place = 0
    while place < len(text):
        match = pattern.match(text, place)
        if match is None or match[1] in found or len(found) == _LABELS_MAX:
            raise DecodeError(f"{name}: not in its canonical form, at byte {place}")
        found[match[1]] = match.groups()
        place = match.end()
    if text.endswith(", "):
        raise DecodeError(f"{name}: not in its canonical form, at its end")
    return found


def _read_parameters(text: str) -> dict[str, str | int]:
    found: dict[str, str | int] = {}
    for name, value in re.findall(_PARAMETER, text):
        if name in found:
            raise DecodeError(f"signature-input: expected {name} once")
        found[name] = _unquote(value) if value.startswith('"') else int(value)
    return found


def _unquote(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1])


def _expect_number(value: object, name: str) -> int:
    if not isinstance(value, int) or value < 0:
        raise DecodeError(f"signature-input: expected {name}, a time in seconds")
    return value


def _expect_text(value: object, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise DecodeError(f"signature-input: expected {name}, a string")
    return value


def _decode_bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text[1:-1], validate=True)
    except binascii.Error as error:
        raise DecodeError("signature: expected base64 between colons") from error
