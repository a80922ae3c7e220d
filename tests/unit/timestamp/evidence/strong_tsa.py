"""A time-stamping authority that rests on Ed25519 and SHA-512 alone: for the day SHA-256 breaks."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from asn1crypto import tsp
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from node.timestamp.tokens.request import Imprint
from tests.unit.timestamp.reference_token import (
    Forgery,
    PrivateKey,
    Tree,
    attribute,
    digest_algorithm,
)
from tests.vectors.receipt.chain import seed

ROOT_KEY = Ed25519PrivateKey.from_private_bytes(seed("strong root"))
KEY = Ed25519PrivateKey.from_private_bytes(seed("strong tsa"))


def _certificate(name: str, key: PrivateKey, extensions: list[tuple[Tree, bool]]) -> bytes:
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "strong root")]))
        .public_key(key.public_key())
        .serial_number(1 + len(name))
        .not_valid_before(datetime(2025, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2045, 1, 1, tzinfo=UTC))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(ROOT_KEY, None).public_bytes(Encoding.DER)


ROOT = _certificate(
    "strong root", ROOT_KEY, [(x509.BasicConstraints(ca=True, path_length=0), True)]
)


def leaf_of(key: PrivateKey) -> bytes:
    """Return the certificate by which the root, by Ed25519, vouches for a key."""
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
    return _certificate("strong tsa", key, [(purpose, True)])


LEAF = leaf_of(KEY)


def token_of(
    imprint: Imprint,
    time_ms: int,
    *,
    key: PrivateKey = KEY,
    leaf: bytes = LEAF,
    digest: str = "sha512",
) -> bytes:
    """Return a token in which nothing rests on SHA-256, unless told otherwise."""

    def change(info: Tree) -> None:
        info["gen_time"] = datetime.fromtimestamp(time_ms // 1_000, UTC)
        info["message_imprint"] = {
            "hash_algorithm": digest_algorithm(imprint.algorithm.name.replace("-", "")),
            "hashed_message": imprint.digest,
        }

    named = {
        "hash_algorithm": digest_algorithm("sha512"),
        "cert_hash": hashlib.sha512(leaf).digest(),
    }
    certificates = tsp.SigningCertificateV2({"certs": [named]})
    return Forgery(
        key=key,
        digest=digest,
        leaf=leaf,
        info=change,
        signing_certificate=attribute("signing_certificate_v2", certificates),
    ).token()
