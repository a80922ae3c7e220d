"""The pages at hand: what is kept whatever comes, the bound of the rest, and what a batch costs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from node.chain.state_page import EMPTY_PAGE, SLOTS, Page, lone_leaf
from node.chain.state_tree import EMPTY, update
from node.crypto.hashing import Hasher
from node.crypto.suite import INTERNATIONAL
from node.storage import state_pages
from node.storage.keys import STATE_PAGE
from node.storage.kv import WriteBatch
from node.storage.memory import MemoryStore
from node.storage.state_pages import (
    LOWER_BYTES_MAX,
    PAGE_BYTES_MAX,
    StatePages,
    put_pages,
    read_page,
)

BATCH = 1_000


class CountedStore(MemoryStore):
    """A store that counts what is read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def get(self, key: bytes) -> bytes | None:
        self.reads += 1
        return super().get(key)


class Tree:
    """A tree in a store, updated as the ledger does it, its hashes counted."""

    def __init__(self) -> None:
        self.store = CountedStore()
        self.hashes = 0
        self._suite = replace(INTERNATIONAL, new_hash=self._new_hash)
        self.pages = StatePages(self.store, self._suite)
        self.root = EMPTY
        self._key = 0

    def apply(self, count: int) -> WriteBatch:
        """Put so many keys that there were not."""
        changes = {b"key %d" % number: b"value" for number in range(self._key, self._key + count)}
        self._key += count
        done = update(self.root, changes, self.pages.page, self._suite)
        batch = WriteBatch()
        put_pages(batch, done.pages)
        self.store.write(batch, sync=False)
        self.pages.remember(done.pages)
        self.root = done.root
        return batch

    def _new_hash(self, data: bytes = b"", /) -> Hasher:
        self.hashes += 1
        return INTERNATIONAL.new_hash(data)


@pytest.fixture(scope="module")
def tree() -> Iterator[Tree]:
    tree = Tree()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state_pages, "LOWER_BYTES_MAX", 0)
        patch.setattr(state_pages, "UPPER_DIGITS", 2)  # as if there were sixteen times as many keys
        for _ in range(8):
            tree.apply(5_000)
        yield tree


def test_what_a_batch_costs_with_none_of_the_lower_pages_at_hand(tree: Tree) -> None:
    """1,000 new keys among 40,000; the limits are of one of them, and hardly above what it is.

    Of its hashes three are of key, value and leaf, seven of nodes above it, the others of what else
    is in pages read: so they are known for the right ones.
    """
    tree.hashes = tree.store.reads = 0
    written = list(tree.apply(BATCH).changes())
    assert tree.hashes <= 23 * BATCH
    assert tree.store.reads <= 1.01 * BATCH
    assert len(written) <= 1.7 * BATCH
    assert sum(len(place) + len(page or b"") for place, page in written) <= 650 * BATCH


def test_pages_near_the_root_are_never_read_again(tree: Tree) -> None:
    places = [key[len(STATE_PAGE) :].decode() for key, _ in tree.store.scan(STATE_PAGE)]
    upper = [place for place in places if len(place) <= state_pages.UPPER_DIGITS]
    lower = [place for place in places if len(place) > state_pages.UPPER_DIGITS]
    assert len(upper) == 1 + 16 + 16**2
    tree.store.reads = 0
    assert [tree.pages.page(place) for place in upper] == [
        read_page(tree.store.view(), place, INTERNATIONAL) for place in upper
    ]
    assert tree.store.reads == 0
    assert tree.pages.page(lower[0]) is not None
    assert tree.store.reads == 1


def test_the_pages_at_hand_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_pages, "LOWER_BYTES_MAX", 20 * PAGE_BYTES_MAX)
    store = CountedStore()
    pages = StatePages(store, INTERNATIONAL)
    places = [f"{number:04x}" for number in range(100)]
    for place in places:
        pages.remember({place: EMPTY_PAGE})
    at_hand = [place for place in places if pages.page(place) is not None]
    assert at_hand == places[-len(at_hand) :]
    assert 10 <= len(at_hand) <= 20
    pages.remember(dict.fromkeys(places, EMPTY_PAGE))
    assert sum(pages.page(place) is not None for place in places) == 10, "after all at once, too"
    pages.remember({places[0]: None})
    store.reads = 0
    assert pages.page(places[0]) is None
    assert store.reads == 0, "that there is none is known, too"


def test_no_page_takes_more_memory_than_is_reckoned() -> None:
    slots = {
        slot: lone_leaf(bytes((16 * slot,)) + bytes(63), INTERNATIONAL) for slot in range(SLOTS)
    }
    place = "0" * 63
    page = EMPTY_PAGE.with_slots(slots, INTERNATIONAL)
    size = sum(map(sys.getsizeof, (page, page.subtrees, place, *set(page.subtrees))))
    assert 2_048 < size < PAGE_BYTES_MAX
    assert LOWER_BYTES_MAX // PAGE_BYTES_MAX >= 2
    assert isinstance(page, Page)
