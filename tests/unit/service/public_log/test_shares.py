"""Shares of compact certificates: when they add up, what one bad one costs, what is held."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.chain.compact import Checkpoint, CompactCertificate, Share
from node.chain.membership import ValidatorSet
from node.errors import DecodeError
from node.service.public_log.shares import Count, Shares, count
from tests.vectors.receipt.chain import SUITE, record_of
from tests.vectors.receipt.keyed import build_keyed_chain, keyed, sharer
from tests.vectors.receipt.story import DOCUMENT, SET_1

CHAIN = build_keyed_chain(blocks=5)
CHAIN_ID = CHAIN.genesis.chain_id
ME, SECOND, THIRD, FOURTH = (each.validator_id for each in CHAIN.validators.validators)


def checkpoint(height: int) -> Checkpoint:
    header = CHAIN.blocks[height - 1].header
    return Checkpoint.of(header, header.digest(SUITE))


def share_of(name: str, height: int = 5, at: Checkpoint | None = None) -> Share:
    stated = at or checkpoint(height)
    signature = sharer(name).sign(stated.share_bytes(CHAIN_ID))
    return Share(stated.epoch, stated.height, stated.header_digest, signature)


def sets(epoch: int) -> ValidatorSet | None:
    return {0: CHAIN.validators, 1: keyed(SET_1)}.get(epoch)


def signed(height: int = 5) -> Shares:
    """Return the shares of validator-1, which signed a height."""
    shares = Shares(ME, CHAIN_ID, sets)
    shares.sign(checkpoint(height), share_of(ME, height).signature)
    return shares


def settled(shares: Shares) -> Count:
    tally = shares.due()
    assert tally is not None
    counted = count(tally)
    shares.settle(tally, counted)
    return counted


def test_a_quorum_makes_a_certificate_and_then_nothing_is_due() -> None:
    shares = signed()
    assert shares.due() is None
    assert shares.hear(SECOND, share_of(SECOND)) is None
    assert shares.due() is None
    shares.hear(FOURTH, share_of(FOURTH))
    certificate = settled(shares).certificate
    assert certificate is not None
    certificate.check(CHAIN_ID, CHAIN.validators)
    assert certificate.indices == (0, 1, 3)
    assert CompactCertificate.decode(certificate.encode()) == certificate
    assert shares.due() is None
    shares.hear(THIRD, share_of(THIRD))
    assert shares.due() is None


def test_what_came_before_it_was_signed_here_counts() -> None:
    shares = Shares(ME, CHAIN_ID, sets)
    for name in (SECOND, THIRD):
        shares.hear(name, share_of(name))
    assert shares.due() is None
    shares.sign(checkpoint(5), share_of(ME).signature)
    assert settled(shares).certificate is not None


def test_one_bad_share_costs_one_count_and_never_counts_again() -> None:
    shares = signed()
    shares.hear(SECOND, replace(share_of(SECOND), signature=share_of(THIRD).signature))
    shares.hear(THIRD, share_of(THIRD))
    assert settled(shares) == Count(None, (1,))
    assert shares.due() is None, "two sound shares are no quorum"
    shares.hear(SECOND, share_of(SECOND))
    assert shares.due() is None, "one share of a validator for each height"
    shares.hear(FOURTH, share_of(FOURTH))
    certificate = settled(shares).certificate
    assert certificate is not None
    assert certificate.indices == (0, 2, 3)


@pytest.mark.parametrize("signature", [bytes(96), b"\xc0" + bytes(95), b"\xff" * 96])
def test_a_share_that_is_no_point_spoils_nothing(signature: bytes) -> None:
    shares = signed()
    shares.hear(SECOND, replace(share_of(SECOND), signature=signature))
    shares.hear(THIRD, share_of(THIRD))
    assert settled(shares) == Count(None, (1,))
    shares.hear(FOURTH, share_of(FOURTH))
    assert settled(shares).certificate is not None


def test_all_shares_but_ones_own_may_be_bad() -> None:
    shares = signed()
    for name in (SECOND, THIRD, FOURTH):
        shares.hear(name, replace(share_of(name), signature=share_of(ME).signature))
    assert settled(shares) == Count(None, (1, 2, 3))
    assert shares.due() is None


def test_only_what_is_about_the_header_signed_here_counts() -> None:
    shares = signed()
    for name, share in (
        (SECOND, share_of(SECOND, 4)),
        (THIRD, replace(share_of(THIRD), header_digest=bytes(32))),
        (FOURTH, share_of(FOURTH, at=replace(checkpoint(5), epoch=1))),
    ):
        shares.hear(name, share)
    assert shares.due() is None


def test_nobody_speaks_for_another_and_strangers_are_not_heard() -> None:
    shares = signed()
    for name in ("validator-9", ME, ""):
        shares.hear(name, share_of(SECOND))
    assert shares.due() is None
    future = replace(share_of(SECOND), epoch=7)
    assert shares.hear(SECOND, future) is None
    shares.hear(SECOND, share_of(SECOND))
    shares.hear(THIRD, share_of(THIRD))
    assert settled(shares).certificate is not None


def test_the_newest_share_of_each_is_held_and_older_ones_never_again() -> None:
    shares = Shares(ME, CHAIN_ID, sets)
    shares.hear(SECOND, share_of(SECOND, 5))
    shares.hear(SECOND, share_of(SECOND, 4))
    shares.hear(THIRD, share_of(THIRD, 4))
    shares.sign(checkpoint(4), share_of(ME, 4).signature)
    assert shares.due() is None
    assert not shares.may_sign(checkpoint(4))
    assert not shares.may_sign(checkpoint(3)), "sizes never decrease"
    assert shares.may_sign(checkpoint(5))
    shares.sign(checkpoint(5), share_of(ME, 5).signature)
    shares.hear(THIRD, share_of(THIRD, 5))
    assert settled(shares).certificate is not None


def test_who_is_no_member_of_the_epoch_signs_nothing() -> None:
    assert not Shares("validator-9", CHAIN_ID, sets).may_sign(checkpoint(5))
    assert not Shares(ME, CHAIN_ID, sets).may_sign(replace(checkpoint(5), epoch=7))


def test_who_was_away_is_answered_once_with_what_it_missed() -> None:
    shares = signed()
    for name in (SECOND, THIRD):
        shares.hear(name, share_of(name))
    assert settled(shares).certificate is not None
    assert shares.hear(FOURTH, share_of(FOURTH)) == shares.own == share_of(ME)
    assert shares.hear(FOURTH, share_of(FOURTH)) is None
    assert shares.hear(SECOND, share_of(SECOND)) is None


def test_a_certificate_of_an_older_checkpoint_leaves_the_newest_open() -> None:
    shares = signed(4)
    for name in (SECOND, THIRD):
        shares.hear(name, share_of(name, 4))
    tally = shares.due()
    assert tally is not None
    shares.sign(checkpoint(5), share_of(ME, 5).signature)
    shares.settle(tally, count(tally))
    for name in (SECOND, THIRD):
        shares.hear(name, share_of(name, 5))
    assert settled(shares).certificate is not None


def test_validators_without_keys_have_no_sound_share() -> None:
    shares = signed()
    for name in (SECOND, THIRD):
        shares.hear(name, share_of(name))
    tally = shares.due()
    assert tally is not None
    bare = tuple(replace(each, aggregate_key=None) for each in tally.validators.validators)
    keyless = replace(tally, validators=replace(tally.validators, validators=bare))
    assert count(keyless) == Count(None, (0, 1, 2))


def test_a_share_has_one_form() -> None:
    share = share_of(SECOND)
    assert Share.from_value(share.to_value()) == share
    for at, wrong in enumerate((-1, None, bytes(31), bytes(95))):
        value = share.to_value()
        value[at] = wrong
        with pytest.raises(DecodeError, match="share"):
            Share.from_value(value)


def test_the_statement_of_every_signer_is_the_same_and_of_this_header_alone() -> None:
    base = checkpoint(5)
    statements = {
        base.share_bytes(CHAIN_ID),
        base.share_bytes(bytes(32)),
        checkpoint(4).share_bytes(CHAIN_ID),
        *(
            replace(base, **{name: value}).share_bytes(CHAIN_ID)  # type: ignore[arg-type] # one each
            for name, value in (
                ("epoch", 1),
                ("height", 6),
                ("header_digest", bytes(32)),
                ("log_size", 99),
                ("log_root", bytes(32)),
                ("state_root", bytes(32)),
            )
        ),
    }
    assert len(statements) == 9
    other = CHAIN.fork()
    other.append(record_of(DOCUMENT))
    assert base.share_bytes(CHAIN_ID) == checkpoint(5).share_bytes(CHAIN_ID)
