"""AES-256-GCM against Wycheproof, restricted to the sizes of our format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from node.crypto.aead import AEAD_KEY_BYTES, AEAD_NONCE_BYTES, AEAD_TAG_BYTES, seal, unseal
from node.errors import CryptoError


def test_wycheproof(read_vectors: Callable[[str], Any]) -> None:
    """Cases of our sizes run as published; those of every other key or nonce size are refused."""
    vectors = read_vectors("wycheproof/aes_gcm_test.json")
    ours = others = 0
    for group in vectors["testGroups"]:
        sizes = (group["keySize"] // 8, group["ivSize"] // 8, group["tagSize"] // 8)
        is_ours = sizes == (AEAD_KEY_BYTES, AEAD_NONCE_BYTES, AEAD_TAG_BYTES)
        for case in group["tests"]:
            names = ("key", "iv", "msg", "aad", "ct", "tag")
            key, nonce, message, context, body, tag = (bytes.fromhex(case[n]) for n in names)
            if is_ours and case["result"] == "valid":
                assert seal(key, nonce, message, context) == body + tag, case["tcId"]
                assert unseal(key, nonce, body + tag, context) == message, case["tcId"]
            else:
                with pytest.raises(CryptoError):
                    unseal(key, nonce, body + tag, context)
            ours += is_ours
            others += not is_ours
    assert ours + others == vectors["numberOfTests"]
    assert ours > 50


def test_any_change_is_noticed() -> None:
    key, nonce = bytes(32), bytes(12)
    sealed = seal(key, nonce, b"secret", b"context")
    assert unseal(key, nonce, sealed, b"context") == b"secret"
    for index in range(len(sealed)):
        altered = sealed[:index] + bytes([sealed[index] ^ 1]) + sealed[index + 1 :]
        with pytest.raises(CryptoError, match="does not open"):
            unseal(key, nonce, altered, b"context")
    for other in (
        (b"\x01" * 32, nonce, sealed, b"context"),
        (key, b"\x01" * 12, sealed, b"context"),
        (key, nonce, sealed, b"other"),
        (key, nonce, sealed[:-1], b"context"),
        (key, nonce, b"", b"context"),
    ):
        with pytest.raises(CryptoError, match="does not open"):
            unseal(*other)


@pytest.mark.parametrize(("key_bytes", "nonce_bytes"), [(16, 12), (24, 12), (32, 16), (32, 8)])
def test_other_sizes_are_refused(key_bytes: int, nonce_bytes: int) -> None:
    with pytest.raises(CryptoError, match=f"got {key_bytes} and {nonce_bytes}"):
        seal(bytes(key_bytes), bytes(nonce_bytes), b"", b"")
