"""What waits in a pool, or soon would, when its sender loses its key or its rights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from node.chain import identity
from node.chain.admission import AdmissionCode
from node.chain.block import CertifiedBlock, CertifiedHeader
from node.chain.certificate import Phase, Subject, Vote
from node.chain.governance import Operation, SetParameters
from node.chain.identity import ChangeStatus, RotateIdentity, SetAuthorities, Status
from node.consensus.messages import Proposal
from node.execution.apply import ExecutedBlock
from node.service.admission import check_signatures
from node.service.log_records import BlockRecord, decode_log_record
from node.service.wire import Blocks, Transactions
from tests.unit.execution.governed_chain import GOVERNED, GovernedChain, governed, governed_tx
from tests.unit.execution.small_chain import (
    CREATED_MS,
    certify,
    certify_header,
    payload,
    signature_of,
    signer,
    tx,
)
from tests.unit.execution.test_identity import OWN, certificate
from tests.unit.service.lone import Lone

ROTATION = (
    SetAuthorities("org-1", (OWN.certificate,), ""),
    RotateIdentity(
        "agency-1", certificate(OWN, "agency-1"), signer("new key").public_key.encoded, 0, ""
    ),
)
FREEZING = (ChangeStatus(identity.Subject.IDENTITY, "agency-1", Status.FROZEN, "seal lost"),)
CHANGES = pytest.mark.parametrize("change", [ROTATION, FREEZING], ids=["rotated", "frozen"])


def rotation() -> ExecutedBlock:
    """Return a block that gives an agency another key."""
    return changed_by(ROTATION)


def changed_by(operations: Sequence[Operation]) -> ExecutedBlock:
    return GovernedChain().execute(governed_tx(governed(*operations)))


def certified(block: ExecutedBlock) -> CertifiedBlock:
    transactions = tuple(verified.transaction for verified in block.transactions)
    return CertifiedBlock(block.header, transactions, certify(block, GOVERNED))


@CHANGES
def test_who_proposes_nothing_waits_for_nothing_that_the_others_do_not_take(
    change: Sequence[Operation],
) -> None:
    """Else it would take the primary for idle, and end its view."""
    node = Lone(3, GOVERNED)
    of_the_agency = tx(payload("paper"), chain_id=GOVERNED.chain_id)
    of_another = tx(payload("other"), sender="agency-2", chain_id=GOVERNED.chain_id)
    node.admit(of_the_agency, 0)
    node.admit(of_another, 0)
    peer = node.ask_for_blocks(1)
    node.hear(peer, Blocks(1, (certified(changed_by(change)).encode(),)), 1)
    assert node.engine.height == 1
    assert node.engine.drain().expired == [of_the_agency.transaction.tx_id]
    pool = node.engine.mempool
    assert not pool.is_pending(of_the_agency.transaction.tx_id)
    assert pool.is_pending(of_another.transaction.tx_id)


@CHANGES
def test_nor_for_what_was_being_checked_then(change: Sequence[Operation]) -> None:
    node = Lone(3, GOVERNED)
    of_the_agency = tx(payload("paper"), chain_id=GOVERNED.chain_id)
    node.hear(1, Transactions((of_the_agency.transaction.encoded,)), 0)
    (job,) = node.engine.drain().jobs
    peer = node.ask_for_blocks(1)
    node.hear(peer, Blocks(1, (certified(changed_by(change)).encode(),)), 1)
    node.engine.checked(job, check_signatures(job.candidates), node.at(2))
    assert node.engine.mempool.pending_count == 0


def test_nor_for_what_was_checked_when_blocks_were_larger() -> None:
    chain = GovernedChain()
    smaller = replace(GOVERNED.parameters, block_bytes_max=4_096, block_txs_max=1)
    evidence = chain.statements("validator-1", "validator-2", "validator-3")
    barrier = chain.execute(governed_tx(governed(SetParameters(smaller), evidence=evidence)))
    large = tx(payload(*(f"{n}" for n in range(200))), chain_id=GOVERNED.chain_id)
    assert len(large.transaction.encoded) > smaller.block_bytes_max
    node = Lone(3, GOVERNED)
    peer = node.ask_for_blocks(1)
    node.hear(peer, Blocks(1, (certified(barrier).encode(),)), 1)
    assert node.engine.term.epoch.number == 1
    (answer,) = node.engine.admit([large], node.at(2), from_client=True)
    assert answer.code is AdmissionCode.NOT_PERMITTED
    assert node.engine.mempool.pending_count == 0


def test_who_proposes_leaves_out_what_the_block_under_way_would_make_void_and_keeps_it() -> None:
    """That block may be dropped, with the new key in it: nobody is told that anything expired."""
    primary = Lone(0, GOVERNED)
    rotating = rotation()
    primary.admit(rotating.transactions[0], 0)
    of_the_old_key = tx(payload("paper"), chain_id=GOVERNED.chain_id)
    of_another = tx(payload("other"), sender="agency-2", chain_id=GOVERNED.chain_id)
    primary.engine.admit([of_the_old_key, of_another], primary.at(1), from_client=True)
    size = GOVERNED.suite.signature_size
    records = [decode_log_record(kind, data, size) for kind, data in primary.log.records]
    blocks = [each for each in records if isinstance(each, BlockRecord)]
    assert [each.transactions for each in blocks] == [
        (rotating.transactions[0].transaction.encoded,),
        (of_another.transaction.encoded,),
    ]
    tx_id = of_the_old_key.transaction.tx_id
    assert primary.engine.drain().expired == []
    assert primary.engine.mempool.is_pending(tx_id)
    header = blocks[0].header
    primary.hear(1, CertifiedHeader(header, certify_header(header, GOVERNED)), 2)
    assert primary.engine.height == 1
    assert primary.engine.drain().expired == [tx_id]


def test_nor_for_what_a_block_held_that_was_left_behind() -> None:
    node = Lone(3, GOVERNED)
    of_the_old_key = tx(payload("paper"), chain_id=GOVERNED.chain_id)
    node.admit(of_the_old_key, 0)
    left_behind = GovernedChain().execute(of_the_old_key)
    subject = Subject(Phase.PREPARE, 0, 1, left_behind.digest)
    message = subject.sign_bytes(GOVERNED.chain_id, GOVERNED.validators, CREATED_MS)
    prepare = Vote(subject, 0, CREATED_MS, signature_of("validator-1", message), 0)
    tx_hashes = (of_the_old_key.transaction.tx_hash,)
    node.hear(0, Proposal(left_behind.header, tx_hashes, prepare), 1)
    pool = node.engine.mempool
    assert pool.slots
    peer = node.ask_for_blocks(2)
    node.hear(peer, Blocks(1, (certified(rotation()).encode(),)), 2)
    assert node.engine.height == 1
    assert not pool.slots
    assert not pool.is_pending(of_the_old_key.transaction.tx_id)
