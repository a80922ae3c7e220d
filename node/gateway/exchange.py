"""One request on its way through the gateway, and its answer. Bodies and parameters become types.

Every decoder here is strict: unknown members, doubled parameters and what is not of its type are
refused, by `ClientError`, which names the place.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import ParamSpec, Protocol, TypeVar

import msgspec

from node.errors import ClientError
from node.gateway.door import Caller

_T = TypeVar("_T")
_P = ParamSpec("_P")


class Blocking(Protocol):
    """Runs what blocks on a thread of its own, one call after the other."""

    def __call__(
        self, call: Callable[_P, _T], /, *args: _P.args, **named: _P.kwargs
    ) -> Awaitable[_T]:
        """Run a call and give what it returns."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered."""

    status: int
    body: bytes
    media_type: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A request that was let in."""

    caller: Caller
    path: Mapping[str, str]
    query: tuple[tuple[str, str], ...]
    body: bytes
    idempotency_key: str | None
    last_event_id: str | None
    about: dict[str, str | int | bool] = field(default_factory=dict)
    """What the security log is to say of it, beyond who and what."""

    def body_as(self, kind: type[_T]) -> _T:
        """Return the body, JSON, as a type."""
        try:
            return msgspec.json.decode(self.body, type=kind)
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            raise ClientError(f"body: {error}") from error

    def query_as(self, kind: type[_T]) -> _T:
        """Return the parameters of the query as a type."""
        named = dict(self.query)
        if len(named) != len(self.query):
            raise ClientError("query: expected each parameter once")
        return _convert(named, kind, "query")

    def path_as(self, kind: type[_T]) -> _T:
        """Return the parameters of the path as a type."""
        return _convert(self.path, kind, "path")


def _convert(values: Mapping[str, str], kind: type[_T], what: str) -> _T:
    try:
        found = msgspec.convert(dict(values), kind, strict=False)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ClientError(f"{what}: {error}") from error
    for name, text in values.items():
        value = getattr(found, name)
        if value is None or (isinstance(value, int) and str(value) != text):
            raise ClientError(f"{what}: {name}: expected one form, got {text!r:.60}")
    return found
