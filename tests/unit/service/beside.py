"""Writes beside the turns, on no thread: each is carried out when somebody waits for it."""

from __future__ import annotations

from collections.abc import Callable


class Pending:
    """A write that was begun."""

    def __init__(self, write: Callable[[], None]) -> None:
        self._write = write
        self._is_done = False

    def done(self) -> bool:
        return self._is_done

    def result(self) -> None:
        if not self._is_done:
            self._is_done = True
            self._write()


class Later:
    """All of them, in order."""

    def __init__(self) -> None:
        self.begun: list[Pending] = []

    def __call__(self, write: Callable[[], None]) -> Pending:
        self.begun.append(Pending(write))
        return self.begun[-1]
