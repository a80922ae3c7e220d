"""Disturbing a network: asked of each node by a file of its owner's, undone whatever happens."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from node.errors import ConfigError
from node.operations.chaos import alone, disturbed, killed, monotonic_ms, paused
from node.operations.supervisor import Supervisor
from node.service.chaos import CHAOS_FILE, Chaos, read_chaos
from tests.unit.cli.command import run


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chaos") / "net"
    assert run("testnet", "init", "--home", folder, "-n", 2).code == 0
    return folder


def supervisor(home: Path) -> Supervisor:
    return Supervisor(home, lambda _step, _node: None)


def test_a_node_is_asked_by_a_private_file_that_goes_in_any_case(home: Path) -> None:
    chaos = Chaos(until_ms=monotonic_ms() + 60_000, delay_ms=1)
    path = home / "nodes/validator-1" / CHAOS_FILE

    def fail() -> None:
        with disturbed(home, supervisor(home), {"validator-1": chaos}):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert read_chaos(path, monotonic_ms()) == chaos
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not path.exists()


def test_one_disturbs_at_a_time(home: Path) -> None:
    with alone(home), pytest.raises(ConfigError, match="another command"), alone(home):
        raise AssertionError
    with alone(home):
        pass


def test_only_what_runs_can_be_killed_or_paused(home: Path) -> None:
    for fault in (killed, paused):
        with (
            pytest.raises(ConfigError, match="does not run"),
            fault(supervisor(home), ["validator-2"]),
        ):
            raise AssertionError
