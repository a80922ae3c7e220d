"""Rights lost and given back on a running chain: at admission, in blocks, among validators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from node.chain.admission import Admission, AdmissionCode
from node.chain.block import ResultCode
from node.chain.certificate import Vote
from node.chain.governance import AddValidator, possession_bytes
from node.chain.identity import ChangeStatus, RotateIdentity, SetAuthorities, Status, Subject
from node.chain.transaction import VerifiedTransaction
from node.consensus.messages import Proposal
from node.crypto.suite import SHA_256
from node.service.queries import Queries
from node.timestamp.trust import TrustFile
from node.timestamp.verify import NamedDigest, Outcome, verify_receipt
from tests.unit.execution.governed_chain import (
    GOVERNED,
    adding,
    governed,
    governed_tx,
    statement,
    validator,
)
from tests.unit.execution.small_chain import CREATED_MS, payload, signer, tx
from tests.unit.execution.test_identity import OWN, certificate
from tests.unit.service.chatting import Chat, govern, notarize

FOUNDERS = ("validator-1", "validator-2", "validator-3", "validator-4")
FROZEN = ChangeStatus(Subject.IDENTITY, "agency-1", Status.FROZEN, "seal lost")


def asked(text: str, sender: str = "agency-1", key_of: str | None = None) -> VerifiedTransaction:
    return tx(
        payload(text),
        sender=sender,
        key_of=key_of,
        chain_id=GOVERNED.chain_id,
        not_after_ms=CREATED_MS + 600_000,
    )


def screened(chat: Chat, name: str, transaction: VerifiedTransaction) -> Admission | None:
    """Return what a validator's gate answers; None where it lets a transaction pass."""
    engine = chat.nodes[name].engine
    (verdict,) = engine.gate.screen([transaction.transaction.encoded], engine.reckon(chat.now))
    return verdict if isinstance(verdict, Admission) else None


def test_from_the_next_block_on_every_node_refuses_who_was_frozen_and_then_takes_it_again() -> None:
    chat = Chat(*FOUNDERS)
    assert govern(chat, FROZEN, members=()) is ResultCode.OK
    for name in FOUNDERS:
        refused = screened(chat, name, asked("x"))
        assert refused is not None
        assert refused.code is AdmissionCode.NOT_PERMITTED
        assert refused.message == "identity 'agency-1' is frozen since block 1: seal lost"
        assert screened(chat, name, asked("x", "agency-2")) is None
    back = ChangeStatus(Subject.IDENTITY, "agency-1", Status.ACTIVE, "")
    assert _again(chat, back) is ResultCode.OK
    assert [screened(chat, name, asked("x")) for name in FOUNDERS] == [None] * 4


def _again(chat: Chat, operation: ChangeStatus) -> ResultCode:
    transaction = governed_tx(governed(operation), nonce=77)
    chat.submit("validator-1", transaction)
    result = chat.nodes["validator-1"].ledger.result(transaction.transaction.tx_id)
    assert result is not None
    return result.code


def test_what_was_being_checked_as_its_sender_was_frozen_is_refused_and_holds_up_nobody() -> None:
    chat = Chat(*FOUNDERS)
    waiting = asked("being checked")
    assert screened(chat, "validator-1", waiting) is None
    assert govern(chat, FROZEN, members=()) is ResultCode.OK
    (answer,) = chat.nodes["validator-1"].engine.admit([waiting], chat.now, from_client=True)
    assert answer.code is AdmissionCode.NOT_PERMITTED
    notarize(chat, "nothing", at="validator-2")
    chat.pass_time(3_000)
    for node in chat.nodes.values():
        assert not node.ledger.has_transaction(waiting.transaction.tx_id)
        assert (node.engine.core.view, node.engine.mempool.pending_count) == (0, 0)


def test_a_frozen_validator_decides_no_more_and_an_auditor_follows_from_genesis_offline() -> None:
    chat = Chat(*FOUNDERS)
    first = asked("before")
    chat.submit("validator-1", first)
    freezing = ChangeStatus(Subject.IDENTITY, "validator-2", Status.FROZEN, "inspected")
    assert govern(chat, freezing, members=()) is ResultCode.EVIDENCE_MISSING
    chat.pass_time(1_000)
    remaining = ("validator-1", "validator-3", "validator-4")
    evidence = [statement(name, chat.nodes[name].ledger.header) for name in remaining]
    transaction = governed_tx(governed(freezing, evidence=evidence), nonce=5)
    chat.submit("validator-1", transaction)
    term = chat.nodes["validator-1"].engine.term
    assert term.epoch.number == 1
    assert [each.validator_id for each in term.epoch.validators.validators] == [*remaining]
    assert not chat.nodes["validator-2"].engine.term.is_member
    chat.away.append("validator-2")
    second = asked("after")
    chat.submit("validator-3", second)
    chat.pass_time(3_000)
    node = chat.nodes["validator-3"]
    queries = Queries(node.ledger, GOVERNED)
    anchor = TrustFile(chain_id=GOVERNED.chain_id, genesis=GOVERNED).establish()
    for known, text in ((first, "before"), (second, "after")):
        (receipt,) = queries.receipts(known.transaction.tx_id, 0, 1) or []
        digest = NamedDigest(SHA_256, payload(text).digests)
        assert verify_receipt(receipt.encode(), anchor, digest).outcome is Outcome.VERIFIED


def test_a_frozen_validator_that_returns_under_its_old_keys_follows_and_never_decides_again() -> (
    None
):
    chat = Chat(*FOUNDERS)
    chat.submit("validator-1", asked("before"))
    chat.away.append("validator-2")  # it was down when it was frozen, and hears of nothing
    remaining = ("validator-1", "validator-3", "validator-4")
    freezing = ChangeStatus(Subject.IDENTITY, "validator-2", Status.FROZEN, "inspected")
    assert govern(chat, freezing, members=remaining) is ResultCode.OK
    unfreezing = ChangeStatus(Subject.IDENTITY, "validator-2", Status.ACTIVE, "found again")
    assert govern(chat, unfreezing, members=()) is ResultCode.OK
    chat.submit("validator-3", asked("meanwhile"))

    chat.away.remove("validator-2")
    heard_before = len(chat.said)
    chat.restart("validator-2")  # under the keys and the log of its old epoch
    chat.pass_time(5_000)
    back = chat.nodes["validator-2"].engine
    assert back.height == chat.nodes["validator-1"].engine.height
    assert (back.term.epoch.number, back.term.is_member) == (1, False)
    chat.submit("validator-4", asked("after"))
    chat.pass_time(1_000)
    assert back.height == chat.nodes["validator-1"].engine.height
    votes = [
        message
        for name, message in chat.said[heard_before:]
        if name == "validator-2" and isinstance(message, Vote | Proposal)
    ]
    assert [each for each in votes if _epoch_of(each) == 1] == []
    assert not any(node.engine.accused for node in chat.nodes.values())

    everybody = (*remaining, "validator-2")
    same_name, same_keys = adding("validator-2", "org-2"), renamed("validator-2.2")
    for operation, refused in (
        (same_name, ResultCode.NAME_TAKEN),
        (same_keys, ResultCode.KEY_TAKEN),
    ):
        assert _decide(chat, operation, members=everybody) is refused
    anew = adding("validator-2.2", "org-2")
    evidence = [*remaining, "validator-2.2"]
    assert _decide(chat, anew, members=evidence) is ResultCode.OK
    term = chat.nodes["validator-1"].engine.term
    assert [each.validator_id for each in term.epoch.validators.validators] == evidence


def _epoch_of(message: Vote | Proposal) -> int:
    vote = message.vote if isinstance(message, Proposal) else message
    return vote.epoch


def renamed(name: str) -> AddValidator:
    """Return the operation that adds validator-2 again, its keys under another name."""
    joining = replace(validator("validator-2", "org-2"), validator_id=name)
    proof = signer("validator-2").sign(possession_bytes(GOVERNED.chain_id, joining))
    return AddValidator(joining, proof)


def _decide(chat: Chat, operation: AddValidator, *, members: Sequence[str]) -> ResultCode:
    """Have something decided in epoch 1, and return its outcome."""
    header = chat.nodes["validator-1"].ledger.header
    evidence = [statement(name, header) for name in members]
    payload = governed(operation, epoch=1, evidence=evidence)
    transaction = governed_tx(payload, nonce=100 + header.height)
    chat.submit("validator-1", transaction)
    result = chat.nodes["validator-1"].ledger.result(transaction.transaction.tx_id)
    assert result is not None
    return result.code


def test_what_was_checked_under_a_key_that_was_rotated_is_refused_and_holds_up_nobody() -> None:
    """Accepted, it would wait at all who propose nothing, who would end one view after another."""
    chat = Chat(*FOUNDERS)
    rotation = RotateIdentity(
        "agency-1", certificate(OWN, "agency-1"), signer("new key").public_key.encoded, 0, ""
    )
    authorities = SetAuthorities("org-1", (OWN.certificate,), "")
    assert govern(chat, authorities, rotation, members=()) is ResultCode.OK
    outdated = asked("under the old key")
    for node in chat.nodes.values():  # it was checked before the block came
        (answer,) = node.engine.admit([outdated], chat.now, from_client=True)
        assert answer.code is AdmissionCode.BAD_SIGNATURE
    fresh = asked("under the new key", key_of="new key")
    chat.submit("validator-2", fresh)
    chat.pass_time(3_000)
    for node in chat.nodes.values():
        result = node.ledger.result(fresh.transaction.tx_id)
        assert result is not None
        assert result.code is ResultCode.OK
        assert not node.ledger.has_transaction(outdated.transaction.tx_id)
        assert (node.engine.core.view, node.engine.mempool.pending_count) == (0, 0)
