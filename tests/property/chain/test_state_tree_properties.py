"""The state tree against the definition: a recursion over the whole map, at every step.

Two ways of placing keys are tried: the real one, and one where a key is its own path, so that
hypothesis can make paths share long prefixes, which real ones do not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.chain import state_bucket, state_update
from node.chain.state_bucket import Bucket, place_of
from node.chain.state_page import Page, has_more_keys, hash_of
from node.chain.state_tree import (
    EMPTY,
    EMPTY_TREE,
    StateProof,
    StateTree,
    TreeUpdate,
    build_subtree,
    key_path,
    page_at,
    places_below,
    prove,
    root_of,
    tree_of_buckets,
    update,
    verify_proof,
)
from node.crypto.domains import STATE_KEY, STATE_LEAF, STATE_NODE, tagged
from node.crypto.suite import Suite
from node.errors import DecodeError, ProofError
from tests.suites import SUITE, hash_by_hand

# --- The reference: the definition, over the whole map ---


Contents = dict[bytes, tuple[int, dict[bytes, bytes]]]
"""The depth of each bucket and what is in it, by place."""


def whole_tree(content: dict[bytes, bytes], suite: Suite) -> tuple[bytes, Contents]:
    """Return the root over `content`, and every bucket of the tree by its place."""
    buckets: Contents = {}
    known: dict[str, bytes] = {}  # of two leaves or more, by the prefix they share: asked for often

    def subtree(leaves: list[tuple[str, bytes]], depth: int) -> bytes:
        if not leaves:
            return EMPTY
        if len(leaves) == 1:
            path, key = leaves[0]
            leaf = int(path, 2).to_bytes(32, "big") + hash_by_hand(content[key])
            return hash_by_hand(tagged(STATE_LEAF, leaf))
        prefix = leaves[0][0][:depth]
        if prefix not in known:
            left, right = halves(leaves, depth)
            pair = subtree(left, depth + 1) + subtree(right, depth + 1)
            known[prefix] = hash_by_hand(tagged(STATE_NODE, pair))
        return known[prefix]

    def halves(leaves: list[tuple[str, bytes]], depth: int) -> list[list[tuple[str, bytes]]]:
        return [[leaf for leaf in leaves if leaf[0][depth] == bit] for bit in "01"]

    def place_buckets(leaves: list[tuple[str, bytes]], depth: int) -> None:
        if len(leaves) > state_bucket.BUCKET_KEYS_MAX:
            for half in halves(leaves, depth):
                place_buckets(half, depth + 1)
        elif leaves:
            buckets[place_of(int(leaves[0][0], 2), depth)] = (
                depth,
                {key: content[key] for _, key in leaves},
            )

    paths = {key: int.from_bytes(key_path(key, suite), "big") for key in content}
    leaves = sorted((f"{paths[key]:0256b}", key) for key in content)
    place_buckets(leaves, 0)
    return subtree(leaves, 0), buckets


# --- Two ways of placing keys ---


class KeyAsPath:
    """SHA-256, except that the key path is the key itself."""

    def __init__(self, data: bytes = b"") -> None:
        self._data = data

    def update(self, data: bytes, /) -> None:
        self._data += data

    def digest(self) -> bytes:
        prefix = tagged(STATE_KEY, b"")
        return (
            self._data.removeprefix(prefix)
            if self._data.startswith(prefix)
            else hash_by_hand(self._data)
        )


CHOSEN_PATHS = dataclasses.replace(SUITE, new_hash=KeyAsPath)

hashed_keys = st.integers(0, 30).map(lambda number: b"key %d" % number)
chosen_keys = st.builds(
    lambda head, tail: (head << 248 | tail).to_bytes(32, "big"),
    st.sampled_from([0x00, 0x01, 0x80, 0xFE, 0xFF]),
    st.sampled_from([0, 1, 2, 3, 1 << 247, 1 << 200, (1 << 248) - 1]),
)
values = st.one_of(st.none(), st.binary(max_size=3))
worlds = st.one_of(
    st.tuples(
        st.just(SUITE),
        st.lists(st.dictionaries(hashed_keys, values, max_size=20), max_size=8),
    ),
    st.tuples(
        st.just(CHOSEN_PATHS),
        st.lists(st.dictionaries(chosen_keys, values, max_size=12), max_size=8),
    ),
)
World = tuple[Suite, list[dict[bytes, bytes | None]]]


@pytest.fixture(autouse=True, scope="module", params=[2, 16])
def bucket_keys_max(request: pytest.FixtureRequest) -> Iterator[None]:
    """Buckets of so few keys that small trees have many, and as they are."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (state_bucket, state_update):
            patch.setattr(module, "BUCKET_KEYS_MAX", request.param)
        yield


class Store:
    """One tree, its buckets stored, and decoded whenever they are read."""

    def __init__(self, suite: Suite) -> None:
        self.suite = suite
        self.tree: StateTree = EMPTY_TREE
        self.buckets: dict[bytes, bytes] = {}

    @property
    def root(self) -> bytes:
        return root_of(self.tree)

    def read(self, place: bytes) -> Bucket | None:
        stored = self.buckets.get(place)
        return None if stored is None else Bucket.decode(stored, place)

    def apply(self, batch: Mapping[bytes, bytes | None]) -> TreeUpdate:
        done = update(self.tree, batch, self.read, self.suite)
        for place, bucket in done.buckets.items():
            if bucket is None:
                self.buckets.pop(place, None)
            else:
                stored = bucket.stored
                assert self.buckets.get(place) != stored
                self.buckets[place] = stored
        self.tree = done.tree
        return done

    def prove(self, key: bytes) -> StateProof:
        return prove(self.tree, key, self.read, self.suite)

    def contents(self) -> Contents:
        buckets = {place: self.read(place) for place in self.buckets}
        return {
            place: (bucket.depth, dict(zip(bucket.keys, bucket.values, strict=True)))
            for place, bucket in buckets.items()
            if bucket
        }


def changed(content: dict[bytes, bytes], batch: Mapping[bytes, bytes | None]) -> dict[bytes, bytes]:
    return {key: value for key, value in {**content, **batch}.items() if value is not None}


def play(world: World) -> tuple[dict[bytes, bytes], Store]:
    """Apply the batches one by one, check each against the reference; return map and store."""
    suite, batches = world
    content: dict[bytes, bytes] = {}
    store = Store(suite)
    for batch in batches:
        store.apply(batch)
        content = changed(content, batch)
        # Roots equal; and the stored buckets are those of the map, neither more nor less.
        root, buckets = whole_tree(content, suite)
        assert (store.root, store.contents()) == (root, buckets)
        hashes = [(place, store.buckets[place][4:36]) for place in sorted(store.buckets)]
        assert tree_of_buckets(hashes, suite) == store.tree
    return content, store


# --- Laws ---


@given(worlds)
def test_batches_of_puts_deletes_and_no_ops(world: World) -> None:
    play(world)


@given(st.dictionaries(chosen_keys, st.binary(max_size=3)), st.randoms(use_true_random=False))
def test_history_does_not_show(content: dict[bytes, bytes], random: object) -> None:
    once, store = Store(CHOSEN_PATHS), Store(CHOSEN_PATHS)
    once.apply(content)
    order = list(content)
    random.shuffle(order)  # type: ignore[attr-defined]
    detours = [{key: b"detour", b"\xaa" * 32: b"detour"} for key in order]
    puts = [{key: content[key], b"\xaa" * 32: None} for key in order]
    for batch in [step for pair in zip(detours, puts, strict=True) for step in pair]:
        store.apply(batch)
    expected = whole_tree(content, CHOSEN_PATHS)[0]
    assert (store.root, store.tree, store.buckets) == (expected, once.tree, once.buckets)


@given(worlds)
def test_a_batch_is_its_changes_one_at_a_time(world: World) -> None:
    suite, changes = world
    together, alone = Store(suite), Store(suite)
    for batch in changes:
        together.apply(batch)
        for key, value in batch.items():
            alone.apply({key: value})
        assert (alone.tree, alone.buckets) == (together.tree, together.buckets)


@given(worlds)
def test_updates_stacked_on_each_other_equal_updates_stored(world: World) -> None:
    """As blocks executed ahead do: each reads the buckets of those below it, none of them stored.

    What was below stays as it was, to be read and proved.
    """
    suite, batches = world
    content: dict[bytes, bytes] = {}
    stack = [TreeUpdate(EMPTY_TREE, {})]

    def read_at(height: int, place: bytes) -> Bucket | None:
        for done in reversed(stack[: height + 1]):
            if place in done.buckets:
                return done.buckets[place]
        return None

    contents = [content]
    for batch in batches:
        read = partial(read_at, len(stack) - 1)
        stack.append(update(stack[-1].tree, batch, read, suite))
        contents.append(content := changed(content, batch))
    for height, (done, content) in enumerate(zip(stack, contents, strict=True)):
        assert done.root == whole_tree(content, suite)[0]
        for key, value in content.items():
            proof = prove(done.tree, key, partial(read_at, height), suite)
            verify_proof(done.root, key, value, proof, suite)


@given(worlds, st.text("0123456789abcdef", max_size=3))
def test_pages_and_pieces_are_those_of_the_tree(world: World, place: str) -> None:
    """Any place can be asked for, above buckets, below them, and where nothing is."""
    suite = world[0]
    content, store = play(world)
    below = {k: v for k, v in content.items() if key_path(k, suite).hex().startswith(place)}
    depth = 4 * len(place)
    found: dict[bytes, bytes] = {}
    for bucket in map(store.read, places_below(store.tree, place)):
        assert bucket is not None
        found |= zip(bucket.keys, bucket.values, strict=True)
    assert below.items() <= found.items()
    page = page_at(store.tree, place, store.read, suite)
    assert (page is None) == (not below)
    piece = build_subtree(place, below, suite)
    if page is not None:
        assert hash_of(page.top) == piece.root
        assert Page.decode(page.encode(), place, suite) == page
        assert has_more_keys(page.top) == (len(below) > 1)
    if not place:
        assert piece.root == store.root
    assert all(each[-1] >= depth for each in piece.buckets)
    for key in content.keys() - below.keys():
        with pytest.raises(ProofError, match="state-place"):
            build_subtree(place, {key: b""}, suite)


@given(worlds, st.one_of(hashed_keys, chosen_keys))
def test_every_key_present_or_absent_has_its_proof_and_no_other(world: World, extra: bytes) -> None:
    suite = world[0]
    content, store = play(world)
    root = store.root
    keys = [key for batch in world[1] for key in batch]
    if suite is SUITE or len(extra) == 32:
        keys.append(extra)
    for key in keys:
        proof = StateProof.decode(store.prove(key).encode())
        verify_proof(root, key, content.get(key), proof, suite)
        wrong = b"wrong" if key not in content else None
        with pytest.raises(ProofError):
            verify_proof(root, key, wrong, proof, suite)
        if key in content:
            with pytest.raises(ProofError, match="state-root"):
                verify_proof(root, key, content[key] + b"!", proof, suite)


@given(worlds.filter(lambda world: any(world[1])), st.integers(1, 255), st.data())
def test_any_flipped_byte_breaks_a_proof(world: World, mask: int, data: st.DataObject) -> None:
    """Every 64th byte from a drawn one on: the unit test takes each byte, of two proofs."""
    suite = world[0]
    content, store = play(world)
    root = store.root
    key = data.draw(st.sampled_from([key for batch in world[1] for key in batch]), "key")
    encoded = store.prove(key).encode()
    for at in range(
        data.draw(st.integers(0, min(63, len(encoded) - 1)), "first"), len(encoded), 64
    ):
        flipped = encoded[:at] + bytes([encoded[at] ^ mask]) + encoded[at + 1 :]
        with pytest.raises((DecodeError, ProofError)):
            verify_proof(root, key, content.get(key), StateProof.decode(flipped), suite)


@given(worlds.filter(lambda world: any(world[1])), st.data())
def test_siblings_left_out_added_or_swapped_break_a_proof(
    world: World, data: st.DataObject
) -> None:
    suite = world[0]
    content, store = play(world)
    root = store.root
    key = data.draw(st.sampled_from([key for batch in world[1] for key in batch]), "key")
    proof = store.prove(key)
    siblings = list(proof.siblings)
    spare = data.draw(st.sampled_from([EMPTY, root, *siblings]), "spare")
    at = data.draw(st.integers(0, len(siblings)), "at")
    added, left_out = [*siblings[:at], spare, *siblings[at:]], siblings[:at] + siblings[at + 1 :]
    for altered in (added, left_out, siblings[::-1]):
        if altered != siblings:
            forged = StateProof(tuple(altered), proof.other_leaf)
            with pytest.raises(ProofError):
                verify_proof(root, key, content.get(key), forged, suite)
