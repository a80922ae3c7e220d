"""The state tree against the definition: a recursion over the whole map, at every step.

Two ways of placing keys are tried: the real one, and one where a key is its own path, so that
hypothesis can make paths share long prefixes, which real ones do not.
"""

from __future__ import annotations

import dataclasses
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.chain.state_tree import (
    EMPTY,
    Page,
    StateProof,
    TreeUpdate,
    key_path,
    prove,
    update,
    verify_proof,
)
from node.crypto.domains import STATE_KEY, STATE_LEAF, STATE_NODE, tagged
from node.crypto.suite import INTERNATIONAL, Suite
from node.errors import DecodeError, ProofError


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


# --- The reference: the definition, over the whole map ---


def whole_tree(content: dict[bytes, bytes], suite: Suite) -> tuple[bytes, dict[str, bytes]]:
    """Return the root over `content`, and every stored page of the tree by its place."""
    pages: dict[str, bytes] = {}
    known: dict[str, bytes] = {}  # of two leaves or more, by the prefix they share: asked for often

    def subtree(leaves: list[tuple[str, bytes]], depth: int) -> bytes:
        if not leaves:
            return EMPTY
        if len(leaves) == 1:
            return sha256(tagged(STATE_LEAF, body_of(leaves[0])))
        prefix = leaves[0][0][:depth]
        if prefix not in known:
            left = subtree([leaf for leaf in leaves if leaf[0][depth] == "0"], depth + 1)
            right = subtree([leaf for leaf in leaves if leaf[0][depth] == "1"], depth + 1)
            known[prefix] = sha256(tagged(STATE_NODE, left + right))
        return known[prefix]

    def body_of(leaf: tuple[str, bytes]) -> bytes:
        return int(leaf[0], 2).to_bytes(32, "big") + sha256(leaf[1])

    def place_pages(leaves: list[tuple[str, bytes]], place: str) -> None:
        sizes, stored, below = b"", b"", 4 * len(place) + 4
        for digit in "0123456789abcdef":
            prefix = "".join(f"{int(each, 16):04b}" for each in place + digit)
            held = [leaf for leaf in leaves if leaf[0].startswith(prefix)]
            sizes += bytes([{0: 0, 1: 96}.get(len(held), 32)])
            if len(held) == 1:
                stored += body_of(held[0])
            elif held:
                stored += subtree(held, below)
                place_pages(held, place + digit)
        pages[place] = sizes + stored

    paths = {key: int.from_bytes(key_path(key, suite), "big") for key in content}
    leaves = [(f"{paths[key]:0256b}", value) for key, value in content.items()]
    if leaves:
        place_pages(leaves, "")
    return subtree(leaves, 0), pages


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
            self._data.removeprefix(prefix) if self._data.startswith(prefix) else sha256(self._data)
        )


CHOSEN_PATHS = dataclasses.replace(INTERNATIONAL, new_hash=KeyAsPath)

hashed_keys = st.integers(0, 30).map(lambda number: b"key %d" % number)
chosen_keys = st.builds(
    lambda head, tail: (head << 248 | tail).to_bytes(32, "big"),
    st.sampled_from([0x00, 0x01, 0x80, 0xFE, 0xFF]),
    st.sampled_from([0, 1, 2, 3, 1 << 247, 1 << 200, (1 << 248) - 1]),
)
values = st.one_of(st.none(), st.binary(max_size=3))
worlds = st.one_of(
    st.tuples(
        st.just(INTERNATIONAL),
        st.lists(st.dictionaries(hashed_keys, values, max_size=20), max_size=8),
    ),
    st.tuples(
        st.just(CHOSEN_PATHS),
        st.lists(st.dictionaries(chosen_keys, values, max_size=12), max_size=8),
    ),
)
World = tuple[Suite, list[dict[bytes, bytes | None]]]


class Store:
    """The pages of one tree: stored, and decoded whenever they are read."""

    def __init__(self, suite: Suite) -> None:
        self._suite = suite
        self.pages: dict[str, bytes] = {}

    def read(self, place: str) -> Page | None:
        stored = self.pages.get(place)
        return None if stored is None else Page.decode(stored, place, self._suite)

    def apply(self, done: TreeUpdate) -> None:
        for place, page in done.pages.items():
            if page is None:
                del self.pages[place]
            else:
                stored = page.encode()
                assert self.pages.get(place) != stored
                self.pages[place] = stored
                assert self.read(place) == page


def play(world: World) -> tuple[dict[bytes, bytes], bytes, Store]:
    """Apply the batches one by one, check each against the reference; return map, root, store."""
    suite, batches = world
    content: dict[bytes, bytes] = {}
    root, store = EMPTY, Store(suite)
    for batch in batches:
        done = update(root, batch, store.read, suite)
        for key, value in batch.items():
            if value is None:
                content.pop(key, None)
            else:
                content[key] = value
        root = done.root
        store.apply(done)
        # Roots equal; and the stored pages are those of the map, neither more nor less.
        assert (root, store.pages) == whole_tree(content, suite)
    return content, root, store


# --- Laws ---


@given(worlds)
def test_batches_of_puts_deletes_and_no_ops(world: World) -> None:
    play(world)


@given(st.dictionaries(chosen_keys, st.binary(max_size=3)), st.randoms(use_true_random=False))
def test_history_does_not_show(content: dict[bytes, bytes], random: object) -> None:
    once = update(EMPTY, content, Store(CHOSEN_PATHS).read, CHOSEN_PATHS)
    order = list(content)
    random.shuffle(order)  # type: ignore[attr-defined]
    store = Store(CHOSEN_PATHS)
    root = EMPTY
    detours = [{key: b"detour", b"\xaa" * 32: b"detour"} for key in order]
    puts = [{key: content[key], b"\xaa" * 32: None} for key in order]
    for batch in [step for pair in zip(detours, puts, strict=True) for step in pair]:
        done = update(root, batch, store.read, CHOSEN_PATHS)
        store.apply(done)
        root = done.root
    assert root == once.root
    assert {place: store.read(place) for place in store.pages} == once.pages


@given(worlds)
def test_a_batch_is_its_changes_one_at_a_time(world: World) -> None:
    suite, changes = world
    together, alone = Store(suite), Store(suite)
    root = EMPTY
    for batch in changes:
        done = update(root, batch, together.read, suite)
        together.apply(done)
        for key, value in batch.items():
            one = update(root, {key: value}, alone.read, suite)
            alone.apply(one)
            root = one.root
        assert (root, alone.pages) == (done.root, together.pages)


@given(worlds)
def test_updates_stacked_on_each_other_equal_updates_stored(world: World) -> None:
    """As blocks executed ahead do: each reads the pages of those below it, none of them stored."""
    suite, batches = world
    content, root = dict[bytes, bytes](), EMPTY
    stack: list[TreeUpdate] = []

    def read(place: str) -> Page | None:
        for done in reversed(stack):
            if place in done.pages:
                return done.pages[place]
        return None

    for batch in batches:
        stack.append(update(root, batch, read, suite))
        root = stack[-1].root
        content |= {key: value for key, value in batch.items() if value is not None}
        for key in [key for key, value in batch.items() if value is None]:
            content.pop(key, None)
        assert root == whole_tree(content, suite)[0]


@given(worlds, st.one_of(hashed_keys, chosen_keys))
def test_every_key_present_or_absent_has_its_proof_and_no_other(world: World, extra: bytes) -> None:
    suite = world[0]
    content, root, store = play(world)
    keys = [key for batch in world[1] for key in batch]
    if suite is INTERNATIONAL or len(extra) == 32:
        keys.append(extra)
    for key in keys:
        proof = StateProof.decode(prove(root, key, store.read, suite).encode())
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
    content, root, store = play(world)
    key = data.draw(st.sampled_from([key for batch in world[1] for key in batch]), "key")
    encoded = prove(root, key, store.read, suite).encode()
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
    content, root, store = play(world)
    key = data.draw(st.sampled_from([key for batch in world[1] for key in batch]), "key")
    proof = prove(root, key, store.read, suite)
    siblings = list(proof.siblings)
    spare = data.draw(st.sampled_from([EMPTY, root, *siblings]), "spare")
    at = data.draw(st.integers(0, len(siblings)), "at")
    added, left_out = [*siblings[:at], spare, *siblings[at:]], siblings[:at] + siblings[at + 1 :]
    for altered in (added, left_out, siblings[::-1]):
        if altered != siblings:
            forged = StateProof(tuple(altered), proof.other_leaf)
            with pytest.raises(ProofError):
                verify_proof(root, key, content.get(key), forged, suite)
