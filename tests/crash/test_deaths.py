"""Some deaths of real validators, under load; and a mistake that costs votes, which is found.

All cells of the matrix, and more seeds, are a command of its own: `python -m tests.crash`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from node.operations.process import kill_processes, wait_for_an_exit
from node.operations.supervisor import Supervisor
from tests.crash import planted
from tests.crash.cells import ROTATION, SWITCH, Cell, Point, matrix, select
from tests.crash.network import ROOT, trapped_network
from tests.crash.restarts import restart_all
from tests.crash.trial import Death, Trial, judge_at_rest
from tests.unit.storage.engines import DISK_ENGINES

ENGINES = [disk.name for disk in reversed(DISK_ENGINES)]
"""Of the four validators in turn: RocksDB, LevelDB, and again."""
SAMPLE = (
    f"ledger-torn,{SWITCH}",
    "after-batch,block-batch",
    "torn-batch,block-batch",
    "power-loss,commit",
    f"segment-named,{ROTATION}",
)
"""Of each table, died by the validators in turn: the first and the third, where an engine's files
are cut or removed, by those on RocksDB. The full disk has a test of its own."""
SEED = 149
"""Each once, three at once, within three seconds."""


async def test_deaths_one_by_one_and_of_all_at_different_times_cost_nothing(tmp_path: Path) -> None:
    cells = [cell for each in SAMPLE for cell in select(matrix(), each)]
    assert len(cells) == len(SAMPLE)
    deaths: list[Death] = []
    with trapped_network(tmp_path / "network", engines=ENGINES) as network:
        trial = Trial(network)
        await trial.run(cells, deaths.append)
        restarts = await restart_all(network, SEED)
        findings = judge_at_rest(network, {**trial.results, **restarts.results})
    assert findings == []
    assert [(death.cell, death.findings) for death in deaths if not death.is_sound] == []
    assert {death.cell for death in deaths} == set(cells)
    assert trial.receipts == len(trial.results) > 0
    assert restarts.deaths == len(network.ids)
    assert restarts.most_down > 1
    assert restarts.results


async def test_a_validator_that_sends_before_it_has_synced_is_found(tmp_path: Path) -> None:
    deaths: list[Death] = []
    with trapped_network(tmp_path / "network", planted.COMMAND) as network:
        await Trial(network).run([Cell(Point.POWER_LOSS, "commit")], deaths.append)
    (death,) = deaths
    assert death.is_killed
    assert not death.is_sound
    assert "was sent, and its log does not hold it" in death.findings[0]


def test_a_run_that_is_killed_leaves_no_validators_behind(tmp_path: Path) -> None:
    program = (
        "import pathlib, signal, sys\n"
        "from tests.crash.network import trapped_network\n"
        "with trapped_network(pathlib.Path(sys.argv[1])):\n"
        "    print('up', flush=True)\n"
        "    signal.pause()\n"
    )
    home = tmp_path / "network"
    command = (sys.executable, "-P", "-c", program, str(home))
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as owner:
        try:
            assert owner.stdout is not None
            assert owner.stdout.readline() == "up\n"
            inspected = Supervisor(home, lambda _step, _node: None).inspect()
            validators = [each.process for each in inspected if each.process is not None]
        finally:
            owner.kill()
    try:
        assert len(validators) == 4
        for each in validators:
            wait_for_an_exit([each], 10)
        assert [each for each in validators if each.is_alive] == []
    finally:
        kill_processes(validators)
