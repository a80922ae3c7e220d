"""A time-stamping authority that rests on Ed25519 and SHA-512 alone: for the day SHA-256 breaks."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from asn1crypto import tsp
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from node.timestamp.request import Imprint
from tests.unit.timestamp.reference_token import Forgery, Tree, attribute, digest_algorithm
from tests.vectors.receipt.chain import seed

ROOT_KEY = Ed25519PrivateKey.from_private_bytes(seed("strong root"))
KEY = Ed25519PrivateKey.from_private_bytes(seed("strong tsa"))


def _certificate(name: str, key: Ed25519PrivateKey, extensions: list[tuple[Tree, bool]]) -> bytes:
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
LEAF = _certificate(
    "strong tsa", KEY, [(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), True)]
)


def strong_token(imprint: Imprint, time_ms: int) -> bytes:
    """Return a token in which nothing rests on SHA-256, the name of its certificate included."""

    def change(info: Tree) -> None:
        info["gen_time"] = datetime.fromtimestamp(time_ms // 1_000, UTC)
        info["message_imprint"] = {
            "hash_algorithm": digest_algorithm(imprint.algorithm.name.replace("-", "")),
            "hashed_message": imprint.digest,
        }

    named = {
        "hash_algorithm": digest_algorithm("sha512"),
        "cert_hash": hashlib.sha512(LEAF).digest(),
    }
    certificates = tsp.SigningCertificateV2({"certs": [named]})
    return Forgery(
        key=KEY,
        digest="sha512",
        leaf=LEAF,
        info=change,
        signing_certificate=attribute("signing_certificate_v2", certificates),
    ).token()
