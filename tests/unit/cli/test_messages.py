"""The catalogue of messages: whole, current, and true to the placeholders of the original."""

from __future__ import annotations

import io
import re
from pathlib import Path

import click
import pytest
from babel.messages import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

import node.cli

FOLDER = node.cli.LOCALE_FOLDER / "zh" / "LC_MESSAGES"
PO, MO = FOLDER / "govchain.po", FOLDER / "govchain.mo"
PLACEHOLDER = re.compile(r"\{\w*[^{}]*\}|%\(\w+\)s")
OTHER_WORDS = {
    "保险库": "保管库",
    "收据": "回执",
    "凭证(?!书)": "回执",
    "组织": "机构",
    "文档": "文件",
    "验证者": "验证节点",
}
"""What a thing is not called, and what it is: the vault, a receipt, an organisation,
a document, a validator."""


def messages_in(folder: Path) -> set[str]:
    """Return what the modules of a folder say, singular forms."""
    found = set()
    for _file, _line, message, _comments, _context in extract_from_dir(folder):
        found.add(message if isinstance(message, str) else message[0])
    return found


def first(text: str | tuple[str, ...] | list[str] | None) -> str:
    return text or "" if isinstance(text, str | None) else text[0]


def forms(text: str | tuple[str, ...] | list[str]) -> tuple[str, ...]:
    """Return singular and plural of a message, or its one form."""
    return (text,) if isinstance(text, str) else tuple(text)


def placeholders(text: str) -> list[str]:
    return sorted(PLACEHOLDER.findall(text))


@pytest.fixture(scope="module")
def catalogue() -> Catalog:
    with PO.open("rb") as file:
        return read_po(file, locale="zh")


@pytest.fixture(scope="module")
def entries(catalogue: Catalog) -> dict[str, Message]:
    return {first(message.id): message for message in catalogue if message.id}


def test_every_message_is_translated(entries: dict[str, Message]) -> None:
    ours = messages_in(Path(node.cli.__file__).parent)
    assert sorted(ours - entries.keys()) == []
    empty = [key for key, message in entries.items() if not first(message.string)]
    assert empty == []
    assert not [key for key, message in entries.items() if message.fuzzy]


def test_nothing_is_translated_that_nobody_says(entries: dict[str, Message]) -> None:
    ours = messages_in(Path(node.cli.__file__).parent)
    clicks = messages_in(Path(click.__file__).parent)
    assert sorted(entries.keys() - ours - clicks) == []


def test_translations_keep_the_placeholders(entries: dict[str, Message]) -> None:
    wrong = [
        message.id
        for message in entries.values()
        if placeholders(first(message.string)) not in map(placeholders, forms(message.id))
    ]
    assert wrong == []


def test_one_thing_has_one_word(entries: dict[str, Message]) -> None:
    texts = [first(message.string) for message in entries.values()]
    wrong = [
        f"{right}: {text}"
        for other, right in OTHER_WORDS.items()
        for text in texts
        if re.search(other, text)
    ]
    assert wrong == []


def test_no_message_hides_where_extraction_does_not_look() -> None:
    hidden = [
        module.name
        for module in Path(node.cli.__file__).parent.rglob("*.py")
        if re.search(r"""f["'].*\{_\(""", module.read_text(encoding="utf-8"))
    ]
    assert hidden == []


def test_the_compiled_catalogue_is_that_of_the_source(catalogue: Catalog) -> None:
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    assert MO.read_bytes() == compiled.getvalue(), "compile it again, see node/cli/README.md"
