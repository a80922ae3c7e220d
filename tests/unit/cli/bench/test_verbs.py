"""`govchain bench`: what it refuses before it starts anything, and what it makes of results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from node.cli.bench.result import Result
from tests.unit.cli.bench.results import case, result
from tests.unit.cli.command import CHINESE, run


def written(path: Path, found: Result) -> Path:
    """Write a result as `--json` prints it."""
    path.write_text(json.dumps(found.to_json()), encoding="utf-8")
    return path


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = run("bench", "saturate", "--home", tmp_path, "--json")
    assert ran.code == 2
    assert ran.json["error"]["code"] == "GC-2102"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("saturate", "-n", 4, "--kill", 2), "at most 1 dead"),
        (("failover", "-n", "4,3"), "at most 0 dead"),
        (("catch-up", "-n", 1), "at most 0 dead"),
        (("scale", "-n", "4,4"), "expected numbers"),
        (("scale", "-n", "4,,7"), "expected numbers"),
        (("scale", "-n", "65"), "expected numbers"),
        (("batch", "--sizes", "0,5"), "expected numbers"),
        (("failover", "--seconds", 5), "--seconds"),
    ],
)
def test_what_no_round_can_do_is_wrong_usage(arguments: tuple[object, ...], said: str) -> None:
    ran = run("bench", *arguments)
    assert ran.code == 2
    assert said in ran.err


def test_ratios_are_printed_and_what_else_differs_is_said(tmp_path: Path) -> None:
    before = written(tmp_path / "a.json", result(case()))
    after = written(
        tmp_path / "b.json", result(case(per_second=300, others_cores=1.0), cpu="another")
    )
    ran = run("bench", "compare", before, after)
    assert ran.code == 0
    (line,) = (each for each in ran.out.splitlines() if "  transactions_per_s " in each)
    assert line.split()[-3:] == ["100.0", "300.0", "3.0"]
    assert "machine.cpu" in ran.err
    assert "b.json: 4 validators was measured while other programs ran" in ran.err
    facts = run("bench", "compare", before, after, "--json").json
    assert facts["differences"] == ["machine.cpu"]
    assert {"case": "4", "figure": "idle.p50_ms", "before": 12.5, "after": 12.5, "ratio": 1.0} in (
        facts["ratios"]
    )


def test_results_without_a_case_in_common_are_not_compared(tmp_path: Path) -> None:
    before = written(tmp_path / "a.json", result(case(4)))
    ran = run("bench", "compare", before, written(tmp_path / "b.json", result(case(7))), "--json")
    assert (ran.code, ran.json["error"]["code"]) == (2, "GC-2381")


def test_what_is_no_result_or_not_there_is_named(tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text('{"version": 1}')
    ran = run("bench", "compare", other, other, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (2, "GC-2381")
    assert "other.json" in ran.json["error"]["message"]
    ran = run("bench", "report", tmp_path / "none", "--out", tmp_path / "page.html", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (2, "GC-2301")
    assert not (tmp_path / "page.html").exists()


def test_a_page_is_made_of_results_and_nothing_is_written_over(tmp_path: Path) -> None:
    given, page = written(tmp_path / "a.json", result(case())), tmp_path / "page.html"
    ran = run("bench", "report", given, given, "--out", page, env=CHINESE)
    assert ran.code == 0
    assert page.read_bytes().startswith(b"<!doctype html>")
    ran = run("bench", "report", given, "--out", page, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (2, "GC-2306")
