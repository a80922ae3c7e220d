"""The table of algorithm suites, fixed per chain at genesis, and of document digests.

Nothing outside this package names an algorithm: other rooms hold a `Suite` and a `DocumentDigest`.
The suites here are the only ones a chain can be founded on; a further one is a further row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from node.crypto.aead import AES_256_GCM, SM4_GCM, Aead
from node.crypto.certificate_algorithms import P256, P384, RSA, SM2
from node.crypto.hashing import HashFunction, NewHash, new_sm3
from node.crypto.keyed_hash import KEYED_SHA_256, KEYED_SM3, KeyedHash
from node.crypto.signature import (
    P256_SIGNATURE_BYTES,
    Ed25519PublicKey,
    P256PublicKey,
    P256Signer,
    PublicKey,
    SoftwareSigner,
)
from node.crypto.sm2 import Sm2PublicKey, Sm2Signer
from node.crypto.sm2_library import SM2_SIGNATURE_BYTES
from node.errors import CryptoError

K = TypeVar("K", int, str)
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class DocumentDigest:
    """An algorithm by which a record may name a document. `size` is in bytes.

    `oid` names it where the world uses ASN.1, as in time-stamp requests. Independent of the suite:
    a chain of either suite takes records with any of these.
    """

    digest_id: int
    name: str
    size: int
    new_hash: NewHash
    oid: str


SHA_256: Final = DocumentDigest(1, "sha-256", 32, hashlib.sha256, "2.16.840.1.101.3.4.2.1")
SM3: Final = DocumentDigest(2, "sm3", 32, new_sm3, "1.2.156.10197.1.401")
SHA_384: Final = DocumentDigest(3, "sha-384", 48, hashlib.sha384, "2.16.840.1.101.3.4.2.2")
SHA_512: Final = DocumentDigest(4, "sha-512", 64, hashlib.sha512, "2.16.840.1.101.3.4.2.3")


@dataclass(frozen=True, slots=True)
class Suite:
    """The algorithms of one chain. Sizes are in bytes.

    `new_hash` starts a streaming hash, `hash` is that of whole messages. `load_public_key` decodes
    the key of a vote or transaction, `load_cosignature_key` that of a checkpoint cosignature; both
    raise `CryptoError`.
    `signer_type` is what the key store makes and loads for votes and transactions.
    `aead` encrypts what is kept secret, `keyed_hash` authenticates and derives keys by `new_hash`.
    `document_digest` is how documents are hashed for its records, unless somebody says otherwise.
    `has_public_forms` tells whether hash and signature are those that the public forms of a log
    prescribe (C2SP tlog-tiles and RFC 9942: SHA-256, ECDSA on P-256): else it has none of them.
    `authority_keys` names, as X.509 does, of which kinds the keys of organisations' authorities may
    be: TLS takes all but SM2. Those of members are of P-256 under every suite.
    """

    suite_id: int
    name: str
    digest_size: int
    signature_size: int
    new_hash: NewHash
    load_public_key: Callable[[bytes], PublicKey]
    load_cosignature_key: Callable[[bytes], PublicKey]
    signer_type: type[SoftwareSigner]
    aead: Aead
    keyed_hash: KeyedHash
    document_digest: DocumentDigest
    has_public_forms: bool
    authority_keys: tuple[str, ...]
    hash: HashFunction = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hash", HashFunction(self.new_hash))

    def tagged_hash(self, tag: bytes, data: bytes) -> bytes:
        """Return the digest of tag, NUL, data, where `tag` is one of `node.crypto.domains`."""
        return self.new_hash(tag + b"\x00" + data).digest()


INTERNATIONAL: Final = Suite(
    suite_id=1,
    name="international",
    digest_size=32,
    signature_size=P256_SIGNATURE_BYTES,
    new_hash=hashlib.sha256,
    load_public_key=P256PublicKey.decode,
    load_cosignature_key=Ed25519PublicKey.decode,
    signer_type=P256Signer,
    aead=AES_256_GCM,
    keyed_hash=KEYED_SHA_256,
    document_digest=SHA_256,
    has_public_forms=True,
    authority_keys=(P256.name, P384.name, RSA.name),
)

NATIONAL: Final = Suite(
    suite_id=2,
    name="national",
    digest_size=32,
    signature_size=SM2_SIGNATURE_BYTES,
    new_hash=new_sm3,
    load_public_key=Sm2PublicKey.decode,
    load_cosignature_key=Ed25519PublicKey.decode,
    signer_type=Sm2Signer,
    aead=SM4_GCM,
    keyed_hash=KEYED_SM3,
    document_digest=SM3,
    has_public_forms=False,
    authority_keys=(P256.name, P384.name, RSA.name, SM2.name),
)

SUITES: Final = (INTERNATIONAL, NATIONAL)


def suite_by_id(suite_id: int) -> Suite:
    """Return the suite with this number, or raise `CryptoError`."""
    return _row({suite.suite_id: suite for suite in SUITES}, suite_id, "suite")


def suite_by_name(name: str) -> Suite:
    """Return the suite with this name, or raise `CryptoError`."""
    return _row({suite.name: suite for suite in SUITES}, name, "suite")


DOCUMENT_DIGESTS: Final = (SHA_256, SM3, SHA_384, SHA_512)


def document_digest_by_id(digest_id: int) -> DocumentDigest:
    """Return the document digest with this number, or raise `CryptoError`."""
    table = {digest.digest_id: digest for digest in DOCUMENT_DIGESTS}
    return _row(table, digest_id, "digest algorithm")


def document_digest_by_name(name: str) -> DocumentDigest:
    """Return the document digest with this name, or raise `CryptoError`."""
    table = {digest.name: digest for digest in DOCUMENT_DIGESTS}
    return _row(table, name, "digest algorithm")


def _row(table: Mapping[K, V], key: K, what: str) -> V:
    if key not in table:
        raise CryptoError(f"{what}: expected one of {list(table)}, got {key!r:.40}")
    return table[key]
