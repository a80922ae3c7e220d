"""The page of a report: closed to the world, nothing of others changed, results only as data."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest

import node.cli.bench.page
from node.cli.bench.page.bundle import LICENCE, SCRIPTS, STYLES, bundle, read_source
from tests.unit.cli.bench.results import case, result

ROOM = Path(node.cli.bench.page.__file__).parent
HOSTILE = "</script><script>alert(1)</script><!-- {{script}} \u2028"


def element(page: str, opening: str, closing: str) -> str:
    """Return what the one element with this opening holds."""
    (found,) = re.findall(f"{re.escape(opening)}(.*?){re.escape(closing)}", page, re.DOTALL)
    return str(found)


def test_the_same_results_give_the_same_bytes() -> None:
    assert bundle([result(case())]) == bundle([result(case())])


def test_its_policy_allows_this_script_and_this_style_and_nothing_else() -> None:
    page = bundle([result(case())]).decode()
    policy = element(page, 'Content-Security-Policy" content="', '"')
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    parts = {
        "script-src": element(page, "<script>", "</script>"),
        "style-src": element(page, "<style>", "</style>"),
    }
    hashes = {
        rule: "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"
        for rule, text in parts.items()
    }
    assert rules == {
        "default-src": "'none'",
        **hashes,
        "connect-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    assert not re.search(r"<(?:link|img|iframe|object|embed|a|base)\b", page)
    assert "url(" not in parts["style-src"]
    assert "@import" not in parts["style-src"]


def test_results_are_data_whatever_they_say() -> None:
    found = result(case(), cpu=HOSTILE)
    page = bundle([found]).decode()
    data = element(page, '<script type="application/json" id="data">', "</script>")
    assert json.loads(data) == [json.loads(json.dumps(found.to_json()))]
    assert page.count("</script>") == 2
    assert "<script>alert" not in page


def test_what_is_no_number_in_json_makes_no_page() -> None:
    with pytest.raises(ValueError, match="JSON"):
        bundle([result(case(per_second=0), seed=float("nan"))])  # type: ignore[arg-type]


def test_our_scripts_make_no_markup_of_text_and_ask_nobody() -> None:
    banned = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|fetch\("
        r"|XMLHttpRequest|WebSocket|sendBeacon|import\(|localStorage|setAttribute\((?!\"aria-)"
    )
    sources = {f"source/{path.name}" for path in (ROOM / "source").glob("*.js")}
    assert sources < {*SCRIPTS}
    for source in SCRIPTS:
        assert not banned.findall(read_source(source)), source
    for source in sources:
        assert read_source(source).startswith("// "), source


def test_both_languages_say_the_same_things() -> None:
    texts = read_source("source/texts.js")
    english, chinese = re.findall(r"^  (?:en|zh): \{\n(.*?)^  \},", texts, re.MULTILINE | re.DOTALL)
    keys = [re.findall(r'^\s+"?([\w-]+)"?:', part, re.MULTILINE) for part in (english, chinese)]
    assert len(keys[0]) > 20
    assert keys[0] == keys[1]
    pairs = re.findall(r'^  "[\w.]+": \["([^"]+)", "([^"]+)"\],$', texts, re.MULTILINE)
    assert len(pairs) == texts.split("const FIGURES")[1].count('": [')
    assert all(re.search(r"[\u4e00-\u9fff]", chinese) for _, chinese in pairs)


def test_what_is_vendored_is_as_its_page_says_and_all_of_it_is_used() -> None:
    page = (ROOM / "vendor" / "README.md").read_text()
    said = {
        name: digest for digest, name in re.findall(r"^([0-9a-f]{64})  (\S+)$", page, re.MULTILINE)
    }
    held = {
        str(path.relative_to(ROOM / "vendor")): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (ROOM / "vendor").rglob("*")
        if path.is_file() and path.name != "README.md"
    }
    assert held == said
    used = {path.removeprefix("vendor/") for path in (*SCRIPTS, *STYLES, LICENCE)}
    assert {path for path in used if not path.startswith("source/")} == {*held}
