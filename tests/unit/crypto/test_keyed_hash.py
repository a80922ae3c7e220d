"""HMAC and HKDF against Wycheproof, and HKDF over SM3 against its definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from node.crypto.keyed_hash import KEYED_SHA_256, KEYED_SM3, KeyedHash

BOTH = [(KEYED_SHA_256, "hmac_sha256_test.json"), (KEYED_SM3, "hmac_sm3_test.json")]


@pytest.mark.parametrize(("keyed", "name"), BOTH)
def test_wycheproof_of_hmac(
    read_vectors: Callable[[str], Any], keyed: KeyedHash, name: str
) -> None:
    """Every case: codes that were cut short are compared with as much of the whole one."""
    vectors = read_vectors(f"wycheproof/{name}")
    seen = 0
    for group in vectors["testGroups"]:
        size = group["tagSize"] // 8
        for case in group["tests"]:
            key, message, code = (bytes.fromhex(case[part]) for part in ("key", "msg", "tag"))
            is_valid = case["result"] == "valid"
            whole = keyed.authenticate(key, message)
            assert (whole[:size] == code) is is_valid, case["tcId"]
            assert keyed.is_authentic(key, message, code) is (is_valid and size == len(whole))
            seen += 1
    assert seen == vectors["numberOfTests"]


def test_wycheproof_of_hkdf(read_vectors: Callable[[str], Any]) -> None:
    """All 86 cases; those that are invalid ask for more than 255 blocks."""
    vectors = read_vectors("wycheproof/hkdf_sha256_test.json")
    seen = 0
    for group in vectors["testGroups"]:
        for case in group["tests"]:
            secret, salt, info = (bytes.fromhex(case[name]) for name in ("ikm", "salt", "info"))
            try:
                made = KEYED_SHA_256.derive(secret, salt=salt, info=info, size=case["size"])
                derived = made.hex()
            except ValueError:
                derived = "refused"
            assert derived == (case["okm"] if case["result"] == "valid" else "refused")
            seen += 1
    assert seen == vectors["numberOfTests"]


@pytest.mark.parametrize("keyed", [KEYED_SHA_256, KEYED_SM3])
@pytest.mark.parametrize("size", [1, 16, 32, 33, 100, 255 * 32])
def test_keys_are_derived_as_rfc_5869_defines_it(keyed: KeyedHash, size: int) -> None:
    extracted = keyed.authenticate(b"salt", b"secret")
    block, expected = b"", b""
    for number in range(1, -(-size // 32) + 1):
        block = keyed.authenticate(extracted, block + b"info" + bytes((number,)))
        expected += block
    assert keyed.derive(b"secret", salt=b"salt", info=b"info", size=size) == expected[:size]
