"""The key schema: families keep apart, numbers keep their order, names end where they end."""

from __future__ import annotations

import inspect

import pytest

from node.chain.log import TileId
from node.chain.reference import reference_key
from node.crypto.suite import INTERNATIONAL
from node.execution.registry import PARAMETERS_KEY, identity_key
from node.storage import keys


def families() -> dict[str, bytes]:
    return {
        name: value
        for name, value in inspect.getmembers(keys)
        if name.isupper() and not name.startswith("_") and isinstance(value, bytes)
    }


def test_every_family_has_a_prefix_of_its_own_that_the_table_names() -> None:
    prefixes = list(families().values())
    assert len(prefixes) == len(frozenset(prefixes)) == 21
    assert all(len(prefix) == 1 for prefix in prefixes)
    table = inspect.getdoc(keys) or ""
    assert all(f"| `{prefix.decode()}`" in table for prefix in prefixes)


def test_every_key_lies_in_its_family() -> None:
    assert keys.header(7).startswith(keys.HEADER)
    assert keys.body(7).startswith(keys.BODY)
    assert keys.transaction(bytes(32)) == keys.TRANSACTION + bytes(32)
    assert keys.state(b"key") == keys.STATE + b"key"
    assert keys.draft_mark("0a") == keys.DRAFT_MARK + b"0a"
    assert keys.compact(7) == keys.COMPACT + keys.number(7)
    assert keys.log_tile(TileId(1, 2)) == keys.LOG_TILE + b"\x01" + keys.number(2)
    assert keys.block_at_log_index(7).startswith(keys.BLOCK_AT_LOG_INDEX)
    assert keys.log_index_at_time(7).startswith(keys.LOG_INDEX_AT_TIME)
    digest = bytes(range(32))
    assert keys.records_by_digest(digest) == keys.RECORD_BY_DIGEST + digest[:5]
    hashed = keys.reference_hash("R-1", INTERNATIONAL)
    assert hashed == INTERNATIONAL.hash(b"R-1")
    assert keys.records_by_reference(hashed) == keys.RECORD_BY_REFERENCE + hashed[:5]
    assert keys.run(keys.DIGEST_RUN, 8, 3, 258) == b"D\x08\x03\0\0\0\x01\x02"
    assert keys.records_by_type("permit") == keys.RECORD_BY_TYPE + b"permit\x00"


def test_state_keys_are_listed_but_for_those_of_references() -> None:
    assert keys.listed(PARAMETERS_KEY) == keys.STATE_KEY + PARAMETERS_KEY
    assert keys.listed(identity_key("agency-1")) == keys.STATE_KEY + identity_key("agency-1")
    assert keys.listed(reference_key("agency-1", "licence", "R-1")) is None
    written = [PARAMETERS_KEY, reference_key("agency-1", "licence", "R-1"), identity_key("a")]
    assert keys.all_listed(written) == [PARAMETERS_KEY, identity_key("a")]


def test_numbers_sort_as_numbers_and_are_read_back() -> None:
    numbers = [0, 1, 255, 256, 2**32, 2**64 - 1]
    made = [keys.header(number) for number in numbers]
    assert made == sorted(made)
    assert [keys.last_number(key) for key in made] == numbers
    indexes = [0, 1, 255, 256, 2**40 - 1]
    made = [keys.run(keys.REFERENCE_RUN, 4, 0, each) for each in indexes]
    assert made == sorted(made)
    assert [keys.last_log_index(key) for key in made] == indexes


@pytest.mark.parametrize("other", ["permits", "per", "permit\u4e2d"])
def test_a_name_that_begins_like_another_is_not_found_with_it(other: str) -> None:
    prefix_of = keys.records_by_type
    assert not prefix_of(other).startswith(prefix_of("permit"))
    assert not prefix_of("permit").startswith(prefix_of(other))
