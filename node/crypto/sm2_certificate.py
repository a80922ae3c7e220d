"""X.509 and PKCS #10 with keys and signatures of SM2, of which the X.509 library only reads a part.

It parses such certificates and takes their names and extensions; keys and signatures of SM2 are
read and made here, as GM/T 0015 has them: the algorithm sm2-with-SM3 over the signed part, by the
default identity. Issuer and subject may each have a key of SM2 or of P-256.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import PublicKeyAlgorithmOID

from node.crypto import der
from node.crypto.hashing import new_sm3
from node.crypto.signature import P256PublicKey, P256Signer, PublicKey, Signer
from node.crypto.sm2 import Sm2PublicKey, Sm2Signer
from node.crypto.sm2_library import COMPRESSED, SM2_SCALAR_BYTES
from node.errors import CryptoError, DecodeError

SM2_WITH_SM3: Final = "1.2.156.10197.1.501"

_SM2_CURVE: Final = "1.2.156.10197.1.301"
_ECDSA_WITH_SHA_256: Final = "1.2.840.10045.4.3.2"
_EXTENSION_REQUEST: Final = "1.2.840.113549.1.9.14"
_SIGNATURE_ALGORITHM: Final = der.encode_sequence(der.encode_oid(SM2_WITH_SM3))
_KEY_ALGORITHM: Final = der.encode_sequence(
    der.encode_oid(PublicKeyAlgorithmOID.EC_PUBLIC_KEY.dotted_string), der.encode_oid(_SM2_CURVE)
)
_UNCOMPRESSED: Final = 4
_POINT_BYTES: Final = 1 + 2 * SM2_SCALAR_BYTES
_CONTEXT_0: Final = der.context(0, constructed=True)
_CONTEXT_3: Final = der.context(3, constructed=True)
_VERSION_3: Final = der.encode(_CONTEXT_0, der.encode_integer(2))
_KEY_IDENTIFIER_BYTES: Final = 20
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_GENERALIZED_FROM: Final = 2050  # RFC 5280 section 4.1.2.5


# --- Reading ---


def read_sm2_key(certificate: x509.Certificate) -> Sm2PublicKey | None:
    """Return the key of a certificate, None if it is no key of SM2; raises `CryptoError`."""
    if certificate.public_key_algorithm_oid != PublicKeyAlgorithmOID.EC_PUBLIC_KEY:
        return None
    try:
        return _decode_key(_key_of(certificate))
    except DecodeError as error:
        raise CryptoError("certificate: malformed key") from error


def is_signed_by_sm2(signed: bytes, key: Sm2PublicKey) -> bool:
    """Tell whether a key signed what X.509 has signed, given as DER: a certificate or a list.

    The algorithm has to be sm2-with-SM3, and named alike inside and outside of what is signed.
    """
    try:
        outer = der.read_only(signed, der.SEQUENCE, "certificate")
        body, algorithm = outer.read(der.SEQUENCE), outer.read(der.SEQUENCE)
        signature = outer.read(der.BIT_STRING).content
        outer.finish()
        inner = der.Reader(body.content, "certificate")
        for tag in (_CONTEXT_0, der.INTEGER):  # version of one, serial number; version of the other
            inner.read_if(tag)
        if not inner.read(der.SEQUENCE).encoded == algorithm.encoded == _SIGNATURE_ALGORITHM:
            return False
    except DecodeError:
        return False
    return signature[:1] == b"\0" and is_sm2_signature(key, body.encoded, signature[1:])


def is_sm2_signature(key: Sm2PublicKey, message: bytes, signature: bytes) -> bool:
    """Tell whether a signature in DER is a key's over a message."""
    try:
        r, s = decode_dss_signature(signature)
        raw = b"".join(each.to_bytes(SM2_SCALAR_BYTES, "big") for each in (r, s))
    except (ValueError, OverflowError):
        return False
    return encode_dss_signature(r, s) == signature and key.verify(message, raw)


def _key_of(certificate: x509.Certificate) -> bytes:
    """Return the DER of SubjectPublicKeyInfo."""
    fields = der.read_only(certificate.tbs_certificate_bytes, der.SEQUENCE, "certificate")
    fields.read_if(_CONTEXT_0)
    fields.read(der.INTEGER)
    for _ in ("algorithm", "issuer", "validity", "subject"):
        fields.read(der.SEQUENCE)
    return fields.read(der.SEQUENCE).encoded


def _decode_key(encoded: bytes) -> Sm2PublicKey | None:
    fields = der.read_only(encoded, der.SEQUENCE, "certificate")
    if fields.read(der.SEQUENCE).encoded != _KEY_ALGORITHM:
        return None
    bits = fields.read(der.BIT_STRING).content
    fields.finish()
    point = bits[1:]
    if bits[:1] == b"\0" and len(point) == _POINT_BYTES and point[0] == _UNCOMPRESSED:
        compressed = bytes((COMPRESSED[point[-1] & 1],)) + point[1 : 1 + SM2_SCALAR_BYTES]
        key = Sm2PublicKey.decode(compressed)
        if key.uncompressed() == point:
            return key
    raise CryptoError("certificate: malformed key")


# --- Building. Every function returns DER. ---


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFields:
    """What a certificate says. Names are DER, times ms (UTC), extensions with whether critical."""

    serial_number: int
    issuer: bytes
    subject: bytes
    not_before_ms: int
    not_after_ms: int
    key: PublicKey
    extensions: Sequence[tuple[x509.ExtensionType, bool]]


def encode_certificate(fields: CertificateFields, signer: Signer) -> bytes:
    """Return a certificate that `signer` issues, of SM2 or P-256; raises `CryptoError`."""
    identified = (
        (x509.SubjectKeyIdentifier(_identify(fields.key)), False),
        (x509.AuthorityKeyIdentifier(_identify(signer.public_key), None, None), False),
        *fields.extensions,
    )
    validity = der.encode_sequence(
        _encode_time(fields.not_before_ms), _encode_time(fields.not_after_ms)
    )
    algorithm = _algorithm_of(signer)
    body = der.encode_sequence(
        _VERSION_3,
        der.encode_integer(fields.serial_number),
        algorithm,
        fields.issuer,
        validity,
        fields.subject,
        _encode_key(fields.key),
        der.encode(_CONTEXT_3, _encode_extensions(identified)),
    )
    return _sign(body, algorithm, signer)


def encode_request(
    signer: Signer, subject: bytes, extensions: Sequence[tuple[x509.ExtensionType, bool]]
) -> bytes:
    """Return a request (PKCS #10) for a certificate of the signer's key with these extensions."""
    asked = der.encode_set(_encode_extensions(extensions))
    attribute = der.encode_sequence(der.encode_oid(_EXTENSION_REQUEST), asked)
    body = der.encode_sequence(
        der.encode_integer(0),
        subject,
        _encode_key(signer.public_key),
        der.encode(_CONTEXT_0, attribute),
    )
    return _sign(body, _algorithm_of(signer), signer)


def _sign(body: bytes, algorithm: bytes, signer: Signer) -> bytes:
    raw = signer.sign(body)
    r, s = (int.from_bytes(half, "big") for half in (raw[: len(raw) // 2], raw[len(raw) // 2 :]))
    signature = der.encode(der.BIT_STRING, b"\0" + encode_dss_signature(r, s))
    return der.encode_sequence(body, algorithm, signature)


def _algorithm_of(signer: Signer) -> bytes:
    if isinstance(signer, Sm2Signer):
        return _SIGNATURE_ALGORITHM
    if isinstance(signer, P256Signer):
        return der.encode_sequence(der.encode_oid(_ECDSA_WITH_SHA_256))
    raise CryptoError("authority: expected a key of P-256 or SM2 held in memory")


def _encode_key(key: PublicKey) -> bytes:
    if isinstance(key, Sm2PublicKey):
        point = der.encode(der.BIT_STRING, b"\0" + key.uncompressed())
        return der.encode_sequence(_KEY_ALGORITHM, point)
    if isinstance(key, P256PublicKey):
        return key.library_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    raise CryptoError("authority: expected a key of P-256 or SM2 held in memory")


def _identify(key: PublicKey) -> bytes:
    """Return the key identifier: any that differs for each key (RFC 5280 section 4.2.1.2)."""
    if isinstance(key, P256PublicKey):
        return x509.SubjectKeyIdentifier.from_public_key(key.library_key).digest
    return new_sm3(key.encoded).digest()[:_KEY_IDENTIFIER_BYTES]


def _encode_extensions(extensions: Sequence[tuple[x509.ExtensionType, bool]]) -> bytes:
    return der.encode_sequence(
        *(
            der.encode_sequence(
                der.encode_oid(value.oid.dotted_string),
                der.TRUE if critical else b"",
                der.encode(der.OCTET_STRING, value.public_bytes()),
            )
            for value, critical in extensions
        )
    )


def _encode_time(time_ms: int) -> bytes:
    moment = _EPOCH + timedelta(seconds=time_ms // 1_000)
    if moment.year < _GENERALIZED_FROM:
        return der.encode(der.UTC_TIME, f"{moment:%y%m%d%H%M%S}Z".encode())
    return der.encode(der.GENERALIZED_TIME, f"{moment:%Y%m%d%H%M%S}Z".encode())
