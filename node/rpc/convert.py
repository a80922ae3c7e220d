"""Between protobuf messages and the values of port.py, in both directions. Nothing is judged here.

What comes from the other side is bounded by gRPC's message size; a number that is no code, or an
index outside its batch, raises `DecodeError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Final, TypeVar

from node.chain.admission import ACCEPTED, Admission, AdmissionCode, FinalResult
from node.chain.block import ResultCode
from node.chain.encoding import decode, encode
from node.chain.genesis import Parameters
from node.chain.time_rules import UnfitCause
from node.consensus.standing import Standing, UndecidedHeight
from node.consensus.state import Stage
from node.errors import DecodeError
from node.limits import STATE_VALUE_BYTES_MAX
from node.rpc import port
from node.rpc.pb import ledger_pb2 as pb

if TYPE_CHECKING:
    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

_ADMITTED: Final = frozenset(code for code in AdmissionCode if code.is_admitted)

_Code = TypeVar("_Code", bound=IntEnum)


def admissions_to_pb(admissions: Sequence[Admission]) -> pb.Admissions:
    """Return the message of one request's admission verdicts."""
    message = pb.Admissions(codes=[admission.code for admission in admissions])  # type: ignore[misc]
    for index, admission in enumerate(admissions):
        if admission is not ACCEPTED and admission.code not in _ADMITTED:
            message.refusals.add(
                index=index, message=admission.message, retry_after_ms=admission.retry_after_ms
            )
    return message


def admissions_from_pb(message: pb.Admissions, count: int) -> list[Admission]:
    """Return the verdicts on a request of `count` transactions."""
    if len(message.codes) != count:
        raise DecodeError(f"admissions: expected {count} codes, got {len(message.codes)}")
    admissions = [
        ACCEPTED if code == pb.ACCEPTED else Admission(_code(AdmissionCode, code))
        for code in message.codes
    ]
    for refusal in message.refusals:
        index = _index(refusal.index, count)
        code = admissions[index].code
        admissions[index] = Admission(code, refusal.message, refusal.retry_after_ms)
    return admissions


def add_results(
    messages: RepeatedCompositeFieldContainer[pb.FinalResult], results: Iterable[FinalResult | None]
) -> None:
    """Add the messages of those results that are known to a field of a message."""
    for index, result in enumerate(results):
        if result is not None:
            messages.add(
                index=index,
                height=result.height,
                time_ms=result.time_ms,
                code=result.code,
                operation_index=result.operation_index,
                log_index=result.log_index,
            )


def results_from_pb(messages: Iterable[pb.FinalResult], count: int) -> list[FinalResult | None]:
    """Return the known results of a request of `count` transactions, in its order."""
    results: list[FinalResult | None] = [None] * count
    for message in messages:
        results[_index(message.index, count)] = FinalResult(
            ResultCode.OK if not message.code else _code(ResultCode, message.code),
            message.height,
            message.time_ms,
            message.operation_index,
            message.log_index,
        )
    return results


def status_to_pb(status: port.NodeStatus) -> pb.Status:
    """Return the message of a validator's status."""
    return pb.Status(
        validator_id=status.validator_id,
        chain_id=status.chain_id,
        version=status.version,
        health=status.health.value,  # type: ignore[arg-type]
        health_detail=status.health_detail,
        height=status.height,
        header_digest=status.header_digest,
        time_ms=status.time_ms,
        view=status.view,
        epoch=status.epoch,
        peers_connected=status.peers_connected,
        pending=status.pending,
        time_degraded=status.time_degraded,
    )


def status_from_pb(message: pb.Status) -> port.NodeStatus:
    """Return a validator's status."""
    return port.NodeStatus(
        validator_id=message.validator_id,
        chain_id=message.chain_id,
        version=message.version,
        health=_code(port.Health, message.health),
        health_detail=message.health_detail,
        height=message.height,
        header_digest=message.header_digest,
        time_ms=message.time_ms,
        view=message.view,
        epoch=message.epoch,
        peers_connected=message.peers_connected,
        pending=message.pending,
        time_degraded=message.time_degraded,
    )


def diagnosis_to_pb(diagnosis: port.Diagnosis) -> pb.Diagnosis:
    """Return the message of a diagnosis."""
    standing = diagnosis.standing
    return pb.Diagnosis(
        status=status_to_pb(diagnosis.status),
        clock_ms=diagnosis.clock_ms,
        clock_cause=diagnosis.clock_cause,
        clock_detail=diagnosis.clock_detail,
        epoch=diagnosis.epoch,
        validators=diagnosis.validators,
        parameters=encode(diagnosis.parameters.to_value()),
        chaos=diagnosis.chaos,
        accused=diagnosis.accused,
        stamping_identity=diagnosis.stamping_identity,
        stamping_identity_ends_ms=diagnosis.stamping_identity_ends_ms,
        view_active=standing.view_active,
        leaving=standing.leaving,
        view_ends_in_ms=standing.view_ends_in_ms,
        waited_ms=standing.waited_ms,
        undecided=[
            pb.UndecidedHeight(
                height=each.height,
                stage=each.stage.value,
                prepares=each.prepares,
                commits=each.commits,
            )
            for each in standing.undecided
        ],
        peers=[
            pb.PeerSight(
                validator_id=peer.validator_id,
                connected=peer.connected,
                heard_ms_ago=peer.heard_ms_ago,
                height=peer.height,
                view=peer.view,
            )
            for peer in diagnosis.peers
        ],
    )


def diagnosis_from_pb(message: pb.Diagnosis) -> port.Diagnosis:
    """Return a diagnosis."""
    status = status_from_pb(message.status)
    return port.Diagnosis(
        status=status,
        clock_ms=message.clock_ms,
        clock_cause=_code(UnfitCause, message.clock_cause),
        clock_detail=message.clock_detail,
        epoch=message.epoch,
        validators=tuple(message.validators),
        parameters=_parameters(message.parameters),
        chaos=message.chaos,
        accused=tuple(message.accused),
        stamping_identity=message.stamping_identity,
        stamping_identity_ends_ms=message.stamping_identity_ends_ms,
        standing=Standing(
            view=status.view,
            view_active=message.view_active,
            leaving=tuple(message.leaving),
            view_ends_in_ms=_optional(message, "view_ends_in_ms"),
            waited_ms=_optional(message, "waited_ms"),
            undecided=tuple(
                UndecidedHeight(
                    height=each.height,
                    stage=_stage(each.stage),
                    prepares=tuple(each.prepares),
                    commits=tuple(each.commits),
                )
                for each in message.undecided
            ),
        ),
        peers=tuple(
            port.PeerSight(
                validator_id=peer.validator_id,
                connected=peer.connected,
                heard_ms_ago=_optional(peer, "heard_ms_ago"),
                height=_optional(peer, "height"),
                view=_optional(peer, "view"),
            )
            for peer in message.peers
        ),
    )


def membership_to_pb(membership: port.Membership) -> pb.Membership:
    """Return the message of who decides and who follows."""
    return pb.Membership(
        epoch=membership.epoch,
        members=[
            pb.Member(
                validator_id=each.validator_id,
                organisation=each.organisation,
                address=each.address,
            )
            for each in membership.members
        ],
        followers=[
            pb.Follower(node_id=each.node_id, organisation=each.organisation, height=each.height)
            for each in membership.followers
        ],
    )


def membership_from_pb(message: pb.Membership) -> port.Membership:
    """Return who decides and who follows."""
    return port.Membership(
        epoch=message.epoch,
        members=tuple(
            port.Member(
                validator_id=each.validator_id,
                organisation=each.organisation,
                address=each.address,
            )
            for each in message.members
        ),
        followers=tuple(
            port.Follower(
                node_id=each.node_id,
                organisation=each.organisation,
                height=_optional(each, "height"),
            )
            for each in message.followers
        ),
    )


def records_request_to_pb(
    wanted: port.RecordFilter, limit: int, page_token: bytes
) -> pb.GetRecordsRequest:
    """Return the message that asks for one page of records."""
    return pb.GetRecordsRequest(
        reference=wanted.reference,
        type_code=wanted.type_code,
        from_ms=wanted.from_ms,
        to_ms=wanted.to_ms,
        digest=wanted.digest,
        limit=limit,
        page_token=page_token,
    )


def record_filter_from_pb(message: pb.GetRecordsRequest) -> port.RecordFilter:
    """Return which records are asked for."""
    return port.RecordFilter(
        reference=message.reference if message.HasField("reference") else None,
        type_code=message.type_code if message.HasField("type_code") else None,
        from_ms=message.from_ms if message.HasField("from_ms") else None,
        to_ms=message.to_ms if message.HasField("to_ms") else None,
        digest=message.digest if message.HasField("digest") else None,
    )


def record_page_to_pb(page: port.RecordPage) -> pb.GetRecordsReply:
    """Return the message of one page of records."""
    return pb.GetRecordsReply(
        records=[
            pb.RecordEntry(
                log_index=entry.log_index,
                leaf=entry.leaf,
                status=entry.status.value,  # type: ignore[arg-type]
            )
            for entry in page.records
        ],
        next_page_token=page.next_page_token,
    )


def record_page_from_pb(message: pb.GetRecordsReply) -> port.RecordPage:
    """Return one page of records."""
    return port.RecordPage(
        tuple(
            port.RecordEntry(entry.log_index, entry.leaf, _code(port.RecordStatus, entry.status))
            for entry in message.records
        ),
        message.next_page_token,
    )


def transaction_to_pb(transaction: port.CommittedTransaction) -> pb.CommittedTransaction:
    """Return the message of a committed transaction."""
    return pb.CommittedTransaction(
        height=transaction.height,
        index=transaction.index,
        time_ms=transaction.time_ms,
        transaction=transaction.transaction,
        result=transaction.result,
    )


def transaction_from_pb(message: pb.CommittedTransaction) -> port.CommittedTransaction:
    """Return a committed transaction."""
    return port.CommittedTransaction(
        height=message.height,
        index=message.index,
        time_ms=message.time_ms,
        transaction=message.transaction,
        result=message.result,
    )


def summary_to_pb(summary: port.BlockSummary) -> pb.BlockSummary:
    """Return the message of a block in one line."""
    return pb.BlockSummary(
        height=summary.height,
        header_digest=summary.header_digest,
        time_ms=summary.time_ms,
        time_degraded=summary.time_degraded,
        view=summary.view,
        proposer=summary.proposer,
        transactions=summary.transactions,
        records=summary.records,
        signers=summary.signers,
    )


def summary_from_pb(message: pb.BlockSummary) -> port.BlockSummary:
    """Return a block in one line."""
    return port.BlockSummary(
        height=message.height,
        header_digest=message.header_digest,
        time_ms=message.time_ms,
        time_degraded=message.time_degraded,
        view=message.view,
        proposer=message.proposer,
        transactions=message.transactions,
        records=message.records,
        signers=message.signers,
    )


def _code(kind: type[_Code], number: int) -> _Code:
    try:
        return kind(number)
    except ValueError as error:
        raise DecodeError(f"{kind.__name__}: {number} is none") from error


def _parameters(data: bytes) -> Parameters:
    value = decode(data, what="parameters", size_max=STATE_VALUE_BYTES_MAX)
    return Parameters.from_value(value)


def _optional(message: pb.Diagnosis | pb.PeerSight | pb.Follower, name: str) -> int | None:
    return getattr(message, name) if message.HasField(name) else None  # type: ignore[arg-type]


def _stage(name: str) -> Stage:
    try:
        return Stage(name)
    except ValueError as error:
        raise DecodeError(f"stage: {name!r:.40} is none") from error


def _index(index: int, count: int) -> int:
    if index >= count:
        raise DecodeError(f"index: expected less than {count}, got {index}")
    return index
