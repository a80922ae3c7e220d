"""The outgoing queue: order, the bound, and the accounts, against a slow model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import InvariantViolation
from node.limits import PEER_MESSAGE_BYTES_MAX
from node.rpc.outbox import FRAME_BYTES_AIM, FRAME_MESSAGES_MAX, Outbox, Priority

KIB = 1_024

puts = st.lists(st.tuples(st.sampled_from(Priority), st.binary(max_size=12)), max_size=60)


def model_put(
    waiting: list[tuple[Priority, bytes]], bytes_max: int, put: tuple[Priority, bytes]
) -> None:
    """Add a message and drop what exceeds the bound: the least urgent, and of those the oldest."""
    waiting.append(put)
    while sum(len(message) for _, message in waiting) > bytes_max:
        worst = max(priority for priority, _ in waiting)
        waiting.remove(next(item for item in waiting if item[0] == worst))


def drain(outbox: Outbox) -> list[bytes]:
    messages: list[bytes] = []
    while frame := outbox.take_frame():
        messages += frame
    return messages


@given(puts=puts, bytes_max=st.integers(min_value=12, max_value=100))
def test_what_is_kept_and_in_what_order(puts: list[tuple[Priority, bytes]], bytes_max: int) -> None:
    puts = [(priority, message + b".") for priority, message in puts]  # empty ones cost no room
    outbox = Outbox(bytes_max)
    waiting: list[tuple[Priority, bytes]] = []
    for put in puts:
        outbox.put(*put)
        model_put(waiting, bytes_max, put)
        assert outbox.bytes == sum(len(message) for _, message in waiting) <= bytes_max
    kept = [message for _, message in sorted(waiting, key=lambda item: item[0])]
    assert outbox.messages_dropped == len(puts) - len(kept)
    assert outbox.bytes_dropped == sum(len(m) for _, m in puts) - sum(map(len, kept))
    assert drain(outbox) == kept
    assert outbox.bytes == 0


@given(puts=puts, bytes_max=st.integers(min_value=0, max_value=100))
def test_a_smaller_bound_drops_the_least_urgent_and_oldest(
    puts: list[tuple[Priority, bytes]], bytes_max: int
) -> None:
    outbox = Outbox(10_000)
    waiting: list[tuple[Priority, bytes]] = []
    for priority, message in puts:
        outbox.put(priority, message + b".")
        waiting.append((priority, message + b"."))
    outbox.resize(bytes_max)
    while sum(len(message) for _, message in waiting) > bytes_max:
        worst = max(priority for priority, _ in waiting)
        waiting.remove(next(item for item in waiting if item[0] == worst))
    assert drain(outbox) == [m for _, m in sorted(waiting, key=lambda item: item[0])]


def test_a_frame_ends_before_it_grows_too_large() -> None:
    outbox = Outbox(PEER_MESSAGE_BYTES_MAX)
    for number in range(5):
        outbox.put(Priority.SYNC, bytes([number]) * (FRAME_BYTES_AIM // 2))
    assert [len(outbox.take_frame()) for _ in range(4)] == [2, 2, 1, 0]


def test_a_frame_ends_when_it_holds_enough_messages() -> None:
    outbox = Outbox(PEER_MESSAGE_BYTES_MAX)
    for _ in range(FRAME_MESSAGES_MAX + 1):
        outbox.put(Priority.VOTE, b"vote")
    assert [len(outbox.take_frame()) for _ in range(3)] == [FRAME_MESSAGES_MAX, 1, 0]


def test_a_message_larger_than_a_frame_goes_alone() -> None:
    outbox = Outbox(PEER_MESSAGE_BYTES_MAX)
    outbox.put(Priority.SYNC, b"small")
    outbox.put(Priority.SYNC, bytes(4 * FRAME_BYTES_AIM))
    outbox.put(Priority.SYNC, b"small")
    assert [[len(m) for m in outbox.take_frame()] for _ in range(3)] == [
        [5],
        [4 * FRAME_BYTES_AIM],
        [5],
    ]


def test_nothing_overtakes_within_a_frame_that_has_no_room_left() -> None:
    outbox = Outbox(PEER_MESSAGE_BYTES_MAX)
    outbox.put(Priority.VOTE, bytes(KIB))
    outbox.put(Priority.PROPOSAL, bytes(FRAME_BYTES_AIM))
    outbox.put(Priority.GOSSIP, bytes(KIB))
    assert [[len(m) for m in outbox.take_frame()] for _ in range(3)] == [
        [KIB],
        [FRAME_BYTES_AIM],
        [KIB],
    ]


def test_a_message_no_peer_would_take_is_a_fault_of_ours() -> None:
    with pytest.raises(InvariantViolation, match="peer message"):
        Outbox(2 * PEER_MESSAGE_BYTES_MAX).put(Priority.SYNC, bytes(PEER_MESSAGE_BYTES_MAX + 1))
