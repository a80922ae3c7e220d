"""The state after one block, held readable while the chain goes on, for nodes that are far behind.

Nothing is judged here: it gives pages and values as they were, within the sizes asked for.
"""

from __future__ import annotations

from functools import partial

from node.chain.block import CertifiedHeader
from node.chain.log import TileId, read_edge
from node.chain.state_page import PAGE_LEVELS
from node.chain.state_tree import StateTree, key_path, page_at, places_below
from node.crypto.suite import Suite
from node.storage import keys
from node.storage.kv import KeyValueView
from node.storage.state_buckets import read_bucket


class HeldState:
    """What a ledger held right after `block` became final. Close it, or the disk keeps it all."""

    def __init__(
        self, view: KeyValueView, tree: StateTree, block: CertifiedHeader, suite: Suite
    ) -> None:
        self._view, self._tree, self._suite = view, tree, suite
        self.block = block
        self.log_edge = read_edge(block.header.log_size, self._tile)
        """What the log goes on from."""

    def page(self, place: str) -> bytes | None:
        """Return the page at a place of the state tree, as it travels; None where no key is."""
        page = page_at(self._tree, place, partial(read_bucket, self._view), self._suite)
        return None if page is None else page.encode()

    def values_below(self, place: str, size_max: int) -> tuple[dict[bytes, bytes] | None, int]:
        """Return all keys below a place with their values, and how many bytes were read.

        None instead of more than `size_max` bytes, unless one key alone has them.
        """
        values: dict[bytes, bytes] = {}
        size = 0
        for bucket_place in places_below(self._tree, place):
            bucket = read_bucket(self._view, bucket_place)
            is_all_below = bucket_place[-1] >= PAGE_LEVELS * len(place)
            for key, value in () if bucket is None else bucket.items():
                if is_all_below or key_path(key, self._suite).hex().startswith(place):
                    size += len(key) + len(value)
                    if size > size_max and values:
                        return None, size
                    values[key] = value
        return values, size

    def close(self) -> None:
        """Let the disk forget what was replaced since."""
        self._view.close()

    def _tile(self, tile: TileId) -> bytes:
        return self._view.get(keys.log_tile(tile)) or b""
