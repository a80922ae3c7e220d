"""A chain with compact certificates: the usual blocks under validators that have BLS keys."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from node.chain.compact import Checkpoint, CompactCertificate
from node.chain.membership import AggregateKey, Validator, ValidatorSet
from node.chain.merkle import inclusion_path
from node.cli.qr import draw
from node.crypto.bls import BlsSigner
from node.timestamp.compact import CompactProof
from node.timestamp.export import export_qr
from node.timestamp.receipt import Receipt
from tests.vectors.receipt.chain import SUITE, Chain, record_of
from tests.vectors.receipt.story import DOCUMENT, PLAIN, SET_0, neighbour

THREE = (0, 1, 2)
KEYED_HEIGHT = 5
"""Of the last block, at which everything is signed unless told otherwise."""


@cache
def sharer(name: str) -> BlsSigner:
    """Return the fixed BLS key of a validator."""
    return BlsSigner.from_secret(hashlib.sha256(b"bls " + name.encode()).digest())


@cache
def registered(name: str) -> AggregateKey:
    """Return what a validator registers."""
    key = sharer(name)
    return AggregateKey(key.public_key.encoded, key.prove_possession())


def keyed(validators: ValidatorSet) -> ValidatorSet:
    """Return the set with BLS keys."""

    def with_key(member: Validator) -> Validator:
        return replace(member, aggregate_key=registered(member.validator_id))

    return replace(validators, validators=tuple(map(with_key, validators.validators)))


def build_keyed_chain(name: str = "compact", blocks: int = KEYED_HEIGHT) -> Chain:
    """Return a chain of one epoch; the document is the middle record of each block."""
    plain, validators = Chain.found(name), keyed(SET_0)
    genesis = replace(plain.genesis, validators=validators)
    tip = replace(plain.tip, chain_id=genesis.chain_id, next_set_digest=validators.digest)
    chain = Chain(genesis, validators, tip)
    for _ in range(blocks):
        before, after = (record_of(neighbour(side, chain.tip.height + 1)) for side in (0, 1))
        chain.append(before, record_of(DOCUMENT), after)
    return chain


def certificate_at(
    chain: Chain,
    height: int,
    signers: Sequence[int] = THREE,
    *,
    checkpoint: Checkpoint | None = None,
    chain_id: bytes | None = None,
) -> CompactCertificate:
    """Return the compact certificate of a height, or of what is given, by these members."""
    header = chain.blocks[height - 1].header
    at = checkpoint or Checkpoint.of(header, header.digest(SUITE))
    message = at.share_bytes(chain_id or chain.genesis.chain_id)
    members = chain.validators.validators
    shares = {index: sharer(members[index].validator_id).sign(message) for index in signers}
    return CompactCertificate.of(at, shares)


def with_compact(chain: Chain, receipt: Receipt, certificate: CompactCertificate) -> Receipt:
    """Return the receipt with a proof under a compact certificate."""
    size = certificate.checkpoint.log_size
    path = inclusion_path(chain.leaf_hashes(size), receipt.log_index, SUITE.hash)
    return replace(receipt, compact=CompactProof(tuple(path), certificate))


def compact_files() -> dict[str, bytes]:
    """Return a receipt with a compact certificate, its text, and the QR code of that."""
    chain = build_keyed_chain()
    receipt = with_compact(chain, chain.receipt(PLAIN, 1), certificate_at(chain, KEYED_HEIGHT))
    text = export_qr(receipt) or b""
    return {
        "compact.receipt": receipt.encode(),
        "compact.qr.txt": draw(text, ".txt"),
        "compact.qr.svg": draw(text, ".svg"),
    }
