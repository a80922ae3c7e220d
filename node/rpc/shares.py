"""What one caller may have of a node at once, so that enough is left for all others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Shares:
    """Counts by caller. Nothing is kept of who has nothing."""

    def __init__(self, most: int) -> None:
        """Each may have `most` at once."""
        self.most = most
        self._had: Counter[str] = Counter()

    def take(self, who: str, count: int) -> bool:
        """Give `who` so many more, and say so; or give none, where that would be too many."""
        if self._had[who] + count > self.most:
            self._forget(who)
            return False
        self._had[who] += count
        return True

    def give_back(self, who: str, count: int) -> None:
        """Take back what `take` gave."""
        self._had[who] -= count
        self._forget(who)

    @contextmanager
    def one(self, who: str) -> Iterator[bool]:
        """Give `who` one within; tell whether it has it."""
        has_one = self.take(who, 1)
        try:
            yield has_one
        finally:
            if has_one:
                self.give_back(who, 1)

    def __len__(self) -> int:
        """Return how many callers have something."""
        return len(self._had)

    def _forget(self, who: str) -> None:
        if self._had[who] == 0:
            del self._had[who]
