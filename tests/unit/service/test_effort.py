"""What consensus costs is counted where it is done, and only that."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from node.consensus.messages import Status
from node.service.effort import Effort
from node.service.output import Outlet
from node.service.wire import Transactions
from tests.unit.execution.small_chain import payload, tx
from tests.unit.service.lone import Lone


def ticking() -> Effort:
    """Return an effort whose clock goes on by one with every look at it."""
    readings: Iterator[int] = count()
    return Effort(lambda: next(readings))


def test_stretches_add_up_and_one_without_end_does_not_count() -> None:
    effort = ticking()
    effort.end(effort.begin())
    effort.begin()
    effort.end(effort.begin())
    assert effort.spent_ns == 2


def test_messages_of_consensus_count_and_transactions_do_not() -> None:
    outlet = Outlet(lambda: 0)
    outlet.counters.effort = ticking()
    outlet.send(None, Transactions((b"x",)))
    assert outlet.counters.effort.spent_ns == 0
    outlet.send(None, Status(0, 0, True, 7))  # noqa: FBT003
    assert outlet.counters.effort.spent_ns == 1


def test_steps_signatures_and_bytes_of_a_proposal_count() -> None:
    lone = Lone(0)
    lone.engine.counters.effort = ticking()
    lone.admit(tx(payload("a")), 0)
    before = lone.engine.counters.effort.spent_ns
    assert before >= 2  # at least a step, and the signature of its PREPARE
    lone.make_durable(0)
    assert lone.engine.counters.effort.spent_ns >= before + 2  # the proposal's bytes, and a step


def test_without_a_clock_nothing_is_measured() -> None:
    lone = Lone(0)
    lone.admit(tx(payload("a")), 0)
    lone.make_durable(0)
    assert lone.engine.counters.effort.spent_ns == 0
