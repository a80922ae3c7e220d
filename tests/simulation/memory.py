"""How much memory an object holds, whatever it is made of: the oracle of bounded memory asks."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable
from types import BuiltinFunctionType, FunctionType, ModuleType

from msgspec import Struct


def held_bytes(root: object, besides: Iterable[object]) -> int:
    """Return the bytes of all that `root` refers to, at any depth, but for code and `besides`."""
    seen = {id(item) for item in besides}
    total = 0
    waiting = [root]
    while waiting:
        item = waiting.pop()
        if id(item) in seen or isinstance(
            item, type | ModuleType | FunctionType | BuiltinFunctionType
        ):
            continue
        seen.add(id(item))
        total += sys.getsizeof(item)
        waiting += gc.get_referents(item)
        if isinstance(item, Struct):  # those that the collector leaves out do not tell it
            waiting += [getattr(item, name) for name in item.__struct_fields__]
    return total
