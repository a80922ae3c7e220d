"""What a round found, told to a person."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from node.cli.bench.telling import label, tell
from node.cli.screen import Screen
from tests.unit.cli.bench.results import case, result


def test_cases_are_columns_and_what_no_case_has_is_no_row(
    capsys: pytest.CaptureFixture[str],
) -> None:
    failing = case(7, per_second=40, others_cores=1.0)
    failing = replace(failing, load={**failing.load, "failures": {"POOL_FULL": 3, "NOT_SENT": 5}})
    tell(Screen("bench saturate", as_json=False), result(case(4), failing))
    said, noted = capsys.readouterr()
    rows = {line.split("  ")[0]: line for line in said.splitlines()}
    assert re.split("  +", rows["figure"])[1:] == ["4 validators", "7 validators"]
    assert rows["transactions final per second"].split()[-2:] == ["100.0", "40.0"]
    assert rows["not accepted or not final"].split("  ")[-1].strip() == "POOL_FULL 3, NOT_SENT 5"
    assert rows["single one on the idle chain, p50 / p95 / p99 ms"].split()[-2:] == ["12.5", "12.5"]
    assert "transactions due per second" not in rows
    assert "of that, all validators together, stage storage" in rows
    assert "7 validators: not measured quietly" in noted
    assert "4 validators" not in noted


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("", "4 validators"),
        ("spike", "4 validators, spike"),
        ("batch-20", "4 validators, batches of 20"),
        ("unheard of", "4 validators"),
    ],
)
def test_a_case_is_called_by_what_was_measured(kind: str, said: str) -> None:
    settings = {"validators": 4, "kind": kind, "batch": 20}
    assert label(replace(case(), settings=settings)) == said
