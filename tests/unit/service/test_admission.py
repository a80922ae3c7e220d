"""Signatures of transactions are checked many at once, under whatever keys, each for itself."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from node.chain.transaction import Transaction
from node.crypto.key_tables import Signed, verify_many
from node.crypto.signature import PublicKey
from node.service import admission
from node.service.admission import Candidate, check_signatures
from tests.unit.execution.small_chain import payload, signer, tx


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
