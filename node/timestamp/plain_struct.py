"""What of msgspec the verification needs, for an auditor who has cryptography and cbor2 alone.

Records and transactions are msgspec's structs, since a node makes them by the thousand. Where that
library is not installed they are dataclasses here: slower, with the same fields and the same bytes.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Final, dataclass_transform

_LIBRARY: Final = "msgspec"
_MADE_OF_IT: Final = (
    "node.chain.record",
    "node.chain.reference",
    "node.chain.state_page",
    "node.chain.transaction",
    "node.chain.block",
)


@dataclass_transform()
class Struct:
    """A base whose subclasses become dataclasses, as far as `node.chain` asks for it."""

    def __init_subclass__(
        cls, *, frozen: bool = False, kw_only: bool = False, gc: bool = True
    ) -> None:
        """Make the subclass a dataclass; `gc` is about speed, and ignored."""
        del gc
        dataclass(frozen=frozen, kw_only=kw_only)(cls)


def import_chain() -> None:
    """Import what is made of structs; nobody else sees the stand-in of a library not installed."""
    try:
        import_module(_LIBRARY)
    except ModuleNotFoundError:
        stand_in = ModuleType(_LIBRARY, __doc__)
        vars(stand_in)["Struct"] = Struct
        sys.modules[_LIBRARY] = stand_in
        try:
            for name in _MADE_OF_IT:
                import_module(name)
        finally:
            del sys.modules[_LIBRARY]
