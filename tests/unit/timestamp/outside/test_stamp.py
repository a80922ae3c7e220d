"""Tokens of other authorities: OpenSSL makes them and judges them, published ones too."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from node.crypto import der
from node.crypto.authority import AuthorityCertificate
from node.crypto.certificate import encode_pem
from node.crypto.suite import SHA_256, SHA_384, SHA_512, DocumentDigest
from node.timestamp.outside.stamp import OutsideAuthority, StampVerdict, verify_stamp
from node.timestamp.steps import CLOCK_ERROR_MS, Outcome
from node.timestamp.tokens.check import TokenStep
from node.timestamp.tokens.reading import ReadToken, token_of_answer
from node.timestamp.tokens.request import TimeStampRequest
from tests.unit.timestamp.authority import ROOT, TIME_MS, OpenSsl, imprint_of
from tests.unit.timestamp.outside.openssl_authority import (
    DAY,
    POLICY,
    REQUEST,
    Habits,
    OpenSslAuthority,
)
from tests.unit.timestamp.reference_token import (
    Forgery,
    PrivateKey,
    Pss,
    Tree,
    certificate_of,
    ess_1,
)

IMPRINT = imprint_of()
OF_DOCUMENT = (SHA_256, IMPRINT.digest)
BELIEVED = OutsideAuthority(roots=(ROOT,))
CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", re.DOTALL)
DAY_MS = 86_400_000
RSA = rsa.generate_private_key(65_537, 2_048)
P521 = ec.derive_private_key(7, ec.SECP521R1())
ED25519 = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))

MAKERS: dict[str, tuple[PrivateKey | None, Habits]] = {
    "P-256": (None, Habits()),
    "P-384": (ec.derive_private_key(7, ec.SECP384R1()), Habits(digest="sha384")),
    "P-521": (P521, Habits(digest="sha512")),
    "RSA with SHA-256": (RSA, Habits()),
    "RSA with SHA-512": (RSA, Habits(digest="sha512")),
    "named by SHA-1 alone": (None, Habits(name_digest="sha1")),
    "named by SHA-512": (None, Habits(name_digest="sha512")),
    "an intermediate in the token": (None, Habits(has_intermediate=True)),
    "the path named": (None, Habits(has_intermediate=True, names_path=True)),
    "whole seconds": (None, Habits(fraction_digits=0)),
}


def judge(data: bytes, believed: OutsideAuthority = BELIEVED, **more: object) -> StampVerdict:
    return verify_stamp(data, OF_DOCUMENT, believed, **more)  # type: ignore[arg-type]


def refused(verdict: StampVerdict) -> tuple[Outcome, object, str]:
    assert verdict.failure is not None
    assert verdict.attestation is None
    return verdict.outcome, verdict.failure.step, verdict.failure.detail.split(":")[0]


@pytest.mark.parametrize("name", MAKERS)
def test_what_openssl_makes_is_taken_by_it_and_by_us(tmp_path: Path, name: str) -> None:
    authority = OpenSslAuthority(tmp_path / "authority", *MAKERS[name])
    before_ms = int(datetime.now(UTC).timestamp()) * 1_000
    answer = authority.answer()
    believed = OutsideAuthority(roots=(authority.root,), policies=(POLICY,))
    verdict = judge(answer, believed, request=REQUEST)
    assert verdict.outcome is Outcome.VERIFIED, verdict.steps[-1].detail
    assert [report.step for report in verdict.steps] == list(TokenStep)[:-1]
    stamp = verdict.attestation
    assert stamp is not None
    assert stamp.time_ms >= before_ms
    assert (stamp.accuracy_ms, stamp.latest_ms) == (1_500, stamp.time_ms + 1_500)
    assert (stamp.serial_number, stamp.policy) == (2, POLICY)
    assert stamp.path[0] == authority.certificate
    assert stamp.path[-1] == authority.root
    assert stamp.authority.startswith("CN=outside tsa")
    assert abs(stamp.valid_until_ms - before_ms - DAY_MS) < 60_000
    assert judge(stamp.token, believed).attestation == stamp
    folder = tmp_path / "judge"
    folder.mkdir()
    assert OpenSsl(folder, root=authority.root).accepts(stamp.token, request=REQUEST)


@pytest.mark.parametrize("algorithm", [SHA_256, SHA_384, SHA_512], ids=lambda each: each.name)
def test_the_imprint_may_be_by_any_of_sha_2(tmp_path: Path, algorithm: DocumentDigest) -> None:
    authority = OpenSslAuthority(tmp_path)
    imprint = imprint_of(algorithm=algorithm)
    request = TimeStampRequest(imprint=imprint, wants_certificates=True)
    answer = authority.answer(request.encode())
    believed = OutsideAuthority(roots=(authority.root,))
    assert verify_stamp(answer, (algorithm, imprint.digest), believed).attestation is not None
    other = (algorithm, bytes(algorithm.size))
    assert refused(verify_stamp(answer, other, believed))[1:] == (TokenStep.DOCUMENT, "imprint")


def test_certificates_left_out_are_given_by_the_verifier(tmp_path: Path) -> None:
    authority = OpenSslAuthority(tmp_path)
    answer = authority.answer(replace(REQUEST, wants_certificates=False).encode())
    bare = OutsideAuthority(roots=(authority.root,))
    given_too = replace(bare, certificates=(encode_pem(authority.certificate),))
    assert refused(judge(answer, bare))[1:] == (TokenStep.CERTIFICATE, "certificate-missing")
    assert judge(answer, given_too).outcome is Outcome.VERIFIED


def test_its_path_is_judged_at_gen_time_and_at_the_time_given() -> None:
    start = datetime.fromtimestamp(TIME_MS // 1_000, UTC)
    leaf = certificate_of(P521, not_before=start - DAY, not_after=start + DAY)
    token = Forgery(key=P521, leaf=leaf, digest="sha512").token()
    end_ms = TIME_MS // 1_000 * 1_000 + DAY_MS
    stamp = judge(token).attestation
    assert stamp is not None
    assert stamp.valid_until_ms == end_ms
    for judged_at_ms, reason in (
        (TIME_MS - 1, "time-judged"),
        (TIME_MS, None),
        (end_ms, None),
        (end_ms + 1, "certificate"),
    ):
        verdict = judge(token, judged_at_ms=judged_at_ms)
        if reason is None:
            assert verdict.attestation == stamp
        else:
            assert refused(verdict) == (Outcome.NOT_VERIFIED, TokenStep.TIME, reason)


def test_an_authority_that_is_expired_at_gen_time_is_refused_though_openssl_may_take_it() -> None:
    start = datetime.fromtimestamp(TIME_MS // 1_000, UTC)
    key = ec.derive_private_key(11, ec.SECP256R1())
    root = certificate_of(
        key,
        name="old",
        issuer=("old", key),
        is_authority=True,
        not_before=start - 20 * DAY,
        not_after=start - 10 * DAY,
    )
    token = Forgery(key=P521, leaf=certificate_of(P521, issuer=("old", key)), digest="sha512")
    verdict = judge(token.token(), OutsideAuthority(roots=(root,)))
    assert refused(verdict) == (Outcome.NOT_VERIFIED, TokenStep.TIME, "certificate")


def test_policy_nonce_and_clock_are_compared(tmp_path: Path) -> None:
    authority = OpenSslAuthority(tmp_path)
    answer = authority.answer()
    believed = OutsideAuthority(roots=(authority.root,))
    for policies, is_taken in (((), True), ((POLICY, "1.2.3"), True), (("1.2.3",), False)):
        verdict = judge(answer, replace(believed, policies=policies))
        assert (verdict.attestation is not None) is is_taken
        assert is_taken or refused(verdict)[1:] == (TokenStep.DOCUMENT, "policy")
    other = replace(REQUEST, nonce=b"\x2b")
    assert refused(judge(answer, believed, request=other))[2] == "nonce"
    stamp = judge(answer, believed).attestation
    assert stamp is not None
    earliest_ms = stamp.time_ms - CLOCK_ERROR_MS
    assert judge(answer, believed, now_ms=earliest_ms).attestation == stamp
    assert refused(judge(answer, believed, now_ms=earliest_ms - 1))[2] == "time-future"


def test_another_authority_roots_nothing(tmp_path: Path) -> None:
    answer = OpenSslAuthority(tmp_path / "one").answer()
    other = OutsideAuthority(roots=(OpenSslAuthority(tmp_path / "other").root,))
    outcome, step, _ = refused(judge(answer, other))
    assert (outcome, step) == (Outcome.NOT_ROOTED, TokenStep.AUTHORITY)


PSS_CASES: dict[str, tuple[Pss, str, str | None]] = {
    "SHA-256": (Pss(), "sha256", None),
    "SHA-384": (Pss(), "sha384", None),
    "SHA-512": (Pss(), "sha512", None),
    "another mask": (Pss(mask_digest="sha512"), "sha256", "pss-parameters"),
    "no salt": (Pss(salt_bytes=0), "sha256", "pss-parameters"),
    "a short salt": (Pss(salt_bytes=16), "sha256", "pss-parameters"),
}


@pytest.mark.parametrize("name", PSS_CASES)
def test_pss_is_taken_with_mask_and_salt_by_its_digest(tmp_path: Path, name: str) -> None:
    pss, digest, reason = PSS_CASES[name]
    forgery = Forgery(key=RSA, leaf=certificate_of(RSA), digest=digest, pss=pss)
    token = forgery.token()
    verdict = judge(token)
    if reason is None:
        assert verdict.outcome is Outcome.VERIFIED, verdict.steps[-1].detail
    else:
        assert refused(verdict) == (Outcome.NOT_VERIFIED, TokenStep.ANSWER, reason)
        return
    (tmp_path / "token.der").write_bytes(token)
    (tmp_path / "root.pem").write_bytes(encode_pem(ROOT))
    judged = subprocess.run(  # `openssl ts` knows no PSS; its CMS does
        ["openssl", "cms", "-verify", "-inform", "DER", "-in", "token.der", "-CAfile", "root.pem",
         "-purpose", "timestampsign", "-attime", str(TIME_MS // 1_000), "-out", "content"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert judged.returncode == 0, judged.stderr


def test_ed25519_is_taken_where_it_is_allowed() -> None:
    forgery = Forgery(key=ED25519, leaf=certificate_of(ED25519), digest="sha512")
    for allows, is_taken in ((True, True), (False, False)):
        verdict = judge(forgery.token(), replace(BELIEVED, allows_ed25519=allows))
        assert (verdict.attestation is not None) is is_taken
    weaker = replace(forgery, digest="sha256").token()
    verdict = judge(weaker, replace(BELIEVED, allows_ed25519=True))
    assert refused(verdict)[1:] == (TokenStep.SIGNATURE, "signature algorithm")


def test_a_curve_beside_the_three_is_refused() -> None:
    key = ec.derive_private_key(7, ec.SECP256K1())
    verdict = judge(Forgery(key=key, leaf=certificate_of(key)).token())
    assert refused(verdict)[1:] == (TokenStep.SIGNATURE, "signature key")


def test_sha_1_names_the_certificate_and_nothing_else() -> None:
    key = ec.derive_private_key(11, ec.SECP256R1())
    leaf = certificate_of(key)
    assert judge(Forgery(key=key, leaf=leaf, signing_certificate=ess_1(leaf)).token()).attestation
    sha_1 = bytes.fromhex("300906052b0e03021a0500")
    token = Forgery(key=key, leaf=leaf).token()
    sha_256 = der.encode_sequence(der.encode_oid(SHA_256.oid))
    assert sha_256 in token
    swapped = token.replace(sha_256, sha_1[: len(sha_256)])
    assert judge(swapped).outcome is Outcome.NOT_VERIFIED


def test_a_certificate_signed_with_sha_1_leads_nowhere(tmp_path: Path) -> None:
    key, top = (ec.derive_private_key(number, ec.SECP256R1()) for number in (11, 12))
    root = certificate_of(top, name="top", issuer=("top", top), is_authority=True)
    for name, private in (("leaf", key), ("top", top)):
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (tmp_path / f"{name}.key").write_bytes(pem)
    (tmp_path / "top.pem").write_bytes(encode_pem(root))
    (tmp_path / "purpose").write_text("extendedKeyUsage = critical, timeStamping\n")
    for digest, outcome in (("sha1", Outcome.NOT_ROOTED), ("sha256", Outcome.VERIFIED)):
        request = ["req", "-new", "-key", "leaf.key", "-subj", "/CN=leaf", "-out", "leaf.req"]
        sign = ["x509", "-req", "-in", "leaf.req", "-CA", "top.pem", "-CAkey", "top.key"]
        sign += ["-set_serial", "7", f"-{digest}", "-extfile", "purpose", "-out", "leaf.pem"]
        for command in (request, sign):
            done = subprocess.run(
                ["openssl", *command], cwd=tmp_path, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
        leaf = AuthorityCertificate.read((tmp_path / "leaf.pem").read_bytes())
        stamped = Forgery(key=key, leaf=leaf.encoded, info=at(leaf.not_before_ms)).token()
        assert judge(stamped, OutsideAuthority(roots=(root,))).outcome is outcome


def at(time_ms: int) -> Callable[[Tree], None]:
    """Return what dates a token."""

    def change(info: Tree) -> None:
        info["gen_time"] = datetime.fromtimestamp(time_ms // 1_000, UTC)

    return change


def test_an_accuracy_of_more_than_a_day_is_none() -> None:
    for seconds in (86_400, 86_401, 10**5_000):

        def change(info: Tree, seconds: int = seconds) -> None:
            info["accuracy"] = {"seconds": seconds}

        verdict = judge(Forgery(info=change).token())
        if seconds == 86_400:
            assert verdict.attestation is not None
            assert verdict.attestation.accuracy_ms == DAY_MS
        else:
            assert refused(verdict)[1:] == (TokenStep.ANSWER, "token info accuracy")


def test_a_number_too_long_to_be_told_is_refused_and_not_told() -> None:
    huge = der.encode_integer(10**5_000)
    for data in (
        der.encode_sequence(der.encode_sequence(huge), der.encode_sequence()),  # its status
        Forgery().token().replace(der.encode_integer(3), huge, 1),  # no length fits any more
        Forgery(info=with_serial_number(10**5_000)).token(),
    ):
        assert refused(judge(data))[:2] == (Outcome.NOT_VERIFIED, TokenStep.ANSWER)


def with_serial_number(number: int) -> Callable[[Tree], None]:
    """Return what numbers a token."""

    def change(info: Tree) -> None:
        info["serial_number"] = number

    return change


def test_an_intermediate_for_other_purposes_issues_no_time_stamps() -> None:
    top, middle = (ec.derive_private_key(number, ec.SECP256R1()) for number in (8, 9))
    root = certificate_of(top, name="top", issuer=("top", top), is_authority=True, path_length=1)
    leaf = certificate_of(P521, issuer=("middle", middle))
    for purposes, is_taken in (
        ((), True),
        ((ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.CODE_SIGNING), True),
        ((ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,), True),
        ((ExtendedKeyUsageOID.SERVER_AUTH,), False),
    ):
        between = certificate_of(
            middle, name="middle", issuer=("top", top), is_authority=True, issues_for=purposes
        )
        forgery = Forgery(key=P521, leaf=leaf, certificates=[leaf, between], digest="sha512")
        verdict = judge(forgery.token(), OutsideAuthority(roots=(root,)))
        assert (verdict.attestation is not None) is is_taken
        if not is_taken:
            assert refused(verdict)[1:] == (TokenStep.CERTIFICATE, "issuing certificate")


PUBLISHED = {
    "sigstage/response-sha256.tsr": None,
    "sigstage/response-sha384.tsr": None,
    "sigstage/response-sha512.tsr": None,
    "sigstage/response-no-embedded-cert.tsr": None,
    "sigstage/response-invalid-signature.tsr": TokenStep.SIGNATURE,
    "sigstore.mock/response-expired.tsr": None,  # expired since, valid at its time
    "test_tsa/response.tsr": None,
    "test_tsa/other_response.tsr": TokenStep.AUTHORITY,  # of another run, whose root was another
    "test_tsa/response-injected-certs.tsr": None,  # those injected are looked past
    "identrust/issue-104.tsr": None,
}


@pytest.mark.parametrize("path", PUBLISHED)
def test_a_published_reply_has_its_verdict_which_is_that_of_openssl(
    tmp_path: Path, path: str
) -> None:
    folder = os.environ.get("GOVCHAIN_VECTORS")
    if folder is None:
        pytest.skip("GOVCHAIN_VECTORS is not set: the published replies were not run")
    file = Path(folder) / "rfc3161" / "test" / "fixtures" / path
    chain = (file.parent / "ts_chain.pem").read_bytes()
    *others, root = CERTIFICATE.findall(chain) or [chain]
    token = ReadToken.decode(token_of_answer(file.read_bytes()))
    imprint = token.info.imprint
    believed = OutsideAuthority(roots=(root,), certificates=others)
    verdict = verify_stamp(file.read_bytes(), (imprint.algorithm, imprint.digest), believed)
    failure = verdict.failure
    assert (None if failure is None else failure.step) is PUBLISHED[path], verdict.steps[-1].detail
    shutil.copy(file, tmp_path / "answer.tsr")
    (tmp_path / "root.pem").write_bytes(encode_pem(AuthorityCertificate.read(root).encoded))
    (tmp_path / "others.pem").write_bytes(b"".join(others))
    judged = OpenSsl.command(
        tmp_path, "-verify", "-in", "answer.tsr", "-digest", imprint.digest.hex(),
        "-CAfile", "root.pem", "-attime", str(token.info.time_ms // 1_000),
        *(("-untrusted", "others.pem") if others else ()),
    )  # fmt: skip
    assert (judged.returncode == 0) is (verdict.outcome is Outcome.VERIFIED), judged.stderr


@pytest.mark.parametrize("key", [None, RSA], ids=["P-256", "RSA"])
def test_whatever_byte_of_a_token_changes_what_it_attests_does_not(
    tmp_path: Path, key: PrivateKey | None
) -> None:
    authority = OpenSslAuthority(tmp_path, key)
    believed = OutsideAuthority(roots=(authority.root,))
    stamp = judge(authority.answer(), believed).attestation
    assert stamp is not None
    taken = []
    for position in range(len(stamp.token)):
        flipped = bytearray(stamp.token)
        flipped[position] ^= 0x0A if key is RSA else 1 << position % 8
        found = judge(bytes(flipped), believed).attestation
        if found is not None:
            algorithm = found.signature_algorithm
            taken.append((stamp.signature_algorithm, algorithm))
            assert replace(found, token=stamp.token, signature_algorithm=taken[0][0]) == stamp
    renamed = ("1.2.840.113549.1.1.1", "1.2.840.113549.1.1.11")  # that says SHA-256 once more
    assert taken == ([renamed] if key is RSA else [])


@given(st.binary(max_size=200))
def test_any_bytes_get_a_verdict(data: bytes) -> None:
    verdict = judge(data)
    assert (verdict.outcome, verdict.attestation) == (Outcome.NOT_VERIFIED, None)
