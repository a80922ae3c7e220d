"""Values survive the wire, and what is no value is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.chain.admission import ACCEPTED, Admission, AdmissionCode, FinalResult
from node.chain.block import ResultCode
from node.chain.encoding import encode
from node.chain.genesis import Parameters
from node.chain.time_rules import UnfitCause
from node.consensus.standing import Standing, UndecidedHeight
from node.consensus.state import Stage
from node.errors import DecodeError
from node.rpc import convert
from node.rpc.pb import ledger_pb2 as pb
from node.rpc.port import (
    BlockSummary,
    CommittedTransaction,
    Diagnosis,
    Health,
    NodeStatus,
    PeerSight,
    RecordEntry,
    RecordFilter,
    RecordPage,
    RecordStatus,
)

RESULT = FinalResult(ResultCode.REFERENCE_IN_FORCE, 7, 1_700_000_000_123, 3, 2**40)


def test_admissions() -> None:
    admissions = [
        ACCEPTED,
        Admission(AdmissionCode.POOL_FULL, "come back", 250),
        *(Admission(code) for code in AdmissionCode),
    ]
    message = convert.admissions_to_pb(admissions)
    assert convert.admissions_from_pb(message, len(admissions)) == admissions
    admitted = sum(admission.code.is_admitted for admission in admissions)
    assert len(message.refusals) == len(admissions) - admitted


def test_results_keep_their_places() -> None:
    results = [None, RESULT, None]
    messages = pb.BatchResults().results
    convert.add_results(messages, results)
    assert len(messages) == 1
    assert convert.results_from_pb(messages, 3) == results


STATUS = NodeStatus(
    validator_id="validator-1",
    chain_id=bytes(32),
    version="0.1.0",
    health=Health.CATCHING_UP,
    health_detail="12 blocks behind",
    height=8,
    header_digest=b"d" * 32,
    time_ms=1_700_000_000_123,
    view=4,
    epoch=2,
    peers_connected=3,
    pending=17,
    time_degraded=True,
)


def test_status() -> None:
    assert convert.status_from_pb(convert.status_to_pb(STATUS)) == STATUS


@pytest.mark.parametrize("known", [None, 0, 12])
def test_a_diagnosis(known: int | None) -> None:
    diagnosis = Diagnosis(
        status=STATUS,
        clock_ms=1_700_000_000_456,
        epoch=3,
        validators=("validator-1", "validator-2"),
        parameters=Parameters(view_timeout_ms=700),
        chaos="clock +5 ms",
        accused=("validator-2", "validator-4"),
        clock_cause=UnfitCause.STEPPED,
        clock_detail="it was stepped",
        stamping_identity="org-1-tsa",
        stamping_identity_ends_ms=1_800_000_000_000,
        standing=Standing(
            view=STATUS.view,
            view_active=False,
            leaving=(0, 3),
            view_ends_in_ms=known,
            waited_ms=known,
            undecided=tuple(
                UndecidedHeight(height=9 + n, stage=stage, prepares=(0, 1), commits=())
                for n, stage in enumerate(Stage)
            ),
        ),
        peers=(
            PeerSight(
                validator_id="validator-2",
                connected=True,
                heard_ms_ago=known,
                height=known,
                view=known,
            ),
        ),
    )
    assert convert.diagnosis_from_pb(convert.diagnosis_to_pb(diagnosis)) == diagnosis


def test_a_stage_that_is_none_is_refused() -> None:
    parameters = encode(Parameters().to_value())
    message = pb.Diagnosis(status=convert.status_to_pb(STATUS), parameters=parameters)
    message.undecided.add(height=1, stage="asleep")
    with pytest.raises(DecodeError, match="asleep"):
        convert.diagnosis_from_pb(message)


@pytest.mark.parametrize(
    "wanted",
    [
        RecordFilter(),
        RecordFilter(reference="", from_ms=0, to_ms=0),
        RecordFilter(reference="r", type_code="t", from_ms=1, to_ms=2, digest=b"d" * 32),
    ],
)
def test_an_absent_field_differs_from_an_empty_one(wanted: RecordFilter) -> None:
    message = convert.records_request_to_pb(wanted, 10, b"token")
    assert convert.record_filter_from_pb(message) == wanted
    assert (message.limit, message.page_token) == (10, b"token")


def test_a_page_of_records() -> None:
    page = RecordPage(
        tuple(RecordEntry(index, b"leaf", status) for index, status in enumerate(RecordStatus)),
        b"next",
    )
    assert convert.record_page_from_pb(convert.record_page_to_pb(page)) == page


def test_a_committed_transaction() -> None:
    transaction = CommittedTransaction(
        height=1, index=2, time_ms=3, transaction=b"transaction", result=b"result"
    )
    message = convert.transaction_to_pb(transaction)
    assert convert.transaction_from_pb(message) == transaction


def test_a_block_summary() -> None:
    summary = BlockSummary(
        height=1,
        header_digest=b"d" * 32,
        time_ms=2,
        time_degraded=True,
        view=3,
        proposer=4,
        transactions=5,
        records=6,
        signers=7,
    )
    assert convert.summary_from_pb(convert.summary_to_pb(summary)) == summary


def test_numbers_on_the_wire_are_those_of_the_values() -> None:
    names = {
        pb.AdmissionCode: AdmissionCode,
        pb.Health: Health,
        pb.RecordStatus: RecordStatus,
    }
    for message_enum, enum in names.items():
        wire = {name: number for name, number in message_enum.items() if number}
        assert wire == {member.name: member.value for member in enum if member.value}


@pytest.mark.parametrize(
    "message",
    [
        pb.Admissions(codes=[pb.ACCEPTED]),
        pb.Admissions(codes=[pb.ACCEPTED, 0]),  # type: ignore[list-item]
        pb.Admissions(codes=[pb.ACCEPTED, 99]),  # type: ignore[list-item]
        pb.Admissions(codes=[pb.ACCEPTED, pb.EXPIRED], refusals=[pb.Refusal(index=2)]),
    ],
)
def test_admissions_of_another_request_are_refused(message: pb.Admissions) -> None:
    with pytest.raises(DecodeError):
        convert.admissions_from_pb(message, 2)


@pytest.mark.parametrize("message", [pb.FinalResult(index=2), pb.FinalResult(code=1_000)])
def test_results_of_another_request_are_refused(message: pb.FinalResult) -> None:
    with pytest.raises(DecodeError):
        convert.results_from_pb([message], 2)


def test_a_health_that_is_none_is_refused() -> None:
    with pytest.raises(DecodeError, match="Health"):
        convert.status_from_pb(pb.Status())


@pytest.mark.parametrize(
    ("degraded", "clock_ms", "reckoned_ms"),
    [(False, 50, 101), (False, 500, 500), (True, 50, 101), (True, 500, 101)],
)
def test_a_client_reckons_with_the_chain_while_time_is_degraded(
    clock_ms: int, reckoned_ms: int, *, degraded: bool
) -> None:
    status = replace(STATUS, time_ms=100, time_degraded=degraded)
    assert status.reckoned_ms(clock_ms) == reckoned_ms
