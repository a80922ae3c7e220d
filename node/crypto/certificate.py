"""X.509 certificates: built for organisations and their members, read and checked at a given time.

One level only: each organisation has one authority, which issues to its members directly. A
member's certificate names it by the URI `govchain:<role>:<identity id>` (percent-encoded) among its
alternative names. Whether an identity still has its rights is for the chain's state to say.

Keys of members are of P-256 under every suite, because TLS libraries agree on nothing else; those
that sign time-stamp tokens are of the chain's suite, and an authority may have one of SM2. Times
are in ms (UTC) and arguments, as are serial numbers; X.509 keeps whole seconds, so the rest is cut
off.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Final, TypeAlias, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import (
    ExtendedKeyUsageOID,
    ExtensionOID,
    NameOID,
    PublicKeyAlgorithmOID,
)

from node.crypto.identity_name import encode_identity_name
from node.crypto.library_warnings import ignore_remarks
from node.crypto.signature import P256PublicKey, P256Signer, PublicKey, Signer
from node.crypto.sm2 import Sm2Signer
from node.crypto.sm2_certificate import (
    CertificateFields,
    encode_certificate,
    encode_request,
    read_sm2_key,
)
from node.errors import CryptoError
from node.limits import CERTIFICATE_BYTES_MAX

LOOPBACK_HOSTS: Final = ("localhost", "127.0.0.1", "::1")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PEM_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"
_DNS_NAME: Final = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*")
_UNDERSTOOD: Final = (
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
)

_KEYS: Final = (
    PublicKeyAlgorithmOID.EC_PUBLIC_KEY,
    PublicKeyAlgorithmOID.RSAES_PKCS1_v1_5,
    PublicKeyAlgorithmOID.RSASSA_PSS,
    PublicKeyAlgorithmOID.ED25519,
)

_Extension: TypeAlias = tuple[x509.ExtensionType, bool]  # and whether it is critical
_Kind = TypeVar("_Kind", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuance:
    """What an authority decides for one certificate: its serial number and its validity.

    `serial_number` is one the authority never used before (`keystore.new_serial_number`). Validity
    includes both times; usual are ten years for an authority and two for a member.
    """

    serial_number: int
    not_before_ms: int
    not_after_ms: int


@dataclass(frozen=True, slots=True)
class Authority:
    """An organisation's authority, able to issue: its certificate (PEM or DER) and its key."""

    certificate: bytes
    signer: Signer


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Whom a certificate is for. `public_key` is the encoding of a P-256 key, 33 bytes."""

    identity_id: str
    role: str
    public_key: bytes


# --- Building. Every function returns DER; `encode_pem` gives the form of files and of TLS. ---


def build_authority_certificate(signer: Signer, organisation: str, issuance: Issuance) -> bytes:
    """Build the self-signed certificate of the authority of `organisation` (1-64 characters)."""
    extensions: list[_Extension] = [
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (_usage(authority=True), True),
    ]
    try:
        name = _name(organisation, organisation)
        key = signer.public_key
        return _issue(signer, issuance, extensions, subject=name, public_key=key, issuer=name)
    except (ValueError, OverflowError) as error:
        raise CryptoError(f"authority certificate of {organisation!r:.80}: {error}") from error


def build_node_certificate(
    authority: Authority, member: Member, issuance: Issuance, *, hosts: Sequence[str]
) -> bytes:
    """Build the certificate a node shows as TLS server and as client of its peers.

    `hosts` are the DNS names and IP addresses (v4 or v6) by which others reach the node;
    `LOOPBACK_HOSTS` are those by which programs of the same machine do.
    """
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    return _build_member_certificate(authority, member, issuance, usages, hosts)


def build_node_request(
    signer: Signer, node_id: str, organisation: str, *, hosts: Sequence[str]
) -> bytes:
    """Build a request (PKCS #10, PEM) for the certificate that `build_node_certificate` builds.

    For authorities whose keys are elsewhere: whoever has them issues what is asked for, all
    extensions as they are. `signer` is the node's P-256 key.
    """
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    extensions = _member_extensions("validator", node_id, usages, hosts)
    return _build_request(signer, node_id, organisation, extensions)


def _build_request(
    signer: Signer, node_id: str, organisation: str, extensions: Sequence[_Extension]
) -> bytes:
    if not isinstance(signer, P256Signer | Sm2Signer):
        raise CryptoError("node: expected a key of P-256 or SM2 held in memory")
    try:
        name = _name(organisation, node_id)
        if isinstance(signer, Sm2Signer):
            encoded = encode_request(signer, name.public_bytes(), extensions)
            return x509.load_der_x509_csr(encoded).public_bytes(Encoding.PEM)
        builder = x509.CertificateSigningRequestBuilder().subject_name(name)
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
    except (ValueError, OverflowError) as error:
        raise CryptoError(f"request of {node_id!r:.80}: {error}") from error
    request = builder.sign(signer.private_key, hashes.SHA256(), ecdsa_deterministic=True)
    return request.public_bytes(Encoding.PEM)


def build_identity_certificate(authority: Authority, member: Member, issuance: Issuance) -> bytes:
    """Build the certificate of an agency, auditor or operator: TLS client and signatures."""
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    return _build_member_certificate(authority, member, issuance, usages, ())


def build_timestamp_certificate(
    authority: Authority, node_id: str, public_key: bytes | PublicKey, issuance: Issuance
) -> bytes:
    """Build the certificate of the key that signs a node's time-stamp tokens.

    Given as 33 bytes it is one of P-256; given as such, of P-256 or SM2.

    RFC 3161 section 2.3: it is for time stamps, critically so, and for nothing else. Usual are five
    years: a token says when it was made by a time within them.
    """
    issuer = _load_issuer(authority)
    try:
        return _issue(
            authority.signer,
            issuance,
            _TIMESTAMP_EXTENSIONS,
            subject=_name(_organisation(issuer), node_id),
            public_key=public_key,
            issuer=issuer.subject,
        )
    except (ValueError, OverflowError) as error:
        raise CryptoError(f"time-stamp certificate of {node_id!r:.80}: {error}") from error


def build_timestamp_request(signer: Signer, node_id: str, organisation: str) -> bytes:
    """Build a request (PKCS #10, PEM) for what `build_timestamp_certificate` builds."""
    return _build_request(signer, node_id, organisation, _TIMESTAMP_EXTENSIONS)


def is_dns_name(text: str) -> bool:
    """Whether a certificate can hold a text as a DNS name."""
    return _DNS_NAME.fullmatch(text) is not None


def encode_pem(certificate: bytes) -> bytes:
    """Return the PEM form of one certificate given as PEM or DER."""
    return load_certificate(certificate).public_bytes(Encoding.PEM)


def split_pem(certificates: bytes) -> list[bytes]:
    """Return the certificates of a PEM file, each in PEM form; raises `CryptoError` for none."""
    head, *found = certificates.split(_PEM_BEGIN)
    if not found or head.strip():
        raise CryptoError("certificates: expected PEM and nothing before it")
    return [encode_pem(_PEM_BEGIN + each) for each in found]


def encode_der(certificate: bytes) -> bytes:
    """Return the DER form of one certificate given as PEM or DER: the one that is hashed."""
    return load_certificate(certificate).public_bytes(Encoding.DER)


def _build_member_certificate(
    authority: Authority,
    member: Member,
    issuance: Issuance,
    extended_usages: Sequence[x509.ObjectIdentifier],
    hosts: Sequence[str],
) -> bytes:
    issuer = _load_issuer(authority)
    try:
        return _issue(
            authority.signer,
            issuance,
            _member_extensions(member.role, member.identity_id, extended_usages, hosts),
            subject=_name(_organisation(issuer), member.identity_id),
            public_key=member.public_key,
            issuer=issuer.subject,
        )
    except (ValueError, OverflowError) as error:
        raise CryptoError(f"certificate of {member.identity_id!r:.80}: {error}") from error


def _load_issuer(authority: Authority) -> x509.Certificate:
    issuer = load_certificate(authority.certificate)
    key = read_sm2_key(issuer) or _public_key(issuer)
    if key.encoded != authority.signer.public_key.encoded:
        raise CryptoError("authority: its key is not the one its certificate names")
    return issuer


def _member_extensions(
    role: str,
    identity_id: str,
    extended_usages: Sequence[x509.ObjectIdentifier],
    hosts: Sequence[str],
) -> list[_Extension]:
    uri = x509.UniformResourceIdentifier(encode_identity_name(role, identity_id))
    return [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage(authority=False), True),
        (x509.ExtendedKeyUsage(extended_usages), False),
        (x509.SubjectAlternativeName([uri, *map(_host_name, hosts)]), False),
    ]


def _issue(
    signer: Signer,
    issuance: Issuance,
    extensions: Sequence[_Extension],
    *,
    subject: x509.Name,
    public_key: bytes | PublicKey,
    issuer: x509.Name,
) -> bytes:
    if not isinstance(signer, P256Signer | Sm2Signer):
        raise CryptoError("authority: expected a key of P-256 or SM2 held in memory")
    if isinstance(public_key, bytes):
        public_key = P256PublicKey.decode(public_key)
    if not (isinstance(public_key, P256PublicKey) and isinstance(signer, P256Signer)):
        return _issue_by_sm2(
            signer, issuance, extensions, subject=subject, public_key=public_key, issuer=issuer
        )
    subject_key = public_key.library_key
    issuer_key = signer.public_key.library_key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(subject_key)
        .serial_number(issuance.serial_number)
        .not_valid_before(_datetime(issuance.not_before_ms))
        .not_valid_after(_datetime(issuance.not_after_ms))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(subject_key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False
        )
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    certificate = builder.sign(signer.private_key, hashes.SHA256(), ecdsa_deterministic=True)
    return certificate.public_bytes(Encoding.DER)


def _issue_by_sm2(
    signer: Signer,
    issuance: Issuance,
    extensions: Sequence[_Extension],
    *,
    subject: x509.Name,
    public_key: PublicKey,
    issuer: x509.Name,
) -> bytes:
    """Build a certificate whose issuer or subject has a key of SM2."""
    fields = CertificateFields(
        serial_number=issuance.serial_number,
        issuer=issuer.public_bytes(),
        subject=subject.public_bytes(),
        not_before_ms=issuance.not_before_ms,
        not_after_ms=issuance.not_after_ms,
        key=public_key,
        extensions=extensions,
    )
    return encode_certificate(fields, signer)


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


_TIMESTAMP_EXTENSIONS: Final[Sequence[_Extension]] = (
    (_usage(authority=False), True),
    (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), True),
)


def _name(organisation: str, common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        if not is_dns_name(host):
            raise CryptoError(f"host: expected a DNS name or an IP address, got {host!r}") from None
        return x509.DNSName(host)


# --- Reading and checking. ---


def load_certificate(data: bytes) -> x509.Certificate:
    """Return the one certificate in PEM or DER, or raise `CryptoError`.

    It is not read through yet: names, extensions and key may still turn out to be malformed.
    """
    if len(data) > CERTIFICATE_BYTES_MAX:
        got = f"at most {CERTIFICATE_BYTES_MAX} bytes, got {len(data)}"
        raise CryptoError(f"certificate: expected {got}")
    if data.count(_PEM_BEGIN) > 1:
        raise CryptoError("certificate: expected one, got a chain")
    ignore_remarks()
    is_pem = _PEM_BEGIN in data
    load = x509.load_pem_x509_certificate if is_pem else x509.load_der_x509_certificate
    try:
        loaded = load(data)
        serial_number = loaded.serial_number
    except (ValueError, x509.InvalidVersion) as error:
        raise CryptoError("certificate: expected X.509 in PEM or DER form") from error
    if serial_number <= 0:  # RFC 5280 section 4.1.2.2
        raise CryptoError("certificate: expected a positive serial number")
    return loaded


def certificate_extensions(certificate: x509.Certificate) -> x509.Extensions:
    """Return its extensions; raise `CryptoError` if one is malformed, or critical and unknown."""
    ignore_remarks()
    try:
        extensions = certificate.extensions
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise CryptoError("certificate: malformed extensions") from error
    for extension in extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            oid = extension.oid.dotted_string
            raise CryptoError(f"certificate: critical extension {oid} is not understood")
    return extensions


def certificate_extension(extensions: x509.Extensions, kind: type[_Kind]) -> _Kind | None:
    """Return the extension of this kind, or None."""
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def certificate_key(certificate: x509.Certificate) -> CertificatePublicKeyTypes:
    """Return its key; raises `ValueError`, or `UnsupportedAlgorithm` for one that is never used.

    The library is not even given such: to read a Diffie-Hellman key it looks for factors of a
    modulus that whoever made the certificate chose, which may take it minutes.
    """
    if not has_usable_key(certificate):
        raise UnsupportedAlgorithm("certificate: expected a key of ECDSA, RSA or Ed25519")
    ignore_remarks()
    return certificate.public_key()


def has_usable_key(certificate: x509.Certificate) -> bool:
    """Tell whether its key is of a kind that signs anything here, by what it is said to be."""
    return certificate.public_key_algorithm_oid in _KEYS


def _public_key(certificate: x509.Certificate) -> P256PublicKey:
    try:
        key = certificate_key(certificate)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CryptoError("certificate: expected a P-256 key, got an unknown one") from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise CryptoError(f"certificate: expected a P-256 key, got {type(key).__name__}")
    return P256PublicKey.wrap(key)


def _organisation(certificate: x509.Certificate) -> str:
    ignore_remarks()
    try:
        names = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    except ValueError as error:
        raise CryptoError("certificate: malformed subject") from error
    if len(names) != 1:
        raise CryptoError(f"certificate: expected one organisation, got {len(names)}")
    return str(names[0].value)


def _datetime(time_ms: int) -> datetime:
    return _EPOCH + timedelta(seconds=time_ms // 1000)


def milliseconds_of(moment: datetime) -> int:
    """Return a time (UTC) in ms."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)
