"""`govchain bench saturate`: what it refuses before it starts anything."""

from __future__ import annotations

from pathlib import Path

from tests.unit.cli.command import run


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = run("bench", "saturate", "--home", tmp_path, "--json")
    assert ran.code == 2
    assert ran.json["error"]["code"] == "GC-2102"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_more_dead_than_the_network_tolerates_is_wrong_usage() -> None:
    ran = run("bench", "saturate", "-n", 4, "--kill", 2)
    assert ran.code == 2
    assert "at most 1 dead" in ran.err
