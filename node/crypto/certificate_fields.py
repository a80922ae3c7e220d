"""The X.509 certificates that a chain accepts, read: bytes in, fields out, or the reason why not.

Part of the profile of certificate_profile.py, which says what it is for. Lengths, counts and
numbers are bounded; times are in ms (UTC).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from node.crypto import der
from node.crypto.certificate_algorithms import (
    SignatureAlgorithm,
    find_key_algorithm,
    find_signature_algorithm,
)
from node.crypto.certificate_extensions import (
    IA5_STRING,
    VISIBLE_ASCII,
    CertificateRefused,
    Extensions,
    Reason,
    match_ascii,
    read_extensions,
    read_oid,
)
from node.errors import DecodeError
from node.limits import CERTIFICATE_BYTES_MAX

SERIAL_NUMBER_BYTES_MAX: Final = 20  # RFC 5280 section 4.1.2.2
NAME_ATTRIBUTES_MAX: Final = 16


_VERSION_3: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedCertificate:
    """A certificate that keeps the profile: what it says, before anybody asks who issued it."""

    encoded: bytes = field(repr=False)
    signed_part: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    """As `SignatureAlgorithm.read` gives it: of a curve r || s."""
    signed_by: SignatureAlgorithm = field(repr=False)
    """What its issuer signs with."""
    serial_number: int
    issuer: bytes
    """DER of the Name."""
    subject: bytes
    subject_names: tuple[tuple[str, str], ...]
    """Dotted kind and value of each attribute, in order."""
    not_before_ms: int
    not_after_ms: int
    """Inclusive."""
    key_algorithm: str
    public_key: bytes
    """As `KeyAlgorithm.read` gives it: of a curve a compressed point."""
    extensions: Extensions

    @property
    def organisation(self) -> str:
        """The one organisation that its subject names; raises `CertificateRefused`."""
        names = [value for kind, value in self.subject_names if kind == _ORGANISATION]
        if len(names) != 1:
            raise CertificateRefused(
                Reason.ORGANISATION, f"certificate: expected one organisation, got {len(names)}"
            )
        return names[0]

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the DER form, as openssl and browsers show it."""
        return hashlib.sha256(self.encoded).digest()


def decode_certificate(encoded: bytes) -> AcceptedCertificate:
    """Read a certificate in DER; raises `CertificateRefused` unless it keeps the profile."""
    if len(encoded) > CERTIFICATE_BYTES_MAX:
        got = f"at most {CERTIFICATE_BYTES_MAX} bytes, got {len(encoded)}"
        raise CertificateRefused(Reason.SIZE, f"certificate: expected {got}")
    try:
        return _read_certificate(encoded)
    except DecodeError as error:
        raise CertificateRefused(Reason.ENCODING, f"certificate: expected DER: {error}") from error


def _read_certificate(encoded: bytes) -> AcceptedCertificate:
    outer = der.read_only(encoded, der.SEQUENCE, "certificate")
    signed_part, algorithm = outer.read(der.SEQUENCE), outer.read(der.SEQUENCE)
    signature = _read_bits(outer, Reason.SIGNATURE_FORM)
    outer.finish()

    body = der.Reader(signed_part.content, "signed part")
    version = body.enter_if(der.context(0, constructed=True), "version")
    if version is None or version.read_integer() != _VERSION_3:
        raise CertificateRefused(Reason.VERSION, "certificate: expected X.509 version 3")
    version.finish()
    serial_number = _read_serial_number(body)
    if body.read(der.SEQUENCE).encoded != algorithm.encoded:
        raise CertificateRefused(
            Reason.ALGORITHM, "certificate: expected one signature algorithm, inside and outside"
        )
    signed_by = find_signature_algorithm(algorithm.encoded)
    issuer = body.read(der.SEQUENCE)
    _read_name(issuer, "issuer")
    not_before_ms, not_after_ms = _read_validity(body.enter(der.SEQUENCE, "validity"))
    subject = body.read(der.SEQUENCE)
    names = _read_name(subject, "subject")
    key_algorithm, public_key = _read_key(body.enter(der.SEQUENCE, "key"))
    extensions = body.enter_if(der.context(3, constructed=True), "extensions")
    body.finish()
    return AcceptedCertificate(
        encoded=encoded,
        signed_part=signed_part.encoded,
        signature=signed_by.read(signature),
        signed_by=signed_by,
        serial_number=serial_number,
        issuer=issuer.encoded,
        subject=subject.encoded,
        subject_names=names,
        not_before_ms=not_before_ms,
        not_after_ms=not_after_ms,
        key_algorithm=key_algorithm,
        public_key=public_key,
        extensions=Extensions() if extensions is None else read_extensions(extensions),
    )


def _read_serial_number(body: der.Reader) -> int:
    content = body.read_integer_bytes()
    number = int.from_bytes(content[:SERIAL_NUMBER_BYTES_MAX], "big", signed=True)
    if len(content) > SERIAL_NUMBER_BYTES_MAX or number <= 0:
        raise CertificateRefused(
            Reason.SERIAL_NUMBER,
            f"certificate: expected a positive serial number of at most {SERIAL_NUMBER_BYTES_MAX} "
            "bytes",
        )
    return number


def _read_bits(reader: der.Reader, reason: Reason) -> bytes:
    content = reader.read(der.BIT_STRING).content
    if content[:1] != b"\0":
        raise CertificateRefused(reason, f"{reader.what}: expected whole bytes in a bit string")
    return content[1:]


def _read_key(fields: der.Reader) -> tuple[str, bytes]:
    """Return the algorithm of a key, and the key as that keeps it."""
    algorithm = find_key_algorithm(fields.read(der.SEQUENCE).encoded)
    content = _read_bits(fields, Reason.KEY)
    fields.finish()
    return algorithm.name, algorithm.read(content)


# --- Names

_COMMON_NAME: Final = "2.5.4.3"
_COUNTRY: Final = "2.5.4.6"
_ORGANISATION: Final = "2.5.4.10"
_EMAIL: Final = "1.2.840.113549.1.9.1"
_DOMAIN: Final = "0.9.2342.19200300.100.1.25"
_ATTRIBUTES: Final[Mapping[str, int]] = {
    _COMMON_NAME: 64,
    "2.5.4.5": 64,  # serial number
    _COUNTRY: 2,
    "2.5.4.7": 128,  # locality
    "2.5.4.8": 128,  # state or province
    "2.5.4.9": 128,  # street
    _ORGANISATION: 64,
    "2.5.4.11": 64,  # organisational unit
    "2.5.4.12": 64,  # title
    "2.5.4.17": 40,  # postal code
    "2.5.4.97": 128,  # organisation identifier
    _EMAIL: 128,
    _DOMAIN: 63,
}
"""What a name may say, and how long each is at most, in characters (X.520)."""

_PRINTABLE_STRING: Final = 0x13
_PRINTABLE: Final = re.compile(r"[A-Za-z0-9 '()+,\-./:=?]+")
_COUNTRY_CODE: Final = re.compile(r"[A-Z]{2}")
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def _read_name(name: der.Element, what: str) -> tuple[tuple[str, str], ...]:
    """Return the attributes of a Name: dotted kind and value each."""
    levels = der.Reader(name.content, what)
    found: list[tuple[str, str]] = []
    while not levels.is_empty:
        if len(found) == NAME_ATTRIBUTES_MAX:
            raise CertificateRefused(
                Reason.NAME, f"{what}: expected at most {NAME_ATTRIBUTES_MAX} attributes"
            )
        level = levels.enter(der.SET, what)
        attribute = level.enter(der.SEQUENCE, what)
        level.finish()  # one attribute each: the order within a set is a matter of opinion
        kind = read_oid(attribute)
        value = attribute.read()
        attribute.finish()
        found.append((kind, _read_name_value(kind, value, what)))
    if not found:
        raise CertificateRefused(Reason.NAME, f"{what}: expected a name, got an empty one")
    return tuple(found)


def _read_name_value(kind: str, value: der.Element, what: str) -> str:
    most = _ATTRIBUTES.get(kind)
    if most is None:
        raise CertificateRefused(Reason.NAME, f"{what}: attribute {kind} is not of the profile")
    text: str | None = None
    if kind in (_EMAIL, _DOMAIN):
        if value.tag == IA5_STRING:
            text = match_ascii(VISIBLE_ASCII, value.content)
    elif kind == _COUNTRY:
        if value.tag == _PRINTABLE_STRING:
            text = match_ascii(_COUNTRY_CODE, value.content)
    elif value.tag == _PRINTABLE_STRING:
        text = match_ascii(_PRINTABLE, value.content)
    elif value.tag == der.UTF8_STRING:
        text = _read_utf8(value.content)
    if text is None or not 0 < len(text) <= most:
        raise CertificateRefused(
            Reason.NAME,
            f"{what}: expected 1 to {most} characters in a string fit for attribute {kind}",
        )
    return text


def _read_utf8(content: bytes) -> str | None:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if _CONTROLS.search(text) else text


# --- Validity

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UTC_TIME: Final = re.compile(rb"([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})Z")
_GENERALIZED_TIME: Final = re.compile(
    rb"([0-9]{4})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})Z"
)
_GENERALIZED_FROM: Final = 2050  # RFC 5280 section 4.1.2.5
_CENTURY_TURN: Final = 50


def _read_validity(fields: der.Reader) -> tuple[int, int]:
    times_ms = _read_time(fields.read()), _read_time(fields.read())
    fields.finish()
    if times_ms[0] > times_ms[1]:
        raise CertificateRefused(Reason.VALIDITY, "certificate: its validity ends before it begins")
    return times_ms


def _read_time(value: der.Element) -> int:
    """Return a time in ms: until 2049 a UTCTime, from 2050 on a GeneralizedTime, with seconds."""
    is_short = value.tag == der.UTC_TIME
    form = {der.UTC_TIME: _UTC_TIME, der.GENERALIZED_TIME: _GENERALIZED_TIME}.get(value.tag)
    found = form.fullmatch(value.content) if form else None
    if found is not None:
        year, month, day, hour, minute, second = map(int, found.groups())
        if is_short:
            year += 1900 if year >= _CENTURY_TURN else 2000
        try:
            moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        except ValueError:
            found = None
        else:
            if is_short or year >= _GENERALIZED_FROM:
                return (moment - _EPOCH) // timedelta(milliseconds=1)
    raise CertificateRefused(
        Reason.VALIDITY,
        f"certificate: expected a UTCTime to 2049 or a GeneralizedTime from "
        f"{_GENERALIZED_FROM} on, in UTC to the second, got {value.content[:32]!r}",
    )
