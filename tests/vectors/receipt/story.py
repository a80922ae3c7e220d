"""The chain that most cases tell of, the document recorded on it, and ways to tell it otherwise."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from node.chain.block import CertifiedHeader
from node.chain.certificate import CertificateVote, QuorumCertificate
from node.chain.membership import ValidatorSet
from node.chain.merkle import inclusion_path_of, leaf_hash, root_from_inclusion
from node.chain.record import RecordAction, RecordLeaf
from node.crypto.suite import SM3
from node.timestamp.history import Handover
from node.timestamp.receipt import Receipt
from tests.vectors.receipt.chain import (
    AGENCY,
    CREATED_MS,
    SUITE,
    Chain,
    certify,
    record_of,
    seed,
    validator_set,
)

Fields = Mapping[str, Any]
"""Fields of a dataclass, or keyword arguments, that differ from the usual."""

NO_FIELDS: Final[Fields] = MappingProxyType({})
DOCUMENT: Final = "This certificate is a test document. 本证照仅供测试。\n".encode()

SET_0: Final = validator_set(0, (1, 2, 3, 4))
SET_1: Final = validator_set(1, (1, 2, 3, 4, 5))
SET_2: Final = validator_set(2, (2, 3, 4, 5))
FORGED: Final = (6, 7, 8, 9)

# Heights of the chain, named by what the record of the document there is like.
PLAIN, WITHDRAWN, DEGRADED, SM3_DIGESTED, LAST_OF_EPOCH_0 = 2, 3, 4, 5, 6
FIRST_OF_EPOCH_1, LAST_OF_EPOCH_1, FIRST_OF_EPOCH_2 = 7, 8, 9
LEAVES_PER_BLOCK: Final = 4
ALONE: Final = 5
"""Height of a block that stands alone, unless told otherwise."""


def sha_256_of(document: bytes) -> str:
    """Return a document's digest as `algorithm:hex`."""
    return f"sha-256:{hashlib.sha256(document).hexdigest()}"


def neighbour(side: int, height: int) -> bytes:
    """Return the document recorded before (0) or after (1) the document in the block."""
    return f"neighbour {side} {height - 1}".encode()


def build_chain() -> Chain:
    """Return nine blocks of three epochs; the document is the middle record of each block."""
    chain = Chain.found()

    def append(**options: Any) -> None:  # noqa: ANN401 - those of `Chain.append`
        document = options.pop("document", record_of(DOCUMENT))
        before, after = (record_of(neighbour(side, chain.tip.height + 1)) for side in (0, 1))
        chain.append(before, document, after, **options)

    append()
    append(voters=(0, 1, 2, 3))
    append(document=record_of(DOCUMENT, action=RecordAction.WITHDRAW))
    append(degraded=True, view=1, voters=(0, 2, 3))
    digest = SM3.new_hash(DOCUMENT).digest()
    append(view=1, document=record_of(DOCUMENT, digest_algorithm=SM3.digest_id, digest=digest))
    append(view=1, next_set=SET_1)
    append(view=1, document=record_of(DOCUMENT, reference=None))
    append(view=1, next_set=SET_2)
    append(view=2)
    return chain


def forked(chain: Chain, height: int) -> Chain:
    """Return the chain of epoch 0 as it was before `height`, to be continued otherwise."""
    fork = Chain.found()
    fork.blocks = chain.blocks[: height - 1]
    if fork.blocks:
        fork.tip = fork.blocks[-1].header
    fork.leaves = chain.leaves[: fork.tip.log_size]
    return fork


# --- Blocks that stand alone: nothing surrounds them, and they say whatever they are told ---


def block_alone(
    chain: Chain, validators: ValidatorSet, header: Fields = NO_FIELDS, votes: Fields = NO_FIELDS
) -> CertifiedHeader:
    """Return a block certified by a quorum; `votes` are arguments of `certify`.

    Unless told otherwise: a second and four leaves per height, and the set goes on.
    """
    fields = {
        "epoch": validators.epoch,
        "view": 0,
        "proposer": 0,
        "parent": seed("parent"),
        "next_set_digest": validators.digest,
        **_usual(header),
    }
    made = replace(chain.tip, **fields)
    voters = {"voters": range(validators.quorum), **votes}
    return CertifiedHeader(made, certify(made, validators, **voters))


def hand_over(
    chain: Chain, next_set: ValidatorSet, header: Fields = NO_FIELDS, votes: Fields = NO_FIELDS
) -> Handover:
    """Return a block alone in which epoch 0 ends, at height 2 unless told otherwise."""
    named = {"height": 2, "next_set_digest": next_set.digest, **header}
    return Handover(block_alone(chain, SET_0, named, votes), next_set)


def receipt_alone(
    chain: Chain,
    validators: ValidatorSet = SET_0,
    *,
    header: Fields = NO_FIELDS,
    leaf: Fields = NO_FIELDS,
    log_index: int | None = None,
    votes: Fields = NO_FIELDS,
    handovers: Sequence[Handover] = (),
) -> Receipt:
    """Return the receipt of the document in a block alone, the last leaf unless told otherwise.

    The rest of its log is stand-ins.
    """
    usual = _usual(header)
    stated = RecordLeaf(
        **{
            "height": usual["height"],
            "time_ms": usual["time_ms"],
            "tx_id": seed("transaction"),
            "operation_index": 0,
            "sender": AGENCY,
            "record": record_of(DOCUMENT),
            **leaf,
        }
    )
    size = usual["log_size"]
    index = size - 1 if log_index is None else log_index
    path = inclusion_path_of(lambda height, at: seed(f"log node {height} {at}"), index, size)
    hashed = leaf_hash(stated.encode(), SUITE.hash)
    root = root_from_inclusion(hashed, index, size, path, SUITE.hash)
    return Receipt(
        chain_id=chain.genesis.chain_id,
        suite=SUITE,
        leaf=stated,
        log_index=index,
        log_path=tuple(path),
        block=block_alone(chain, validators, {"log_roots": (root,), **usual}, votes),
        handovers=tuple(handovers),
    )


def _usual(header: Fields) -> dict[str, Any]:
    height = header.get("height", ALONE)
    return {
        "height": height,
        "time_ms": CREATED_MS + 1_000 * height,
        "time_degraded": False,
        "log_size": LEAVES_PER_BLOCK * height,
        **header,
    }


# --- Changed parts ---


def with_certificate(receipt: Receipt, certificate: QuorumCertificate) -> Receipt:
    """Return the receipt with another certificate for its header."""
    return replace(receipt, block=CertifiedHeader(receipt.block.header, certificate))


def with_votes(receipt: Receipt, votes: Sequence[CertificateVote]) -> Receipt:
    """Return the receipt with these votes in its certificate."""
    return with_certificate(receipt, replace(receipt.block.certificate, votes=tuple(votes)))


def with_signature(certificate: QuorumCertificate, at: int, signature: bytes) -> QuorumCertificate:
    """Return the certificate with one signature replaced."""
    votes = list(certificate.votes)
    votes[at] = replace(votes[at], signature=signature)
    return replace(certificate, votes=tuple(votes))


def posing(validators: ValidatorSet, **claims: object) -> ValidatorSet:
    """Return the set with an `epoch` or `digest` given out as its own that is not."""
    poser = replace(validators)
    vars(poser).update({"digest": validators.digest, **claims})
    return poser


def with_member(validators: ValidatorSet, at: int, **fields: object) -> ValidatorSet:
    """Return the set with one member changed."""
    members = list(validators.validators)
    members[at] = replace(members[at], **fields)  # type: ignore[arg-type] # a field each
    return replace(validators, validators=tuple(members))
