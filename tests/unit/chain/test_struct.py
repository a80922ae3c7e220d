"""The stand-in for msgspec's structs, which verification uses where that is not installed."""

from __future__ import annotations

import pytest

from node.chain.record import Record
from node.chain.struct import PlainStruct, Struct


def test_a_plain_struct_is_as_strict_as_its_model() -> None:
    class Plain(PlainStruct, frozen=True, gc=False, kw_only=True):
        height: int
        sender: str | None = None

    made = Plain(height=1)
    assert made == Plain(height=1, sender=None)
    assert hash(made) == hash(Plain(height=1))
    with pytest.raises(AttributeError):
        made.height = 2  # type: ignore[misc] # that is the point
    with pytest.raises(TypeError):
        Plain(1)  # type: ignore[call-arg]
    assert not issubclass(Record, PlainStruct), "where msgspec is installed, it is used"
    assert issubclass(Record, Struct)
