"""Certificates that no quorum signed, or not everyone listed: step 7."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from node.chain.certificate import CertificateVote, QuorumCertificate
from node.crypto.signature import P256_ORDER
from node.timestamp.cose import sign_root
from node.timestamp.verify import Step
from tests.vectors.receipt.case import Case, fails
from tests.vectors.receipt.chain import Chain, certify, seed, signer, validator_set
from tests.vectors.receipt.story import (
    FORGED,
    PLAIN,
    SET_0,
    SET_1,
    hand_over,
    posing,
    receipt_alone,
    with_certificate,
    with_member,
    with_signature,
)

P256_PRIME: Final = 2**256 - 2**224 + 2**192 + 2**96 - 1
POINT_X: Final = 5
"""A small x of a point of the curve: x + the prime still fits into 32 bytes."""
WRONG: Final = "certificate-signature"


def unsigned_cases(chain: Chain) -> Iterator[Case]:
    """Yield certificates that no quorum signed, or not everyone listed."""
    yield from _quorums(chain)
    yield from _votes(chain)
    yield from _keys(chain)
    yield from _cose_signatures(chain)


def _quorums(chain: Chain) -> Iterator[Case]:
    receipt = chain.receipt(PLAIN, 1)
    certificate = receipt.block.certificate
    two = with_certificate(receipt, replace(certificate, votes=certificate.votes[:2]))
    yield fails(Step.SIGNATURES, "quorum", "two of four", two, "certificate-quorum")
    none = with_certificate(receipt, replace(certificate, votes=()))
    yield fails(Step.SIGNATURES, "votes-none", "no votes", none, "certificate-quorum")
    for size, count in ((2, 1), (3, 1), (5, 3), (6, 3), (7, 4), (64, 42)):
        validators = validator_set(1, range(1, size + 1))
        few = receipt_alone(
            chain,
            validators,
            votes={"voters": range(count)},
            handovers=[hand_over(chain, validators)],
        )
        yield fails(
            Step.SIGNATURES,
            f"quorum-{count}-of-{size}",
            f"{count} of {size}, one too few",
            few,
            "certificate-quorum",
        )


def _votes(chain: Chain) -> Iterator[Case]:
    receipt = chain.receipt(PLAIN, 1)
    certificate = receipt.block.certificate
    votes = certificate.votes
    r, s = votes[0].signature[:32], int.from_bytes(votes[0].signature[32:], "big")

    def signed(name: str, about: str, changed: QuorumCertificate, reason: str = WRONG) -> Case:
        return fails(Step.SIGNATURES, name, about, with_certificate(receipt, changed), reason)

    def above(name: str, about: str, vote: CertificateVote) -> Case:
        changed = replace(certificate, votes=(*votes[:3], vote))
        return signed(name, f"{about}, above the quorum", changed)

    outsider = certify(receipt.block.header, validator_set(0, FORGED))
    yield signed("set", "signed by another set", outsider, "certificate-set")
    relabelled = replace(outsider, set_digest=certificate.set_digest)
    yield signed("set-relabelled", "and given this set's hash", relabelled)
    other_set = replace(certificate, set_digest=seed("another set"))
    yield signed("set-hash", "another set's hash, the rest is right", other_set, "certificate-set")
    unlike = posing(SET_0, digest=seed("another set"))
    signed_too = certify(receipt.block.header, unlike)
    yield signed("set-hash-signed", "the votes sign it, too", signed_too, "certificate-set")
    yield above("voter-outside", "voter 4 of 0..3", replace(votes[3], validator=4))
    borrowed = replace(votes[3], signature=votes[2].signature)
    yield above("borrowed", "voter 3 with the signature of voter 2", borrowed)
    earlier = replace(votes[3], time_ms=votes[3].time_ms - 1)
    yield above("vote-time", "not the time that was signed", earlier)
    zero = with_signature(certificate, 0, bytes(64))
    yield signed("signature-zero", "r and s are zero", zero)
    order = P256_ORDER.to_bytes(32, "big")
    yield signed(
        "r-order", "r is the order", with_signature(certificate, 0, order + bytes(31) + b"\1")
    )
    high_s = with_signature(certificate, 0, r + (P256_ORDER - s).to_bytes(32, "big"))
    yield signed("high-s", "the other s for the same r", high_s)
    yield above(
        "high-s-above-quorum",
        "the other s for the same r",
        replace(
            votes[3],
            signature=votes[3].signature[:32]
            + (P256_ORDER - int.from_bytes(votes[3].signature[32:], "big")).to_bytes(32, "big"),
        ),
    )
    view = replace(certificate, subject=replace(certificate.subject, view=1))
    yield signed("view", "signed in view 0, given out as of view 1", view)
    chain_id = Chain.found("another chain").genesis.chain_id
    elsewhere = certify(receipt.block.header, chain.genesis.validators, chain_id=chain_id)
    yield signed("vote-chain", "the votes name another chain", elsewhere)


def _keys(chain: Chain) -> Iterator[Case]:
    fifth = signer("validator-5").public_key.encoded
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), fifth)
    uncompressed = point.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    unreduced = b"\x02" + (POINT_X + P256_PRIME).to_bytes(32, "big")
    for name, about, key in (
        ("key-malformed", "is no point", b"\x05" + bytes(32)),
        ("key-off-curve", "has an x that no point has", b"\x02" + b"\x00" * 31 + b"\x01"),
        ("key-uncompressed", "is of 65 bytes", uncompressed),
        ("key-without-prefix", "is of 32 bytes", fifth[1:]),
        ("key-longer", "is of 34 bytes", fifth + b"\x00"),
        ("key-empty", "is empty", b""),
        ("key-unreduced", "has an x that is not less than p", unreduced),
    ):
        validators = with_member(SET_1, 4, vote_key=key)
        receipt = receipt_alone(chain, validators, handovers=[hand_over(chain, validators)])
        text = f"the fifth key, which did not sign, {about}"
        yield fails(Step.SIGNATURES, name, text, receipt, "public key: expected")


def _cose_signatures(chain: Chain) -> Iterator[Case]:
    receipt = chain.receipt(PLAIN, 1)
    root = receipt.block.header.log_roots[0]
    good = sign_root(receipt.chain_id, root, signer("validator-2"))
    r, s = good.signature[:32], int.from_bytes(good.signature[32:], "big")
    other = Chain.found("another chain").genesis.chain_id
    outsider = sign_root(receipt.chain_id, root, signer("validator-5"))
    for name, about, cose, reason in (
        ("cose-outsider", "of a key that is not in the set", outsider, "cose-key"),
        (
            "cose-borrowed",
            "validator-2's, given out as validator-1's",
            replace(good, vote_key=signer("validator-1").public_key.encoded),
            "cose-signature",
        ),
        (
            "cose-root",
            "of another root",
            sign_root(receipt.chain_id, seed("another root"), signer("validator-2")),
            "cose-signature",
        ),
        (
            "cose-chain",
            "for another chain",
            sign_root(other, root, signer("validator-2")),
            "cose-signature",
        ),
        (
            "cose-high-s",
            "the other s for the same r",
            replace(good, signature=r + (P256_ORDER - s).to_bytes(32, "big")),
            "cose-signature",
        ),
    ):
        text = f"the COSE signature is {about}"
        yield fails(Step.SIGNATURES, name, text, replace(receipt, cose=cose), reason)
