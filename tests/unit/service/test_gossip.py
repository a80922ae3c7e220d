"""Passing transactions on, and repeating them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest

from node.service.admission import Gate, Verdict
from node.service.gossip import MESSAGE_BYTES_MAX, PAUSES_MAX, Gossip
from node.service.log_records import RecordType
from node.service.mempool import Mempool
from node.service.output import Outlet
from node.service.reckoning import Reckoning
from node.service.wire import Transactions, decode_message
from tests.unit.execution.small_chain import GENESIS, payload, tx
from tests.unit.service.lone import Lone


def test_what_clients_sent_goes_out_once_in_few_messages() -> None:
    outlet = Outlet(view=lambda: 0)
    gossip = Gossip(Mempool(), outlet, repeat_after_ms=100)
    large = [bytes([number]) * (MESSAGE_BYTES_MAX // 2) for number in range(3)]
    for encoded in large:
        gossip.add(encoded)
    gossip.flush()
    gossip.flush()
    messages = [decode_message(sent.data, 64) for sent in outlet.drain().messages]
    assert messages == [Transactions((large[0], large[1])), Transactions((large[2],))]


def test_what_peers_sent_is_not_passed_on() -> None:
    backup = Lone(3)
    backup.engine.admit([tx(payload("a"))], backup.at(1), from_client=False)
    assert not backup.engine.has_gossip


@pytest.mark.parametrize(
    ("from_client", "pauses"), [(True, (1, 1, 2, 4, 8, 8)), (False, (8, 8, 8))]
)
def test_what_waits_is_repeated_first_by_who_was_handed_it_and_then_by_all(
    *, from_client: bool, pauses: tuple[int, ...]
) -> None:
    interval_ms = GENESIS.parameters.view_timeout_ms // 2
    backup = Lone(3)
    transaction = tx(payload("waits"))
    backup.engine.admit([transaction], backup.at(1), from_client=from_client)
    backup.engine.flush_gossip()
    backup.said()
    repeated_at_ms = []
    for elapsed_ms in range(0, 40 * interval_ms, interval_ms // 4):
        backup.engine.tick(backup.at(elapsed_ms))
        if Transactions((transaction.transaction.encoded,)) in backup.said():
            repeated_at_ms.append(elapsed_ms)
    pauses_ms = [late - early for early, late in pairwise([0, *repeated_at_ms])]
    assert pauses_ms[: len(pauses)] == [factor * interval_ms for factor in pauses]


def test_a_turn_is_due_when_what_waits_is_to_be_repeated() -> None:
    interval_ms = GENESIS.parameters.view_timeout_ms // 2
    backup = Lone(3)
    assert backup.engine.deadline() > interval_ms
    transaction = tx(payload("waits"))
    backup.engine.admit([transaction], backup.at(1), from_client=True)
    backup.engine.flush_gossip()
    assert backup.engine.deadline() == interval_ms
    backup.engine.tick(backup.at(interval_ms))
    assert Transactions((transaction.transaction.encoded,)) in backup.said()
    assert backup.engine.deadline() > interval_ms


def test_the_transactions_of_an_undecided_block_are_repeated_to_those_who_may_have_lost_them() -> (
    None
):
    primary = Lone(0)
    transaction = tx(payload("only the primary still knows"))
    primary.admit(transaction, 0)
    assert primary.logged(RecordType.BLOCK) == 1
    primary.said()
    repeated_at = []
    for factor in range(1, PAUSES_MAX + 1):
        primary.engine.tick(primary.at(factor * GENESIS.parameters.view_timeout_ms // 2))
        if Transactions((transaction.transaction.encoded,)) in primary.said():
            repeated_at.append(factor)
    assert repeated_at == [PAUSES_MAX]


def test_what_is_held_is_not_decoded_again_when_it_is_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where nothing becomes final, everybody repeats to everybody what waits."""
    decoded: list[bytes] = []
    screen = Gate.screen

    def note(gate: Gate, encoded: Sequence[bytes], reckoned: Reckoning) -> list[Verdict]:
        decoded.extend(encoded)
        return screen(gate, encoded, reckoned)

    monkeypatch.setattr(Gate, "screen", note)
    backup, held, new = Lone(3), tx(payload("held")), tx(payload("new"))
    backup.engine.admit([held], backup.at(1), from_client=False)
    repeated = Transactions((held.transaction.encoded, new.transaction.encoded))
    backup.hear(1, repeated, 2)
    assert decoded == [new.transaction.encoded]
    (job,) = backup.engine.drain().jobs
    assert [each.transaction.tx_id for each in job.candidates] == [new.transaction.tx_id]
