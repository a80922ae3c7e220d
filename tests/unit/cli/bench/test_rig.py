"""Where rounds measure: how long they may take, and whom a folder belongs to."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from node.cli.bench.rig import Field, Limit, told_to_end_as_by_a_key
from node.cli.screen import Screen
from node.cli.verb import CommandError


def test_a_round_that_would_take_too_long_is_given_up() -> None:
    Limit(1).check(more_s=50)
    with pytest.raises(CommandError, match="longer than 1 minutes") as caught:
        Limit(1).check(more_s=61)
    assert caught.value.code == "GC-2380"


def test_each_of_several_networks_has_a_folder_and_finds_it_empty(tmp_path: Path) -> None:
    (tmp_path / "7-validators").mkdir()
    (tmp_path / "7-validators" / "file").touch()
    screen = Screen("", as_json=True)
    field = Field(screen, tmp_path, clients=1, seed=1, limit_minutes=1)
    with (
        pytest.raises(CommandError, match="7-validators: is not empty"),
        field.rig(7, alone=False),
    ):
        pass


def test_being_told_to_end_is_as_a_key() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), told_to_end_as_by_a_key():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
