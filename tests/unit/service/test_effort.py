"""What consensus costs is counted where it is done, and only that."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from node.chain.certificate import Phase
from node.consensus.messages import Status
from node.service.effort import Effort, Efforts
from node.service.output import Outlet
from node.service.wire import Message, Transactions
from tests.unit.consensus.signing import chain_of_blocks, vote
from tests.unit.execution.small_chain import payload, tx
from tests.unit.service.lone import Lone

FIRST = chain_of_blocks(1)[1].header


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
    outlet.counters.efforts = Efforts(ticking())
    outlet.send(None, Transactions((b"x",)))
    assert outlet.counters.efforts.consensus.spent_ns == 0
    outlet.send(None, Status(0, 0, True, 7))  # noqa: FBT003
    assert outlet.counters.efforts.consensus.spent_ns == 1


def test_steps_signatures_and_bytes_of_a_proposal_count() -> None:
    lone = Lone(0)
    lone.engine.counters.efforts = Efforts(ticking())
    lone.admit(tx(payload("a")), 0)
    before = lone.engine.counters.efforts.consensus.spent_ns
    assert before >= 2  # at least a step, and the signature of its PREPARE
    lone.make_durable(0)
    assert (
        lone.engine.counters.efforts.consensus.spent_ns >= before + 2
    )  # the proposal's bytes, and a step


@pytest.mark.parametrize(
    ("message", "stretches"),
    [
        (Transactions((b"x",)), 0),
        (Status(5, 0, True, 0), 1),  # its bytes  # noqa: FBT003
        (Status(0, 0, True, 0), 2),  # and a step  # noqa: FBT003
        (vote(Phase.PREPARE, 0, FIRST, 3), 1),  # in the own name: not even checked
        (vote(Phase.PREPARE, 0, FIRST, 1), 3),  # its bytes, its signature, a step
    ],
)
def test_what_is_heard_counts_as_far_as_it_is_of_consensus(
    message: Message, stretches: int
) -> None:
    lone = Lone(3)
    lone.engine.counters.efforts = Efforts(ticking())
    lone.hear(1, message, 1)
    assert lone.engine.counters.efforts.consensus.spent_ns == stretches


def test_without_a_clock_nothing_is_measured() -> None:
    lone = Lone(0)
    lone.admit(tx(payload("a")), 0)
    lone.make_durable(0)
    assert lone.engine.counters.efforts.consensus.spent_ns == 0
