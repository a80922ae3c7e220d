"""The pages of the current state tree in a store: read, put into a batch, and kept at hand.

How a page looks is in `node.chain.state_page`; which pages there are is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Final

from node.chain.state_page import Page
from node.crypto.suite import Suite
from node.storage import keys
from node.storage.kv import KeyValueView, WriteBatch

UPPER_DIGITS: Final = 3
"""Pages whose place has at most so many digits, 4,369 at most, stay at hand once written."""

PAGE_BYTES_MAX: Final = 4_096
"""Memory of a page with its place: of sixteen lone leaves; usual ones take about half of it."""

LOWER_BYTES_MAX: Final = 64 * 2**20
"""Memory that the pages below those may take; the upper ones take 17 MiB at most."""


class StatePages:
    """The pages of the current tree, those written lately at hand: where a block reads first.

    Only who writes the store changes what is at hand, so readers need no lock. Key paths are
    hashes: any page may be the next one needed, but those near the root most blocks need.
    """

    def __init__(self, store: KeyValueView, suite: Suite) -> None:
        self._store, self._suite = store, suite
        self._upper: dict[str, Page | None] = {}
        self._recent: dict[str, Page | None] = {}
        self._older: dict[str, Page | None] = {}

    def page(self, place: str) -> Page | None:
        """Return the page at a place, or None where there is none."""
        for at_hand in (self._upper, self._recent, self._older):
            if place in at_hand:
                return at_hand[place]
        return read_page(self._store, place, self._suite)

    def remember(self, pages: Mapping[str, Page | None]) -> None:
        """Keep pages at hand that have just been written."""
        for place, page in pages.items():
            at_hand = self._recent if len(place) > UPPER_DIGITS else self._upper
            at_hand[place] = page
        half = LOWER_BYTES_MAX // PAGE_BYTES_MAX // 2
        if len(self._recent) > half:  # by far, after a block that changed much
            kept = islice(self._recent.items(), len(self._recent) - half, None)
            self._older, self._recent = dict(kept), {}


def read_page(store: KeyValueView, place: str, suite: Suite) -> Page | None:
    """Return a stored page, or None where there is none; raises `StorageError`."""
    stored = store.get(keys.state_page(place))
    return None if stored is None else Page.decode(stored, place, suite)


def put_pages(batch: WriteBatch, pages: Mapping[str, Page | None]) -> None:
    """Put pages, and remove those that are no more."""
    for place, page in pages.items():
        if page is None:
            batch.delete(keys.state_page(place))
        else:
            batch.put(keys.state_page(place), page.encode())
