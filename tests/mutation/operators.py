"""Mutants made by rule: one small change at one place of a guard, for every place there is.

Names are place:operator:ordinal, where the place is the module and the function, so that a change
elsewhere renames nothing. What only tells (traces, texts of errors) is left as it is.

- `flip`: a comparison says the opposite; `bound`: a boundary is moved by one
- `less`, `more`: a quorum one smaller, f one larger; `step`: `+ 1` and `- 1` left out
- `drop-term`: one condition of an `and` or `or` is left out
- `negate`: what an `if`, `while`, filter or conditional asks is answered the other way
- `drop-guard`: an `if` that ends a function, a step of a loop or all with an error is left out
- `swap`: `min` for `max` and the reverse, `any` for `all`; `unsorted`: `sorted` changes no order
- `drop-call`: a call made for its effect is left out; `drop-set`: so is an assignment to a field
- `truth`: True for False and the reverse where one is assigned, passed or returned
- `other-view`: of a certified header, the view it was proposed in for the one it was certified in
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.mutation.mutant import Edit, Mutant

MODULES = (
    "node/chain/certificate.py",
    "node/chain/encoding.py",
    "node/chain/evidence.py",
    "node/chain/governance.py",
    "node/chain/identity.py",
    "node/chain/membership.py",
    "node/chain/policy.py",
    "node/chain/time_rules.py",
    "node/chain/transaction_reader.py",
    "node/chain/validation.py",
    "node/chain/vault.py",
    "node/consensus/core.py",
    "node/consensus/messages.py",
    "node/consensus/new_view.py",
    "node/consensus/pacemaker.py",
    "node/consensus/standing.py",
    "node/consensus/state.py",
    "node/consensus/verification.py",
    "node/consensus/view_changes.py",
    "node/crypto/key_tables.py",
    "node/execution/apply.py",
    "node/execution/governance.py",
    "node/execution/identity.py",
    "node/execution/policy.py",
    "node/execution/registry.py",
    "node/execution/vault.py",
    "node/service/ballots.py",
    "node/service/catch_up/backfill.py",
    "node/service/catch_up/block_sync.py",
    "node/service/catch_up/filling.py",
    "node/service/catch_up/lineage.py",
    "node/service/catch_up/snapshot_sync.py",
    "node/service/catch_up/sources.py",
    "node/service/clock_fitness.py",
    "node/service/engine.py",
    "node/service/mempool.py",
    "node/service/misconduct.py",
    "node/service/proposing.py",
    "node/service/pursuit.py",
    "node/service/queries.py",
    "node/service/reception.py",
    "node/service/recovery.py",
    "node/service/runner.py",
    "node/service/staged.py",
    "node/service/succession.py",
    "node/service/undecided.py",
    "node/storage/runs.py",
)
_OPPOSITE: dict[type[ast.cmpop], str] = {
    ast.Lt: ">=",
    ast.LtE: ">",
    ast.Gt: "<=",
    ast.GtE: "<",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.In: "not in",
    ast.NotIn: "in",
}
_WORDS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Is: "is",
    ast.IsNot: "is not",
    ast.In: "in",
    ast.NotIn: "not in",
}
_BOUNDARY: dict[type[ast.cmpop], str] = {ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">"}
_SWAPPED = {"min": "max", "max": "min", "any": "all", "all": "any"}
_VIEWS = (".header.view", ".certificate.subject.view")
"""Of a certified header: where it was proposed, where it was certified."""
_UNCERTIFIED = "slot"
"""What has a header and no one certificate."""
_TELLING = ("_trace", "trace", "note_trace")

Change = tuple[str, ast.AST, str]
"""Operator, the node it replaces, and by what."""


def generic_mutants(root: Path) -> list[Mutant]:
    """Return the mutants of every module, in the order of modules and lines."""
    return [mutant for path in MODULES for mutant in _mutants_of(path, (root / path).read_text())]


def _mutants_of(path: str, text: str) -> Iterator[Mutant]:
    source = _Source(text)
    counts: Counter[str] = Counter()
    module = path.removeprefix("node/").removesuffix(".py").replace("/", ".")
    for place, function in _functions(ast.parse(text)):
        for operator, node, replacement in _changes(function, source):
            kind = f"{module}.{place}:{operator}"
            counts[kind] += 1
            old, new = source.replaced(node, replacement)
            mistake = f"`{source.of(node)}` is `{replacement}`".replace("\n", " ")
            yield Mutant(f"{kind}:{counts[kind]}", mistake, "", (Edit(path, old, new),))


class _Source:
    """A module's text, by the positions of its nodes."""

    def __init__(self, text: str) -> None:
        self._bytes = text.encode()
        self._starts = [0]
        for line in self._bytes.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def of(self, node: ast.AST) -> str:
        first, end = self._span(node)
        return self._bytes[first:end].decode()

    def replaced(self, node: ast.AST, replacement: str) -> tuple[str, str]:
        """Return text around a node that stands in the module once, and the same replaced."""
        first, end = self._span(node)
        begin, stop = first, end
        while self._bytes.count(self._bytes[begin:stop]) > 1:
            begin = self._bytes.rfind(b"\n", 0, max(begin - 1, 0)) + 1
            stop = self._bytes.find(b"\n", stop) + 1 or len(self._bytes)
        old = self._bytes[begin:stop].decode()
        before, after = self._bytes[begin:first].decode(), self._bytes[end:stop].decode()
        return old, before + replacement + after

    def _span(self, node: ast.AST) -> tuple[int, int]:
        first = self._starts[getattr(node, "lineno", 0) - 1] + getattr(node, "col_offset", 0)
        end = self._starts[getattr(node, "end_lineno", 0) - 1] + getattr(node, "end_col_offset", 0)
        return first, end


def _functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            for member in node.body:
                if isinstance(member, ast.FunctionDef) and member.name != "__init__":
                    yield f"{node.name}.{member.name}", member


def _changes(function: ast.FunctionDef, source: _Source) -> Iterator[Change]:
    """Yield every change within a function, in the order of its lines."""
    found = [change for node in _judging(function) for change in _changes_at(node, source)]
    return iter(sorted(found, key=lambda change: (change[1].lineno, change[1].col_offset)))  # type: ignore[attr-defined]


def _judging(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes below, but for annotations, texts and what only tells."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.JoinedStr | ast.arguments | ast.Raise) or _is_telling(child):
            continue
        if isinstance(node, ast.AnnAssign) and child is node.annotation:
            continue
        if isinstance(node, ast.FunctionDef) and child in (node.returns, *node.decorator_list):
            continue
        yield child
        yield from _judging(child)


def _is_telling(node: ast.AST) -> bool:
    if isinstance(node, ast.AugAssign):
        return isinstance(node.value, ast.JoinedStr)
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Attribute)
        and node.value.func.attr in _TELLING
    )


def _changes_at(node: ast.AST, source: _Source) -> Iterator[Change]:  # noqa: C901, PLR0912 - one case per kind of node
    match node:
        case ast.Compare():
            yield from _of_comparison(node, source)
        case ast.BoolOp():
            word = " and " if isinstance(node.op, ast.And) else " or "
            for left_out in node.values:
                kept = [source.of(value) for value in node.values if value is not left_out]
                yield "drop-term", node, f"({word.join(kept)})"
        case ast.BinOp(op=ast.Add() | ast.Sub(), right=ast.Constant(value=1)):
            yield "step", node, source.of(node.left)
        case ast.Attribute(attr="view", value=ast.Attribute(attr="header" | "subject")):
            yield from _of_view(source.of(node), node)
        case ast.Attribute(attr="quorum"):
            yield "less", node, f"({source.of(node)} - 1)"
        case ast.Attribute(attr="faults"):
            yield "more", node, f"({source.of(node)} + 1)"
        case ast.Call(func=ast.Name(id=name)) if name in _SWAPPED:
            yield "swap", node.func, _SWAPPED[name]
        case ast.Call(func=ast.Name(id="sorted"), args=[first]):
            yield "unsorted", node, f"list({source.of(first)})"
        case ast.Expr(value=ast.Call()):
            yield "drop-call", node, "pass"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]) | ast.AugAssign():
            yield "drop-set", node, "pass"
    asked = node.ifs if isinstance(node, ast.comprehension) else []
    if isinstance(node, ast.If | ast.While | ast.IfExp):
        asked = [node.test]
    for test in asked:
        if not isinstance(test, ast.Compare):  # of which `flip` makes the same
            yield "negate", test, f"(not ({source.of(test)}))"
    match node:
        case ast.If(orelse=[]) if isinstance(
            node.body[-1], ast.Return | ast.Raise | ast.Continue | ast.Break
        ):
            yield "drop-guard", node, "pass"
        case ast.Assign() | ast.keyword() | ast.Return():
            yield from _of_truth(node.value)
        case ast.Call():
            for argument in node.args:
                yield from _of_truth(argument)


def _of_comparison(node: ast.Compare, source: _Source) -> Iterator[Change]:
    """Yield each comparison of a chain the other way, and each boundary one further."""
    for index, operator in enumerate(node.ops):
        for name, table in (("flip", _OPPOSITE), ("bound", _BOUNDARY)):
            other = table.get(type(operator))
            if other is not None:
                operands = [_operand(each, source) for each in (node.left, *node.comparators)]
                words = [
                    other if at == index else _WORDS[type(op)] for at, op in enumerate(node.ops)
                ]
                pairs = zip(words, operands[1:], strict=True)
                text = operands[0] + "".join(f" {word} {operand}" for word, operand in pairs)
                yield name, node, text


def _operand(node: ast.AST, source: _Source) -> str:
    """Return the text of what is compared, in the parentheses that it cannot stand without."""
    text = source.of(node)
    return f"({text})" if isinstance(node, ast.NamedExpr | ast.BoolOp | ast.IfExp) else text


def _of_view(text: str, node: ast.Attribute) -> Iterator[Change]:
    for here, other in (_VIEWS, _VIEWS[::-1]):
        item = text.removesuffix(here)
        if item not in (text, _UNCERTIFIED):
            yield "other-view", node, item + other


def _of_truth(node: ast.AST | None) -> Iterator[Change]:
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield "truth", node, str(not node.value)
