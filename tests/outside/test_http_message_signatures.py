"""Signed requests beside http-message-signatures: it verifies ours, we verify its."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from node.crypto.application_key import ApplicationKey, encode_public_pem
from node.crypto.signature import Ed25519Signer, P256Signer
from node.gateway.http_signature import (
    RequestSignature,
    SignedHead,
    check_content_digest,
    sign_request,
)
from tests.outside.environments import run_with

URL = "https://gateway.example:8443/v1/records?limit=5&type=a%20b"
BODY = '{"records":[]}'
HEADERS = {"content-type": "application/json", "idempotency-key": "k-1"}
SIGNERS = (Ed25519Signer.from_secret(bytes([7]) * 32), P256Signer.from_secret(bytes([7]) * 32))
COMPONENTS = (
    "@method",
    "@authority",
    "@path",
    "@query",
    "content-digest",
    "content-type",
    "idempotency-key",
)


def ask(folder: Path, verb: str, key: bytes, algorithm: str, told: dict[str, object]) -> str:
    (folder / "key.pem").write_bytes(key)
    (folder / "request.json").write_text(json.dumps(told))
    done = run_with(
        "http_message_signatures", verb, folder / "key.pem", algorithm, folder / "request.json"
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("signer", SIGNERS)
def test_it_verifies_what_we_sign(tmp_path: Path, signer: Ed25519Signer | P256Signer) -> None:
    pem = encode_public_pem(signer)
    key = ApplicationKey.read(pem)
    fields = sign_request(
        signer,
        key.key_id,
        "POST",
        URL,
        created_s=int(time.time()),
        nonce="n" * 20,
        body=BODY.encode(),
        fields=HEADERS,
    )
    told: dict[str, object] = {"method": "POST", "url": URL, "headers": fields, "body": BODY}
    assert ask(tmp_path, "verify", pem, key.algorithm, told) == "accepted"
    for change in (
        {"url": URL + "1"},
        {"method": "PUT"},
        {"headers": fields | {"idempotency-key": "k-2"}},
    ):
        said = ask(tmp_path, "verify", pem, key.algorithm, told | change)
        assert said.startswith("refused: "), change


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa-p256-sha256"])
def test_we_verify_what_it_signs(tmp_path: Path, kind: str) -> None:
    private: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
    if kind == "ed25519":
        private = ed25519.Ed25519PrivateKey.from_private_bytes(bytes([3]) * 32)
    else:
        private = ec.derive_private_key(12_345, ec.SECP256R1())
    key = ApplicationKey.read(
        private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    assert key.algorithm == kind
    told: dict[str, object] = {
        "method": "POST",
        "url": URL,
        "headers": HEADERS,
        "body": BODY,
        "key_id": key.key_id,
        "created": int(time.time()),
        "nonce": "n" * 20,
        "components": COMPONENTS,
    }
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for _ in range(4):  # of ECDSA about half have the higher s
        added = json.loads(ask(tmp_path, "sign", pem, kind, told))
        fields = HEADERS | {name.lower(): value for name, value in added.items()}
        head = SignedHead(
            "POST", "https", "gateway.example:8443", "/v1/records", "limit=5&type=a%20b", fields
        )
        signature = RequestSignature.read(fields)
        signature.expect_coverage(head, has_body=True)
        assert signature.is_by(key, head)
        check_content_digest(fields["content-digest"], BODY.encode())
