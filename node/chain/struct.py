"""What records, transactions and blocks are made of: structs of msgspec, made by the thousand.

An auditor who verifies has cryptography and cbor2 alone. Where msgspec is not installed they are
dataclasses: slower, with the same fields and the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, dataclass_transform

__all__ = ["PlainStruct", "Struct"]


@dataclass_transform()
class PlainStruct:
    """A base whose subclasses become dataclasses, as far as this package asks for it."""

    def __init_subclass__(
        cls, *, frozen: bool = False, kw_only: bool = False, gc: bool = True
    ) -> None:
        """Make the subclass a dataclass; `gc` is about speed, and ignored."""
        del gc
        dataclass(frozen=frozen, kw_only=kw_only)(cls)


if TYPE_CHECKING:
    from msgspec import Struct
else:
    try:
        from msgspec import Struct
    except ModuleNotFoundError:
        Struct = PlainStruct
