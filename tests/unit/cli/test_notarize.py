"""What is told of documents that may be on the chain, but have no receipt here."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.cli.exit_codes import ExitCode
from node.cli.inputs import Document
from node.cli.notarize import Item, tell_trouble
from node.cli.screen import Fault, Screen
from node.cli.submission import Recorded
from tests.unit.cli.command import run

FAULT = Fault("GC-2207", "not final in time", "govchain receipt fetch tx:aa:0")


def test_how_to_get_its_receipt_is_told_of_a_document_that_was_sent(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sent, unread = Document("sent", Path("sent")), Document("unread", Path("unread"))
    screen = Screen("notarize", as_json=False)
    tell_trouble(screen, Item(sent, Recorded(b"\xaa", 0, fault=FAULT), fault=FAULT))
    tell_trouble(screen, Item(unread, fault=FAULT))
    assert capsys.readouterr().out.splitlines() == [
        "FAILED  sent: GC-2207 not final in time",
        "  fix: govchain receipt fetch tx:aa:0",
        "FAILED  unread: GC-2207 not final in time",
    ]


def test_an_interrupted_run_says_that_some_may_be_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("node.cli.submission.record_digests", interrupt)
    home, file = tmp_path / "net", tmp_path / "file"
    file.touch()
    assert run("testnet", "init", "--home", home, "-n", 1).code == 0
    ran = run("notarize", file, "--home", home, "--out", tmp_path / "out", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.INTERRUPTED, "GC-2313")
    assert "receipt fetch" in ran.json["error"]["fix"]


def test_nothing_is_recorded_whose_receipt_could_not_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[object] = []
    monkeypatch.setattr("node.cli.submission.record_digests", called.append)
    home, file = tmp_path / "net", tmp_path / "file"
    file.touch()
    assert run("testnet", "init", "--home", home, "-n", 1).code == 0
    ran = run("notarize", file, "--home", home, "--out", file / "out", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2306")
    assert called == []


@pytest.mark.parametrize("option", ["--type", "--ref"])
@pytest.mark.parametrize("text", ["", "a\nb", "a\x1b[31m", "x" * 300, "\udcff"])
def test_a_text_that_no_record_can_hold_is_wrong_usage(
    tmp_path: Path, option: str, text: str
) -> None:
    ran = run("notarize", tmp_path, option, text, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2303")
    assert "printable" in ran.json["error"]["message"]


@pytest.mark.parametrize("words", [("notarize", "x"), ("record", "list"), ("block", "show")])
def test_an_empty_identity_is_wrong_usage(words: tuple[str, ...]) -> None:
    ran = run(*words, "--as", "", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2303")
    assert "--as" in ran.json["error"]["message"]
