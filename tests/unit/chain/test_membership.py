"""Quorum arithmetic against its definition, and validator sets that are what they claim."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest

from node.chain.membership import (
    AggregateKey,
    Validator,
    ValidatorSet,
    faults_tolerated,
    quorum_size,
)
from node.crypto.bls import BlsSigner
from node.errors import CryptoError, DecodeError
from node.limits import VALIDATORS_MAX
from tests.suites import SUITE
from tests.unit.execution.small_chain import GENESIS


@pytest.mark.parametrize("n", range(1, 65))
def test_two_quorums_share_a_correct_validator_and_correct_ones_alone_make_one(n: int) -> None:
    f, q = faults_tolerated(n), quorum_size(n)
    assert 3 * f + 1 <= n < 3 * (f + 1) + 1
    assert 2 * q - n >= f + 1, "the overlap of two quorums holds a correct validator"
    assert 2 * (q - 1) - n < f + 1, "no smaller quorum would do"
    assert n - f >= q, "the correct ones suffice"


def test_the_table_of_the_design() -> None:
    assert [quorum_size(n) for n in (1, 4, 5, 6, 7, 10, 16, 31)] == [1, 3, 4, 4, 5, 7, 11, 21]


def test_overlap_by_enumeration_for_a_small_set() -> None:
    quorums = [frozenset(c) for c in combinations(range(5), quorum_size(5))]
    assert min(len(a & b) for a in quorums for b in quorums) >= faults_tolerated(5) + 1


def test_round_trip_primary_and_lookup() -> None:
    validators = GENESIS.validators
    again = ValidatorSet.from_value(validators.to_value(), SUITE)
    assert again.digest == validators.digest
    assert [validators.primary(view) for view in range(6)] == [0, 1, 2, 3, 0, 1]
    assert validators.index_of("validator-3") == 2
    assert validators.index_of("nobody") is None


def test_the_digest_binds_epoch_order_and_every_key() -> None:
    base = GENESIS.validators
    members = base.validators
    variants = [
        ValidatorSet(1, members, SUITE),
        ValidatorSet(0, members[::-1], SUITE),
        ValidatorSet(0, members[:3], SUITE),
        ValidatorSet(0, (replace(members[0], cosignature_key=b"\x09" * 32), *members[1:]), SUITE),
        ValidatorSet(0, with_aggregate_keys(members), SUITE),
        ValidatorSet(0, with_aggregate_keys(members, b"\x02" * 96), SUITE),
    ]
    digests = [base.digest, *(variant.digest for variant in variants)]
    assert len(frozenset(digests)) == len(digests)


def test_refuses_twins_and_the_empty_set() -> None:
    first = GENESIS.validators.validators[0]
    with pytest.raises(DecodeError, match="twice"):
        ValidatorSet(0, (first, first), SUITE)
    with pytest.raises(DecodeError, match="twice"):
        ValidatorSet(0, (first, replace(first, validator_id="other")), SUITE)
    with pytest.raises(DecodeError, match=r"expected 1\.\.64 members, got 0"):
        ValidatorSet(0, (), SUITE)


def test_an_id_that_occurs_twice_is_refused_whatever_its_key() -> None:
    first, second, *_ = GENESIS.validators.validators
    with pytest.raises(DecodeError, match="twice"):
        ValidatorSet(0, (first, replace(second, validator_id=first.validator_id)), SUITE)


def test_a_set_has_one_to_sixty_four_members() -> None:
    first = GENESIS.validators.validators[0]

    def members(count: int) -> tuple[Validator, ...]:
        return tuple(
            replace(first, validator_id=f"v-{n}", vote_key=bytes((n, *first.vote_key[1:])))
            for n in range(count)
        )

    assert ValidatorSet(0, members(1), SUITE).quorum == 1
    assert ValidatorSet(0, members(VALIDATORS_MAX), SUITE).size == 64
    with pytest.raises(DecodeError, match=r"expected 1\.\.64 members, got 65"):
        ValidatorSet(0, members(VALIDATORS_MAX + 1), SUITE)


@pytest.mark.parametrize("epoch", [-1, True, "0", 1.0])
def test_a_set_is_of_an_epoch(epoch: object) -> None:
    version, _, members = GENESIS.validators.to_value()
    assert ValidatorSet.from_value([version, 0, members], SUITE) == GENESIS.validators
    with pytest.raises(DecodeError, match="epoch must be an unsigned integer"):
        ValidatorSet.from_value([version, epoch, members], SUITE)


def test_a_set_of_another_version_is_refused() -> None:
    version, epoch, members = GENESIS.validators.to_value()
    with pytest.raises(DecodeError, match="validator set: "):
        ValidatorSet.from_value([version + 1, epoch, members], SUITE)


def test_refuses_malformed_members() -> None:
    value = GENESIS.validators.validators[0].to_value()
    with pytest.raises(DecodeError, match="cosignature key: expected 32 bytes"):
        Validator.from_value([*value[:3], bytes(31), None])
    with pytest.raises(DecodeError, match="BLS key: expected 48 bytes"):
        Validator.from_value([*value[:4], [bytes(47), bytes(96)]])
    with pytest.raises(DecodeError, match="BLS proof of possession: expected 96 bytes"):
        Validator.from_value([*value[:4], [bytes(48), bytes(95)]])
    with pytest.raises(DecodeError, match="BLS key: expected an array of 2"):
        Validator.from_value([*value[:4], bytes(144)])


def with_aggregate_keys(
    members: tuple[Validator, ...], proof: bytes = bytes(96)
) -> tuple[Validator, ...]:
    """Return the members, each with a BLS key of the right size."""
    return tuple(
        replace(member, aggregate_key=AggregateKey(bytes((index,)) * 48, proof))
        for index, member in enumerate(members)
    )


def test_either_all_members_have_a_bls_key_or_none_and_no_two_share_one() -> None:
    plain = GENESIS.validators.validators
    keyed = with_aggregate_keys(plain)
    assert ValidatorSet(0, keyed, SUITE).has_aggregates
    assert not GENESIS.validators.has_aggregates
    for mixed in ((*keyed[:3], plain[3]), (plain[0], *keyed[1:])):
        with pytest.raises(DecodeError, match="BLS keys of all members or of none"):
            ValidatorSet(0, mixed, SUITE)
    twins = (*keyed[:3], replace(keyed[3], aggregate_key=keyed[0].aggregate_key))
    with pytest.raises(DecodeError, match="a BLS key occurs twice"):
        ValidatorSet(0, twins, SUITE)


def test_a_bls_key_counts_only_with_its_own_proof() -> None:
    plain = GENESIS.validators.validators
    signers = [BlsSigner.from_secret(bytes((index,)) * 32) for index in range(len(plain))]
    keys = [AggregateKey(each.public_key.encoded, each.prove_possession()) for each in signers]
    members = [replace(member, aggregate_key=key) for member, key in zip(plain, keys, strict=True)]
    ValidatorSet(0, tuple(members), SUITE).check_possessions()
    borrowed = AggregateKey(keys[1].key, keys[0].possession)
    members[1] = replace(members[1], aggregate_key=borrowed)
    with pytest.raises(CryptoError, match="validator-2: BLS key: the proof of possession"):
        ValidatorSet(0, tuple(members), SUITE).check_possessions()
    members[1] = replace(members[1], aggregate_key=AggregateKey(bytes(48), keys[1].possession))
    with pytest.raises(CryptoError, match="validator-2: public key: expected"):
        ValidatorSet(0, tuple(members), SUITE).check_possessions()
