"""Time-stamp requests: those of OpenSSL are read, what is not exactly one is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.crypto import der
from node.crypto.suite import DOCUMENT_DIGESTS, SHA_256
from node.timestamp.tokens.issuing import POLICY
from node.timestamp.tokens.request import Failure, TimeStampRefused, TimeStampRequest
from tests.unit.timestamp.authority import DOCUMENT, OpenSsl, imprint_of

NONCE = bytes.fromhex("00ffeeddccbbaa9988")
FULL = TimeStampRequest(imprint=imprint_of(), policy=POLICY, nonce=NONCE, wants_certificates=True)
VERSION, IMPRINT = der.encode_integer(1), imprint_of().encoded


@pytest.mark.parametrize(
    ("option", "name"),
    [("sha256", "sha-256"), ("sha384", "sha-384"), ("sha512", "sha-512"), ("sm3", "sm3")],
)
def test_a_request_of_openssl_is_read(tmp_path: Path, option: str, name: str) -> None:
    data = OpenSsl(tmp_path).query(f"-{option}", "-cert", "-tspolicy", POLICY)
    request = TimeStampRequest.decode(data)
    algorithm = request.imprint.algorithm
    assert algorithm.name == name
    assert request.imprint.digest == algorithm.new_hash(DOCUMENT).digest()
    assert request.policy == POLICY
    assert request.nonce is not None
    assert request.wants_certificates
    assert request.encode() == data


def test_openssl_may_ask_for_less(tmp_path: Path) -> None:
    request = TimeStampRequest.decode(OpenSsl(tmp_path).query("-sha256", "-no_nonce"))
    assert (request.policy, request.nonce, request.wants_certificates) == (None, None, False)


@pytest.mark.parametrize("algorithm", DOCUMENT_DIGESTS, ids=lambda digest: digest.name)
def test_what_is_written_is_read(algorithm: object) -> None:
    assert TimeStampRequest.decode(FULL.encode()) == FULL
    bare = TimeStampRequest(imprint=imprint_of(algorithm=algorithm))  # type: ignore[arg-type] # a row
    assert TimeStampRequest.decode(bare.encode()) == bare


def test_openssl_reads_what_is_written(tmp_path: Path) -> None:
    openssl = OpenSsl(tmp_path)
    (tmp_path / "ours.tsq").write_bytes(FULL.encode())
    said = openssl.run("-query", "-in", "ours.tsq", "-text").stdout
    assert f"Policy OID: {POLICY}" in said
    assert "Nonce: 0xFFEEDDCCBBAA9988" in said
    assert "Certificate required: yes" in said


def imprint(oid: str, digest: bytes, parameters: bytes = b"") -> bytes:
    identifier = der.encode_sequence(der.encode_oid(oid), parameters)
    return der.encode_sequence(identifier, der.encode(der.OCTET_STRING, digest))


MD5 = "1.2.840.113549.2.5"
EXTENSIONS = der.encode(der.context(0, constructed=True), der.encode_sequence())


@pytest.mark.parametrize(
    ("data", "failure", "reason"),
    [
        (b"", Failure.BAD_DATA_FORMAT, "request: expected more elements"),
        (b"\x30\x80\x00\x00", Failure.BAD_DATA_FORMAT, "a length in its shortest form"),
        (FULL.encode() + b"\x00", Failure.BAD_DATA_FORMAT, "expected no more elements"),
        (FULL.encode()[:-1], Failure.BAD_DATA_FORMAT, "request: expected"),
        (bytes(2_000), Failure.BAD_DATA_FORMAT, "at most 1024 bytes"),
        (
            der.encode_sequence(der.encode_integer(2), IMPRINT),
            Failure.BAD_REQUEST,
            "expected version 1, got 2",
        ),
        (
            der.encode_sequence(VERSION, imprint(MD5, bytes(16))),
            Failure.BAD_ALGORITHM,
            f"expected sha-256, sm3, sha-384, sha-512, got {MD5}",
        ),
        (
            der.encode_sequence(VERSION, imprint(SHA_256.oid, bytes(31))),
            Failure.BAD_DATA_FORMAT,
            "expected 32 bytes, got 31",
        ),
        (
            der.encode_sequence(VERSION, imprint(SHA_256.oid, bytes(32), b"\x02\x01\x00")),
            Failure.BAD_DATA_FORMAT,
            "imprint algorithm",
        ),
        (
            der.encode_sequence(VERSION, imprint(SHA_256.oid, bytes(32), b"\x05\x01\x00")),
            Failure.BAD_DATA_FORMAT,
            "parameters NULL or none",
        ),
        (
            der.encode_sequence(VERSION, IMPRINT, b"\x02\x02\x00\x01"),
            Failure.BAD_DATA_FORMAT,
            "an integer in its shortest form",
        ),
        (
            der.encode_sequence(VERSION, IMPRINT, der.encode_integer(1 << 256)),
            Failure.BAD_DATA_FORMAT,
            "nonce: expected at most 32 bytes",
        ),
        (
            der.encode_sequence(VERSION, IMPRINT, b"\x01\x01\x00"),
            Failure.BAD_DATA_FORMAT,
            "expected TRUE or nothing",
        ),
        (
            der.encode_sequence(VERSION, IMPRINT, b"\x01\x01\x01"),
            Failure.BAD_DATA_FORMAT,
            "expected TRUE or nothing",
        ),
        (
            der.encode_sequence(VERSION, IMPRINT, EXTENSIONS),
            Failure.UNACCEPTED_EXTENSION,
            "no extensions are known",
        ),
        (
            der.encode_sequence(VERSION, IMPRINT, der.TRUE, der.encode_integer(1)),
            Failure.BAD_DATA_FORMAT,
            "expected no more elements",
        ),
    ],
)
def test_what_is_not_exactly_a_request_is_refused(
    data: bytes, failure: Failure, reason: str
) -> None:
    with pytest.raises(TimeStampRefused, match=reason) as refused:
        TimeStampRequest.decode(data)
    assert refused.value.failure is failure


def test_whatever_byte_changes_it_is_read_as_what_it_says_or_refused() -> None:
    data = FULL.encode()
    for position in range(len(data)):
        for mask in (0x01, 0x20, 0x80):
            changed = bytearray(data)
            changed[position] ^= mask
            try:
                request = TimeStampRequest.decode(bytes(changed))
            except TimeStampRefused:
                continue
            assert request != FULL
            assert request.encode() == changed
