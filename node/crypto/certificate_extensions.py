"""The extensions of the X.509 certificates that a chain accepts, each read in its one form of DER.

Part of the profile of certificate_profile.py, which says what it is for. An extension that is not
in `_READERS` is refused, critical or not: a library that comes to know it would begin to judge it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from node.crypto import der
from node.errors import CryptoError, DecodeError

EXTENSIONS_MAX: Final = 16
PURPOSES_MAX: Final = 16
ALTERNATIVE_NAMES_MAX: Final = 64
TEXT_BYTES_MAX: Final = 255
"""Of one name or address."""
KEY_IDENTIFIER_BYTES_MAX: Final = 64
PATH_LENGTH_MAX: Final = 255

CLIENT_AUTH: Final = "1.3.6.1.5.5.7.3.2"
SERVER_AUTH: Final = "1.3.6.1.5.5.7.3.1"


class Reason(StrEnum):
    """Why a certificate is not accepted. Names are stable."""

    SIZE = "size"
    ENCODING = "encoding"
    """Not DER, or a field that X.509 does not have, or in another place."""
    VERSION = "version"
    SERIAL_NUMBER = "serial-number"
    ALGORITHM = "algorithm"
    SIGNATURE_FORM = "signature-form"
    NAME = "name"
    VALIDITY = "validity"
    KEY = "key"
    EXTENSION = "extension"
    """One that the profile does not have, or more than one of a kind, or critical where it may not
    be."""
    KEY_IDENTIFIER = "key-identifier"
    BASIC_CONSTRAINTS = "basic-constraints"
    KEY_USAGE = "key-usage"
    EXTENDED_KEY_USAGE = "extended-key-usage"
    ALTERNATIVE_NAMES = "alternative-names"
    POINTER = "pointer"
    """To lists of revocations, policies or the authority: of no effect here, but malformed."""
    ROLE = "role"
    """An authority's where a member's is expected, or the other way round."""
    IDENTITY = "identity"
    ORGANISATION = "organisation"
    ISSUER = "issuer"
    """Not issued by this authority: its name, its key, or its signature is another."""
    TIME = "time"
    """Not valid at the time asked about."""


class CertificateRefused(CryptoError):  # noqa: N818 - a verdict about data, named as people say it
    """A certificate that no chain accepts; `reason` names the rule for traces and tests."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Extensions:
    """What the extensions of a certificate say; None and empty where it has none of a kind."""

    is_authority: bool | None = None
    """By the basic constraints."""
    path_length: int | None = None
    key_usage: frozenset[int] = frozenset()
    """Numbers of the bits of RFC 5280 section 4.2.1.3: 0 signatures, 5 certificates, 6 lists."""
    purposes: tuple[str, ...] = ()
    """Dotted, of the extended key usage."""
    uris: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    ip_addresses: tuple[bytes, ...] = ()
    """4 or 16 bytes."""
    emails: tuple[str, ...] = ()
    subject_key_identifier: bytes | None = None
    authority_key_identifier: bytes | None = None
    critical: frozenset[str] = frozenset()
    """Dotted: the kinds that are marked so."""


BASIC_CONSTRAINTS: Final = "2.5.29.19"
SIGNATURES: Final = 0
CERTIFICATES: Final = 5
LISTS: Final = 6
_USAGE_BYTES: Final = 2
_USAGES: Final = 7
"""Bits 7 and 8 say something of key agreement alone, and libraries differ about them."""

_ARC_BITS_MAX: Final = 28
"""Libraries keep the numbers of an object identifier in as little as that."""

_URI: Final = der.context(6, constructed=False)
_DNS: Final = der.context(2, constructed=False)
_IP: Final = der.context(7, constructed=False)
_MAIL: Final = der.context(1, constructed=False)
_IP_BYTES: Final = (4, 16)
_DNS_NAME: Final = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*")
_CERTIFICATE_PRACTICE: Final = "1.3.6.1.5.5.7.2.1"

IA5_STRING: Final = 0x16
VISIBLE_ASCII: Final = re.compile(r"[!-~]+")

_Fields = dict[str, object]


def read_extensions(outer: der.Reader) -> Extensions:
    """Read all extensions; raises `CertificateRefused`, and `DecodeError` for what is not DER."""
    listed = outer.enter(der.SEQUENCE, "extensions")
    outer.finish()
    _check_some(listed)
    said: _Fields = {}
    seen: list[str] = []
    critical: list[str] = []
    while not listed.is_empty:
        if len(seen) == EXTENSIONS_MAX:
            raise CertificateRefused(
                Reason.EXTENSION, f"certificate: expected at most {EXTENSIONS_MAX} extensions"
            )
        each = listed.enter(der.SEQUENCE, "extension")
        kind, is_critical = read_oid(each), each.read_true()
        content = each.read(der.OCTET_STRING).content
        each.finish()
        read = _READERS.get(kind)
        if read is None:
            how = "critical extension" if is_critical else "extension"
            raise CertificateRefused(
                Reason.EXTENSION, f"certificate: {how} {kind} is not understood"
            )
        if kind in seen:
            raise CertificateRefused(
                Reason.EXTENSION, f"certificate: extension {kind} occurs twice"
            )
        if is_critical and kind not in _MAY_BE_CRITICAL:
            raise CertificateRefused(
                Reason.EXTENSION, f"certificate: expected extension {kind} not to be critical"
            )
        seen.append(kind)
        if is_critical:
            critical.append(kind)
        reason, reader = read
        try:
            said |= reader(content)
        except DecodeError as error:
            raise CertificateRefused(reason, f"certificate: {error}") from error
    return Extensions(**said, critical=frozenset(critical))  # type: ignore[arg-type]  # by _READERS


def read_oid(reader: der.Reader) -> str:
    """Return the next element, an object identifier that every library can hold, dotted."""
    dotted = reader.read_oid()
    if any(int(arc).bit_length() > _ARC_BITS_MAX for arc in dotted.split(".")):
        raise DecodeError(f"{reader.what}: expected smaller numbers in an object identifier")
    return dotted


def match_ascii(pattern: re.Pattern[str], content: bytes) -> str | None:
    """Return ASCII text that is made up as a pattern has it, or None."""
    if not content.isascii():
        return None
    text = content.decode("ascii")
    return text if pattern.fullmatch(text) else None


def _read_constraints(content: bytes) -> _Fields:
    fields = der.read_only(content, der.SEQUENCE, "basic constraints")
    is_authority = fields.read_true()
    if fields.is_empty:
        return {"is_authority": is_authority}
    path_length = fields.read_integer()
    fields.finish()
    if not is_authority or not 0 <= path_length <= PATH_LENGTH_MAX:
        raise DecodeError(
            f"basic constraints: expected a path length of 0..{PATH_LENGTH_MAX}, of an authority"
        )
    return {"is_authority": is_authority, "path_length": path_length}


def _read_usage(content: bytes) -> _Fields:
    reader = der.Reader(content, "key usage")
    bits = reader.read(der.BIT_STRING).content
    reader.finish()
    if len(bits) != _USAGE_BYTES or not bits[1] or bits[0] != (bits[1] & -bits[1]).bit_length() - 1:
        raise DecodeError("key usage: expected named bits in their shortest form, 0 to 6")
    usage = frozenset(number for number in range(8) if bits[1] >> (7 - number) & 1)
    if _USAGES in usage:
        raise DecodeError("key usage: expected named bits in their shortest form, 0 to 6")
    return {"key_usage": usage}


def _read_purposes(content: bytes) -> _Fields:
    listed = der.read_only(content, der.SEQUENCE, "extended key usage")
    found: list[str] = []
    while not listed.is_empty:
        found.append(read_oid(listed))
        if len(found) > PURPOSES_MAX:
            break
    if not 0 < len(found) <= PURPOSES_MAX or len(frozenset(found)) != len(found):
        raise DecodeError(f"extended key usage: expected 1..{PURPOSES_MAX}, each once")
    return {"purposes": tuple(found)}


def _read_alternative_names(content: bytes) -> _Fields:
    listed = der.read_only(content, der.SEQUENCE, "alternative names")
    found: dict[int, list[str]] = {_URI: [], _DNS: [], _MAIL: []}
    addresses: list[bytes] = []
    count = 0
    while not listed.is_empty:
        count += 1
        name = listed.read()
        if count > ALTERNATIVE_NAMES_MAX:
            raise DecodeError(f"alternative names: expected 1..{ALTERNATIVE_NAMES_MAX}")
        if name.tag == _IP and len(name.content) in _IP_BYTES:
            addresses.append(name.content)
        elif name.tag in found:
            found[name.tag].append(_read_text(name, "alternative names"))
        else:
            raise DecodeError("alternative names: expected a URI, DNS name, IP address or mailbox")
    if not count:
        raise DecodeError(f"alternative names: expected 1..{ALTERNATIVE_NAMES_MAX}")
    return {
        "uris": tuple(found[_URI]),
        "dns_names": tuple(found[_DNS]),
        "emails": tuple(found[_MAIL]),
        "ip_addresses": tuple(addresses),
    }


def _read_text(name: der.Element, what: str) -> str:
    pattern = _DNS_NAME if name.tag == _DNS else VISIBLE_ASCII
    text = match_ascii(pattern, name.content) if len(name.content) <= TEXT_BYTES_MAX else None
    if text is None:
        raise DecodeError(f"{what}: expected a name of 1..{TEXT_BYTES_MAX} visible characters")
    return text


def _read_subject_key_identifier(content: bytes) -> _Fields:
    reader = der.Reader(content, "subject key identifier")
    value = reader.read(der.OCTET_STRING).content
    reader.finish()
    return {"subject_key_identifier": _check_key_identifier(value)}


def _read_authority_key_identifier(content: bytes) -> _Fields:
    fields = der.read_only(content, der.SEQUENCE, "authority key identifier")
    value = fields.read(der.context(0, constructed=False)).content
    fields.finish()
    return {"authority_key_identifier": _check_key_identifier(value)}


def _check_key_identifier(value: bytes) -> bytes:
    if not 0 < len(value) <= KEY_IDENTIFIER_BYTES_MAX:
        raise DecodeError(f"key identifier: expected 1..{KEY_IDENTIFIER_BYTES_MAX} bytes")
    return value


# Of no effect: who certifies and who is revoked is for the chain's state to say. They are read all
# the same, as a library that reads them would refuse the certificate for what is malformed in them.


def _read_access(content: bytes) -> _Fields:
    listed = der.read_only(content, der.SEQUENCE, "authority information")
    _check_some(listed)
    while not listed.is_empty:
        each = listed.enter(der.SEQUENCE, "authority information")
        read_oid(each)
        _read_uri(each)
        each.finish()
    return {}


def _read_distribution(content: bytes) -> _Fields:
    listed = der.read_only(content, der.SEQUENCE, "distribution points")
    _check_some(listed)
    first = der.context(0, constructed=True)
    while not listed.is_empty:
        point = listed.enter(der.SEQUENCE, "distribution points")
        name = point.enter(first, "distribution points")
        point.finish()
        full = name.enter(first, "distribution points")
        name.finish()
        _check_some(full)
        while not full.is_empty:
            _read_uri(full)
    return {}


def _read_policies(content: bytes) -> _Fields:
    listed = der.read_only(content, der.SEQUENCE, "policies")
    _check_some(listed)
    found: list[str] = []
    while not listed.is_empty:
        each = listed.enter(der.SEQUENCE, "policies")
        found.append(read_oid(each))
        qualifiers = each.enter_if(der.SEQUENCE, "policies")
        each.finish()
        if qualifiers is None:
            continue
        qualifier = qualifiers.enter(der.SEQUENCE, "policies")
        qualifiers.finish()
        if read_oid(qualifier) != _CERTIFICATE_PRACTICE:
            raise DecodeError("policies: expected where the practice statement is, alone")
        _read_text(qualifier.read(IA5_STRING), "policies")
        qualifier.finish()
    if len(frozenset(found)) != len(found):
        raise DecodeError("policies: expected each once")
    return {}


def _read_uri(reader: der.Reader) -> None:
    _read_text(reader.read(_URI), reader.what)


def _check_some(listed: der.Reader) -> None:
    if listed.is_empty:
        raise DecodeError(f"{listed.what}: expected some, got none")


_READERS: Final[Mapping[str, tuple[Reason, Callable[[bytes], _Fields]]]] = {
    "2.5.29.14": (Reason.KEY_IDENTIFIER, _read_subject_key_identifier),
    "2.5.29.15": (Reason.KEY_USAGE, _read_usage),
    "2.5.29.17": (Reason.ALTERNATIVE_NAMES, _read_alternative_names),
    BASIC_CONSTRAINTS: (Reason.BASIC_CONSTRAINTS, _read_constraints),
    "2.5.29.31": (Reason.POINTER, _read_distribution),
    "2.5.29.32": (Reason.POINTER, _read_policies),
    "2.5.29.35": (Reason.KEY_IDENTIFIER, _read_authority_key_identifier),
    "2.5.29.37": (Reason.EXTENDED_KEY_USAGE, _read_purposes),
    "1.3.6.1.5.5.7.1.1": (Reason.POINTER, _read_access),
}
"""The extensions of the profile, dotted: what is wrong with one is named so."""

_MAY_BE_CRITICAL: Final = ("2.5.29.15", "2.5.29.17", BASIC_CONSTRAINTS, "2.5.29.37")
