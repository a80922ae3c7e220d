"""What the rooms below say is told in the user's language: all of it, and nothing is lost."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from gettext import gettext
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.chain.record import RecordAction
from node.cli.sentences.findings import FINDINGS
from node.cli.sentences.names import NAMES
from node.cli.sentences.refusals import REFUSALS
from node.cli.sentences.telling import tell_finding, tell_refusal
from node.timestamp.standing import Fate
from tests.unit.cli.command import CHINESE, ENGLISH
from tests.unit.cli.sentences import spoken

WORD = re.compile(r"\b[A-Za-z]{2,}\b")
VECTORS = Path(__file__).parents[3] / "vectors"
VALUE = re.compile("§[0-9]+§")
Telling: TypeAlias = Callable[[str], str]

INNER: dict[Telling, str] = {
    tell_refusal: "expected signed data",
    tell_finding: "pinned at genesis",
}
"""A sentence that may stand within others."""


@pytest.fixture
def chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGUAGE", CHINESE["LANGUAGE"])


@pytest.fixture
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGUAGE", ENGLISH["LANGUAGE"])


def examples(template: str, sentence: str) -> Iterator[str]:
    """Yield a template filled in: with values, and with a sentence in place of some of them."""
    pieces = template.split(spoken.HOLE)
    for chosen in itertools.product((False, True), repeat=len(pieces) - 1):
        values = [sentence if each else f"§{at}§" for at, each in enumerate(chosen)]
        yield "".join(itertools.chain(*zip(pieces, [*values, ""], strict=True)))


def kept_words() -> set[str]:
    """Return the words that are the same in Chinese: of formats, names of algorithms, fields."""
    told = (re.sub(r"\{\w+\}", "", gettext(each)) for each in (*REFUSALS, *FINDINGS, *NAMES))
    fields = json.loads((VECTORS / "receipt/trust/genesis.json").read_text())
    return {word for each in (*told, *fields) for word in WORD.findall(each)}


def is_told(example: str, told: str, kept: set[str]) -> bool:
    """Tell whether nothing English is left of an example, and none of its values is lost."""
    values = sorted(VALUE.findall(example))
    words = set(WORD.findall(VALUE.sub("", told))) - kept
    return told != example and not words and sorted(VALUE.findall(told)) == values


@pytest.mark.usefixtures("chinese")
@pytest.mark.parametrize(
    ("said", "tell"),
    [(spoken.refusals(), tell_refusal), (spoken.findings(), tell_finding)],
    ids=["refusals", "findings"],
)
def test_all_that_the_code_below_can_say_is_told(said: set[str], tell: Telling) -> None:
    kept = kept_words()
    said = {each for each in said if WORD.search(each)}  # some is a value and nothing else
    assert len(said) > 40
    silent = [
        template
        for template in sorted(said)
        if not any(
            is_told(example, tell(example), kept) for example in examples(template, INNER[tell])
        )
    ]
    assert silent == []


@pytest.mark.usefixtures("chinese")
def test_the_names_that_refusals_begin_with_are_told() -> None:
    kept = kept_words()
    listed = sorted(spoken.names())
    assert len(listed) > 200
    told = {name: tell_refusal(f"{name.format('§0§')}: expected signed data") for name in listed}
    assert [name for name, each in told.items() if set(WORD.findall(each)) - kept] == []


@pytest.mark.usefixtures("chinese")
def test_words_for_what_a_record_does_or_became_are_told() -> None:
    words = [each.name.lower() for each in RecordAction if each is not RecordAction.WITHDRAW]
    words += [each.value for each in Fate]
    assert [each for each in words if WORD.search(tell_finding(each))] == []


@pytest.mark.usefixtures("chinese")
def test_codes_stay_and_sentences_within_sentences_are_told() -> None:
    assert tell_refusal("certificate-quorum: expected 3 distinct votes, got 2") == (
        "certificate-quorum：应有 3 张不同的票，实有 2 张"
    )
    assert tell_refusal("receipt log index: expected an integer in 0..9, got 'x'") == (
        "回执日志位置：应为 0..9 之内的整数，实为 'x'"
    )
    assert tell_refusal("step 6 failed: joined: step 2: history-set: expected ab, got cd") == (
        "第 6 步失败：相连证明：第 2 步：history-set：应为 ab，实为 cd"
    )
    assert tell_finding("carried by pdf: version 1, 9 bytes, suite international") == (
        "载于 pdf：版本 1，9 字节，算法套件 international"
    )


@pytest.mark.usefixtures("english")
def test_in_english_everything_is_told_as_it_was_said() -> None:
    for said, tell in ((spoken.refusals(), tell_refusal), (spoken.findings(), tell_finding)):
        for template in said:
            for example in examples(template, INNER[tell]):
                assert tell(example) == example


@settings(max_examples=30)
@given(st.text(), st.sampled_from(REFUSALS), st.sampled_from(FINDINGS))
def test_whatever_is_put_into_a_sentence_english_stays_as_it_is(
    value: str, refusal: str, finding: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LANGUAGE", ENGLISH["LANGUAGE"])
        filled = (re.sub(r"\{\w+\}", lambda _: value, each) for each in (refusal, finding))
        for sentence in (value, *filled):
            assert tell_refusal(sentence) == sentence
            assert tell_finding(sentence) == sentence


@pytest.mark.usefixtures("chinese")
def test_what_nobody_says_is_left_as_it_is() -> None:
    for said in ("", ": ", "no such sentence", "name: no such sentence", "x" * 10_000):
        assert tell_refusal(said) == said
        assert tell_finding(said) == said


def test_nothing_is_in_the_tables_that_nobody_says() -> None:
    said = {*spoken.refusals(), *spoken.findings(), *spoken.names(), *spoken.causes()}
    words = {each.name.lower() for each in RecordAction} | {each.value for each in Fate}
    templates = (re.sub(r"\{\w+\}", spoken.HOLE, each) for each in (*REFUSALS, *FINDINGS))
    own = [each.strip("{}:;, ") for each in templates]
    unsaid = [each for each in own if each not in words and not any(each in one for one in said)]
    assert unsaid == []
    parts = {word for name in said for word in re.findall(r"[\w'-]+", name)}
    assert [each for each in NAMES if not set(each.removeprefix("the ").split()) <= parts] == []
