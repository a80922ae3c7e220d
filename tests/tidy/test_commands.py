"""The commands of the tests: what leaves them nothing to try is wrong usage, and said at once."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.churn.__main__ import main as churn
from tests.crash.__main__ import main as crash
from tests.exhaustive.__main__ import main as exhaustive
from tests.mutation.__main__ import main as mutation
from tests.simulation import snapshots, time_bounds

ROOT = Path(__file__).parents[2]
COMMANDS = {
    "churn": churn,
    "crash": crash,
    "exhaustive": exhaustive,
    "mutation": mutation,
    "snapshots": snapshots.main,
    "time_bounds": lambda words: time_bounds.main(words, print),
}
WRONG = (
    "churn --rate 0",
    "churn --rate -1",
    "churn --every 0",
    "churn --minutes nan",
    "churn --minutes inf",
    "churn --minutes x",
    "churn --nodes 3",
    "crash --restarts -2",
    "crash --restarts 0",
    "crash --restarts 1 --start -1",
    "exhaustive --delays -1",
    "exhaustive --delays x",
    "exhaustive --views 0",
    "exhaustive --minutes nan",
    "exhaustive --replay nosuch",
    "exhaustive --replay /dev/null",
    "mutation --oracles bogus",
    "mutation --oracles ,",
    "mutation --commit nosuch",
    "mutation --every 0",
    "mutation --first -1",
    "mutation --tests nosuch",
    "mutation --tests tests/nosuch",
    "mutation --tests ,",
    "mutation --seeds 0",
    "mutation --starts 0",
    "mutation --starts 6",
    "mutation --jobs 0",
    "mutation --minutes nan",
    "mutation --minutes -1",
    "snapshots --seeds 0",
    "snapshots --start -1",
    "time_bounds --blocks 0",
    "time_bounds --minutes 0",
)


@pytest.mark.parametrize("line", WRONG)
def test_what_leaves_nothing_to_try_is_wrong_usage(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command, *words = line.split()
    with pytest.raises(SystemExit) as ended:
        COMMANDS[command](words)
    assert ended.value.code == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "error: " in told.err


def test_a_search_that_ends_early_does_not_end_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert exhaustive(["--minutes", "0.01", "--delays", "all", "--setup", "equivocator 0"]) == 1
    assert "NOT all" in capsys.readouterr().out


def test_a_transcript_with_a_step_that_is_none_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    transcript = tmp_path / "transcript"
    transcript.write_text("nobody does anything\n")
    assert exhaustive(["--setup", "equivocator 0", "--replay", str(transcript)]) == 2
    assert "no such step" in capsys.readouterr().err


def test_no_mutant_to_try_is_no_good_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tests.mutation.__main__.snapshot", lambda _at, **_: nullcontext(ROOT))
    monkeypatch.setattr("tests.mutation.__main__.end_tidily", lambda: None)
    assert mutation(["--only", "M07", "--first", "1"]) == 2
    assert "no mutant to try" in capsys.readouterr().err


def test_a_command_told_to_end_leaves_no_folder(tmp_path: Path) -> None:
    words = ("-m", "tests.mutation", "--only", "M07", "--oracles", "unit", "--json")
    with subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp_path)}
    ) as mutation_run:
        while not list(tmp_path.glob("mutation-*/sources")):
            assert mutation_run.poll() is None
        mutation_run.terminate()
        assert mutation_run.wait(60) == 143
    assert not list(tmp_path.iterdir())
