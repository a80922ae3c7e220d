"""What the state after the newest final block says of senders, read once until a block changes it.

A transaction is screened, and seated in the pool, by the key, the standing and the quota of whom it
is of. These are some ten reads of the state, and next to no block changes any of what they give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from node.execution.apply import StateReader, sender_key, why_sender_barred
from node.execution.registry import StateKind, prefix_of
from node.service.turns import Seat, seat_of

SENDERS_REMEMBERED: Final = 1_024
_TOLD_BY: Final = tuple(map(prefix_of, (StateKind.IDENTITY, StateKind.STATUS, StateKind.QUOTA)))
"""How the state keys begin that any of the answers comes from."""

_Answer = TypeVar("_Answer")


class Senders:
    """Answers about senders by one state, which moves with the chain."""

    def __init__(self, tip: StateReader) -> None:
        """`tip` is the state as it is whenever it is asked."""
        self._tip = tip
        self._keys: dict[str, bytes | None] = {}
        self._bars: dict[str, str | None] = {}
        self._seats: dict[str, Seat] = {}

    def key_of(self, sender: str) -> bytes | None:
        """Return the encoded public key its signatures must verify under; None of a stranger."""
        return self._recall(self._keys, sender, sender_key)

    def why_barred(self, sender: str) -> str | None:
        """Return in words what took it its rights; None where it has them, and of a stranger."""
        return self._recall(self._bars, sender, why_sender_barred)

    def seat_of(self, sender: str) -> Seat:
        """Return for whom it asks, and by which quota."""
        return self._recall(self._seats, sender, seat_of)

    def note_final(self, written: Iterable[bytes]) -> bool:
        """Take note of the state keys that a final block wrote; say whether answers may change."""
        may_change = any(key.startswith(_TOLD_BY) for key in written)
        if may_change:
            for answers in (self._keys, self._bars, self._seats):
                answers.clear()
        return may_change

    def _recall(
        self,
        answers: dict[str, _Answer],
        sender: str,
        read: Callable[[StateReader, str], _Answer],
    ) -> _Answer:
        if sender in answers:
            return answers[sender]
        if len(answers) >= SENDERS_REMEMBERED:  # names of strangers cost a read, and no more memory
            answers.clear()
        answer = answers[sender] = read(self._tip, sender)
        return answer
