"""Whose turn it is in the pool: rounds, shared between organisations, then between their senders.

A transaction is given a round on arrival, and rounds are served one after another (mempool.py). In
one round an organisation is served of `ROUND_BYTES` by a sender alone, or up to a quarter more by
many, times its share. So who asks for little waits for one round of the other organisations at
most, however much they ask for and by however many senders.

Within its organisation a sender may take up `SHARE_FACTOR` parts of what is left of a round and has
to leave one: one that floods leaves a fifth for its colleagues, two a 25th. What is larger than a
round takes up several. A sender's rounds never go back, so its own are served in order of arrival.

Pure, without clock: the time is an argument, in monotonic ms.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from node.chain.quota import Quota
from node.execution.registry import find_identity, read_quota
from node.execution.state import StateReader

ROUND_BYTES: Final = 4_096
"""What one sender is served of before it is another's turn: a dozen transactions of one record."""
SHARE_FACTOR: Final = 4

RETRY_AFTER_MS_MIN: Final = 50
RETRY_AFTER_MS_MAX: Final = 10_000
RETRY_AFTER_MS_UNKNOWN: Final = 1_000
"""The answer before two blocks have shown a drain rate."""

_ORGANISATION_ROUND_BYTES: Final = ROUND_BYTES * (SHARE_FACTOR + 1) // SHARE_FACTOR
_OPEN_BYTES_LEAST: Final = 2
"""What has to be left of a round so that somebody new may begin in it."""
_DRAINS_REMEMBERED: Final = 16
_ROOM_FRACTION: Final = 32  # a client told to wait finds 1/32 of the room drained, not one place
_ROUNDS_KEPT_LEAST: Final = 64


class Seat(NamedTuple):
    """For whom a sender asks, and by which quota (node/chain/quota.py)."""

    organisation: str
    share: int = 1
    """How many times the bytes of others its organisation is served of in a round."""
    waiting_max: int = 0
    """How many transactions of its organisation may wait; 0: as many as there is room for."""


def seat_of(state: StateReader, sender: str) -> Seat:
    """Seat a sender by a state: strangers, who may be known by the next, together."""
    identity = find_identity(state, sender)
    if identity is None:
        return Seat("")
    quota = read_quota(state.get, identity.organisation) or Quota()
    return Seat(identity.organisation, quota.share, quota.waiting_max)


class Drain:
    """How fast something drains, by the last blocks."""

    __slots__ = ("_blocks",)

    def __init__(self) -> None:
        self._blocks: deque[tuple[int, int]] = deque(maxlen=_DRAINS_REMEMBERED)

    def note(self, time_ms: int, count: int) -> None:
        """Note a block with T = `time_ms` that took so many."""
        self._blocks.append((time_ms, count))

    def retry_after_ms(self, size: int) -> int:
        """Return how long to wait until a part of `size` is drained."""
        drained = sum(count for _, count in self._blocks) - (
            self._blocks[0][1] if self._blocks else 0
        )
        if not drained:
            return RETRY_AFTER_MS_UNKNOWN
        elapsed_ms = self._blocks[-1][0] - self._blocks[0][0]
        wait_ms = -(-size // _ROOM_FRACTION) * elapsed_ms // drained
        return min(max(wait_ms, RETRY_AFTER_MS_MIN), RETRY_AFTER_MS_MAX)


@dataclass(slots=True, eq=False)
class Organisation:
    """One that requests are held of, pinned ones included."""

    name: str
    seat: Seat
    count: int = 0
    size_bytes: int = 0
    served_ms: int = 0
    """When one of its requests became final last."""
    served_came_ms: int = 0
    """When the last to come of those came."""
    is_overdrawn: bool = False
    """Whether it asked for more than one round, since it had nothing here last."""
    drain: Drain = field(default_factory=Drain)
    drained: int = 0
    """How many of its requests the block took that is being let go."""
    open_round: int = 0
    """Before it nobody finds room who has not begun there."""
    used: dict[int, int] = field(default_factory=dict)
    """Bytes by round."""
    kept_max: int = _ROUNDS_KEPT_LEAST

    @property
    def is_over_quota(self) -> bool:
        """Whether as much of it waits as may."""
        return 0 < self.seat.waiting_max <= self.count

    def left(self, number: int) -> int:
        """Return what is left of a round, in bytes; never below zero."""
        return _ORGANISATION_ROUND_BYTES * self.seat.share - self.used.get(number, 0)

    def forget_rounds(self, lowest: int) -> None:
        """Forget what is over, each so often that it costs O(1) per round."""
        if len(self.used) > self.kept_max:
            self.used = {each: used for each, used in self.used.items() if each >= lowest}
            self.kept_max = max(_ROUNDS_KEPT_LEAST, 2 * len(self.used))


@dataclass(slots=True, eq=False)
class Sender:
    """Somebody requests are held of, pinned ones included."""

    organisation: Organisation
    round: int
    """Where its next one goes, unless there is no room left or an earlier one is served by then."""
    used_bytes: int = 0
    """What it has used of that round."""
    count: int = 0
    size_bytes: int = 0
    served_ms: int = 0
    """When one of its requests became final last."""
    served_came_ms: int = 0
    """When the last to come of those came."""

    @property
    def room_bytes(self) -> int:
        """What it may use besides of its round, so that it leaves a part for others."""
        left = self.organisation.left(self.round)
        return (SHARE_FACTOR * left - self.used_bytes) // (SHARE_FACTOR + 1)

    def use(self, size_bytes: int) -> None:
        """Use up some of its round."""
        used = self.organisation.used
        used[self.round] = used.get(self.round, 0) + size_bytes
        self.used_bytes += size_bytes

    def move_on(self, to: int) -> None:
        """Go to a later round."""
        self.round, self.used_bytes = to, 0


@dataclass(slots=True, eq=False)
class Served:
    """What a block took of one sender."""

    count: int = 0
    size_bytes: int = 0
    came_ms: int = 0
    """When the last to come of it came; 0 if that is not known of any."""


def seat_alone(sender: str) -> Seat:
    """Seat a sender for itself: where nobody says for whom it asks."""
    return Seat(sender)


class Turns:
    """Who waits in which round. Every operation costs O(1), and O(1) per round passed."""

    def __init__(self) -> None:
        """Start with nobody."""
        self.seat_of: Callable[[str], Seat] = seat_alone
        """Says for whom somebody asks, when its first request comes."""
        self._senders: dict[str, Sender] = {}
        self._organisations: dict[str, Organisation] = {}
        self._served: list[Organisation] = []

    def sender(self, name: str) -> Sender:
        """Return a sender of whom something is held."""
        return self._senders[name]

    def reseat(self) -> None:
        """Ask again by which quotas everybody goes, as those may have changed."""
        for name, sender in self._senders.items():
            sender.organisation.seat = self.seat_of(name)

    def place(self, name: str, size_bytes: int, lowest: int) -> int:
        """Count a request as its sender's, and return its round; `lowest` is being served."""
        sender = self._senders.get(name) or self._enter(name, lowest)
        organisation = sender.organisation
        sender.count += 1
        sender.size_bytes += size_bytes
        organisation.count += 1
        organisation.size_bytes += size_bytes
        earliest = organisation.open_round
        if earliest < lowest:
            earliest = organisation.open_round = lowest
        if sender.round < earliest:
            sender.move_on(earliest)
        if size_bytes <= sender.room_bytes:  # as nearly always
            number = sender.round
            sender.use(size_bytes)
        else:
            organisation.forget_rounds(lowest)
            number = _spread(sender, size_bytes)
        while organisation.left(organisation.open_round) < _OPEN_BYTES_LEAST:
            organisation.open_round += 1
        if sender.round > lowest:
            organisation.is_overdrawn = True
        return number

    def leave(self, name: str, count: int, size_bytes: int) -> None:
        """Count so many requests of a sender no more, of so many bytes together."""
        sender = self._senders[name]
        organisation = sender.organisation
        sender.count -= count
        sender.size_bytes -= size_bytes
        organisation.count -= count
        organisation.size_bytes -= size_bytes
        if not sender.count:
            del self._senders[name]
        if not organisation.count:
            del self._organisations[organisation.name]

    def note_served(self, name: str, served: Served, now_ms: int) -> None:
        """Note that requests of a sender became final, and count them no more."""
        sender = self._senders[name]
        organisation = sender.organisation
        sender.served_ms = organisation.served_ms = now_ms
        sender.served_came_ms = max(sender.served_came_ms, served.came_ms)
        organisation.served_came_ms = max(organisation.served_came_ms, served.came_ms)
        if not organisation.drained:
            self._served.append(organisation)
        organisation.drained += served.count
        self.leave(name, served.count, served.size_bytes)

    def note_block(self, time_ms: int) -> None:
        """Note that this was all of a block with T = `time_ms`."""
        for organisation in self._served:
            organisation.drain.note(time_ms, organisation.drained)
            organisation.drained = 0
        self._served.clear()

    def retry_after_ms(self, name: str) -> int:
        """Return when who is over its quota should come back; 0 who is not."""
        organisation = self.organisation_of(name)
        if organisation is None or not organisation.is_over_quota:
            return 0
        return organisation.drain.retry_after_ms(organisation.seat.waiting_max)

    def has_room(self, name: str, organisation: Organisation, room: int, room_bytes: int) -> bool:
        """Tell whether a sender of an organisation may hold more, by the room left of the pool.

        An organisation may hold one part more than `SHARE_FACTOR` times of it, and a sender
        `SHARE_FACTOR` times what its organisation leaves of that.
        """
        sender = self._senders.get(name)
        most = (SHARE_FACTOR + 1) * room - organisation.count
        most_bytes = (SHARE_FACTOR + 1) * room_bytes - organisation.size_bytes
        if sender is None:
            return most >= 0 and most_bytes >= 0
        return (
            sender.count <= SHARE_FACTOR * most and sender.size_bytes <= SHARE_FACTOR * most_bytes
        )

    def organisation_of(self, name: str) -> Organisation | None:
        """Return a sender's organisation, if anything of that is held."""
        sender = self._senders.get(name)
        if sender is not None:
            return sender.organisation
        return self._organisations.get(self.seat_of(name).organisation)

    def _enter(self, name: str, lowest: int) -> Sender:
        seat = self.seat_of(name)
        organisation = self._organisations.get(seat.organisation)
        if organisation is None:
            organisation = self._organisations[seat.organisation] = Organisation(
                seat.organisation, seat
            )
        sender = self._senders[name] = Sender(organisation, lowest)
        return sender


def _spread(sender: Sender, size_bytes: int) -> int:
    """Use up as many rounds from its own on as something takes; return the first of them."""
    while sender.room_bytes <= 0:
        sender.move_on(sender.round + 1)
    number, left_bytes = sender.round, size_bytes
    while (room_bytes := sender.room_bytes) < left_bytes:
        if room_bytes > 0:
            sender.use(room_bytes)
            left_bytes -= room_bytes
        sender.move_on(sender.round + 1)
    sender.use(left_bytes)
    return number
