"""Genesis: one chain id per content, and a clear refusal of every unusable one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.chain.genesis import Genesis, Identity, Parameters
from node.chain.membership import ValidatorSet
from node.errors import DecodeError
from tests.suites import SUITE
from tests.unit.execution.small_chain import GENESIS, build_genesis


def test_round_trip_and_chain_id() -> None:
    again = Genesis.decode(GENESIS.encode())
    assert again.chain_id == GENESIS.chain_id
    assert again.identities == GENESIS.identities
    assert build_genesis(name="other").chain_id != GENESIS.chain_id


@pytest.mark.parametrize("position", range(0, 400, 7))
def test_a_flipped_byte_is_refused_or_another_chain(position: int) -> None:
    data = bytearray(GENESIS.encode())
    data[position] ^= 1
    try:
        other = Genesis.decode(bytes(data))
    except DecodeError:
        return
    assert other.chain_id != GENESIS.chain_id


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"precision_ms": 0}, "precision_ms: expected at least 1, got 0"),
        ({"window_slots": 5}, "window_slots: expected an integer in 0..4, got 5"),
        ({"accuracy_ms": 649}, "accuracy_ms: expected at least .* = 650, got 649"),
        ({"view_timeout_ms": 40_000}, "view_timeout_ms: exceeds"),
        ({"block_txs_max": 5_001}, "block_txs_max"),
        ({"rotation_blocks": 0}, "rotation_blocks: expected at least 1, got 0"),
        ({"rotation_ms": 59_999}, "rotation_ms: is below twice view_timeout_max_ms"),
        ({"fairness_ms": 999}, "fairness_ms: is below view_timeout_ms"),
    ],
)
def test_refuses_parameters_by_name(changes: dict[str, int], why: str) -> None:
    value = replace(Parameters(), **changes).to_value()
    with pytest.raises(DecodeError, match=why):
        Parameters.from_value(value)


def test_refuses_what_does_not_fit_together() -> None:
    stranger = replace(GENESIS.identities[0], identity_id="stranger", organisation="org-9")
    with pytest.raises(DecodeError, match="stranger belongs to unknown 'org-9'"):
        replace(GENESIS, identities=(*GENESIS.identities, stranger)).check()
    with pytest.raises(DecodeError, match="occurs twice"):
        replace(GENESIS, identities=GENESIS.identities * 2).check()
    later = ValidatorSet(1, GENESIS.validators.validators, SUITE)
    with pytest.raises(DecodeError, match="expected epoch 0, got 1"):
        replace(GENESIS, validators=later).check()
    bad_key = replace(GENESIS.identities[0], public_key=b"\x02" + b"\xff" * 32)
    with pytest.raises(DecodeError, match="malformed public key"):
        replace(GENESIS, identities=(bad_key,)).check()


def test_refuses_an_unknown_role_and_suite() -> None:
    value = GENESIS.identities[0].to_value()
    for role in (0, 6):
        with pytest.raises(DecodeError, match="identity role"):
            Identity.from_value([*value[:2], role, *value[3:]])
    data = bytearray(GENESIS.encode())
    assert data[2] == SUITE.suite_id, "the suite id stands third"
    data[2] = 9
    with pytest.raises(DecodeError, match="genesis suite"):
        Genesis.decode(bytes(data))
