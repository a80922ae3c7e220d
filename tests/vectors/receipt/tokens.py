"""Receipts with a time-stamp token, good and not: step 9."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from node.crypto import der
from node.crypto.authority import AuthorityCertificate
from node.crypto.certificate import (
    Authority,
    Issuance,
    Member,
    build_authority_certificate,
    build_identity_certificate,
    build_timestamp_certificate,
)
from node.crypto.signature import P256_ORDER
from node.crypto.suite import SHA_256, document_digest_by_id
from node.timestamp.receipt import Receipt
from node.timestamp.tokens.issuing import (
    POLICY,
    SignedAttributes,
    Stamp,
    TokenIssuer,
    add_chain_proof,
    encode_certificates,
    encode_granted,
    encode_signer_id,
    encode_token,
)
from node.timestamp.tokens.of_record import coordinates_of
from node.timestamp.tokens.reading import ReadToken
from node.timestamp.tokens.request import Imprint
from node.timestamp.verify import Outcome, Step
from tests.vectors.receipt.case import Attested, Case, fails
from tests.vectors.receipt.chain import AGENCY, CREATED_MS, Chain, seed, signer
from tests.vectors.receipt.story import DEGRADED, FIRST_OF_EPOCH_1, PLAIN

YEAR_MS: Final = 31_536_000_000
FIVE_YEARS: Final = Issuance(
    serial_number=2, not_before_ms=CREATED_MS, not_after_ms=CREATED_MS + 5 * YEAR_MS
)
TSA_KEY: Final = signer("validator-1 time-stamping")


def authority_of(chain: Chain) -> Authority:
    """Return the authority of org-1 as the chain's genesis has it."""
    return Authority(chain.genesis.organisations[0].ca_certificate, signer("org-1 authority"))


def issuer_of(
    authority: Authority, *, issuance: Issuance = FIVE_YEARS, accuracy_ms: int = 1_000
) -> TokenIssuer:
    """Return the issuer of validator-1's tokens, its key certified by this authority."""
    certificate = tsa_certificate_of(authority, issuance=issuance)
    return TokenIssuer([certificate], TSA_KEY, policy=POLICY, accuracy_ms=accuracy_ms)


def tsa_certificate_of(authority: Authority, *, issuance: Issuance = FIVE_YEARS) -> bytes:
    """Return validator-1's certificate for time-stamping."""
    key = TSA_KEY.public_key.encoded
    return build_timestamp_certificate(authority, "validator-1", key, issuance)


def with_token(receipt: Receipt, issuer: TokenIssuer, **fields: object) -> Receipt:
    """Return the receipt with a token that states its record, with fields replaced."""
    record = receipt.leaf.record
    stamp = Stamp(
        imprint=Imprint.of(document_digest_by_id(record.digest_algorithm), record.digest),
        coordinates=coordinates_of(receipt),
        time_ms=receipt.block.header.time_ms,
    )
    return replace(receipt, token=issuer.issue(replace(stamp, **fields)))  # type: ignore[arg-type] # a field each


def token_cases(chain: Chain) -> Iterator[Case]:
    """Yield receipts with tokens, good and not."""
    authority = authority_of(chain)
    issuer = issuer_of(authority)
    receipt = chain.receipt(PLAIN, 1)
    yield _good("token", "a time-stamp token", with_token(receipt, issuer))
    nonce = with_token(receipt, issuer, nonce=seed("nonce")[:9])
    yield _good("token-nonce", "one that answers a request with a nonce", nonce)
    later = with_token(chain.receipt(FIRST_OF_EPOCH_1, 1), issuer)
    yield _good("token-epoch-1", "one of a record in epoch 1", later)
    yield from _other_statements(chain, issuer)
    yield from _other_forms(with_token(receipt, issuer), issuer)
    yield from _other_certificates(chain)


def _good(name: str, about: str, receipt: Receipt) -> Case:
    header = receipt.block.header
    attested = Attested(
        height=header.height, agreed_time_ms=header.time_ms, seal_time_ms=header.time_ms + 47
    )
    return Case(f"good-{name}", about, receipt, attested=attested)


def _other_statements(chain: Chain, issuer: TokenIssuer) -> Iterator[Case]:
    """Yield tokens that say otherwise than the record and the header."""
    receipt = chain.receipt(PLAIN, 1)
    at = coordinates_of(receipt)
    imprint = Imprint.of(SHA_256, seed("another document"))
    half_more = issuer_of(authority_of(chain), accuracy_ms=1_500)
    time_ms = receipt.block.header.time_ms
    for name, about, changed, reason in (
        ("digest", "of another document", with_token(receipt, issuer, imprint=imprint), "imprint"),
        (
            "serial",
            "at the next place of the log",
            with_token(receipt, issuer, coordinates=replace(at, log_index=at.log_index + 1)),
            "token-serial",
        ),
        (
            "serial-chain",
            "on another chain",
            with_token(receipt, issuer, coordinates=replace(at, chain_prefix=bytes(7))),
            "token-serial",
        ),
        (
            "time",
            "a millisecond after T",
            with_token(receipt, issuer, time_ms=time_ms + 1),
            "token-time",
        ),
        (
            "accuracy",
            "a second and a half where one is promised",
            with_token(receipt, half_more),
            "token-accuracy",
        ),
        (
            "degraded",
            "of a block whose time nobody vouches for",
            with_token(chain.receipt(DEGRADED, 1), issuer),
            "token-degraded",
        ),
    ):
        yield fails(Step.TOKEN, f"token-{name}", about, changed, reason)


def _other_forms(good: Receipt, issuer: TokenIssuer) -> Iterator[Case]:
    """Yield tokens that are not exactly of the form of ours."""
    token = good.token or b""
    borrowed = _signature_of(with_token(good, issuer, nonce=b"\x01").token or b"")
    high = _with_high_s(_signature_of(token))
    bare = with_token(good, issuer, has_certificates=False).token or b""
    for name, about, changed, reason in (
        ("empty", "no bytes", b"", "answer: expected"),
        ("trailing-byte", "a byte follows", token + b"\x00", "answer: expected"),
        ("certificate-none", "its certificate is not in it", bare, "certificate-missing"),
        ("unsigned-attribute", "a proof inside", add_chain_proof(token, b"p"), "token-form"),
        ("answer", "the answer that grants it", encode_granted(token), "token-form"),
        ("signature", "of another token", _with_signature(token, borrowed), "signature: it is not"),
        ("high-s", "the order less s", _with_signature(token, high), "token-signature"),
    ):
        receipt = replace(good, token=changed)
        yield fails(Step.TOKEN, f"token-{name}", about, receipt, reason)


def _other_certificates(chain: Chain) -> Iterator[Case]:
    """Yield tokens by certificates that do not hold at T."""
    receipt = with_token(chain.receipt(PLAIN, 1), issuer_of(authority_of(chain)))
    token, time_ms = receipt.token or b"", receipt.block.header.time_ms
    key = TSA_KEY.public_key.encoded
    for name, about, issuance in (
        ("expired", "its certificate had expired", replace(FIVE_YEARS, not_after_ms=time_ms - 1)),
        (
            "early",
            "its certificate was not valid yet",
            replace(FIVE_YEARS, not_before_ms=time_ms + 1_000),
        ),
    ):
        certificate = build_timestamp_certificate(authority_of(chain), "validator-1", key, issuance)
        changed = replace(receipt, token=certified_by(token, certificate))
        yield fails(Step.TOKEN, f"token-{name}", about, changed, "certificate: valid in")
    member = Member(identity_id=AGENCY, role="agency", public_key=key)
    other = build_identity_certificate(authority_of(chain), member, FIVE_YEARS)
    changed = replace(receipt, token=certified_by(token, other))
    yield fails(
        Step.TOKEN, "token-purpose", "a certificate for clients", changed, "extended key usage"
    )
    stranger_key = signer("stranger authority")
    stranger = Authority(
        build_authority_certificate(stranger_key, "org-1", FIVE_YEARS), stranger_key
    )
    yield Case(
        f"{Step.TOKEN.value}-token-authority",
        "its certificate is by an authority that the genesis does not hold",
        with_token(chain.receipt(PLAIN, 1), issuer_of(stranger)),
        outcome=Outcome.NOT_ROOTED,
        step=Step.TOKEN,
        reason="its certificate leads to no authority",
    )


def certified_by(token: bytes, certificate: bytes) -> bytes:
    """Return the token signed anew, with another certificate of the same key."""
    info, leaf = ReadToken.decode(token).info.encoded, AuthorityCertificate.read(certificate)
    attributes = SignedAttributes(certificate).encode(info)
    signature = TSA_KEY.sign(der.encode(der.SET, attributes))
    held = encode_certificates([certificate])
    return encode_token(info, held, encode_signer_id(leaf), attributes, signature)


def _with_signature(token: bytes, signature: bytes) -> bytes:
    """Return the token with another signature, r || s."""
    read = ReadToken.decode(token)
    return encode_token(
        read.info.encoded,
        encode_certificates(read.certificates),
        read.signer_id,
        read.signed_attributes,
        signature,
    )


def _signature_of(token: bytes) -> bytes:
    """Return the signature of a token, r || s."""
    reader = der.read_only(ReadToken.decode(token).signature, der.SEQUENCE, "signature")
    return b"".join(reader.read_integer().to_bytes(32, "big") for _ in range(2))


def _with_high_s(signature: bytes) -> bytes:
    s = P256_ORDER - int.from_bytes(signature[32:], "big")
    return signature[:32] + s.to_bytes(32, "big")
