"""Domain tags keep uses apart."""

from __future__ import annotations

import re
from itertools import permutations

from node.crypto import domains

TAGS = {name: value for name, value in vars(domains).items() if isinstance(value, bytes)}


def test_every_tag_is_unique_versioned_and_free_of_nul() -> None:
    assert len(TAGS) > 10
    assert len(set(TAGS.values())) == len(TAGS)
    for name, tag in TAGS.items():
        assert re.fullmatch(rb"govchain/v1/[a-z]+(-[a-z]+)*", tag), name


def test_no_tagged_message_of_one_use_starts_like_one_of_another() -> None:
    for one, other in permutations(TAGS.values(), 2):
        assert not domains.tagged(other, b"").startswith(domains.tagged(one, b""))


def test_tag_and_data_are_parted_by_a_nul() -> None:
    assert domains.tagged(b"a", b"bc") == b"a\x00bc"
    assert domains.tagged(b"ab", b"c") != domains.tagged(b"a", b"bc")
