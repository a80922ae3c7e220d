"""What a validator signed in an epoch and is on disk only after its end."""

from __future__ import annotations

from dataclasses import replace

from node.chain.block import CertifiedHeader
from node.chain.certificate import Phase, Subject, Vote
from node.chain.governance import SetParameters
from node.chain.membership import ValidatorSet
from node.consensus.messages import Proposal
from node.consensus.state import Stage
from node.execution.apply import ExecutedBlock
from node.execution.overlay import Overlay
from node.service.admission import check_signatures
from node.service.log_records import RecordType
from node.service.wire import Bodies
from tests.unit.execution.governed_chain import GOVERNED, GovernedChain, governed, governed_tx
from tests.unit.execution.small_chain import (
    CREATED_MS,
    certify,
    next_inputs,
    payload,
    signature_of,
    tx,
)
from tests.unit.service.lone import Lone
from tests.unit.service.pursuing import encodings, hashes

AHEAD = 2
"""The height above the barrier."""


def prepare(block: ExecutedBlock, validators: ValidatorSet, voter: int) -> Vote:
    """Return a PREPARE of view 0, cast when the chain was created."""
    subject = Subject(Phase.PREPARE, 0, block.header.height, block.digest)
    message = subject.sign_bytes(GOVERNED.chain_id, validators, CREATED_MS)
    signature = signature_of(f"validator-{voter + 1}", message)
    return Vote(subject, voter, CREATED_MS, signature, validators.epoch)


def proposal(block: ExecutedBlock, validators: ValidatorSet) -> Proposal:
    return Proposal(block.header, hashes(block), prepare(block, validators, 0))


def block_above(chain: GovernedChain, parent: ExecutedBlock, text: str) -> ExecutedBlock:
    state = Overlay(chain.state, parent)
    transaction = tx(payload(text), chain_id=GOVERNED.chain_id)
    return chain.executor.execute(state, next_inputs(state, step_ms=100), [transaction])


def barrier_of_view_1(chain: GovernedChain) -> ExecutedBlock:
    slower = replace(GOVERNED.parameters, view_timeout_ms=900)
    evidence = chain.statements("validator-1", "validator-2", "validator-3")
    change = governed_tx(governed(SetParameters(slower), evidence=evidence))
    inputs = next_inputs(chain.state, view=1, step_ms=950)
    return chain.executor.execute(chain.state, inputs, [change])


def test_a_vote_above_the_barrier_counts_for_nothing_in_the_epoch_that_follows() -> None:
    """A liar shows who is slow two blocks of view 0, then the barrier that view 1 had decided."""
    chain = GovernedChain()
    first = chain.execute(tx(payload("first"), chain_id=GOVERNED.chain_id), step_ms=900)
    second = block_above(chain, first, "second")
    barrier = barrier_of_view_1(chain)
    node = Lone(3, GOVERNED)
    for elapsed_ms, block in enumerate((first, second)):
        node.hear(0, proposal(block, GOVERNED.validators), elapsed_ms)
        node.admit(block.transactions[0], elapsed_ms)
    assert node.logged(RecordType.VOTE) == AHEAD

    node.hear(0, CertifiedHeader(barrier.header, certify(barrier, GOVERNED)), 2)
    node.hear(0, Bodies(barrier.digest, True, encodings(barrier)), 3)  # noqa: FBT003
    for job in node.engine.drain().jobs:
        node.engine.checked(job, check_signatures(job.candidates), node.at(4))
    assert (node.engine.height, node.engine.term.epoch.number) == (1, 1)
    node.said()
    node.make_durable(5)
    told = [message for message in node.said() if isinstance(message, Proposal | Vote)]
    assert [vote.epoch for vote in told if isinstance(vote, Vote)] == [0, 0]

    validators = node.engine.term.epoch.validators
    third = block_above(chain, barrier, "third")
    node.admit(third.transactions[0], 6)
    node.hear(0, proposal(third, validators), 7)
    node.make_durable(8)
    node.hear(1, prepare(third, validators, 1), 9)
    assert node.engine.core.stage(AHEAD) is Stage.COMMITTING, "its own PREPARE is one of three"
    assert node.engine.evidence == ()
