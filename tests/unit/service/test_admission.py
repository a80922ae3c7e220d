"""Signatures of transactions are checked many at once, under whatever keys, each for itself."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from node.chain.admission import Admission, AdmissionCode
from node.chain.record import RecordAction
from node.chain.transaction import Transaction
from node.crypto.key_tables import Signed, verify_many
from node.crypto.signature import PublicKey
from node.service import admission
from node.service.admission import Candidate, Gate, check_signatures
from node.service.effort import Effort
from node.service.reckoning import Reckoning
from tests.unit.execution.small_chain import CREATED_MS, GENESIS, payload, signer, tx


def candidate(sender: str, document: str) -> Candidate:
    return Candidate(tx(payload(document), sender=sender).transaction, signer(sender).public_key)


def spoilt(transaction: Transaction) -> Transaction:
    return replace(transaction, signature=bytes((transaction.signature[0] ^ 1,)) + bytes(63))


def test_verdicts_come_in_the_order_of_candidates_with_the_key_they_hold_under() -> None:
    senders = ["agency-1", "agency-2", "agency-1", "agency-2", "agency-1"]
    offered = [candidate(sender, f"document {n}") for n, sender in enumerate(senders)]
    offered[1] = replace(offered[1], transaction=spoilt(offered[1].transaction))
    offered[4] = replace(offered[4], key=signer("agency-2").public_key)
    first, second, third, fourth, fifth = check_signatures(offered)
    assert second is None
    assert fifth is None
    for verdict, place in ((first, 0), (third, 2), (fourth, 3)):
        assert verdict is not None
        assert verdict.transaction is offered[place].transaction
        assert verdict.sender_key == offered[place].key.encoded
    assert check_signatures([]) == []


def test_signatures_under_one_key_are_checked_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def noting(key: PublicKey, signed: list[Signed]) -> list[bool]:
        calls.append(len(signed))
        return verify_many(key, signed)

    monkeypatch.setattr(admission, "verify_many", noting)
    senders = ["agency-1", "agency-2"] * 3
    check_signatures([candidate(sender, f"document {n}") for n, sender in enumerate(senders)])
    assert calls == [3, 3]


@pytest.mark.parametrize(
    ("action", "reference", "code"),
    [
        (RecordAction.RECORD, "case-1", AdmissionCode.ACCEPTED),
        (RecordAction.RECORD, "case-11010519491231002X", AdmissionCode.NOT_PERMITTED),
        (RecordAction.RECORD, "case-110105194912310021", AdmissionCode.ACCEPTED),
        (RecordAction.SUPERSEDE, "11010519491231002X", AdmissionCode.ACCEPTED),
        (RecordAction.WITHDRAW, "11010519491231002X", AdmissionCode.ACCEPTED),
    ],
)
def test_a_first_record_whose_reference_names_a_person_is_not_admitted(
    action: RecordAction, reference: str, code: AdmissionCode
) -> None:
    """What is there already can be replaced and withdrawn still."""
    gate = Gate(
        GENESIS,
        key_of=lambda name: signer(name).public_key.encoded,
        why_barred=lambda _name: None,
        is_pending=lambda _tx_id: False,
        is_final=lambda _tx_id: False,
        effort=Effort(),
    )
    named = payload("a", "b", action=action, references=["other", reference])
    encoded = tx(named).transaction.encoded
    (verdict,) = gate.screen([encoded], Reckoning(CREATED_MS, CREATED_MS))
    if code is AdmissionCode.ACCEPTED:
        assert isinstance(verdict, Candidate)
    else:
        assert isinstance(verdict, Admission)
        assert verdict.code is code
        assert "reference 1" in verdict.message
        assert "1949" not in verdict.message
