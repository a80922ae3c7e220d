"""What the trust file does not lead to, and handovers that do not hold: step 6."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from node.chain.block import CertifiedHeader
from node.chain.certificate import Phase
from node.timestamp.history import Handover
from node.timestamp.receipt import Receipt
from node.timestamp.verify import Outcome, Step
from tests.vectors.receipt.case import GENESIS, OTHER_CHAIN, PINNED_7, Case, fails
from tests.vectors.receipt.chain import Chain, seed, validator_set
from tests.vectors.receipt.story import (
    FIRST_OF_EPOCH_1,
    FIRST_OF_EPOCH_2,
    FORGED,
    PLAIN,
    SET_0,
    SET_1,
    SET_2,
    block_alone,
    hand_over,
    posing,
    receipt_alone,
    with_signature,
)

FORGED_SET_1 = validator_set(1, FORGED)


def unrooted_cases(chain: Chain) -> Iterator[Case]:
    """Yield what the trust file does not lead to, and handovers that do not hold."""
    yield from _without_root(chain)
    yield from _wrong_lists(chain)
    yield from _wrong_handovers(chain)
    yield from _wrong_in_one_rule(chain)


def _without_root(chain: Chain) -> Iterator[Case]:
    first, second = chain.receipt(FIRST_OF_EPOCH_1, 1), chain.receipt(FIRST_OF_EPOCH_2, 1)
    plain = chain.receipt(PLAIN, 1)

    def unrooted(name: str, about: str, receipt: Receipt, trust: str, reason: str) -> Case:
        case = fails(Step.ROOT, name, about, receipt, reason, trust=trust)
        return replace(case, outcome=Outcome.NOT_ROOTED)

    yield unrooted("other-chain", "trust in another chain", plain, OTHER_CHAIN, "expected chain")
    yield unrooted(
        "retired-epoch", "epoch 0, but epoch 1 is pinned", plain, PINNED_7, "expected epoch 1 or"
    )
    alone = replace(first, handovers=())
    reason = "expected handovers from"
    yield unrooted("handovers-none", "epoch 1 without a handover", alone, GENESIS, reason)
    rest = replace(second, handovers=second.handovers[1:])
    yield unrooted("handover-first-missing", "from epoch 1 only", rest, GENESIS, reason)
    skipping = replace(second, handovers=())
    yield unrooted("handovers-none-pinned", "epoch 2, 1 is pinned", skipping, PINNED_7, reason)


def _wrong_lists(chain: Chain) -> Iterator[Case]:
    first, second = chain.receipt(FIRST_OF_EPOCH_1, 1), chain.receipt(FIRST_OF_EPOCH_2, 1)
    handover, following = second.handovers

    def listed(name: str, about: str, handovers: Sequence[Handover], reason: str) -> Case:
        changed = replace(second, handovers=tuple(handovers))
        return fails(Step.ROOT, name, about, changed, reason)

    yield listed("handover-last-missing", "not as far as epoch 2", [handover], "handover-last")
    yield listed(
        "handover-repeated",
        "the first one twice",
        [handover, handover, following],
        "certificate-set",
    )
    skipping = Handover(following.block, validator_set(3, (2, 3, 4, 5)))
    yield listed(
        "handover-middle-missing", "epochs 0 and 2", [handover, skipping], "handover-epoch"
    )
    extra = replace(first, handovers=second.handovers)
    yield fails(
        Step.ROOT, "handover-beyond", "further than the receipt's epoch", extra, "handover-last"
    )


def _wrong_handovers(chain: Chain) -> Iterator[Case]:
    second = chain.receipt(FIRST_OF_EPOCH_2, 1)
    handover, following = second.handovers
    header, certificate = handover.block.header, handover.block.certificate

    def broken(name: str, about: str, first: Handover, reason: str) -> Case:
        changed = replace(second, handovers=(first, following))
        return fails(Step.ROOT, name, about, changed, reason)

    other = Handover(handover.block, FORGED_SET_1)
    yield broken("handover-set", "to a set that the header does not name", other, "handover-set")
    few = replace(certificate, votes=certificate.votes[:2])
    unsigned = Handover(CertifiedHeader(header, few), handover.next_set)
    yield broken("handover-few", "two of four signed", unsigned, "certificate-quorum")
    one = bytes(31) + b"\x01"
    wrong = with_signature(certificate, 0, one + one)
    forged = Handover(CertifiedHeader(header, wrong), handover.next_set)
    yield broken("handover-signature", "one signature is wrong", forged, "certificate-signature")
    mixed = Handover(CertifiedHeader(header, chain.blocks[0].certificate), handover.next_set)
    yield broken("handover-certificate", "the certificate of block 1", mixed, "certificate-height")


def _wrong_in_one_rule(chain: Chain) -> Iterator[Case]:
    """Yield handovers with whose next set, for want of one rule, a verifier would go on."""

    def lured(name: str, about: str, receipt: Receipt, reason: str, trust: str = GENESIS) -> Case:
        return fails(Step.ROOT, name, about, receipt, reason, trust=trust)

    def leads(handover: Handover) -> Receipt:
        return receipt_alone(chain, handover.next_set, handovers=[handover])

    yield lured(
        "next-epoch",
        "from epoch 0 to a set of epoch 2",
        leads(hand_over(chain, SET_2)),
        "handover-epoch",
    )
    unnamed = Handover(hand_over(chain, SET_1).block, FORGED_SET_1)
    yield lured(
        "next-set-hash", "the set that signed is not the one named", leads(unnamed), "handover-set"
    )
    retired = hand_over(chain, FORGED_SET_1, {"height": 6})
    yield lured(
        "handover-retired-keys",
        "keys of epoch 0 sign another epoch 1 than the trust file's",
        receipt_alone(chain, FORGED_SET_1, header={"height": 9}, handovers=[retired]),
        "handover-known",
        PINNED_7,
    )
    foreign = Chain.found("another chain").genesis.chain_id
    named = hand_over(chain, SET_1, {"chain_id": foreign}, {"chain_id": chain.genesis.chain_id})
    yield lured(
        "handover-chain",
        "its header names another chain, its votes this",
        leads(named),
        "header-chain",
    )
    others = hand_over(chain, SET_1, {"chain_id": foreign})
    yield lured(
        "handover-other-chain", "of another chain with the same set", leads(others), "header-chain"
    )
    first, poser = hand_over(chain, SET_1), posing(SET_1, epoch=5)
    posed = block_alone(chain, poser, {"height": 4, "next_set_digest": SET_2.digest})
    yield lured(
        "handover-epoch",
        "the second handover says epoch 5, and the set of epoch 1 signed it",
        receipt_alone(chain, SET_2, handovers=[first, Handover(posed, SET_2)]),
        "certificate-set",
    )
    unlike = posing(SET_0, digest=seed("another set"))
    posed = block_alone(chain, unlike, {"height": 2, "next_set_digest": SET_1.digest})
    yield lured(
        "handover-set-hash",
        "the votes sign another set hash",
        leads(Handover(posed, SET_1)),
        "certificate-set",
    )
    prepared = hand_over(chain, SET_1, votes={"phase": Phase.PREPARE})
    yield lured("handover-prepared", "a quorum of PREPARE", leads(prepared), "certificate-phase")
    early = hand_over(chain, SET_1, {"view": 2}, {"view": 1})
    yield lured("handover-view", "signed before it was proposed", leads(early), "certificate-view")
