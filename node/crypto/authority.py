"""Certificates of time-stamping authorities, ours and others', and what their keys sign.

Where RFC 3161 and RFC 5280 leave a choice, the strict one is taken. Whether an authority is one to
be believed is for the caller to say, by the roots. Times are in ms (UTC) and arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from node.crypto.certificate import (
    certificate_extension,
    certificate_extensions,
    certificate_key,
    has_usable_key,
    load_certificate,
    milliseconds_of,
)
from node.crypto.library_warnings import ignore_remarks
from node.crypto.signature import P256_ORDER, P256PublicKey, PublicKey
from node.crypto.sm2_certificate import (
    SM2_WITH_SM3,
    is_signed_by_sm2,
    is_sm2_signature,
    read_sm2_key,
)
from node.crypto.sm2_library import SM2_ORDER
from node.crypto.suite import SHA_256, SHA_384, SHA_512, SM3, DocumentDigest
from node.errors import CryptoError

_PATH_MAX: Final = 4
_RSA_BITS_MIN: Final = 2_048
_HASHES: Final = {
    SHA_256.oid: hashes.SHA256(),
    SHA_384.oid: hashes.SHA384(),
    SHA_512.oid: hashes.SHA512(),
}
RSA_PSS: Final = "1.2.840.113549.1.1.10"
ED25519: Final = "1.3.101.112"

_CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_CURVE_NAMES: Final = {"secp256r1": "p-256", "secp384r1": "p-384", "secp521r1": "p-521"}
_DIGEST_NAMES: Final = {
    digest.name.replace("-", ""): digest.name for digest in (SHA_256, SHA_384, SHA_512)
}
_UNKNOWN: Final = "unknown"
_LIST_KEYS: Final = (rsa.RSAPublicKey, ec.EllipticCurvePublicKey, ed25519.Ed25519PublicKey)
_ISSUES_ANYTHING: Final = x509.ObjectIdentifier("2.5.29.37.0")
_RSA: Final = "1.2.840.113549.1.1.1"
_ANY_SHA_2: Final = (_RSA, RSA_PSS)
"""The algorithms that leave the digest to another field."""
_SIGNATURES: Final = {
    ED25519: (ed25519.Ed25519PublicKey, SHA_512.oid),
    "1.2.840.10045.4.3.2": (ec.EllipticCurvePublicKey, SHA_256.oid),
    "1.2.840.10045.4.3.3": (ec.EllipticCurvePublicKey, SHA_384.oid),
    "1.2.840.10045.4.3.4": (ec.EllipticCurvePublicKey, SHA_512.oid),
    "1.2.840.113549.1.1.11": (rsa.RSAPublicKey, SHA_256.oid),
    "1.2.840.113549.1.1.12": (rsa.RSAPublicKey, SHA_384.oid),
    "1.2.840.113549.1.1.13": (rsa.RSAPublicKey, SHA_512.oid),
}
_ISSUING: Final = (*_SIGNATURES, RSA_PSS)


@dataclass(frozen=True, slots=True)
class TokenAlgorithms:
    """How our tokens are hashed and signed. Of a signature r is below the order, s up to a bound.

    Of ECDSA's two the low s is the one that our keys give; SM2 has but one.
    """

    digest: DocumentDigest
    signature: str
    """Dotted."""
    order: int
    s_max: int


ECDSA_TOKENS: Final = TokenAlgorithms(SHA_256, "1.2.840.10045.4.3.2", P256_ORDER, P256_ORDER // 2)
SM2_TOKENS: Final = TokenAlgorithms(SM3, SM2_WITH_SM3, SM2_ORDER, SM2_ORDER - 1)


@dataclass(frozen=True, slots=True)
class AuthorityCertificate:
    """A certificate on the way from a time-stamping key to a root. Equal by its DER."""

    encoded: bytes
    issuer_name: bytes = field(compare=False)
    """DER of the Name of who issued it, as `subject_name` is of whom it is for."""
    subject_name: bytes = field(compare=False)
    serial_number: int = field(compare=False)
    not_before_ms: int = field(compare=False)
    not_after_ms: int = field(compare=False)
    alternative_names: bytes = field(compare=False)
    """DER of the GeneralNames that name its subject too; empty if there are none."""
    _certificate: x509.Certificate = field(repr=False, compare=False)

    @classmethod
    def read(cls, certificate: bytes) -> AuthorityCertificate:
        """Read a certificate (PEM or DER); raises `CryptoError` if malformed.

        A critical extension that is not understood is refused.
        """
        loaded = load_certificate(certificate)
        extensions = certificate_extensions(loaded)
        names = certificate_extension(extensions, x509.SubjectAlternativeName)
        try:
            return cls(
                encoded=loaded.public_bytes(Encoding.DER),
                issuer_name=loaded.issuer.public_bytes(),
                subject_name=loaded.subject.public_bytes(),
                serial_number=loaded.serial_number,
                not_before_ms=milliseconds_of(loaded.not_valid_before_utc),
                not_after_ms=milliseconds_of(loaded.not_valid_after_utc),
                alternative_names=b"" if names is None else names.public_bytes(),
                _certificate=loaded,
            )
        except (ValueError, TypeError) as error:  # of names: the library reads them when asked
            raise CryptoError("certificate: malformed names or times") from error

    @property
    def subject(self) -> str:
        """Whom it is for, in the text form of RFC 4514."""
        ignore_remarks()
        return self._certificate.subject.rfc4514_string()

    @property
    def key_algorithm(self) -> str:
        """What its key signs with: a curve or rsa-BITS; "unknown" for what is not verified here."""
        try:
            if read_sm2_key(self._certificate) is not None:
                return "sm2"
            key = certificate_key(self._certificate)
        except (ValueError, UnsupportedAlgorithm, CryptoError):
            return _UNKNOWN
        if isinstance(key, rsa.RSAPublicKey):
            return f"rsa-{key.key_size}"
        if isinstance(key, ed25519.Ed25519PublicKey):
            return "ed25519"
        curve = key.curve.name if isinstance(key, ec.EllipticCurvePublicKey) else ""
        return _CURVE_NAMES.get(curve, _UNKNOWN)

    @property
    def issuing_digest(self) -> str:
        """How its issuer hashed it, as `DocumentDigest.name` has it; "unknown" for others."""
        algorithm = self._certificate.signature_algorithm_oid.dotted_string
        if algorithm == ED25519:
            return SHA_512.name
        if algorithm == SM2_WITH_SM3:
            return SM3.name
        try:
            hashed = self._certificate.signature_hash_algorithm
        except UnsupportedAlgorithm:
            hashed = None
        return _UNKNOWN if hashed is None else _DIGEST_NAMES.get(hashed.name, _UNKNOWN)

    def has_key_of(self, other: AuthorityCertificate) -> bool:
        """Tell whether both are certificates of one key."""
        try:
            own = read_sm2_key(self._certificate)
            if own is not None:
                return own == read_sm2_key(other._certificate)
            return self._certificate.public_key() == other._certificate.public_key()
        except (ValueError, UnsupportedAlgorithm, CryptoError):
            return False

    def is_of(self, key: PublicKey) -> bool:
        """Tell whether it is the certificate of a key of P-256 or SM2."""
        if (sm2 := read_sm2_key(self._certificate)) is not None:
            return sm2 == key
        own = certificate_key(self._certificate)
        if not isinstance(own, ec.EllipticCurvePublicKey):
            return False
        return P256PublicKey.wrap(own).encoded == key.encoded

    @property
    def token_algorithms(self) -> TokenAlgorithms:
        """How its key signs tokens of ours, if it is of P-256 or SM2."""
        return ECDSA_TOKENS if read_sm2_key(self._certificate) is None else SM2_TOKENS

    def check_time_stamping(self) -> None:
        """Raise `CryptoError` unless its key may sign time stamps, and nothing but signatures.

        RFC 3161 section 2.3: a critical extended key usage, time-stamping alone.
        """
        extensions = certificate_extensions(self._certificate)
        usage = certificate_extension(extensions, x509.KeyUsage)
        if usage is not None:
            signs = usage.digital_signature or usage.content_commitment
            others = (
                usage.key_encipherment,
                usage.data_encipherment,
                usage.key_agreement,
                usage.key_cert_sign,
                usage.crl_sign,
            )
            if not signs or any(others):
                raise CryptoError("key usage: expected signatures alone")
        try:
            extended = extensions.get_extension_for_class(x509.ExtendedKeyUsage)
        except x509.ExtensionNotFound:
            raise CryptoError("extended key usage: expected time-stamping, got none") from None
        if list(extended.value) != [ExtendedKeyUsageOID.TIME_STAMPING]:
            raise CryptoError("extended key usage: expected time-stamping alone")
        if not extended.critical:
            raise CryptoError("extended key usage: expected a critical one")

    def check_signature(
        self, message: bytes, signature: bytes, *, algorithm: str, digest: str
    ) -> None:
        """Raise `CryptoError` unless its key signed `message`.

        `algorithm` and `digest` are dotted: ECDSA or RSA (PKCS #1 v1.5 or PSS), with SHA-2; SM2,
        with SM3; or Ed25519, with SHA-512 (RFC 8419). PSS has MGF1 and a salt, both by `digest`.
        """
        if (algorithm, digest) == (SM2_WITH_SM3, SM3.oid):
            self._check_sm2_signature(message, signature)
            return
        kind, hashed = (
            (rsa.RSAPublicKey, digest)
            if algorithm in _ANY_SHA_2
            else _SIGNATURES.get(algorithm, (None, ""))
        )
        hash_algorithm = _HASHES.get(hashed)
        if kind is None or hash_algorithm is None or hashed != digest:
            got = f"{algorithm} with digest {digest}"
            raise CryptoError(
                f"signature algorithm: expected ECDSA or RSA with SHA-2, or SM2 with SM3, got {got}"
            )
        try:
            key = certificate_key(self._certificate)
            if not isinstance(key, kind):
                raise CryptoError("signature algorithm: it is not the key's")
            if isinstance(key, ec.EllipticCurvePublicKey):
                if not isinstance(key.curve, _CURVES):
                    raise CryptoError(f"signature key: expected a NIST curve, got {key.curve.name}")
                key.verify(signature, message, ec.ECDSA(hash_algorithm))
            elif isinstance(key, rsa.RSAPublicKey):
                if key.key_size < _RSA_BITS_MIN:
                    raise CryptoError(f"signature key: expected at least {_RSA_BITS_MIN} bits")
                scheme = _pss(hash_algorithm) if algorithm == RSA_PSS else padding.PKCS1v15()
                key.verify(signature, message, scheme, hash_algorithm)
            elif isinstance(key, ed25519.Ed25519PublicKey):
                key.verify(signature, message)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise CryptoError("signature key: expected one of ECDSA, RSA or SM2") from error
        except InvalidSignature:
            raise CryptoError("signature: it is not the certificate's over this token") from None

    def _check_sm2_signature(self, message: bytes, signature: bytes) -> None:
        key = read_sm2_key(self._certificate)
        if key is None:
            raise CryptoError("signature algorithm: it is not the key's")
        if not is_sm2_signature(key, message, signature):
            raise CryptoError("signature: it is not the certificate's over this token")

    def is_issued_by(self, issuer: AuthorityCertificate) -> bool:
        """Tell whether it names `issuer` and bears its signature, by SHA-2, Ed25519 or SM2."""
        if self._certificate.signature_algorithm_oid.dotted_string == SM2_WITH_SM3:
            return self.issuer_name == issuer.subject_name and _signed_by_sm2(
                self.encoded, issuer._certificate
            )
        if self._certificate.signature_algorithm_oid.dotted_string not in _ISSUING:
            return False
        if not has_usable_key(issuer._certificate):
            return False
        try:
            self._certificate.verify_directly_issued_by(issuer._certificate)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            return False
        return True

    def has_signed(self, revocations: x509.CertificateRevocationList) -> bool:
        """Tell whether a list of revocations is by its key, and its key is for such lists."""
        usage = certificate_extension(certificate_extensions(self._certificate), x509.KeyUsage)
        if usage is not None and not usage.crl_sign:
            return False
        if revocations.signature_algorithm_oid.dotted_string == SM2_WITH_SM3:
            return _signed_by_sm2(revocations.public_bytes(Encoding.DER), self._certificate)
        if revocations.signature_algorithm_oid.dotted_string not in _ISSUING:
            return False
        try:
            key = certificate_key(self._certificate)
            return isinstance(key, _LIST_KEYS) and revocations.is_signature_valid(key)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            return False

    def check_authority(self, between: int) -> None:
        """Raise `CryptoError` unless it may issue, with so many certificates below its own."""
        extensions = certificate_extensions(self._certificate)
        constraints = certificate_extension(extensions, x509.BasicConstraints)
        usage = certificate_extension(extensions, x509.KeyUsage)
        if constraints is None or not constraints.ca or (usage and not usage.key_cert_sign):
            raise CryptoError("issuing certificate: expected one that may sign certificates")
        purposes = certificate_extension(extensions, x509.ExtendedKeyUsage)
        allowed = (ExtendedKeyUsageOID.TIME_STAMPING, _ISSUES_ANYTHING)
        if purposes is not None and not any(purpose in allowed for purpose in purposes):
            raise CryptoError("issuing certificate: expected no purposes, or time-stamping too")
        if read_sm2_key(self._certificate) is None:
            self._check_key_size()
        if constraints.path_length is not None and constraints.path_length < between:
            raise CryptoError(f"issuing certificate: {between} below it are more than it allows")

    def _check_key_size(self) -> None:
        try:
            key = certificate_key(self._certificate)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise CryptoError("signature key: expected one of ECDSA, RSA or SM2") from error
        if isinstance(key, rsa.RSAPublicKey) and key.key_size < _RSA_BITS_MIN:
            raise CryptoError(f"issuing certificate: expected at least {_RSA_BITS_MIN} bits")

    def check_valid(self, at_ms: int) -> None:
        """Raise `CryptoError` unless it is valid at that time, ends included."""
        if not self.not_before_ms <= at_ms <= self.not_after_ms:
            valid = f"{self.not_before_ms}..{self.not_after_ms} ms"
            raise CryptoError(f"certificate: valid in {valid}, got {at_ms} ms")


def _signed_by_sm2(signed: bytes, issuer: x509.Certificate) -> bool:
    """Tell whether the issuer's key is of SM2, and signed what X.509 has signed."""
    try:
        key = read_sm2_key(issuer)
    except CryptoError:
        return False
    return key is not None and is_signed_by_sm2(signed, key)


def _pss(hash_algorithm: hashes.HashAlgorithm) -> padding.PSS:
    return padding.PSS(padding.MGF1(hash_algorithm), hash_algorithm.digest_size)


def read_timestamp_certificate(certificate: bytes) -> AuthorityCertificate:
    """Read the certificate (PEM or DER) of a key that signs time stamps, and nothing else.

    Raises `CryptoError` for any other; whoever issued it, and whenever it is valid.
    """
    read = AuthorityCertificate.read(certificate)
    read.check_time_stamping()
    return read


def find_path(
    leaf: AuthorityCertificate,
    others: Sequence[AuthorityCertificate],
    roots: Sequence[AuthorityCertificate],
) -> tuple[AuthorityCertificate, ...] | None:
    """Return the certificates from `leaf` to one of `roots`, by way of `others`, or None.

    Raises `CryptoError` where one on the way may not issue. Validity is for the caller to check.
    """
    return _extend_path((leaf,), (*roots, *others), roots)


def _extend_path(
    path: tuple[AuthorityCertificate, ...],
    known: Sequence[AuthorityCertificate],
    roots: Sequence[AuthorityCertificate],
) -> tuple[AuthorityCertificate, ...] | None:
    if path[-1] in roots:
        return path
    if len(path) == _PATH_MAX:
        return None
    for issuer in known:
        if issuer not in path and path[-1].is_issued_by(issuer):
            issuer.check_authority(len(path) - 1)
            if found := _extend_path((*path, issuer), known, roots):
                return found
    return None
