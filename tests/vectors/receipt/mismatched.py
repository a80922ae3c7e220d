"""Receipts whose parts do not fit the document or each other: steps 2 to 5, and 9."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from msgspec import structs

from node.chain.block import CertifiedHeader
from node.chain.certificate import Phase
from node.timestamp.receipt import Receipt
from node.timestamp.verify import Step
from tests.vectors.receipt.case import DIGEST, Case, fails
from tests.vectors.receipt.chain import Chain, certify, seed, with_digest_algorithm
from tests.vectors.receipt.story import (
    DEGRADED,
    PLAIN,
    SET_0,
    WITHDRAWN,
    neighbour,
    receipt_alone,
    sha_256_of,
    with_certificate,
)


def mismatched_cases(chain: Chain) -> Iterator[Case]:
    """Yield receipts whose parts do not fit the document or each other."""
    yield from _document_and_block(chain)
    yield from _log(chain)
    yield from _certificate(chain)
    withdrawal = chain.receipt(WITHDRAWN, 1)
    yield fails(Step.RECORD, "withdrawal", "sound, but it withdraws", withdrawal, "record-action")


def _document_and_block(chain: Chain) -> Iterator[Case]:
    receipt = chain.receipt(PLAIN, 1)
    header = receipt.block.header
    reason = "document-digest"
    other = f"sha-256:{seed('another document').hex()}"
    yield fails(Step.DOCUMENT, "document", "another document", receipt, reason, digest=other)
    as_sm3 = DIGEST.replace("sha-256", "sm3")
    yield fails(Step.DOCUMENT, "algorithm", "the same as SM3", receipt, reason, digest=as_sm3)
    unknown = with_digest_algorithm(receipt.leaf, 5)
    unknown_algorithm = replace(receipt, leaf=unknown)
    yield fails(Step.DOCUMENT, "algorithm-unknown", "algorithm 5", unknown_algorithm, reason)
    relabelled = replace(receipt, chain_id=Chain.found("another chain").genesis.chain_id)
    yield fails(Step.BLOCK, "chain-id", "not the header's", relabelled, "receipt-chain")
    for name, leaf in {
        "leaf-height": structs.replace(receipt.leaf, height=header.height + 1),
        "leaf-time": structs.replace(receipt.leaf, time_ms=header.time_ms - 1),
    }.items():
        yield fails(Step.BLOCK, name, "not the header's", replace(receipt, leaf=leaf), name)


def _log(chain: Chain) -> Iterator[Case]:
    receipt = chain.receipt(PLAIN, 1)
    submitter = replace(receipt, leaf=structs.replace(receipt.leaf, sender="agency-2"))
    yield fails(Step.LOG, "sender", "another submitter", submitter, "proof-root")
    size, path = receipt.block.header.log_size, receipt.log_path
    for name, index, hashes, reason in (
        ("log-index-next", receipt.log_index + 1, path, "proof-root"),
        ("log-index-size", size, path, "proof-index"),
        ("log-index-huge", 2**64 - 1, path, "proof-index"),
        ("log-path-shorter", receipt.log_index, path[:-1], "proof-path-length"),
        ("log-path-longer", receipt.log_index, (*path, bytes(32)), "proof-path-length"),
        ("log-path-empty", receipt.log_index, (), "proof-path-length"),
        ("log-path-reversed", receipt.log_index, path[::-1], "proof-root"),
        ("log-path-hash", receipt.log_index, (seed("a hash"), *path[1:]), "proof-root"),
    ):
        changed = replace(receipt, log_index=index, log_path=hashes)
        yield fails(Step.LOG, name, f"index {index}, path of {len(hashes)}", changed, reason)
    last = chain.receipt(PLAIN, 2)
    digest = sha_256_of(neighbour(1, PLAIN))
    for name, index in (("log-index-beyond", 15), ("log-index-far-beyond", 2**64 - 1)):
        changed = replace(last, log_index=index)
        about = f"leaf 7 of 8, given out as leaf {index}: the hashes lead to the root"
        yield fails(Step.LOG, name, about, changed, "proof-index", digest=digest)
    empty = receipt_alone(chain, header={"log_size": 1})
    header = replace(empty.block.header, log_size=0)
    nothing = replace(empty, block=CertifiedHeader(header, certify(header, SET_0)))
    yield fails(Step.LOG, "log-size-0", "leaf 0 of an empty log", nothing, "proof-index")


def _certificate(chain: Chain) -> Iterator[Case]:
    receipt = chain.receipt(PLAIN, 1)
    header = receipt.block.header

    def about(name: str, text: str, changed: Receipt, reason: str) -> Case:
        return fails(Step.CERTIFICATE, name, text, changed, reason)

    prepared = with_certificate(receipt, certify(header, SET_0, phase=Phase.PREPARE))
    yield about("prepared", "a quorum of PREPARE", prepared, "certificate-phase")
    later = with_certificate(receipt, chain.blocks[WITHDRAWN - 1].certificate)
    yield about("next-height", "of the next block", later, "certificate-height")
    epoch = with_certificate(receipt, replace(receipt.block.certificate, epoch=1))
    yield about("certificate-epoch", "another epoch", epoch, "certificate-epoch")
    for name, changed in {
        "state-root": replace(header, state_root=seed("another state")),
        "degraded-hidden": replace(header, time_degraded=not header.time_degraded),
        "proposer": replace(header, proposer=1),
    }.items():
        block = CertifiedHeader(changed, receipt.block.certificate)
        renamed = replace(receipt, block=block)
        yield about(f"header-{name}", "not what was signed", renamed, "certificate-digest")
    carried = replace(chain.receipt(DEGRADED, 1).block.header, view=2)
    early = CertifiedHeader(carried, certify(carried, SET_0, view=1))
    yield about(
        "view-early",
        "signed in a view before the first proposal",
        replace(chain.receipt(DEGRADED, 1), block=early),
        "certificate-view",
    )
    subject = receipt.block.certificate.subject
    heightened = replace(receipt.block.certificate, subject=replace(subject, height=3))
    yield about(
        "certificate-height",
        "the digest of the header, another height",
        with_certificate(receipt, heightened),
        "certificate-height",
    )
