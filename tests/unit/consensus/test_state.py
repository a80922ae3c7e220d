"""What is remembered of a height, and what of it a VIEW-CHANGE shows."""

from __future__ import annotations

from dataclasses import replace

from node.chain.certificate import Phase
from node.consensus.state import Slot, slots_prepared
from tests.unit.consensus.signing import certified, chain_of_blocks

FIRST, SECOND = (block.header for block in chain_of_blocks(2)[1:])
OTHER = replace(FIRST, time_ms=FIRST.time_ms + 1)


def test_a_commit_certificate_above_a_gap_is_shown_if_it_is_of_the_later_view() -> None:
    earlier, later = certified(OTHER, Phase.PREPARE), certified(FIRST, Phase.COMMIT, view=1)
    assert slots_prepared({1: Slot(1, prepared=earlier, decided=later)}, 0, 2) == (later,)
    later = certified(OTHER, Phase.PREPARE, view=2)
    decided = certified(FIRST, Phase.COMMIT, view=1)
    assert slots_prepared({1: Slot(1, prepared=later, decided=decided)}, 0, 2) == (later,)


def test_nothing_above_the_window_is_shown() -> None:
    slots = {height: Slot(height, prepared=certified(FIRST, Phase.PREPARE)) for height in (1, 2, 3)}
    assert len(slots_prepared(slots, 0, 2)) == 2


def test_the_prepared_certificate_of_the_highest_view_is_kept() -> None:
    slot = Slot(1)
    for view, kept in ((2, 2), (5, 5), (3, 5)):
        slot.learn_prepared(certified(FIRST, Phase.PREPARE, view=view))
        assert slot.prepared is not None
        assert slot.prepared.certificate.subject.view == kept
