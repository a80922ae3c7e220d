"""Evidence proves what it says, of one chain and one set, and nothing else counts as evidence."""

from __future__ import annotations

from dataclasses import replace

import cbor2
import pytest

from node.chain.certificate import Phase
from node.chain.evidence import Evidence, Place, contradict
from node.errors import DecodeError, InvariantViolation, PeerError
from node.limits import EVIDENCE_BYTES_MAX
from tests.unit.consensus.signing import chain_of_blocks, evidence_against, vote
from tests.unit.execution.small_chain import GENESIS

EVIDENCE = evidence_against(2, view=3, height=7, phase=Phase.COMMIT)
SUITE, VALIDATORS = GENESIS.suite, GENESIS.validators


def test_it_names_the_offence_and_proves_it() -> None:
    assert EVIDENCE.place == Place(0, 3, 7, Phase.COMMIT, 2)
    EVIDENCE.check(GENESIS.chain_id, VALIDATORS)


def test_it_round_trips_and_one_pair_has_one_encoding() -> None:
    data = EVIDENCE.encode()
    assert len(data) < EVIDENCE_BYTES_MAX
    assert Evidence.decode(data, SUITE) == EVIDENCE
    swapped = Evidence.of(EVIDENCE.second, EVIDENCE.first, VALIDATORS)
    assert swapped.encode() == data


@pytest.mark.parametrize(
    ("position", "changed"),
    [(0, 2), (3, 0), (3, 3), (6, 64), (7, []), (1, -1)],
)
def test_a_malformed_one_is_refused(position: int, changed: object) -> None:
    value = cbor2.loads(EVIDENCE.encode())
    value[position] = changed
    with pytest.raises(DecodeError):
        Evidence.decode(cbor2.dumps(value), SUITE)


def test_two_equal_digests_and_a_wrong_order_are_refused() -> None:
    value = cbor2.loads(EVIDENCE.encode())
    for pair in ([value[7], value[7]], [value[8], value[7]]):
        with pytest.raises(DecodeError, match="ascending"):
            Evidence.decode(cbor2.dumps([*value[:7], *pair]), SUITE)


def test_it_proves_nothing_to_another_chain_or_set_or_about_another_validator() -> None:
    with pytest.raises(PeerError, match="evidence-signature"):
        EVIDENCE.check(bytes(32), VALIDATORS)
    with pytest.raises(PeerError, match="evidence-set"):
        EVIDENCE.check(GENESIS.chain_id, replace(VALIDATORS, epoch=1))
    for validator in (1, 63):
        about = replace(
            EVIDENCE,
            first=replace(EVIDENCE.first, validator=validator),
            second=replace(EVIDENCE.second, validator=validator),
        )
        with pytest.raises(PeerError, match="evidence-signature"):
            about.check(GENESIS.chain_id, VALIDATORS)


@pytest.mark.parametrize("which", ["first", "second"])
def test_a_single_genuine_vote_proves_nothing(which: str) -> None:
    first, second = EVIDENCE.first, EVIDENCE.second
    if which == "first":
        first = replace(first, signature=bytes(64))
    else:
        second = replace(second, signature=bytes(64))
    forged = replace(EVIDENCE, first=first, second=second)
    with pytest.raises(PeerError, match="evidence-signature"):
        forged.check(GENESIS.chain_id, VALIDATORS)


def test_only_votes_of_one_place_for_different_headers_contradict() -> None:
    header = chain_of_blocks(1)[1].header
    other = replace(header, time_ms=header.time_ms + 1)
    cast = vote(Phase.PREPARE, 0, header, 1)
    assert contradict(cast, vote(Phase.PREPARE, 0, other, 1))
    for harmless in (
        replace(cast, time_ms=cast.time_ms + 5),
        vote(Phase.COMMIT, 0, other, 1),
        vote(Phase.PREPARE, 1, other, 1),
        vote(Phase.PREPARE, 0, replace(other, height=2), 1),
        vote(Phase.PREPARE, 0, other, 2),
    ):
        assert not contradict(cast, harmless)
        with pytest.raises(InvariantViolation):
            Evidence.of(cast, harmless, VALIDATORS)
