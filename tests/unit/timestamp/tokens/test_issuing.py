"""Time-stamp tokens: OpenSSL takes them unchanged, they say what they should, always the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from node.crypto import der
from node.crypto.certificate import Authority, Member, build_identity_certificate, encode_pem
from node.crypto.suite import DOCUMENT_DIGESTS, DocumentDigest
from node.errors import CryptoError, DecodeError, ProofError
from node.timestamp.tokens.issuing import (
    POLICY,
    Coordinates,
    Stamp,
    TokenIssuer,
    add_chain_proof,
    encode_granted,
    encode_refused,
    take_chain_proof,
)
from node.timestamp.tokens.request import Failure, TimeStampRefused, TimeStampRequest
from tests.unit.timestamp.authority import (
    COORDINATES,
    ISSUANCE,
    ISSUER,
    ROOT,
    TIME_MS,
    TSA,
    TSA_KEY,
    OpenSsl,
    imprint_of,
    stamp,
)
from tests.vectors.receipt.chain import CREATED_MS, seed, signer

PROOF = seed("a receipt") * 100


@pytest.fixture
def openssl(tmp_path: Path) -> OpenSsl:
    return OpenSsl(tmp_path)


@pytest.mark.parametrize("algorithm", DOCUMENT_DIGESTS, ids=lambda digest: digest.name)
def test_openssl_accepts_a_token_of_every_digest(
    openssl: OpenSsl, algorithm: DocumentDigest
) -> None:
    option = f"-{algorithm.name.replace('-', '')}"
    request = TimeStampRequest.decode(openssl.query(option, "-cert", "-tspolicy", POLICY))
    token = ISSUER.issue(Stamp.answering(request, COORDINATES, TIME_MS))
    assert openssl.accepts(token, request=request)
    assert openssl.accepts(add_chain_proof(token, PROOF), request=request)


def test_openssl_accepts_a_token_without_nonce_and_certificate(
    openssl: OpenSsl, tmp_path: Path
) -> None:
    request = TimeStampRequest.decode(openssl.query("-sha256", "-no_nonce"))
    token = ISSUER.issue(Stamp.answering(request, COORDINATES, TIME_MS))
    assert TSA not in token
    assert not openssl.accepts(token, request=request)
    (tmp_path / "tsa.pem").write_bytes(encode_pem(TSA))
    assert openssl.accepts(token, request=request, more=("-untrusted", "tsa.pem"))


def test_openssl_reads_what_a_token_says(openssl: OpenSsl) -> None:
    said = openssl.text_of(encode_granted(ISSUER.issue(stamp(nonce=b"\x07"))))
    for line in (
        "Status: Granted.",
        f"Policy OID: {POLICY}",
        "Hash Algorithm: sha256",
        "Serial number: 0x0101020304050607000000000005000000000011",
        "Time stamp: Oct  9 08:53:25.12 2025 GMT",
        "Accuracy: 0x01 seconds, unspecified millis, unspecified micros",
        "Ordering: no",
        "Nonce: 0x07",
        "TSA: unspecified",
    ):
        assert line in said


@pytest.mark.parametrize(
    ("accuracy_ms", "said"),
    [
        (1, "unspecified seconds, 0x01 millis"),
        (999, "unspecified seconds, 0x03E7 millis"),
        (1_000, "0x01 seconds, unspecified millis"),
        (2_500, "0x02 seconds, 0x01F4 millis"),
    ],
)
def test_the_accuracy_is_the_promised_one(openssl: OpenSsl, accuracy_ms: int, said: str) -> None:
    issuer = TokenIssuer([TSA], TSA_KEY, policy=POLICY, accuracy_ms=accuracy_ms)
    token = issuer.issue(stamp())
    assert f"Accuracy: {said}" in openssl.text_of(encode_granted(token))
    assert openssl.accepts(token)


@pytest.mark.parametrize(
    ("after_ms", "said"),
    [(0, "20.0"), (1, "20.001"), (10, "20.01"), (100, "20.1"), (999, "20.999"), (1_000, "21")],
)
def test_the_time_has_no_trailing_zeros(after_ms: int, said: str) -> None:
    token = ISSUER.issue(stamp(time_ms=CREATED_MS + after_ms))
    written = said.removesuffix(".0")
    assert der.encode(der.GENERALIZED_TIME, f"202510090853{written}Z".encode()) in token


def test_a_token_is_the_same_each_time_and_differs_by_what_it_says() -> None:
    usual = ISSUER.issue(stamp())
    assert ISSUER.issue(stamp()) == usual
    others = [
        stamp(imprint=imprint_of(b"another")),
        stamp(coordinates=replace(COORDINATES, height=6)),
        stamp(time_ms=TIME_MS + 1),
        stamp(nonce=b"\x01"),
        stamp(has_certificates=False),
    ]
    assert len({usual, *map(ISSUER.issue, others)}) == 1 + len(others)


def test_a_token_is_given_only_for_a_time_at_which_its_certificate_is_valid() -> None:
    for time_ms in (ISSUANCE.not_before_ms, ISSUANCE.not_after_ms):
        assert ISSUER.issue(stamp(time_ms=time_ms))
    for time_ms in (ISSUANCE.not_before_ms - 1, ISSUANCE.not_after_ms + 1):
        with pytest.raises(TimeStampRefused, match="valid in") as refused:
            ISSUER.issue(stamp(time_ms=time_ms))
        assert refused.value.failure is Failure.TIME_NOT_AVAILABLE


def test_another_policy_is_refused() -> None:
    request = TimeStampRequest(imprint=imprint_of())
    ISSUER.check(request)
    ISSUER.check(replace(request, policy=POLICY))
    with pytest.raises(TimeStampRefused, match="policy: expected") as refused:
        ISSUER.check(replace(request, policy="1.2.3"))
    assert refused.value.failure is Failure.UNACCEPTED_POLICY


def test_an_issuer_needs_its_own_key_and_a_certificate_for_time_stamping() -> None:
    with pytest.raises(CryptoError, match="not the one its certificate names"):
        TokenIssuer([TSA], signer("another"), policy=POLICY, accuracy_ms=1)
    member = Member(identity_id="a", role="agency", public_key=TSA_KEY.public_key.encoded)
    authority = Authority(ROOT, signer("org-1 authority"))
    for other in (build_identity_certificate(authority, member, ISSUANCE), ROOT):
        with pytest.raises(CryptoError, match="key usage: expected"):
            TokenIssuer([other], TSA_KEY, policy=POLICY, accuracy_ms=1)


@pytest.mark.parametrize("failure", Failure)
def test_a_refusal_names_its_failure(openssl: OpenSsl, failure: Failure) -> None:
    answer = encode_refused(TimeStampRefused(failure, "why 为何"))
    said = openssl.text_of(answer)
    assert "Status: Rejected." in said
    assert "Status description: why" in said
    assert {
        Failure.BAD_ALGORITHM: "unrecognized or unsupported algorithm identifier",
        Failure.BAD_REQUEST: "transaction not permitted or supported",
        Failure.BAD_DATA_FORMAT: "the data submitted has the wrong format",
        Failure.TIME_NOT_AVAILABLE: "the TSA's time source is not available",
        Failure.UNACCEPTED_POLICY: "the requested TSA policy is not supported by the TSA",
        Failure.UNACCEPTED_EXTENSION: "the requested extension is not supported by the TSA",
        Failure.ADDITIONAL_INFORMATION_NOT_AVAILABLE: "the additional information requested",
        Failure.SYSTEM_FAILURE: "the request cannot be handled due to system failure",
    }[failure] in said


def test_coordinates_are_read_from_the_serial_number_they_give() -> None:
    for coordinates in (
        COORDINATES,
        Coordinates.of(bytes(32), 0, 0),
        Coordinates.of(b"\xff" * 32, 2**48 - 1, 2**48 - 1),
    ):
        serial_number = coordinates.serial_number
        assert serial_number.bit_length() == 153
        assert Coordinates.from_serial(serial_number) == coordinates
    for serial_number in (0, -1, 1 << 152 - 1, 2 << 152, 1 << 160, 1 << 1_000, 7):
        with pytest.raises(DecodeError, match="expected the coordinates of a record"):
            Coordinates.from_serial(serial_number)


@pytest.mark.parametrize(("height", "log_index"), [(2**48, 0), (0, 2**48), (2**64 - 1, 0)])
def test_no_serial_number_is_for_coordinates_that_no_chain_reaches(
    height: int, log_index: int
) -> None:
    """A receipt's header may state any height: that is refused by rule, and is no crash."""
    with pytest.raises(ProofError, match="expected the coordinates of a record"):
        _ = Coordinates.of(bytes(32), height, log_index).serial_number


def test_the_chain_proof_comes_out_as_it_went_in() -> None:
    for token in (ISSUER.issue(stamp()), ISSUER.issue(stamp(has_certificates=False))):
        assert take_chain_proof(token) == (token, None)
        assert take_chain_proof(add_chain_proof(token, PROOF)) == (token, PROOF)
        with pytest.raises(DecodeError, match="no unsigned attributes"):
            add_chain_proof(add_chain_proof(token, PROOF), PROOF)


def test_other_unsigned_attributes_are_refused() -> None:
    token = ISSUER.issue(stamp())
    proven = add_chain_proof(token, b"1")
    other = proven.replace(der.encode_oid(f"{POLICY[:-1]}2"), der.encode_oid(f"{POLICY[:-1]}3"))
    with pytest.raises(DecodeError, match="unsigned attribute: expected"):
        take_chain_proof(other)
    for data in (b"", b"\x30\x00", token[:-1], token + b"\x00"):
        with pytest.raises(DecodeError):
            take_chain_proof(data)
