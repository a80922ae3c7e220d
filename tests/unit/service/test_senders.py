"""What is remembered of senders is what the state says, after every block that changes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import pytest

from node.chain.identity import Event, Status, StatusEntry, Subject
from node.chain.quota import Quota
from node.execution.apply import StateReader, sender_key, why_sender_barred
from node.execution.registry import genesis_state, identity_key, quota_key, status_key
from node.service.senders import SENDERS_REMEMBERED, Senders
from node.service.turns import seat_of
from tests.unit.execution.governed_chain import GOVERNED

KNOWN = GOVERNED.identities[0]
FROZEN = StatusEntry(
    status=Status.FROZEN,
    event=Event.FROZEN,
    reason="lost",
    height=7,
    time_ms=8,
    tx_id=bytes(32),
    changes=1,
).encode()
CHANGES = {
    "of its key": (identity_key(KNOWN.identity_id), None),
    "of its standing": (status_key(Subject.IDENTITY, KNOWN.identity_id), FROZEN),
    "of its organisation": (status_key(Subject.ORGANISATION, KNOWN.organisation), FROZEN),
    "of its quota": (quota_key(KNOWN.organisation), Quota(3, 4).encode()),
}


@dataclass
class State:
    """The part of a state that answers about senders come from, and what was read of it."""

    values: dict[bytes, bytes | None] = field(default_factory=lambda: {**genesis_state(GOVERNED)})
    read: list[bytes] = field(default_factory=list)

    def get(self, key: bytes) -> bytes | None:
        self.read.append(key)
        return self.values.get(key)

    @property
    def reader(self) -> StateReader:
        return cast("StateReader", self)


def said(senders: Senders, name: str) -> tuple[object, ...]:
    return senders.key_of(name), senders.why_barred(name), senders.seat_of(name)


def true_of(state: State, name: str) -> tuple[object, ...]:
    reader = state.reader
    return sender_key(reader, name), why_sender_barred(reader, name), seat_of(reader, name)


@pytest.mark.parametrize("name", [KNOWN.identity_id, "nobody"])
def test_an_answer_is_read_once(name: str) -> None:
    state = State()
    senders = Senders(state.reader)
    first = said(senders, name)
    assert first == true_of(State(), name)
    state.read.clear()
    assert not senders.note_final([b"a key of another kind"])
    assert said(senders, name) == first
    assert state.read == []


@pytest.mark.parametrize("change", CHANGES)
def test_a_block_that_changes_an_answer_has_it_read_again(change: str) -> None:
    state = State()
    senders = Senders(state.reader)
    before = said(senders, KNOWN.identity_id)
    key, value = CHANGES[change]
    state.values[key] = value
    assert senders.note_final([b"a key of another kind", key])
    after = said(senders, KNOWN.identity_id)
    assert after == true_of(state, KNOWN.identity_id) != before


@pytest.mark.parametrize("name", [KNOWN.identity_id, "nobody"])
def test_nothing_is_read_that_a_block_could_change_unnoticed(name: str) -> None:
    state = State()
    true_of(state, name)
    assert state.read
    for key in state.read:
        assert Senders(state.reader).note_final([key])


def test_names_of_strangers_cost_no_more_memory_than_a_bound() -> None:
    state = State()
    senders = Senders(state.reader)
    for number in range(3 * SENDERS_REMEMBERED):
        senders.key_of(f"stranger-{number}")
    assert len(senders._keys) <= SENDERS_REMEMBERED  # noqa: SLF001 - what is held
