"""What is encrypted to SM2 keys, beside OpenSSL's command line."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from asn1crypto import keys

from node.crypto.sm2 import Sm2Signer
from node.crypto.sm2_ciphertext import decode_der, encode_der

PLAINTEXT = bytes(range(32))


def openssl(*arguments: str | Path) -> bytes:
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True).stdout


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key.pem"
    openssl("genpkey", "-algorithm", "SM2", "-out", path)
    return path


def signer_of(key: Path) -> Sm2Signer:
    encoded = openssl("pkcs8", "-topk8", "-nocrypt", "-in", key, "-outform", "DER")
    scalar = keys.PrivateKeyInfo.load(encoded)["private_key"].parsed["private_key"].native
    return Sm2Signer.from_secret(scalar.to_bytes(32, "big"))


def test_openssl_opens_what_we_encrypt(key: Path, tmp_path: Path) -> None:
    sealed = tmp_path / "sealed"
    for size in (1, 16, 32, 1_024):
        plaintext = (PLAINTEXT * 32)[:size]
        sealed.write_bytes(encode_der(signer_of(key).public_key.encrypt(plaintext)))
        assert openssl("pkeyutl", "-decrypt", "-inkey", key, "-in", sealed) == plaintext
    sealed.write_bytes(sealed.read_bytes()[:-1] + b"\0")
    with pytest.raises(subprocess.CalledProcessError):
        openssl("pkeyutl", "-decrypt", "-inkey", key, "-in", sealed)


def test_we_open_what_openssl_encrypts(key: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_bytes(PLAINTEXT)
    sealed = openssl("pkeyutl", "-encrypt", "-inkey", key, "-in", plain)
    assert signer_of(key).decrypt(decode_der(sealed)) == PLAINTEXT
