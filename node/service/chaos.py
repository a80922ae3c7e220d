"""Faults on purpose, for trials: peers not heard, messages delayed, a clock put wrong, for a while.

The control is a file in the validator's folder, for its owner alone: who may write it may as well
stop the process. Nothing of it can be reached from another machine. It counts only on a chain whose
genesis says that it is for trials (the composition root does not even look for it elsewhere), only
within bounds, and it ends by itself: at its time, when the file goes, at the latest after
`CHAOS_MS_MAX`.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Protocol

import msgspec

from node.consensus.events import Now
from node.errors import ConfigError

CHAOS_FILE: Final = "chaos.json"
CHAOS_MS_MAX: Final = 300_000
DELAY_MS_MAX: Final = 2_000
SKEW_MS_MAX: Final = 3_600_000

_FILE_BYTES_MAX: Final = 8_192
_OTHERS: Final = 0o077
_VERSION: Final = 1


class Chaos(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be wrong with one validator, and until when."""

    version: int = _VERSION
    until_ms: int
    """On the machine's monotonic clock, which all its processes share."""
    cut: tuple[str, ...] = ()
    """Validators that nothing goes to and nothing is taken from."""
    delay_ms: int = 0
    """How long every message to a peer is held back."""
    skew_ms: int = 0
    """How far its UTC clock is put forward."""

    def encode(self) -> bytes:
        """Return the content of the file."""
        return msgspec.json.encode(self) + b"\n"

    def describe(self, now_ms: int) -> str:
        """Say it in a line, for logs and diagnoses."""
        parts = [
            f"cut from {', '.join(self.cut)}" if self.cut else "",
            f"messages delayed by {self.delay_ms} ms" if self.delay_ms else "",
            f"clock {self.skew_ms:+d} ms" if self.skew_ms else "",
            f"{max(self.until_ms - now_ms, 0)} ms left",
        ]
        return "; ".join(filter(None, parts))


def read_chaos(path: Path, now_ms: int) -> Chaos | None:
    """Return what the file at `path` asks for, None where there is none or its time is over.

    `now_ms` is monotonic. Raises `ConfigError` for a file that does not count: not the owner's
    alone, malformed, out of bounds.
    """
    try:
        data = _read_private(path)
        chaos = None if data is None else msgspec.json.decode(data, type=Chaos)
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigError(f"{path}: {error}", fix="remove it") from error
    if chaos is None:
        return None
    bounded = (
        chaos.version == _VERSION
        and chaos.until_ms <= now_ms + CHAOS_MS_MAX
        and 0 <= chaos.delay_ms <= DELAY_MS_MAX
        and abs(chaos.skew_ms) <= SKEW_MS_MAX
    )
    if not bounded:
        raise ConfigError(f"{path}: out of bounds: {chaos}", fix="remove it")
    return chaos if now_ms < chaos.until_ms else None


def _read_private(path: Path) -> bytes | None:
    """Return what a plain file of its owner alone holds; None where there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        status = os.fstat(descriptor)
        private = status.st_uid == os.geteuid() and not stat.S_IMODE(status.st_mode) & _OTHERS
        if not stat.S_ISREG(status.st_mode) or not private:
            raise ConfigError(f"{path}: expected a file for its owner alone", fix="remove it")
        return os.read(descriptor, _FILE_BYTES_MAX)
    finally:
        os.close(descriptor)


class Links(Protocol):
    """The way to the peers."""

    def send(self, peer: int, priority: int, message: bytes) -> None:
        """Queue a message for one peer."""

    def broadcast(self, priority: int, message: bytes) -> None:
        """Queue a message for every peer."""


class DisturbedLinks:
    """The links of one validator with its chaos between: what is cut is lost, the rest is late.

    `call_later` runs a function after so many ms; `now_ms` reads the monotonic clock.
    """

    def __init__(
        self,
        links: Links,
        *,
        name_of: Callable[[int], str],
        assigned: Callable[[], Iterable[int]],
        now_ms: Callable[[], int],
        call_later: Callable[[int, Callable[[], None]], object],
    ) -> None:
        """Start undisturbed; `assigned` gives the numbers of those that broadcasts go to."""
        self._links, self._name_of, self._assigned = links, name_of, assigned
        self._now_ms, self._call_later = now_ms, call_later
        self._chaos: Chaos | None = None
        self._held: deque[tuple[int, int, int, bytes]] = deque()
        """When due, to whom, how urgent, what: in the order of sending."""

    def disturb(self, chaos: Chaos | None) -> None:
        """Put this in force instead of what was."""
        self._chaos = chaos

    @property
    def chaos(self) -> Chaos | None:
        """What is in force now; its end does not wait for anybody to notice."""
        chaos = self._chaos
        return chaos if chaos is not None and self._now_ms() < chaos.until_ms else None

    def hears(self, peer: int) -> bool:
        """Whether what comes from a peer is to be taken."""
        chaos = self.chaos
        return chaos is None or self._name_of(peer) not in chaos.cut

    def put_wrong(self, now: Now) -> Now:
        """Return a reading of the clocks as this validator is to see it."""
        chaos = self.chaos
        if chaos is None or not chaos.skew_ms:
            return now
        return Now(now.monotonic_ms, now.utc_ms + chaos.skew_ms)

    def send(self, peer: int, priority: int, message: bytes) -> None:
        """Queue a message for one peer, later or never as it may be."""
        chaos = self.chaos
        delay_ms = 0 if chaos is None else chaos.delay_ms
        if not self.hears(peer):
            return
        if not delay_ms and not self._held:
            self._links.send(peer, priority, message)
            return
        self._held.append((self._now_ms() + delay_ms, peer, priority, message))
        self._call_later(delay_ms, self._release)

    def broadcast(self, priority: int, message: bytes) -> None:
        """Queue a message for every peer, as `send`."""
        if self.chaos is None and not self._held:
            self._links.broadcast(priority, message)
            return
        for peer in self._assigned():
            self.send(peer, priority, message)

    def _release(self) -> None:
        """Let go of what is due; of everything, once nothing is to be delayed any more."""
        chaos, now_ms = self.chaos, self._now_ms()
        delays = chaos is not None and chaos.delay_ms > 0
        while self._held and (not delays or self._held[0][0] <= now_ms):
            _, peer, priority, message = self._held.popleft()
            self._links.send(peer, priority, message)
