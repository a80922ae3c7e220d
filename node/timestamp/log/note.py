"""C2SP signed notes: text, and lines that sign it. Parsing, making and checking them lives here.

Source: c2sp.org/signed-note and c2sp.org/tlog-cosignature. Of the signature types two are spoken:
0x01, Ed25519 over the text, by which a log signs, and 0x04, an Ed25519 cosignature with a time, by
which witnesses and validators do. Lines of other keys are carried and ignored, as the format wants.

Where the format is loose this parser is strict, so that one note has one form: base64 is canonical,
and of a known key there is at most one line.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from node.crypto.signature import (
    ED25519_PUBLIC_KEY_BYTES,
    Ed25519PublicKey,
    PublicKey,
    Signer,
)
from node.errors import CryptoError, DecodeError, ProofError

NOTE_BYTES_MAX: Final = 65_536
SIGNATURES_MAX: Final = 256
"""Verifiers must take 16; 64 validators and as many outside witnesses fit easily."""
TIME_S_MAX: Final = 2**63 - 1

_NAME_BYTES_MAX: Final = 512
_SIGNATURE_BYTES_MAX: Final = 8_192
_KEY_ID_BYTES: Final = 4
_ED25519_SIGNATURE_BYTES: Final = 64
_TIME_BYTES: Final = 8
_DASH: Final = "\N{EM DASH} "
_CONTROL: Final = re.compile("[\x00-\x09\x0b-\x1f]")
_KEY_ID: Final = re.compile("[0-9a-f]{8}")


class SignatureType(IntEnum):
    """What a key signs, and how. Numbers are those of the signed note format."""

    LOG = 0x01
    """The text itself."""
    COSIGNATURE = 0x04
    """A line that says so, a line with a time, and the text."""


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A key as those know it who check its signatures: name, type and key; a `vkey` as text."""

    name: str
    signature_type: SignatureType
    key: PublicKey
    """Ed25519."""

    @property
    def key_id(self) -> bytes:
        """Return the 4 bytes that, with the name, say which key made a line."""
        named = self.name.encode() + b"\n" + self._typed_key
        return hashlib.sha256(named).digest()[:_KEY_ID_BYTES]

    def __str__(self) -> str:
        """Return the vkey: name, key id in hex, base64 of type and key, joined by `+`."""
        return f"{self.name}+{self.key_id.hex()}+{to_base64(self._typed_key)}"

    @property
    def _typed_key(self) -> bytes:
        return bytes((self.signature_type,)) + self.key.encoded

    @classmethod
    def of(cls, name: str, signature_type: SignatureType, encoded: bytes) -> VerifierKey:
        """Return the key of a name; raises `DecodeError` for a name or a key that cannot be one."""
        if not _is_name(name):
            raise DecodeError(f"key name: expected text without spaces and +, got {name!r:.80}")
        try:
            return cls(name, signature_type, Ed25519PublicKey.decode(encoded))
        except CryptoError as error:
            raise DecodeError(f"key of {name}: {error}") from error

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read a vkey; raises `DecodeError` where name, type, key and key id do not fit."""
        name, _, rest = text.partition("+")
        key_id, _, encoded = rest.partition("+")
        typed = from_base64(encoded, "vkey", size_max=_SIGNATURE_BYTES_MAX)
        if typed[:1] not in [bytes((each,)) for each in SignatureType]:
            raise DecodeError(f"vkey of {name:.80}: signature type {typed[:1].hex()} is not spoken")
        if len(typed) != 1 + ED25519_PUBLIC_KEY_BYTES:
            raise DecodeError(f"vkey of {name:.80}: expected an Ed25519 key of 32 bytes")
        found = cls.of(name, SignatureType(typed[0]), typed[1:])
        if not _KEY_ID.fullmatch(key_id) or found.key_id.hex() != key_id:
            raise DecodeError(f"vkey of {name:.80}: expected key id {found.key_id.hex()}")
        return found


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line, whoever's."""

    name: str
    key_id: bytes
    signature: bytes

    def __str__(self) -> str:
        """Return the line, without its line feed."""
        return f"{_DASH}{self.name} {to_base64(self.key_id + self.signature)}"

    @classmethod
    def parse(cls, line: str) -> NoteSignature:
        """Read a line; raises `DecodeError`."""
        if not line.startswith(_DASH):
            raise DecodeError("note signature: expected a line that begins with an em dash")
        name, space, encoded = line.removeprefix(_DASH).partition(" ")
        if not space or not _is_name(name):
            raise DecodeError("note signature: expected a key name and base64")
        data = from_base64(encoded, "note signature", size_max=_SIGNATURE_BYTES_MAX)
        if len(data) <= _KEY_ID_BYTES:
            raise DecodeError("note signature: expected a key id and a signature")
        return cls(name, data[:_KEY_ID_BYTES], data[_KEY_ID_BYTES:])


@dataclass(frozen=True, slots=True)
class Note:
    """A text and the lines that sign it; nothing of it is true until a known key is checked."""

    text: str
    """Ends in a line feed."""
    signatures: tuple[NoteSignature, ...]

    def encode(self) -> bytes:
        """Return the note: text, empty line, signature lines."""
        lines = "".join(f"{each}\n" for each in self.signatures)
        return f"{self.text}\n{lines}".encode()

    @classmethod
    def decode(cls, data: bytes) -> Note:
        """Read a note; raises `DecodeError` on all but the one form of one."""
        text, signed = split_note(decode_text(data, "note", size_max=NOTE_BYTES_MAX))
        return cls(text, signed)

    def signed_by(self, keys: Iterable[VerifierKey]) -> tuple[SignedLine, ...]:
        """Return the lines of these keys, in the order of the keys, every one checked.

        Raises `ProofError`: `note-signature` for one that does not verify, `note-twice` for a
        further line of the same key. Lines of other keys are not looked at.
        """
        known: dict[tuple[str, bytes], list[VerifierKey]] = {}
        order = list(keys)
        for key in order:
            known.setdefault((key.name, key.key_id), []).append(key)
        found: dict[VerifierKey, SignedLine] = {}
        for line in self.signatures:
            candidates = known.get((line.name, line.key_id), [])
            # Key ids are short: somebody may have made a key to have the id of another.
            verified = [each for key in candidates if (each := _check(key, line, self.text))]
            if candidates and not verified:
                raise ProofError("note-signature", f"the line of {line.name} does not verify")
            for signed in verified:
                if signed.key in found:
                    raise ProofError("note-twice", f"{line.name} signs twice")
                found[signed.key] = signed
        return tuple(found[key] for key in order if key in found)


@dataclass(frozen=True, slots=True)
class SignedLine:
    """A line of a known key that verified."""

    key: VerifierKey
    line: NoteSignature
    time_s: int | None
    """Seconds since 1970 UTC, as a cosignature has them; None for a log's signature."""


def sign_text(text: str, name: str, signer: Signer) -> NoteSignature:
    """Return a log's signature line over a text that ends in a line feed."""
    key = VerifierKey.of(name, SignatureType.LOG, signer.public_key.encoded)
    return NoteSignature(name, key.key_id, signer.sign(text.encode()))


def cosign_text(text: str, name: str, signer: Signer, time_s: int) -> NoteSignature:
    """Return a cosignature line over a checkpoint's text, made at `time_s` (seconds since 1970)."""
    key = VerifierKey.of(name, SignatureType.COSIGNATURE, signer.public_key.encoded)
    signature = signer.sign(_cosigned(text, time_s))
    return NoteSignature(name, key.key_id, time_s.to_bytes(_TIME_BYTES, "big") + signature)


def split_note(note: str) -> tuple[str, tuple[NoteSignature, ...]]:
    """Return the text and the signature lines of a whole note; raises `DecodeError`."""
    body, gap, lines = note.rpartition("\n\n")
    if not gap or not lines.endswith("\n"):
        raise DecodeError("note: expected text, an empty line, and signature lines")
    listed = lines.removesuffix("\n").split("\n")
    if len(listed) > SIGNATURES_MAX:
        raise DecodeError(f"note: expected at most {SIGNATURES_MAX} signatures, got {len(listed)}")
    return body + "\n", tuple(map(NoteSignature.parse, listed))


def decode_text(data: bytes, what: str, *, size_max: int) -> str:
    """Return UTF-8 text of at most `size_max` bytes with no control character but the line feed.

    Raises `DecodeError`.
    """
    if len(data) > size_max:
        raise DecodeError(f"{what}: expected at most {size_max} bytes, got {len(data)}")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DecodeError(f"{what}: expected UTF-8 text") from error
    if _CONTROL.search(text):
        raise DecodeError(f"{what}: expected no control character but the line feed")
    return text


def to_base64(data: bytes) -> str:
    """Return the standard base64 of RFC 4648 section 4."""
    return base64.b64encode(data).decode("ascii")


def from_base64(text: str, what: str, *, size_max: int) -> bytes:
    """Read canonical base64 of at most `size_max` bytes; raises `DecodeError`."""
    if len(text) > 4 * (size_max // 3 + 1):
        raise DecodeError(f"{what}: expected base64 of at most {size_max} bytes")
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        data = b""
    if not data or to_base64(data) != text:
        raise DecodeError(f"{what}: expected base64, got {text!r:.80}")
    return data


def _check(key: VerifierKey, line: NoteSignature, text: str) -> SignedLine | None:
    time_s, signature, message = None, line.signature, text.encode()
    if key.signature_type is SignatureType.COSIGNATURE:
        time_s = int.from_bytes(line.signature[:_TIME_BYTES])
        signature = line.signature[_TIME_BYTES:]
        message = _cosigned(text, time_s)
    fits = len(signature) == _ED25519_SIGNATURE_BYTES and (time_s or 0) <= TIME_S_MAX
    if not fits or not key.key.verify(message, signature):
        return None
    return SignedLine(key, line, time_s)


def _cosigned(text: str, time_s: int) -> bytes:
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()


def _is_name(name: str) -> bool:
    """Tell whether `name` may name a key: UTF-8 with no spaces of Unicode, no plus, not empty."""
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return False
    return (
        0 < len(encoded) <= _NAME_BYTES_MAX
        and "+" not in name
        and not any(character.isspace() for character in name)
    )
