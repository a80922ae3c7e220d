"""What of a text is shown to whom: numbers of people masked where content is displayed.

A policy says for each kind of number, and for whole fields by their names, how much is shown. It is
for displays: what is hidden here is still in the data, and what no recogniser knows is shown.
"""

from __future__ import annotations

import codecs
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Self

from node.disclosure.personal import PersonalKind, find_numbers
from node.errors import DecodeError

POLICY_BYTES_MAX: Final = 65_536
MASK: Final = "*"
_FIELDS_MAX: Final = 1_024
_NAMES: Final = frozenset({"numbers", "fields", "otherwise"})


class Treatment(Enum):
    """How much is shown."""

    SHOW = "show"
    """All of it."""
    MASK = "mask"
    """What tells records apart at a glance, as on a receipt of payment; the rest as asterisks."""
    HIDE = "hide"
    """Asterisks alone, of a number that does not tell its length."""


_HIDDEN: Final = MASK * 8
_KEPT: Final[Mapping[PersonalKind, tuple[int, int]]] = {
    PersonalKind.IDENTITY_CARD: (3, 2),
    PersonalKind.CREDIT_CODE: (2, 4),
    PersonalKind.BANK_CARD: (4, 4),
    PersonalKind.MOBILE: (3, 4),
}
"""How many characters stay in front and at the end. Of an identity card nothing of the birthday."""
_KEPT_OF_FIELD: Final = (1, 0)


@dataclass(frozen=True, slots=True)
class MaskingPolicy:
    """Who sees how much. What no rule names is treated as `numbers` and `otherwise` say."""

    numbers: Mapping[PersonalKind, Treatment] = field(
        default_factory=lambda: dict.fromkeys(PersonalKind, Treatment.MASK)
    )
    fields: Mapping[str, Treatment] = field(default_factory=dict)
    """By the name of a field, or the last part of its path."""
    otherwise: Treatment = Treatment.SHOW
    """Of what no rule names, and no recogniser finds."""

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Read a policy in TOML; raises `DecodeError` naming the member that does not hold."""
        if len(data) > POLICY_BYTES_MAX:
            raise DecodeError(f"masking policy: expected at most {POLICY_BYTES_MAX} bytes")
        if data.startswith(codecs.BOM_UTF8):
            raise DecodeError(
                "masking policy: begins with a byte order mark (BOM); save it without"
            )
        try:
            table = tomllib.loads(data.decode())
        except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
            raise DecodeError(f"masking policy: not TOML: {error}") from error
        if unknown := sorted(table.keys() - _NAMES):
            known = ", ".join(sorted(_NAMES))
            raise DecodeError(f"masking policy: {unknown[0]!r} is unknown; known: {known}")
        kinds = {kind.value: kind for kind in PersonalKind}
        numbers = dict.fromkeys(PersonalKind, Treatment.MASK)
        for name, said in _table_of(table, "numbers").items():
            if name not in kinds:
                known = ", ".join(kinds)
                raise DecodeError(f"masking policy: numbers.{name} is unknown; known: {known}")
            numbers[kinds[name]] = _treatment(said, f"numbers.{name}")
        named = _table_of(table, "fields")
        if len(named) > _FIELDS_MAX:
            raise DecodeError(f"masking policy: expected at most {_FIELDS_MAX} fields")
        treated = {name: _treatment(said, f"fields.{name}") for name, said in named.items()}
        return cls(numbers, treated, _treatment(table.get("otherwise", "show"), "otherwise"))

    def mask_field(self, path: tuple[str, ...], text: str) -> str:
        """Return what is shown of a field's value."""
        named = self.fields.get("/".join(path), self.fields.get(path[-1] if path else ""))
        return self.mask_text(text) if named is None else _treat(text, named, _KEPT_OF_FIELD)

    def mask_reference(self, reference: str | None) -> str | None:
        """Return what is shown of a record's reference, the field `reference` of a policy."""
        return None if reference is None else self.mask_field(("reference",), reference)

    def mask_text(self, text: str) -> str:
        """Return what is shown of a text: each number as its kind is treated."""
        if self.otherwise is not Treatment.SHOW:
            return _treat(text, self.otherwise, _KEPT_OF_FIELD)
        shown, at = [], 0
        for number in find_numbers(text):
            shown.append(text[at : number.start])
            bare = text[number.start : number.end]
            shown.append(_treat(bare, self.numbers[number.kind], _KEPT[number.kind]))
            at = number.end
        return "".join([*shown, text[at:]])


DEFAULT_POLICY: Final = MaskingPolicy()
"""Every number masked, all else shown."""


def _treat(text: str, treatment: Treatment, kept: tuple[int, int]) -> str:
    match treatment:
        case Treatment.SHOW:
            return text
        case Treatment.HIDE:
            return _HIDDEN
        case Treatment.MASK:
            front, end = kept
            if len(text) <= front + end:
                return MASK * len(text)
            middle = re.sub(r"[^ -]", MASK, text[front : len(text) - end])
            return text[:front] + middle + text[len(text) - end :]


def _treatment(value: object, name: str) -> Treatment:
    known = {each.value: each for each in Treatment}
    if not isinstance(value, str) or value not in known:
        wanted = ", ".join(known)
        raise DecodeError(f"masking policy: {name}: expected one of {wanted}, got {value!r:.40}")
    return known[value]


def _table_of(table: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = table.get(name, {})
    if not isinstance(found, dict):
        raise DecodeError(f"masking policy: {name}: expected a table, got {type(found).__name__}")
    return found
