"""The supervisor: whatever state the processes are in, one call makes it what it should be.

The nodes here are a small program that listens where its settings say; real validators are run in
tests/network.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from node.config import ClientProfile, NodeConfig
from node.errors import ConfigError
from node.operations import process, supervisor
from node.operations.process import ProcessRecord, stop_processes, wait_for_an_exit
from node.operations.provision import NetworkPlan, provision
from node.operations.supervisor import (
    LOG_TAIL_LINES,
    NODE_COMMAND,
    PROCESS_FILE,
    Step,
    SupervisionError,
    Supervisor,
)
from node.operations.topology import (
    PORTS_PER_NODE,
    NodeEntry,
    Topology,
    find_free_ports,
    lock_folder,
)
from tests.suites import SUITE

PROGRAM = """
import pathlib, signal, socket, sys, tomllib
home = pathlib.Path(sys.argv[sys.argv.index("--home") + 1])
if (home / "broken").exists():
    print("\\n".join(f"line {n}" for n in range(30)))
    sys.exit("GC-9999: broken on purpose")
host, port = tomllib.loads((home / "node.toml").read_text())["client_address"].split(":")
with socket.create_server((host, int(port))):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        signal.pause()
"""
COMMAND = (sys.executable, "-c", PROGRAM)
TIMEOUT_S = 30.0

Steps = list[tuple[Step, str]]


def serves(entry: NodeEntry) -> bool:
    try:
        with socket.create_connection((entry.host, entry.client_port), timeout=1):
            return True
    except OSError:
        return False


class Trial:
    """A network whose steps are kept."""

    def __init__(self, home: Path, nodes: int = 4) -> None:
        self.home = home
        self.steps: Steps = []
        plan = NetworkPlan(
            name="trial",
            suite=SUITE,
            created_ms=1_700_000_000_000,
            node_count=nodes,
            ports=find_free_ports("127.0.0.1", PORTS_PER_NODE * nodes),
        )
        provision(home, plan)

    def supervisor(self) -> Supervisor:
        """Return a new one, which knows nothing but what it finds."""
        return Supervisor(
            self.home, lambda step, node: self.steps.append((step, node)), command=COMMAND
        )

    def up(self) -> Steps:
        """Bring it up, wait until it serves, and return the steps that took."""
        self.steps.clear()
        supervisor = self.supervisor()
        supervisor.up()
        supervisor.wait_until_serving(
            lambda: [entry.id for entry in supervisor.topology.nodes if serves(entry)],
            timeout_s=TIMEOUT_S,
        )
        return [step for step in self.steps if step[0] is not Step.SERVING]

    def running(self) -> dict[str, ProcessRecord]:
        return {
            each.entry.id: each.process
            for each in self.supervisor().inspect()
            if each.process is not None
        }

    def folder(self, node: str) -> Path:
        return self.home / "nodes" / node

    def entry(self, node: str) -> NodeEntry:
        return next(each for each in self.supervisor().topology.nodes if each.id == node)

    def kill(self, node: str) -> None:
        process = self.running()[node]
        os.kill(process.pid, signal.SIGKILL)
        wait_for_an_exit([process], TIMEOUT_S)
        stop_processes([process], grace_s=1)


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    made = Trial(tmp_path / "testnet")
    yield made
    if made.home.exists():
        made.supervisor().down()


ALL = [f"validator-{number}" for number in range(1, 5)]


def test_up_starts_all_and_a_second_time_changes_nothing(trial: Trial) -> None:
    assert trial.up() == [(Step.STARTED, node) for node in ALL]
    before = trial.running()
    assert trial.up() == [(Step.ADOPTED, node) for node in ALL]
    assert trial.running() == before
    assert list(before) == ALL


def test_up_starts_what_was_killed_and_leaves_the_rest(trial: Trial) -> None:
    trial.up()
    before = trial.running()
    trial.kill("validator-3")
    assert (Step.STARTED, "validator-3") in trial.up()
    after = trial.running()
    assert [node for node in ALL if after[node] != before[node]] == ["validator-3"]


def test_down_stops_all_and_leaves_the_files(trial: Trial) -> None:
    trial.up()
    processes = trial.running()
    trial.supervisor().down()
    assert trial.running() == {}
    assert not any(process.is_alive for process in processes.values())
    assert Topology.load(trial.home).nodes
    trial.supervisor().down()  # nothing to do is no error


def test_ports_taken_by_others_are_replaced_everywhere(trial: Trial) -> None:
    trial.up()
    trial.kill("validator-2")
    topology = Topology.load(trial.home)
    old = topology.nodes[1]
    with socket.create_server((old.host, old.client_port)):
        steps = trial.up()
    assert [node for step, node in steps if step is Step.MOVED] == ["validator-2"]
    assert {node for step, node in steps if step is Step.STOPPED} == set(ALL) - {"validator-2"}
    new = Topology.load(trial.home)
    assert not set(new.nodes[1].ports) & {p for entry in topology.nodes for p in entry.ports}
    assert new.nodes[0] == topology.nodes[0]
    settings = NodeConfig.load(trial.folder("validator-1"))
    addresses = {peer.validator_id: peer.address.port for peer in settings.peers}
    assert addresses["validator-2"] == new.nodes[1].peer_port
    for path in (trial.home / "profile.toml", trial.home / "clients/agency-1/profile.toml"):
        endpoints = ClientProfile.load(path).endpoints
        assert endpoints[1].address.port == new.nodes[1].client_port


def test_a_reused_process_id_is_never_signalled(trial: Trial) -> None:
    """The record names this very test run, as it would be if its number had gone round."""
    own = ProcessRecord.of(os.getpid())
    assert own is not None
    earlier = ProcessRecord(own.pid, own.start_ticks - 1)
    earlier.save(trial.folder("validator-1") / PROCESS_FILE)
    trial.supervisor().down()
    assert trial.running() == {}
    assert trial.up() == [(Step.STARTED, node) for node in ALL]


def test_a_copy_of_a_running_network_does_not_run_and_stops_nobody(trial: Trial) -> None:
    trial.up()
    running = trial.running()
    copy = trial.home.with_name("copy")
    shutil.copytree(trial.home, copy)
    assert (copy / "nodes/validator-1" / PROCESS_FILE).exists()
    supervisor = Supervisor(copy, lambda _step, _node: None, command=COMMAND)
    assert [each.process for each in supervisor.inspect()] == [None] * 4
    supervisor.down()
    supervisor.destroy()
    assert trial.running() == running


def test_a_network_that_was_moved_while_it_ran_is_still_known(trial: Trial) -> None:
    trial.up()
    running = trial.running()
    old = trial.home
    trial.home = old.rename(old.with_name("moved"))
    assert trial.running() == running
    shutil.copytree(trial.home, old)  # a copy where they were started
    Supervisor(old, lambda _step, _node: None, command=COMMAND).down()
    assert trial.running() == running


def test_a_node_whose_record_was_never_written_is_adopted_and_stopped(trial: Trial) -> None:
    """As if `up` had been killed between the start of a node and the writing of its record."""
    trial.up()
    running = trial.running()
    lost = trial.folder("validator-1") / PROCESS_FILE
    lost.unlink()
    assert trial.running() == running
    assert trial.up() == [(Step.ADOPTED, node) for node in ALL]
    assert trial.running() == running
    lost.unlink(missing_ok=True)
    trial.supervisor().down()
    assert not any(process.is_alive for process in running.values())


def test_an_interruption_waits_until_what_was_started_is_recorded(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[ProcessRecord] = []

    def spawn_and_interrupt(
        arguments: Sequence[str], *, environment: Mapping[str, str], log: Path
    ) -> ProcessRecord:
        started.append(process.spawn_detached(arguments, environment=environment, log=log))
        os.kill(os.getpid(), signal.SIGINT)
        return started[0]

    monkeypatch.setattr(supervisor, "spawn_detached", spawn_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        trial.supervisor().up()
    (first,) = started
    assert ProcessRecord.load(trial.folder("validator-1") / PROCESS_FILE) == first
    blocked = re.search(r"SigBlk:\s+(\w+)", Path(f"/proc/{first.pid}/status").read_text())
    assert blocked is not None
    assert int(blocked[1], 16) == 0, "a node hears every signal"


def test_a_node_that_ends_is_named_with_its_last_lines(trial: Trial) -> None:
    for node in ("validator-2", "validator-4"):
        (trial.folder(node) / "broken").touch()
    with pytest.raises(SupervisionError, match=r"validator-2 ended") as raised:
        trial.up()
    error = raised.value
    assert (error.code, error.node_id) == ("GC-2106", "validator-2")
    assert len(error.log_tail) == LOG_TAIL_LINES
    assert error.log_tail[-1] == "GC-9999: broken on purpose"
    assert not error.is_port_conflict
    assert "node.log" in error.fix


def test_one_of_four_may_fail_and_the_rest_is_enough(trial: Trial) -> None:
    (trial.folder("validator-2") / "broken").touch()
    trial.up()
    assert {node for step, node in trial.steps if step is Step.SERVING} <= set(ALL) - {
        "validator-2"
    }


def test_a_node_that_ended_beside_a_quorum_is_named_with_its_last_lines(trial: Trial) -> None:
    (trial.folder("validator-2") / "broken").touch()
    trial.up()
    supervisor = trial.supervisor()
    ended = trial.entry("validator-2")
    if (process := supervisor.inspect()[1].process) is not None:
        wait_for_an_exit([process], TIMEOUT_S)
    failure = supervisor.failure_of(ended)
    assert failure is not None
    assert failure.node_id == "validator-2"
    assert failure.log_tail[-1] == "GC-9999: broken on purpose"
    assert supervisor.failure_of(trial.entry("validator-1")) is None


def test_a_folder_that_is_missing_is_named_and_the_others_start(trial: Trial) -> None:
    trial.folder("validator-2").rename(trial.home / "lost")
    with pytest.raises(ConfigError, match=r"nodes/validator-2: .* missing") as caught:
        trial.supervisor().up()
    assert caught.value.code == "GC-2108"
    assert trial.running().keys() == {*ALL} - {"validator-2"}


def test_a_node_that_never_serves_is_named_when_the_time_is_over(trial: Trial) -> None:
    supervisor = trial.supervisor()
    supervisor.up()
    with pytest.raises(SupervisionError, match="validator-1 does not serve after 0 s"):
        supervisor.wait_until_serving(tuple, timeout_s=0.2)


def test_destroy_stops_all_and_removes_the_folder(trial: Trial) -> None:
    trial.up()
    processes = trial.running()
    trial.supervisor().destroy()
    assert not trial.home.exists()
    assert not any(process.is_alive for process in processes.values())


def test_what_is_no_network_is_not_destroyed(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").touch()
    with pytest.raises(ConfigError):
        Supervisor(tmp_path, lambda _step, _node: None)
    assert (tmp_path / "letter.txt").exists()


def test_two_commands_at_once_do_not_start_a_node_twice(trial: Trial) -> None:
    with lock_folder(trial.home, wait=False), pytest.raises(ConfigError, match="another command"):
        trial.supervisor().up()


def test_a_port_conflict_is_recognised_in_the_log() -> None:
    error = SupervisionError("ended", fix="", log_tail=("x", '{"code": "GC-2204"}'))
    assert error.is_port_conflict


def test_nodes_are_run_by_this_very_interpreter() -> None:
    assert NODE_COMMAND[0] == sys.executable


def test_once_a_quorum_serves_the_rest_is_given_a_little_longer(trial: Trial) -> None:
    trial.up()
    supervisor = trial.supervisor()
    answers = iter([ALL[:3], ALL[:3], ALL])
    serving = supervisor.wait_until_serving(
        lambda: next(answers), timeout_s=TIMEOUT_S, rest_s=TIMEOUT_S
    )
    assert [entry.id for entry in serving] == ALL


def test_the_rest_is_not_waited_for_longer_than_that_nor_when_it_is_dead(trial: Trial) -> None:
    trial.up()
    supervisor = trial.supervisor()
    some = supervisor.wait_until_serving(lambda: ALL[:3], timeout_s=TIMEOUT_S, rest_s=0.1)
    assert [entry.id for entry in some] == ALL[:3]
    trial.kill("validator-4")
    began_s = time.monotonic()
    supervisor.wait_until_serving(lambda: ALL[:3], timeout_s=TIMEOUT_S, rest_s=TIMEOUT_S)
    assert time.monotonic() - began_s < TIMEOUT_S


def test_a_node_is_told_its_log_and_that_it_is_young(trial: Trial) -> None:
    trial.up()
    for each in trial.supervisor().inspect():
        assert each.process is not None
        assert each.is_starting
        line = Path(f"/proc/{each.process.pid}/cmdline").read_bytes().split(b"\0")
        log = trial.folder(each.entry.id) / "node.log"
        assert line[line.index(b"--log") + 1] == bytes(log)
