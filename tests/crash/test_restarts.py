"""The times at which all four validators are killed and restarted."""

from __future__ import annotations

from tests.crash.restarts import DOWN_S_MAX, KILL_S_MAX, draw

IDS = ("validator-1", "validator-2", "validator-3", "validator-4")


def test_a_seed_kills_everybody_some_back_before_others_go_and_is_drawn_alike() -> None:
    for seed in range(20):
        strokes = draw(seed, IDS)
        assert strokes == draw(seed, IDS)
        assert {stroke.validator_id for stroke in strokes} == set(IDS)
        assert all(s.after_s <= KILL_S_MAX and s.down_s <= DOWN_S_MAX for s in strokes)
    overlaps = [
        min(s.after_s + s.down_s for s in strokes) < max(s.after_s for s in strokes)
        for strokes in (draw(seed, IDS) for seed in range(20))
    ]
    assert sum(overlaps) > 15
