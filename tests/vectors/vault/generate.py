"""Vectors of the vault, made by code that shares none with the product's envelopes.

    python -m tests.vectors.vault.generate

Chunks are sealed by the AEAD of `cryptography`, keys wrapped by pyhpke and by the slow SM2 of
the tests, each with a fixed ephemeral key; CBOR by cbor2, Merkle trees by recursion.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pyhpke import AEADId, CipherSuite, KDFId, KEMId, KEMKey, KEMKeyPair

from tests.unit.crypto import sm2_reference
from tests.vectors.writing import write_generated

FOLDER: Final = Path(__file__).parent
CHUNK_BYTES: Final = 1_048_576
_HPKE: Final = CipherSuite.new(KEMId.DHKEM_P256_HKDF_SHA256, KDFId.HKDF_SHA256, AEADId.AES256_GCM)
_SECRET: Final = int.from_bytes(hashlib.sha256(b"recipient").digest())
_EPHEMERAL: Final = int.from_bytes(hashlib.sha256(b"ephemeral").digest())


def content_of(size_bytes: int) -> bytes:
    """Return content by rule: SHA-256 of 0, 1, ... (8 bytes, big endian), joined and cut."""
    blocks = range(-(-size_bytes // 32))
    return b"".join(hashlib.sha256(n.to_bytes(8)).digest() for n in blocks)[:size_bytes]


def digest(suite: str, data: bytes) -> bytes:
    """Return the digest by the suite's hash."""
    return hashlib.new("sha256" if suite == "international" else "sm3", data).digest()


def seal(suite: str, key: bytes, nonce: bytes, data: bytes, associated: bytes) -> bytes:
    """Return ciphertext and tag by the suite's AEAD."""
    if suite == "international":
        return AESGCM(key).encrypt(nonce, data, associated)
    encryptor = Cipher(algorithms.SM4(key), modes.GCM(nonce)).encryptor()
    encryptor.authenticate_additional_data(associated)
    return encryptor.update(data) + encryptor.finalize() + encryptor.tag


def root_of(suite: str, leaves: list[bytes]) -> bytes:
    """Return the root over leaf hashes, as RFC 9162 section 2.1.1 defines it."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    return digest(suite, b"\x01" + root_of(suite, leaves[:split]) + root_of(suite, leaves[split:]))


def wrap(suite: str, secret: bytes, info: bytes) -> tuple[bytes, bytes]:
    """Return the recipient's public key, compressed, and what is wrapped for it."""
    if suite == "international":
        private, ephemeral = (
            ec.derive_private_key(scalar, ec.SECP256R1()) for scalar in (_SECRET, _EPHEMERAL)
        )
        public = private.public_key()
        numbers = public.public_numbers()
        enc, context = _HPKE.create_sender_context(
            KEMKey.from_pyca_cryptography_key(public), info=info, eks=_pair(ephemeral)
        )
        point, wrapped = (numbers.x, numbers.y), enc + context.seal(secret)
    else:
        found = sm2_reference.times(_SECRET, sm2_reference.G)
        assert found is not None
        point = found
        plain = digest(suite, info) + secret
        wrapped = sm2_reference.encrypt(point, plain, _EPHEMERAL)
    return bytes((2 + point[1] % 2,)) + point[0].to_bytes(32), wrapped


def made() -> Mapping[str, bytes]:
    """Return the files by name."""
    return {f"{suite}.json": _vector(suite) for suite in ("international", "national")}


def _vector(suite: str) -> bytes:
    chain_id, document_id = digest(suite, b"chain"), digest(suite, b"document")[:16]
    key = digest(suite, b"content key")[: 32 if suite == "international" else 16]
    info = b"govchain/v1/vault-wrap\x00" + cbor2.dumps([chain_id, document_id, 2, "机构-1", 3])
    name = "决定书.pdf"
    public_key, wrapped = wrap(suite, cbor2.dumps([1, key, name]), info)
    cases = []
    for size_bytes in (0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES + 7):
        content = content_of(size_bytes)
        count = max(1, -(-size_bytes // CHUNK_BYTES))
        associated = b"govchain/v1/vault-content\x00" + cbor2.dumps([chain_id, document_id, 2])
        ids = []
        for index in range(count):
            nonce = bytes(7) + index.to_bytes(4) + bytes((index == count - 1,))
            chunk = content[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES]
            ids.append(digest(suite, b"\x00" + seal(suite, key, nonce, chunk, associated)))
        cases.append(
            {
                "size_bytes": size_bytes,
                "chunk_ids": [each.hex() for each in ids],
                "root": root_of(suite, ids).hex(),
            }
        )
    vector = {
        "suite": suite,
        "chain_id": chain_id.hex(),
        "document_id": document_id.hex(),
        "version": 2,
        "recipient": "机构-1",
        "key_number": 3,
        "recipient_secret": _SECRET.to_bytes(32).hex(),
        "recipient_public_key": public_key.hex(),
        "wrapped_key": wrapped.hex(),
        "wrapped_key_digest": digest(suite, b"\x00" + wrapped).hex(),
        "content_key": key.hex(),
        "name": name,
        "contents": cases,
    }
    return (json.dumps(vector, ensure_ascii=False, indent=2) + "\n").encode()


def _pair(private: ec.EllipticCurvePrivateKey) -> KEMKeyPair:
    return KEMKeyPair(
        KEMKey.from_pyca_cryptography_key(private),
        KEMKey.from_pyca_cryptography_key(private.public_key()),
    )


if __name__ == "__main__":
    write_generated(FOLDER, made(), "*.json")
