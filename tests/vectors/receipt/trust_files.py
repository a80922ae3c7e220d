"""Trust files: those the receipts are verified against, and those that break a rule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from node.chain.block import CertifiedHeader
from node.chain.certificate import Phase
from node.timestamp.history import Handover
from node.timestamp.trust import TrustFile
from tests.vectors.receipt.case import GENESIS, KEYED, OTHER_CHAIN, PINNED_3, PINNED_7, TrustCase
from tests.vectors.receipt.chain import CREATED_MS, Chain, certify, seed, validator_set
from tests.vectors.receipt.keyed import build_keyed_chain
from tests.vectors.receipt.malformed import edited, put
from tests.vectors.receipt.story import (
    FIRST_OF_EPOCH_2,
    FORGED,
    NO_FIELDS,
    SET_0,
    SET_1,
    SET_2,
    Fields,
    block_alone,
    hand_over,
    posing,
    with_member,
    with_signature,
)
from tests.vectors.receipt.trust_forms import GENESIS_VALIDATORS, trust_forms, with_genesis


def trust_files(chain: Chain) -> dict[str, TrustFile]:
    """Return the trust files by name: of the genesis, of two heights, of another chain."""
    return {
        GENESIS: chain.trust(),
        PINNED_3: chain.trust(3),
        PINNED_7: chain.trust(7),
        OTHER_CHAIN: Chain.found("another chain").trust(),
        KEYED: build_keyed_chain(blocks=0).trust(),
    }


def trust_cases(chain: Chain) -> Iterator[TrustCase]:
    """Yield trust files usable and not, first by form, then by rule."""
    yield from trust_forms(chain)
    yield from _rule_a(chain)
    yield from _rule_b(chain)
    yield from _rule_c(chain)
    yield from _rule_d(chain)


def breaks(rule: str, name: str, about: str, trust: TrustFile, reason: str) -> TrustCase:
    """Return a case that is a trust file, and breaks a rule."""
    return TrustCase(f"{rule.lower()}-{name}", about, trust.encode(), rule, reason)


def _rule_a(chain: Chain) -> Iterator[TrustCase]:
    other = Chain.found("another chain").genesis
    yield breaks(
        "A",
        "chain-id",
        "the chain id of another genesis",
        replace(chain.trust(), chain_id=other.chain_id),
        "trust-chain-id",
    )
    yield breaks(
        "A",
        "genesis",
        "another genesis",
        replace(chain.trust(3), genesis=other),
        "trust-chain-id",
    )
    later = edited(chain.genesis.encode(), put((GENESIS_VALIDATORS, 1), 1))
    yield TrustCase(
        "a-epoch",
        "a genesis whose validators are of epoch 1",
        with_genesis(chain, later),
        "A",
        "genesis validators: expected epoch 0",
    )


def _rule_b(chain: Chain) -> Iterator[TrustCase]:
    first, second = chain.handovers
    latest = chain.trust(FIRST_OF_EPOCH_2)
    last = chain.blocks[FIRST_OF_EPOCH_2 - 1]

    def handed(name: str, about: str, handovers: Sequence[Handover], reason: str) -> TrustCase:
        trust = replace(latest, handovers=tuple(handovers), pinned=last)
        return breaks("B", name, about, trust, reason)

    def lured(name: str, about: str, handover: Handover, reason: str) -> TrustCase:
        pinned = block_alone(chain, handover.next_set)
        trust = TrustFile(
            chain_id=chain.genesis.chain_id,
            genesis=chain.genesis,
            handovers=(handover,),
            pinned=pinned,
        )
        return breaks("B", name, about, trust, reason)

    foreign = Chain.found("another chain").genesis.chain_id
    yield handed("order", "the second handover first", [second, first], "trust-certificate")
    yield handed("first-missing", "from epoch 1 on", [second], "trust-certificate")
    yield handed("repeated", "the first handover twice", [first, first], "trust-certificate")
    few = hand_over(chain, SET_1, votes={"voters": (0, 1)})
    yield lured("quorum", "two of four signed", few, "trust-certificate: certificate-quorum")
    outsiders = CertifiedHeader(
        first.block.header, certify(first.block.header, validator_set(0, FORGED))
    )
    yield lured("set", "signed by another set", Handover(outsiders, SET_1), "trust-certificate")
    prepared = hand_over(chain, SET_1, votes={"phase": Phase.PREPARE})
    yield lured("prepared", "a quorum of PREPARE", prepared, "certificate-phase")
    named = hand_over(chain, SET_1, {"chain_id": foreign}, {"chain_id": chain.genesis.chain_id})
    yield lured("chain", "its header names another chain, its votes this", named, "header-chain")
    others = hand_over(chain, SET_1, {"chain_id": foreign})
    yield lured("other-chain", "of another chain with the same set", others, "header-chain")
    unlike = posing(SET_0, digest=seed("another set"))
    posed = block_alone(chain, unlike, {"height": 2, "next_set_digest": SET_1.digest})
    reason = "trust-certificate: certificate-set"
    yield lured("set-hash", "the votes sign another set hash", Handover(posed, SET_1), reason)
    skipping = hand_over(chain, SET_2)
    yield lured("next-epoch", "from epoch 0 to a set of epoch 2", skipping, "handover-epoch")
    unnamed = Handover(first.block, validator_set(1, FORGED))
    yield lured("next-set-hash", "to a set that it does not name", unnamed, "handover-set")
    keyless = with_member(SET_1, 4, vote_key=b"\x05" + bytes(32))
    after = replace(keyless, epoch=2)
    header = {"height": 4, "next_set_digest": after.digest}
    second = Handover(block_alone(chain, keyless, header), after)
    yield handed(
        "key",
        "a set in which a key is no point hands over",
        [hand_over(chain, keyless), second],
        "trust-certificate: public key",
    )


def _rule_c(chain: Chain) -> Iterator[TrustCase]:
    def pinning(name: str, about: str, pinned: CertifiedHeader, reason: str) -> TrustCase:
        return breaks("C", name, about, replace(chain.trust(3), pinned=pinned), reason)

    header, certificate = chain.blocks[2].header, chain.blocks[2].certificate
    foreign = Chain.found("another chain").genesis.chain_id
    few = CertifiedHeader(header, replace(certificate, votes=certificate.votes[:2]))
    yield pinning("quorum", "two of four signed", few, "trust-certificate: certificate-quorum")
    outsiders = CertifiedHeader(header, certify(header, validator_set(0, FORGED)))
    yield pinning("set", "signed by another set", outsiders, "trust-certificate: certificate-set")
    wrong = CertifiedHeader(header, with_signature(certificate, 2, certificate.votes[1].signature))
    yield pinning("signature", "one is wrong", wrong, "trust-certificate: certificate-signature")
    mixed = CertifiedHeader(header, chain.blocks[1].certificate)
    yield pinning("certificate", "of another header", mixed, "certificate-height")
    prepared = block_alone(chain, SET_0, votes={"phase": Phase.PREPARE})
    yield pinning("prepared", "a quorum of PREPARE", prepared, "certificate-phase")
    ids = {"chain_id": foreign}
    named = block_alone(chain, SET_0, ids, {"chain_id": chain.genesis.chain_id})
    yield pinning("chain", "it names another chain, its votes this", named, "header-chain")
    others = block_alone(chain, SET_0, ids)
    yield pinning("other-chain", "of another chain with the same set", others, "header-chain")
    reason = "trust-certificate: certificate-set"
    for name, about, poser in (
        ("posed-epoch", "it says epoch 5, signed by the set of epoch 0", posing(SET_0, epoch=5)),
        ("set-hash", "the votes sign another", posing(SET_0, digest=seed("another set"))),
    ):
        yield pinning(name, about, block_alone(chain, poser), reason)
    later = chain.trust(FIRST_OF_EPOCH_2)
    for name, count in (("handovers-missing", 0), ("handover-last-missing", 1)):
        short = replace(later, handovers=later.handovers[:count])
        about = f"epoch 2 is pinned, {count} handovers"
        yield breaks("C", name, about, short, reason)
    early = replace(later, pinned=chain.blocks[6])
    yield breaks("C", "epoch", "epoch 1 is pinned, 2 handovers", early, "trust-certificate: cert")


def _rule_d(chain: Chain) -> Iterator[TrustCase]:
    """Yield headers of height 2, where epoch 0 ends, and 5, or as told, that contradict."""

    def against(
        name: str, about: str, reason: str, handover: Fields = NO_FIELDS, pinned: Fields = NO_FIELDS
    ) -> TrustCase:
        trust = TrustFile(
            chain_id=chain.genesis.chain_id,
            genesis=chain.genesis,
            handovers=(hand_over(chain, SET_1, handover, {"delays_ms": (-3, -2, -1)}),),
            pinned=block_alone(chain, SET_1, pinned, {"delays_ms": (-4, -3, -2, -1)}),
        )
        return breaks("D", name, about, trust, reason)

    yield TrustCase(
        "good-alone",
        "as those of rule D, without a contradiction",
        replace(
            chain.trust(7),
            handovers=(hand_over(chain, SET_1),),
            pinned=block_alone(chain, SET_1),
        ).encode(),
    )
    t, size, top = CREATED_MS + 2_000, 8, 2**64 - 1
    for name, about, reason, pinned in (
        ("time-falls", "T falls", "history-time", {"time_ms": t - 1}),
        ("time-risen-by-2", "2 ms in three heights", "history-time", {"time_ms": t + 2}),
        ("log-falls", "the log shrinks", "history-log-size", {"log_size": size - 1}),
        ("log-risen-by-2", "by 2 leaves", "history-log-size", {"log_size": size + 2}),
        ("fork", "two headers at height 2", "history-fork", {"height": 2}),
        ("parent", "another parent at height 3", "history-parent", {"height": 3}),
        ("epoch", "epoch 1 below the end of epoch 0", "history-epoch", _AT_HEIGHT_1),
    ):
        yield against(name, about, reason, pinned=pinned)
    early = {"height": 2, "time_ms": CREATED_MS + 1}
    yield against("time-of-genesis", "1 ms after the genesis at height 2", "history-time", early)
    small = {"height": 2, "log_size": 1}
    yield against("log-of-genesis", "one leaf at height 2", "history-log-size", small)
    wraps = {"time_ms": top - 1}
    yield against("time-top", "1 ms to 2^64 - 1", "history-time", wraps, {"time_ms": top})


_AT_HEIGHT_1: Fields = {"height": 1, "log_size": 4, "next_set_digest": SET_0.digest}
