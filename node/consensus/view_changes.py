"""The VIEW-CHANGEs a validator holds, and what follows from how many they are (section 4.5).

Of each validator it is the one for the highest view: who leaves for a view has left all below it.
One of any f + 1 is of somebody correct, and a quorum is what a view begins with. Which view this
validator is in itself, and what it makes of that, is its core's business.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from node.chain.membership import ValidatorSet
from node.consensus.messages import ViewChange


@dataclass(slots=True)
class ViewChanges:
    """Checked VIEW-CHANGEs of an epoch, one per member."""

    validators: ValidatorSet
    _held: dict[int, ViewChange] = field(default_factory=dict)
    _highest: int = 0
    """The highest view any of them is for."""

    def add(self, message: ViewChange) -> None:
        """Hold a VIEW-CHANGE, unless its sender is known to have left for that view, or a later."""
        held = self._held.get(message.validator)
        if held is None or held.view < message.view:
            self._held[message.validator] = message
            self._highest = max(self._highest, message.view)

    def of(self, validator: int) -> ViewChange | None:
        """Return what a validator sent for the highest view."""
        return self._held.get(validator)

    def has_above(self, view: int) -> bool:
        """Whether anybody is known to have left a view for a later one."""
        return self._highest > view

    def since(self, view: int) -> list[ViewChange]:
        """Return those for a view or a later one, whoever came first being first."""
        return [held for held in self._held.values() if held.view >= view]

    def joined_above(self, view: int) -> list[ViewChange]:
        """Return those for later views than one if they are f + 1: it is left then; else none."""
        above = self.since(view + 1)
        return above if len(above) > self.validators.faults else []

    def quorum_for(self, view: int) -> tuple[ViewChange, ...]:
        """Return those for a view, ascending by sender, if it can begin with them; else none."""
        gathered = [held for _, held in sorted(self._held.items()) if held.view == view]
        return tuple(gathered) if len(gathered) >= self.validators.quorum else ()
