"""One shape for all rounds: medians of runs, JSON there and back, two results compared."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from node.cli.bench.result import (
    NotAResultError,
    Ratio,
    Result,
    compare,
    differences,
    make_case,
    medians,
)
from tests.unit.cli.bench.results import case, result


def run(rate: float, *, is_quiet: bool = True, **more: object) -> dict[str, Any]:
    return {"transactions_per_s": rate, "is_quiet": is_quiet, **more}


def test_medians_are_of_numbers_wherever_they_lie_and_failures_are_added_up() -> None:
    found = medians(
        [
            {"a": 1, "deep": {"b": 10.0}, "failures": {"X": 1}, "view_changes": 1, "seconds": [1]},
            {"a": 5, "deep": {"b": None}, "failures": {"X": 2, "Y": 7}, "view_changes": 2},
            {"a": 3, "deep": {"b": 30.0}, "failures": {}, "view_changes": 0, "none": None},
        ]
    )
    assert found == {
        "a": 3,
        "deep": {"b": 20.0},
        "failures": {"X": 3, "Y": 7},
        "view_changes": 3,
        "none": None,
    }


def test_runs_that_were_not_quiet_count_only_where_none_was() -> None:
    mixed = make_case("4", {}, [run(100), run(1, is_quiet=False), run(300)]).load
    assert (mixed["transactions_per_s"], mixed["is_quiet"], mixed["runs_counted"]) == (200, True, 2)
    noisy = make_case("4", {}, [run(1, is_quiet=False), run(3, is_quiet=False)]).load
    assert (noisy["transactions_per_s"], noisy["is_quiet"], noisy["runs_counted"]) == (2, False, 2)


def test_a_result_survives_its_json() -> None:
    before = result(case(4), case(7))
    text = json.dumps({"version": 1, "verb": "bench saturate", **before.to_json()})
    assert Result.from_json(text) == before


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{}",
        b'{"schema": 2, "round": "x", "machine": {}, "settings": {}, "cases": []}',
        b'{"schema": 1, "round": "x", "machine": {}, "settings": {}, "cases": [{}]}',
        b'{"schema": 1, "round": "x", "machine": {}, "settings": {}, "cases": 5}',
        b'{"schema": 1, "round": "x", "machine": 1, "settings": {}, "cases": []}',
        b'{"schema": 1, "round": "x", "machine": {}, "settings": {},'  # noqa: ISC004 - one text
        b' "cases": [{"name": "4", "settings": [1], "load": {}, "runs": [], "figures": {}}]}',
        b"[" * 100_000,
        b'{"schema": 1, "round": "x", "machine": {"cpu": NaN}, "settings": {}, "cases": []}',
        b'{"schema": 1, "round": "x", "machine": {"cpu": 1e999}, "settings": {}, "cases": []}',
        b'{"schema": 1, "round": "\\ud800", "machine": {}, "settings": {}, "cases": []}',
        b'{"schema": 1, "round": 7, "machine": {}, "settings": {}, "cases": []}',
        json.dumps(result(case(4), case(4)).to_json()).encode(),
        json.dumps({**result().to_json(), "cases": [{**asdict(case()), "name": []}]}).encode(),
        json.dumps({**result().to_json(), "cases": [{**asdict(case()), "load": []}]}).encode(),
        json.dumps({**result().to_json(), "cases": [{**asdict(case()), "runs": {}}]}).encode(),
    ],
)
def test_what_no_round_printed_is_refused(text: bytes) -> None:
    with pytest.raises(NotAResultError):
        Result.from_json(text)


def test_results_are_compared_by_case_and_figure() -> None:
    ratios = compare(result(case(4), case(7)), result(case(4, per_second=250), case(10)))
    assert {each.case for each in ratios} == {"4"}
    by_figure = {each.figure: each for each in ratios}
    assert by_figure["transactions_per_s"] == Ratio("4", "transactions_per_s", 100.0, 250.0)
    assert by_figure["transactions_per_s"].ratio == 2.5
    assert by_figure["cpu_us_per_transaction.validator-1"].ratio == 0.4
    assert by_figure["idle.p50_ms"].ratio == 1.0
    assert by_figure["vote_checks_per_block"].ratio is None  # of zero
    assert "is_quiet" not in by_figure


def test_what_else_differs_is_told() -> None:
    assert differences(result(), result()) == []
    assert differences(result(), result(cpu="another", seed=2)) == ["machine.cpu", "settings.seed"]
    larger = replace(case(), settings={**case().settings, "batch": 500})
    assert differences(result(case(), case(7)), result(larger)) == ["4.batch"]
