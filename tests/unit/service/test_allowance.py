"""What each peer may cost: used up by answers, by asking, by refusals, until the next period."""

from __future__ import annotations

from node.service.allowance import (
    ANSWER_BYTES_LEAST,
    ANSWER_BYTES_PER_PERIOD,
    PERIOD_MS,
    REFUSALS_PER_PERIOD,
    REFUSALS_PERIOD_MS,
    Allowance,
    Patience,
)


def test_large_answers_use_it_up_until_the_next_period() -> None:
    allowance = Allowance()
    assert allowance.has_room(1, 0)
    allowance.use(1, ANSWER_BYTES_PER_PERIOD)
    assert not allowance.has_room(1, PERIOD_MS - 1)
    assert allowance.has_room(1, PERIOD_MS)


def test_asking_for_nothing_is_not_free() -> None:
    allowance = Allowance()
    answered = 0
    while allowance.has_room(1, 0):
        allowance.use(1, 0)
        answered += 1
    assert answered == ANSWER_BYTES_PER_PERIOD // ANSWER_BYTES_LEAST


def test_one_peer_does_not_use_up_what_another_has() -> None:
    allowance = Allowance()
    assert allowance.has_room(1, 0)
    allowance.use(1, ANSWER_BYTES_PER_PERIOD)
    assert allowance.has_room(2, 0)
    assert not allowance.has_room(1, 0)


def test_refusals_wear_out_patience_with_one_peer_within_one_period() -> None:
    patience = Patience()
    at_once = [patience.note_refusal(1, 0) for _ in range(REFUSALS_PER_PERIOD + 1)]
    assert at_once == [False] * REFUSALS_PER_PERIOD + [True]
    assert not patience.note_refusal(2, 0)
    slowly = [
        patience.note_refusal(3, number * REFUSALS_PERIOD_MS // REFUSALS_PER_PERIOD)
        for number in range(3 * REFUSALS_PER_PERIOD)
    ]
    assert not any(slowly)
    assert not patience.note_refusal(1, 1)  # it begins anew
