"""What the rooms below can say of a proof, read off their code: templates, `{}` for a value.

An f-string is a template as it stands; a name in it that was assigned texts is each of them, and so
is what another function of the module returns. A sentence that somebody adds tomorrow is here then.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, TypeAlias

ROOT: Final = Path(__file__).parents[4]
HOLE: Final = "{}"
MESSAGE_AT: Final = {
    "CertificateRefused": 1,
    "CryptoError": 0,
    "DecodeError": 0,
    "MissingLibraryError": 0,
    "NotRootedError": 0,
    "PeerError": 1,
    "ProofError": 1,
    "TimeStampRefused": 1,
}
"""The errors that fail a step (`take_steps`), and where in their arguments the sentence stands."""
STEP_VERBS: Final = ("check", "decode", "expect", "find", "miss", "parse", "read")
"""How the names of functions begin that take a step."""
CERTIFICATES: Final = "node/crypto/member_certificate.py"
DEPTH_MAX: Final = 8
WORDS: Final = re.compile("[a-z]+(?: [a-z]+)+")

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Scope:
    """A function, and the others of its module by name."""

    function: Function
    module: dict[str, Function]


@cache
def modules() -> dict[Path, ast.Module]:
    """Return the modules of node.timestamp and all that they import of ours, parsed.

    Those that judge certificates are among them: what is wrong with one is told to its owner.
    """
    found: dict[Path, ast.Module] = {}
    waiting = [*sorted((ROOT / "node/timestamp").rglob("*.py")), ROOT / CERTIFICATES]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found[path] = ast.parse(path.read_bytes())
        for each in ast.walk(found[path]):
            if isinstance(each, ast.ImportFrom) and each.module and each.module.startswith("node."):
                names = [each.module, *(f"{each.module}.{alias.name}" for alias in each.names)]
                files = [(ROOT / name.replace(".", "/")).with_suffix(".py") for name in names]
                waiting += [file for file in files if file.is_file()]
    return found


@cache
def constants() -> dict[str, str]:
    """Return the words that are constants of modules, by name."""
    found = {}
    for module in modules().values():
        for each in module.body:
            match each:
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=str(text))):
                    if WORDS.fullmatch(text):
                        found[name] = text
    return found


def scopes(path: Path) -> Iterator[Scope]:
    """Yield the functions of a module."""
    found = [each for each in ast.walk(modules()[path]) if isinstance(each, Function)]
    named = {each.name: each for each in found}
    return (Scope(each, named) for each in found)


@cache
def refusals() -> set[str]:
    """Return all that an error says which fails a step."""
    found = set()
    for scope in itertools.chain(*map(scopes, modules())):
        makers = {name for name, each in scope.module.items() if returned(each) in MESSAGE_AT}
        for call in calls_in(scope.function):
            at = MESSAGE_AT.get(name_of(call), 0 if name_of(call) in makers else None)
            if at is not None and len(call.args) > at:
                found |= forms(call.args[at], scope)
            if name_of(call) == "StepReport":
                given = [each.value for each in call.keywords if each.arg == "detail"]
                found = found.union(*(forms(each, scope) for each in given))
    return found - {""}


@cache
def findings() -> set[str]:
    """Return all that a step which passed returns."""
    found = set()
    for path in modules():
        if "take_steps" not in path.read_text(encoding="utf-8") and path.name != "of_record.py":
            continue
        for scope in scopes(path):
            function = scope.function
            is_step = function.name.lstrip("_").split("_")[0] in STEP_VERBS
            if is_step and returned(function) in {"str", "str | Finding"}:
                found |= returns(scope)
    return found


@cache
def names() -> set[str]:
    """Return the names of things that are given to readers as `what`."""
    places: dict[str, int] = {"Reader": 1}
    everything = [*itertools.chain(*map(scopes, modules()))]
    for scope in everything:
        listed = [each.arg for each in scope.function.args.args if each.arg not in {"self", "cls"}]
        if "what" in listed:
            places[scope.function.name] = listed.index("what")
    found = set()
    for scope in everything:
        for call in calls_in(scope.function):
            at = places.get(name_of(call))
            given = [each.value for each in call.keywords if each.arg == "what"]
            if at is not None and len(call.args) > at:
                given.append(call.args[at])
            for each in given:
                found |= forms(each, scope)
    return found - {HOLE}


def causes() -> set[str]:
    """Return what the command line itself says in English, for programs, of a step that failed."""
    module = ast.parse((ROOT / "node/cli/wording.py").read_bytes())
    found = set()
    for function in ast.walk(module):
        if isinstance(function, Function) and function.name in {"step_cause", "unrooted_fault"}:
            for each in ast.walk(function):
                if isinstance(each, ast.Constant | ast.JoinedStr):
                    found |= forms(each, Scope(function, {}))
    return {re.sub(r"\{\w+\}", HOLE, each) for each in found}


def calls_in(function: Function) -> Iterator[ast.Call]:
    for each in ast.walk(function):
        if isinstance(each, ast.Call):
            yield each


def name_of(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def returned(function: Function) -> str:
    """Return what a function says it returns."""
    return "" if function.returns is None else ast.unparse(function.returns)


def returns(scope: Scope, depth: int = 0, seen: Sequence[str] = ()) -> set[str]:
    """Return each text that a function can return, as it is or as a `Finding`."""
    found = set()
    for each in ast.walk(scope.function):
        match each:
            case ast.Return(value=ast.Call(func=ast.Name(id="Finding"), args=[detail, *_])):
                found |= forms(detail, scope, depth, seen)
            case ast.Return(value=ast.expr() as value):
                found |= forms(value, scope, depth, seen)
    return found


def forms(  # noqa: PLR0911 - one for each kind of expression
    expression: ast.expr, scope: Scope, depth: int = 0, seen: Sequence[str] = ()
) -> set[str]:
    """Return each text that an expression can give."""

    def inside(other: ast.expr) -> set[str]:
        return forms(other, scope, depth + 1, seen)

    if depth > DEPTH_MAX:
        return {HOLE}
    match expression:
        case ast.Constant(value=str(text)):
            return {text}
        case ast.JoinedStr(values=values):
            parts = [{HOLE} if is_formatted(each) else inside(each) for each in values]
            return {"".join(chosen) for chosen in itertools.product(*parts)}
        case ast.FormattedValue(value=value):
            return inside(value)
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            both = itertools.product(inside(left), inside(right))
            return {f"{one}{other}" for one, other in both if {one, other} != {HOLE}} or {HOLE}
        case ast.IfExp(body=body, orelse=orelse):
            return inside(body) | inside(orelse)
        case ast.BoolOp(values=values):
            return set().union(*map(inside, values))
        case ast.Name(id=name) if (here := f"{scope.function.name} {name}") not in seen:
            given = [
                forms(value, scope, depth + 1, (*seen, here))
                for value in assigned(name, scope.function)
            ]
            return set().union(*given) or {constants().get(name, HOLE)}
        case ast.Call(func=ast.Attribute(attr=name)) if name not in seen:
            other = scope.module.get(name)
            if other is not None and "str" in returned(other):
                inner = Scope(other, scope.module)
                return returns(inner, depth + 1, (*seen, name)) - {HOLE} or {HOLE}
    return {HOLE}


def is_formatted(value: ast.expr) -> bool:
    """Tell whether a value of an f-string is written in another form than its own."""
    return isinstance(value, ast.FormattedValue) and (
        value.conversion != -1 or value.format_spec is not None
    )


def assigned(name: str, function: Function) -> Iterator[ast.expr]:
    """Yield what a function assigns to a name of its own; what it adds is added to a value."""
    for each in ast.walk(function):
        match each:
            case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                yield value
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
                for one, value in zip(targets, values, strict=False):
                    if isinstance(one, ast.Name) and one.id == name:
                        yield value
            case ast.AugAssign(target=ast.Name(id=target), op=ast.Add(), value=value):
                if target == name and not isinstance(value, ast.Constant):
                    yield value
