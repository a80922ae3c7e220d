"""Compact receipts: what is verified, what is not, whatever is changed in the text."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import cbor2
import pytest

from node.chain.compact import Checkpoint, CompactCertificate
from node.chain.record import RecordAction
from node.crypto import bls, bls_backend
from node.crypto.suite import SM3
from node.errors import DecodeError, ProofError
from node.timestamp.compact import (
    COMPACT_START,
    COMPACT_TEXT_BYTES_MAX,
    CompactProof,
    CompactReceipt,
)
from node.timestamp.compact_verify import (
    CompactStep,
    CompactVerdict,
    digest_algorithm_of_compact,
    is_compact,
    verify_compact,
)
from node.timestamp.export import export_qr
from node.timestamp.receipt import Receipt
from node.timestamp.steps import Outcome
from node.timestamp.trust import TrustAnchor
from node.timestamp.verify import NamedDigest
from tests.vectors.receipt.chain import SUITE, Chain, record_of, seed
from tests.vectors.receipt.keyed import (
    KEYED_HEIGHT,
    THREE,
    build_keyed_chain,
    certificate_at,
    keyed,
    sharer,
    with_compact,
)
from tests.vectors.receipt.story import DOCUMENT, PLAIN, SET_1, sha_256_of

DIGEST = NamedDigest.parse(sha_256_of(DOCUMENT))
ALPHANUMERIC = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ$%*+-./: "


@cache
def chain() -> Chain:
    return build_keyed_chain()


@cache
def anchor(pinned_height: int | None = None) -> TrustAnchor:
    return chain().trust(pinned_height).establish()


@cache
def compact() -> CompactReceipt:
    return of(with_compact(chain(), chain().receipt(PLAIN, 1), certificate_at(chain(), 5)))


def of(receipt: Receipt) -> CompactReceipt:
    text = export_qr(receipt)
    assert text is not None
    return CompactReceipt.parse(text)


def verify(
    receipt: CompactReceipt | bytes, trust: TrustAnchor | None = None, digest: NamedDigest = DIGEST
) -> CompactVerdict:
    text = receipt if isinstance(receipt, bytes) else receipt.text()
    return verify_compact(text, trust or anchor(), digest)


def with_certificate(certificate: CompactCertificate) -> CompactReceipt:
    return replace(compact(), proof=replace(compact().proof, certificate=certificate))


def signed(checkpoint: Checkpoint, chain_id: bytes | None = None) -> CompactReceipt:
    """Return the receipt under a checkpoint that three validators did sign."""
    certificate = certificate_at(chain(), KEYED_HEIGHT, checkpoint=checkpoint, chain_id=chain_id)
    return with_certificate(certificate)


def fails_at(verdict: CompactVerdict, step: CompactStep, reason: str) -> None:
    failure = verdict.failure
    assert failure is not None
    assert (failure.step, verdict.outcome) == (step, Outcome.NOT_VERIFIED)
    assert failure.detail.startswith(reason), failure.detail
    assert [report.step for report in verdict.steps] == [*CompactStep][: int(step)]


# --- The text ---


def test_it_is_text_that_a_qr_code_holds_densely_and_people_copy() -> None:
    text = compact().text()
    assert text.startswith(COMPACT_START)
    assert frozenset(text) <= frozenset(ALPHANUMERIC) - frozenset(b" ")
    assert CompactReceipt.parse(text) == compact()
    assert CompactReceipt.parse(b"\n " + text + b"\r\n\n") == compact()
    assert (
        compact().text()
        == text
        == export_qr(with_compact(chain(), chain().receipt(PLAIN, 1), certificate_at(chain(), 5)))
    )
    assert is_compact(b" " + text)
    assert not is_compact(chain().receipt(PLAIN, 1).encode())
    assert digest_algorithm_of_compact(text).name == "sha-256"
    assert digest_algorithm_of_compact(b"no text").name == "sha-256"


def test_a_receipt_without_a_certificate_or_a_vouched_for_time_has_no_text() -> None:
    plain = chain().receipt(PLAIN, 1)
    assert export_qr(plain) is None
    other = build_keyed_chain(blocks=1)
    height = other.append(record_of(DOCUMENT), degraded=True)
    degraded = with_compact(other, other.receipt(height), certificate_at(other, height))
    assert export_qr(degraded) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "compact receipt: expected at most"),
        (b"GOVCHAIN2:AA", "compact receipt: expected at most"),
        (COMPACT_START + b"A" * COMPACT_TEXT_BYTES_MAX, "compact receipt: expected at most"),
        (COMPACT_START, "compact receipt: expected more bytes"),
        (COMPACT_START + b"A", "compact receipt: expected base 32"),
        (COMPACT_START + b"ab", "compact receipt: expected base 32"),
        (COMPACT_START + b"AB", "compact receipt: expected base 32 with spare bits zero"),
        (COMPACT_START + b"AA======", "compact receipt: expected base 32"),
        (COMPACT_START + b"AA AA", "compact receipt: expected base 32"),
        (b"\xff\xfe" + COMPACT_START, "compact receipt: expected at most"),
    ],
)
def test_other_text_is_refused(text: bytes, reason: str) -> None:
    fails_at(verify(text), CompactStep.RECEIPT, reason)


def fields() -> list[Any]:
    value: list[Any] = cbor2.loads(compact().encode())
    return value


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (0, 2, "compact receipt: expected version 1"),
        (1, bytes(31), "compact receipt chain id"),
        (2, 99, "compact receipt: suite"),
        (3, b"\x80", "record leaf"),
        (4, 2**33, "proof-index"),
        (5, bytes(33), "compact log path: expected a multiple of 32"),
        (5, b"", "proof-path-length"),
        (6, -1, "checkpoint epoch"),
        (8, bytes(31), "checkpoint header digest"),
        (9, 0, "proof-index"),
        (10, None, "checkpoint state root"),
        (11, 2**64, "compact receipt: item head"),
        (12, bytes(95), "checkpoint signature"),
    ],
)
def test_every_field_has_its_form(place: int, value: object, reason: str) -> None:
    changed = fields()
    changed[place] = value
    text = COMPACT_START + base64.b32encode(cbor2.dumps(changed)).rstrip(b"=")
    fails_at(verify(text), CompactStep.RECEIPT, reason)


def test_fields_are_neither_more_nor_fewer() -> None:
    for changed in (fields()[:-1], [*fields(), 0]):
        text = COMPACT_START + base64.b32encode(cbor2.dumps(changed)).rstrip(b"=")
        fails_at(verify(text), CompactStep.RECEIPT, "compact receipt: expected an array of 13")


def test_no_single_character_can_be_changed_dropped_or_added() -> None:
    """One replacement of each class at every place, and every replacement at some places."""
    text = compact().text()
    assert verify(text).outcome is Outcome.VERIFIED
    for at, old in enumerate(text):
        new = ALPHANUMERIC[(ALPHANUMERIC.index(old) + 1 + at % 43) % len(ALPHANUMERIC)]
        changed = text[:at] + bytes((new,)) + text[at + 1 :]
        assert verify(changed).outcome is not Outcome.VERIFIED, (at, new)
    for at in (*range(12), len(text) // 2, len(text) - 1):
        for new in range(256):
            changed = text[:at] + bytes((new,)) + text[at + 1 :]
            assert changed == text or verify(changed).outcome is not Outcome.VERIFIED, (at, new)
    for at in range(len(text)):
        assert verify(text[:at] + text[at + 1 :]).outcome is not Outcome.VERIFIED, at
        assert verify(text[:at] + b"A" + text[at:]).outcome is not Outcome.VERIFIED, at


# --- What is verified ---


def test_it_attests_the_record_and_who_signed_together() -> None:
    verdict = verify(compact())
    assert verdict.outcome is Outcome.VERIFIED
    assert verdict.failure is None
    assert [report.step for report in verdict.steps] == [*CompactStep]
    attested = verdict.attestation
    assert attested is not None
    leaf = chain().receipt(PLAIN, 1).leaf
    assert (attested.record, attested.sender, attested.tx_id) == (
        leaf.record,
        leaf.sender,
        leaf.tx_id,
    )
    assert (attested.height, attested.time_ms) == (PLAIN, leaf.time_ms)
    assert attested.checkpoint_height == KEYED_HEIGHT
    assert attested.signers == ("validator-1", "validator-2", "validator-3")
    assert attested.validator_count == 4


@pytest.mark.parametrize("pinned_height", [1, 2, 3, 5])
def test_a_header_pinned_beside_it_agrees(pinned_height: int) -> None:
    assert verify(compact(), anchor(pinned_height)).outcome is Outcome.VERIFIED


def test_one_pinned_above_it_agrees_too() -> None:
    early = with_compact(chain(), chain().receipt(PLAIN, 1), certificate_at(chain(), PLAIN))
    assert verify(of(early), anchor(4)).outcome is Outcome.VERIFIED


def test_py_ecc_comes_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    reference = bls_backend.reference()
    monkeypatch.setattr(bls, "backend", lambda: reference)
    assert verify(compact()).outcome is Outcome.VERIFIED
    at = replace(compact().proof.certificate.checkpoint, state_root=seed("other"))
    certificate = replace(compact().proof.certificate, checkpoint=at)
    fails_at(verify(with_certificate(certificate)), CompactStep.SIGNATURE, "compact-signature")


# --- What is not ---


def test_another_document() -> None:
    other = NamedDigest.parse(sha_256_of(b"another"))
    fails_at(verify(compact(), digest=other), CompactStep.DOCUMENT, "document-digest")
    same_bytes = NamedDigest(SM3, DIGEST.value)
    fails_at(verify(compact(), digest=same_bytes), CompactStep.DOCUMENT, "document-digest")


def not_rooted(verdict: CompactVerdict, reason: str) -> None:
    failure = verdict.failure
    assert failure is not None
    assert (failure.step, verdict.outcome) == (CompactStep.ROOT, Outcome.NOT_ROOTED)
    assert failure.detail.startswith(reason)


def test_another_chain_is_not_rooted() -> None:
    trust = build_keyed_chain("another", blocks=0).trust().establish()
    not_rooted(verify(compact(), trust), "expected chain")


def test_a_retired_epoch_is_not_rooted_and_neither_is_one_to_come() -> None:
    grown = chain().fork()
    grown.append(record_of(DOCUMENT), next_set=keyed(SET_1))
    height = grown.append(record_of(DOCUMENT))
    renewed = grown.trust(height).establish()
    not_rooted(verify(compact(), renewed), "expected epoch 1, got 0: its keys are retired")
    later = certificate_at(grown, height, (0, 1, 2, 3))
    again = of(with_compact(grown, grown.receipt(PLAIN, 1), later))
    assert verify(again, renewed).outcome is Outcome.VERIFIED, "an old record, signed anew"
    not_rooted(verify(again), "expected epoch 0, got 1: a newer trust file")


def of_signers(signers: int) -> CompactReceipt:
    return with_certificate(replace(compact().proof.certificate, signers=signers))


@pytest.mark.parametrize(
    ("signers", "reason"),
    [
        (0, "compact-quorum"),
        (0b0011, "compact-quorum"),
        (0b1111, "compact-signature"),
        (0b1011, "compact-signature"),
        (0b10111, "compact-signer: the set has no member 4"),
        (2**63 + 0b111, "compact-signer: the set has no member 63"),
    ],
)
def test_other_signers(signers: int, reason: str) -> None:
    fails_at(verify(of_signers(signers)), CompactStep.SIGNATURE, reason)


def test_a_quorum_cannot_be_made_of_one_share_counted_twice() -> None:
    """Twice one share under two bits: the keys of two members do not add up to twice one key."""
    at = compact().proof.certificate.checkpoint
    share = sharer("validator-1").sign(at.share_bytes(chain().genesis.chain_id))
    for shares in ([share] * 3, [share, share, share, share]):
        doubled = CompactCertificate(at, 0b111, bls.aggregate_signatures(shares))
        fails_at(verify(with_certificate(doubled)), CompactStep.SIGNATURE, "compact-signature")


def test_shares_under_another_tag_are_none() -> None:
    """What an Ed25519 cosignature signs, signed with BLS keys: the tags keep them apart."""
    at = compact().proof.certificate.checkpoint
    message = at.share_bytes(chain().genesis.chain_id).replace(b"checkpoint-share", b"checkpoint")
    shares = [sharer(f"validator-{index + 1}").sign(message) for index in THREE]
    certificate = CompactCertificate(at, 0b111, bls.aggregate_signatures(shares))
    fails_at(verify(with_certificate(certificate)), CompactStep.SIGNATURE, "compact-signature")


def test_signatures_of_another_chain() -> None:
    elsewhere = signed(compact().proof.certificate.checkpoint, chain_id=seed("chain"))
    fails_at(verify(elsewhere), CompactStep.SIGNATURE, "compact-signature")


CONTRADICTIONS: dict[str, tuple[Callable[[Checkpoint], Checkpoint], int, str]] = {
    "another header at the pinned height": (
        lambda at: replace(at, header_digest=seed("fork")),
        5,
        "compact-fork",
    ),
    "a log too short for the height": (lambda at: replace(at, height=999), 5, "compact-log-size"),
    "a record above its checkpoint": (lambda at: replace(at, height=1), 5, "compact-height"),
    "a log too long below the pinned header": (
        lambda at: replace(at, height=4),
        5,
        "compact-log-size",
    ),
}


@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_a_quorum_that_contradicts_what_is_pinned(what: str) -> None:
    change, pinned_height, reason = CONTRADICTIONS[what]
    receipt = signed(change(compact().proof.certificate.checkpoint))
    fails_at(verify(receipt, anchor(pinned_height)), CompactStep.HISTORY, reason)


def test_a_record_that_does_not_fit_what_is_pinned() -> None:
    """A fork signed by its quorum, in which the record has other places and times."""
    for pinned, after_ms, blocks, reason in (
        (3, 1_500, 2, "compact-time"),
        (1, 500, 2, "compact-time"),
        (2, 1_001, 2, "compact-time"),
    ):
        fork = build_keyed_chain(blocks=0)
        for _ in range(blocks + 3):
            before, after = record_of(b"before"), record_of(b"after")
            fork.append(before, record_of(DOCUMENT), after, after_ms=after_ms)
        other = of(with_compact(fork, fork.receipt(PLAIN, 1), certificate_at(fork, 5)))
        fails_at(verify(other, anchor(pinned)), CompactStep.HISTORY, reason)
    fork = build_keyed_chain(blocks=0)
    for _ in range(5):
        fork.append(*(record_of(DOCUMENT) for _ in range(9)))
    other = of(with_compact(fork, fork.receipt(1, 7), certificate_at(fork, 5)))
    fails_at(verify(other, anchor(1)), CompactStep.HISTORY, "compact-place")


def test_a_withdrawal() -> None:
    grown = chain().fork()
    height = grown.append(record_of(DOCUMENT, action=RecordAction.WITHDRAW))
    receipt = of(with_compact(grown, grown.receipt(height), certificate_at(grown, height)))
    verdict = verify(receipt)
    fails_at(verdict, CompactStep.RECORD, "record-action")
    assert verdict.attestation is not None


def test_a_chain_without_bls_keys_vouches_for_none() -> None:
    plain = Chain.found("plain")
    for _ in range(2):
        plain.append(record_of(DOCUMENT))
    header = plain.blocks[1].header
    at = Checkpoint.of(header, header.digest(SUITE))
    certificate = replace(compact().proof.certificate, checkpoint=at)
    receipt = of(with_compact(plain, plain.receipt(2), certificate))
    fails_at(verify(receipt, plain.trust().establish()), CompactStep.SIGNATURE, "compact-keys")


def test_the_proof_and_the_certificate_have_one_encoding() -> None:
    proof = compact().proof
    assert CompactProof.from_value(proof.to_value()) == proof
    certificate = proof.certificate
    assert CompactCertificate.decode(certificate.encode()) == certificate
    with pytest.raises(DecodeError):
        CompactCertificate.decode(certificate.encode() + b"\x00")
    with pytest.raises(ProofError, match="compact-epoch"):
        certificate.check(chain().genesis.chain_id, keyed(SET_1))
