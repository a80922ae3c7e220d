"""Each suite's encryption against published vectors, restricted to the sizes of our format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from node.crypto.aead import AEAD_NONCE_BYTES, AEAD_TAG_BYTES, AES_256_GCM, SM4_GCM, Aead
from node.errors import CryptoError

BOTH = [AES_256_GCM, SM4_GCM]


@pytest.mark.parametrize(
    ("aead", "name", "ours_min"),
    [(AES_256_GCM, "aes_gcm_test.json", 50), (SM4_GCM, "sm4_gcm_test.json", 30)],
)
def test_wycheproof(
    read_vectors: Callable[[str], Any], aead: Aead, name: str, ours_min: int
) -> None:
    """Cases of our sizes run as published; those of every other key or nonce size are refused."""
    vectors = read_vectors(f"wycheproof/{name}")
    ours = others = 0
    for group in vectors["testGroups"]:
        sizes = (group["keySize"] // 8, group["ivSize"] // 8, group["tagSize"] // 8)
        is_ours = sizes == (aead.key_size, AEAD_NONCE_BYTES, AEAD_TAG_BYTES)
        for case in group["tests"]:
            names = ("key", "iv", "msg", "aad", "ct", "tag")
            key, nonce, message, context, body, tag = (bytes.fromhex(case[n]) for n in names)
            if is_ours and case["result"] == "valid":
                assert aead.seal(key, nonce, message, context) == body + tag, case["tcId"]
                assert aead.unseal(key, nonce, body + tag, context) == message, case["tcId"]
            else:
                with pytest.raises(CryptoError):
                    aead.unseal(key, nonce, body + tag, context)
            ours += is_ours
            others += not is_ours
    assert ours + others == vectors["numberOfTests"]
    assert ours > ours_min


def test_the_example_of_rfc_8998(read_vectors: Callable[[str], Any]) -> None:
    (example,) = read_vectors("national/sm4.json")["gcm"]
    names = ("key", "iv", "plaintext", "aad", "ciphertext", "tag")
    key, nonce, message, context, body, tag = (bytes.fromhex(example[name]) for name in names)
    assert SM4_GCM.seal(key, nonce, message, context) == body + tag
    assert SM4_GCM.unseal(key, nonce, body + tag, context) == message


@pytest.mark.parametrize("aead", BOTH)
def test_any_change_is_noticed(aead: Aead) -> None:
    key, nonce = bytes(aead.key_size), bytes(12)
    sealed = aead.seal(key, nonce, b"secret", b"context")
    assert aead.unseal(key, nonce, sealed, b"context") == b"secret"
    for index in range(len(sealed)):
        altered = sealed[:index] + bytes([sealed[index] ^ 1]) + sealed[index + 1 :]
        with pytest.raises(CryptoError, match="does not open"):
            aead.unseal(key, nonce, altered, b"context")
    for other in (
        (b"\x01" * aead.key_size, nonce, sealed, b"context"),
        (key, b"\x01" * 12, sealed, b"context"),
        (key, nonce, sealed, b"other"),
        (key, nonce, sealed[:-1], b"context"),
        (key, nonce, sealed[:8], b"context"),
        (key, nonce, b"", b"context"),
    ):
        with pytest.raises(CryptoError, match="does not open"):
            aead.unseal(*other)


@pytest.mark.parametrize(
    ("aead", "key_bytes", "nonce_bytes"),
    [
        (AES_256_GCM, 16, 12),
        (AES_256_GCM, 24, 12),
        (AES_256_GCM, 32, 16),
        (AES_256_GCM, 32, 8),
        (SM4_GCM, 32, 12),
        (SM4_GCM, 15, 12),
        (SM4_GCM, 16, 16),
    ],
)
def test_other_sizes_are_refused(aead: Aead, key_bytes: int, nonce_bytes: int) -> None:
    with pytest.raises(CryptoError, match=f"got {key_bytes} and {nonce_bytes}"):
        aead.seal(bytes(key_bytes), bytes(nonce_bytes), b"", b"")


def test_the_two_do_not_open_one_another() -> None:
    sealed = SM4_GCM.seal(bytes(16), bytes(12), b"secret", b"")
    assert sealed != AES_256_GCM.seal(bytes(32), bytes(12), b"secret", b"")
    with pytest.raises(CryptoError, match="does not open"):
        AES_256_GCM.unseal(bytes(32), bytes(12), sealed, b"")
