"""Trials of a network: wrong usage is told, production refused; the verdict follows the facts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pytest

from node.chain.genesis import Genesis
from node.cli.exit_codes import ExitCode
from node.cli.experiment import Measured, Trial, judge
from node.cli.network import Network
from node.cli.screen import Answer, Screen
from node.operations import provision
from node.operations.founding import Founder, Terms, found
from tests.unit.cli.command import CHINESE, ENGLISH, run

WINDOW = 2


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chaos") / "net"
    assert run("testnet", "init", "--home", folder, "-n", 4).code == 0
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ("partition", "1,2,3,4"),
        ("partition", "1,2/3"),
        ("partition", "1,2/2,3,4"),
        ("partition", "1,2/3,nobody"),
        ("kill", "0"),
        ("kill", "5"),
        ("pause", "two"),
        ("delay", "5000"),
        ("skew", "9", "100"),
        ("skew", "1", "4000000"),
        ("kill-primary", "--for", "soon"),
        ("kill-primary", "--for", "121s"),
        ("kill-primary", "--within", "0"),
    ],
)
def test_wrong_usage_is_told(home: Path, words: tuple[str, ...]) -> None:
    assert run("testnet", "chaos", *words, "--home", home).code == ExitCode.USAGE


@pytest.mark.parametrize("duration", ["0", "0ms", "121s"])
def test_a_duration_out_of_bounds_is_told_with_both_bounds(home: Path, duration: str) -> None:
    kill = ("testnet", "chaos", "kill-primary", "--home", home, "--for", duration)
    assert "expected 1 to 120000 ms" in run(*kill).err
    assert "1 到 120000 毫秒" in run(*kill, env=CHINESE).err


@pytest.mark.parametrize(
    ("ms", "english", "chinese"),
    [
        (500, "put the clock of validator-4 forward by 500 ms", "拨快 500 毫秒"),
        (-500, "put the clock of validator-4 back by 500 ms", "拨慢 500 毫秒"),
    ],
)
def test_a_clock_is_put_forward_or_back(home: Path, ms: int, english: str, chinese: str) -> None:
    for env, expected in ((ENGLISH, english), (CHINESE, chinese)):
        skew = ("testnet", "chaos", "skew", "4", str(ms), "--home", home)
        with patch("node.cli.experiment.run_trial", told_of):
            assert expected in run(*skew, env=env).out


def told_of(screen: Screen, _network: Network, trial: Trial) -> Answer:
    """Say what a trial would do, in place of doing it."""
    screen.line(trial.detail)
    return Answer()


def test_a_network_that_does_not_run_is_not_disturbed(home: Path) -> None:
    ran = run("testnet", "chaos", "kill-primary", "--home", home, "--within", "500ms", "--json")
    assert ran.code == ExitCode.UNAVAILABLE
    assert ran.json["error"]["code"] == "GC-2106"


@pytest.mark.parametrize(
    "words",
    [
        ("kill-primary",),
        ("kill", "1"),
        ("pause", "1"),
        ("partition", "1/2,3,4"),
        ("delay", "10"),
        ("skew", "1", "10"),
    ],
)
def test_a_chain_that_is_not_for_trials_is_left_alone(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    def as_operators_of_a_real_chain(terms: Terms, founders: Sequence[Founder]) -> Genesis:
        return found(replace(terms, testnet=False), founders)

    folder = tmp_path / "net"
    with patch.object(provision, "found", as_operators_of_a_real_chain):
        assert run("testnet", "init", "--home", folder, "-n", 4).code == 0
    ran = run("testnet", "chaos", *words, "--home", folder, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.REFUSED, "GC-2318")


GOES_ON = Trial(
    name="a trial",
    detail="what is done",
    fault=nullcontext,
    duration_ms=1_000,
    asked=("a", "b", "c"),
    goes_on=True,
    within_ms=500,
    not_before_ms=100,
    idle=("d",),
    skewed_ms={"d": 5_000},
)
STALLS = replace(GOES_ON, goes_on=False, not_before_ms=0)


def seen(**changes: object) -> Measured:
    facts = {
        "heights": {"at_fault": {"d": 5}, "during": {"d": 5 + WINDOW}},
        "next_commit_ms": 200,
        "commits": 3,
        "offsets_ms": {"d": 4_990.0},
        "healed_commit_ms": 20,
        "together_ms": 40,
    }
    return Measured(**{**facts, **changes})  # type: ignore[arg-type]


failed = partial(filter, lambda check: not check.passed)


def failures(trial: Trial, measured: Measured) -> list[str]:
    return [each.check for each in failed(judge(trial, measured, WINDOW))]


def test_what_was_expected_passes() -> None:
    assert failures(GOES_ON, seen()) == []
    assert failures(STALLS, seen(next_commit_ms=None, commits=0)) == []


@pytest.mark.parametrize(
    ("trial", "measured", "check"),
    [
        (GOES_ON, seen(next_commit_ms=None, commits=0), "progress"),
        (GOES_ON, seen(next_commit_ms=501), "progress"),
        (GOES_ON, seen(next_commit_ms=99), "effect"),
        (STALLS, seen(), "stall"),
        (GOES_ON, seen(heights={"at_fault": {"d": 5}, "during": {"d": 6 + WINDOW}}), "alone"),
        (GOES_ON, seen(offsets_ms={"d": 10.0}), "skew"),
        (GOES_ON, seen(offsets_ms={}), "skew"),
        (GOES_ON, seen(healed_commit_ms=None), "healed"),
        (GOES_ON, seen(together_ms=None), "together"),
    ],
)
def test_what_was_not_expected_is_named(trial: Trial, measured: Measured, check: str) -> None:
    assert failures(trial, measured) == [check]
