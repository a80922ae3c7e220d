"""The rules of notarization, one by one (numbers as in node/execution/notary.py)."""

from __future__ import annotations

import pytest

from node.chain.block import ResultCode
from node.chain.encoding import encode
from node.chain.record import Notarization, RecordAction
from node.chain.reference import ReferenceStatus, Standing, reference_key
from node.crypto.suite import DOCUMENT_DIGESTS
from node.errors import DecodeError, InvariantViolation
from node.execution.notary import Failure, Position, notarize
from tests.unit.execution.small_chain import payload

RECORD, SUPERSEDE, WITHDRAW = RecordAction.RECORD, RecordAction.SUPERSEDE, RecordAction.WITHDRAW
KEY = reference_key("agency-1", "licence", "A-1")


class Notary:
    """Applies payloads one after the other to a state of its own."""

    def __init__(self) -> None:
        self.state: dict[bytes, bytes] = {}
        self.height = 0

    def apply(self, notarization: Notarization, issuer: str = "agency-1") -> Failure | None:
        self.height += 1
        at = Position(self.height, self.height * 1_000, self.height * 10)
        outcome = notarize(notarization, issuer, at, self.state.get)
        if isinstance(outcome, Failure):
            return outcome
        self.state.update(outcome)
        return None

    def status(self, key: bytes = KEY) -> ReferenceStatus:
        return ReferenceStatus.decode(self.state[key])


def one(action: RecordAction, document: str = "text", reference: str = "A-1") -> Notarization:
    return payload(document, action=action, references=[reference])


def test_records_without_reference_leave_the_state_alone() -> None:
    notary = Notary()
    assert notary.apply(payload("a", "b", "a")) is None
    assert notary.state == {}


def test_a_first_record_puts_its_reference_in_force() -> None:
    notary = Notary()
    assert notary.apply(one(RECORD)) is None
    assert notary.status() == ReferenceStatus(
        standing=Standing.IN_FORCE,
        version=1,
        height=1,
        time_ms=1_000,
        log_index=10,
        digest_algorithm=1,
        digest=payload("text").digests,
    )


def test_the_stored_form_is_the_documented_array() -> None:
    notary = Notary()
    notary.apply(one(RECORD))
    assert encode([5, "agency-1", "licence", "A-1"]) == KEY
    assert notary.state[KEY] == encode([1, 1, 1, 1, 1_000, 10, 1, payload("text").digests])


def test_n1_an_unknown_digest_algorithm_fails() -> None:
    for known in DOCUMENT_DIGESTS:
        assert Notary().apply(payload("a", algorithm=known.digest_id)) is None
    unknown = payload("a", algorithm=5)
    assert Notary().apply(unknown) == Failure(ResultCode.DIGEST_ALGORITHM_UNKNOWN)


@pytest.mark.parametrize("action", [SUPERSEDE, WITHDRAW])
def test_n2_superseding_and_withdrawing_need_a_reference(action: RecordAction) -> None:
    notary = Notary()
    without = payload("a", action=action)
    assert notary.apply(without) == Failure(ResultCode.REFERENCE_MISSING, 0)
    notary.apply(one(RECORD))
    second_without = payload("a", "b", action=action, references=["A-1", None])
    assert notary.apply(second_without) == Failure(ResultCode.REFERENCE_MISSING, 1)
    assert notary.status().version == 1


def test_n3_a_reference_in_force_takes_no_second_first_record() -> None:
    notary = Notary()
    notary.apply(one(RECORD, "first"))
    assert notary.apply(one(RECORD, "second")) == Failure(ResultCode.REFERENCE_IN_FORCE, 0)
    assert notary.status().digest == payload("first").digests


@pytest.mark.parametrize("action", [SUPERSEDE, WITHDRAW])
def test_n4_what_is_not_in_force_can_not_be_superseded_or_withdrawn(action: RecordAction) -> None:
    notary = Notary()
    assert notary.apply(one(action)) == Failure(ResultCode.REFERENCE_NOT_IN_FORCE, 0)
    notary.apply(one(RECORD))
    notary.apply(one(WITHDRAW))
    assert notary.apply(one(action)) == Failure(ResultCode.REFERENCE_NOT_IN_FORCE, 0)


def test_versions_count_on_through_a_withdrawal() -> None:
    notary = Notary()
    seen = []
    for number, action in enumerate([RECORD, SUPERSEDE, WITHDRAW, RECORD, SUPERSEDE]):
        assert notary.apply(one(action, f"text {number}")) is None
        status = notary.status()
        seen.append((status.standing, status.version, status.log_index))
        assert status.digest == payload(f"text {number}").digests
    assert seen == [
        (Standing.IN_FORCE, 1, 10),
        (Standing.IN_FORCE, 2, 20),
        (Standing.WITHDRAWN, 3, 30),
        (Standing.RENEWED, 4, 40),
        (Standing.RENEWED, 5, 50),
    ]


def test_what_is_in_force_again_keeps_where_the_newest_withdrawal_stands() -> None:
    notary = Notary()
    seen = []
    for action in [RECORD, WITHDRAW, RECORD, SUPERSEDE, WITHDRAW, RECORD]:
        assert notary.apply(one(action)) is None
        seen.append(notary.status().withdrawn_index)
    assert seen == [None, None, 20, 20, None, 50]
    digest = payload("text").digests
    assert notary.state[KEY] == encode([1, 3, 6, 6, 6_000, 60, 1, digest, 50])
    assert notary.apply(one(RECORD)) == Failure(ResultCode.REFERENCE_IN_FORCE, 0)


def test_a_reference_belongs_to_its_issuer_and_type() -> None:
    notary = Notary()
    assert notary.apply(one(RECORD)) is None
    assert notary.apply(one(RECORD), issuer="agency-2") is None
    assert notary.apply(payload("text", references=["A-1"], type_code="permit")) is None
    assert notary.apply(one(WITHDRAW), issuer="agency-2") is None
    assert notary.status().standing is Standing.IN_FORCE
    assert len(notary.state) == 3


def test_operations_see_those_before_them() -> None:
    notary = Notary()
    twice = payload("a", "b", "c", references=["A-1", None, "A-1"])
    assert notary.apply(twice) == Failure(ResultCode.REFERENCE_IN_FORCE, 2)
    notary.apply(one(RECORD))
    twice = payload("a", "b", action=WITHDRAW, references=["A-1", "A-1"])
    assert notary.apply(twice) == Failure(ResultCode.REFERENCE_NOT_IN_FORCE, 1)
    twice = payload("a", "b", action=SUPERSEDE, references=["A-1", "A-1"])
    assert notary.apply(twice) is None
    assert (notary.status().version, notary.status().digest) == (3, payload("b").digests)


def test_a_failing_operation_undoes_those_before_it() -> None:
    notary = Notary()
    notary.apply(one(RECORD, reference="A-2"))
    before = dict(notary.state)
    failing = payload("a", "b", references=["A-1", "A-2"])
    assert notary.apply(failing) == Failure(ResultCode.REFERENCE_IN_FORCE, 1)
    assert notary.state == before


def test_each_operation_is_found_at_its_own_place_in_the_log() -> None:
    notary = Notary()
    notary.apply(payload("a", "b", "c", references=["A-1", None, "A-3"]))
    assert notary.status().log_index == 10
    assert notary.status(reference_key("agency-1", "licence", "A-3")).log_index == 12


@pytest.mark.parametrize("standing", [0, 3, True])
def test_an_unknown_standing_is_refused(standing: object) -> None:
    with pytest.raises(DecodeError, match="reference standing"):
        ReferenceStatus.decode(encode([1, standing, 1, 1, 1, 1, 1, bytes(32)]))


@pytest.mark.parametrize(
    ("standing", "log_index", "withdrawn_index", "said"),
    [
        (1, 5, 4, "reference standing"),
        (2, 5, 4, "reference standing"),
        (4, 5, 4, "reference standing"),
        (3, 5, 5, "reference withdrawn index"),
        (3, 0, 0, "reference withdrawn index"),
        (3, 5, True, "reference withdrawn index"),
        (3, 5, None, "reference withdrawn index"),
    ],
)
def test_the_place_of_a_withdrawal_is_of_what_is_in_force_again_alone_and_before_it(
    standing: int, log_index: int, withdrawn_index: object, said: str
) -> None:
    digest = bytes(32)
    ReferenceStatus.decode(encode([1, 3, 3, 1, 1, 5, 1, digest, 4]))
    with pytest.raises(DecodeError, match=said):
        ReferenceStatus.decode(
            encode([1, standing, 3, 1, 1, log_index, 1, digest, withdrawn_index])
        )


def test_a_malformed_status_in_state_stops_the_node() -> None:
    notary = Notary()
    notary.state[KEY] = b"\x00"
    with pytest.raises(InvariantViolation, match="malformed reference status"):
        notary.apply(one(RECORD))
