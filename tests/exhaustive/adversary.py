"""A Byzantine validator without a core: whatever its key can sign that passes verification.

It votes for everything. Its VIEW-CHANGEs show any part of what can be certified, and as primary it
begins a view from any quorum. What it makes has to pass the real `Verifier`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, product

from node.chain.block import CertifiedHeader
from node.chain.certificate import Phase
from node.consensus.messages import NewView, ViewChange
from node.consensus.verification import Verifier
from tests.exhaustive.chain import (
    GENESIS_HEADER,
    SIZE,
    VALIDATORS,
    Chain,
    digest_of,
)
from tests.unit.execution.small_chain import GENESIS

WINDOW = GENESIS.parameters.window_slots


@dataclass(slots=True)
class Adversary:
    """What one Byzantine validator can say, given what exists."""

    chain: Chain
    me: int
    slots: int
    _verifier: Verifier = field(
        default_factory=lambda: Verifier(GENESIS.chain_id, VALIDATORS, GENESIS.suite, WINDOW)
    )
    _view_changes: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    _new_views: dict[tuple[int, int, tuple[int, ...]], list[int]] = field(default_factory=dict)

    def view_changes(self, view: int, example: int, certifiable: int) -> list[int]:
        """Return the numbers of its VIEW-CHANGEs for a view, the one that shows least first.

        They are like `example`, the number of a correct validator's, in all that is of no account.
        """
        key = (view, self._earlier(view, certifiable))
        made = self._view_changes.get(key)
        if made is None:
            made = self._view_changes[key] = [
                self.chain.number(self._view_change(example, committed, prepared))
                for committed in self._chains(key[1])
                for prepared in self._prepared(key[1], len(committed))
            ]
        return made

    def new_views(self, view: int, others: tuple[int, ...], certifiable: int) -> list[int]:
        """Return NEW-VIEWs of its own, one for each start that a quorum can give.

        `others` are the numbers of the correct validators' VIEW-CHANGEs for that view.
        """
        if not others:
            return []
        key = (view, self._earlier(view, certifiable), others)
        made = self._new_views.get(key)
        if made is None:
            made = self._new_views[key] = []
            by_sender: list[list[int]] = [[number] for number in others]
            by_sender.append(self.view_changes(view, others[0], certifiable))
            for size in range(VALIDATORS.quorum, SIZE + 1):
                for senders in combinations(by_sender, size):
                    for numbers in product(*senders):
                        number = self.chain.number(self._new_view(view, numbers))
                        if number not in made:
                            made.append(number)
        return made

    def _earlier(self, view: int, certifiable: int) -> int:
        masks = [mask for of, mask in self.chain.of_view.items() if of < view]
        return certifiable & sum(masks)

    def _bits(self, certifiable: int, height: int) -> list[int]:
        subjects = self.chain.subjects
        found = [bit for bit in range(certifiable.bit_length()) if certifiable >> bit & 1]
        return [bit for bit in found if subjects[bit].height == height]

    def _chains(self, certifiable: int) -> list[list[CertifiedHeader]]:
        """Return every chain of decided headers, the shortest first."""
        commits = certifiable & self.chain.of_phase[Phase.COMMIT]
        chains: list[list[CertifiedHeader]] = [[]]
        for longest in chains:
            parent = digest_of(longest[-1].header if longest else GENESIS_HEADER)
            for bit in self._bits(commits, len(longest) + 1):
                item = self.chain.certified(bit)
                if item.header.parent == parent:
                    chains.append([*longest, item])
        return chains

    def _prepared(self, certifiable: int, tip: int) -> list[tuple[CertifiedHeader, ...]]:
        """Return every choice of one certificate, or none, for each height above `tip`."""
        prepares = certifiable & self.chain.of_phase[Phase.PREPARE]
        choices = [
            [None, *(self.chain.certified(bit) for bit in self._bits(prepares, height))]
            for height in range(tip + 1, min(tip + WINDOW, self.slots) + 1)
        ]
        return [tuple(i for i in chosen if i is not None) for chosen in product(*choices)]

    def _view_change(
        self,
        example: int,
        committed: Sequence[CertifiedHeader],
        prepared: tuple[CertifiedHeader, ...],
    ) -> ViewChange:
        message = self.chain.messages[example]
        if not isinstance(message, ViewChange):
            raise TypeError(f"expected a VIEW-CHANGE, got {message}")
        showing = replace(
            message,
            validator=self.me,
            committed=tuple(committed[-WINDOW:]),
            prepared=prepared,
            signature=b"",
        )
        signed = self.chain.sign_view_change(showing)
        self._verifier.check_view_change(signed)
        return signed

    def _new_view(self, view: int, numbers: Sequence[int]) -> NewView:
        messages = [self.chain.messages[number] for number in numbers]
        shown = [message for message in messages if isinstance(message, ViewChange)]
        shown.sort(key=lambda view_change: view_change.validator)
        return self.chain.sign_new_view(NewView(epoch=0, view=view, view_changes=tuple(shown)))
