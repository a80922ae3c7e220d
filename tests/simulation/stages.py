"""Faults in stages: view after view, validators come to know unlike things.

A stage lasts until the view it began in is over. Meanwhile some messages of that view get lost, and
at its end some VIEW-CHANGEs, so that the next view begins without what one validator knows. What
gets lost is chosen when a stage begins, as it depends on who is primary then; and it begins with
the NEW-VIEW of its view, before anybody can act on that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from functools import partial

import cbor2

from node.chain.certificate import Phase
from node.service.wire import MessageKind
from tests.simulation.network import Hush, Network, beginning_of
from tests.simulation.node import SimulatedValidator
from tests.simulation.world import MS, World

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


@dataclass(frozen=True)
class _Cue(Hush):
    """Loses nothing, but notes the NEW-VIEWs that are sent."""

    began: Callable[[int], None] = lambda _: None
    """Told the view of each."""

    def covers(self, data: bytes) -> bool:
        """Return False."""
        if data.startswith(self.prefix):
            with suppress(cbor2.CBORDecodeError, LookupError, TypeError):
                self.began(cbor2.loads(data)[1][2])
        return False


@dataclass(frozen=True, slots=True)
class _Scene:
    """A stage under way."""

    view: int
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
        self._validators = range(network.validators)
        self._liars = [v for v in self._validators if v not in [c.index for c in correct]]
        self._world, self._network, self._correct = world, network, correct
        self._timeouts_ms, self._restarts = timeouts_ms, restarts
        self._coming = list(reversed(stages))
        self._witnesses: list[int] = []
        self._scene: _Scene | None = None

    def begin(self) -> None:
        """Begin the first stage, if anybody is up to see it."""
        views = self._views()
        if views:
            self._begin(max(views.values()))

    def end(self) -> None:
        """Let all come through again."""
        self._coming.clear()
        if self._scene is not None:
            for hush in self._scene.hushes:
                self._network.unhush(hush)
            self._scene = None

    def _begin(self, view: int) -> None:
        """Begin the next stage, with this view; or end, after the last one."""
        scene = self._scene
        if scene is not None:
            for hush in scene.hushes:
                self._network.unhush(hush)
            self._scene = None
        if not self._coming:
            return
        every = frozenset((a, b) for a in self._validators for b in self._validators)
        cue = _Cue(_NEW_VIEW, 1_000, every, began=partial(self._noted, view))
        hushes = [*self._hushes(self._coming.pop(), view), cue]
        self._network.hushed += hushes
        self._scene = _Scene(view, hushes)
        self._world.after(2 * self._timeouts_ms[1] * MS, partial(self._give_up, view))

    def _noted(self, view: int, following: int) -> None:
        """Have the next stage begin at once, and what is on its way arrive after that."""
        if following > view:
            self._world.after(0, partial(self._turn, view, following))

    def _turn(self, view: int, following: int) -> None:
        if self._scene is not None and self._scene.view == view:
            self._begin(following)

    def _give_up(self, view: int) -> None:
        """Go on where a view does not end: nothing may have waited in it."""
        if self._scene is not None and self._scene.view == view:
            self._begin(view)

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
        size = len(self._validators)
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
            for a in self._validators
            for b in self._validators
            if a != b and of in (None, a) and to in (None, b) and b != but_to
        )
        return Hush(prefix, 1_000, pairs, view_max)
