"""What is in force while one epoch lasts, and the block it stands on. Values only, no rules.

An epoch has one validator set and one set of parameters. It ends with a *barrier*: the block whose
header names another set for the next height. The barrier's commit certificate, signed by the set
that ends, is the handover.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from node.chain.genesis import Genesis, Parameters
from node.chain.membership import ValidatorSet
from node.chain.validation import HeaderContext


@dataclass(frozen=True, slots=True)
class Anchor:
    """The block an epoch stands on: genesis, or the barrier that ended the epoch before."""

    height: int
    digest: bytes
    """Of its header."""


@dataclass(frozen=True)
class Epoch:
    """The rules of one epoch, as the state before each of its blocks holds them."""

    chain_id: bytes
    validators: ValidatorSet
    parameters: Parameters

    @classmethod
    def of_genesis(cls, genesis: Genesis) -> Epoch:
        """Return epoch 0."""
        return cls(genesis.chain_id, genesis.validators, genesis.parameters)

    @property
    def number(self) -> int:
        """Return the epoch number; 0 from genesis on."""
        return self.validators.epoch

    @cached_property
    def context(self) -> HeaderContext:
        """Return what the headers of this epoch are judged against."""
        return HeaderContext.of(self.chain_id, self.validators, self.parameters)
