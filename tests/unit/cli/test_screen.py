"""What verbs say: one JSON object or lines for people, faults with code, cause and fix."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import node
from node.cli import remedies
from node.cli.exit_codes import ExitCode
from node.cli.remedies import REMEDIES, remedy_of
from node.cli.screen import Answer, Fault, Screen
from node.cli.verb import CommandError, verb
from node.errors import ConfigError, NodeError
from tests.unit.cli.command import CHINESE, ENGLISH

FAULT = Fault("GC-2205", "no validator answered", "see that the network runs")


def test_json_holds_the_facts_the_fault_and_nothing_else(
    capsys: pytest.CaptureFixture[str],
) -> None:
    screen = Screen("testnet up", as_json=True)
    screen.line("for people")
    screen.note("for people")
    screen.table(("a",), [("b",)])
    with screen.progress("hashing", 10) as advance:
        advance(10)
    assert screen.finish(Answer({"name": "政链"}, FAULT)) is ExitCode.UNAVAILABLE
    out, err = capsys.readouterr()
    assert err == ""
    assert json.loads(out) == {
        "version": 1,
        "verb": "testnet up",
        "ok": False,
        "exit_code": 6,
        "name": "政链",
        "error": {
            "code": "GC-2205",
            "summary": "no validator answers",
            "message": "no validator answered",
            "fix": "see that the network runs",
        },
    }


def test_people_get_code_cause_and_fix_on_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert Screen("x", as_json=False).finish(Answer(fault=FAULT)) == 6
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "error GC-2205: no validator answers",
        "  cause: no validator answered",
        "  fix: see that the network runs",
    ]


def test_a_fix_no_catalogue_holds_is_introduced_in_the_users_language(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANGUAGE", "zh_CN")
    fault = Fault.of(NodeError("why", code="GC-2205", fix="do this first"))
    Screen("x", as_json=False).finish(Answer(fault=fault))
    fix = capsys.readouterr().err.splitlines()[-1]
    assert fix.endswith("(do this first)")
    assert "govchain testnet status" in fix


def test_elsewhere_than_on_a_terminal_tables_are_aligned_lines_without_colour(
    capsys: pytest.CaptureFixture[str],
) -> None:
    screen = Screen("x", as_json=False)
    screen.line("good", style="green")
    screen.table(("name", "值"), [("一二", 1), ("three", "22")])
    assert capsys.readouterr().out.splitlines() == [
        "good",
        "name   值",
        "一二   1",
        "three  22",
    ]


def test_a_name_can_neither_forge_a_line_nor_steer_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = "a\nVERIFIED b\x1b[2J\u202e\udcff\u3000照"
    shown = r"a\nVERIFIED b\x1b[2J\u202e\udcff" + "\u3000照"
    screen = Screen("x", as_json=False)
    screen.line(name)
    screen.note(name)
    screen.table(("a",), [(name,)])
    screen.finish(Answer(fault=Fault("GC-2205", name, name)))
    out, err = capsys.readouterr()
    assert out.splitlines() == [shown, "a", shown]
    assert [line.partition(": ")[2] or line for line in err.splitlines()] == [
        shown,
        "no validator answers",
        shown,
        shown,
    ]


def test_colours_obey_no_color(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    Screen("x", as_json=False).line("good", style="green")
    monkeypatch.setenv("NO_COLOR", "1")
    Screen("x", as_json=False).line("good", style="green")
    assert capsys.readouterr().out == "\x1b[32m\x1b[1mgood\x1b[0m\ngood\n"


def test_slow_progress_is_told_line_by_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.cli.screen._PLAIN_PROGRESS_S", 0.0)
    with Screen("x", as_json=False).progress("hashing", 4) as advance:
        advance(1)
        advance(3)
    assert capsys.readouterr().err.splitlines() == ["hashing: 25 %", "hashing: 100 %"]


def failing(error: BaseException) -> click.Command:
    """Return a command that fails so."""

    @click.command()
    @verb("fail")
    def command(_screen: Screen) -> Answer:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "exit_code", "fix"),
    [
        (ConfigError("bad", fix="do"), "GC-2002", ExitCode.USAGE, "do"),
        (ConfigError("bad"), "GC-2002", ExitCode.USAGE, "correct the named field"),
        (CommandError("GC-2203", "none"), "GC-2203", ExitCode.NO_SUCH_RECORD, "check what you"),
        (NodeError("odd", code="GC-4242"), "GC-4242", ExitCode.DEFECT, "report it"),
        (KeyboardInterrupt(), "GC-2313", ExitCode.INTERRUPTED, "again"),
        (ValueError("a defect"), "GC-9001", ExitCode.DEFECT, "report it"),
    ],
)
def test_an_error_ends_a_verb_by_its_code(
    error: BaseException, code: str, exit_code: ExitCode, fix: str
) -> None:
    command = failing(error)
    result = CliRunner(env=ENGLISH).invoke(command, ["--json"], standalone_mode=False)
    assert result.return_value == exit_code
    told = json.loads(result.stdout)
    assert told["verb"] == "fail"
    assert told["error"]["code"] == code
    assert fix in told["error"]["fix"]


def test_every_code_raised_anywhere_has_a_row() -> None:
    root = Path(node.__file__).parent
    raised = {
        code
        for module in root.rglob("*.py")
        for code in re.findall(r"\bGC-\d{4}\b", module.read_text(encoding="utf-8"))
    }
    assert raised - {NodeError.code} == REMEDIES.keys()


def test_every_code_has_one_row() -> None:
    written = Path(remedies.__file__).read_text(encoding="utf-8")
    rows = re.findall(r'\(\s*"(GC-\d{4})",', written)
    assert len(rows) == len({*rows}) > 50


def test_every_row_is_told_in_both_languages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGUAGE", ENGLISH["LANGUAGE"])
    english = {code: (row.summary, row.fix) for code, row in REMEDIES.items()}
    assert all(map(all, english.values()))
    monkeypatch.setenv("LANGUAGE", CHINESE["LANGUAGE"])
    for code, (summary, fix) in english.items():
        assert remedy_of(code).summary != summary
        assert remedy_of(code).fix != fix


def test_exit_codes_are_the_documented_ones() -> None:
    assert {code.value for code in ExitCode} == {0, 1, 2, 3, 4, 5, 6, 7, 8, 70, 130, 141}
    assert remedy_of("GC-0000").exit_code is ExitCode.DEFECT
