"""Tokens and other people's software: rfc3161-client on ours, our verification on others' tokens.

The fixtures of rfc3161-client are read from the folder GOVCHAIN_VECTORS. Verdicts are those of its
own tests, but that a token alone is never more than one key's word here.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from rfc3161_client import (
    TimestampRequestBuilder,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from node.crypto.suite import DOCUMENT_DIGESTS, SHA_256, SM3, DocumentDigest
from node.timestamp.steps import Outcome, StepReport
from node.timestamp.tokens.check import Expectation, TokenStep, verify_token
from node.timestamp.tokens.issuing import add_chain_proof, encode_granted
from node.timestamp.tokens.reading import ReadToken, token_of_answer
from node.timestamp.tokens.request import Imprint, TimeStampRequest
from tests.unit.timestamp.authority import DOCUMENT, ISSUER, ROOT, imprint_of, stamp

SHA_2 = [digest for digest in DOCUMENT_DIGESTS if digest is not SM3]
CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", re.DOTALL)


def their_verifier(nonce: int | None = None) -> VerifierBuilder:
    builder = VerifierBuilder().add_root_certificate(x509.load_der_x509_certificate(ROOT))
    return builder if nonce is None else builder.nonce(nonce)


@pytest.mark.parametrize("algorithm", SHA_2, ids=lambda digest: digest.name)
def test_rfc3161_client_accepts_our_tokens(algorithm: DocumentDigest) -> None:
    token = ISSUER.issue(stamp(imprint=imprint_of(algorithm=algorithm), nonce=b"\x2a"))
    for data in (token, add_chain_proof(token, bytes(3_000))):
        answer = decode_timestamp_response(encode_granted(data))
        assert their_verifier(42).build().verify_message(answer, DOCUMENT)
        with pytest.raises(VerificationError, match="Nonce"):
            their_verifier(43).build().verify_message(answer, DOCUMENT)
        with pytest.raises(VerificationError, match="messages"):
            their_verifier(42).build().verify_message(answer, b"another document")


def test_rfc3161_client_takes_the_imprint_of_no_sm3_which_records_may_have() -> None:
    token = ISSUER.issue(stamp(imprint=imprint_of(algorithm=SM3)))
    answer = decode_timestamp_response(encode_granted(token))
    with pytest.raises(VerificationError, match="Unsupported hash algorithm"):
        their_verifier().build().verify_message(answer, DOCUMENT)
    digest = SM3.new_hash(DOCUMENT).digest()
    _, reports = verify_token(token, Expectation(document=(SM3, digest), roots=(ROOT,)))
    assert reports[-1].step is TokenStep.CHAIN


def test_rfc3161_client_makes_requests_that_we_read() -> None:
    theirs = TimestampRequestBuilder().data(DOCUMENT).nonce(nonce=True).build()
    request = TimeStampRequest.decode(theirs.as_bytes())
    assert request.imprint.digest == request.imprint.algorithm.new_hash(DOCUMENT).digest()
    assert request.nonce is not None
    assert int.from_bytes(request.nonce, "big") == theirs.nonce
    assert request.wants_certificates


@dataclass(frozen=True, slots=True)
class Fixture:
    """A reply of another authority, and what comes of it here."""

    path: str
    step: TokenStep
    reason: str


SOUND = (TokenStep.CHAIN, "without a chain proof")
FIXTURES = [
    Fixture("sigstage/response-sha256.tsr", *SOUND),
    Fixture("sigstage/response-sha384.tsr", *SOUND),
    Fixture("sigstage/response-sha512.tsr", *SOUND),
    Fixture("sigstage/response-no-embedded-cert.tsr", *SOUND),
    Fixture("sigstage/response-invalid-signature.tsr", TokenStep.SIGNATURE, "signature: it is not"),
    Fixture("sigstore.mock/response-expired.tsr", *SOUND),  # expired since, valid at its time
    Fixture("test_tsa/response.tsr", *SOUND),
    Fixture(  # of another run of that authority, whose root was another
        "test_tsa/other_response.tsr", TokenStep.AUTHORITY, "its certificate leads to no authority"
    ),
    Fixture("test_tsa/response-injected-certs.tsr", *SOUND),  # those injected are looked past
    Fixture("identrust/issue-104.tsr", *SOUND),
]


def published(path: str) -> Path:
    """Return a published file, or skip where there are none."""
    folder = os.environ.get("GOVCHAIN_VECTORS")
    if folder is None:
        pytest.skip("GOVCHAIN_VECTORS is not set: the published replies were not run")
    return Path(folder) / "rfc3161" / "test" / "fixtures" / path


def judged(path: str, request: TimeStampRequest | None = None) -> tuple[Outcome, StepReport]:
    """Return the outcome of a reply, by the chain beside it, and its last step."""
    file = published(path)
    data = file.read_bytes()
    chain = (file.parent / "ts_chain.pem").read_bytes()
    *others, root = CERTIFICATE.findall(chain) or [chain]
    imprint = ReadToken.decode(token_of_answer(data)).info.imprint
    expected = Expectation(
        document=(imprint.algorithm, imprint.digest),
        roots=(root,),
        certificates=others,
        request=request,
    )
    outcome, reports = verify_token(data, expected)
    return outcome, reports[-1]


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda fixture: fixture.path)
def test_the_reply_of_another_authority_has_its_verdict(fixture: Fixture) -> None:
    outcome, last = judged(fixture.path)
    assert last.step is fixture.step, last.detail
    assert last.detail.startswith(fixture.reason)
    is_sound = fixture.step in {TokenStep.CHAIN, TokenStep.AUTHORITY}
    assert outcome is (Outcome.NOT_ROOTED if is_sound else Outcome.NOT_VERIFIED)


def test_every_published_reply_is_run() -> None:
    folder = published(".")
    found = {str(path.relative_to(folder)) for path in folder.rglob("*.tsr")}
    assert found == {fixture.path for fixture in FIXTURES}


@pytest.mark.parametrize(
    ("request_file", "reply", "reason"),
    [
        ("test_tsa/request.der", "test_tsa/response.tsr", SOUND[1]),
        ("test_tsa/request.der", "test_tsa/other_response.tsr", "nonce: expected"),
        ("test_tsa/other_request.der", "test_tsa/response.tsr", "nonce: expected"),
        ("test_tsa/other_request.der", "test_tsa/other_response.tsr", "nonce: expected"),
        ("sigstage/request.der", "sigstage/response-sha512.tsr", "nonce: expected"),
    ],
)
def test_a_reply_answers_its_own_request(request_file: str, reply: str, reason: str) -> None:
    """Of those published only the first pair is one: the others are of other runs."""
    request = TimeStampRequest.decode(published(request_file).read_bytes())
    _, last = judged(reply, request)
    assert last.detail.startswith(reason)


def test_a_published_reply_is_of_the_payload_beside_it() -> None:
    payload = published("sigstore.mock/payload").read_bytes()
    reply = published("sigstore.mock/response-expired.tsr").read_bytes()
    imprint = ReadToken.decode(token_of_answer(reply)).info.imprint
    assert imprint == Imprint.of(SHA_256, SHA_256.new_hash(payload).digest())
