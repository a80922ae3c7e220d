"""Time-stamp tokens and answers read: ours and those of other authorities, in their DER form alone.

What is read here is what anyone may have written: `check.py` says what of it holds. RFC 5652
allows other encodings of the outer structure; RFC 3161 sections 2.4.2 and 3 send DER, so we take no
other. Every function raises `DecodeError`, or `ProofError` naming the rule where the form is sound
but says what no token of an authority may say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from node.crypto import der
from node.crypto.authority import RSA_PSS
from node.crypto.suite import DOCUMENT_DIGESTS
from node.errors import DecodeError, ProofError
from node.timestamp.tokens.issuing import SIGNED_DATA, TST_INFO
from node.timestamp.tokens.request import Imprint, TimeStampRefused

ANSWER_BYTES_MAX: Final = 8_388_608

_CONTEXT_0: Final = der.context(0, constructed=True)
_CONTEXT_1: Final = der.context(1, constructed=True)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TIME: Final = re.compile(rb"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\.\d{0,11}[1-9])?Z")
_SECOND_MAX: Final = 59
_PART_MAX: Final = 999
_SECOND_US: Final = 1_000_000
_MILLISECOND_US: Final = 1_000
_ACCURACY_US_MAX: Final = 86_400 * _SECOND_US
_PSS_HASH: Final = der.context(0, constructed=True)
_PSS_MASK: Final = der.context(1, constructed=True)
_PSS_SALT: Final = der.context(2, constructed=True)
_MGF1: Final = "1.2.840.113549.1.1.8"
_DIGEST_BYTES: Final = {digest.oid: digest.size for digest in DOCUMENT_DIGESTS}


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenInfo:
    """What a token states: TSTInfo, RFC 3161 section 2.4.2."""

    encoded: bytes
    policy: bytes
    """DER of the object identifier."""
    imprint: Imprint
    serial_number: int
    time_ms: int
    """genTime, ms since 1970 UTC; a finer fraction is cut off."""
    accuracy: bytes
    """DER of Accuracy, empty if there is none."""
    accuracy_us: int | None
    nonce: bytes | None
    """Content of an INTEGER."""
    authority_name: bytes
    """DER of the GeneralName of the authority, empty if there is none."""

    @classmethod
    def decode(cls, data: bytes) -> TokenInfo:
        """Read the DER of TSTInfo."""
        reader = der.read_only(data, der.SEQUENCE, "token info")
        version = reader.read_integer()
        if version != 1:
            raise ProofError("info-version", f"expected 1, got {version}")
        policy = der.encode_oid(reader.read_oid())
        try:
            imprint = Imprint.read(reader)
        except TimeStampRefused as refused:
            raise ProofError("imprint-algorithm", str(refused)) from refused
        serial_number = reader.read_integer()
        time_ms = _read_time(reader.read(der.GENERALIZED_TIME).content)
        accuracy = reader.read_if(der.SEQUENCE)
        accuracy_us = None if accuracy is None else _read_accuracy(accuracy)
        reader.read_true()  # ordering, of which nothing follows here
        nonce = reader.read_if(der.INTEGER)
        name = reader.enter_if(_CONTEXT_0, "token info authority")
        authority_name = b""
        if name is not None:
            authority_name = name.read().encoded
            name.finish()
        extensions = reader.enter_if(_CONTEXT_1, "token info extensions")
        if extensions is not None:
            _check_extensions(extensions)
        reader.finish()
        return cls(
            encoded=data,
            policy=policy,
            imprint=imprint,
            serial_number=serial_number,
            time_ms=time_ms,
            accuracy=b"" if accuracy is None else accuracy.encoded,
            accuracy_us=accuracy_us,
            nonce=None if nonce is None else der.check_integer(nonce.content, "token info nonce"),
            authority_name=authority_name,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadToken:
    """A token in its parts. Nothing of it is checked but that it has the form of one."""

    encoded: bytes
    info: TokenInfo
    certificates: tuple[bytes, ...]
    """DER, in the order of the token."""
    signer_id: bytes
    """DER of IssuerAndSerialNumber."""
    digest_algorithm: str
    """Dotted, as is `signature_algorithm`."""
    signature_algorithm: str
    signed_attributes: bytes
    """Content of the SET."""
    signature: bytes

    @classmethod
    def decode(cls, token: bytes) -> ReadToken:
        """Read the DER of a TimeStampToken with one signer, named by issuer and serial number."""
        outer = der.read_only(token, der.SEQUENCE, "token")
        _expect_oid(outer, SIGNED_DATA, "token-type")
        content = outer.enter(_CONTEXT_0, "token")
        outer.finish()
        signed_data = content.enter(der.SEQUENCE, "signed data")
        content.finish()
        _expect_version(signed_data, 3, "signed-data-version")
        digest_algorithms = signed_data.enter(der.SET, "digest algorithms")
        info = TokenInfo.decode(_read_content(signed_data))
        certificates: list[bytes] = []
        held = signed_data.enter_if(_CONTEXT_0, "certificates")
        while held is not None and not held.is_empty:
            certificates.append(held.read(der.SEQUENCE).encoded)
        if signed_data.read_if(_CONTEXT_1) is not None:
            raise ProofError("token-revocations", "expected no revocation lists in the token")
        signers = signed_data.enter(der.SET, "signers")
        signed_data.finish()
        signer = signers.enter(der.SEQUENCE, "signer")
        if not signers.is_empty:
            raise ProofError("token-signers", "expected one signer, got more")
        version = signer.read_integer()
        signer_id = signer.read()
        if version != 1 or signer_id.tag != der.SEQUENCE:
            raise ProofError("signer-id", "expected version 1, issuer and serial number")
        digest_algorithm, encoded = _read_algorithm(signer, "digest algorithm")
        if digest_algorithms.read().encoded != encoded or not digest_algorithms.is_empty:
            raise ProofError("digest-algorithms", "expected that of the signer alone")
        attributes = signer.read_if(_CONTEXT_0)
        if attributes is None:
            raise ProofError("attributes-missing", "expected signed attributes")
        signature_algorithm = _read_signature_algorithm(signer, digest_algorithm)
        signature = signer.read(der.OCTET_STRING).content
        signer.read_if(_CONTEXT_1)  # unsigned attributes are no part of what is signed
        signer.finish()
        return cls(
            encoded=token,
            info=info,
            certificates=tuple(certificates),
            signer_id=signer_id.encoded,
            digest_algorithm=digest_algorithm,
            signature_algorithm=signature_algorithm,
            signed_attributes=attributes.content,
            signature=signature,
        )

    def attributes(self) -> dict[str, bytes]:
        """Return the one value (DER) of each signed attribute, by its dotted name."""
        reader = der.Reader(self.signed_attributes, "signed attributes")
        found: dict[str, bytes] = {}
        last = b""
        while not reader.is_empty:
            element = reader.read(der.SEQUENCE)
            if element.encoded <= last:
                raise ProofError("attributes-order", "expected the ascending order of DER")
            last = element.encoded
            attribute = der.Reader(element.content, "signed attribute")
            oid = attribute.read_oid()
            values = attribute.enter(der.SET, "signed attribute")
            attribute.finish()
            value = values.read().encoded
            if oid in found or not values.is_empty:
                raise ProofError("attributes-once", f"expected one value of {oid}")
            found[oid] = value
        return found


def is_token_or_answer(data: bytes) -> bool:
    """Tell whether bytes begin as a time-stamp token or an answer does: nothing else of ours."""
    return data[:1] == bytes((der.SEQUENCE,))


def token_of_answer(data: bytes) -> bytes:
    """Return the token in an answer that grants one, or the bare token if that is what it is.

    An answer that grants something else than what was asked for (status 1) is refused.
    """
    if len(data) > ANSWER_BYTES_MAX:
        raise DecodeError(f"answer: expected at most {ANSWER_BYTES_MAX} bytes")
    reader = der.read_only(data, der.SEQUENCE, "answer")
    first = reader.read()
    if first.tag == der.OBJECT_IDENTIFIER:
        return data
    info = der.Reader(first.content, "answer status")
    status = info.read_integer()
    if status != 0:
        raise ProofError("answer-status", f"expected 0, granted, got {status}")
    token = reader.read(der.SEQUENCE).encoded
    reader.finish()
    return token


def _read_content(signed_data: der.Reader) -> bytes:
    content = signed_data.enter(der.SEQUENCE, "token content")
    _expect_oid(content, TST_INFO, "token-content-type")
    held = content.enter_if(_CONTEXT_0, "token content")
    if held is None:
        raise ProofError("token-detached", "expected the content inside the token")
    content.finish()
    data = held.read(der.OCTET_STRING).content
    held.finish()
    return data


def _read_algorithm(reader: der.Reader, what: str) -> tuple[str, bytes]:
    element = reader.read(der.SEQUENCE)
    fields = der.Reader(element.content, what)
    oid = fields.read_oid()
    parameters = fields.read_if(der.NULL)
    if not fields.is_empty or (parameters is not None and parameters.content):
        raise DecodeError(f"{what}: expected parameters NULL or none")
    return oid, element.encoded


def _read_signature_algorithm(reader: der.Reader, digest: str) -> str:
    """Return its name. PSS is taken with a mask and a salt by the signer's `digest` alone."""
    what = "signature algorithm"
    element = reader.read(der.SEQUENCE)
    fields = der.Reader(element.content, what)
    if fields.read_oid() != RSA_PSS:
        return _read_algorithm(der.Reader(element.encoded, what), what)[0]
    parameters = fields.enter(der.SEQUENCE, what)
    fields.finish()
    hashed = parameters.enter(_PSS_HASH, what)
    mask = parameters.enter(_PSS_MASK, what)
    mask_fields = mask.enter(der.SEQUENCE, what)
    salt = parameters.enter(_PSS_SALT, what)
    found = (
        _read_algorithm(hashed, what)[0],
        mask_fields.read_oid(),
        _read_algorithm(mask_fields, what)[0],
    )
    salt_bytes = salt.read_integer()
    for each in (parameters, hashed, mask, mask_fields, salt):
        each.finish()
    if found != (digest, _MGF1, digest) or salt_bytes != _DIGEST_BYTES.get(digest):
        raise ProofError("pss-parameters", f"expected hash, MGF1 and salt by digest {digest}")
    return RSA_PSS


def _read_time(content: bytes) -> int:
    """Return ms since 1970 from the only form of GeneralizedTime that RFC 3161 allows."""
    found = _TIME.fullmatch(content)
    if found is None or int(found[6]) > _SECOND_MAX:
        shown = content[:24].decode("ascii", "replace")
        raise ProofError("time-form", f"expected YYYYMMDDhhmmss[.s...]Z in UTC, got {shown!r}")
    year, month, day, hour, minute, second = (int(found[index]) for index in range(1, 7))
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise ProofError("time-form", f"expected a time of the calendar: {error}") from error
    fraction = (found[7] or b".")[1:4].ljust(3, b"0")
    return (moment - _EPOCH) // timedelta(milliseconds=1) + int(fraction)


def _read_accuracy(element: der.Element) -> int:
    """Return microseconds."""
    fields = der.Reader(element.content, "token info accuracy")
    seconds = fields.read_if(der.INTEGER)
    if seconds is None and fields.is_empty:
        raise DecodeError("token info accuracy: expected at least one unit")
    content = b"" if seconds is None else der.check_integer(seconds.content, fields.what)
    total_us = int.from_bytes(content, "big", signed=True) * _SECOND_US
    if total_us < 0:
        raise DecodeError("token info accuracy: expected no negative seconds")
    for number, unit_us in ((0, _MILLISECOND_US), (1, 1)):
        found = fields.read_if(der.context(number, constructed=False))
        if found is not None:
            part = int.from_bytes(der.check_integer(found.content, fields.what), "big", signed=True)
            if not 0 < part <= _PART_MAX:
                raise DecodeError("token info accuracy: expected 1 to 999")
            total_us += part * unit_us
    fields.finish()
    if total_us > _ACCURACY_US_MAX:
        raise DecodeError("token info accuracy: expected a day at most")
    return total_us


def _check_extensions(reader: der.Reader) -> None:
    if reader.is_empty:
        raise DecodeError("token info extensions: expected at least one")
    while not reader.is_empty:
        extension = reader.enter(der.SEQUENCE, "token info extension")
        oid = extension.read_oid()
        if extension.read_true():
            raise ProofError("info-extension", f"critical extension {oid} is not understood")
        extension.read(der.OCTET_STRING)
        extension.finish()


def _expect_oid(reader: der.Reader, expected: str, rule: str) -> None:
    got = reader.read_oid()
    if got != expected:
        raise ProofError(rule, f"expected {expected}, got {got}")


def _expect_version(reader: der.Reader, expected: int, rule: str) -> None:
    got = reader.read_integer()
    if got != expected:
        raise ProofError(rule, f"expected {expected}, got {got}")
