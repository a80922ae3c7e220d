"""Faults in stages: view after view, validators come to know unlike things.

A stage lasts until the view it began in is over. Meanwhile some messages of that view get lost, and
at its end some VIEW-CHANGEs, so that the next view begins without what one validator knows. What
gets lost is chosen when a stage begins, as it depends on who is primary then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial

from node.chain.certificate import Phase
from node.service.wire import MessageKind
from tests.simulation.network import Hush, Network, beginning_of
from tests.simulation.node import SimulatedValidator
from tests.simulation.world import MS, World

LOOKS_PER_TIMEOUT = 8
"""How often it is looked whether a view is over."""
_PREPARE = beginning_of(MessageKind.VOTE, Phase.PREPARE)
_COMMIT = beginning_of(MessageKind.VOTE, Phase.COMMIT)
_PROPOSAL = beginning_of(MessageKind.PROPOSAL)
_VIEW_CHANGE = beginning_of(MessageKind.VIEW_CHANGE)
_NEW_VIEW = beginning_of(MessageKind.NEW_VIEW)


class Stage(Enum):
    """What gets lost in one view. In none of them anything is decided, but at one in a DEAF one."""

    FORGOTTEN = "one alone hears PREPAREs, and the next view begins without its word"
    WITNESS = "one alone hears PREPAREs, another no proposal, and the next view begins with both"
    DEAF = "one hears no PREPARE, another alone COMMITs, and the next view begins without its word"
    LATE = "a WITNESS; one starts again meanwhile and hears nothing of the next view but votes"


@dataclass(slots=True)
class _Scene:
    """A stage under way."""

    view: int
    ends_at_us: int
    """At the latest."""
    hushes: list[Hush]


class Director:
    """Has the stages of one fault follow each other."""

    def __init__(
        self,
        *,
        world: World,
        network: Network,
        correct: Sequence[SimulatedValidator],
        timeouts_ms: tuple[int, int],
        stages: Sequence[Stage],
        restarts: bool,
    ) -> None:
        """`timeouts_ms`: of views, the first and the longest; `restarts`: whether one may crash."""
        self._liars = [v for v in range(network.validators) if v not in [c.index for c in correct]]
        self._world, self._network, self._correct = world, network, correct
        self._timeouts_ms, self._restarts = timeouts_ms, restarts
        self._coming = list(reversed(stages))
        self._witnesses: list[int] = []
        self._scene: _Scene | None = None
        self._is_over = False

    def begin(self) -> None:
        """Begin the next stage, if one is left and anybody is up to see it."""
        views = self._views()
        if self._is_over or not self._coming or not views:
            return
        view = max(views.values())
        hushes = self._hushes(self._coming.pop(), view)
        ends_at_us = self._world.now_us + 2 * self._timeouts_ms[1] * MS
        self._scene = _Scene(view, ends_at_us, hushes)
        self._network.hushed += hushes
        self._look_later()

    def end(self) -> None:
        """Let all come through again."""
        self._is_over = True
        self._close()

    def _close(self) -> None:
        if self._scene is not None:
            for hush in self._scene.hushes:
                self._network.unhush(hush)
            self._scene = None

    def _look_later(self) -> None:
        delay_us = self._timeouts_ms[0] * MS // LOOKS_PER_TIMEOUT
        self._world.after(delay_us, self._look)

    def _look(self) -> None:
        scene = self._scene
        if scene is None:
            return
        views = self._views()
        gone = [view for view in views.values() if view > scene.view]
        if len(gone) * 2 > len(views) or self._world.now_us >= scene.ends_at_us:
            self._close()
            self.begin()
        else:
            self._look_later()

    def _views(self) -> dict[int, int]:
        """Return the views that correct validators are in, of those that are in one."""
        return {
            validator.index: engine.core.view
            for validator in self._correct
            if (engine := validator.engine) is not None and engine.core.view_active
        }

    # ------------------------------------------------------------------ what gets lost

    def _hushes(self, stage: Stage, view: int) -> list[Hush]:
        random = self._world.random
        size = self._network.validators
        correct = [validator.index for validator in self._correct]
        primary, following = view % size, (view + 1) % size

        def one_of(*but: int) -> int:
            free = [v for v in correct if v not in but] or correct
            return random.choice(free)

        if stage is Stage.DEAF:
            deaf = one_of(primary, following)
            told = random.choice([v for v in self._liars if v != following] or [one_of(deaf)])
            return self._for_one_deaf(view, deaf, told)
        if stage is not Stage.FORGOTTEN:
            self._witnesses.clear()
        witness = one_of(following, *self._witnesses)
        self._witnesses.append(witness)
        hushes = [
            self._hush(_PREPARE, but_to=witness, view_max=view),
            self._hush(_COMMIT, view_max=view),
        ]
        if stage is Stage.FORGOTTEN and self._coming:
            return [*hushes, self._hush(_VIEW_CHANGE, of=witness)]
        other = one_of(following, *self._witnesses)
        if stage is Stage.LATE:
            self._delay(other)
            return hushes
        hushes.append(self._hush(_VIEW_CHANGE, of=other))
        if stage is Stage.WITNESS:
            if self._liars and following not in self._liars:
                return [self._hush(_PREPARE, view_max=view)]  # until it is a liar that begins
            hushes.append(self._hush(_PROPOSAL, to=one_of(primary, witness)))
        return hushes

    def _for_one_deaf(self, view: int, deaf: int, told: int) -> list[Hush]:
        return [
            self._hush(_PREPARE, to=deaf, view_max=view),
            self._hush(_COMMIT, but_to=told, view_max=view),
            self._hush(_VIEW_CHANGE, of=told),
        ]

    def _delay(self, late: int) -> None:
        """Have one start again, so that its view lasts longer, and miss that others left it."""
        base_us = self._timeouts_ms[0] * MS
        for kind in (_VIEW_CHANGE, _NEW_VIEW):
            hush = self._hush(kind, to=late)
            self._network.hushed.append(hush)
            self._world.after(4 * base_us, partial(self._network.unhush, hush))
        if self._restarts:
            validator = next(each for each in self._correct if each.index == late)
            crash = partial(validator.crash, power_loss=False, down_us=1 * MS)
            self._world.after(base_us // 2, crash)

    def _hush(
        self,
        prefix: bytes,
        *,
        of: int | None = None,
        to: int | None = None,
        but_to: int | None = None,
        view_max: int | None = None,
    ) -> Hush:
        """Return the loss of messages, of one sender or all, to one, all, or all but one."""
        pairs = frozenset(
            (a, b)
            for a in range(self._network.validators)
            for b in range(self._network.validators)
            if a != b and of in (None, a) and to in (None, b) and b != but_to
        )
        return Hush(prefix, 1_000, pairs, view_max)
