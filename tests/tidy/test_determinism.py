"""Nothing in the pure rooms may differ between two machines that are given the same input.

The import contracts keep clocks, entropy and IO out; this reads the syntax for what needs no
import: hashes and addresses of objects, floats, the order of sets, checks that vanish under `-O`.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PURE_ROOMS = ("chain", "consensus", "execution", "timestamp", "crosschain")

BANNED_CALLS = {
    "hash": "hash() differs from process to process; hash bytes with a suite",
    "id": "id() is an address; compare values",
    "float": "floats round; use integers",
}
SET_NAMES = {"set", "frozenset", "Set", "AbstractSet", "MutableSet", "FrozenSet"}
KEEP_ORDER = {"list", "tuple", "enumerate", "iter", "map", "filter", "zip", "reversed", "next"}
SET_ORDER = "the order of a set differs from process to process; sort it"


def set_names(tree: ast.Module) -> set[str]:
    """Return the names and attributes that this module declares as sets or fills with one."""
    names: set[str] = set()
    for found in ast.walk(tree):
        match found:
            case ast.AnnAssign(
                target=ast.Name(id=name) | ast.Attribute(attr=name), annotation=note
            ):
                if names_set(note):
                    names.add(name)
            case ast.arg(arg=name, annotation=ast.expr() as note) if names_set(note):
                names.add(name)
            case ast.Assign(targets=[ast.Name(id=name) | ast.Attribute(attr=name)], value=value):
                if is_set(value, set()):
                    names.add(name)
    return names


def names_set(annotation: ast.expr) -> bool:
    """Whether the outermost type of `annotation` is a set."""
    outer = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    return isinstance(outer, ast.Name) and outer.id in SET_NAMES


def is_set(value: ast.expr, known: set[str]) -> bool:
    """Whether `value` is, as far as one module shows, a set."""
    match value:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id="set" | "frozenset")):
            return True
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in known
        case ast.BinOp(left=left, right=right, op=ast.BitOr() | ast.BitAnd() | ast.Sub()):
            return is_set(left, known) or is_set(right, known)
        case _:
            return False


def ordered_by(found: ast.AST) -> list[ast.expr]:
    """Return the expressions whose order of iteration shows in what `found` makes or does."""
    match found:
        case ast.For(iter=over) | ast.Starred(value=over):
            return [over]
        case ast.ListComp() | ast.DictComp():
            return [part.iter for part in found.generators]
        case ast.Call(func=ast.Name(id=name)) if name in KEEP_ORDER:
            return found.args
        case ast.Call(func=ast.Attribute(attr="join" | "extend")):
            return found.args
        case ast.Call(func=ast.Attribute(attr="pop", value=over), args=[]):
            return [over]
        case _:
            return []


def findings(source: str) -> Iterator[tuple[int, str]]:
    """Yield the (line, why) of everything in `source` that may differ between machines."""
    tree = ast.parse(source)
    known = set_names(tree)
    for found in ast.walk(tree):
        match found:
            case ast.Constant(value=float() | complex(), lineno=line):
                yield line, BANNED_CALLS["float"]
            case ast.BinOp(op=ast.Div(), lineno=line) | ast.AugAssign(op=ast.Div(), lineno=line):
                yield line, "true division makes a float; use //"
            case ast.Assert(lineno=line):
                yield line, "assert vanishes under -O; use node.errors.invariant"
            case ast.Call(func=ast.Name(id=name), lineno=line) if name in BANNED_CALLS:
                yield line, BANNED_CALLS[name]
        for over in ordered_by(found):
            if is_set(over, known):
                yield over.lineno, SET_ORDER


def pure_rooms() -> list[str]:
    return [room for room in PURE_ROOMS if (ROOT / "node" / room / "__init__.py").exists()]


@pytest.mark.parametrize("room", pure_rooms())
def test_a_pure_room_is_deterministic(room: str) -> None:
    found = [
        f"{module.relative_to(ROOT)}:{line}: {why}"
        for module in sorted((ROOT / "node" / room).rglob("*.py"))
        for line, why in findings(module.read_text())
    ]
    assert found == []


def test_the_import_contract_covers_every_pure_room() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    purity = next(c for c in contracts["contracts"] if c["name"].startswith("The pure rooms"))
    assert {f"node.{room}" for room in pure_rooms()} <= set(purity["source_modules"])


@pytest.mark.parametrize(
    "line",
    [
        "share = 0.5",
        "half = total / 2",
        "total /= 2",
        "key = hash(value)",
        "key = id(value)",
        "ratio = float(value)",
        "assert value",
        "for item in {1, 2}: use(item)",
        "for item in set(items): use(item)",
        "for item in held | {1}: use(item)",
        "for item in held: use(item)",
        "for item in self.votes: use(item)",
        "for item in argument: use(item)",
        "for item in filled: use(item)",
        "out = [item for item in frozenset(items)]",
        "out = {item: 1 for item in held}",
        "out = list(held)",
        "out = tuple({x for x in items})",
        "out = b''.join(held)",
        "out.extend(held)",
        "one = held.pop()",
        "out = [*held]",
    ],
)
def test_what_differs_between_machines_is_found(line: str) -> None:
    known = (
        "held: set[int]\nself.votes: frozenset[int]\nfilled = {1}\ndef f(argument: set[int]): ...\n"
    )
    assert [number for number, _ in findings(f"{known}{line}\n")] == [5]


@pytest.mark.parametrize(
    "line",
    [
        "half = total // 2",
        "for item in sorted({1, 2}): use(item)",
        "for item in (1, 2): use(item)",
        "out = {x for x in held}",
        "known = value in held",
        "size = len(held) + len({1})",
        "one = order.pop()",
        "digest = suite.hash(data)",
        "out = sorted(x for x in held)",
    ],
)
def test_what_is_alike_everywhere_passes(line: str) -> None:
    assert list(findings(f"held: set[int]\norder: list[int]\n{line}\n")) == []
