"""What a ledger lists of its state by kind: all of that kind, in order, page by page."""

from __future__ import annotations

import pytest

from node.chain.block import ResultCode
from node.chain.identity import ChangeStatus, Status, Subject
from node.chain.policy import OPERATIONS, SetRule
from node.execution.registry import StateKind, genesis_state, prefix_of
from node.storage.ledger import LedgerStore
from tests.unit.execution.governed_chain import GOVERNED
from tests.unit.service.chatting import Chat, govern


@pytest.fixture(scope="module")
def ledger() -> LedgerStore:
    chat = Chat("validator-1", "validator-2", "validator-3", "validator-4")
    frozen = ChangeStatus(Subject.IDENTITY, "agency-1", Status.FROZEN, "")
    rule = SetRule("notarize", OPERATIONS["notarize"].default)
    assert govern(chat, frozen, rule, members=()) is ResultCode.OK
    return chat.nodes["validator-1"].ledger


def test_each_kind_is_listed_whole_and_no_other(ledger: LedgerStore) -> None:
    listed: dict[bytes, bytes] = {}
    for kind in StateKind:
        found = dict(ledger.entries_of(kind, b"", 1_000))
        assert all(key.startswith(prefix_of(kind)) for key in found)
        assert not listed.keys() & found.keys()
        listed |= found
    assert {key: listed[key] for key in genesis_state(GOVERNED)} == genesis_state(GOVERNED)
    made = 4  # the status, its trail, the rule, and that their change was carried out
    assert len(listed) == len(genesis_state(GOVERNED)) + made


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_pages_join_without_a_gap(ledger: LedgerStore, size: int) -> None:
    whole = ledger.entries_of(StateKind.IDENTITY, b"", 1_000)
    found: list[tuple[bytes, bytes]] = []
    while page := ledger.entries_of(StateKind.IDENTITY, found[-1][0] if found else b"", size):
        assert len(page) <= size
        found += page
    assert found == whole
    assert [key for key, _ in found] == sorted(key for key, _ in found)


def test_a_place_in_another_kind_begins_at_the_start(ledger: LedgerStore) -> None:
    elsewhere = ledger.entries_of(StateKind.ORGANISATION, b"", 1)[0][0]
    assert ledger.entries_of(StateKind.RULE, elsewhere, 9) == ledger.entries_of(
        StateKind.RULE, b"", 9
    )
