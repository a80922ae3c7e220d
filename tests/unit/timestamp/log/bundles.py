"""Bundles of log entries, read as c2sp.org/tlog-tiles says: nodes only write them."""

from __future__ import annotations


def read_bundle(data: bytes) -> list[bytes]:
    """Return the entries, each of which stands after its length in two bytes, big endian."""
    entries, at = [], 0
    while at < len(data):
        start = at + 2
        at = start + int.from_bytes(data[at:start])
        assert at <= len(data), "an entry is cut short"
        entries.append(data[start:at])
    return entries
