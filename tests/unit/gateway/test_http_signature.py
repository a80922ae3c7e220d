"""Signed requests: what counts is covered, each field has one reading, nothing else verifies."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from node.crypto.application_key import ApplicationKey, encode_public_pem
from node.crypto.signature import Ed25519Signer, P256Signer
from node.errors import CryptoError, DecodeError
from node.gateway.http_signature import (
    RequestSignature,
    SignedHead,
    check_content_digest,
    content_digest,
    sign_request,
    signature_base,
)

URL = "https://gateway.example:8443/v1/records?limit=5"
BODY = b'{"records":[]}'
SIGNERS = (Ed25519Signer.from_secret(bytes([7]) * 32), P256Signer.from_secret(bytes([7]) * 32))


def head_of(fields: dict[str, str], method: str = "POST") -> SignedHead:
    return SignedHead(method, "https", "Gateway.example:8443", "/v1/records", "limit=5", fields)


def signed(signer: Ed25519Signer | P256Signer, body: bytes = BODY) -> dict[str, str]:
    key = ApplicationKey.read(encode_public_pem(signer))
    fields = {"Content-Type": "application/json", "Idempotency-Key": "k-1"} if body else {}
    return sign_request(
        signer, key.key_id, "POST", URL, created_s=1_000, nonce="n" * 16, body=body, fields=fields
    )


@pytest.mark.parametrize("signer", SIGNERS)
def test_what_is_signed_verifies_and_any_change_does_not(
    signer: Ed25519Signer | P256Signer,
) -> None:
    key = ApplicationKey.read(encode_public_pem(signer))
    fields = signed(signer)
    signature, head = RequestSignature.read(fields), head_of(fields)
    signature.expect_coverage(head, has_body=True)
    assert signature.key_id == key.key_id
    assert signature.is_by(key, head)
    for changed in (
        replace(head, method="GET"),
        replace(head, authority="other.example:8443"),
        replace(head, path="/v1/record"),
        replace(head, query="limit=6"),
        replace(head, fields=fields | {"idempotency-key": "k-2"}),
        replace(head, fields=fields | {"content-digest": content_digest(b"other")}),
        replace(head, fields=fields | {"content-type": "application/cbor"}),
    ):
        assert not signature.is_by(key, changed)
    for name in ("created=1000", 'nonce="nnnn', 'tag="govchain"'):
        other = fields["signature-input"].replace(name, name[:-1] + "1" + name[-1:])
        assert other != fields["signature-input"]
        try:
            forged = RequestSignature.read(fields | {"signature-input": other})
        except DecodeError:
            continue  # of another tag
        assert not forged.is_by(key, head)
    other_key = ApplicationKey.read(encode_public_pem(type(signer).from_secret(bytes([8]) * 32)))
    assert not signature.is_by(other_key, head)


def test_the_base_is_that_of_the_specification() -> None:
    # RFC 9421 section 2.5: one line per component, the parameters last, no newline at the end.
    fields = signed(SIGNERS[0])
    signature = RequestSignature.read(fields)
    base = signature_base(head_of(fields), signature.components, signature.parameters)
    assert base.decode().splitlines()[:6] == [
        '"@method": POST',
        '"@authority": gateway.example:8443',
        '"@path": /v1/records',
        '"@query": ?limit=5',
        f'"content-digest": {content_digest(BODY)}',
        '"content-type": application/json',
    ]
    assert base.decode().splitlines()[-1] == f'"@signature-params": {signature.parameters}'
    assert not base.endswith(b"\n")


@pytest.mark.parametrize("name", ["@method", "@authority", "@path", "@query", "content-digest"])
def test_what_counts_and_is_not_covered_is_named(name: str) -> None:
    fields = signed(SIGNERS[0])
    signature = RequestSignature.read(fields)
    less = replace(signature, components=tuple(c for c in signature.components if c != name))
    with pytest.raises(DecodeError, match=name):
        less.expect_coverage(head_of(fields), has_body=True)


def test_a_field_that_is_added_must_be_covered() -> None:
    fields = signed(SIGNERS[0], b"")
    signature = RequestSignature.read(fields)
    signature.expect_coverage(head_of(fields), has_body=False)
    for name in ("idempotency-key", "last-event-id", "content-type"):
        with pytest.raises(DecodeError, match=name):
            signature.expect_coverage(head_of(fields | {name: "x"}), has_body=False)


@pytest.mark.parametrize(
    "change",
    [
        ("signature-input", "govchain=(", "govchain=( "),
        ("signature-input", '"@method" "@authority"', '"@method"  "@authority"'),
        ("signature-input", '"@method"', "@method"),
        ("signature-input", ";created=1000", ";created=01000"),
        ("signature-input", ";created=1000", ";created=-1"),
        ("signature-input", ";created=1000", ""),
        ("signature-input", ";created=1000", ";created=1000;created=1000"),
        ("signature-input", ";created=1000", ';created="1000"'),
        ("signature-input", ";created=1000", ";created=1000;other=1"),
        ("signature-input", '"@method"', '"@method" "@method"'),
        ("signature-input", '"@method"', '"@status"'),
        ("signature-input", 'tag="govchain"', 'tag="other"'),
        ("signature-input", "govchain=", "govchain=(), govchain="),
        ("signature-input", "govchain=(", "GOVCHAIN=("),
        ("signature-input", "nnnnnnnnnnnnnnnn", "short"),
        ("signature-input", "nnnnnnnnnnnnnnnn", "n" * 65),
        ("signature-input", "nnnnnnnnnnnnnnnn", "é" * 16),
        ("signature", "govchain=:", "other=:"),
        ("signature", "govchain=:", "govchain=::"),
        ("signature", "==:", ":"),
        ("signature", "==:", "==:, "),
        ("signature", "==:", "==:\n"),
        ("signature", "govchain=:", "a=::, b=::, c=::, d=::, govchain=:"),
    ],
)
def test_fields_have_one_form(change: tuple[str, str, str]) -> None:
    name, old, new = change
    fields = signed(SIGNERS[0])
    assert old in fields[name]
    broken = fields | {name: fields[name].replace(old, new, 1)}
    with pytest.raises(DecodeError):
        RequestSignature.read(broken).is_by(
            ApplicationKey.read(encode_public_pem(SIGNERS[0])), head_of(broken)
        )


@pytest.mark.parametrize("name", ["signature", "signature-input"])
def test_fields_are_there_and_bounded(name: str) -> None:
    fields = signed(SIGNERS[0])
    for value in ("", "x" * 2_049):
        with pytest.raises(DecodeError, match=f"{name}: expected 1"):
            RequestSignature.read(fields | {name: value})


def test_the_body_is_what_every_known_digest_names() -> None:
    check_content_digest(content_digest(BODY), BODY)
    check_content_digest(content_digest(BODY) + ", unixsum=:MTIz:", BODY)
    for wrong in (
        content_digest(b"x"),
        "unixsum=:MTIz:",
        "",
        content_digest(BODY) + ", sha-512=::",
    ):
        with pytest.raises(DecodeError):
            check_content_digest(wrong, BODY)


def test_both_forms_of_an_ecdsa_signature_are_taken() -> None:
    private = ec.derive_private_key(12_345, ec.SECP256R1())
    pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    key = ApplicationKey.read(pem)
    r, s = decode_dss_signature(private.sign(b"message", ec.ECDSA(hashes.SHA256())))
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    for form in (s, order - s):
        assert key.verify(b"message", r.to_bytes(32) + form.to_bytes(32))
        assert not key.verify(b"other", r.to_bytes(32) + form.to_bytes(32))
    assert not key.verify(b"message", r.to_bytes(32) + (order + 1).to_bytes(32))
    assert not key.verify(b"message", b"")


def test_a_private_key_is_no_application_key() -> None:
    private = ec.derive_private_key(12_345, ec.SECP256R1())
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(CryptoError, match="nothing of a private one") as error:
        ApplicationKey.read(pem)
    assert "-pubout" in error.value.fix
    for wrong in (b"", b"-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n", b"x" * 5_000):
        with pytest.raises(CryptoError):
            ApplicationKey.read(wrong)
    other = ec.derive_private_key(5, ec.SECP384R1()).public_key()
    pem = other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(CryptoError, match="P-256"):
        ApplicationKey.read(pem)


SM2_KEY = b"""-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoEcz1UBgi0DQgAEJhotNXRTvM2muNN5RJb1E41zEXii
3HWKX893Y20DuYFLHM9TFlVYiigsQbY/2RWZYeG9Dg8aDBMjROwPWKwYlg==
-----END PUBLIC KEY-----
"""
KEY_OF_A_KIND_THAT_IS_NONE = b"""-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZ0IjzCAQYIKoZIzj0DAQcDQgAEjlM7b6C/e0YluzBmfAH7YH75+Lio
D+9bMAYocDGHsqNz6x294DMYNm0Gn4Om9ZAAU8c2M8sEGyHFXhqGwfQAtA==
-----END PUBLIC KEY-----
"""


@pytest.mark.parametrize("pem", [SM2_KEY, KEY_OF_A_KIND_THAT_IS_NONE])
def test_a_key_that_the_library_does_not_know_is_refused_by_what_is_expected(pem: bytes) -> None:
    with pytest.raises(CryptoError, match="expected one of Ed25519 or P-256") as error:
        ApplicationKey.read(pem)
    assert "openssl genpkey" in error.value.fix
