"""A plugin of pytest that notes what tests hand to a target that has no corpus: where one begins.

    python -m pytest -p tests.fuzz.gathering tests/unit/chain

Targets are wrapped before the tests are imported, so that those see the wrapped ones.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from random import Random
from typing import Any, Final

from tests.fuzz import corpora
from tests.fuzz.targets import TARGETS, function

INPUTS_MAX: Final = 300
"""Of each target, of what is taken and as many of what is refused."""

_seen: dict[str, tuple[set[bytes], set[bytes]]] = {
    name: (set(), set()) for name in TARGETS if not corpora.read(name)
}


def pytest_configure() -> None:
    """Wrap every target that is new."""
    for name in _seen:
        _wrap(name)


def pytest_sessionfinish() -> None:
    """Begin each corpus with what was seen."""
    for name, (taken, refused) in _seen.items():
        corpora.write(name, [each for kind in (taken, refused) for each in _some(kind)])


def _some(inputs: set[bytes]) -> list[bytes]:
    ordered = sorted(inputs)
    return Random(0).sample(ordered, min(INPUTS_MAX, len(ordered)))


def _wrap(name: str) -> None:
    target = function(name)
    owner_path, _, last = name.partition(":")[2].rpartition(".")
    module = import_module(f"node.{name.partition(':')[0]}")
    owner: Any = function(f"{name.partition(':')[0]}:{owner_path}") if owner_path else module
    if owner_path and not isinstance(owner.__dict__.get(last), classmethod):
        return  # a method: what it is handed is what its kind decodes
    wrapped = _noting(name, target)
    setattr(owner, last, staticmethod(wrapped) if owner_path else wrapped)


def _noting(name: str, target: Callable[..., Any]) -> Callable[..., Any]:
    taken, refused = _seen[name]

    def noted(data: bytes | str, *arguments: object, **named: object) -> object:
        held = data.encode() if isinstance(data, str) else bytes(data)
        is_small = len(held) <= corpora.INPUT_BYTES_MAX
        try:
            value = target(data, *arguments, **named)
        except Exception:
            if is_small and len(refused) < INPUTS_MAX * 10:
                refused.add(held)
            raise
        if is_small and len(taken) < INPUTS_MAX * 10:
            taken.add(held)
        return value

    return noted
