"""A node in a view whose blocks may be degraded: what it proposes, admits and keeps."""

from __future__ import annotations

import pytest

from node.chain.admission import AdmissionCode
from node.chain.block import Header
from node.limits import TX_LIFETIME_MS_MAX
from node.service.admission import Candidate
from node.service.log_records import BlockRecord, decode_log_record
from tests.unit.consensus.signing import QUORUM, new_view, view_change
from tests.unit.execution.small_chain import CREATED_MS, GENESIS, payload, tx
from tests.unit.service.lone import Lone

TIP_MS = CREATED_MS
"""T of the newest block, genesis."""


def in_degraded_view(*, clock_ms: int) -> Lone:
    """Return the primary of a view in which two of three do not vouch for time."""
    node = Lone(1)
    changes = [view_change(v, 1, clock_bit=v < 2, clock_ms=clock_ms) for v in QUORUM]
    node.hear(0, new_view(1, changes), 0)
    assert node.engine.core.is_degraded
    return node


def stamped(node: Lone) -> list[Header]:
    records = [
        decode_log_record(kind, data, GENESIS.suite.signature_size)
        for kind, data in node.log.records
    ]
    return [record.header for record in records if isinstance(record, BlockRecord)]


@pytest.mark.parametrize(
    ("reached_ms", "time_ms"),
    [
        (TIP_MS - 3_600_000, TIP_MS + 1),  # clocks behind the chain do not stop it
        (TIP_MS + 500, TIP_MS + 500),
        (TIP_MS + 3_600_000, TIP_MS + 1_000),  # nor does it go ahead of the primary's own
    ],
)
def test_a_primary_stamps_what_a_quorum_of_clocks_had_reached(
    reached_ms: int, time_ms: int
) -> None:
    node = in_degraded_view(clock_ms=reached_ms)
    node.admit(tx(payload("a"), not_after_ms=TIP_MS + 60_000), 0)
    assert [(h.time_ms, h.time_degraded) for h in stamped(node)] == [(time_ms, True)]


def admitted(node: Lone, not_after_ms: int, elapsed_ms: int) -> bool:
    """Whether admission lets a transaction pass as far as its lifetime goes."""
    encoded = tx(payload("b"), not_after_ms=not_after_ms).transaction.encoded
    [verdict] = node.engine.gate.screen([encoded], node.engine.reckon(node.at(elapsed_ms)))
    if isinstance(verdict, Candidate):
        return True
    assert verdict.code in (AdmissionCode.EXPIRED, AdmissionCode.TOO_FAR_AHEAD)
    return False


@pytest.mark.parametrize(
    ("not_after_ms", "normal", "degraded"),
    [
        (TIP_MS + 1, False, True),
        (TIP_MS, False, False),
        (TIP_MS + 1 + TX_LIFETIME_MS_MAX, True, True),
        (TIP_MS + 2 + TX_LIFETIME_MS_MAX, True, False),
    ],
)
def test_admission_reckons_with_the_chain_and_not_with_the_clock(
    not_after_ms: int, *, normal: bool, degraded: bool
) -> None:
    assert admitted(Lone(1), not_after_ms, 5_000) == normal
    assert admitted(in_degraded_view(clock_ms=TIP_MS), not_after_ms, 5_000) == degraded


def test_no_clock_lets_what_waits_expire() -> None:
    for node, kept in ((Lone(1), 0), (in_degraded_view(clock_ms=TIP_MS), 1)):
        node.engine.mempool.add(tx(payload("a"), not_after_ms=TIP_MS + 10))
        node.engine.tick(node.at(60_000))
        assert node.engine.mempool.pending_count == kept
