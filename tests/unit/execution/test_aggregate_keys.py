"""Who joins a chain with compact certificates: V3 and V4 of governance, for BLS keys."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import cache

import pytest

from node.chain.block import ResultCode
from node.chain.governance import AddValidator, RemoveValidator, possession_bytes
from node.chain.membership import AggregateKey, Validator, ValidatorSet
from node.crypto.bls import BlsSigner
from tests.unit.execution import governed_chain
from tests.unit.execution.governed_chain import (
    GOVERNED,
    GovernedChain,
    adding,
    governed,
    validator,
)
from tests.unit.execution.small_chain import signer

FOUNDERS = tuple(each.validator_id for each in GOVERNED.validators.validators)
FIFTH = "validator-5"


@cache
def key_of(name: str) -> AggregateKey:
    sharer = BlsSigner.from_secret(hashlib.sha256(b"share " + name.encode()).digest())
    return AggregateKey(sharer.public_key.encoded, sharer.prove_possession())


def keyed(member: Validator) -> Validator:
    return replace(member, aggregate_key=key_of(member.validator_id))


KEYED = replace(
    GOVERNED,
    validators=ValidatorSet(
        0, tuple(keyed(each) for each in GOVERNED.validators.validators), GOVERNED.suite
    ),
)


def joining(member: Validator) -> AddValidator:
    proof = signer(member.validator_id).sign(possession_bytes(KEYED.chain_id, member))
    return AddValidator(member, proof)


@pytest.fixture
def chain(monkeypatch: pytest.MonkeyPatch) -> GovernedChain:
    monkeypatch.setattr(governed_chain, "GOVERNED", KEYED)
    return GovernedChain()


def test_who_proves_its_bls_key_joins(chain: GovernedChain) -> None:
    change = governed(joining(keyed(validator(FIFTH))), evidence=chain.statements(*FOUNDERS))
    assert chain.govern(change) is ResultCode.OK


REFUSED = {
    "no key": (None, ResultCode.KEY_INVALID),
    "a key that is none": (
        replace(key_of(FIFTH), key=bytes(48)),
        ResultCode.KEY_INVALID,
    ),
    "infinity": (AggregateKey(b"\xc0" + bytes(47), b"\xc0" + bytes(95)), ResultCode.KEY_INVALID),
    "another's proof": (
        replace(key_of(FIFTH), possession=key_of("validator-6").possession),
        ResultCode.KEY_INVALID,
    ),
    "another's key and proof": (key_of("validator-2"), ResultCode.KEY_TAKEN),
}


@pytest.mark.parametrize("what", REFUSED)
def test_who_does_not_is_refused(chain: GovernedChain, what: str) -> None:
    aggregate_key, code = REFUSED[what]
    member = replace(validator(FIFTH), aggregate_key=aggregate_key)
    change = governed(joining(member), evidence=chain.statements(*FOUNDERS))
    assert chain.govern(change) is code


def test_the_key_of_who_left_comes_back_with_nobody(chain: GovernedChain) -> None:
    removal = governed(
        RemoveValidator("validator-2"), evidence=chain.statements(*FOUNDERS[2:], "validator-1")
    )
    assert chain.govern(removal) is ResultCode.OK
    member = replace(validator(FIFTH), aggregate_key=key_of("validator-2"))
    evidence = chain.statements("validator-1", "validator-3", "validator-4")
    assert chain.govern(governed(joining(member), epoch=1, evidence=evidence)) is (
        ResultCode.KEY_TAKEN
    )


def test_where_the_others_have_no_key_nobody_brings_one() -> None:
    chain = GovernedChain()
    member = keyed(validator(FIFTH))
    proof = signer(FIFTH).sign(possession_bytes(GOVERNED.chain_id, member))
    evidence = chain.statements(*FOUNDERS)
    assert chain.govern(governed(AddValidator(member, proof), evidence=evidence)) is (
        ResultCode.KEY_INVALID
    )
    assert chain.govern(governed(adding(FIFTH), evidence=evidence)) is ResultCode.OK
