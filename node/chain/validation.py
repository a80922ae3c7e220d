"""Predicates over headers, one rule each, numbered; every error carries both values.

Only what every correct node computes alike from parent and block may be judged here. What depends
on this node's clock (timeliness) is judged by consensus, never here.
"""

from __future__ import annotations

from dataclasses import dataclass

from node.chain.block import Header
from node.chain.genesis import Genesis, Parameters
from node.chain.membership import ValidatorSet
from node.errors import PeerError


@dataclass(frozen=True, slots=True)
class HeaderContext:
    """What the headers of one epoch are judged against."""

    chain_id: bytes
    epoch: int
    validator_count: int
    set_digest: bytes
    parameters_digest: bytes

    @classmethod
    def of(cls, chain_id: bytes, validators: ValidatorSet, parameters: Parameters) -> HeaderContext:
        """Return the context of the epoch in which these are in force."""
        return cls(
            chain_id,
            validators.epoch,
            validators.size,
            validators.digest,
            parameters.digest(validators.suite),
        )

    @classmethod
    def of_genesis(cls, genesis: Genesis) -> HeaderContext:
        """Return the context of epoch 0."""
        return cls.of(genesis.chain_id, genesis.validators, genesis.parameters)

    def ends_with(self, header: Header) -> bool:
        """Say whether a header of this epoch is its barrier: it names another set to follow."""
        return header.next_set_digest != self.set_digest


def check_header_follows(
    header: Header, parent: Header, parent_digest: bytes, context: HeaderContext
) -> None:
    """Check a header against its parent; raises `PeerError` naming the rule it breaks.

    H1 same chain. H2 epoch in force, whose set the parent names: so nothing of an epoch follows its
    barrier. H3 next height. H4 names its parent. H5 T strictly after the parent's. H6 view not
    before the parent's, if that is of this epoch. H7 proposed by the primary of its view. H8 the
    log never shrinks and grows at least by the parent's header leaf. H9 parameters in force.

    Which set the header itself names to follow is not judged here: execution alone knows.
    """
    _expect("header-chain", header.chain_id, context.chain_id)
    _expect("header-epoch", header.epoch, context.epoch)
    _expect("header-set", parent.next_set_digest, context.set_digest)
    _expect("header-height", header.height, parent.height + 1)
    _expect("header-parent", header.parent, parent_digest)
    if header.time_ms <= parent.time_ms:
        raise PeerError("header-time", f"expected T after {parent.time_ms}, got {header.time_ms}")
    if header.epoch == parent.epoch and header.view < parent.view:
        raise PeerError("header-view", f"expected at least {parent.view}, got {header.view}")
    _expect("header-proposer", header.proposer, header.view % context.validator_count)
    if header.log_size <= parent.log_size:
        raise PeerError(
            "header-log-size", f"expected more than {parent.log_size}, got {header.log_size}"
        )
    _expect("header-parameters", header.parameters_digest, context.parameters_digest)


def _expect(rule: str, got: bytes | int, expected: bytes | int) -> None:
    if got != expected:
        raise PeerError(rule, f"expected {_shown(expected)}, got {_shown(got)}")


def _shown(value: bytes | int) -> str:
    return value.hex() if isinstance(value, bytes) else f"{value}"
