"""Links between simulated validators: each direction of each pair delays, loses and repeats alone.

A *place* is where a validator's process runs. A Byzantine validator may run in two places under one
key; what peers send to the validator reaches those of its places that see the sender.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import cbor2

from node.chain.certificate import Phase
from node.service.wire import MessageKind
from tests.simulation.world import MS, World

Frame = tuple[bytes, ...]
Receiver = Callable[[int, Frame], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkProfile:
    """How all links behave; chances in permille, per frame."""

    delay_min_us: int = 100
    delay_max_us: int = 2 * MS
    slow_permille: int = 0
    """Frames that take up to `slow_max_us` instead."""
    slow_max_us: int = 0
    loss_permille: int = 0
    duplicate_permille: int = 0
    corrupt_permille: int = 0
    """One bit of one message flips."""
    in_order: bool = True


CALM = LinkProfile()


@dataclass(frozen=True, slots=True)
class Place:
    """One process of one validator."""

    validator: int
    receive: Receiver


@dataclass(frozen=True, slots=True)
class Hush:
    """Some messages get lost on some links: those that begin with these bytes."""

    prefix: bytes
    permille: int
    pairs: frozenset[tuple[int, int]]
    """(sender, receiver) by validator."""
    view_max: int | None = None
    """Of votes, those up to this view alone."""

    def covers(self, data: bytes) -> bool:
        """Whether a message is one of those."""
        if not data.startswith(self.prefix):
            return False
        return self.view_max is None or _view_of(data) <= self.view_max


def _view_of(vote: bytes) -> int:
    """Return the view of what begins as a vote does; the lowest where no more can be read."""
    try:
        view = cbor2.loads(vote)[1][1]
    except (cbor2.CBORDecodeError, LookupError, TypeError):
        return 0
    return view if isinstance(view, int) else 0


def beginning_of(kind: MessageKind, phase: Phase | None = None) -> bytes:
    """Return how every message of a kind begins, or every vote of a phase (CBOR arrays)."""
    if phase is None:
        return bytes((0x82, kind))
    return bytes((0x82, kind, 0x88, phase))


class Network:
    """Carries frames from place to validator."""

    def __init__(self, world: World, profile: LinkProfile, *, holds_when_cut: bool) -> None:
        """`holds_when_cut`: a cut link delivers late (a stalled stream), or else loses."""
        self._world = world
        self.profile = profile
        self._holds_when_cut = holds_when_cut
        self.places: list[Place] = []
        self._of_validator: dict[int, list[int]] = {}
        self._last_arrival_us: dict[tuple[int, int], int] = {}
        self._cut: dict[tuple[int, int], None] = {}
        """Directed pairs of places that do not reach each other."""
        self._breaks: dict[tuple[int, int], int] = {}
        """How often the stream from one place to another broke."""
        self.hushed: list[Hush] = []
        self._held: list[tuple[int, int, Frame]] = []
        self.frames_sent = 0
        self.dropped: Counter[str] = Counter()

    @property
    def validators(self) -> int:
        """How many validators there are, each at one place or more."""
        return len(self._of_validator)

    def join(self, validator: int, receive: Receiver) -> int:
        """Add a place and return its number."""
        self.places.append(Place(validator, receive))
        place = len(self.places) - 1
        self._of_validator.setdefault(validator, []).append(place)
        return place

    def send(self, source: int, to_validator: int, messages: Sequence[bytes]) -> None:
        """Send messages in one frame to every place of a validator."""
        frame = tuple(messages)
        for target in self._of_validator[to_validator]:
            if target != source:
                self._send_one(source, target, frame)

    def unhush(self, hush: Hush) -> None:
        """Let messages come through again, if they do not already."""
        if hush in self.hushed:
            self.hushed.remove(hush)

    def cut(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Make exactly these directed pairs of places unreachable."""
        self._cut = dict.fromkeys(pairs)
        held, self._held = self._held, []
        for source, target, frame in held:
            self._send_one(source, target, frame)

    def break_streams(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Lose what is under way between directed pairs of places."""
        for pair in pairs:
            self._breaks[pair] = self._breaks.get(pair, 0) + 1
        self._held = [item for item in self._held if item[:2] not in pairs]

    def _send_one(self, source: int, target: int, frame: Frame) -> None:
        world, profile = self._world, self.profile
        self.frames_sent += 1
        if self._cut and (source, target) in self._cut:
            self._stop(source, target, frame)
            return
        if world.chance(profile.loss_permille):
            self.dropped["lost"] += 1
            return
        if self.hushed:
            frame = self._unhushed(source, target, frame)
            if not frame:
                return
        copies = 2 if world.chance(profile.duplicate_permille) else 1
        for _ in range(copies):
            sent = frame
            if world.chance(profile.corrupt_permille):
                sent = self._corrupted(frame)
            breaks = self._breaks.get((source, target), 0)
            world.after(
                self._delay_us(source, target), partial(self._deliver, source, target, sent, breaks)
            )

    def _unhushed(self, source: int, target: int, frame: Frame) -> Frame:
        link = (self.places[source].validator, self.places[target].validator)
        for hush in self.hushed:
            if link in hush.pairs:
                frame = tuple(
                    data
                    for data in frame
                    if not (hush.covers(data) and self._world.chance(hush.permille))
                )
        return frame

    def _stop(self, source: int, target: int, frame: Frame) -> None:
        if self._holds_when_cut:
            self._held.append((source, target, frame))
        else:
            self.dropped["cut"] += 1

    def _delay_us(self, source: int, target: int) -> int:
        world, profile = self._world, self.profile
        longest_us = profile.delay_max_us
        if world.chance(profile.slow_permille):
            longest_us = max(longest_us, profile.slow_max_us)
        delay_us = profile.delay_min_us + world.draw(longest_us + 1 - profile.delay_min_us)
        if not profile.in_order:
            return delay_us
        earliest_us = self._last_arrival_us.get((source, target), 0)
        arrival_us = max(world.now_us + delay_us, earliest_us)
        self._last_arrival_us[source, target] = arrival_us
        return arrival_us - world.now_us

    def _deliver(self, source: int, target: int, frame: Frame, breaks: int) -> None:
        if self._breaks.get((source, target), 0) != breaks:
            self.dropped["broken"] += 1
            return
        if (source, target) in self._cut:
            self._stop(source, target, frame)
            return
        self.places[target].receive(self.places[source].validator, frame)

    def _corrupted(self, frame: Frame) -> Frame:
        random = self._world.random
        which = random.randrange(len(frame))
        data = bytearray(frame[which])
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
        return (*frame[:which], bytes(data), *frame[which + 1 :])
