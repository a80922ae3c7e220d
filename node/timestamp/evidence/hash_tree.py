"""Hash trees as RFC 4998 section 4.2 has them: one time stamp for many files, few hashes for each.

Nodes are the hashes of their sorted children, without a tag that tells leaves from nodes: not the
tree of RFC 9162. What is hashed, files or older time stamps, is the business of the callers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from node.crypto.suite import DocumentDigest
from node.errors import ProofError

DataObject: TypeAlias = Callable[[DocumentDigest], bytes]
"""A file, as far as evidence needs it: its digest by an algorithm."""
DataGroup: TypeAlias = Sequence[DataObject]
"""Files that one record covers together, at least one."""
HashLists: TypeAlias = tuple[tuple[bytes, ...], ...]
"""A reduced hash tree: the group's own hashes, then what joins it on the way to the root.

Of a single hash the first list holds its neighbour too; empty if it is the root.
"""


def data_object(content: bytes) -> DataObject:
    """Return a file that is at hand."""
    return lambda algorithm: algorithm.new_hash(content).digest()


def hash_group(hashes: Iterable[bytes], algorithm: DocumentDigest) -> bytes:
    """Return what stands for hashes: one for itself, of several the hash, in ascending order."""
    ordered = sorted(set(hashes))
    return ordered[0] if len(ordered) == 1 else algorithm.new_hash(b"".join(ordered)).digest()


def root_of(lists: HashLists, algorithm: DocumentDigest) -> bytes:
    """Return the root that lists lead to, RFC 4998 section 4.3; they are not empty.

    Raises `ProofError` where a list is empty or out of order, or where the first holds one hash
    alone: whether that is to be hashed again, implementations do not agree.
    """
    if len(lists[0]) == 1:
        raise ProofError("hash-list", "expected at least two hashes in the first list, got one")
    joined: tuple[bytes, ...] = ()
    for each in lists:
        if not each or list(each) != sorted(set(each)):
            raise ProofError("hash-list", "expected hashes in ascending order")
        joined = (algorithm.new_hash(b"".join(sorted((*each, *joined)))).digest(),)
    return joined[0]


class HashTree:
    """A binary tree over groups of hashes. It depends on what they are, not on their order."""

    def __init__(self, groups: Iterable[Iterable[bytes]], algorithm: DocumentDigest) -> None:
        """Build it over at least one group; equal ones share a leaf."""
        self.algorithm = algorithm
        leaves = sorted({hash_group(group, algorithm) for group in groups})
        self._places = {leaf: place for place, leaf in enumerate(leaves)}
        self._levels = [leaves]
        while len(leaves) > 1:
            pairs = (leaves[at : at + 2] for at in range(0, len(leaves), 2))
            leaves = [hash_group(pair, algorithm) for pair in pairs]
            self._levels.append(leaves)

    @property
    def root(self) -> bytes:
        """Return what is to be stamped."""
        return self._levels[-1][0]

    def reduce(self, group: Iterable[bytes]) -> HashLists:
        """Return what leads from a group of the tree to the root."""
        own = tuple(sorted(set(group)))
        place = self._places[hash_group(own, self.algorithm)]
        beside: list[tuple[bytes, ...]] = []
        for level in self._levels[:-1]:
            neighbour = place ^ 1
            if neighbour < len(level):
                beside.append((level[neighbour],))
            place //= 2
        if len(own) > 1:
            return (own, *beside)
        if not beside:
            return ()
        return (tuple(sorted((*own, *beside[0]))), *beside[1:])
