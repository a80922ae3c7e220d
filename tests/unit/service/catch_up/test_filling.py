"""How many blocks below a state execution may look at: the parameters in the state say it."""

from __future__ import annotations

import pytest

from node.chain.encoding import encode
from node.chain.genesis import Parameters
from node.errors import DecodeError, InvariantViolation
from node.execution.governance import EVIDENCE_CHECKPOINTS_MAX
from node.limits import WINDOW_SLOTS_MAX
from node.service.catch_up.filling import heights_needed


@pytest.mark.parametrize(
    ("checkpoint_blocks", "needed"),
    [(1, WINDOW_SLOTS_MAX), (10, 10 * EVIDENCE_CHECKPOINTS_MAX)],
)
def test_execution_looks_back_by_checkpoints_and_at_least_a_window(
    checkpoint_blocks: int, needed: int
) -> None:
    parameters = Parameters(checkpoint_blocks=checkpoint_blocks)
    assert heights_needed(encode(parameters.to_value())) == needed


def test_a_state_without_parameters_is_none() -> None:
    with pytest.raises(InvariantViolation, match="a state holds no parameters"):
        heights_needed(None)


def test_parameters_that_do_not_decode_are_refused() -> None:
    with pytest.raises(DecodeError, match="parameters in state"):
        heights_needed(b"\xff")
