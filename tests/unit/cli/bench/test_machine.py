"""Readings from outside the processes: metrics pages, CPU times, the disk."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from node.cli.bench.machine import (
    bytes_on_disk,
    describe_machine,
    parse_metrics,
    take_tick,
)

METRICS = """\
# HELP govchain_peer_messages_sent_total Messages in them.
# TYPE govchain_peer_messages_sent_total counter
govchain_peer_messages_sent_total{peer="validator-2"} 7.0
govchain_peer_messages_sent_total{peer="validator-3"} 5.0
# TYPE govchain_view gauge
govchain_view 2.0
# TYPE govchain_submit_to_final_seconds histogram
govchain_submit_to_final_seconds_bucket{le="+Inf"} 9.0
govchain_submit_to_final_seconds_count 9.0
govchain_submit_to_final_seconds_sum 1.5
"""


def test_metrics_are_summed_over_their_labels_and_histograms_left_out() -> None:
    assert parse_metrics(METRICS) == {
        "govchain_peer_messages_sent_total": 12.0,
        "govchain_view": 2.0,
    }


def test_a_tick_is_of_processes_that_run() -> None:
    first = take_tick({"me": os.getpid()})
    later = take_tick({"me": os.getpid()})
    assert later.machine_busy_s >= first.machine_busy_s > 0
    assert later.cpu_s["me"] >= first.cpu_s["me"] > 0
    assert later.memory_bytes["me"] > 2**20
    gone = take_tick({"none": 2**22 + 1})
    assert (gone.cpu_s, gone.memory_bytes) == ({"none": 0.0}, {"none": 0})


def test_a_machine_is_described() -> None:
    with tempfile.TemporaryDirectory() as folder:  # on a disk: `tmp_path` may be in memory
        described = describe_machine(Path(folder))
    assert described["cores"] >= 1
    assert described["fdatasync_ms"] > 0
    assert described["file_system"]
    assert described["packages"]["grpcio"]
    assert described["packages"]["plyvel"] or described["packages"]["rocksdict"]


def test_bytes_on_disk_are_those_the_files_occupy(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(bytes(10_000))
    (tmp_path / "empty").touch()
    assert 0 < bytes_on_disk(tmp_path) <= 10_000 + 4_096
