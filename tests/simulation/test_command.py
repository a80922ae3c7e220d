"""The command: what it counts, how it makes a failing run small, and that the small one replays."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.simulation import cluster, tally
from tests.simulation.__main__ import main
from tests.simulation.minimise import minimise, reduced
from tests.simulation.plan import Plan
from tests.simulation.runs import Report, plan_of, run_plan, run_seed
from tests.simulation.tally import (
    ROOT,
    Tally,
    changed_tally,
    judged_sources,
    read_tally,
    source_digest,
)


def rich_plans() -> Iterator[tuple[int, Plan]]:
    plans = ((seed, plan_of(seed, 4)) for seed in range(400))
    return ((s, p) for s, p in plans if p.byzantine and len(p.faults) > 3)


def test_what_a_failure_does_not_need_is_left_out() -> None:
    _, plan = next(rich_plans())
    needed = plan.faults[2]

    def fails(words: Sequence[str]) -> bool:
        small = reduced(plan, words)
        return needed in small.faults and small.workload.requests > 3

    words = minimise(plan, fails)
    small = reduced(plan, words)
    assert small.faults == (needed,)
    assert not small.byzantine
    assert 3 < small.workload.requests <= 7
    assert fails(words)


def test_words_that_fit_no_plan_are_refused() -> None:
    _, plan = next(rich_plans())
    for word in ("fault:99", "honest:77", "whatever"):
        with pytest.raises(ValueError, match="no reduction"):
            reduced(plan, [word])


@pytest.mark.parametrize(
    "arguments",
    [
        ("--n", "2"),
        ("--n", "4,x"),
        ("--n", ""),
        ("--jobs", "0"),
        ("--seeds", "-5"),
        ("--seeds", "0"),
        ("--start", "-1"),
        ("--step", "0"),
        ("--minutes", "-1"),
        ("--minutes", "nan"),
        ("--n", "4,"),
        ("--reduced", "zz"),
        ("--reduced", "fault:-1"),
        ("--reduced", "requests:-5"),
        ("--reduced", "calm", "--record"),
        ("--no-repeat", "--record"),
        ("--reduced", "fault:x"),
        ("--reduced", "trick:0:zz"),
        ("--reduced", "calm", "--jobs", "2"),
        ("--transcript", "--jobs", "2"),
    ],
)
def test_what_cannot_be_run_is_wrong_usage(
    capsys: pytest.CaptureFixture[str], arguments: Sequence[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--seeds", "1", *arguments])
    assert ended.value.code == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "error: " in told.err
    assert "invalid _" not in told.err


def test_a_reduced_run_is_compared_with_the_same_reduced(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = "calm alike requests:3"
    assert main(["--seeds", "1", "--start", "400", "--reduced", words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["repeated"] == 1


def test_a_run_that_had_no_time_for_a_seed_says_so_by_its_code() -> None:
    assert main(["--minutes", "0.0000000001"]) == 1


def test_what_is_recorded_counts_once_however_often_it_is_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def run_small(seed: int, size: int) -> Report:
        return run_plan(seed, size, ["calm", "alike", "requests:1"])

    monkeypatch.setattr(tally, "FILE", tmp_path / "clean_seeds.json")
    monkeypatch.setattr("tests.simulation.__main__.run_seed", run_small)
    monkeypatch.setattr("tests.simulation.__main__.repeated", lambda report, _words: report)
    for _ in range(2):
        assert main(["--seeds", "1", "--start", "400", "--n", "4,4", "--record"]) == 0
    fields = json.loads(tally.FILE.read_text())
    assert fields["total"] == fields["total_repeated"] == {"4": 1}
    assert fields["clean"] == fields["repeated"] == {"4": [[400, 401]]}
    assert [path.name for path in tmp_path.iterdir()] == ["clean_seeds.json"]


def test_a_failing_seed_is_told_as_a_small_one_that_replays(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cluster, "progress_bound_us", lambda plan: 0 * plan.size)
    # Not every run is stopped short by it: in some, all that was asked for is final by then.
    short = (seed for seed, plan in rich_plans() if plan.workload.requests < 100)
    seed = next(seed for seed in short if run_seed(seed, 4).oracle == "L")
    assert main(["--seeds", "1", "--start", str(seed), "--json"]) == 1
    (failure,) = json.loads(capsys.readouterr().out.splitlines()[-1])["failed"]
    assert failure["violation"].startswith("L: ")
    again = shlex.split(failure["again"])
    words = again[again.index("--reduced") + 1].split()
    told: list[str] = []
    assert run_plan(seed, 4, words, told.append).oracle == "L"
    assert len(reduced(plan_of(seed, 4), words).faults) < len(plan_of(seed, 4).faults)
    assert told[0].startswith("Plan(")


def test_processes_find_what_one_finds(capsys: pytest.CaptureFixture[str]) -> None:
    def traces(jobs: str) -> list[str]:
        assert main(["--seeds", "2", "--n", "4,5", "--jobs", jobs, "--json", "--no-repeat"]) == 0
        *runs, summary = map(json.loads, capsys.readouterr().out.splitlines())
        assert summary["seeds"] == 4
        return sorted(run["trace"] for run in runs)

    assert traces("1") == traces("2")


def test_clean_seeds_add_up_while_the_sources_stay(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tally, "FILE", tmp_path / "clean_seeds.json")
    first = read_tally()
    first.add(4, [3, 1, 2])
    first.add(4, [2, 7])
    first.add(5, [1])
    first.write()
    assert read_tally().count() == {"4": 4, "5": 1}
    assert read_tally().clean["4"] == [[1, 4], [7, 8]]
    assert not read_tally().repeated
    Tally("of other sources", clean={"4": [[0, 1_000]]}).write()
    assert read_tally() == Tally(source_digest())


def test_tallies_that_processes_change_at_once_add_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tally, "FILE", tmp_path / "clean_seeds.json")

    def add(seed: int) -> None:
        with changed_tally() as held:
            held.add(4, [seed], [seed])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(40)))
    assert read_tally().clean == read_tally().repeated == {"4": [[0, 40]]}


def test_clean_seeds_stand_for_what_runs_and_judges_and_not_for_tests_of_it() -> None:
    names = {f"{path.relative_to(ROOT)}" for path in judged_sources()}
    assert {"node/consensus/core.py", "tests/simulation/oracles.py"} < names
    assert {"tests/simulation/adversaries/tricks.py", "tests/unit/service/block_cost.py"} < names
    assert not [name for name in names if "test_" in name]
    of_chain = {name.removeprefix("node/chain/") for name in names if "/chain/" in name}
    assert of_chain == {
        *("block.py", "certificate.py", "encoding.py", "epoch.py", "evidence.py", "genesis.py"),
        *("membership.py", "merkle.py", "struct.py", "time_rules.py", "transaction.py"),
        "validation.py",
    }
    assert of_chain <= {path.name for path in (ROOT / "node/chain").glob("*.py")}
