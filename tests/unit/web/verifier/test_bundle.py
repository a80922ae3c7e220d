"""The HTML file: the same bytes every time, closed to the world, nothing of others changed."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path

import pytest

import node.web.verifier
from node.chain.encoding import expect_text
from node.errors import DecodeError, InvariantViolation
from node.web.verifier import bundle as bundling
from node.web.verifier.bundle import FILE_NAME, bundle, bundle_script
from node.web.verifier_page import routes
from tests.unit.cli.command import run
from tests.unit.web.http_client import ask, serving

ROOM = Path(node.web.verifier.__file__).parent
SOURCES = ROOM / "source"
VENDOR = ROOM / "vendor"
GUIDE = Path(__file__).parents[4] / "proto" / "verify" / "html.md"


class Page(HTMLParser):
    """What the file is made of: elements with their attributes, and what script and style hold."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.held: dict[str, str] = {}
        self._inside = ""
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 - the parser's signature
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside in {"script", "style"}:
            self.held[self._inside] = self.held.get(self._inside, "") + data


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(bundle())


def test_the_same_sources_give_the_same_bytes() -> None:
    first = bundle()
    bundle.cache_clear()
    assert bundle() == first


def test_the_guide_states_the_digest_of_the_file() -> None:
    digest = hashlib.sha256(bundle()).hexdigest()
    assert f"`{digest}`" in GUIDE.read_text(encoding="utf-8"), f"it is {digest} now"


def test_its_policy_allows_this_script_and_this_style_and_nothing_else(page: Page) -> None:
    (policy,) = [
        attributes["content"]
        for tag, attributes in page.elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in (policy or "").split(";"))
    hashes = {
        tag: "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"
        for tag, text in page.held.items()
    }
    assert rules == {
        "default-src": "'none'",
        "script-src": hashes["script"],
        "style-src": hashes["style"],
        "connect-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }


def test_it_refers_to_nothing_and_hides_no_code_in_attributes(page: Page) -> None:
    tags = [tag for tag, _ in page.elements]
    assert (tags.count("script"), tags.count("style")) == (1, 1)
    assert not {"link", "img", "iframe", "object", "embed", "a", "base"} & set(tags)
    names = {name for _, attributes in page.elements for name in attributes}
    assert not {name for name in names if name.startswith("on") or name == "style"}
    assert not {"src", "href", "action", "srcset", "data"} & names
    assert "url(" not in page.held["style"]
    assert "@import" not in page.held["style"]


def test_our_scripts_make_no_markup_of_text_and_ask_nobody() -> None:
    banned = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|fetch\("
        r"|XMLHttpRequest|WebSocket|sendBeacon|import\(|crypto\.subtle|localStorage|setAttribute\("
        r"(?!'aria-)"
    )
    for source in sorted(SOURCES.glob("*.js")):
        assert not banned.findall(source.read_text(encoding="utf-8")), source.name


def test_every_script_opens_by_saying_what_it_is_and_is_needed() -> None:
    script = bundle_script()
    for source in sorted(SOURCES.glob("*.js")):
        assert source.read_text(encoding="utf-8").startswith("// "), source.name
        assert f"// ==== {source.name}\n" in script, source.name


def test_what_is_vendored_is_as_its_page_says_and_all_of_it_is_used() -> None:
    listed = re.findall(
        r"^([0-9a-f]{64})  (\S+)$", (VENDOR / "README.md").read_text(), re.MULTILINE
    )
    said = {name: digest for digest, name in listed}
    files = [path for path in VENDOR.rglob("*") if path.is_file() and path.name != "README.md"]
    found = {
        str(path.relative_to(VENDOR)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }
    assert found == said
    script = bundle_script()
    for path in files:
        needed = f"// ==== vendor/{path.relative_to(VENDOR)}\n"
        assert needed in script or path.name == "LICENSE", path


def test_the_licences_of_what_is_vendored_are_in_the_file() -> None:
    for licence in VENDOR.rglob("LICENSE"):
        assert licence.read_bytes() in bundle()


@pytest.mark.parametrize(
    "source",
    [
        "export default 1;\n",
        "import './bytes.js';\n",
        "import bytes from './bytes.js';\n",
        "export * from './bytes.js';\n",
        "import { hex } from 'elsewhere';\n",
        "import { hex } from './main.js';\n",
    ],
)
def test_what_the_bundler_does_not_understand_is_an_error(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = bundling.read_source

    def read_other(path: str) -> str:
        return source if path == "source/main.js" else read(path)

    monkeypatch.setattr(bundling, "read_source", read_other)
    with pytest.raises(InvariantViolation):
        bundle_script()


def test_the_verb_writes_it_once_and_over_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / FILE_NAME
    for _ in range(2):
        ran = run("receipt", "verifier", "--out", target, "--json")
        assert (ran.code, ran.json["size_bytes"]) == (0, len(bundle()))
        assert ran.json["sha256"] == hashlib.sha256(target.read_bytes()).hexdigest()
        assert target.read_bytes() == bundle()
    target.write_bytes(b"something else")
    assert run("receipt", "verifier", "--out", target, "--json").json["error"]["code"] == "GC-2306"
    assert target.read_bytes() == b"something else"


async def test_a_node_serves_it() -> None:

    async with serving(routes()) as served:
        answer = await ask(served.port, "/verify")
    assert answer.body == bundle()
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == "frame-ancestors 'none'"


def _code_points(listed: Iterable[tuple[str, str]]) -> set[int]:
    return {
        each
        for first, last in listed
        for each in range(int(first, 16), int(last or first, 16) + 1)
        if not 0xD800 <= each < 0xE000  # no characters
    }


def test_what_is_not_printable_is_stated_alike_everywhere() -> None:
    """A text that one of them alone takes would be a receipt that verifies here and not there."""
    refused = set[int]()
    for each in range(0x110000):
        try:
            expect_text(chr(each), "text", size_max=4)
        except (DecodeError, UnicodeEncodeError):
            refused.add(each)
    shapes = (SOURCES / "shapes.js").read_text(encoding="utf-8")
    pattern = re.search(r"INVISIBLE =\s*/\[(.*)\]/u;", shapes)
    assert pattern is not None
    one = r"\\u\{?([0-9a-f]+)\}?"
    in_script = _code_points(re.findall(f"{one}(?:-{one})?", pattern.group(1)))
    grammar = (GUIDE.parents[1] / "govchain.cddl").read_text(encoding="utf-8").replace("\n; ", " ")
    told = grammar.partition("none of the code points U+")[2].partition("not empty")[0]
    in_grammar = _code_points(re.findall(r"\b([0-9A-F]{4,6})(?:-([0-9A-F]{4,6}))?", told))
    assert in_script == in_grammar
    assert {each for each in refused if not 0xD800 <= each < 0xE000} == in_script
