"""Which setups there are: who is Byzantine, how, and whom the correct ones hear."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from tests.exhaustive.chain import SIZE
from tests.exhaustive.system import Setup

FIRST, SECOND, BOTH = 1, 2, 3


def setups(slots: int, views: int, *, restarts: bool = True) -> Iterator[Setup]:
    """Yield every setup but those that differ from one only by names.

    With v views the validators v and above are primary of none and so alike: one of them is
    Byzantine for all. That the twins change names changes nothing either.
    """
    places = range(min(views + 1, SIZE))
    for byzantine in places:
        yield Setup(slots=slots, views=views, byzantine=byzantine, restarts=restarts)
    for byzantine in places:
        for sees in _splits(byzantine, views):
            yield Setup(slots=slots, views=views, byzantine=byzantine, sees=sees, restarts=restarts)


def _splits(byzantine: int, views: int) -> Iterator[tuple[int, ...]]:
    """Yield for each correct validator whom of the twins it hears; not all the same one."""
    correct = [validator for validator in range(SIZE) if validator != byzantine]
    ordered = sum(validator < views for validator in correct)
    seen = set()
    for sees in product((FIRST, SECOND, BOTH), repeat=SIZE - 1):
        swapped = tuple({FIRST: SECOND, SECOND: FIRST}.get(heard, BOTH) for heard in sees)
        alike = min((s[:ordered], sorted(s[ordered:])) for s in (sees, swapped))
        key = (alike[0], tuple(alike[1]))
        if key in seen or set(sees) in ({FIRST}, {SECOND}):
            continue
        seen.add(key)
        yield sees
