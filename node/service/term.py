"""The epoch in force as the parts of an engine see it, and the numbers that peers go by. No rules.

A *number* names a peer between engine and transport for as long as the process lives. An *index* is
a member's place in the set of one epoch, and is what votes and headers carry. The two agree in the
first epoch, and only there.
"""

from __future__ import annotations

from dataclasses import dataclass

from node.chain.block import TransactionRoots
from node.chain.epoch import Anchor, Epoch
from node.chain.membership import ValidatorSet
from node.consensus.core import NO_MEMBER
from node.consensus.verification import Verifier


class Roster:
    """Gives every node that is spoken of a number, in the order in which they become known."""

    def __init__(self, founders: ValidatorSet) -> None:
        """Begin with the validators of genesis, each under its index."""
        self._ids = [validator.validator_id for validator in founders.validators]
        self._numbers = {validator_id: number for number, validator_id in enumerate(self._ids)}

    def number(self, validator_id: str) -> int:
        """Return the number of a node, a new one if it has none."""
        number = self._numbers.setdefault(validator_id, len(self._ids))
        if number == len(self._ids):
            self._ids.append(validator_id)
        return number

    def name(self, number: int) -> str:
        """Return the id of a numbered node."""
        return self._ids[number]


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One epoch at one node."""

    epoch: Epoch
    anchor: Anchor
    me: int
    """Index of this node, or `NO_MEMBER`, also while it may cast nothing."""
    verifier: Verifier
    numbers: tuple[int, ...]
    """Number of each member, by index."""
    indices: dict[int, int]
    """Index of each member, by number."""

    @classmethod
    def of(
        cls,
        epoch: Epoch,
        anchor: Anchor,
        validator_id: str,
        roster: Roster,
        *,
        tx_roots: TransactionRoots | None = None,
        is_silent: bool = False,
    ) -> Term:
        """Return an epoch as the node of this id sees it, which follows where it `is_silent`."""
        validators = epoch.validators
        me = None if is_silent else validators.index_of(validator_id)
        numbers = tuple(roster.number(member.validator_id) for member in validators.validators)
        return cls(
            epoch=epoch,
            anchor=anchor,
            me=NO_MEMBER if me is None else me,
            verifier=Verifier(
                epoch.chain_id,
                validators,
                validators.suite,
                epoch.parameters.window_slots,
                anchor.height,
                tx_roots,
            ),
            numbers=numbers,
            indices={number: index for index, number in enumerate(numbers)},
        )

    @property
    def is_member(self) -> bool:
        """Whether this node decides in this epoch; else it follows."""
        return self.me != NO_MEMBER
