"""Strict verification: whatever any verifier at large refuses, and what all of them let pass.

The rows are those of an ablation of one token, one thing changed at a time. OpenSSL is asked too:
where it accepts what we refuse, the forgery is a real one.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from asn1crypto import cms, core, tsp
from asn1crypto import x509 as tree
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509 import ReasonFlags
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st

from node.crypto import der
from node.crypto.authority import AuthorityCertificate
from node.crypto.certificate import Authority, build_authority_certificate, encode_pem
from node.crypto.revocation import (
    RevocationList,
    RevokedSerial,
    build_revocation_list,
    encode_list_pem,
)
from node.crypto.suite import SHA_256
from node.timestamp.steps import CLOCK_ERROR_MS, Outcome
from node.timestamp.tokens.check import Expectation, TokenStep, verify_token
from node.timestamp.tokens.issuing import POLICY, encode_granted
from node.timestamp.tokens.request import TimeStampRequest
from tests.unit.timestamp.authority import (
    AUTHORITY,
    DOCUMENT,
    ISSUANCE,
    ISSUER,
    ROOT,
    TIME_MS,
    TSA,
    OpenSsl,
    imprint_of,
    stamp,
)
from tests.unit.timestamp.reference_token import (
    TIME_STAMPING,
    Forgery,
    Tree,
    attribute,
    certificate_of,
    ess_1,
    ess_2,
)
from tests.vectors.receipt.chain import CREATED_MS, signer

DIGEST = hashlib.sha256(DOCUMENT).digest()
EXPECTED = Expectation(document=(SHA_256, DIGEST), roots=(ROOT,))
KEY = ec.derive_private_key(7, ec.SECP256R1())
P384 = ec.derive_private_key(7, ec.SECP384R1())
ED25519 = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
DAY = timedelta(days=1)
START = datetime.fromtimestamp(CREATED_MS // 1_000, UTC)
TIME = b"20251009085325.12Z"
UNKNOWN = "1.2.3.4.5"


@pytest.fixture(scope="session")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, 2_048)


def with_time(content: bytes) -> Forgery:
    def change(info: Tree) -> None:
        info["gen_time"] = core.GeneralizedTime.load(der.encode(der.GENERALIZED_TIME, content))

    return Forgery(info=change)


def with_extension(*, is_critical: bool, size: int = 2) -> Forgery:
    def change(info: Tree) -> None:
        value = core.OctetString(bytes(size))
        made = {"extn_id": UNKNOWN, "critical": is_critical, "extn_value": value}
        info["extensions"] = [made]

    return Forgery(info=change)


def with_fields(**fields: object) -> Forgery:
    def change(info: Tree) -> None:
        for name, value in fields.items():
            if value is None:
                del info[name]
            else:
                info[name] = value

    return Forgery(info=change)


def by_key_identifier() -> Forgery:
    key_identifier = tree.Certificate.load(TSA).key_identifier
    return Forgery(sid=cms.SignerIdentifier("subject_key_identifier", key_identifier))


def of_certificate(**fields: object) -> Forgery:
    leaf = certificate_of(KEY, **fields)  # type: ignore[arg-type] # keyword by keyword
    return Forgery(key=KEY, leaf=leaf)


# name: (forgery, our step, our reason, does OpenSSL accept: None where versions differ)
REFUSED: dict[str, tuple[Forgery, TokenStep, str, bool | None]] = {
    "Ed25519": (
        Forgery(key=ED25519, leaf=certificate_of(ED25519), digest="sha512"),
        TokenStep.SIGNATURE, "signature-algorithm: expected ECDSA, RSA or SM2", False,
    ),
    "no ESS attribute": (
        Forgery(has_signing_certificate=False),
        TokenStep.CERTIFICATE, "signing-certificate: expected the signed attribute", False,
    ),
    "wrong ESS hash": (
        Forgery(signing_certificate=ess_2(b"another")),
        TokenStep.CERTIFICATE, "signing-certificate: expected the digests of the signer's", False,
    ),
    "wrong ESS hash, version 1": (
        Forgery(signing_certificate=ess_1(b"another")),
        TokenStep.CERTIFICATE, "signing-certificate: expected the digests of the signer's", False,
    ),
    "ESS lists the root before the leaf": (
        Forgery(signing_certificate=ess_2(ROOT, TSA)),
        TokenStep.CERTIFICATE, "signing-certificate: expected the digests of the signer's", False,
    ),
    "ESS lists an unrelated certificate": (
        Forgery(signing_certificate=ess_2(TSA, b"another")),
        TokenStep.CERTIFICATE, "signing-certificate: expected the digests of those", False,
    ),
    "ESS lists the root twice": (
        Forgery(signing_certificate=ess_2(TSA, ROOT, ROOT)),
        TokenStep.CERTIFICATE, "signing-certificate: expected the digests of those", None,
    ),
    "ESS of both versions, the first of another": (
        Forgery(more_attributes=[ess_1(b"another")]),
        TokenStep.CERTIFICATE, "signing-certificate: expected the digests of the signer's", None,
    ),
    "ESS of both versions, the second of another": (
        Forgery(more_attributes=[ess_1(TSA)], signing_certificate=ess_2(b"another")),
        TokenStep.CERTIFICATE, "signing-certificate: expected the digests of the signer's", None,
    ),
    "ESS of both versions, the second empty": (
        Forgery(more_attributes=[ess_1(TSA)], signing_certificate=ess_2()),
        TokenStep.CERTIFICATE, "signing-certificate: expected a list of at least one", None,
    ),
    "signed attributes not in DER's order": (
        Forgery(is_ordered=False), TokenStep.CERTIFICATE, "attributes-order", True,
    ),
    "a signed attribute twice": (
        Forgery(more_attributes=[attribute("content_type", "data")]),
        TokenStep.CERTIFICATE, "attributes-once", None,
    ),
    "content type says data": (
        Forgery(content_type="data"), TokenStep.ATTRIBUTES, "content-type", True,
    ),
    "message digest of something else": (
        Forgery(signed_over=b"else"), TokenStep.ATTRIBUTES, "message-digest", False,
    ),
    "TSTInfo version 2": (
        with_fields(version="v2"), TokenStep.ANSWER, "info-version", False,
    ),
    "subject key identifier": (by_key_identifier(), TokenStep.ANSWER, "signer-id", False),
    "two signers": (Forgery(signers=2), TokenStep.ANSWER, "token-signers", False),
    "no certificate": (
        Forgery(certificates=[]), TokenStep.CERTIFICATE, "certificate-missing", False,
    ),
    "another's certificate": (
        Forgery(certificates=[ROOT]), TokenStep.CERTIFICATE, "certificate-missing", False,
    ),
    "time without Z": (with_time(TIME[:-1]), TokenStep.ANSWER, "time-form", None),
    "time with a comma": (
        with_time(b"20251009085325,5Z"), TokenStep.ANSWER, "time-form", True,
    ),
    "time in second 60": (with_time(b"20251009085360Z"), TokenStep.ANSWER, "time-form", True),
    "time with trailing zeros": (
        with_time(b"20251009085325.120Z"), TokenStep.ANSWER, "time-form", True,
    ),
    "time with an offset": (
        with_time(b"20251009085325+0100"), TokenStep.ANSWER, "time-form", None,
    ),
    "time of no calendar": (with_time(b"20250230085325Z"), TokenStep.ANSWER, "time-form", None),
    "time before the certificate": (
        with_time(b"20250919085325Z"), TokenStep.TIME, "certificate: valid in", True,
    ),
    "time after the certificate": (
        with_time(b"20360101000000Z"), TokenStep.TIME, "certificate: valid in", True,
    ),
    "an unknown critical extension": (
        with_extension(is_critical=True), TokenStep.ANSWER, "info-extension", True,
    ),
    "extended key usage not critical": (
        of_certificate(is_critical=False), TokenStep.PURPOSE, "extended key usage", False,
    ),
    "another extended key usage": (
        of_certificate(purposes=(TIME_STAMPING, ExtendedKeyUsageOID.CLIENT_AUTH)),
        TokenStep.PURPOSE, "extended key usage", False,
    ),
    "an unknown extended key usage": (
        of_certificate(purposes=(TIME_STAMPING, ObjectIdentifier(UNKNOWN))),
        TokenStep.PURPOSE, "extended key usage", True,
    ),
    "no extended key usage": (
        of_certificate(purposes=()), TokenStep.PURPOSE, "extended key usage", False,
    ),
    "another key usage": (
        of_certificate(more_usage="key_encipherment"), TokenStep.PURPOSE, "key usage", False,
    ),
    "another authority's name": (
        with_fields(tsa=tree.GeneralName("directory_name", tree.Name.build({"common_name": "x"}))),
        TokenStep.CERTIFICATE, "authority-name", False,
    ),
    "another document": (
        with_fields(
            message_imprint=tsp.MessageImprint(
                {"hash_algorithm": {"algorithm": "sha256"}, "hashed_message": bytes(32)}
            )
        ),
        TokenStep.DOCUMENT, "imprint: expected", False,
    ),
    "an unknown imprint algorithm": (
        with_fields(
            message_imprint=tsp.MessageImprint(
                {"hash_algorithm": {"algorithm": "sha1"}, "hashed_message": bytes(20)}
            )
        ),
        TokenStep.ANSWER, "imprint-algorithm", False,
    ),
    "a signature by another key": (
        Forgery(key=KEY), TokenStep.SIGNATURE, "signature: it is not", False,
    ),
    "signed by a certificate that may not issue": (
        Forgery(
            key=KEY,
            leaf=certificate_of(KEY, issuer=("validator-1", P384)),
            certificates=[
                certificate_of(KEY, issuer=("validator-1", P384)),
                certificate_of(P384, name="validator-1"),
            ],
        ),
        TokenStep.CERTIFICATE, "issuing certificate", False,
    ),
}  # fmt: skip

ACCEPTED: dict[str, Forgery] = {
    "the usual one": Forgery(),
    "ESS by SHA-1 only": Forgery(signing_certificate=ess_1(TSA)),
    "ESS of both versions": Forgery(more_attributes=[ess_1(TSA)]),
    "ESS of both versions, the second of the path": Forgery(
        more_attributes=[ess_1(TSA)], signing_certificate=ess_2(TSA, ROOT)
    ),
    "ESS names the path": Forgery(signing_certificate=ess_2(TSA, ROOT)),
    "ordering and a nonce of 64 bits": with_fields(ordering=True, nonce=2**64 - 1),
    "no accuracy": with_fields(accuracy=None),
    "accuracy in every unit": with_fields(accuracy={"seconds": 1, "millis": 2, "micros": 3}),
    "time to the microsecond": with_time(b"20251009085325.120001Z"),
    "the authority's own name": with_fields(
        tsa=tree.GeneralName("directory_name", tree.Certificate.load(TSA).subject)
    ),
    "an extension of 1 kB that is not critical": with_extension(is_critical=False, size=1_000),
    "an unsigned attribute of 4 kB": Forgery(
        unsigned=[attribute(UNKNOWN, core.OctetString(bytes(4_000)))]
    ),
    "key usage non-repudiation too": of_certificate(more_usage="content_commitment"),
    "P-384 with SHA-384": Forgery(key=P384, leaf=certificate_of(P384), digest="sha384"),
    "P-256 with SHA-512": Forgery(key=KEY, leaf=certificate_of(KEY), digest="sha512"),
    "an unrelated certificate in the token": Forgery(certificates=[TSA, certificate_of(KEY)]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_for_the_stated_reason(tmp_path: Path, name: str) -> None:
    forgery, step, reason, is_accepted = REFUSED[name]
    token = forgery.token()
    outcome, reports = verify_token(token, EXPECTED)
    assert (outcome, reports[-1].step) == (Outcome.NOT_VERIFIED, step), reports[-1].detail
    assert reports[-1].detail.startswith(reason)
    assert [report.step for report in reports] == list(TokenStep)[: len(reports)]
    if is_accepted is not None:
        assert OpenSsl(tmp_path).accepts(token) is is_accepted


@pytest.mark.parametrize("name", ACCEPTED)
def test_it_is_sound_and_one_keys_word(tmp_path: Path, name: str) -> None:
    token = ACCEPTED[name].token()
    for data in (token, encode_granted(token)):
        outcome, reports = verify_token(data, EXPECTED)
        assert outcome is Outcome.NOT_ROOTED
        assert reports[-1].step is TokenStep.CHAIN, reports[-1].detail
    assert OpenSsl(tmp_path).accepts(token)


def test_rsa_is_taken_too(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    for digest in ("sha256", "sha384", "sha512"):
        token = Forgery(key=rsa_key, leaf=certificate_of(rsa_key), digest=digest).token()
        _, reports = verify_token(token, EXPECTED)
        assert reports[-1].step is TokenStep.CHAIN, reports[-1].detail
        assert OpenSsl(tmp_path).accepts(token)


def test_an_rsa_key_that_is_too_short_is_refused() -> None:
    key = rsa.generate_private_key(65_537, 1_024)
    _, reports = verify_token(Forgery(key=key, leaf=certificate_of(key)).token(), EXPECTED)
    assert reports[-1].detail == "signature key: expected at least 2048 bits"


def test_a_certificate_that_expired_since_is_no_reason_to_refuse() -> None:
    forgery = of_certificate(not_before=START - DAY, not_after=START + DAY)
    _, reports = verify_token(forgery.token(), EXPECTED)
    assert reports[-1].step is TokenStep.CHAIN


def test_a_time_in_the_future_is_refused_by_a_clock_and_not_without(tmp_path: Path) -> None:
    token = ISSUER.issue(stamp())
    assert OpenSsl(tmp_path).accepts(token)
    for now_ms, is_future in (
        (TIME_MS - 20 * 86_400_000, True),
        (TIME_MS - CLOCK_ERROR_MS - 1, True),
        (TIME_MS - CLOCK_ERROR_MS, False),
        (TIME_MS, False),
        (None, False),
    ):
        _, reports = verify_token(token, replace(EXPECTED, now_ms=now_ms))
        assert (reports[-1].step is TokenStep.TIME) is is_future
        assert reports[-1].detail.startswith("time-future") is is_future


def test_only_what_is_granted_as_asked_for_is_taken() -> None:
    token = ISSUER.issue(stamp())
    for status in (1, 2, 3, 4, 5, -1):
        info = der.encode_sequence(der.encode_integer(status))
        _, reports = verify_token(der.encode_sequence(info, token), EXPECTED)
        assert reports[-1].detail == f"answer-status: expected 0, granted, got {status}"


def test_the_request_is_answered_and_no_other() -> None:
    request = TimeStampRequest(
        imprint=imprint_of(), nonce=b"\x07", policy=POLICY, wants_certificates=True
    )
    token = ISSUER.issue(stamp(nonce=b"\x07"))
    for asked, reason in (
        (request, "without a chain proof"),
        (replace(request, policy=None), "without a chain proof"),
        (replace(request, nonce=b"\x08"), "nonce: expected"),
        (replace(request, nonce=None), "nonce: expected"),
        (replace(request, policy="1.2.3"), "policy: expected"),
        (replace(request, imprint=imprint_of(b"another")), "imprint: expected that of the request"),
        (replace(request, wants_certificates=False), "certificates: expected none in the token"),
    ):
        _, reports = verify_token(token, replace(EXPECTED, request=asked))
        assert reports[-1].detail.startswith(reason)
    _, reports = verify_token(ISSUER.issue(stamp()), replace(EXPECTED, request=request))
    assert reports[-1].detail.startswith("nonce: expected")


def test_a_token_without_certificates_is_checked_by_one_at_hand() -> None:
    token = ISSUER.issue(stamp(has_certificates=False))
    other = certificate_of(KEY)
    for certificates, step, reason in (
        ((), TokenStep.CERTIFICATE, "certificate-missing"),
        ((ROOT, other), TokenStep.CERTIFICATE, "certificate-missing"),
        ((ROOT, TSA, other), TokenStep.CHAIN, "without a chain proof"),
        ((*[other] * 63, TSA), TokenStep.CHAIN, "without a chain proof"),
        ((TSA,) * 65, TokenStep.CERTIFICATE, "certificates: expected at most"),
        ((b"no certificate",), TokenStep.CERTIFICATE, "certificate: "),
    ):
        _, reports = verify_token(token, replace(EXPECTED, certificates=certificates))
        assert reports[-1].step is step
        assert reports[-1].detail.startswith(reason)
    request = TimeStampRequest(imprint=imprint_of())
    for wants_certificates, reason in (
        (False, "without a chain"),
        (True, "certificates: expected"),
    ):
        asked = replace(request, wants_certificates=wants_certificates)
        expected = replace(EXPECTED, certificates=(TSA,), request=asked)
        _, reports = verify_token(token, expected)
        assert reports[-1].detail.startswith(reason)


@pytest.mark.parametrize(
    ("reason", "since_ms", "is_revoked"),
    [
        (ReasonFlags.superseded, TIME_MS + 5_000, False),
        (ReasonFlags.superseded, TIME_MS - 5_000, True),
        (ReasonFlags.key_compromise, TIME_MS + 5_000, True),
        (None, TIME_MS + 5_000, True),
    ],
)
def test_a_revoked_key_has_not_even_its_word(
    tmp_path: Path, reason: ReasonFlags | None, since_ms: int, *, is_revoked: bool
) -> None:
    token, serial_number = ISSUER.issue(stamp()), AuthorityCertificate.read(TSA).serial_number
    entry = RevokedSerial(serial_number, since_ms, reason)
    data = build_revocation_list(
        AUTHORITY, [entry], made_ms=since_ms, next_ms=since_ms + 100 * 31_536_000_000
    )
    revocations = [RevocationList.read(data)]
    outcome, reports = verify_token(token, replace(EXPECTED, revocations=revocations))
    assert reports[-1].step is TokenStep.CHAIN
    assert reports[-1].detail.startswith("revoked: ") is is_revoked
    assert outcome is (Outcome.NOT_VERIFIED if is_revoked else Outcome.NOT_ROOTED)
    openssl = OpenSsl(tmp_path)
    with (tmp_path / "root.pem").open("ab") as roots:
        roots.write(encode_list_pem(data))
    at = ("-attime", str(TIME_MS // 1_000 + 10))
    assert openssl.accepts(token, more=at)
    assert not openssl.accepts(token, more=(*at, "-crl_check"))  # whatever the reason


def test_a_list_in_the_name_of_an_authority_is_by_its_key() -> None:
    forged = RevocationList.read(
        build_revocation_list(
            Authority(
                build_authority_certificate(signer("another"), "org-1", ISSUANCE), signer("another")
            ),
            [],
            made_ms=TIME_MS,
            next_ms=TIME_MS,
        )
    )
    outcome, reports = verify_token(ISSUER.issue(stamp()), replace(EXPECTED, revocations=[forged]))
    assert outcome is Outcome.NOT_VERIFIED
    assert "not signed by" in reports[-1].detail


def test_an_authority_that_is_not_known_roots_nothing() -> None:
    for roots in ((), (certificate_of(KEY, is_authority=True),), (b"no certificate",)):
        outcome, reports = verify_token(Forgery().token(), replace(EXPECTED, roots=roots))
        assert outcome is Outcome.NOT_ROOTED
        assert reports[-1].step is TokenStep.AUTHORITY


def test_a_path_of_three_goes_by_way_of_the_token_and_no_longer_than_allowed(
    tmp_path: Path,
) -> None:
    top, middle = (ec.derive_private_key(number, ec.SECP256R1()) for number in (8, 9))
    leaf = certificate_of(KEY, issuer=("middle", middle))
    between = certificate_of(middle, name="middle", issuer=("top", top), is_authority=True)
    forgery = Forgery(key=KEY, leaf=leaf, certificates=[leaf, between])
    for length, is_allowed in ((1, True), (0, False)):
        root = certificate_of(
            top, name="top", issuer=("top", top), is_authority=True, path_length=length
        )
        _, reports = verify_token(forgery.token(), replace(EXPECTED, roots=(root,)))
        assert (reports[-1].step is TokenStep.CHAIN) is is_allowed, reports[-1].detail
        assert OpenSsl(tmp_path, root=root).accepts(forgery.token()) is is_allowed


def test_certificates_at_hand_stand_in_for_those_missing_in_the_token(tmp_path: Path) -> None:
    token = ISSUER.issue(stamp(has_certificates=False))
    _, reports = verify_token(token, replace(EXPECTED, certificates=(TSA,)))
    assert reports[-1].step is TokenStep.CHAIN
    (tmp_path / "tsa.pem").write_bytes(encode_pem(TSA))
    assert OpenSsl(tmp_path).accepts(token, more=("-untrusted", "tsa.pem"))


def test_what_a_token_holds_is_bounded() -> None:
    many = [certificate_of(KEY, name=f"validator-{number}") for number in range(9)]
    _, reports = verify_token(Forgery(certificates=many).token(), EXPECTED)
    assert reports[-1].detail == "certificates: expected at most 8"
    _, reports = verify_token(b"\x30" + bytes(9_000_000), EXPECTED)
    assert reports[-1].detail.startswith("answer: expected at most")


def test_whatever_byte_changes_it_never_raises_and_never_passes() -> None:
    token = Forgery(unsigned=[attribute(UNKNOWN, core.OctetString(b"x"))]).token()
    unsigned_at = token.index(der.encode_oid(UNKNOWN)) - 4
    for position in range(len(token)):
        for mask in (0x01, 0x10, 0x80, 0xFF):
            flipped = bytearray(token)
            flipped[position] ^= mask
            outcome, reports = verify_token(bytes(flipped), EXPECTED)
            if position < unsigned_at:
                assert outcome is Outcome.NOT_VERIFIED or reports[-1].step < TokenStep.CHAIN


@given(st.binary(max_size=200))
def test_any_bytes_get_an_answer(data: bytes) -> None:
    outcome, reports = verify_token(data, EXPECTED)
    assert (outcome, reports[-1].step) == (Outcome.NOT_VERIFIED, TokenStep.ANSWER)
