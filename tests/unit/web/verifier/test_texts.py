"""What the page says: whole in both languages, and in the words of the command line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import node.web.verifier
from node.cli.wording import outcome_word, step_title
from node.timestamp.compact_verify import CompactStep
from node.timestamp.verify import Outcome, Step

SOURCES = Path(node.web.verifier.__file__).parent / "source"
ENTRY = re.compile(r"^  '?([\w ]+?)'?:\s+(['\"])(.*)\2,$", re.MULTILINE)
NAME = re.compile(r"\{\w+\}")


def texts_of(language: str) -> dict[str, str]:
    """Return the texts of a language, by their keys."""
    source = (SOURCES / "texts.js").read_text(encoding="utf-8")
    (table,) = re.findall(rf"const {language} = \{{\n(.*?)^\}};", source, re.DOTALL | re.MULTILINE)
    found = {key: text.replace("\\'", "'") for key, _, text in ENTRY.findall(table)}
    assert len(found) == len(re.findall(r"^  ['\w]", table, re.MULTILINE))
    return found


EN, ZH = texts_of("EN"), texts_of("ZH")


def test_every_text_is_there_in_both_languages() -> None:
    assert EN.keys() == ZH.keys()
    assert not [key for key, text in ZH.items() if not re.search("[\u4e00-\u9fff]", text)]
    assert not [key for key, text in EN.items() if re.search("[\u4e00-\u9fff]", text)]


def test_both_languages_fill_in_the_same() -> None:
    named = [{key: set(NAME.findall(text)) for key, text in one.items()} for one in (EN, ZH)]
    assert named[0] == named[1]


def test_every_text_is_said_and_every_text_said_is_there() -> None:
    scripts = "".join(
        path.read_text(encoding="utf-8") for path in SOURCES.iterdir() if path.name != "texts.js"
    )
    silent = [key for key in EN if not re.search(rf"['\"]{key}['\"]|\b{key}:", scripts)]
    assert silent == []
    said = set(re.findall(r'data-text="(\w+)"', scripts))
    said |= set(re.findall(r"(?:tell|say)\((?:this\.)?(?:language, )?'(\w+)'", scripts))
    assert said - EN.keys() - {"document", "receipt", "trust"} == set()


@pytest.mark.parametrize(("language", "texts"), [("en", EN), ("zh_CN", ZH)])
def test_verdicts_and_steps_are_worded_as_on_the_command_line(
    language: str, texts: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANGUAGE", language)
    for outcome in Outcome:
        assert texts[outcome.value] == outcome_word(outcome)
    for step in Step:
        assert texts[step.name] == step_title(step)
    for compact in CompactStep:
        key = "TEXT" if compact is CompactStep.RECEIPT else compact.name
        assert texts[key] == step_title(compact)
