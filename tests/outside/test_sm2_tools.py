"""What is encrypted to SM2 keys and signed by them, beside OpenSSL's command line."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from asn1crypto import keys

from node.crypto import der
from node.crypto.certificate import build_timestamp_request, encode_pem
from node.crypto.sm2 import Sm2Signer
from node.crypto.sm2_ciphertext import decode_der, encode_der
from node.timestamp.tokens.reading import ReadToken
from tests.unit.timestamp.authority import ISSUANCE, ROOT, stamp
from tests.unit.timestamp.national_authority import (
    SM2_ROOT,
    SM2_TSA,
    SM2_TSA_BY_SM2,
    SM2_TSA_KEY,
    sm2_issuer,
)

PLAINTEXT = bytes(range(32))
USUAL_ID = "distid:1234567812345678"


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


def test_openssl_verifies_the_signed_attributes_of_a_token(tmp_path: Path) -> None:
    read = ReadToken.decode(sm2_issuer().issue(stamp()))
    names = ("certificate.pem", "key.pem", "signature", "signed")
    certificate, key, signature, signed = (tmp_path / name for name in names)
    certificate.write_bytes(encode_pem(SM2_TSA))
    key.write_bytes(openssl("x509", "-in", certificate, "-noout", "-pubkey"))
    signature.write_bytes(read.signature)
    signed.write_bytes(der.encode(der.SET, read.signed_attributes))
    command: list[str | Path] = ["dgst", "-sm3", "-sigopt", USUAL_ID]
    command += ["-verify", key, "-signature", signature]
    assert openssl(*command, signed) == b"Verified OK\n"
    signed.write_bytes(signed.read_bytes()[:-1] + b"\0")
    with pytest.raises(subprocess.CalledProcessError):
        openssl(*command, signed)


@pytest.mark.parametrize(
    ("leaf", "root", "options"),
    [(SM2_TSA, ROOT, []), (SM2_TSA_BY_SM2, SM2_ROOT, ["-vfyopt", USUAL_ID])],
    ids=["root of P-256", "root of SM2"],
)
def test_openssl_verifies_the_certificates(
    tmp_path: Path, leaf: bytes, root: bytes, options: list[str]
) -> None:
    certificate, authority = tmp_path / "certificate.pem", tmp_path / "root.pem"
    certificate.write_bytes(encode_pem(leaf))
    authority.write_bytes(encode_pem(root))
    at = str(ISSUANCE.not_before_ms // 1_000 + 1)
    verify: list[str | Path] = ["verify", "-x509_strict", "-purpose", "timestampsign"]
    verify += ["-attime", at, *options, "-CAfile", authority]
    assert b"OK" in openssl(*verify, certificate)
    certificate.write_bytes(encode_pem(leaf[:-1] + bytes((leaf[-1] ^ 1,))))
    with pytest.raises(subprocess.CalledProcessError):
        openssl(*verify, certificate)


def test_openssl_verifies_a_request_for_a_certificate(tmp_path: Path) -> None:
    request = tmp_path / "request.pem"
    request.write_bytes(build_timestamp_request(SM2_TSA_KEY, "validator-1", "org-1"))
    openssl("req", "-in", request, "-verify", "-noout", "-vfyopt", USUAL_ID)
    text = openssl("req", "-in", request, "-noout", "-text", "-subject")
    assert b"Time Stamping" in text
    assert b"validator-1" in text
