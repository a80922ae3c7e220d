"""Files that verbs write: no verb, by any option, writes over what is there; long names are cut."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import node.cli
from node.cli.exit_codes import ExitCode
from node.cli.main import cli
from node.cli.outputs import NAME_BYTES_MAX, OutputFile, name_after
from tests.unit.cli.command import CHINESE, run

VECTORS = Path(__file__).parents[2] / "vectors" / "receipt"
LETTER = b"a letter that somebody keeps"
Words = tuple[str, ...]

PURE: dict[tuple[Words, str], Words] = {
    (("receipt", "export"), "--out"): ("{receipt}", "--format", "cose"),
    (("receipt", "verifier"), "--out"): (),
}
"""Options that name what the same input makes again to the byte; the rest of the command."""
OWN_WRITERS = {
    "receipt_files.py": "receipts in a folder, each under a name of its own",
    "openings.py": "openings, for their owner alone",
    "outputs.py": "all others",
}


def leaves(command: click.Command, *words: str) -> Iterator[tuple[Words, click.Command]]:
    """Yield every verb."""
    if not isinstance(command, click.Group):
        yield words, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        child = command.get_command(context, name)
        assert child is not None
        yield from leaves(child, *words, name)


VERBS = dict(leaves(cli))
OUTPUTS = [
    (words, option.opts[0])
    for words, verb in VERBS.items()
    for option in verb.params
    if isinstance(option.type, OutputFile)
]


def needed(verb: click.Command, given: Path) -> Iterator[str]:
    """Yield the least that a verb has to be told, whatever it makes of it."""
    for each in verb.params:
        if not each.required or isinstance(each.type, OutputFile):
            continue
        if isinstance(each.type, click.Choice):
            value = str(each.type.choices[0])
        elif isinstance(each.type, click.Path):
            value = str(given.parent if not each.type.file_okay else given)
        else:
            value = "1"
        if isinstance(each, click.Option):
            yield each.opts[0]
        yield from [value] * max(each.nargs, 1)


def option_of(words: Words, name: str) -> click.Parameter:
    return next(each for each in VERBS[words].params if name in each.opts)


@pytest.mark.parametrize(("words", "option"), OUTPUTS, ids=str)
def test_no_verb_writes_over_what_is_there(
    words: Words, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the verb: what it is told besides is the least that it takes."""
    monkeypatch.chdir(tmp_path)
    given, target = tmp_path / "given", tmp_path / "letter.pdf"
    given.write_bytes((VECTORS / "document.txt.receipt").read_bytes())
    target.write_bytes(LETTER)
    rest = PURE.get((words, option))
    said = (
        [*needed(VERBS[words], given)]
        if rest is None
        else [each.format(receipt=given) for each in rest]
    )
    ran = run(*words, *said, option, target, "--json")
    assert ran.code == ExitCode.USAGE
    assert ran.json["error"]["code"] == "GC-2306"
    assert str(target) in ran.json["error"]["message"]
    assert option in ran.json["error"]["fix"]
    assert target.read_bytes() == LETTER
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    assert run(*words, *said, option, link).code == ExitCode.USAGE
    assert link.is_symlink()


def test_what_the_same_input_makes_again_is_no_obstacle(tmp_path: Path) -> None:
    found = {key for key in OUTPUTS if option_of(*key).type.may_repeat}  # type: ignore[attr-defined]
    assert found == {*PURE}
    receipt, target = tmp_path / "a.receipt", tmp_path / "made"
    receipt.write_bytes((VECTORS / "document.txt.receipt").read_bytes())
    for (words, option), rest in PURE.items():
        command = (*words, *(each.format(receipt=receipt) for each in rest), option, target)
        assert [run(*command).code for _again in range(2)] == [ExitCode.DONE] * 2
        target.unlink()


def test_every_option_that_names_a_file_to_write_is_known() -> None:
    """A new verb's, too: what it calls `--out` or says it writes is of that type."""
    for words, verb in VERBS.items():
        for option in verb.params:
            if not isinstance(option, click.Option) or not isinstance(option.type, click.Path):
                continue
            if not option.type.file_okay or "--log" in option.opts:  # that is added to
                continue
            told = (option.help or "").lower()
            writes = "--out" in option.opts or "to write" in told or told.startswith("write")
            assert writes == isinstance(option.type, OutputFile), (words, option.opts)


def test_files_are_written_in_one_place() -> None:
    folder = Path(str(node.cli.__file__)).parent
    found = set()
    for path in folder.rglob("*.py"):
        for each in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(each, ast.ImportFrom) and each.module == "node.operations.topology":
                found |= {path.name for name in each.names if name.name == "write_file"}
    assert found == {*OWN_WRITERS}


@pytest.mark.parametrize("name", ["x" * 250, "照" * 84, "x" * 255, "é" * 127])
def test_a_name_made_of_a_long_one_fits_and_tells_it_from_others(name: str, tmp_path: Path) -> None:
    made, other = name_after(name, ".tlog-proof"), name_after(f"{name[:-1]}y", ".tlog-proof")
    assert made != other
    assert made.endswith(".tlog-proof")
    assert len(os.fsencode(made)) <= NAME_BYTES_MAX
    assert len(os.fsencode(made)) > NAME_BYTES_MAX - 4
    (tmp_path / made).touch()
    assert name_after("short", ".ers") == "short.ers"


def test_a_name_of_any_bytes_is_cut(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff\xe7" * 127)
    (tmp_path / name_after(name, ".ers")).touch()
    assert name_after(name, ".ers") != name_after(name[:-1], ".ers")


@pytest.mark.parametrize("length", [255, 4_000, 5_000])
def test_a_name_that_no_file_can_have_is_told_of(length: int, tmp_path: Path) -> None:
    """Whether it is of a document, of a receipt or of what is to be written."""
    receipt = VECTORS / "document.txt.receipt"
    trust = VECTORS / "trust" / "genesis.json"
    name = tmp_path / ("x" * length)
    for words in (
        ("verify", name, "--trust", trust),
        ("verify", name, "--trust", trust, "--receipt", receipt),
        ("verify", VECTORS / "document.txt", "--trust", name, "--receipt", receipt),
        ("receipt", "show", name),
        ("receipt", "export", receipt, "--format", "cose", "--out", f"{name}x"),
        ("evidence", "verify", name, "--ca", VECTORS.parent / "evidence" / "roots" / "first.pem"),
    ):
        ran = run(*words, "--json", env=CHINESE)
        assert ran.code == ExitCode.USAGE, words
        assert ran.json["error"]["code"] in {"GC-2301", "GC-2303", "GC-2306"}


@pytest.mark.parametrize("length", [250, 251, 255])
def test_the_answer_about_a_document_with_a_long_name_is_called_after_it(
    length: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    document = Path("x" * length)
    document.write_bytes(b"")
    assert run("timestamp", document, "--json").json["error"]["code"] == "GC-2101"  # no network
    Path(name_after(document.name, ".tsr")).write_bytes(LETTER)
    assert run("timestamp", document, "--json").json["error"]["code"] == "GC-2306"
    receipt = tmp_path / ("r" * (length - 8) + ".receipt")
    receipt.write_bytes((VECTORS / "document.txt.receipt").read_bytes())
    ran = run("receipt", "export", receipt, "--format", "tlog", "--json")
    assert ran.json["path"] == str(receipt.with_name(name_after(receipt.stem, ".tlog-proof")))
