"""The state tree against the definition: a recursion over the whole map, at every step.

Two ways of placing keys are tried: the real one, and one where a key is its own path, so that
hypothesis can make paths share long prefixes, which real ones do not.
"""

from __future__ import annotations

import dataclasses
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.chain.state_tree import EMPTY, StateProof, key_path, prove, update, verify_proof
from node.crypto.domains import STATE_KEY, STATE_LEAF, STATE_NODE, tagged
from node.crypto.suite import INTERNATIONAL, Suite
from node.errors import DecodeError, ProofError

unhurried = settings(deadline=None)  # the machine is shared


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


# --- The reference: the definition, over the whole map ---


def whole_tree(content: dict[bytes, bytes], suite: Suite) -> tuple[bytes, dict[bytes, bytes]]:
    """Return the root over `content`, and every node of the tree under its hash."""
    nodes: dict[bytes, bytes] = {}

    def subtree(leaves: list[tuple[str, bytes]], depth: int) -> bytes:
        if not leaves:
            return EMPTY
        if len(leaves) == 1:
            bits, value = leaves[0]
            body = int(bits, 2).to_bytes(32, "big") + sha256(value)
            node = sha256(tagged(STATE_LEAF, body))
            nodes[node] = b"\x00" + body
            return node
        left = subtree([leaf for leaf in leaves if leaf[0][depth] == "0"], depth + 1)
        right = subtree([leaf for leaf in leaves if leaf[0][depth] == "1"], depth + 1)
        node = sha256(tagged(STATE_NODE, left + right))
        nodes[node] = b"\x01" + left + right
        return node

    paths = {key: int.from_bytes(key_path(key, suite), "big") for key in content}
    root = subtree([(f"{paths[key]:0256b}", value) for key, value in content.items()], 0)
    return root, nodes


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


def play(world: World) -> tuple[dict[bytes, bytes], bytes, dict[bytes, bytes]]:
    """Apply the batches one by one, check each against the reference; return map, root, nodes."""
    suite, batches = world
    content: dict[bytes, bytes] = {}
    root, nodes = EMPTY, dict[bytes, bytes]()
    for batch in batches:
        done = update(root, batch, nodes.__getitem__, suite)
        for key, value in batch.items():
            if value is None:
                content.pop(key, None)
            else:
                content[key] = value
        assert not set(done.stale_nodes) & set(done.new_nodes)
        assert len(set(done.stale_nodes)) == len(done.stale_nodes)
        assert not set(done.new_nodes) & set(nodes)
        for stale in done.stale_nodes:
            del nodes[stale]
        root, nodes = done.root, nodes | done.new_nodes
        # Roots equal; and what is stored is what the root reaches, neither more nor less.
        assert (root, nodes) == whole_tree(content, suite)
    return content, root, nodes


# --- Laws ---


@unhurried
@given(worlds)
def test_batches_of_puts_deletes_and_no_ops(world: World) -> None:
    play(world)


@unhurried
@given(st.dictionaries(chosen_keys, st.binary(max_size=3)), st.randoms(use_true_random=False))
def test_history_does_not_show(content: dict[bytes, bytes], random: object) -> None:
    once = update(EMPTY, content, dict[bytes, bytes]().__getitem__, CHOSEN_PATHS)
    order = list(content)
    random.shuffle(order)  # type: ignore[attr-defined]
    nodes: dict[bytes, bytes] = {}
    root = EMPTY
    detours = [{key: b"detour", b"\xaa" * 32: b"detour"} for key in order]
    puts = [{key: content[key], b"\xaa" * 32: None} for key in order]
    for batch in [step for pair in zip(detours, puts, strict=True) for step in pair]:
        done = update(root, batch, nodes.__getitem__, CHOSEN_PATHS)
        for stale in done.stale_nodes:
            del nodes[stale]
        root, nodes = done.root, nodes | done.new_nodes
    assert root == once.root
    assert nodes == once.new_nodes


@unhurried
@given(worlds, st.one_of(hashed_keys, chosen_keys))
def test_every_key_present_or_absent_has_its_proof_and_no_other(world: World, extra: bytes) -> None:
    suite = world[0]
    content, root, nodes = play(world)
    keys = [key for batch in world[1] for key in batch]
    if suite is INTERNATIONAL or len(extra) == 32:
        keys.append(extra)
    for key in keys:
        proof = StateProof.decode(prove(root, key, nodes.__getitem__, suite).encode())
        verify_proof(root, key, content.get(key), proof, suite)
        wrong = b"wrong" if key not in content else None
        with pytest.raises(ProofError):
            verify_proof(root, key, wrong, proof, suite)
        if key in content:
            with pytest.raises(ProofError, match="state-root"):
                verify_proof(root, key, content[key] + b"!", proof, suite)


@unhurried
@given(worlds.filter(lambda world: any(world[1])), st.integers(1, 255), st.data())
def test_any_flipped_byte_breaks_a_proof(world: World, mask: int, data: st.DataObject) -> None:
    """Every 64th byte from a drawn one on: the unit test takes each byte, of two proofs."""
    suite = world[0]
    content, root, nodes = play(world)
    key = data.draw(st.sampled_from([key for batch in world[1] for key in batch]), "key")
    encoded = prove(root, key, nodes.__getitem__, suite).encode()
    for at in range(
        data.draw(st.integers(0, min(63, len(encoded) - 1)), "first"), len(encoded), 64
    ):
        flipped = encoded[:at] + bytes([encoded[at] ^ mask]) + encoded[at + 1 :]
        with pytest.raises((DecodeError, ProofError)):
            verify_proof(root, key, content.get(key), StateProof.decode(flipped), suite)


@unhurried
@given(worlds.filter(lambda world: any(world[1])), st.data())
def test_siblings_left_out_added_or_swapped_break_a_proof(
    world: World, data: st.DataObject
) -> None:
    suite = world[0]
    content, root, nodes = play(world)
    key = data.draw(st.sampled_from([key for batch in world[1] for key in batch]), "key")
    proof = prove(root, key, nodes.__getitem__, suite)
    siblings = list(proof.siblings)
    spare = data.draw(st.sampled_from([EMPTY, root, *siblings]), "spare")
    at = data.draw(st.integers(0, len(siblings)), "at")
    added, left_out = [*siblings[:at], spare, *siblings[at:]], siblings[:at] + siblings[at + 1 :]
    for altered in (added, left_out, siblings[::-1]):
        if altered != siblings:
            forged = StateProof(tuple(altered), proof.other_leaf)
            with pytest.raises(ProofError):
                verify_proof(root, key, content.get(key), forged, suite)
