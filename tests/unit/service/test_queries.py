"""What can be asked of the committed chain, over a real ledger in memory."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from node.chain.block import CertifiedHeader, Header, ResultCode
from node.chain.certificate import QuorumCertificate
from node.chain.governance import SetParameters
from node.chain.record import RecordAction
from node.chain.reference import ReferenceName
from node.chain.transaction import VerifiedTransaction
from node.crypto.signature import Signer
from node.crypto.suite import SHA_256
from node.errors import ClientError, InvariantViolation, StorageError
from node.service.queries import BLOCKS_REMEMBERED, Queries, RecordStatus
from node.storage import keys
from node.storage.checkpoints import CheckpointStore, KeptCheckpoint
from node.storage.kv import WriteBatch
from node.storage.ledger import LedgerStore, RecordQuery
from node.storage.memory import MemoryStore
from node.timestamp.consistency import verify_consistency_proof
from node.timestamp.cose import CoseSignature, sign_root
from node.timestamp.history import follow_handovers
from node.timestamp.refreshed import RefreshedReceipt
from node.timestamp.standing import Fate, verify_standing
from node.timestamp.trust import TrustFile
from node.timestamp.verify import NamedDigest, Outcome, verify_receipt
from tests.unit.execution.governed_chain import GOVERNED
from tests.unit.execution.small_chain import GENESIS, SmallChain, certify, payload, signer, tx
from tests.unit.service.chatting import Chat, govern, notarize

ANCHOR = TrustFile(chain_id=GENESIS.chain_id, genesis=GENESIS).establish()


class Chain:
    """A chain whose blocks also go into a ledger."""

    def __init__(self) -> None:
        self._small = SmallChain()
        genesis_block = self._small.executor.genesis_block()
        self.ledger = LedgerStore.open(MemoryStore(), GENESIS.suite, genesis_block)
        self.queries = Queries(self.ledger, GENESIS)

    def commit(self, *transactions: VerifiedTransaction) -> None:
        executed = self._small.commit(*transactions)
        self.ledger.commit([(executed, certify(executed))], sync=False)

    def status(self, document: str) -> RecordStatus:
        """Return the status of the latest record of a document."""
        digest = payload(document).digests
        page = self.queries.records(RecordQuery(digest=digest), limit=10, start=0)
        return self.queries.status_of(page.records[-1])


@pytest.fixture
def chain() -> Chain:
    return Chain()


def test_every_receipt_of_a_batch_verifies(chain: Chain) -> None:
    first, second = tx(payload("a")), tx(payload("b", "c", "d"))
    chain.commit(first, second)
    chain.commit(tx(payload("e")))
    receipts = chain.queries.receipts(second.transaction.tx_id, 0, 10)
    assert receipts is not None
    assert [receipt.leaf.operation_index for receipt in receipts] == [0, 1, 2]
    for document, receipt in zip("bcd", receipts, strict=True):
        digest = NamedDigest(SHA_256, payload(document).digests)
        assert verify_receipt(receipt.encode(), ANCHOR, digest).outcome is Outcome.VERIFIED


def test_a_validator_of_the_epoch_makes_its_receipts_cose_receipts_too(chain: Chain) -> None:
    batch = tx(payload("b", "c"))
    chain.commit(batch)
    chain.commit(tx(payload("d")))
    for name, signs in (("validator-3", True), ("an observer", False)):
        queries = Queries(chain.ledger, GENESIS, signer(name))
        receipts = queries.receipts(batch.transaction.tx_id, 0, 2) or []
        receipts += queries.receipts(batch.transaction.tx_id, 0, 2) or []
        later = queries.receipt_of_digest(payload("d").digests)
        assert later is not None
        for document, receipt in zip("bcbcd", [*receipts, later], strict=True):
            assert (receipt.cose is not None) is signs
            digest = NamedDigest(SHA_256, payload(document).digests)
            assert verify_receipt(receipt.encode(), ANCHOR, digest).outcome is Outcome.VERIFIED


def test_one_signature_serves_all_receipts_of_a_block(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed: list[bytes] = []

    def noting(chain_id: bytes, root: bytes, key: Signer) -> CoseSignature:
        signed.append(root)
        return sign_root(chain_id, root, key)

    monkeypatch.setattr("node.service.queries.sign_root", noting)
    batch = tx(payload("b", "c"))
    chain.commit(batch)
    queries = Queries(chain.ledger, GENESIS, signer("validator-3"))
    for operation in range(2):
        assert queries.receipts(batch.transaction.tx_id, operation, 1)
    assert signed == [chain.ledger.header.log_roots[0]]


@pytest.mark.parametrize(
    ("more", "epoch", "is_taken"), [(0, 0, True), (1, 0, True), (-1, 0, False), (0, 1, False)]
)
def test_a_receipt_takes_along_a_checkpoint_of_its_epoch_that_covers_its_block(
    chain: Chain, more: int, epoch: int, *, is_taken: bool
) -> None:
    batch = tx(payload("a"))
    chain.commit(batch)
    size = chain.ledger.header.log_size
    chain.commit(tx(payload("later")))
    checkpoints = CheckpointStore(MemoryStore())
    queries = Queries(chain.ledger, GENESIS, None, checkpoints)

    def taken() -> list[bytes]:
        receipts = queries.receipts(batch.transaction.tx_id, 0, 1) or []
        return [each.checkpoint.note for each in receipts if each.checkpoint is not None]

    assert taken() == []
    checkpoints.keep(KeptCheckpoint(size + more, epoch, b"note"))
    assert taken() == ([b"note"] if is_taken else [])


def test_a_receipt_of_an_ended_epoch_takes_along_the_last_checkpoint_of_that() -> None:
    chat = Chat("validator-1", "validator-2", "validator-3", "validator-4")
    notarize(chat, "old")
    change = SetParameters(replace(GOVERNED.parameters, view_timeout_ms=900))
    assert govern(chat, change, members=tuple(chat.nodes)) is ResultCode.OK
    notarize(chat, "new")
    ledger = chat.nodes["validator-1"].ledger
    barrier, first = (ledger.header_at(height) for height in (2, 3))
    assert barrier is not None
    assert first is not None
    checkpoints = CheckpointStore(MemoryStore())
    for (header, _), note in ((barrier, b"last"), (first, b"first")):
        checkpoints.keep(KeptCheckpoint(header.log_size, header.epoch, note))
    queries = Queries(ledger, GOVERNED, None, checkpoints)
    for document, note in (("old", b"last"), ("new", b"first")):
        receipt = queries.receipt_of_digest(payload(document).digests)
        assert receipt is not None
        assert receipt.checkpoint is not None
        assert receipt.checkpoint.note == note


def test_receipts_are_cut_at_the_limit_and_at_the_end(chain: Chain) -> None:
    batch = tx(payload("b", "c", "d"))
    chain.commit(batch)

    def operations(first: int, limit: int) -> list[int]:
        receipts = chain.queries.receipts(batch.transaction.tx_id, first, limit)
        assert receipts is not None
        return [receipt.leaf.operation_index for receipt in receipts]

    assert operations(1, 1) == [1]
    assert operations(1, 9) == [1, 2]
    assert operations(3, 9) == []


def test_there_is_no_receipt_of_what_failed_or_never_was(chain: Chain) -> None:
    failed = tx(payload("x"), sender="auditor-1")
    chain.commit(failed)
    assert chain.queries.receipts(failed.transaction.tx_id, 0, 1) is None
    assert chain.queries.receipts(bytes(32), 0, 1) is None
    assert chain.queries.receipt_of_digest(payload("x").digests) is None


def test_the_receipt_of_a_digest_is_that_of_its_earliest_record(chain: Chain) -> None:
    chain.commit(tx(payload("a")))
    chain.commit(tx(payload("b", "a")))
    receipt = chain.queries.receipt_of_digest(payload("a").digests)
    assert receipt is not None
    assert receipt.leaf.height == 1


def test_the_receipt_of_a_digest_is_found_behind_many_that_begin_alike(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.storage.ledger.RECORDS_EXAMINED_MAX", 2)
    wanted = payload("a")
    alike = b"".join(wanted.digests[:8] + bytes((number,)) * 24 for number in range(7))
    chain.commit(tx(msgspec.structs.replace(wanted, digests=alike)), tx(wanted))
    receipt = chain.queries.receipt_of_digest(wanted.digests)
    assert receipt is not None
    assert receipt.log_index == 8


def test_final_results_say_where_and_how(chain: Chain) -> None:
    good, bad = tx(payload("a", "b")), tx(payload("c"), sender="auditor-1")
    chain.commit(good, bad)
    result = chain.queries.final_result(bad.transaction.tx_id)
    assert result is not None
    assert (result.code, result.height) == (ResultCode.NOT_PERMITTED, 1)
    assert chain.queries.final_result(bytes(32)) is None
    found = chain.queries.transaction(good.transaction.tx_id)
    assert found is not None
    assert (found.height, found.index, found.result.log_index) == (1, 0, 1)
    assert found.transaction == good.transaction
    assert chain.queries.transaction(bytes(32)) is None


def test_a_record_is_in_force_until_superseded_or_withdrawn(chain: Chain) -> None:
    chain.commit(tx(payload("plain")), tx(payload("one", references=["R"])))
    assert chain.status("plain") is RecordStatus.NONE
    assert chain.status("one") is RecordStatus.IN_FORCE
    chain.commit(tx(payload("two", references=["R"], action=RecordAction.SUPERSEDE)))
    assert chain.status("one") is RecordStatus.SUPERSEDED
    assert chain.status("two") is RecordStatus.IN_FORCE
    chain.commit(tx(payload("end", references=["R"], action=RecordAction.WITHDRAW)))
    assert chain.status("two") is RecordStatus.WITHDRAWN
    chain.commit(tx(payload("anew", references=["R"])))
    assert chain.status("two") is RecordStatus.WITHDRAWN
    chain.commit(tx(payload("newer", references=["R"], action=RecordAction.SUPERSEDE)))
    statuses = [chain.status(each) for each in ("one", "end", "anew", "newer")]
    withdrawn = RecordStatus.WITHDRAWN
    assert statuses == [withdrawn, withdrawn, RecordStatus.SUPERSEDED, RecordStatus.IN_FORCE]


def test_the_standing_of_a_reference_is_proved_at_the_tip(chain: Chain) -> None:
    name = ReferenceName("agency-1", "licence", "R")
    assert chain.queries.standing_proof(name) is None, "genesis is not certified"
    fates = []
    for transaction in (
        tx(payload("plain")),
        tx(payload("one", references=["R"])),
        tx(payload("two", references=["R"], action=RecordAction.SUPERSEDE)),
        tx(payload("end", references=["R"], action=RecordAction.WITHDRAW)),
    ):
        chain.commit(transaction)
        proof = chain.queries.standing_proof(name)
        assert proof is not None
        found = verify_standing(proof.encode(), ANCHOR, name).attestation
        assert found is not None
        assert found.height == chain.ledger.tip_height
        fates.append((found.fate, 0 if found.status is None else found.status.version))
    assert fates == [
        (Fate.ABSENT, 0),
        (Fate.IN_FORCE, 1),
        (Fate.IN_FORCE, 2),
        (Fate.WITHDRAWN, 3),
    ]


def test_any_two_heights_are_joined_up_to_the_tip(chain: Chain) -> None:
    for number in range(5):
        chain.commit(tx(payload(f"{number}")))
    for old, new in ((1, 2), (1, 5), (4, 5), (3, None)):
        proof = chain.queries.consistency_proof(old, new)
        assert proof is not None
        found = verify_consistency_proof(proof.encode(), ANCHOR).attestation
        assert found is not None
        assert (found.old.height, found.new.height) == (old, new or 5)
    assert chain.queries.consistency_proof(1, 6) is None
    for old, new in ((0, 5), (2, 2), (3, 2), (5, None)):
        with pytest.raises(ClientError, match="expected two that rise"):
            chain.queries.consistency_proof(old, new)


def test_a_receipt_is_joined_to_the_newest_block_when_the_old_blocks_are_archived() -> None:
    """Of old blocks a node then keeps headers and the tiles of the log: that is enough."""
    chat = Chat("validator-1", "validator-2", "validator-3", "validator-4")
    notarize(chat, "old")
    queries = Queries(chat.nodes["validator-1"].ledger, GOVERNED)
    old = queries.receipt_of_digest(payload("old").digests)
    assert old is not None
    for epoch in range(2):
        change = SetParameters(replace(GOVERNED.parameters, view_timeout_ms=900 - epoch))
        assert govern(chat, change, members=tuple(chat.nodes)) is ResultCode.OK
        notarize(chat, f"after epoch {epoch}")
    ledger, store = chat.nodes["validator-1"].ledger, chat.nodes["validator-1"].store
    archived = WriteBatch()
    for height in range(1, ledger.tip_height):
        archived.delete(keys.body(height))
    store.write(archived, sync=True)
    with pytest.raises(StorageError):
        ledger.block(1)
    queries = Queries(ledger, GOVERNED)  # one that remembers no block
    joined = queries.consistency_proof(old.block.header.height, None)
    assert joined is not None
    pinned = CertifiedHeader(*certified_tip(ledger))
    trust = TrustFile(
        chain_id=GOVERNED.chain_id,
        genesis=GOVERNED,
        handovers=queries.handovers(pinned.header.epoch),
        pinned=pinned,
    ).establish()
    digest = NamedDigest(SHA_256, payload("old").digests)
    assert verify_receipt(old.encode(), trust, digest).outcome is Outcome.NOT_ROOTED
    refreshed = RefreshedReceipt(old, joined).encode()
    assert verify_receipt(refreshed, trust, digest).outcome is Outcome.VERIFIED


def certified_tip(ledger: LedgerStore) -> tuple[Header, QuorumCertificate]:
    header, certificate = ledger.header_at(ledger.tip_height) or (None, None)
    assert header is not None
    assert certificate is not None
    return header, certificate


def test_headers_come_with_their_certificate_and_genesis_without(chain: Chain) -> None:
    chain.commit(tx(payload("a")))
    genesis, block = chain.queries.header(0), chain.queries.header(1)
    assert genesis is not None
    assert genesis[1] is None
    assert block is not None
    assert block[1] is not None
    assert chain.queries.header(2) is None
    assert chain.queries.block(2) is None


def test_few_blocks_are_remembered(chain: Chain) -> None:
    for number in range(BLOCKS_REMEMBERED + 1):
        chain.commit(tx(payload(f"{number}")))
    first = chain.queries.block(1)
    assert chain.queries.block(1) is first
    for height in range(2, BLOCKS_REMEMBERED + 1):
        chain.queries.block(height)
    assert chain.queries.block(1) is first
    chain.queries.block(BLOCKS_REMEMBERED + 1)
    assert chain.queries.block(1) is not first


def test_what_the_ledger_has_no_rules_for_stops_who_asks(chain: Chain) -> None:
    chain.commit(tx(payload("a")))
    with pytest.raises(InvariantViolation, match="no handover to epoch 1"):
        chain.queries.handovers(1)
    header, _ = certified_tip(chain.ledger)
    assert chain.queries.parameters_at(header) == GENESIS.parameters
    with pytest.raises(InvariantViolation, match="no parameters are those that header 1 names"):
        chain.queries.parameters_at(replace(header, parameters_digest=bytes(32)))


def test_the_standing_of_a_state_key_is_not_proved_at_genesis(chain: Chain) -> None:
    key = ReferenceName("agency-1", "licence", "R").key
    assert chain.queries.state_value_proof(key) is None
    chain.commit(tx(payload("a", references=["R"])))
    assert chain.queries.state_value_proof(key) is not None


def test_handovers_come_from_any_epoch_on_and_end_at_the_tip() -> None:
    chat = Chat("validator-1", "validator-2", "validator-3", "validator-4")
    notarize(chat, "first")
    ledger = chat.nodes["validator-1"].ledger
    queries = Queries(ledger, GOVERNED)
    assert queries.handovers_from(0, 9) == ()
    for epoch in range(3):
        change = SetParameters(replace(GOVERNED.parameters, view_timeout_ms=900 - epoch))
        assert govern(chat, change, members=tuple(chat.nodes)) is ResultCode.OK
    found = queries.handovers_from(0, 9)
    assert [each.next_set.epoch for each in found] == [1, 2, 3]
    sets = follow_handovers(GOVERNED.chain_id, GOVERNED.validators, found)
    assert sets[-1].epoch == 3
    assert queries.handovers_from(1, 1) == found[1:2]
    assert queries.handovers_from(2, 9) == found[2:]
    assert queries.handovers_from(3, 9) == queries.handovers_from(2**63, 9) == ()
