"""Counts per block and per transaction against the saved baseline: more is a failure, time is not.

`./check` runs this file; it takes no times.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench.counts import Counts, load_baseline, measure, regressions, savings
from tests.unit.service.block_cost import most_per_block

NETWORK = "4 validators"


@pytest.fixture(scope="module")
def measured() -> Counts:
    return measure()


def test_no_count_grew(measured: Counts, tell: Callable[[str], None]) -> None:
    baseline = load_baseline()
    for line in savings(baseline, measured):
        tell(f"fewer than in the baseline, write it anew: {line}")
    assert regressions(baseline, measured) == []


def test_the_same_work_counts_alike_again(measured: Counts) -> None:
    assert measure() == measured


def test_what_is_counted_is_what_the_protocol_says(measured: Counts) -> None:
    most, block = most_per_block(4), measured[NETWORK]["per block"]
    assert block["votes_sent"] == most.votes_sent
    assert block["votes_signed"] == most.votes_signed
    assert 0 < block["votes_checked"] <= most.votes_checked
    assert block["log_syncs"] <= most.log_syncs
    assert block["ledger_syncs"] == most.ledger_syncs
    assert block["votes_sent"] <= block["frames"] <= block["messages"]
    transaction = measured[NETWORK]["per transaction"]
    assert transaction["transactions_checked"] == 4  # each validator checks its signature once
    assert transaction["hashes"] > 4
    assert {name for name, count in transaction.items() if count} == {
        "message_bytes",
        "transactions_checked",
        "hashes",
    }


def test_a_record_of_a_batch_costs_its_leaf_and_its_share_of_the_tree(measured: Counts) -> None:
    """One signature, one message, one sync serve the whole batch, however many its records."""
    record = measured[NETWORK]["per record of a batch"]
    assert {name for name, count in record.items() if count} == {"hashes", "message_bytes"}
    assert record["message_bytes"] == pytest.approx(3 * 32, rel=0.01)  # a digest, to three others
    assert 4 < record["hashes"] <= 4 * 2.1  # by each validator: a leaf, less than one node


def test_a_count_that_grew_or_went_missing_is_told() -> None:
    def counts(**block: float) -> Counts:
        return {NETWORK: {"per block": block}}

    before = counts(messages=24, hashes=10.5)
    assert regressions(before, before) == savings(before, before) == []
    grown = regressions(before, counts(messages=24, hashes=10.501))
    assert grown == ["4 validators, per block, hashes: 10.5 before, 10.501 now"]
    assert savings(before, counts(messages=23, hashes=10.5)) == [
        "4 validators, per block, messages: 24 before, 23 now"
    ]
    assert regressions(before, counts(messages=24)) == [
        "4 validators, per block, hashes: 10.5 before, nothing now"
    ]
    assert regressions(before, counts(messages=24, hashes=1, frames=1)) == [
        "4 validators, per block, frames: nothing before, 1 now"
    ]
