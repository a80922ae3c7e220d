"""The tree in memory: what is above buckets, shared by every tree that it is a part of."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import Final, final

from node.chain.state_bucket import Bucket, malformed
from node.chain.state_page import DEPTH_MAX, EMPTY
from node.chain.struct import Struct

BucketReader = Callable[[bytes], Bucket | None]
"""Gives the bucket stored at a place (`place_of`), or None if there is none."""


@final
class Fork(Struct, frozen=True, gc=False):
    """A subtree of more keys than a bucket has.

    It is told from others by its exact type, as `isinstance` takes four times as long.
    """

    hash: bytes
    left: StateTree
    right: StateTree


StateTree = Fork | bytes
"""A subtree, or all of a tree: a fork, the hash of a bucket, or no bytes where there is no key."""

EMPTY_TREE: Final = b""


def root_of(tree: StateTree) -> bytes:
    """Return the hash of a tree or subtree."""
    return tree.hash if type(tree) is Fork else tree or EMPTY


def read_named(read_bucket: BucketReader, place: bytes, expected: bytes) -> Bucket:
    """Return the bucket at `place` if it is the one whose hash the tree holds."""
    bucket = read_bucket(place)
    if bucket is None:
        raise malformed(place, "missing")
    if bucket.hash != expected:
        raise malformed(place, f"expected {expected.hex()}, got {bucket.hash.hex()}")
    return bucket


def descend(tree: StateTree, path: int, depth_max: int) -> tuple[StateTree, int]:
    """Return the subtree that a path leads to, no deeper than asked for, and how deep that is."""
    node, below = tree, DEPTH_MAX  # bits of the path that are not decided yet
    while below > DEPTH_MAX - depth_max and type(node) is Fork:
        below -= 1
        node = node.right if path >> below & 1 else node.left
    return node, DEPTH_MAX - below


def parted(tree: StateTree, paths: Sequence[int]) -> Iterator[tuple[bytes, int, int, int]]:
    """Yield the bucket hash, none for no bucket, at which so many of the sorted `paths` end.

    With it come how deep that is, and of which paths: from the first one up to another.
    """
    waiting = [(tree, DEPTH_MAX, 0, len(paths))] if paths else []
    while waiting:
        node, below, first, after = waiting.pop()
        while type(node) is Fork:
            below -= 1
            if paths[first] >> below & 1:
                node = node.right
            elif after - first == 1 or not paths[after - 1] >> below & 1:
                node = node.left
            else:
                middle = bisect_left(paths, (paths[first] >> below | 1) << below, first, after)
                waiting.append((node.right, below, middle, after))
                node, after = node.left, middle
        yield node, DEPTH_MAX - below, first, after
