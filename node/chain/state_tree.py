"""The authenticated map of current state: a compact sparse Merkle tree. Reads pages through a port.

A key's place is its *key path*, 256 bits: the tagged hash of the key, most significant bit first, 0
to the left. A subtree is committed to by a hash that depends on its content alone:

- no key: 32 zero bytes (`EMPTY`);
- exactly one key: its leaf, tagged_hash(STATE_LEAF, key path || hash(value)), at whatever depth;
- more keys: tagged_hash(STATE_NODE, left || right).

So the same map has the same root whatever its history, and a key deleted leaves no trace. Distinct
tags keep leaf and inner apart. Key paths are hashes, so depth is logarithmic in the number of keys;
who searches for colliding prefixes deepens the tree for those keys alone, at most to 256.

That is what validators agree on. How a tree is stored, in pages of four levels, is in
`node.chain.state_page`, and each could do it otherwise. Values are not in the tree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Self

from node.chain.encoding import decode, encode, expect_array, expect_bytes, expect_list
from node.chain.merkle import DIGEST_BYTES
from node.chain.state_page import (
    DEPTH_MAX,
    EMPTY,
    EMPTY_PAGE,
    LEAF_BYTES,
    PAGE_LEVELS,
    SLOTS,
    TOP,
    Page,
    has_more_keys,
    hash_of,
    lone_leaf,
    malformed,
)
from node.crypto import domains
from node.crypto.suite import Suite
from node.errors import ProofError

__all__ = [
    "DEPTH_MAX",
    "EMPTY",
    "Page",
    "PageReader",
    "StateLeaf",
    "StateProof",
    "TreeUpdate",
    "build_subtree",
    "key_path",
    "prove",
    "update",
    "verify_proof",
]

_NO_PAGES: Final[Mapping[str, Page]] = {}
_PROOF_BYTES_MAX: Final = 16 + (DEPTH_MAX + 2) * (DIGEST_BYTES + 2)

PageReader = Callable[[str], Page | None]
"""Gives the page stored for a place, or None if there is none."""

_Change = tuple[str, bytes | None]  # digits of a key path, and its leaf from now on


@dataclass(frozen=True, slots=True)
class TreeUpdate:
    """What turns the stored pages of one tree into those of the next."""

    root: bytes
    pages: dict[str, Page | None]
    """The pages that differ, by place; None for one that is no more."""


@dataclass(frozen=True, slots=True)
class StateLeaf:
    """What a leaf of the tree holds: the path of its key, and the hash of its value."""

    key_path: bytes
    value_digest: bytes

    def hash(self, suite: Suite) -> bytes:
        """Return the hash of a subtree that holds this leaf alone."""
        return suite.tagged_hash(domains.STATE_LEAF, self.key_path + self.value_digest)


@dataclass(frozen=True, slots=True)
class StateProof:
    """Shows what the map of a root holds for one key, or that it holds nothing.

    `siblings` are the hashes of the subtrees beside the key's path, from the root downward. An
    `other_leaf` is the one found where the key would be: a proof of absence. Without it the path
    ends at the key's own leaf (presence) or at an empty subtree (absence).
    """

    siblings: tuple[bytes, ...]
    other_leaf: StateLeaf | None

    def to_value(self) -> list[object]:
        """Return the array [[sibling, ...], null or [key path, value digest]]."""
        other = self.other_leaf
        return [list(self.siblings), other and [other.key_path, other.value_digest]]

    @classmethod
    def from_value(cls, value: object) -> Self:
        """Build from what `to_value` gives, or raise `DecodeError`."""
        siblings, other = expect_array(value, 2, "state proof")
        return cls(
            tuple(
                expect_bytes(sibling, "state proof sibling", size=DIGEST_BYTES)
                for sibling in expect_list(siblings, DEPTH_MAX, "state proof siblings")
            ),
            None if other is None else _leaf_from_value(other),
        )

    def encode(self) -> bytes:
        """Return the canonical encoding of `to_value`."""
        return encode(self.to_value())

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Decode what `encode` gives, or raise `DecodeError`."""
        return cls.from_value(decode(data, what="state proof", size_max=_PROOF_BYTES_MAX))


def key_path(key: bytes, suite: Suite) -> bytes:
    """Return the place of `key` in the tree, 256 bits."""
    return suite.tagged_hash(domains.STATE_KEY, key)


def update(
    root: bytes, changes: Mapping[bytes, bytes | None], read_page: PageReader, suite: Suite
) -> TreeUpdate:
    """Return what `changes` (key -> value, None to delete) make of the tree of `root`.

    All changes of a block go into one call: each page is read once, and each node on a shared
    prefix hashed once. Deleting an absent key, or putting the value a key has, changes nothing. The
    result, with the order of its pages, does not depend on the order of `changes`. Raises
    `StorageError` if a page is missing or not the one its parent names, and whatever `read_page`
    raises.
    """
    leaves: list[_Change] = []
    for key, value in changes.items():
        path = key_path(key, suite)
        leaves.append((path.hex(), None if value is None else path + suite.hash(value)))
    batch = _Batch(read_page, suite)
    old = _read_root(read_page, root)
    new = batch.apply(old, "", sorted(leaves))
    if new is not old:
        batch.pages[""] = new if new.top else None
    return TreeUpdate(hash_of(new.top), batch.pages)


def build_subtree(place: str, values: Mapping[bytes, bytes], suite: Suite) -> TreeUpdate:
    """Return hash and pages of the subtree at `place` that holds these keys, and no other.

    Whoever has its hash from above learns by it whether these are all the keys below `place`, and
    their values. Raises `ProofError` (`state-place`) for a key that lies elsewhere.
    """
    leaves: list[_Change] = []
    for key, value in values.items():
        path = key_path(key, suite)
        digits = path.hex()
        if not digits.startswith(place):
            raise ProofError("state-place", f"key {key.hex()} does not lie below {place}")
        leaves.append((digits, path + suite.hash(value)))
    leaves.sort()
    batch = _Batch(_NO_PAGES.get, suite)
    if place or not leaves:
        return TreeUpdate(hash_of(batch.apply_to_leaf(b"", place, leaves)), batch.pages)
    batch.pages[""] = page = batch.apply(EMPTY_PAGE, "", leaves)
    return TreeUpdate(hash_of(page.top), batch.pages)


def prove(root: bytes, key: bytes, read_page: PageReader, suite: Suite) -> StateProof:
    """Return the proof of what the map of `root` holds for `key`, which may be nothing.

    Raises `StorageError` if a page is missing or not the one its parent names, and whatever
    `read_page` raises.
    """
    path = key_path(key, suite)
    siblings: list[bytes] = []
    page, node = _read_root(read_page, root), TOP
    while has_more_keys(page.subtrees[node]):
        if node >= SLOTS:
            place = path.hex()[: len(siblings) // PAGE_LEVELS]
            page, node = _read(read_page, place, page.subtrees[node]), TOP
        node = 2 * node + _bit(path, len(siblings))
        siblings.append(hash_of(page.subtrees[node ^ 1]))
    leaf = page.subtrees[node][:LEAF_BYTES]
    other = StateLeaf(leaf[:DIGEST_BYTES], leaf[DIGEST_BYTES:]) if leaf else None
    return StateProof(tuple(siblings), None if leaf.startswith(path) else other)


def verify_proof(
    root: bytes, key: bytes, value: bytes | None, proof: StateProof, suite: Suite
) -> None:
    """Check that the map of `root` holds `value` for `key`, or nothing if `value` is None.

    Raises `ProofError` naming the first rule that fails, in this order:

    1. `state-depth`: at most 256 siblings.
    2. `state-digest-size`: every digest has 32 bytes.
    3. `state-superfluous`: the lowest sibling is not empty, or the path would end above it.
    4. `state-other-leaf`: another leaf is shown for an absent key only, has another key path, and
       stands where the key would be: their paths agree as far as the siblings reach.
    5. `state-root`: leaf (or empty subtree) and siblings hash to `root`.
    """
    path, siblings, other = key_path(key, suite), proof.siblings, proof.other_leaf
    depth = len(siblings)
    if depth > DEPTH_MAX:
        raise ProofError("state-depth", f"expected at most {DEPTH_MAX} siblings, got {depth}")
    for digest in (*siblings, *((other.key_path, other.value_digest) if other else ())):
        if len(digest) != DIGEST_BYTES:
            raise ProofError(
                "state-digest-size", f"expected {DIGEST_BYTES} bytes, got {len(digest)}"
            )
    if siblings and siblings[-1] == EMPTY:
        raise ProofError("state-superfluous", "expected the lowest sibling to be no empty subtree")
    if other is not None:
        _check_other_leaf(other, path, value, depth)
        node = other.hash(suite)
    elif value is not None:
        node = StateLeaf(path, suite.hash(value)).hash(suite)
    else:
        node = EMPTY
    for at in reversed(range(depth)):
        left, right = (node, siblings[at]) if _bit(path, at) == 0 else (siblings[at], node)
        node = suite.tagged_hash(domains.STATE_NODE, left + right)
    if node != root:
        raise ProofError("state-root", f"expected {root.hex()}, got {node.hex()}")


class _Batch:
    """One update of one tree: the pages it changes."""

    def __init__(self, read_page: PageReader, suite: Suite) -> None:
        self._read_page = read_page
        self._suite = suite
        self.pages: dict[str, Page | None] = {}

    def apply(self, page: Page, place: str, changes: Iterable[_Change]) -> Page:
        """Return `page`, at `place`, after `changes` to keys below it; the same if it is the same.

        It calls itself once per page on a path, so at most 64 deep.
        """
        depth = len(place)
        by_digit: dict[str, list[_Change]] = {}
        for change in changes:
            by_digit.setdefault(change[0][depth], []).append(change)
        changed: dict[int, bytes] = {}
        for digit, group in by_digit.items():
            slot = int(digit, SLOTS)
            held = page.subtrees[SLOTS + slot]
            if has_more_keys(held):
                subtree = self._apply_below(held, place + digit, group)
            else:
                subtree = self.apply_to_leaf(held, place + digit, group)
            if subtree != held:
                changed[slot] = subtree
        return page.with_slots(changed, self._suite)

    def _apply_below(self, held: bytes, place: str, changes: list[_Change]) -> bytes:
        """Return the subtree `held`, which has a page of its own, after `changes`."""
        old = _read(self._read_page, place, held)
        new = self.apply(old, place, changes)
        if new is not old:
            self.pages[place] = new if has_more_keys(new.top) else None
        return new.top

    def apply_to_leaf(self, held: bytes, place: str, changes: list[_Change]) -> bytes:
        """Return the subtree `held`, which has one key or none, after `changes`."""
        if len(changes) == 1 and not held:
            leaf = changes[0][1]
            return lone_leaf(leaf, self._suite) if leaf else held
        leaves = dict(changes)
        if held:
            leaves.setdefault(held[:DIGEST_BYTES].hex(), held[:LEAF_BYTES])
        present = [(path, leaf) for path, leaf in leaves.items() if leaf]
        if len(present) > 1:
            self.pages[place] = page = self.apply(EMPTY_PAGE, place, present)
            return page.top
        for _, leaf in present:
            return held if held.startswith(leaf) else lone_leaf(leaf, self._suite)
        return b""


def _read_root(read_page: PageReader, root: bytes) -> Page:
    """Return the page at the root of the tree, whose hash is `root`."""
    if root == EMPTY:
        return EMPTY_PAGE
    page = read_page("")
    if page is None:
        raise malformed("", "missing")
    if hash_of(page.top) != root:
        raise malformed("", f"expected root {root.hex()}, got {hash_of(page.top).hex()}")
    return page


def _read(read_page: PageReader, place: str, expected: bytes) -> Page:
    """Return the page at `place` if it holds the subtree that its parent, or the root, names."""
    page = read_page(place)
    if page is None:
        raise malformed(place, "missing")
    if page.top != expected:
        raise malformed(place, f"expected {expected.hex()}, got {page.top.hex()}")
    return page


def _check_other_leaf(other: StateLeaf, path: bytes, value: bytes | None, depth: int) -> None:
    """Check rule 4 of `verify_proof`."""
    if value is not None:
        raise ProofError("state-other-leaf", "expected none in a proof of presence")
    if other.key_path == path:
        raise ProofError("state-other-leaf", "expected the leaf of another key, got the key's own")
    differing = int.from_bytes(other.key_path, "big") ^ int.from_bytes(path, "big")
    shared = DEPTH_MAX - differing.bit_length()
    if shared < depth:
        raise ProofError(
            "state-other-leaf",
            f"expected a key path that shares {depth} bits with the key's, got {shared}",
        )


def _leaf_from_value(value: object) -> StateLeaf:
    path, digest = expect_array(value, 2, "state proof other leaf")
    return StateLeaf(
        expect_bytes(path, "state proof key path", size=DIGEST_BYTES),
        expect_bytes(digest, "state proof value digest", size=DIGEST_BYTES),
    )


def _bit(path: bytes, depth: int) -> int:
    """Return bit `depth` of a key path, the most significant first."""
    return path[depth >> 3] >> (7 - (depth & 7)) & 1
