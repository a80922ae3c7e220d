"""The state after one block, held readable while the chain goes on, for nodes that are far behind.

Nothing is judged here: it gives pages and values as they were, within the sizes asked for.
"""

from __future__ import annotations

from node.chain.block import CertifiedHeader
from node.chain.log import TileId, read_edge
from node.storage import keys
from node.storage.kv import KeyValueView


class HeldState:
    """What a ledger held right after `block` became final. Close it, or the disk keeps it all."""

    def __init__(self, view: KeyValueView, block: CertifiedHeader) -> None:
        self._view = view
        self.block = block
        self.log_edge = read_edge(block.header.log_size, self._tile)
        """What the log goes on from."""

    def page(self, place: str) -> bytes | None:
        """Return the stored page at a place of the state tree."""
        return self._view.get(keys.state_page(place))

    def values_below(self, place: str, size_max: int) -> tuple[dict[bytes, bytes] | None, int]:
        """Return all keys below a place with their values, and how many bytes were read.

        None instead of more than `size_max` bytes, unless one key alone has them.
        """
        even, is_odd = divmod(len(place), 2)
        prefix = keys.state(bytes.fromhex(place[: 2 * even]))
        start = prefix + bytes((int(place[-1], 16) << 4,)) if is_odd else prefix
        values: dict[bytes, bytes] = {}
        size = 0
        for path, entry in self._view.scan(prefix, start=start):
            if not path[len(keys.STATE) :].hex().startswith(place):
                break
            size += len(entry)
            if size > size_max and values:
                return None, size
            key, values[key] = keys.split_state_entry(entry)
        return values, size

    def close(self) -> None:
        """Let the disk forget what was replaced since."""
        self._view.close()

    def _tile(self, tile: TileId) -> bytes:
        return self._view.get(keys.log_tile(tile)) or b""
