"""Whoever follows handovers offline refuses every way in which they can be wrong, each by name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations

import pytest

from node.chain.membership import ValidatorSet
from node.crypto.suite import SHA_256
from node.errors import PeerError, ProofError
from node.timestamp.history import Handover, check_one_chain, follow_handovers
from node.timestamp.verify import NamedDigest, Outcome, Step, verify_receipt
from tests.vectors.receipt.chain import Chain, certify, record_of, validator_set

LAST = b"in the last epoch"


def grown() -> Chain:
    """Return a chain of four epochs, in which one joins, one leaves, and one gets a new key."""
    chain = Chain.found()
    for number, members in enumerate([(1, 2, 3, 4, 5), (2, 3, 4, 5), (2, 3, 4, 6)], 1):
        chain.append(record_of(b"%d" % number))
        chain.append(next_set=validator_set(number, members))
    chain.append(record_of(LAST))
    return chain


CHAIN = grown()
OTHER = Chain.found("another")
OTHER.append()
OTHER.append(next_set=validator_set(1, (1, 2, 3, 4, 5)))


def retired_keys() -> list[Handover]:
    """Return a second way out of the first epoch, certified by keys that are retired by now."""
    chain = Chain.found()
    chain.append()
    chain.append()
    chain.append(next_set=validator_set(1, (1, 2, 3, 9)))
    return chain.handovers


def with_signature_of_another(handovers: Sequence[Handover]) -> list[Handover]:
    first, *rest = handovers
    certificate = first.block.certificate
    one, other, *others = certificate.votes
    votes = (replace(one, signature=other.signature), other, *others)
    block = replace(first.block, certificate=replace(certificate, votes=votes))
    return [replace(first, block=block), *rest]


def with_another_time(handovers: Sequence[Handover]) -> list[Handover]:
    first, *rest = handovers
    header = replace(first.block.header, time_ms=first.block.header.time_ms + 1)
    return [replace(first, block=replace(first.block, header=header)), *rest]


def signed_by_the_next_set(handovers: Sequence[Handover]) -> list[Handover]:
    first, *rest = handovers
    certificate = certify(first.block.header, first.next_set)
    return [replace(first, block=replace(first.block, certificate=certificate)), *rest]


Twist = Callable[[Sequence[Handover]], list[Handover]]
WRONG: dict[str, tuple[Twist, str]] = {
    "the first is missing": (lambda said: [*said[1:]], "certificate-set"),
    "one between is missing": (lambda said: [said[0], *said[2:]], "certificate-set"),
    "two are exchanged": (lambda said: [said[1], said[0], said[2]], "certificate-set"),
    "all are reversed": (lambda said: [*reversed(said)], "certificate-set"),
    "one is said twice": (lambda said: [said[0], *said], "certificate-set"),
    "the first again at the end": (lambda said: [*said, said[0]], "certificate-set"),
    "one of another chain": (lambda said: [OTHER.handovers[0], *said[1:]], "header-chain"),
    "its header is changed": (with_another_time, "certificate-digest"),
    "a signature is another's": (with_signature_of_another, "certificate-signature"),
    "the new set signs itself in": (signed_by_the_next_set, "certificate-epoch"),
    "the next set is another": (
        lambda said: [replace(said[0], next_set=validator_set(1, (1, 2, 3, 9))), *said[1:]],
        "handover-set",
    ),
    "an epoch is skipped": (
        lambda said: [replace(said[0], next_set=validator_set(2, (1, 2, 3, 4, 5))), *said[1:]],
        "handover-epoch",
    ),
}


def test_a_walk_from_genesis_gives_the_set_of_every_epoch() -> None:
    sets = follow_handovers(CHAIN.genesis.chain_id, CHAIN.genesis.validators, CHAIN.handovers)
    assert [each.epoch for each in sets] == [0, 1, 2, 3]
    assert [each.size for each in sets] == [4, 5, 4, 4]
    assert sets[-1] == CHAIN.validators


@pytest.mark.parametrize("case", WRONG, ids=str)
def test_a_walk_ends_at_the_first_handover_that_does_not_hold(case: str) -> None:
    twist, rule = WRONG[case]
    with pytest.raises((ProofError, PeerError), match=f"^{rule}: "):
        follow_handovers(CHAIN.genesis.chain_id, CHAIN.genesis.validators, twist(CHAIN.handovers))


@pytest.mark.parametrize("case", WRONG, ids=str)
def test_a_receipt_with_such_handovers_fails_at_the_root(case: str) -> None:
    twist, rule = WRONG[case]
    receipt = CHAIN.receipt(len(CHAIN.blocks))
    changed = replace(receipt, handovers=tuple(twist(CHAIN.handovers)))
    document = NamedDigest(SHA_256, hashlib.sha256(LAST).digest())
    genesis = CHAIN.trust().establish()
    assert verify_receipt(receipt.encode(), genesis, document).outcome is Outcome.VERIFIED
    verdict = verify_receipt(changed.encode(), genesis, document)
    assert verdict.outcome is not Outcome.VERIFIED
    assert verdict.failure is not None
    assert verdict.failure.step is Step.ROOT
    if changed.handovers[0].block.header.epoch:  # it begins where the genesis does not lead
        assert verdict.outcome is Outcome.NOT_ROOTED
    else:
        assert verdict.failure.detail.startswith(rule)


# --- Going on from what is pinned ---


def test_an_anchor_goes_on_over_handovers_and_pins_the_newest() -> None:
    known = CHAIN.trust(3).establish()
    assert known.epoch == 1
    further = known.extend(CHAIN.handovers[1:], CHAIN.blocks[-1])
    assert further == CHAIN.trust(len(CHAIN.blocks)).establish()
    assert further.file.encode() == CHAIN.trust(len(CHAIN.blocks)).encode()
    assert known.extend(CHAIN.handovers[1:]).validator_sets == further.validator_sets


@pytest.mark.parametrize("case", WRONG, ids=str)
def test_an_anchor_goes_on_over_nothing_that_does_not_hold(case: str) -> None:
    twist, _rule = WRONG[case]
    with pytest.raises(ProofError):
        CHAIN.trust(1).establish().extend(twist(CHAIN.handovers), CHAIN.blocks[-1])


def test_retired_keys_cannot_lead_away_from_what_is_pinned() -> None:
    """Genesis alone could be led astray: that is what a pinned header is for."""
    forged = retired_keys()
    assert CHAIN.trust().establish().extend(forged).epoch == 1
    with pytest.raises(ProofError, match="history-set"):
        CHAIN.trust(3).establish().join(CHAIN.trust().establish().extend(forged))
    with pytest.raises(ProofError, match="trust-certificate"):
        CHAIN.trust(3).establish().extend(forged)
    with pytest.raises(ProofError, match="history-"):
        CHAIN.trust(2).establish().extend(forged)


def test_what_once_was_pinned_must_stand_on_one_chain_with_what_is_pinned_later() -> None:
    fork = Chain.found()
    for number in range(3):
        fork.append(record_of(b"fork %d" % number))
    with pytest.raises(ProofError, match="history-"):
        CHAIN.trust(1).establish().extend((), fork.blocks[1])
    CHAIN.trust(1).establish().join(CHAIN.trust(5).establish())
    CHAIN.trust(5).establish().join(CHAIN.trust(1).establish())


def test_what_an_anchor_goes_on_over_is_all_that_is_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was checked once is not again: following a chain costs each epoch once."""
    anchor = CHAIN.trust().establish()
    checked: list[int] = []
    check = Handover.check

    def counted(handover: Handover, chain_id: bytes, validators: ValidatorSet) -> None:
        checked.append(validators.epoch)
        check(handover, chain_id, validators)

    monkeypatch.setattr(Handover, "check", counted)
    for handover in CHAIN.handovers:
        anchor = anchor.extend([handover])
    assert anchor.extend([]) == anchor
    assert checked == [0, 1, 2]
    assert anchor.validator_sets[-1] == CHAIN.handovers[-1].next_set


def test_the_part_that_leads_to_an_epoch_retires_no_key_of_it() -> None:
    anchor = CHAIN.trust(7).establish()
    assert anchor.up_to(3) is anchor
    for epoch in range(3):
        part = anchor.up_to(epoch)
        assert (part.epoch, part.pinned) == (epoch, None)
        assert part == CHAIN.trust().establish().extend(CHAIN.handovers[:epoch])


def rules_broken(check: Callable[[], None]) -> str | None:
    try:
        check()
    except ProofError as error:
        return error.rule
    return None


@pytest.mark.parametrize("pinned_height", [None, 1, 2, 3, 4, 5, 6, 7])
def test_joining_an_anchor_is_refused_just_where_the_whole_is_no_one_chain(
    pinned_height: int | None,
) -> None:
    """Fast against slow and obvious, over blocks that fit and blocks that do not."""
    anchor = CHAIN.trust(pinned_height).establish()
    first = CHAIN.blocks[0]
    others = [
        *CHAIN.blocks,
        *OTHER.blocks,
        *(handover.block for handover in retired_keys()),
        *(
            replace(block, header=replace(block.header, time_ms=block.header.time_ms + by_ms))
            for block in CHAIN.blocks
            for by_ms in (-1_000, 1_000)
        ),
        replace(first, header=replace(first.header, height=2**40)),
        replace(first, header=replace(first.header, height=0)),
    ]
    for count in (1, 2, 3):
        for added in combinations(others, count):
            slow = rules_broken(partial(check_one_chain, anchor.genesis, [*anchor.blocks, *added]))
            assert (rules_broken(partial(anchor.check_joined, added)) is None) is (slow is None)
    anchor.check_joined([])
