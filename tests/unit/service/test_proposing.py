"""When a primary proposes, and what."""

from __future__ import annotations

from node.limits import TX_LIFETIME_MS_MAX
from node.service.log_records import RecordType
from tests.unit.execution.small_chain import CREATED_MS, payload, tx
from tests.unit.service.lone import Lone


def test_a_primary_with_nothing_includable_waits_instead_of_asking_itself_for_ever() -> None:
    primary = Lone(0)
    too_early_for_any_block = CREATED_MS + 1_000 + TX_LIFETIME_MS_MAX + 20
    primary.admit(tx(payload("early"), not_after_ms=too_early_for_any_block), 0)
    assert not primary.log.records
    assert primary.engine.deadline() <= 100  # it looks again before long
    primary.engine.tick(primary.at(100))
    assert primary.log.records  # by now the transaction can be included


def test_a_primary_whose_pool_ran_empty_proposes_what_comes_next_at_once() -> None:
    primary = Lone(0)
    for elapsed_ms, document in enumerate(("first", "second")):  # the window has room for both
        primary.admit(tx(payload(document)), elapsed_ms)
    assert primary.logged(RecordType.BLOCK) == 2
