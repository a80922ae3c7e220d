"""A sentence that a room below says in English, told in the user's language.

It is found again by its template; what filled the template is kept, or told itself where that is a
sentence. What is no such sentence is returned as it is: nothing is ever lost by telling it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import cache, lru_cache
from gettext import gettext as _
from typing import Final

from node.cli.sentences.findings import FINDINGS
from node.cli.sentences.names import NAMES
from node.cli.sentences.refusals import REFUSALS

Template = tuple[str, re.Pattern[str]]

SENTENCE: Final = "said"
"""The name in a template for what is a sentence itself, of the same kind."""
REFUSAL: Final = "refusal"
"""The name for what is one of those that refuse, in what was found."""
_BRACES: Final = re.compile(r"\{(\w+)\}")
_SEPARATOR: Final = ": "
_ANY: Final = ".+?"
_VALUES: Final = (rf"(?:(?!{_SEPARATOR}).)+?", _ANY)
"""What may fill a template: first without what separates names, else a name ends up in a value."""
_FREE: Final = (SENTENCE, REFUSAL, "got", "why")
"""What is not ours alone, and may hold anything."""
_ARTICLE: Final = "the "
_LANGUAGE_SETTINGS: Final = ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")
"""Where gettext finds the user's language."""
_KEPT_MAX: Final = 256
"""Sentences kept as told: of ten thousand documents that fail, most fail for the same reason."""
_LENGTH_MAX: Final = 4_096
"""Of what is looked at: longer is no sentence of ours, but what somebody put into one."""


def tell_refusal(sentence: str) -> str:
    """Return why something is refused, in the user's language."""
    return _tell_any(sentence, REFUSALS)


def tell_finding(sentence: str) -> str:
    """Return what a step that passed found, in the user's language."""
    return _tell_any(sentence, FINDINGS)


def _tell_any(sentence: str, sentences: tuple[str, ...]) -> str:
    if len(sentence) > _LENGTH_MAX:
        return sentence
    return _tell_once(sentence, sentences, tuple(map(os.environ.get, _LANGUAGE_SETTINGS)))


@lru_cache(_KEPT_MAX)
def _tell_once(sentence: str, sentences: tuple[str, ...], _language: tuple[str | None, ...]) -> str:
    told = (_tell(sentence, _templates(sentences, value)) for value in _VALUES)
    return next((each for each in told if each is not None), sentence)


def _tell(sentence: str, templates: tuple[Template, ...]) -> str | None:
    """Return a sentence told, with the names that it begins with; None if it is none of ours."""
    told = _fill(sentence, templates)
    ends = (found.start() for found in re.finditer(_SEPARATOR, sentence))
    while told is None and (end := next(ends, None)) is not None:
        said = _fill(sentence[end + len(_SEPARATOR) :], templates)
        if said is not None:
            told = _join([*map(_tell_name, sentence[:end].split(_SEPARATOR)), said])
    return told


def _fill(sentence: str, templates: tuple[Template, ...]) -> str | None:
    for english, pattern in templates:
        found = pattern.fullmatch(sentence)
        if found is None:
            continue
        values = found.groupdict()
        if SENTENCE in values:
            said = _tell(values[SENTENCE], templates)
            if said is None:
                continue
            values[SENTENCE] = said
        if REFUSAL in values:
            values[REFUSAL] = tell_refusal(values[REFUSAL])
        return _(english).format(**values)
    return None


def _join(parts: list[str]) -> str:
    *names, said = parts
    for name in reversed(names):
        said = _("{name}: {said}").format(name=name, said=said)
    return said


def _tell_name(name: str) -> str:
    """Return the name of a thing told word by word; as it is where it has others than ours."""
    words = list(_words(name))
    told = [_(english) for _word, english in words]
    is_whole = " ".join(word for word, _english in words) == name
    is_told = told != [english for _word, english in words]
    return "".join(told) if is_whole and is_told else name


def _words(name: str) -> Iterator[tuple[str, str]]:
    """Yield the words of a name as far as they are known, each with its message."""
    at = 0
    while found := _name_pattern().match(name, at):
        yield found[0], _names()[found[0]]
        at = found.end() + 1


@cache
def _names() -> dict[str, str]:
    return {english.removeprefix(_ARTICLE): english for english in NAMES}


@cache
def _name_pattern() -> re.Pattern[str]:
    longest_first = sorted(_names(), key=len, reverse=True)
    return re.compile(rf"(?:{'|'.join(map(re.escape, longest_first))})(?= |$)")


@cache
def _templates(sentences: tuple[str, ...], value: str) -> tuple[Template, ...]:
    """Return templates with what finds them again: the one that says most by itself first."""
    ordered = sorted(sentences, key=lambda each: (-len(_BRACES.sub("", each)), each))
    return tuple((each, re.compile(_pattern_of(each, value), re.DOTALL)) for each in ordered)


def _pattern_of(english: str, value: str) -> str:
    pieces = enumerate(_BRACES.split(english))
    return "".join(
        f"(?P<{piece}>{_ANY if piece in _FREE else value})" if at % 2 else re.escape(piece)
        for at, piece in pieces
    )
