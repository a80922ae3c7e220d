"""Chunks open where they stand and nowhere else; keys open for whom they were wrapped."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from pyhpke import AEADId, CipherSuite, KDFId, KEMId, KEMKey

from node.crypto.envelope import (
    CHUNK_BYTES,
    CHUNKS_MAX,
    WRAPPED_KEY_BYTES_MAX,
    ContentCipher,
    opener_of,
    wrap_key,
)
from node.crypto.signature import Ed25519Signer, P256Signer
from node.crypto.suite import INTERNATIONAL, NATIONAL, SUITES, Suite
from node.errors import CryptoError

ONE, OTHER = (hashlib.sha256(name).digest() for name in (b"one", b"other"))
INFO = b"what it opens"
by_suite = pytest.mark.parametrize("suite", SUITES, ids=[suite.name for suite in SUITES])


def cipher(suite: Suite, associated_data: bytes = b"document 1, version 1") -> ContentCipher:
    return ContentCipher(suite.aead, ONE[: suite.aead.key_size], associated_data)


@by_suite
def test_chunks_open_to_what_was_sealed_and_seal_to_the_same_again(suite: Suite) -> None:
    for index, chunk in enumerate([bytes(CHUNK_BYTES), b"", b"last"]):
        sealed = cipher(suite).seal(index, chunk, is_last=index == 2)
        assert len(sealed) == len(chunk) + 16
        assert cipher(suite).open(index, sealed, is_last=index == 2) == chunk
        assert cipher(suite).seal(index, chunk, is_last=index == 2) == sealed


@by_suite
def test_a_chunk_opens_at_its_place_of_its_content_alone(suite: Suite) -> None:
    sealed = cipher(suite).seal(3, b"content", is_last=False)
    other_key = replace(cipher(suite), key=OTHER[: suite.aead.key_size])
    other_version = cipher(suite, b"document 1, version 2")
    for opening, index, data, is_last in (
        (cipher(suite), 4, sealed, False),
        (cipher(suite), 3, sealed, True),
        (other_version, 3, sealed, False),
        (other_key, 3, sealed, False),
        (cipher(suite), 3, sealed[:-1], False),
        (cipher(suite), 3, b"", False),
    ):
        with pytest.raises(CryptoError, match=f"chunk {index}: does not open"):
            opening.open(index, data, is_last=is_last)


def test_chunks_are_bounded() -> None:
    for index, size in ((CHUNKS_MAX, 1), (-1, 1), (0, CHUNK_BYTES + 1)):
        with pytest.raises(CryptoError, match="expected at most"):
            cipher(INTERNATIONAL).seal(index, bytes(size), is_last=True)


@by_suite
def test_a_wrapped_key_opens_for_its_recipient_in_its_context_alone(suite: Suite) -> None:
    mine, others = (suite.signer_type.from_secret(secret) for secret in (ONE, OTHER))
    wrapped = wrap_key(suite, opener_of(suite, mine).public_key, b"secret", INFO)
    assert opener_of(suite, mine).unwrap(wrapped, INFO) == b"secret"
    assert b"secret" not in wrapped
    with pytest.raises(CryptoError, match="wrapped key: does not open"):
        opener_of(suite, mine).unwrap(wrapped, INFO + b"!")
    with pytest.raises(CryptoError, match="wrapped key: does not open"):
        opener_of(suite, others).unwrap(wrapped, INFO)
    for garbage in (b"", wrapped[:-1], wrapped + b"!", bytes(len(wrapped))):
        with pytest.raises(CryptoError, match="wrapped key: does not open"):
            opener_of(suite, mine).unwrap(garbage, INFO)
    with pytest.raises(CryptoError, match=f"at most {WRAPPED_KEY_BYTES_MAX}"):
        opener_of(suite, mine).unwrap(bytes(WRAPPED_KEY_BYTES_MAX + 1), INFO)


@by_suite
def test_wrapping_twice_gives_two_wrapped_keys(suite: Suite) -> None:
    key = suite.signer_type.from_secret(ONE).public_key.encoded
    assert wrap_key(suite, key, b"secret", INFO) != wrap_key(suite, key, b"secret", INFO)


@by_suite
def test_keys_of_another_kind_are_refused(suite: Suite) -> None:
    with pytest.raises(CryptoError, match="public key"):
        wrap_key(suite, bytes(33), b"secret", INFO)
    with pytest.raises(CryptoError, match="encryption key: expected one of suite"):
        opener_of(suite, Ed25519Signer.from_secret(ONE))
    other = NATIONAL if suite is INTERNATIONAL else INTERNATIONAL
    with pytest.raises(CryptoError, match="encryption key: expected one of suite"):
        opener_of(suite, other.signer_type.from_secret(ONE))


HPKE = CipherSuite.new(KEMId.DHKEM_P256_HKDF_SHA256, KDFId.HKDF_SHA256, AEADId.AES256_GCM)
ENC_BYTES = 65


def test_pyhpke_opens_what_is_wrapped_here() -> None:
    mine = P256Signer.from_secret(ONE)
    wrapped = wrap_key(INTERNATIONAL, mine.public_key.encoded, b"secret", INFO)
    key = KEMKey.from_pyca_cryptography_key(mine.private_key)
    context = HPKE.create_recipient_context(wrapped[:ENC_BYTES], key, info=INFO)
    assert context.open(wrapped[ENC_BYTES:]) == b"secret"


def test_what_pyhpke_wraps_is_opened_here() -> None:
    mine = P256Signer.from_secret(ONE)
    public_key: ec.EllipticCurvePublicKey = mine.public_key.library_key
    enc, context = HPKE.create_sender_context(
        KEMKey.from_pyca_cryptography_key(public_key), info=INFO
    )
    wrapped = enc + context.seal(b"secret")
    assert opener_of(INTERNATIONAL, mine).unwrap(wrapped, INFO) == b"secret"
