"""Tokens built another way: trees of asn1crypto objects, of which anything may be changed.

The oracle of our own splicing, and the forger of what a strict verifier has to refuse.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as tree
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from node.crypto import der
from node.crypto.signature import P256PublicKey, P256Signer
from node.timestamp.tokens.issuing import POLICY
from tests.unit.timestamp.authority import COORDINATES, DOCUMENT, TIME_MS, TSA, TSA_KEY
from tests.vectors.receipt.chain import CREATED_MS, signer

Tree: TypeAlias = Any  # asn1crypto has no types
PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

TIME_STAMPING: Final = ExtendedKeyUsageOID.TIME_STAMPING
USAGES: Final = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
HASHES: Final = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
ESS_2: Final = "signing_certificate_v2"
_CREATED: Final = datetime.fromtimestamp(CREATED_MS // 1_000, UTC)
_YEARS: Final = timedelta(days=3_650)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pss:
    """What of PSS differs from the usual: hash, mask and salt by the signer's digest."""

    mask_digest: str | None = None
    salt_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgery:
    """What a token is made of. The usual one is byte for byte that of `authority.ISSUER`."""

    key: PrivateKey = TSA_KEY.private_key
    digest: str = "sha256"
    pss: Pss | None = None
    """For RSA: sign by PSS instead of PKCS #1 v1.5."""
    leaf: bytes = TSA
    certificates: Sequence[bytes] | None = None
    """Those in the token; the leaf alone unless given."""
    info: Callable[[Tree], None] = lambda _info: None
    """Changes the fields of TSTInfo."""
    content_type: str = "tst_info"
    signing_certificate: Tree | None = None
    """Replaces the usual attribute."""
    has_signing_certificate: bool = True
    is_ordered: bool = True
    signed_over: bytes | None = None
    """What the message digest is of, if not TSTInfo."""
    more_attributes: Sequence[Tree] = ()
    sid: Tree | None = None
    signers: int = 1
    unsigned: Sequence[Tree] = ()

    def token(self) -> bytes:
        """Return the DER of the TimeStampToken."""
        info = tst_info()
        self.info(info)
        encoded = info.dump()
        attributes = self._attributes(encoded)
        signed = der.encode(der.SET, b"".join(attributes))
        loaded = tree.Certificate.load(self.leaf)
        sid = self.sid or cms.SignerIdentifier(
            "issuer_and_serial_number",
            cms.IssuerAndSerialNumber(
                {"issuer": loaded.issuer, "serial_number": loaded.serial_number}
            ),
        )
        fields: dict[str, Tree] = {
            "version": "v1" if self.sid is None else "v3",
            "sid": sid,
            "digest_algorithm": digest_algorithm(self.digest),
            "signature_algorithm": self._algorithm(),
            "signature": self._sign(signed),
        }
        if self.unsigned:
            fields["unsigned_attrs"] = cms.CMSAttributes(list(self.unsigned))
        signer_info = cms.SignerInfo(fields)
        signer_info["signed_attrs"] = cms.CMSAttributes.load(signed)
        held = [self.leaf] if self.certificates is None else self.certificates
        data = cms.SignedData(
            {
                "version": "v3",
                "digest_algorithms": [digest_algorithm(self.digest)],
                "encap_content_info": {
                    "content_type": "tst_info",
                    "content": core.ParsableOctetString(encoded),
                },
                "signer_infos": [signer_info] * self.signers,
            }
        )
        if held:
            data["certificates"] = [
                cms.CertificateChoices("certificate", tree.Certificate.load(one)) for one in held
            ]
        token = cms.ContentInfo({"content_type": "signed_data", "content": data})
        return bytes(token.dump())

    def _attributes(self, info: bytes) -> list[bytes]:
        digest = hashlib.new(self.digest, info if self.signed_over is None else self.signed_over)
        made = [
            attribute("content_type", self.content_type),
            attribute("message_digest", digest.digest()),
            *self.more_attributes,
        ]
        if self.has_signing_certificate:
            made.append(self.signing_certificate or ess_2(self.leaf))
        encoded = [bytes(each.dump()) for each in made]
        return sorted(encoded) if self.is_ordered else sorted(encoded, reverse=True)

    def _algorithm(self) -> Tree:
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return algos.SignedDigestAlgorithm({"algorithm": "ed25519"})
        if self.pss is not None:
            mask_digest = self.pss.mask_digest or self.digest
            parameters = algos.RSASSAPSSParams(
                {
                    "hash_algorithm": {"algorithm": self.digest},
                    "mask_gen_algorithm": {
                        "algorithm": "mgf1",
                        "parameters": algos.DigestAlgorithm({"algorithm": mask_digest}),
                    },
                    "salt_length": self._salt_bytes(self.pss),
                }
            )
            return algos.SignedDigestAlgorithm(
                {"algorithm": "rsassa_pss", "parameters": parameters}
            )
        if isinstance(self.key, rsa.RSAPrivateKey):
            return algos.SignedDigestAlgorithm({"algorithm": f"{self.digest}_rsa"})
        return algos.SignedDigestAlgorithm({"algorithm": f"{self.digest}_ecdsa"})

    def _salt_bytes(self, pss: Pss) -> int:
        usual = hashlib.new(self.digest).digest_size
        return usual if pss.salt_bytes is None else pss.salt_bytes

    def _sign(self, message: bytes) -> bytes:
        algorithm = HASHES[self.digest]
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return self.key.sign(message)
        if isinstance(self.key, rsa.RSAPrivateKey) and self.pss is not None:
            mask = padding.MGF1(HASHES[self.pss.mask_digest or self.digest])
            return self.key.sign(message, padding.PSS(mask, self._salt_bytes(self.pss)), algorithm)
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(message, padding.PKCS1v15(), algorithm)
        if self.key is TSA_KEY.private_key:
            return low_s(self.key, message)
        return self.key.sign(message, ec.ECDSA(algorithm))


def low_s(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    """Return the DER of the signature that our signer makes."""
    made = P256Signer(P256PublicKey.wrap(key.public_key()), key).sign(message)
    return encode_dss_signature(int.from_bytes(made[:32], "big"), int.from_bytes(made[32:], "big"))


def tst_info(digest: str = "sha256", time_ms: int = TIME_MS, accuracy_ms: int = 1_000) -> Tree:
    """Return the TSTInfo of the usual token."""
    accuracy: dict[str, int] = {}
    if accuracy_ms >= 1_000:
        accuracy["seconds"] = accuracy_ms // 1_000
    if accuracy_ms % 1_000:
        accuracy["millis"] = accuracy_ms % 1_000
    return tsp.TSTInfo(
        {
            "version": "v1",
            "policy": POLICY,
            "message_imprint": {
                "hash_algorithm": digest_algorithm(digest),
                "hashed_message": hashlib.new(digest, DOCUMENT).digest(),
            },
            "serial_number": COORDINATES.serial_number,
            "gen_time": datetime.fromtimestamp(time_ms // 1_000, UTC)
            + timedelta(milliseconds=time_ms % 1_000),
            "accuracy": accuracy,
        }
    )


def digest_algorithm(name: str) -> Tree:
    """Return an AlgorithmIdentifier without parameters (RFC 5754), where asn1crypto puts NULL."""
    made = algos.DigestAlgorithm({"algorithm": name})
    del made["parameters"]
    return made


def attribute(name: str, value: Tree) -> Tree:
    """Return an attribute of one value."""
    return cms.CMSAttribute({"type": name, "values": [value]})


def ess_2(*certificates: bytes) -> Tree:
    """Return the attribute of RFC 5816 that names these certificates."""
    named = [{"cert_hash": hashlib.sha256(one).digest()} for one in certificates]
    return attribute(ESS_2, tsp.SigningCertificateV2({"certs": named}))


def ess_1(*certificates: bytes) -> Tree:
    """Return the attribute of RFC 2634, by SHA-1."""
    named = [{"cert_hash": hashlib.sha1(one).digest()} for one in certificates]
    return attribute("signing_certificate", tsp.SigningCertificate({"certs": named}))


def certificate_of(  # noqa: PLR0913 - what differs between certificates
    key: PrivateKey,
    *,
    purposes: Sequence[x509.ObjectIdentifier] = (TIME_STAMPING,),
    is_critical: bool = True,
    more_usage: str | None = None,
    issuer: tuple[str, ec.EllipticCurvePrivateKey] | None = None,
    name: str = "validator-1",
    is_authority: bool = False,
    path_length: int = 0,
    issues_for: Sequence[x509.ObjectIdentifier] = (),
    not_before: datetime = _CREATED,
    not_after: datetime = _CREATED + _YEARS,
) -> bytes:
    """Return a certificate by `issuer`: the root of `authority.ROOT` unless told otherwise."""
    issuer_name, issuer_key = issuer or ("org-1", signer("org-1 authority").private_key)
    usage = dict.fromkeys(USAGES, False)
    usage["key_cert_sign" if is_authority else "digital_signature"] = True
    if more_usage is not None:
        usage[more_usage] = True
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer_name))
        .public_key(key.public_key())
        .serial_number(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big"))
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.KeyUsage(**usage), critical=True)
    )
    if is_authority:
        builder = builder.add_extension(
            x509.BasicConstraints(ca=True, path_length=path_length), critical=True
        )
        if issues_for:
            builder = builder.add_extension(x509.ExtendedKeyUsage(issues_for), critical=False)
    elif purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=is_critical)
    made = builder.sign(issuer_key, hashes.SHA256())
    return made.public_bytes(Encoding.DER)


def _name(text: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "org-1"),
            x509.NameAttribute(NameOID.COMMON_NAME, text),
        ]
    )
