"""Faults on purpose in a network of this machine: validators killed, paused, cut off, misset.

Each is a context: what was done is undone when it ends, by an error or Ctrl-C, too. If this process
itself is killed, who was paused goes on at once, and what is asked of a node ends at its time; but
validators that were killed stay down until somebody starts them (`govchain testnet up`). Only
processes that the network started are touched. What happens inside a node is asked of it by a file
in its folder that it obeys on chains for trials alone (node/service/chaos.py).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from node.errors import ConfigError
from node.operations.process import ProcessRecord, kill_processes, paused_processes
from node.operations.supervisor import Supervisor
from node.operations.topology import lock_folder, write_file
from node.service.chaos import CHAOS_FILE, Chaos

_FOLDER: Final = "nodes"
_NS_PER_MS: Final = 1_000_000


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Hold the one right to disturb the network in `home`; raises `ConfigError` if another has."""
    with lock_folder(home / _FOLDER, wait=False):
        yield


@contextmanager
def killed(supervisor: Supervisor, validator_ids: Collection[str]) -> Iterator[None]:
    """Kill validators as a crash does; start them again at the end."""
    processes = _processes_of(supervisor, validator_ids)
    try:
        kill_processes(processes)
        yield
    finally:
        supervisor.up()


@contextmanager
def paused(supervisor: Supervisor, validator_ids: Collection[str]) -> Iterator[None]:
    """Keep validators from running; let them go on at the end, whatever becomes of us."""
    with paused_processes(_processes_of(supervisor, validator_ids)):
        yield


@contextmanager
def disturbed(home: Path, supervisor: Supervisor, faults: Mapping[str, Chaos]) -> Iterator[None]:
    """Have validators disturb themselves, by id; undisturbed at the end, or at their time."""
    folders = {entry.id: home / entry.home for entry in supervisor.topology.nodes}
    try:
        for validator_id, chaos in faults.items():
            write_file(folders[validator_id] / CHAOS_FILE, chaos.encode(), mode=0o600)
        yield
    finally:
        for validator_id in faults:
            (folders[validator_id] / CHAOS_FILE).unlink(missing_ok=True)


def monotonic_ms() -> int:
    """Read the clock by which chaos ends: all processes of a machine share it."""
    return time.monotonic_ns() // _NS_PER_MS


def _processes_of(supervisor: Supervisor, validator_ids: Collection[str]) -> list[ProcessRecord]:
    found = {each.entry.id: each.process for each in supervisor.inspect()}
    processes = []
    for validator_id in validator_ids:
        process = found.get(validator_id)
        if process is None:
            raise ConfigError(
                f"{validator_id} does not run",
                code="GC-2106",
                fix="make every validator run first: govchain testnet up",
            )
        processes.append(process)
    return processes
