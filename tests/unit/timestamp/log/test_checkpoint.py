"""Checkpoints: three lines, and who counts as a signer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.chain.membership import ValidatorSet
from node.chain.merkle import TreeHead
from node.errors import DecodeError
from node.timestamp.log.checkpoint import (
    Checkpoint,
    check_collected,
    cosigner_name,
    members_that_sign,
    origin_of,
)
from tests.unit.timestamp.log.test_note import C2SP_NOTE
from tests.vectors.receipt.chain import SUITE, Chain, validator_set
from tests.vectors.receipt.cosigned import checkpoint_at, cosigned

TEXT = C2SP_NOTE.partition("\n\n")[0] + "\n"


def test_a_checkpoint_of_others_is_read() -> None:
    checkpoint = Checkpoint.parse(TEXT)
    assert (checkpoint.origin, checkpoint.head.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.text == TEXT


@pytest.mark.parametrize(
    "text",
    [
        "",
        TEXT[:-1],
        TEXT + "an extension\n",
        "\n" + TEXT,
        TEXT.replace("20852163", "020852163"),
        TEXT.replace("20852163", "-1"),
        TEXT.replace("20852163", "\u0662"),
        TEXT.replace("20852163", str(2**64)),
        TEXT.replace("20852163", "9" * 5_000),
        TEXT.replace("Cs", ""),
        TEXT.replace("q2I=", "q2J="),
    ],
)
def test_anything_but_three_lines_in_their_one_form_is_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        Checkpoint.parse(text)


def test_the_greatest_size_is_read() -> None:
    head = TreeHead(2**64 - 1, bytes(32))
    assert Checkpoint.parse(Checkpoint("log", head).text).head == head


def test_a_name_holds_no_character_that_a_note_could_not_bear() -> None:
    assert cosigner_name("govchain/ab", "validator-1") == "govchain/ab/validator-1"
    assert cosigner_name("o", "a b+c/\u4e2d") == "o/a%20b%2Bc%2F%E4%B8%AD"


def test_a_quorum_of_the_set_is_told_by_name() -> None:
    chain = Chain.found()
    chain.append()
    note = cosigned(checkpoint_at(chain, 1), chain.validators, (1, 2, 3))
    found = check_collected(note, chain.genesis.chain_id, chain.validators)
    assert found.checkpoint.origin == origin_of(chain.genesis.chain_id)
    assert found.cosigners == ("validator-2", "validator-3", "validator-4")


def test_a_key_that_is_none_or_somebody_elses_does_not_count() -> None:
    """One signature would count as two, or one bad key keep every good one from counting."""
    base = validator_set(0, (1, 2, 3, 4))
    first, second, third, fourth = base.validators
    borrowed = replace(third, cosignature_key=second.cosignature_key)
    broken = replace(fourth, cosignature_key=bytes(32))
    held = ValidatorSet(0, (first, second, borrowed, broken), SUITE)
    assert members_that_sign(held) == (first, second)
