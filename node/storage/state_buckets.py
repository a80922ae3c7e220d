"""The buckets of the current state in a store: read, put into a batch, and made a tree of.

How a bucket looks is in `node.chain.state_bucket`; which buckets there are is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping

from node.chain.state_bucket import Bucket, path_number, place_of
from node.chain.state_tree import DEPTH_MAX, StateTree, tree_of_buckets
from node.crypto.suite import Suite
from node.storage import keys
from node.storage.kv import KeyValueView, WriteBatch


def read_bucket(store: KeyValueView, place: bytes) -> Bucket | None:
    """Return a stored bucket, or None where there is none; raises `StorageError`."""
    stored = store.get(keys.state(place))
    return None if stored is None else Bucket.decode(stored, place)


def find_value(store: KeyValueView, key: bytes, suite: Suite) -> bytes | None:
    """Return the value under a state key, or None, where no tree tells which bucket it is in."""
    path = path_number(key, suite)
    for depth in range(DEPTH_MAX):
        bucket = read_bucket(store, place_of(path, depth))
        if bucket is not None:
            return bucket.get(path, key)
    return None


def put_buckets(batch: WriteBatch, buckets: Mapping[bytes, Bucket | None]) -> None:
    """Put buckets, and remove those that are no more."""
    for place, bucket in buckets.items():
        if bucket is None:
            batch.delete(keys.state(place))
        else:
            batch.put(keys.state(place), bucket.stored)


def read_tree(store: KeyValueView, suite: Suite) -> StateTree:
    """Return the tree of all buckets in a store; raises `StorageError`.

    It reads all of the state once, and computes what is above the buckets alone.
    """
    places = ((key[len(keys.STATE) :], stored) for key, stored in store.scan(keys.STATE))
    hashes = [(place, Bucket.read_head(stored, place)[0]) for place, stored in places]
    return tree_of_buckets(hashes, suite)
