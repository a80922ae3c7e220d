"""Runs a network's validators as processes of this machine, and makes what is so what should be.

Everything it knows it finds on disk and in /proc, so any later call takes up where an earlier one
left off: running nodes are adopted, dead ones started, ports that others took are replaced. What
"healthy" means is asked of a probe, because only the room above can speak to a node.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

import node
from node.errors import ConfigError, NodeError
from node.operations.process import (
    ProcessRecord,
    running_commands,
    spawn_detached,
    stop_processes,
    uninterrupted,
    wait_for_an_exit,
)
from node.operations.provision import write_addresses
from node.operations.topology import (
    PORTS_PER_NODE,
    NodeEntry,
    NodePorts,
    Topology,
    find_free_ports,
    is_port_free,
    lock_folder,
    split_ports,
)

LOG_FILE: Final = "node.log"
PROCESS_FILE: Final = "node.pid"

NODE_COMMAND: Final = (sys.executable, "-P", "-m", "node", "node", "run")
"""Runs one node, given `--home` and its folder."""

LOG_TAIL_LINES: Final = 20
START_TIMEOUT_S: Final = 60.0
"""What a node may take to serve."""
STOP_GRACE_S: Final = 15.0

_ENDED: Final = "ended instead of serving"
_PORT_IN_USE: Final = "GC-2204"
_LOG_TAIL_BYTES: Final = 65_536
_PROBE_INTERVAL_S: Final = 0.1


class Step(StrEnum):
    """What happened to a node, for whoever tells the operator."""

    ADOPTED = "adopted"  # it ran already
    STARTED = "started"
    STOPPED = "stopped"
    KILLED = "killed"  # it did not stop in time
    MOVED = "moved"  # its ports were taken; it has new ones
    SERVING = "serving"


class SupervisionError(NodeError):
    """Nodes did not come up, or cannot be handled; `log_tail` is of the guilty node, if one is."""

    code = "GC-2106"

    def __init__(
        self, message: str, *, fix: str, node_id: str = "", log_tail: Sequence[str] = ()
    ) -> None:
        super().__init__(message, fix=fix)
        self.node_id = node_id
        self.log_tail = tuple(log_tail)

    @property
    def is_port_conflict(self) -> bool:
        """Tell whether the node could not listen; `up` finds other ports."""
        return any(_PORT_IN_USE in line for line in self.log_tail)


Report = Callable[[Step, str], None]
Probe = Callable[[], Collection[str]]
"""Returns the ids of the nodes that serve. Must not raise, and return within about a second."""


@dataclass(frozen=True, slots=True)
class NodeProcess:
    """A node and its process, if it runs."""

    entry: NodeEntry
    process: ProcessRecord | None
    is_lost: bool = False
    """It ran and does not any more, though `down` did not stop it."""

    @property
    def is_starting(self) -> bool:
        """Tell whether it runs since so short a time that it need not serve yet."""
        return self.process is not None and self.process.age_s() < START_TIMEOUT_S


class Supervisor:
    """One network's processes."""

    def __init__(
        self, home: Path, report: Report, *, command: Sequence[str] = NODE_COMMAND
    ) -> None:
        self._home = home.resolve()
        self._report = report
        self._command = command
        self.topology = Topology.load(self._home)

    def inspect(self) -> tuple[NodeProcess, ...]:
        """Return every node with its process, in the topology's order."""
        recorded = {entry.id: self._recorded(entry) for entry in self.topology.nodes}
        alive = {each for each in recorded.values() if each is not None and each.is_alive}
        commands = running_commands() if len(alive) < len(recorded) else {}
        found = []
        for entry in self.topology.nodes:
            process = recorded[entry.id]
            if process not in alive:
                process = self._unrecorded(entry, commands)
            is_lost = process is None and recorded[entry.id] is not None
            found.append(NodeProcess(entry, process, is_lost))
        return tuple(found)

    def up(self) -> None:
        """Make every node run. Does nothing to nodes that do.

        Raises `ConfigError` naming a node that has no folder, once the others are started.
        """
        homeless: list[Path] = []
        with lock_folder(self._home, wait=False):
            if moved := self._entries_without_ports():
                self._move(moved)
            for entry, process in ((each.entry, each.process) for each in self.inspect()):
                if process is not None:
                    self._report(Step.ADOPTED, entry.id)
                elif self._folder(entry).is_dir():
                    self._start(entry)
                    self._report(Step.STARTED, entry.id)
                else:
                    homeless.append(self._folder(entry))
        if homeless:
            raise ConfigError(
                f"{homeless[0]}: the validator's folder is missing",
                code="GC-2108",
                fix="restore it from a backup; never start with an empty log under an old key",
            )

    def start(self, node_id: str) -> None:
        """Make one node run, if it does not."""
        with lock_folder(self._home, wait=True):
            for each in self.inspect():
                if each.entry.id == node_id and each.process is None:
                    self._start(each.entry)
                    self._report(Step.STARTED, node_id)

    def halt(self, node_id: str) -> None:
        """Stop one node, gracefully if it lets us."""
        with lock_folder(self._home, wait=True):
            self._stop([each for each in self.inspect() if each.entry.id == node_id])

    def wait_until_serving(
        self, probe: Probe, *, timeout_s: float, rest_s: float = 0.0
    ) -> tuple[NodeEntry, ...]:
        """Return the nodes that serve, once they are a quorum; the rest is given `rest_s` more.

        Raises `SupervisionError` naming a guilty node: one that ended, where the rest is no quorum,
        or one that does not serve in time.
        """
        deadline_s = time.monotonic() + timeout_s
        quorum_since_s: float | None = None
        serving: set[str] = set()
        while True:
            found = probe()
            for entry in self.topology.members:
                if entry.id in found and entry.id not in serving:
                    self._report(Step.SERVING, entry.id)
            serving.update(found)
            nodes = [each for each in self.inspect() if each.entry.is_member]
            alive = [each.process for each in nodes if each.process is not None]
            now_s = time.monotonic()
            if len(serving) >= self.topology.quorum:
                quorum_since_s = now_s if quorum_since_s is None else quorum_since_s
                awaited = [each for each in nodes if each.process and each.entry.id not in serving]
                if not awaited or now_s - quorum_since_s >= rest_s:
                    return tuple(entry for entry in self.topology.members if entry.id in serving)
            elif len(alive) < self.topology.quorum:
                ended = next(each.entry for each in nodes if each.process is None)
                raise self._guilty(ended, _ENDED)
            elif now_s >= deadline_s:
                silent = next(each for each in self.topology.members if each.id not in serving)
                raise self._guilty(silent, f"does not serve after {timeout_s:.0f} s")
            wait_for_an_exit(alive, _PROBE_INTERVAL_S)

    def down(self) -> None:
        """Stop every node that runs, gracefully if it lets us."""
        with lock_folder(self._home, wait=False):
            self._stop(self.inspect())

    def destroy(self) -> None:
        """Stop every node and remove the network's folder with all it holds."""
        with lock_folder(self._home, wait=False):
            self._stop(self.inspect())
            shutil.rmtree(self._home)

    def failure_of(self, entry: NodeEntry) -> SupervisionError | None:
        """Return what is known of a node that ended by itself, or None if it runs."""
        runs = any(each.process for each in self.inspect() if each.entry.id == entry.id)
        return None if runs else self._guilty(entry, _ENDED)

    def has_port_conflict(self) -> bool:
        """Tell whether a node ended as it could not listen, though the others may be a quorum."""
        failures = map(self.failure_of, self.topology.nodes)
        return any(failure.is_port_conflict for failure in failures if failure is not None)

    def log_tail(self, entry: NodeEntry, lines: int = LOG_TAIL_LINES) -> tuple[str, ...]:
        """Return the last lines a node wrote."""
        try:
            with (self._folder(entry) / LOG_FILE).open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _LOG_TAIL_BYTES))
                text = file.read().decode(errors="replace")
        except FileNotFoundError:
            return ()
        return tuple(text.splitlines()[-lines:])

    def _recorded(self, entry: NodeEntry) -> ProcessRecord | None:
        return ProcessRecord.load(self._folder(entry) / PROCESS_FILE)

    def _unrecorded(
        self, entry: NodeEntry, commands: Mapping[tuple[str, ...], ProcessRecord]
    ) -> ProcessRecord | None:
        """Return what was started by a call that was killed before it could record that.

        Its command names the folder, but another may have taken that name; its log did not move.
        """
        process = commands.get(self._command_of(entry)[1:])
        log = self._folder(entry) / LOG_FILE
        return process if process is not None and process.complains_to(log) else None

    def _entries_without_ports(self) -> list[NodeEntry]:
        """Return the nodes at rest whose ports something else holds."""
        return [
            each.entry
            for each in self.inspect()
            if each.process is None
            and not all(is_port_free(each.entry.host, port) for port in each.entry.ports)
        ]

    def _move(self, moved: Collection[NodeEntry]) -> None:
        """Give nodes new ports. The others stop first, as they know the old ones."""
        self._stop(self.inspect())
        spare = [port for entry in self.topology.nodes for port in entry.ports]
        ports: dict[str, NodePorts] = {}
        for entry in moved:
            (ports[entry.id],) = split_ports(
                find_free_ports(entry.host, PORTS_PER_NODE, spare=spare)
            )
            spare += ports[entry.id]
        nodes = [_with_ports(entry, ports.get(entry.id)) for entry in self.topology.nodes]
        self.topology = msgspec.structs.replace(self.topology, nodes=tuple(nodes))
        write_addresses(self._home, self.topology)
        for entry in moved:
            self._report(Step.MOVED, entry.id)

    def _start(self, entry: NodeEntry) -> None:
        folder = self._folder(entry)
        with uninterrupted():
            process = spawn_detached(
                self._command_of(entry), environment=_environment(), log=folder / LOG_FILE
            )
            process.save(folder / PROCESS_FILE)

    def _command_of(self, entry: NodeEntry) -> tuple[str, ...]:
        """Return what a node is started with."""
        folder = self._folder(entry)
        return (*self._command, "--home", str(folder), "--log", str(folder / LOG_FILE))

    def _stop(self, nodes: Collection[NodeProcess]) -> None:
        running = [(each.entry, each.process) for each in nodes if each.process is not None]
        killed = stop_processes([process for _, process in running], grace_s=STOP_GRACE_S)
        for each in nodes:
            (self._folder(each.entry) / PROCESS_FILE).unlink(missing_ok=True)
        for entry, process in running:
            self._report(Step.KILLED if process in killed else Step.STOPPED, entry.id)

    def _guilty(self, entry: NodeEntry, what: str) -> SupervisionError:
        return SupervisionError(
            f"{entry.id} {what}",
            fix=f"mend what its log says ({self._folder(entry) / LOG_FILE}), "
            "then run again: govchain testnet up",
            node_id=entry.id,
            log_tail=self.log_tail(entry),
        )

    def _folder(self, entry: NodeEntry) -> Path:
        return self._home / entry.home


def _with_ports(entry: NodeEntry, ports: NodePorts | None) -> NodeEntry:
    return entry if ports is None else msgspec.structs.replace(entry, **ports._asdict())


def _environment() -> Mapping[str, str]:
    """Return what a node's process inherits: all of ours, and where this very package lies."""
    root = str(Path(node.__file__).parent.parent)
    inherited = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{inherited}" if inherited else root}
