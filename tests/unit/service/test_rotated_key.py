"""What waits in a pool when the key it is signed under is rotated."""

from __future__ import annotations

from node.chain.block import CertifiedBlock
from node.chain.certificate import Phase, Subject, Vote
from node.chain.identity import RotateIdentity, SetAuthorities
from node.consensus.messages import Proposal
from node.execution.apply import ExecutedBlock
from node.service.wire import Blocks
from tests.unit.execution.governed_chain import GOVERNED, GovernedChain, governed, governed_tx
from tests.unit.execution.small_chain import (
    CREATED_MS,
    certify,
    payload,
    signature_of,
    signer,
    tx,
)
from tests.unit.execution.test_identity import OWN, certificate
from tests.unit.service.lone import Lone


def rotation() -> ExecutedBlock:
    """Return a block that gives an agency another key."""
    fresh = signer("new key").public_key.encoded
    return GovernedChain().execute(
        governed_tx(
            governed(
                SetAuthorities("org-1", (OWN.certificate,), ""),
                RotateIdentity("agency-1", certificate(OWN, "agency-1"), fresh, 0, ""),
            )
        )
    )


def certified(block: ExecutedBlock) -> CertifiedBlock:
    transactions = tuple(verified.transaction for verified in block.transactions)
    return CertifiedBlock(block.header, transactions, certify(block, GOVERNED))


def test_who_proposes_nothing_waits_for_nothing_that_no_block_can_hold() -> None:
    """Else it would take the primary for idle, and end its view."""
    node = Lone(3, GOVERNED)
    of_the_old_key = tx(payload("paper"), chain_id=GOVERNED.chain_id)
    of_another = tx(payload("other"), sender="agency-2", chain_id=GOVERNED.chain_id)
    node.admit(of_the_old_key, 0)
    node.admit(of_another, 0)
    peer = node.ask_for_blocks(1)
    node.hear(peer, Blocks(1, (certified(rotation()).encode(),)), 1)
    assert node.engine.height == 1
    assert node.engine.drain().expired == [of_the_old_key.transaction.tx_id]
    pool = node.engine.mempool
    assert not pool.is_pending(of_the_old_key.transaction.tx_id)
    assert pool.is_pending(of_another.transaction.tx_id)


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
