"""Where rounds measure: how long they may take, and whom a folder belongs to."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from node.cli.bench import rig
from node.cli.bench.rig import Field, Limit, told_to_end_as_by_a_key
from node.cli.screen import Screen
from node.cli.verb import CommandError
from tests.suites import SUITE


def field_in(folder: Path, *, hashing: str = "auto") -> Field:
    screen = Screen("", as_json=True)
    return Field(screen, folder, suite=SUITE, hashing=hashing, clients=1, seed=1, limit_minutes=1)


def test_a_round_that_would_take_too_long_is_given_up() -> None:
    Limit(1).check(more_s=50)
    with pytest.raises(CommandError, match="longer than 1 minutes") as caught:
        Limit(1).check(more_s=61)
    assert caught.value.code == "GC-2380"


def test_each_of_several_networks_has_a_folder_and_finds_it_empty(tmp_path: Path) -> None:
    (tmp_path / "7-validators").mkdir()
    (tmp_path / "7-validators" / "file").touch()
    field = field_in(tmp_path)
    with (
        pytest.raises(CommandError, match="7-validators: is not empty"),
        field.rig(7, alone=False),
    ):
        pass


def test_kernels_that_are_asked_for_and_not_there_are_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rig, "load_kernels", lambda _: False)
    with pytest.raises(CommandError, match="no hash kernels") as caught:
        field_in(tmp_path / "network", hashing="kernels").rig(4).__enter__()
    assert caught.value.code == "GC-2384"
    assert not (tmp_path / "network").exists()


def test_being_told_to_end_is_as_a_key() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), told_to_end_as_by_a_key():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
