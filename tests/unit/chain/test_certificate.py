"""Votes and certificates: what they bind, and every way a certificate can be unsound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from node.chain.certificate import (
    CertificateVote,
    Phase,
    QuorumCertificate,
    Subject,
    Vote,
    build_certificate,
    check_certificate,
)
from node.chain.encoding import encode
from node.chain.membership import ValidatorSet
from node.errors import DecodeError, PeerError
from node.limits import VALIDATORS_MAX
from tests.suites import SUITE
from tests.unit.execution.small_chain import GENESIS, signer

VALIDATORS = GENESIS.validators
CHAIN_ID = GENESIS.chain_id
SUBJECT = Subject(Phase.COMMIT, 3, 17, b"\x07" * 32)


def vote(index: int, subject: Subject = SUBJECT, time_ms: int = 1_000) -> Vote:
    message = subject.sign_bytes(CHAIN_ID, VALIDATORS, time_ms)
    return Vote(subject, index, time_ms, signer(f"validator-{index + 1}").sign(message), 0)


def certificate(*voters: int) -> QuorumCertificate:
    return build_certificate([vote(index, time_ms=1_000 + index) for index in voters], VALIDATORS)


def test_a_vote_binds_everything_it_is_about() -> None:
    sound = vote(0)
    assert sound.verify(CHAIN_ID, VALIDATORS)
    other_epoch = ValidatorSet(1, VALIDATORS.validators, SUITE)
    other_set = ValidatorSet(0, VALIDATORS.validators[:3], SUITE)
    assert not sound.verify(bytes(32), VALIDATORS)
    assert not sound.verify(CHAIN_ID, other_epoch)
    assert not sound.verify(CHAIN_ID, other_set)
    for subject in (
        replace(SUBJECT, phase=Phase.PREPARE),
        replace(SUBJECT, view=4),
        replace(SUBJECT, height=18),
        replace(SUBJECT, header_digest=bytes(32)),
    ):
        assert not replace(sound, subject=subject).verify(CHAIN_ID, VALIDATORS)
    assert not replace(sound, time_ms=1_001).verify(CHAIN_ID, VALIDATORS)
    assert not replace(sound, epoch=1).verify(CHAIN_ID, VALIDATORS)
    assert not replace(sound, validator=1).verify(CHAIN_ID, VALIDATORS)
    assert not replace(sound, validator=4).verify(CHAIN_ID, VALIDATORS)


def test_votes_and_certificates_round_trip() -> None:
    made = vote(2)
    assert Vote.from_value(made.to_value(), 64) == made
    sound = certificate(3, 0, 2)
    assert [item.validator for item in sound.votes] == [0, 2, 3]
    assert QuorumCertificate.from_value(sound.to_value(), 64) == sound
    assert [item.verify(CHAIN_ID, VALIDATORS) for item in sound.expand()] == [True] * 3


def test_a_quorum_suffices_and_more_is_checked_too() -> None:
    check_certificate(certificate(0, 1, 2), CHAIN_ID, VALIDATORS, Phase.COMMIT)
    check_certificate(certificate(0, 1, 2, 3), CHAIN_ID, VALIDATORS, Phase.COMMIT)
    whole = certificate(0, 1, 2, 3)
    forged = CertificateVote(3, 1_003, whole.votes[0].signature)
    with pytest.raises(PeerError, match="certificate-signature: the vote of validator 3"):
        check_certificate(
            replace(whole, votes=(*whole.votes[:3], forged)), CHAIN_ID, VALIDATORS, Phase.COMMIT
        )


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (lambda c: replace(c, votes=c.votes[:2]), "certificate-quorum"),
        (lambda c: replace(c, votes=(c.votes[0],) * 3), "certificate-quorum"),
        (lambda c: replace(c, votes=(*c.votes, c.votes[0])), "certificate-quorum"),
        (lambda c: replace(c, epoch=1), "certificate-set"),
        (lambda c: replace(c, set_digest=bytes(32)), "certificate-set"),
        (
            lambda c: replace(c, subject=replace(c.subject, phase=Phase.PREPARE)),
            "certificate-phase",
        ),
        (lambda c: replace(c, subject=replace(c.subject, view=9)), "certificate-signature"),
    ],
)
def test_refuses(spoil: Callable[[QuorumCertificate], QuorumCertificate], rule: str) -> None:
    with pytest.raises(PeerError) as caught:
        check_certificate(spoil(certificate(0, 1, 2)), CHAIN_ID, VALIDATORS, Phase.COMMIT)
    assert caught.value.rule == rule


@pytest.mark.parametrize("index", [VALIDATORS.size, VALIDATORS.size + 1])
def test_who_is_no_member_certifies_nothing(index: int) -> None:
    """Nor does it end in anything but a refusal: indexes are what a peer says."""
    whole = certificate(0, 1, 2)
    stranger = replace(whole.votes[2], validator=index)
    with pytest.raises(PeerError, match=f"certificate-signature: the vote of validator {index}"):
        check_certificate(
            replace(whole, votes=(*whole.votes[:2], stranger)), CHAIN_ID, VALIDATORS, Phase.COMMIT
        )


def test_a_certificate_is_encoded_once_and_another_by_itself() -> None:
    whole = certificate(0, 1, 2)
    assert whole.encoded is whole.encoded
    assert whole.encoded.data == encode(whole.to_value())
    fewer = replace(whole, votes=whole.votes[:2])
    assert fewer.encoded.data == encode(fewer.to_value())


def test_decoding_refuses_voters_out_of_order_or_twice() -> None:
    value = certificate(0, 1, 2).to_value()
    listed = value[-1]
    for votes in (listed[::-1], [listed[0], *listed]):
        with pytest.raises(DecodeError, match="ascending"):
            QuorumCertificate.from_value([*value[:-1], votes], 64)


def test_decoding_refuses_what_no_validator_writes() -> None:
    ballot, whole = vote(0).to_value(), certificate(0, 1, 2).to_value()
    last = VALIDATORS_MAX - 1
    for phase, validator in ((0, 0), (max(Phase) + 1, 0), (Phase.COMMIT, VALIDATORS_MAX)):
        with pytest.raises(DecodeError):
            Vote.from_value([int(phase), *ballot[1:4], validator, *ballot[5:]], 64)
    assert Vote.from_value([*ballot[:4], last, *ballot[5:]], 64).validator == last

    def of(voter: object, version: int = 1) -> list[object]:
        return [version, *whole[1:-1], [*whole[-1][:2], [voter, 1, bytes(64)]]]

    for unsound in (of(2, version=2), of("2"), of(VALIDATORS_MAX)):
        with pytest.raises(DecodeError):
            QuorumCertificate.from_value(unsound, 64)
    assert QuorumCertificate.from_value(of(last), 64).votes[-1].validator == last


def test_the_seal_time_is_the_lower_median() -> None:
    def sealed(*times: int) -> int:
        votes = [vote(index, time_ms=time) for index, time in enumerate(times)]
        return build_certificate(votes, VALIDATORS).seal_time_ms()

    assert sealed(30, 10, 20) == 20
    assert sealed(40, 10, 30, 20) == 20
    assert sealed(5) == 5
