"""Pages of the state tree: their form by hand, and each malformed one refused.

That a tree gives the right ones is shown in tests/property/chain.
"""

from __future__ import annotations

import pytest

from node.chain.state_page import (
    EMPTY,
    SLOTS,
    Page,
    has_more_keys,
    hash_of,
    lone_leaf,
)
from node.crypto.domains import STATE_LEAF, STATE_NODE, tagged
from node.errors import ProofError
from tests.suites import SUITE, hash_by_hand

LEAF = b"\xa3" + b"p" * 31 + b"v" * 32  # the path begins with the digits a3
BELOW = b"h" * 32


def page_of(slots: dict[int, bytes]) -> Page:
    return Page.of_slots([slots.get(slot, b"") for slot in range(SLOTS)], SUITE)


def sizes(slots: dict[int, int]) -> bytes:
    return bytes(slots.get(slot, 0) for slot in range(SLOTS))


def test_the_three_kinds_of_subtree() -> None:
    lone = lone_leaf(LEAF, SUITE)
    assert lone == LEAF + hash_by_hand(tagged(STATE_LEAF, LEAF))
    assert [hash_of(each) for each in (b"", BELOW, lone)] == [EMPTY, BELOW, lone[64:]]
    assert [has_more_keys(each) for each in (b"", BELOW, lone)] == [False, True, False]


def test_a_page_by_hand() -> None:
    lone = lone_leaf(LEAF, SUITE)
    page = page_of({3: lone, 12: BELOW})
    chain = BELOW  # under digit c = 1100 alone on the way up to where the two part: bit 0
    for left in (True, True, False):
        pair = chain + EMPTY if left else EMPTY + chain
        chain = hash_by_hand(tagged(STATE_NODE, pair))
    assert page.top == hash_by_hand(tagged(STATE_NODE, lone[64:] + chain))
    stored = sizes({3: 96, 12: 32}) + LEAF + BELOW
    assert page.encode() == stored
    assert Page.decode(stored, "a", SUITE) == page


def test_a_lone_leaf_stands_for_the_whole_page() -> None:
    lone = lone_leaf(LEAF, SUITE)
    page = page_of({10: lone})
    assert page.top == lone
    assert Page.decode(page.encode(), "", SUITE) == page


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        sizes({})[:-1],
        sizes({12: 32}) + BELOW[:-1],
        sizes({12: 32}) + BELOW + b"\x00",
        sizes({12: 32}),
        sizes({12: 31}) + BELOW[:-1],
        sizes({12: 64}) + LEAF,
        sizes({3: 96}) + LEAF[:-1],
        sizes({3: 96}) + LEAF + b"h" * 32,
        sizes({2: 96}) + LEAF,
        sizes({3: 96}) + b"\xb3" + LEAF[1:],
    ],
    ids=[
        "nothing",
        "no slots",
        "hash short",
        "bytes left over",
        "hash missing",
        "length unknown",
        "length of a leaf without hash",
        "leaf short",
        "leaf with its hash",
        "leaf of another slot",
        "leaf of another page",
    ],
)
def test_a_malformed_page_is_refused(stored: bytes) -> None:
    with pytest.raises(ProofError, match="page a: ") as caught:
        Page.decode(stored, "a", SUITE)
    assert caught.value.rule == "state-page"


def test_there_is_no_page_below_the_last_digit() -> None:
    stored = sizes({12: 32}) + BELOW
    assert Page.decode(stored, "0" * 62, SUITE).encode() == stored
    with pytest.raises(ProofError, match="slot 12 cannot hold"):
        Page.decode(stored, "0" * 63, SUITE)
