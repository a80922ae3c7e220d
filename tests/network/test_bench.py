"""`govchain bench saturate` on a network of its own: it measures, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from node.operations.process import ProcessRecord
from node.operations.supervisor import PROCESS_FILE
from node.operations.topology import Topology
from tests.unit.cli.command import ENGLISH, run


def test_a_short_run_gives_every_figure(tmp_path: Path) -> None:
    home = tmp_path / "net"
    how = ("--seconds", 2, "--batch", 20, "--kill", 1, "--rounds", 1)
    ran = run("bench", "saturate", *how, "--home", home, "--json")
    assert ran.code == 0, ran.out
    facts = ran.json
    load, idle = facts["load"], facts["idle"]
    assert load["transactions"] > 0
    assert load["failures"] == {}
    assert 0 < load["latency"]["p50_ms"] <= load["latency"]["p95_ms"] <= load["latency"]["p99_ms"]
    assert 0 < idle["p50_ms"] <= idle["p99_ms"]
    validators = [f"validator-{n}" for n in range(1, 5)]
    assert [*load["cpu_us_per_transaction"]] == [*validators, "client-1"]
    # Others may run tests beside this one: a view change costs votes of its own.
    assert load["view_changes"] or load["signatures_per_block"] == pytest.approx(8, abs=1)
    dead = facts["dead"]
    assert dead["validators"] == ["validator-4"]
    assert dead["transactions_per_s_of_all"] == [load["transactions_per_s"]]
    assert dead["transactions_per_s"][0] > 0
    assert dead["ratio"] == pytest.approx(dead["median"] / dead["median_of_all"], abs=0.01)
    assert facts["disk"]["records"] >= load["transactions"]
    assert facts["parameters"]["transaction_bytes"] == 256
    assert facts["signing"]["during_load"] == 0
    for node in Topology.load(home).nodes:
        assert ProcessRecord.load(home / node.home / PROCESS_FILE) is None  # all have ended


def test_the_installed_command_leaves_no_folder_and_its_lines_tell_the_figures(
    tmp_path: Path,
) -> None:
    """Load generators are spawned, so they import the program started: here the real launcher."""
    launcher = Path(sys.executable).with_name("govchain")
    done = subprocess.run(
        [launcher, "bench", "saturate", "--seconds", "1", "-n", "1", "--clients", "2"],
        cwd=tmp_path,
        env={**os.environ, **ENGLISH, "TMPDIR": str(tmp_path)},
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = (each for each in done.stdout.splitlines() if "transactions final per second" in each)
    assert float(line.split()[-1]) > 0
    assert "client-2" in done.stdout
    assert [*tmp_path.iterdir()] == []
