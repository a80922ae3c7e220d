"""What single verifiers let pass: each hole is real, and ours refuses it by a name.

The rows are those of an ablation of one token, one thing changed at a time, in which some verifier
accepts what it should not. Two are nobody's: all accept a time in the future and a critical
extension that is unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response

from node.crypto.certificate import encode_pem
from node.timestamp.steps import Outcome
from node.timestamp.tokens.check import TokenStep, verify_token
from node.timestamp.tokens.issuing import encode_granted
from tests.outside.bouncycastle import verdicts
from tests.outside.sm2_token import sm2_token_without_z
from tests.unit.timestamp.authority import DOCUMENT, ISSUER, ROOT, TIME_MS, OpenSsl, stamp
from tests.unit.timestamp.tokens.test_check import EXPECTED, REFUSED

DAY_MS: Final = 86_400_000
OPENSSL, RFC3161_CLIENT, BOUNCYCASTLE = "openssl", "rfc3161-client", "BouncyCastle"


@dataclass(frozen=True, slots=True)
class Hole:
    """A token, why ours refuses it, and whom it passes; not OpenSSL where versions differ."""

    name: str
    step: TokenStep
    reason: str
    passes: tuple[str, ...]
    make: Callable[[Path], bytes]
    differs: bool = False


def _known(name: str, *passes: str, differs: bool = False) -> Hole:
    forgery, step, reason, _ = REFUSED[name]
    return Hole(name, step, reason, passes, lambda _folder: forgery.token(), differs)


HOLES: Final = (
    _known("no ESS attribute", RFC3161_CLIENT),
    _known("wrong ESS hash", RFC3161_CLIENT),
    _known("content type says data", OPENSSL, RFC3161_CLIENT),
    _known("TSTInfo version 2", RFC3161_CLIENT, BOUNCYCASTLE),
    _known("time without Z", BOUNCYCASTLE, differs=True),
    _known("time before the certificate", OPENSSL),
    _known("an unknown critical extension", OPENSSL, RFC3161_CLIENT, BOUNCYCASTLE),
    Hole(
        "20 days in the future",
        TokenStep.TIME,
        "time-future",
        (OPENSSL, RFC3161_CLIENT, BOUNCYCASTLE),
        lambda _folder: ISSUER.issue(stamp(time_ms=TIME_MS + 20 * DAY_MS)),
    ),
    Hole(
        "SM2 over the digest alone",
        TokenStep.SIGNATURE,
        "signature: it is not the certificate's over this token",
        (OPENSSL, RFC3161_CLIENT),
        sm2_token_without_z,
    ),
)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the tokens by the names of their holes."""
    return {hole.name: hole.make(tmp_path_factory.mktemp("hole")) for hole in HOLES}


@pytest.mark.parametrize("hole", HOLES, ids=lambda hole: hole.name)
def test_ours_refuses_it_by_name(hole: Hole, tokens: dict[str, bytes]) -> None:
    expected = replace(EXPECTED, now_ms=TIME_MS)
    outcome, reports = verify_token(tokens[hole.name], expected)
    assert (outcome, reports[-1].step) == (Outcome.NOT_VERIFIED, hole.step), reports[-1].detail
    assert reports[-1].detail.startswith(hole.reason)


@pytest.mark.parametrize("hole", HOLES, ids=lambda hole: hole.name)
def test_openssl_and_rfc3161_client_are_passed_as_stated(
    hole: Hole, tokens: dict[str, bytes], tmp_path: Path
) -> None:
    token = tokens[hole.name]
    if not hole.differs:
        assert OpenSsl(tmp_path).accepts(token) is (OPENSSL in hole.passes)
    verifier = VerifierBuilder().add_root_certificate(x509.load_der_x509_certificate(ROOT))
    try:
        answer = decode_timestamp_response(encode_granted(token))
        passed = verifier.build().verify_message(answer, DOCUMENT)
    except (VerificationError, ValueError):
        passed = False
    assert passed is (RFC3161_CLIENT in hole.passes)


def test_bouncycastle_is_passed_as_stated(tokens: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "root.pem").write_bytes(encode_pem(ROOT))
    (tmp_path / "document").write_bytes(DOCUMENT)
    cases = []
    for at, token in enumerate(tokens.values()):
        answer = tmp_path / f"{at}.tsr"
        answer.write_bytes(encode_granted(token))
        cases.append((answer, "-", tmp_path / "document", tmp_path / "root.pem", "-"))
    said = dict(zip(tokens, verdicts("TimeStamps", cases), strict=True))
    passed = [name for name, why in said.items() if not why]
    assert passed == [hole.name for hole in HOLES if BOUNCYCASTLE in hole.passes], said
