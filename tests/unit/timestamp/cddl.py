"""A reader of the part of CDDL (RFC 8610) that proto/govchain.cddl is written in.

Arrays of fields, occurrences, choices, ranges, literals, `.size` and `.cbor`: enough to say whether
bytes are an encoding of a rule. Anything else in the file is a syntax error here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from operator import call
from typing import Any

import cbor2

Matches = Callable[[Any], bool]

TOKEN = re.compile(r"\s*(\"[^\"]*\"|[a-z][a-z0-9-]*|\d+\.\.\d+|\d+\*\d+|\d+|\.[a-z]+|[=\[\](),:/])")
PRELUDE: dict[str, Matches] = {
    "uint": lambda value: type(value) is int and 0 <= value < 2**64,
    "int": lambda value: type(value) is int and -(2**64) <= value < 2**64,
    "bstr": lambda value: isinstance(value, bytes),
    "tstr": lambda value: isinstance(value, str),
    "bool": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}


class Schema:
    """The rules of a CDDL text."""

    def __init__(self, text: str) -> None:
        text = re.sub(r";.*", "", text).strip()
        self._tokens: list[str] = []
        position = 0
        while position < len(text):
            found = TOKEN.match(text, position)
            if found is None:
                raise ValueError(f"not understood: {text[position : position + 40]!r}")
            self._tokens.append(found[1])
            position = found.end()
        self.rules: dict[str, Matches] = {}
        self.named: set[str] = set()
        self._at = 0
        while self._at < len(self._tokens):
            name = self._take()
            if name in self.rules or name in PRELUDE:
                raise ValueError(f"defined twice: {name}")
            self._expect("=")
            self.rules[name] = self._type()
        if undefined := self.named - self.rules.keys():
            raise ValueError(f"undefined: {sorted(undefined)}")

    def matches(self, rule: str, data: bytes) -> bool:
        """Tell whether `data` is the deterministic encoding of a value of `rule`."""
        try:
            value = cbor2.loads(data)
        except (cbor2.CBORDecodeError, UnicodeDecodeError):
            return False
        return self.rules[rule](value) and cbor2.dumps(value) == data

    def _matches_rule(self, rule: str, value: object) -> bool:
        return self.rules[rule](value)  # which may be defined further down

    def _peek(self, ahead: int = 0) -> str:
        return (*self._tokens[self._at :][: ahead + 1], *[""] * (ahead + 1))[ahead]

    def _take(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1]

    def _expect(self, token: str) -> None:
        if (got := self._take()) != token:
            raise ValueError(f"expected {token!r}, got {got!r}")

    def _type(self) -> Matches:
        choices = [self._controlled()]
        while self._peek() == "/":
            self._take()
            choices.append(self._controlled())
        if len(choices) == 1:
            return choices[0]
        return lambda value: any(choice(value) for choice in choices)

    def _controlled(self) -> Matches:
        base, control = self._simple(), self._peek()
        if control == ".cbor":
            self._take()
            rule = self._take()
            self.named.add(rule)
            return lambda value: base(value) and self.matches(rule, value)
        if control == ".size":
            self._take()
            fits = self._simple()
            return lambda value: (
                base(value) and fits(len(value.encode() if isinstance(value, str) else value))
            )
        return base

    def _simple(self) -> Matches:
        token = self._take()
        if token == "[":
            return self._array()
        if token == "(":
            inner = self._type()
            self._expect(")")
            return inner
        if ".." in token:
            low, high = map(int, token.split(".."))
            return lambda value: type(value) is int and low <= value <= high
        if token.startswith('"'):
            return lambda value: type(value) is str and value == token[1:-1]
        if token.isdigit():
            return lambda value: type(value) is int and value == int(token)
        if token in PRELUDE:
            return PRELUDE[token]
        self.named.add(token)
        return partial(self._matches_rule, token)

    def _array(self) -> Matches:
        if "*" in self._peek():
            low, high = map(int, self._take().split("*"))
            item = self._type()
            self._expect("]")
            return lambda value: (
                isinstance(value, list) and low <= len(value) <= high and all(map(item, value))
            )
        fields: list[Matches] = []
        while True:
            if self._peek(1) == ":":
                self._take()
                self._take()
            fields.append(self._type())
            if (token := self._take()) != ",":
                break
        if token != "]":
            raise ValueError(f"expected ',' or ']', got {token!r}")
        return lambda value: (
            isinstance(value, list) and len(value) == len(fields) and all(map(call, fields, value))
        )
