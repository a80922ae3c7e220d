"""The one HTML file, made of its sources: modules joined in order, none minified or fetched.

The same sources give the same bytes. JavaScript modules, ours and the vendored library's, become
functions that return what they export; only the forms of import and export that they use are
understood, and any other is an error here rather than in somebody's browser.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files
from pathlib import PurePosixPath as Path
from typing import TYPE_CHECKING, Final

from node.errors import InvariantViolation, invariant

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

FILE_NAME: Final = "govchain-verify.html"
MEDIA_TYPE: Final = "text/html; charset=utf-8"
VENDORED: Final = {
    "@noble/curves/": "vendor/noble-curves-2.4.0/",
    "@noble/hashes/": "vendor/noble-hashes-2.4.0/",
}
"""Where the packages lie that modules import by name."""

_ENTRY: Final = "source/main.js"
_IMPORT: Final = re.compile(
    r"^import (?:\{(?P<names>[^}]*)\}|\* as (?P<all>\w+)) from ['\"](?P<path>[^'\"]+)['\"];\n?",
    re.MULTILINE,
)
_RE_EXPORT: Final = re.compile(
    r"^export \{(?P<names>[^}]*)\} from ['\"](?P<path>[^'\"]+)['\"];\n?", re.MULTILINE
)
_EXPORT_LIST: Final = re.compile(r"^export \{(?P<names>[^}]*)\};\n?", re.MULTILINE)
_EXPORT: Final = re.compile(
    r"^export (?P<rest>(?:async )?(?:const|function|class) (?P<name>\w+))", re.MULTILINE
)
_LEFT: Final = re.compile(r"^(?:import|export)\b", re.MULTILINE)
_HOLE: Final = re.compile(r"\{\{(\w+)\}\}")


@cache
def bundle() -> bytes:
    """Return the HTML file."""
    script = bundle_script()
    style = read_source("source/page.css")
    for text, end in ((script, "</script"), (style, "</style")):
        invariant(end not in text.lower() and "<!--" not in text, "a source would end its element")
    filled = {
        "script": script,
        "style": style,
        "licences": "\n".join(f"{name}\n{text}" for name, text in _licences().items()),
        "script_hash": _hash(script),
        "style_hash": _hash(style),
    }
    return _HOLE.sub(lambda hole: filled[hole[1]], read_source("source/page.html")).encode()


def bundle_script() -> str:
    """Return the script of the page: every module that it needs, those it imports first."""
    return '"use strict";\n' + "\n".join(map(_wrap, _in_order(_ENTRY)))


def _in_order(entry: str) -> list[str]:
    """Return the modules that `entry` needs, itself last; raises where they need each other."""
    done: list[str] = []
    under_way: list[str] = []

    def visit(path: str) -> None:
        if path in done:
            return
        invariant(path not in under_way, f"{path} imports itself by way of others")
        under_way.append(path)
        text = read_source(path)
        for found in sorted(
            [*_IMPORT.finditer(text), *_RE_EXPORT.finditer(text)], key=lambda found: found.start()
        ):
            visit(_resolve(path, found["path"]))
        under_way.remove(path)
        done.append(path)

    visit(entry)
    return done


def _wrap(path: str) -> str:
    """Return a module as a constant: what it exports, by the names it exports it under."""
    exported: dict[str, str] = {}

    def take(found: re.Match[str]) -> str:
        module = _identifier(_resolve(path, found["path"]))
        if found["all"]:
            return f"const {found['all']} = {module};\n"
        names = [": ".join(pair) if pair[0] != pair[1] else pair[0] for pair in _names(found)]
        return f"const {{ {', '.join(names)} }} = {module};\n" if names else ""

    def pass_on(found: re.Match[str]) -> str:
        module = _identifier(_resolve(path, found["path"]))
        exported.update({name: f"{module}.{of}" for of, name in _names(found)})
        return ""

    def list_names(found: re.Match[str]) -> str:
        exported.update({name: of for of, name in _names(found)})
        return ""

    def keep(found: re.Match[str]) -> str:
        exported[found["name"]] = found["name"]
        return found["rest"]

    body = _IMPORT.sub(take, read_source(path))
    body = _RE_EXPORT.sub(pass_on, body)
    body = _EXPORT_LIST.sub(list_names, body)
    body = _EXPORT.sub(keep, body)
    left = _LEFT.search(body)
    if left is not None:
        raise InvariantViolation(f"{path}: {body[left.start() :][:60]!r} is not understood")
    values = ", ".join(name if name == of else f"{name}: {of}" for name, of in exported.items())
    head = f"// ==== {path.removeprefix('source/')}\nconst {_identifier(path)} = (() => {{"
    return f"{head}\n{body.rstrip()}\nreturn {{ {values} }};\n}})();\n"


def _names(found: re.Match[str]) -> list[tuple[str, str]]:
    """Return the pairs of `a as b`, and of `a` that is called so itself."""
    listed = [name.split(" as ") for name in re.split(r"\s*,\s*", found["names"].strip()) if name]
    return [(pair[0].strip(), pair[-1].strip()) for pair in listed]


def _resolve(importer: str, name: str) -> str:
    """Return the path of a module that another names."""
    for package, folder in VENDORED.items():
        if name.startswith(package):
            return folder + name.removeprefix(package)
    invariant(name.startswith("."), f"{importer} imports {name}, which is not vendored")
    parts = importer.split("/")[:-1]
    for part in name.split("/"):
        if part == "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)


def _identifier(path: str) -> str:
    """Return the name of the constant that a module becomes."""
    return "m_" + re.sub(r"\W", "_", path.removeprefix("source/").removesuffix(".js"))


def _licences() -> dict[str, str]:
    """Return the licences of what is vendored, by the folder."""
    folders = [folder.removesuffix("/") for folder in VENDORED.values()]
    return {Path(folder).name: read_source(f"{folder}/LICENSE") for folder in folders}


def _hash(text: str) -> str:
    """Return how a content security policy names an inline element."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def read_source(path: str) -> str:
    """Return a file of this package, by its path in it."""
    found: Traversable = files(__package__)
    for part in path.split("/"):
        found = found / part
    return found.read_text(encoding="utf-8")
