"""Peers as sources: who may be asked when, and in which order."""

from __future__ import annotations

from node.service.catch_up.block_sync import ANSWER_WITHIN_MS, ASK_AGAIN_AFTER_MS, DISTRUST_MS
from node.service.catch_up.sources import Sources

NOW_MS = 50_000


def free(sources: Sources[str], now_ms: int, *peers: int) -> list[int]:
    return list(sources.free(now_ms, peers or (0, 1, 2)))


def test_who_owes_an_answer_is_asked_again_once_it_is_hoped_for_no_more() -> None:
    sources = Sources[str]()
    sources.ask(0, "it", NOW_MS)
    assert free(sources, NOW_MS + ASK_AGAIN_AFTER_MS - 1, 0) == []
    assert free(sources, NOW_MS + ASK_AGAIN_AFTER_MS, 0) == [0]
    sources.answered(0)
    assert free(sources, NOW_MS, 0) == [0]


def test_an_answer_is_overdue_once() -> None:
    sources = Sources[str]()
    sources.ask(0, "it", NOW_MS)
    sources.ask(1, "more", NOW_MS + 1)
    assert sources.due_ms() == [NOW_MS + ANSWER_WITHIN_MS, NOW_MS + ANSWER_WITHIN_MS + 1]
    assert sources.note_silence(NOW_MS + ANSWER_WITHIN_MS - 1) == []
    assert sources.note_silence(NOW_MS + ANSWER_WITHIN_MS) == ["it"]
    assert sources.due_ms() == [NOW_MS + ANSWER_WITHIN_MS + 1]
    assert sources.note_silence(NOW_MS + ANSWER_WITHIN_MS + 1) == ["more"]
    assert sources.due_ms() == []


def test_who_answers_comes_first_and_then_who_was_asked_longest_ago() -> None:
    sources = Sources[str]()
    for peer, at_ms in ((0, 3), (1, 2), (2, 1), (3, 0)):
        sources.ask(peer, "it", at_ms)
        if peer != 3:
            sources.answered(peer)
    sources.note_silence(NOW_MS)
    assert free(sources, NOW_MS, 0, 1, 2, 3) == [2, 1, 0, 3]


def test_who_gave_something_false_owes_nothing_and_is_left_alone_for_a_while() -> None:
    sources = Sources[str]()
    sources.ask(0, "it", NOW_MS)
    sources.distrust(0, NOW_MS)
    assert sources[0].asked is None
    assert sources.due_ms() == []
    assert free(sources, NOW_MS + DISTRUST_MS - 1, 0) == []
    assert free(sources, NOW_MS + DISTRUST_MS, 0) == [0]
