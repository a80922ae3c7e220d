"""`govchain bench` on networks of its own: its rounds measure, and leave nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from node.cli.bench.figures import QUIET_S_MIN
from node.cli.bench.result import Case
from node.cli.bench.rig import Field, Load, Rig
from node.cli.bench.rounds import ROUNDS, Plan
from node.cli.screen import Screen
from node.operations.process import ProcessRecord
from node.operations.supervisor import PROCESS_FILE
from node.operations.topology import Topology
from tests.suites import SUITE
from tests.unit.cli.command import ENGLISH

VALIDATORS = [f"validator-{n}" for n in range(1, 5)]


class OneRig(Field):
    """A field on which every round has the same network."""

    def __init__(self, home: Path) -> None:
        super().__init__(
            Screen("", as_json=True),
            home,
            suite=SUITE,
            hashing="hashlib",
            clients=1,
            seed=1,
            limit_minutes=5,
        )
        self.network: Rig | None = None

    @contextmanager
    def rig(self, nodes: int, *, alone: bool = True) -> Iterator[Rig]:
        if self.network is not None:
            yield self.network
            return
        with super().rig(nodes, alone=alone) as network:
            self.network = network
            yield network


def one(cases: Iterator[Case]) -> Case:
    (case,) = cases
    return case


def nothing_runs(home: Path) -> bool:
    records = [home / node.home / PROCESS_FILE for node in Topology.load(home).nodes]
    return all(ProcessRecord.load(record) is None for record in records)


def test_rounds_on_one_network_find_what_they_are_for(tmp_path: Path) -> None:
    """The first round holds the network open for the others, until the last one measures disks."""
    field, home = OneRig(tmp_path / "net"), tmp_path / "net"
    short = Load(seconds=1, warm_up_s=0, batch=20, outstanding=2)
    with field.rig(4):
        load = Load(seconds=6, warm_up_s=0, batch=5)
        plan = Plan(nodes=[4], runs=1, load=load, rate_per_s=100.0)
        failed_over = one(ROUNDS["failover"](field, plan))
        assert 100 < failed_over.load["outage_ms"] < 4_000  # it ended in the window
        assert failed_over.load["view_changes"] >= 1
        assert failed_over.load["transactions_per_s"] == pytest.approx(100, rel=0.5)
        assert (failed_over.settings["to_all"], failed_over.settings["rate_per_s"]) == (True, 100)

        longer = replace(short, seconds=2, warm_up_s=1)  # more than one fetch gets
        caught_up = one(ROUNDS["catch-up"](field, Plan(nodes=[4], runs=1, load=longer)))
        fetched = caught_up.load["catch_up"]
        assert fetched["transactions"] >= caught_up.load["transactions"] > 0
        assert fetched["whole_after_ms"] > 0

        many = one(ROUNDS["batch"](field, Plan(nodes=[4], runs=1, load=short, records=[1_500])))
        assert many.load["transactions"] > 0
        per_s = many.load["transactions_per_s"]
        assert many.load["records_per_s"] == pytest.approx(1_500 * per_s)
        assert many.figures["receipts"]["count"] == 1_000  # each of them verified

        loaded = one(ROUNDS["saturate"](field, Plan(nodes=[4], runs=1, load=short, dead=1)))
        load_s, idle = loaded.load, loaded.figures["idle"]
        assert load_s["transactions"] > 0
        assert load_s["failures"] == {}
        percentiles = list(load_s["latency"].values())
        assert percentiles[0] > 0
        assert percentiles == sorted(percentiles)
        assert 0 < idle["p50_ms"] <= idle["p99_ms"]
        assert [*load_s["cpu_us_per_transaction"]] == [*VALIDATORS, "client-1"]
        # Others may run tests beside this one: a view change costs votes of its own.
        assert load_s["view_changes"] or load_s["signatures_per_block"] == pytest.approx(8, abs=1)
        stages = load_s["stage_cpu_us_per_transaction"]
        assert 0 < stages["consensus"] < stages["untold"]
        assert load_s["memory_mib"]["most"] > 10
        assert len(loaded.runs[0]["seconds"]) == 1 < QUIET_S_MIN
        assert not load_s["is_quiet"]
        dead = loaded.figures["dead"]
        assert dead["validators"] == ["validator-4"]
        assert dead["transactions_per_s"][0] > 0
        assert dead["ratio"] == pytest.approx(dead["median"] / dead["median_of_all"], abs=0.01)
        assert loaded.figures["disk"]["records"] >= load_s["transactions"]
        assert loaded.figures["signing"]["during_load"] == 0
    assert nothing_runs(home)


def test_the_installed_command_leaves_no_folder_and_its_lines_tell_the_figures(
    tmp_path: Path,
) -> None:
    """Load generators are spawned, so they import the program started: here the real launcher."""
    report, how = (
        tmp_path / "report.html",
        "--seconds 1 -n 1 --clients 2 --runs 1 --sizes 5 --records 20",
    )
    launcher = Path(sys.executable).with_name("govchain")
    done = subprocess.run(
        [launcher, "bench", "batch", *how.split(), "--report", report],
        cwd=tmp_path,
        env={**os.environ, **ENGLISH, "TMPDIR": str(tmp_path)},
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = (each for each in done.stdout.splitlines() if "transactions final per second" in each)
    assert float(line.split()[-1]) > 0
    assert "1 validators, batches of 5" in done.stdout
    assert "1 validators, 20 records each" in done.stdout
    assert "CPU us to fetch and verify a receipt" in done.stdout
    assert "client-2" in done.stdout
    assert b"batch-5" in report.read_bytes()
    assert [*tmp_path.iterdir()] == [report]
