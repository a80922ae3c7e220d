"""Of each validator the VIEW-CHANGE for the highest view; f + 1 and q of them, and one fewer."""

from __future__ import annotations

import pytest

from node.consensus.messages import ViewChange
from node.consensus.view_changes import ViewChanges
from tests.unit.consensus.signing import view_change
from tests.unit.execution.small_chain import GENESIS


def holding(*left: tuple[int, int]) -> ViewChanges:
    """Return what is held once validators left for views, in this order."""
    held = ViewChanges(GENESIS.validators)
    for validator, view in left:
        held.add(view_change(validator, view))
    return held


def told(held: list[ViewChange] | tuple[ViewChange, ...]) -> list[tuple[int, int]]:
    return [(each.validator, each.view) for each in held]


@pytest.mark.parametrize(("views", "kept"), [((1, 3), 3), ((3, 1), 3), ((2, 2), 2)])
def test_of_a_validator_the_one_for_the_highest_view_is_held(
    views: tuple[int, ...], kept: int
) -> None:
    held = holding(*((0, view) for view in views))
    assert told(held.since(0)) == [(0, kept)]
    assert held.of(0) == view_change(0, kept)
    assert held.of(1) is None
    assert (held.has_above(kept - 1), held.has_above(kept)) == (True, False)


def test_the_first_for_a_view_is_held() -> None:
    held, first = ViewChanges(GENESIS.validators), view_change(0, 2)
    held.add(first)
    held.add(view_change(0, 2))
    assert held.of(0) is first


def test_those_for_a_view_or_a_later_one_come_as_they_came() -> None:
    assert told(holding((2, 1), (0, 3), (1, 2)).since(2)) == [(0, 3), (1, 2)]


def test_a_view_is_left_by_one_more_than_may_be_faulty() -> None:
    assert holding((2, 5)).joined_above(1) == []
    assert told(holding((2, 5), (0, 2)).joined_above(1)) == [(2, 5), (0, 2)]
    assert holding((2, 5), (0, 2)).joined_above(2) == []


def test_a_view_begins_with_a_quorum_for_it_in_the_order_of_the_set() -> None:
    assert holding((2, 1), (0, 1), (1, 2)).quorum_for(1) == ()
    assert told(holding((2, 1), (0, 1), (1, 1)).quorum_for(1)) == [(0, 1), (1, 1), (2, 1)]
    assert told(holding((3, 1), (2, 2), (0, 2), (1, 2)).quorum_for(2)) == [(0, 2), (1, 2), (2, 2)]
