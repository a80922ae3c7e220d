"""What the oracles can say, read from their code, and what a planted mistake that makes them is.

A text that begins with the name of a rule is one. A rule that says different things, of different
mistakes, has a planted one for each: test_planted.py.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.simulation.violation import Violation

HERE = Path(__file__).parent
RULE = re.compile(r"([A-Z]\d?): ")


def sources() -> Iterator[Path]:
    return (each for each in HERE.rglob("*.py") if not each.name.startswith("test_"))


def text_of(node: ast.AST) -> str:
    """Return a text as it stands in the code, `{}` for what is filled in; empty if it is none."""
    match node:
        case ast.Constant(str(text)):
            return text
        case ast.JoinedStr(parts):
            return "".join(text_of(part) or "{}" for part in parts)
    return ""


def texts() -> Iterator[str]:
    """Find all that oracles can say."""
    for path in sources():
        inside: list[ast.AST] = []  # parts of a text that is filled in
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                inside += node.values
            if RULE.match(text_of(node)) and not any(node is each for each in inside):
                yield text_of(node)


SAYS = sorted(dict.fromkeys(texts()))


def pattern_of(says: str) -> re.Pattern[str]:
    """Return what matches a text, whatever is filled in."""
    return re.compile(".*".join(map(re.escape, says.split("{}"))), re.DOTALL)


def said_in(violation: str) -> str:
    """Return the text that was said, the longest where one is the beginning of another."""
    return max((says for says in SAYS if pattern_of(says).match(violation)), key=len, default="")


@dataclass(frozen=True, slots=True)
class Case:
    """A mistake at which one rule objects, and a run that is right but for it."""

    says: str
    """What the rule says, as the code has it: `{}` for what is filled in."""
    name: str
    """The mistake."""
    play: Callable[[pytest.MonkeyPatch, bool], object]
    """Run, with the mistake if so told; raises `Violation`."""

    def check(self, patch: pytest.MonkeyPatch) -> None:
        """See that the rule objects to the mistake, and none to what is right."""
        assert self._violation(patch, wrong=False) == ""
        violation = self._violation(patch, wrong=True)
        assert said_in(violation) == self.says, violation

    def _violation(self, patch: pytest.MonkeyPatch, *, wrong: bool) -> str:
        try:
            self.play(patch, wrong)
        except Violation as broken:
            return str(broken)
        return ""


def test_no_verdict_is_without_the_name_of_a_rule() -> None:
    """Every `Violation` says a text that is found here, or hands on one that is."""
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name("Violation"), args=[said]):
                    text = text_of(said)
                    assert RULE.match(text) or text.startswith("{}: "), f"{path}: {text}"


def test_readers_are_told_of_each_rule_and_of_no_other() -> None:
    named: set[str] = set()
    for line in (HERE / "README.md").read_text().splitlines():
        for name in re.findall(r"\| ([A-Z]\d?(?:-[A-Z]\d)?) (?=\|)", line):
            letter, first, last = name[0], name[1:2], name[-1] if "-" in name else name[1:2]
            if first:
                named |= {f"{letter}{number}" for number in range(int(first), int(last) + 1)}
            else:
                named.add(letter)
    assert named == {says.partition(":")[0] for says in SAYS}


def test_texts_are_found_wherever_they_stand() -> None:
    assert {"G1: not proposed", "X: {}", "A5: {} in {} and {}", "L: {}", "V: {}"} < {*SAYS}
    assert said_in("X: validator 3 halted: why") == "X: validator {} halted: {}"
    assert said_in("X: Traceback") == "X: {}"
    assert said_in("Q: nothing of the kind") == ""
