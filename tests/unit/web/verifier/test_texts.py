"""What the page says: whole in both languages, and in the words of the command line."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

import node.web.verifier
from node.cli.wording import existence, outcome_word, step_title
from node.crypto.suite import SHA_256
from node.timestamp.compact_verify import CompactStep
from node.timestamp.consistency import ConsistencyStep
from node.timestamp.log.verify import TlogStep
from node.timestamp.receipt import Receipt, iso_time
from node.timestamp.standing import StandingStep
from node.timestamp.tokens.check import TokenStep
from node.timestamp.trust import load_trust
from node.timestamp.verify import NamedDigest, Outcome, Step, verify_receipt
from tests.unit.web.verifier import sentences

VECTORS = Path(__file__).parents[3] / "vectors" / "receipt"
SOURCES = Path(node.web.verifier.__file__).parent / "source"
KINDS = {
    CompactStep: "COMPACT",
    TokenStep: "TOKEN",
    TlogStep: "TLOG",
    StandingStep: "STANDING",
    ConsistencyStep: "CONSISTENCY",
}
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
    for kind, prefix in KINDS.items():
        for each in kind:
            own = texts.get(f"{prefix}_{each.name}", texts.get(each.name))
            assert own == step_title(each), each


@pytest.mark.parametrize(("language", "texts"), [("en", EN), ("zh_CN", ZH)])
@pytest.mark.parametrize("degraded", [False, True])
def test_what_is_attested_is_said_as_on_the_command_line(
    language: str, texts: dict[str, str], *, degraded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANGUAGE", language)
    receipt = Receipt.decode((VECTORS / "document.txt.receipt").read_bytes())
    digest = NamedDigest(SHA_256, receipt.leaf.record.digest)
    anchor = load_trust((VECTORS / "trust" / "genesis.json").read_bytes())
    attestation = verify_receipt(receipt.encode(), anchor, digest).attestation
    assert attestation is not None
    told = replace(attestation, time_degraded=degraded, joined_height=9)
    values = {
        "name": "x",
        "time": iso_time(told.seal_time_ms if degraded else told.time_ms),
        "height": told.height,
        "signers": len(told.signers),
        "validators": told.validator_count,
        "joined": 9,
    }
    sentence = texts["existsSealed" if degraded else "exists"] + texts["existsJoined"]
    assert sentence.format(**values) == f"x {existence(told)}"


def test_the_sentences_of_steps_are_those_of_the_command_line() -> None:
    made = "python -m tests.unit.web.verifier.sentences"
    assert sentences.PATH.read_text(encoding="utf-8") == sentences.module(), made


def test_sentences_on_proofs_are_worded_as_on_the_command_line() -> None:
    """But for what it is said of, which stands before some."""
    catalogue = sentences.chinese()
    for key in ("existsTlog", "stands_absent", "stands_in_force", "stands_withdrawn", "grew"):
        english = EN[key].removeprefix("{name} ")
        assert catalogue[english] == ZH[key].removeprefix("{name} "), key
    for key in ("standsAt", "standsSealed", "recordsVouched"):
        assert catalogue[EN[key]] == ZH[key]
    for key in (
        "followedInForce",
        "followedSuperseded",
        "followedWithdrawn",
        "followedWithdrawnEarlier",
    ):
        english, chinese = (texts[key].split("{reference}", 1)[1] for texts in (EN, ZH))
        assert catalogue[english.removeprefix(": ")] == chinese.removeprefix("：")  # noqa: RUF001
