"""What is given beside a receipt or a token: the HTML verifier judges by it as ours does."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ReasonFlags
from cryptography.x509.oid import NameOID

from node.crypto.certificate import Authority, encode_der, encode_pem, load_certificate
from node.crypto.revocation import RevokedSerial, build_revocation_list, encode_list_pem
from node.crypto.suite import SHA_256
from node.errors import CryptoError, DecodeError
from node.timestamp.tokens.issuing import take_chain_proof
from node.timestamp.tokens.of_record import encode_tsr
from node.timestamp.tokens.reading import token_of_answer
from node.timestamp.tokens.request import Imprint, TimeStampRequest
from tests.outside.html_verifier import (
    Case,
    answers,
    difference,
    encoded,
    judge,
    sentence_difference,
)
from tests.unit.timestamp.authority import TSA
from tests.vectors.receipt.chain import signer
from tests.vectors.receipt.story import DOCUMENT, PLAIN, build_chain
from tests.vectors.receipt.tokens import (
    FIVE_YEARS,
    authority_of,
    issuer_of,
    tsa_certificate_of,
    with_token,
)

CHAIN: Final = build_chain()
TRUST: Final = CHAIN.trust().encode()
DIGEST: Final = f"sha-256:{hashlib.sha256(DOCUMENT).hexdigest()}"
AUTHORITY: Final = authority_of(CHAIN)
HOLDING: Final = with_token(CHAIN.receipt(PLAIN, 1), issuer_of(AUTHORITY), nonce=b"\x2a")
LACKING: Final = with_token(
    CHAIN.receipt(PLAIN, 1), issuer_of(AUTHORITY), has_certificates=False, nonce=b"\x2a"
)
TIME_MS: Final = HOLDING.block.header.time_ms
REQUEST: Final = TimeStampRequest(
    imprint=Imprint.of(SHA_256, SHA_256.new_hash(DOCUMENT).digest()), nonce=b"\x2a"
)
OWN: Final = tsa_certificate_of(AUTHORITY)


def bare(receipt: object) -> bytes:
    """Return the token of a receipt, without what vouches for it."""
    return take_chain_proof(token_of_answer(encode_tsr(receipt) or b""))[0]  # type: ignore[arg-type]


def revoking(since_ms: int, reason: ReasonFlags | None, by: Authority = AUTHORITY) -> bytes:
    """Return a list that revokes the certificate of the tokens' key."""
    entry = RevokedSerial(FIVE_YEARS.serial_number, since_ms, reason)
    return build_revocation_list(by, [entry], made_ms=TIME_MS, next_ms=TIME_MS)


def special(*, in_part: bool = False, invalid_since_ms: int | None = None) -> bytes:
    """Return one for a stolen key, of some certificates alone, or since when it was not its own."""
    moment = datetime.fromtimestamp(TIME_MS // 1_000 + 3_600, UTC)
    entry = x509.RevokedCertificateBuilder(FIVE_YEARS.serial_number, moment)
    entry = entry.add_extension(x509.CRLReason(ReasonFlags.key_compromise), critical=False)
    if invalid_since_ms is not None:
        since = datetime.fromtimestamp(invalid_since_ms // 1_000, UTC).replace(tzinfo=None)
        entry = entry.add_extension(x509.InvalidityDate(since), critical=False)
    issuer = load_certificate(AUTHORITY.certificate).subject
    builder = x509.CertificateRevocationListBuilder(issuer, moment, moment)
    if in_part:
        builder = builder.add_extension(x509.DeltaCRLIndicator(1), critical=True)
    key = AUTHORITY.signer.private_key  # type: ignore[attr-defined]
    made = builder.add_revoked_certificate(entry.build()).sign(key, hashes.SHA256())
    return made.public_bytes(Encoding.DER)


def stranger(name: str | None) -> bytes:
    """Return a list by another key in that name, or in the authority's."""
    subject = load_certificate(AUTHORITY.certificate).subject
    if name is not None:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    moment = datetime.fromtimestamp(TIME_MS // 1_000, UTC)
    entry = x509.RevokedCertificateBuilder(FIVE_YEARS.serial_number, moment).build()
    builder = x509.CertificateRevocationListBuilder(subject, moment, moment)
    key = signer("a stranger").private_key
    made = builder.add_revoked_certificate(entry).sign(key, hashes.SHA256())
    return made.public_bytes(Encoding.DER)


def cases() -> Iterator[Case]:
    """Yield tokens with and without a receipt, and all that may be beside them."""
    harmless, hour_ms = ReasonFlags.superseded, 3_600_000
    stolen = revoking(0, None)
    for name, receipt, *beside in (
        ("the key's certificate", LACKING.encode(), encode_pem(OWN)),
        ("in DER", LACKING.encode(), encode_der(OWN)),
        ("among others", LACKING.encode(), encode_pem(TSA) + encode_pem(OWN)),
        ("another's", LACKING.encode(), encode_pem(TSA)),
        ("none", LACKING.encode()),
        ("the request", LACKING.encode(), encode_pem(OWN), REQUEST.encode()),
        ("the request, without receipt", bare(LACKING), encode_pem(OWN), REQUEST.encode()),
        ("another nonce", bare(LACKING), OWN, replace(REQUEST, nonce=b"\x2b").encode()),
        ("no nonce", bare(HOLDING), replace(REQUEST, nonce=None).encode()),
        ("another policy", bare(LACKING), OWN, replace(REQUEST, policy="1.2.3").encode()),
        ("certificates asked for", bare(LACKING), OWN, _wanting(wanted=True)),
        ("no certificates asked for", bare(HOLDING), REQUEST.encode()),
        ("certificates asked for and there", bare(HOLDING), _wanting(wanted=True)),
        ("another document", bare(HOLDING), _of_another()),
        ("no token", replace(HOLDING, token=None).encode(), REQUEST.encode()),
        ("stolen", bare(HOLDING), stolen),
        ("stolen, of a record", HOLDING.encode(), stolen),
        ("stolen, in PEM", HOLDING.encode(), encode_list_pem(stolen)),
        ("retired later", bare(HOLDING), revoking(TIME_MS + hour_ms, harmless)),
        ("retired before", bare(HOLDING), revoking(TIME_MS - hour_ms, harmless)),
        ("retired, of a record", HOLDING.encode(), revoking(TIME_MS + hour_ms, harmless)),
        ("stolen later", bare(HOLDING), special()),
        ("invalid before", bare(HOLDING), special(invalid_since_ms=TIME_MS - hour_ms)),
        ("a part", bare(HOLDING), special(in_part=True)),
        ("another name", bare(HOLDING), stranger("nobody, of here")),
        ("another key", bare(HOLDING), stranger(None)),
        ("another key, then its own", HOLDING.encode(), stranger(None), stolen),
        ("nothing revoked", bare(HOLDING), _empty()),
    ):
        assert isinstance(name, str)
        yield Case(name, TRUST, receipt, DIGEST, beside=tuple(beside))


def _wanting(*, wanted: bool) -> bytes:
    return replace(REQUEST, wants_certificates=wanted).encode()


def _of_another() -> bytes:
    digest = SHA_256.new_hash(b"another").digest()
    return replace(REQUEST, imprint=Imprint.of(SHA_256, digest)).encode()


def _empty() -> bytes:
    return build_revocation_list(AUTHORITY, [], made_ms=TIME_MS, next_ms=TIME_MS)


def test_what_is_beside_has_the_same_weight(tmp_path: Path) -> None:
    tried = list(cases())
    found = answers([encoded(case) for case in tried], tmp_path)
    assert [each for each in map(difference, tried, found) if each is not None] == []
    assert [each for each in map(sentence_difference, tried, found) if each is not None] == []
    assert {answer["outcome"] for answer in found} == {"verified", "not verified", "not rooted"}
    refused = {each["steps"][-1]["detail"].partition(":")[0] for each in found}
    expected = {"nonce", "policy", "certificates", "imprint", "token-missing", "revoked"}
    assert refused > {*expected, "revocation list", "certificate-missing"}


def test_no_damage_of_a_list_makes_it_weigh_less_than_ours_takes_it_for(tmp_path: Path) -> None:
    stolen, tried = revoking(0, None), []
    for at in range(0, len(stolen), 3):
        damaged = bytearray(stolen)
        damaged[at] ^= 1 << at % 8
        tried.append(Case(f"at {at}", TRUST, bare(HOLDING), DIGEST, beside=(bytes(damaged),)))
    found = answers([encoded(case) for case in tried], tmp_path)
    for case, answer in zip(tried, found, strict=True):
        try:
            said = difference(case, answer) if "outcome" in answer else None
        except (CryptoError, DecodeError):  # we do not even read it
            said = None if answer["outcome"] == "not verified" else f"{case.name}: {answer}"
        assert said is None
    assert {answer.get("refused") is None for answer in found} == {True, False}


def test_what_is_no_such_file_is_refused(tmp_path: Path) -> None:
    good = encode_pem(OWN)
    for data in (good[:-30], b"x" + good, good.replace(b"MII", b"M!I"), REQUEST.encode() + b"\0"):
        case = Case("", TRUST, bare(HOLDING), DIGEST, beside=(data,))
        (answer,) = answers([encoded(case)], tmp_path)
        assert answer["refused"], data
    with pytest.raises(CryptoError):
        judge(Case("", TRUST, bare(HOLDING), DIGEST, beside=(good.replace(b"MII", b"M!I"),)))
