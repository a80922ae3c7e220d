"""The tables of suites and document digests, against published digests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from node.crypto import domains
from node.crypto.signature import Ed25519Signer
from node.crypto.suite import (
    DOCUMENT_DIGESTS,
    SUITES,
    Suite,
    document_digest_by_id,
    document_digest_by_name,
    suite_by_id,
    suite_by_name,
)
from node.errors import CryptoError

# FIPS 180-4 example "abc", and GB/T 32905 example 1, the same message.
SHA_256_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
SM3_ABC = "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"


def test_suites_are_found_by_their_own_id_and_name() -> None:
    rows = [(suite.suite_id, suite.name) for suite in SUITES]
    assert rows == [(1, "international"), (2, "national")]
    for suite in SUITES:
        assert suite_by_id(suite.suite_id) is suite
        assert suite_by_name(suite.name) is suite


def test_digests_are_found_by_their_own_id_and_name() -> None:
    rows = [(digest.digest_id, digest.name, digest.size) for digest in DOCUMENT_DIGESTS]
    assert rows == [(1, "sha-256", 32), (2, "sm3", 32), (3, "sha-384", 48), (4, "sha-512", 64)]
    for digest in DOCUMENT_DIGESTS:
        assert document_digest_by_id(digest.digest_id) is digest
        assert document_digest_by_name(digest.name) is digest


def test_unknown_rows_are_refused_naming_the_known_ones() -> None:
    with pytest.raises(CryptoError, match=r"expected one of \[1, 2\], got 9"):
        suite_by_id(9)
    with pytest.raises(CryptoError, match=r"expected one of .*'national'\], got 'x'"):
        suite_by_name("x")
    with pytest.raises(CryptoError, match=r"expected one of \[1, 2, 3, 4\], got 0"):
        document_digest_by_id(0)
    with pytest.raises(CryptoError, match=r"expected one of \['sha-256', 'sm3', .*\], got 'md5'"):
        document_digest_by_name("md5")


@pytest.mark.parametrize(
    ("name", "of_abc"), [("international", SHA_256_ABC), ("national", SM3_ABC)]
)
def test_a_suite_hashes_by_its_own_standard(name: str, of_abc: str) -> None:
    suite = suite_by_name(name)
    assert suite.hash(b"abc").hex() == of_abc
    assert suite.digest_size == len(suite.hash(b""))
    streamed = suite.new_hash(b"a")
    streamed.update(b"bc")
    assert streamed.digest().hex() == of_abc


def test_a_tagged_hash_is_the_hash_of_the_tagged_message() -> None:
    suite = suite_by_name("international")
    expected = suite.hash(domains.tagged(domains.HEADER, b"data"))
    assert suite.tagged_hash(domains.HEADER, b"data") == expected
    assert suite.tagged_hash(domains.VOTE, b"data") != expected


@pytest.mark.parametrize("suite", SUITES, ids=[suite.name for suite in SUITES])
def test_a_suite_loads_what_its_signers_sign_with(suite: Suite) -> None:
    signer = suite.signer_type.from_secret(bytes(31) + b"\x01")
    signature = signer.sign(b"message")
    assert len(signature) == suite.signature_size
    assert suite.load_public_key(signer.public_key.encoded).verify(b"message", signature)
    cosigner = Ed25519Signer.from_secret(bytes(32))
    key = suite.load_cosignature_key(cosigner.public_key.encoded)
    assert key.verify(b"message", cosigner.sign(b"message"))


@pytest.mark.parametrize(("name", "expected"), [("sha-256", SHA_256_ABC), ("sm3", SM3_ABC)])
def test_a_document_digest_streams(name: str, expected: str) -> None:
    digest = document_digest_by_name(name)
    hasher = digest.new_hash()
    hasher.update(b"ab")
    prefix = hasher.digest()
    hasher.update(b"c")
    assert hasher.digest().hex() == expected
    assert hasher.digest().hex() == expected, "reading the digest must not end the hash"
    assert prefix == digest.new_hash(b"ab").digest()
    assert len(prefix) == digest.size


def test_sm3_matches_the_national_standard(read_vectors: Callable[[str], Any]) -> None:
    sm3 = document_digest_by_name("sm3")
    cases = read_vectors("national/sm3.json")["cases"]
    assert cases
    for case in cases:
        message = bytes.fromhex(case["message_hex"])
        assert sm3.new_hash(message).digest() == bytes.fromhex(case["digest"])
