"""Hash trees of RFC 4998, against its own figures computed by hand."""

from __future__ import annotations

import hashlib

import pytest

from node.crypto.suite import SHA_256
from node.errors import ProofError
from node.timestamp.evidence.hash_tree import HashTree, hash_group, root_of


def h(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(sorted(parts))).digest()


A, B, C, D, E = (hashlib.sha256(bytes([number])).digest() for number in range(5))


def test_one_hash_is_its_own_root_and_needs_no_tree() -> None:
    tree = HashTree([[A]], SHA_256)
    assert tree.root == A
    assert tree.reduce([A]) == ()


def test_a_group_is_the_hash_of_its_hashes_in_ascending_order() -> None:
    tree = HashTree([[B, A, C, A]], SHA_256)
    assert tree.root == h(A, B, C) == hash_group([C, A, B, B], SHA_256)
    assert tree.reduce([C, B, A]) == (tuple(sorted((A, B, C))),)


def test_a_single_hash_stands_beside_its_neighbour() -> None:
    tree = HashTree([[B], [A]], SHA_256)
    assert tree.root == h(A, B)
    assert tree.reduce([A]) == tree.reduce([B]) == (tuple(sorted((A, B))),)


def test_of_three_leaves_one_joins_a_level_higher() -> None:
    low, middle, high = sorted((A, B, C))
    tree = HashTree([[high], [low], [middle]], SHA_256)
    assert tree.root == h(h(low, middle), high)
    assert tree.reduce([low]) == ((low, middle), (high,))
    assert tree.reduce([high]) == (tuple(sorted((high, h(low, middle)))),)


def test_a_group_keeps_its_first_list_to_itself() -> None:
    tree = HashTree([[A, B], [C], [D, E]], SHA_256)
    first, *rest = tree.reduce([B, A])
    assert first == tuple(sorted((A, B)))
    assert all(len(each) == 1 for each in rest)
    assert root_of((first, *rest), SHA_256) == tree.root


def test_the_order_of_the_groups_does_not_matter() -> None:
    groups = [[A], [B, C], [D], [E]]
    assert HashTree(groups, SHA_256).root == HashTree(reversed(groups), SHA_256).root
    assert HashTree([*groups, [A]], SHA_256).root == HashTree(groups, SHA_256).root


@pytest.mark.parametrize(
    "lists", [((A,),), ((A,), (B,)), (tuple(sorted((A, B), reverse=True)),), ((A, A),), ((),)]
)
def test_lists_that_can_be_read_in_two_ways_are_refused(lists: tuple[tuple[bytes, ...]]) -> None:
    with pytest.raises(ProofError, match="hash-list"):
        root_of(lists, SHA_256)


def test_a_list_that_repeats_what_it_is_joined_to_changes_the_root() -> None:
    lists = (tuple(sorted((A, B))),)
    root = root_of(lists, SHA_256)
    assert root_of((*lists, (root,)), SHA_256) == hashlib.sha256(root + root).digest()
