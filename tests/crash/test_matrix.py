"""The crash matrix: that it is whole, and that its judges object. Its cells are died elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from node.chain.certificate import Phase, Subject, Vote
from node.consensus.messages import Reason, ViewChange
from node.service.log_records import RecordType, ViewChangeRecord, VoteRecord, encode_log_record
from node.service.wire import encode_message
from node.storage import keys
from node.storage.kv import WriteBatch
from node.storage.wal import WriteAheadLog
from tests.crash.__main__ import all_sound, table
from tests.crash.cells import (
    BATCH_PREFIXES,
    CHECKPOINT_BATCH,
    COMPACT_BATCH,
    DRAFT_BATCH,
    DRAFT_END,
    EVIDENCE_BATCH,
    GENESIS_BATCH,
    PAST_BATCH,
    PAST_END,
    RECORD_POINTS,
    Cell,
    Point,
    batch_kinds_of,
    cover,
    known_prefixes,
    matrix,
    record_kinds,
    select,
)
from tests.crash.signatures import Signatures
from tests.crash.trial import Death
from tests.suites import SUITE

IDENTITY = bytes(32)
VOTE = Vote(Subject(Phase.COMMIT, 3, 9, bytes(32)), 1, 5, bytes(64), 0)
CHANGE = ViewChange(
    epoch=VOTE.epoch,
    view=VOTE.subject.view + 1,
    validator=VOTE.validator,
    committed=(),
    prepared=(),
    clock_bit=False,
    clock_ms=0,
    reason=Reason.TIMEOUT,
    signature=bytes(64),
)


# ---------------------------------------------------------------------- it is whole


def test_every_type_of_record_and_every_phase_has_its_rows() -> None:
    cells = matrix()
    for each in RecordType:
        name = each.name.lower().replace("_", "-")
        kinds = [phase.name.lower() for phase in Phase] if each is RecordType.VOTE else [name]
        for kind in kinds:
            assert len(select(cells, f",{kind}")) >= len(RECORD_POINTS)
    assert len(cells) == len(set(cells)) == 9 * 6 + 12 * 3 + 2 * 6 + 7


def test_the_kinds_of_records_are_named_once() -> None:
    assert len(record_kinds()) == len(set(record_kinds())) == len(RecordType) + 3


def test_few_cells_cover_every_point_and_every_kind() -> None:
    cells, chosen = matrix(), cover()
    assert {cell.point for cell in chosen} == set(Point)
    assert {cell.kind for cell in chosen} == {cell.kind for cell in cells}
    assert len(chosen) == len(set(chosen)) == 9 + 12 + 6 + 7
    assert set(chosen) <= set(cells)


def test_every_family_of_keys_is_written_by_a_batch_of_the_matrix() -> None:
    families = {
        value
        for name, value in vars(keys).items()
        if name.isupper() and isinstance(value, bytes) and not name.startswith("_")
    }
    # `node prune` alone writes it, on a stopped validator: tests/unit/service/test_pruning.py.
    assert families - {keys.PRUNED} == known_prefixes()


def test_a_batch_that_no_row_stands_for_is_refused() -> None:
    batch = WriteBatch()
    batch.put(b"?new", b"")
    with pytest.raises(ValueError, match="no row"):
        batch_kinds_of(batch, SUITE, is_starting=False)


def test_the_ends_of_a_draft_and_of_a_past_are_rows_of_their_own() -> None:
    part, end, past, past_end = (WriteBatch() for _ in range(4))
    part.put(keys.draft_mark("a"), b"")
    end.delete(keys.draft_mark("a"))
    end.put(keys.FORMAT, b"")
    past.put(keys.MISSING_PAST, b"")
    past_end.delete(keys.MISSING_PAST)
    for batch, is_draft, kind in (
        (part, True, DRAFT_BATCH),
        (end, True, DRAFT_END),
        (end, False, GENESIS_BATCH),
        (past, False, PAST_BATCH),
        (past_end, False, PAST_END),
    ):
        found = batch_kinds_of(batch, SUITE, is_starting=False, is_draft=is_draft)
        assert found == {kind}


@pytest.mark.parametrize("kind", [EVIDENCE_BATCH, CHECKPOINT_BATCH, COMPACT_BATCH])
def test_what_is_kept_beside_the_chain_has_rows_of_its_own(kind: str) -> None:
    batch = WriteBatch()
    (prefix,) = BATCH_PREFIXES[kind]
    batch.put(prefix + bytes(8), b"")
    assert batch_kinds_of(batch, SUITE, is_starting=False) == {kind}


def test_a_cell_that_nobody_died_in_fails_the_matrix_and_shows() -> None:
    died = Death(Cell(Point.POWER_LOSS, "commit"), "validator-1", is_killed=True)
    missed = Death(Cell(Point.POWER_LOSS, "prepare"), "validator-2")
    assert all_sound([died])
    assert not all_sound([died, missed])
    assert "NOT REACHED" in table([died, missed])


def test_a_death_that_cost_something_fails_the_matrix_and_shows() -> None:
    death = Death(Cell(Point.POWER_LOSS, "commit"), "validator-1", is_killed=True)
    assert all_sound([replace(death)])
    death.findings.append("a fork")
    assert not all_sound([death])
    assert "KILLED, BUT" in table([death])


# ---------------------------------------------------------------------- its judge objects


def log_of(home: Path, records: list[VoteRecord | ViewChangeRecord]) -> Path:
    WriteAheadLog.create(home / "wal", IDENTITY)
    log, _ = WriteAheadLog.open(home / "wal", IDENTITY)
    log.append([encode_log_record(record) for record in records])
    log.sync()
    log.close()
    return home


@pytest.mark.parametrize(
    "other",
    [
        replace(VOTE, subject=replace(VOTE.subject, header_digest=bytes([1] * 32))),
        replace(VOTE, time_ms=6),
        replace(VOTE, signature=bytes([1] * 64)),
    ],
    ids=["another header", "another time", "another signature"],
)
def test_two_votes_for_one_place_are_found_wherever_they_were(tmp_path: Path, other: Vote) -> None:
    signatures = Signatures(SUITE)
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    signatures.take_log(log_of(tmp_path / "one", [VoteRecord(VOTE)]), 1)
    signatures.take_log(log_of(tmp_path / "two", [VoteRecord(VOTE)]), 1)
    assert signatures.contradictions == []
    signatures.take_log(log_of(tmp_path, [VoteRecord(other)]), 1)
    (found,) = signatures.contradictions
    assert "signed twice" in found


def test_a_vote_in_a_view_left_before_a_death_is_found(tmp_path: Path) -> None:
    signatures = Signatures(SUITE)
    (tmp_path / "one").mkdir()
    signatures.take_log(log_of(tmp_path / "one", [ViewChangeRecord(CHANGE)]), 1)
    signatures.take_log(log_of(tmp_path, [VoteRecord(VOTE)]), 1)
    (found,) = signatures.contradictions
    assert "after it had gone to view 4" in found


def heard(signatures: Signatures, *votes: Vote) -> None:
    """Have others hear these votes."""
    for vote in votes:
        signatures.take_message(encode_message(vote))


def test_a_vote_that_others_heard_and_the_log_lacks_is_found(tmp_path: Path) -> None:
    above = replace(VOTE, subject=replace(VOTE.subject, height=10))
    signatures = Signatures(SUITE)
    (tmp_path / "one").mkdir()
    heard(signatures, VOTE, above)
    signatures.take_log(log_of(tmp_path / "one", [VoteRecord(VOTE), VoteRecord(above)]), 1)
    assert signatures.contradictions == []
    heard(signatures, VOTE, above)
    signatures.take_log(log_of(tmp_path, [VoteRecord(VOTE)]), 1)
    (found,) = signatures.contradictions
    assert "'COMMIT', 3, 10, 1) was sent, and its log does not hold it" in found


def test_a_vote_that_others_heard_and_that_binds_no_more_may_be_missing(tmp_path: Path) -> None:
    signatures = Signatures(SUITE)
    heard(signatures, VOTE)
    signatures.take_log(log_of(tmp_path, [ViewChangeRecord(CHANGE)]), 1)
    assert signatures.contradictions == []
