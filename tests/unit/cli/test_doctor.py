"""`doctor`: seeded faults are found, each with its fix, and a sound machine is left in peace."""

from __future__ import annotations

import ast
import gettext
import math
import os
import platform
import shutil
import socket
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

import node.cli
from node.assembly.engines import open_database
from node.chain.genesis import Genesis, Parameters
from node.cli import checkup
from node.cli.checkup import Finding, Level
from node.cli.clock_causes import check_clock
from node.cli.doctor import CHECKS, title_of
from node.cli.exit_codes import ExitCode
from node.config import NodeConfig
from node.execution.apply import Executor
from node.operations.process import ProcessRecord
from node.operations.supervisor import (
    LOG_FILE,
    PROCESS_FILE,
    START_TIMEOUT_S,
    NodeProcess,
    Supervisor,
)
from node.operations.topology import NodeEntry
from node.rpc.port import Diagnosis, Health, NodeStatus
from node.storage import keys
from node.storage.kv import WriteBatch
from node.storage.ledger import LedgerStore
from node.storage.lock import InstanceLock
from tests.unit.cli.command import Ran, run
from tests.unit.cli.served import served
from tests.unit.rpc.fake_node import FakeLedger, FakeNode

DAY_S = 86_400
MEMBERS = [f"validator-{number}" for number in range(1, 5)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("doctor") / "net"
    assert run("testnet", "init", "--home", folder, "-n", 1).code == 0
    return folder


def entry_of(home: Path) -> NodeEntry:
    return Supervisor(home, lambda _step, _node: None).topology.nodes[0]


def status(**changes: object) -> NodeStatus:
    given = {
        "validator_id": "validator-1",
        "chain_id": bytes(32),
        "version": node.__version__,
        "health": Health.READY,
        "health_detail": "",
        "height": 7,
        "header_digest": bytes(32),
        "time_ms": 1,
        "view": 0,
        "epoch": 0,
        "peers_connected": 0,
        "pending": 0,
    }
    return NodeStatus(**{**given, **changes})  # type: ignore[arg-type]


def only(findings: Iterator[Finding]) -> Finding:
    (finding,) = findings
    assert bool(finding.fix) == (finding.level is not Level.OK)
    return finding


def test_every_check_has_a_name_in_the_users_language(monkeypatch: pytest.MonkeyPatch) -> None:
    found = set()
    for module in Path(node.cli.__file__).parent.glob("*.py"):
        tree = ast.parse(module.read_text(encoding="utf-8"))
        named = {
            target.id: statement.value.value
            for statement in tree.body
            if isinstance(statement, ast.Assign | ast.AnnAssign)
            and isinstance(statement.value, ast.Constant)
            for target in (
                statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            )
            if isinstance(target, ast.Name)
        }
        for each in ast.walk(tree):
            if isinstance(each, ast.Call) and ast.unparse(each.func).endswith("Finding"):
                first = each.args[0]
                found.add(
                    named[first.id] if isinstance(first, ast.Name) else ast.literal_eval(first)
                )
    assert found == CHECKS
    chinese = gettext.translation("govchain", node.cli.LOCALE_FOLDER, ["zh"])
    monkeypatch.setattr("node.cli.doctor._", chinese.gettext)
    assert [check for check in sorted(CHECKS) if title_of(check) == check] == []


def test_a_sound_machine_has_no_problem(home: Path) -> None:
    ran = run("doctor", "--home", home, "--json")
    levels = {finding["check"]: finding["level"] for finding in ran.json["findings"]}
    assert ran.code == 0
    assert levels.keys() >= {
        "versions",
        "disk",
        "fsync",
        "permissions",
        "certificates",
        "clock",
        "nodes",
    }
    assert levels["versions"] == levels["permissions"] == levels["certificates"] == "ok"
    assert "PROBLEM" not in run("doctor", "--home", home).out


def test_without_a_network_the_machine_is_still_looked_at(tmp_path: Path) -> None:
    ran = run("doctor", "--home", tmp_path / "none", "--json")
    checks = {finding["check"] for finding in ran.json["findings"]}
    assert checks == {"versions", "disk", "fsync", "clock", "nodes"}
    assert [entry.name for entry in tmp_path.iterdir()] == []


def test_a_private_file_that_others_may_read_is_a_problem(home: Path) -> None:
    key = home / "nodes/validator-1/keys/vote.key"
    key.chmod(0o644)
    try:
        finding = only(checkup.check_permissions(home))
        ran = run("doctor", "--home", home, "--json")
    finally:
        key.chmod(0o600)
    assert (finding.level, finding.fix) == (Level.PROBLEM, f"chmod 600 {key}")
    assert ran.code == ExitCode.SOME_FAILED
    assert ran.json["error"]["fix"] == f"chmod 600 {key}"


@pytest.mark.parametrize(
    ("days", "level"),
    [
        (0, Level.OK),
        (699, Level.OK),
        (701, Level.WARNING),
        (722, Level.WARNING),
        (724, Level.PROBLEM),
        (731, Level.PROBLEM),
    ],
)
def test_certificates_are_looked_at_in_time(home: Path, days: int, level: Level) -> None:
    created_s = Supervisor(home, lambda _step, _node: None).topology.created_ms / 1_000
    levels = {each.level for each in checkup.check_certificates(home, created_s + days * DAY_S)}
    assert max(levels, key=[*Level].index) is level


@pytest.mark.parametrize(
    ("days", "said"),
    [
        (724, "valid for 6 more days"),
        (729.25, "valid for 18 more hours, no longer"),
        (731, "not valid any more"),
    ],
)
def test_the_last_day_of_a_certificate_is_told_by_the_hour(
    home: Path, days: float, said: str
) -> None:
    created_s = Supervisor(home, lambda _step, _node: None).topology.created_ms / 1_000
    told = [each.detail for each in checkup.check_certificates(home, created_s + days * DAY_S)]
    assert any(each.endswith(said) for each in told)


def test_a_damaged_certificate_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "tls.pem").write_text("no certificate", encoding="utf-8")
    finding = only(checkup.check_certificates(tmp_path, 0))
    assert (finding.check, finding.level) == ("certificates", Level.PROBLEM)


def test_a_stopped_node_whose_ports_are_taken_is_a_problem(home: Path) -> None:
    entry = entry_of(home)
    stopped = [NodeProcess(entry, None)]
    assert only(checkup.check_nodes(stopped, {}, home, MEMBERS)).level is Level.WARNING
    with socket.create_server((entry.host, entry.peer_port)):
        finding = only(checkup.check_nodes(stopped, {}, home, MEMBERS))
    assert (finding.check, finding.level) == ("ports", Level.PROBLEM)
    assert str(entry.peer_port) in finding.detail


ENDED = """{"timestamp": "t", "level": "critical", "event": "ended", "code": "GC-9002"}
error GC-9002: the node stopped itself
  cause: halted: block 5 is decided and this node's execution differs
  fix: keep its folder
"""


@pytest.mark.parametrize(
    ("log", "level"),
    [
        (ENDED, Level.PROBLEM),
        (ENDED + '{"level": "info", "event": "recovered"}\n', Level.WARNING),
        (ENDED + '{"level": "info", "event": "stopped"}\n', Level.WARNING),
        ("", Level.WARNING),
    ],
)
def test_a_node_that_stopped_itself_is_told_with_its_reason(
    home: Path, log: str, level: Level
) -> None:
    path = home / "nodes/validator-1/node.log"
    path.write_text(log, encoding="utf-8")
    try:
        finding = only(checkup.check_nodes([NodeProcess(entry_of(home), None)], {}, home, MEMBERS))
    finally:
        path.unlink()
    assert finding.level is level
    if level is Level.PROBLEM:
        assert "GC-9002" in finding.detail
        assert "execution differs" in finding.detail


def process_of_age(age_s: float) -> ProcessRecord:
    now = ProcessRecord(1, 0).age_s()
    return ProcessRecord(1, round((now - age_s) * os.sysconf("SC_CLK_TCK")))


@pytest.mark.parametrize(
    ("said", "age_s", "check", "level"),
    [
        (status(), 0, "nodes", Level.OK),
        (None, 0, "nodes", Level.WARNING),
        (None, START_TIMEOUT_S, "nodes", Level.PROBLEM),
        (status(health=Health.STARTING), 0, "nodes", Level.WARNING),
        (status(health=Health.STARTING), START_TIMEOUT_S, "nodes", Level.PROBLEM),
        (status(health=Health.HALTED), 0, "nodes", Level.PROBLEM),
        (status(version="0.0.1"), 0, "versions", Level.WARNING),
    ],
)
def test_a_running_node_is_asked(
    home: Path, said: NodeStatus | None, age_s: float, check: str, level: Level
) -> None:
    running = [NodeProcess(entry_of(home), process_of_age(age_s))]
    statuses = {} if said is None else {"validator-1": said}
    finding = only(checkup.check_nodes(running, statuses, home, MEMBERS))
    assert (finding.check, finding.level) == (check, level)


def test_who_waits_for_others_is_told_to_start_them(home: Path) -> None:
    entry = entry_of(home)
    others = [msgspec.structs.replace(entry, id=f"validator-{number}") for number in (2, 3, 4)]
    old = process_of_age(START_TIMEOUT_S)
    waiting = {"validator-1": status(health=Health.STARTING, health_detail="0 of 2 peers")}
    alone = [NodeProcess(entry, old), *(NodeProcess(other, None) for other in others)]
    first, *_rest = checkup.check_nodes(alone, waiting, home, MEMBERS)
    assert first.level is Level.WARNING
    assert first.fix == "start what does not run: govchain testnet up"
    together = [NodeProcess(each, old) for each in (entry, *others)]
    first, *_rest = checkup.check_nodes(together, waiting, home, MEMBERS)
    assert first.level is Level.PROBLEM
    assert str(home / entry.home / LOG_FILE) in first.fix


def test_a_network_that_died_is_a_problem_and_one_that_was_taken_down_is_not(
    validator: NodeConfig,
) -> None:
    network = validator.home.parents[1]
    assert run("doctor", "--home", network).code == 0
    process_of_age(0).save(validator.home / PROCESS_FILE)  # it was process 1, or so it is said
    ran = run("doctor", "--home", network, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.SOME_FAILED, "GC-2302")
    assert ran.json["error"]["fix"] == "start what does not run: govchain testnet up"
    assert run("testnet", "down", "--home", network).code == 0
    assert run("doctor", "--home", network).code == 0


def test_a_damaged_record_of_a_process_is_told_not_fatal(home: Path) -> None:
    record = home / "nodes/validator-1/node.pid"
    record.write_bytes(b"damaged")
    try:
        ran = run("doctor", "--home", home, "--json")
    finally:
        record.unlink()
    problems = [each for each in ran.json["findings"] if each["level"] == "problem"]
    assert [each["check"] for each in problems] == ["files"]
    assert "node.pid" in problems[0]["fix"]


CHRONY = "A29F,192.0.2.1,4,1700000000.1,{offset},0.0001,0.0002,1.5,0.01,0.1,0.02,{error},64,{leap}"
THREE = "\n".join(f"^,{state},192.0.2.{state},2,6,377,1,0,0,0" for state in "*+-")
SOUND = CHRONY.format(offset="-0.004", error="0.001", leap="Normal")


def chrony(folder: Path, tracking: str, sources: str) -> None:
    """Put a chronyc on the path that answers both questions."""
    answers = f"case $* in\n*sources) echo '{sources}';;\n*) echo '{tracking}';;\nesac\n"
    (folder / "chronyc").write_text(f"#!/bin/sh\n{answers}", encoding="utf-8")
    (folder / "chronyc").chmod(0o755)


@pytest.mark.parametrize(
    ("tracking", "sources", "cause"),
    [
        (SOUND, THREE, None),
        (SOUND.replace("Normal", "Insert second"), THREE, None),
        (CHRONY.format(offset="0", error="0.001", leap="Not synchronised"), THREE, "no source"),
        (SOUND, THREE.splitlines()[0], "too few"),
        (CHRONY.format(offset="0.4", error="0.001", leap="Normal"), THREE, "400"),
        (CHRONY.format(offset="0.001", error="0.4", leap="Normal"), THREE, "dispersion 400000"),
        ("506 Cannot talk to daemon", "", "no time daemon"),
    ],
)
def test_the_clock_is_judged_as_a_validator_judges_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tracking: str, sources: str, cause: str | None
) -> None:
    chrony(tmp_path, tracking, sources)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = check_clock(50, is_trial=False)
    assert (found.check, found.level) == ("clock", Level.PROBLEM if cause else Level.OK)
    assert (cause or "chrony: 15.0 ms") in found.detail
    assert bool(found.fix) is bool(cause)


class _Changed(FakeNode):
    """A validator of a later epoch, in which more is allowed."""

    async def diagnosis(self) -> Diagnosis:
        return replace(await super().diagnosis(), epoch=3, parameters=PARAMETERS)


PARAMETERS = Parameters(clock_error_ms=200)


@pytest.mark.parametrize(("serves", "bound_ms"), [(False, 50), (True, 200)])
def test_a_clock_is_judged_by_the_parameters_in_force(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, serves: bool, bound_ms: int
) -> None:
    chrony(tmp_path, SOUND, THREE)
    monkeypatch.setenv("PATH", str(tmp_path))
    chain_id = Genesis.decode((home / "genesis.cbor").read_bytes()).chain_id
    node = _Changed("validator-1", FakeLedger())
    with served(node, home, chain_id) if serves else nullcontext():
        found = run("doctor", "--home", home, "--json").json["findings"]
    (clock,) = [each for each in found if each["check"] == "clock"]
    assert clock["detail"].endswith(f"off at most, {bound_ms} ms are promised")


@pytest.mark.parametrize(
    ("sources", "level"), [(THREE, Level.OK), ("", Level.WARNING), (None, Level.UNKNOWN)]
)
def test_a_network_for_trials_runs_by_any_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sources: str | None, level: Level
) -> None:
    if sources is not None:
        chrony(tmp_path, SOUND, sources)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert check_clock(50, is_trial=True).level is level


@pytest.mark.parametrize(
    ("free_bytes", "level"),
    [(100 << 30, Level.OK), (2 << 30, Level.WARNING), (1 << 20, Level.PROBLEM)],
)
def test_little_space_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_bytes: int, level: Level
) -> None:
    usage = type(shutil.disk_usage(tmp_path))(200 << 30, 0, free_bytes)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage)
    disk, fsync = checkup.check_disk(tmp_path)
    assert (disk.check, disk.level) == ("disk", level)
    assert fsync.check == "fsync"


@pytest.mark.parametrize(
    ("sync_ms", "level"), [(1.0, Level.OK), (50.0, Level.WARNING), (500.0, Level.PROBLEM)]
)
def test_a_slow_disk_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync_ms: float, level: Level
) -> None:
    monkeypatch.setattr(checkup, "_time_syncs", lambda _folder: iter([sync_ms] * 3))
    _disk, fsync = checkup.check_disk(tmp_path)
    assert fsync.level is level


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "read-only"
    folder.symlink_to("/proc/self")  # nobody, not even root, makes files there
    _disk, fsync = checkup.check_disk(folder)
    assert fsync.level is Level.PROBLEM


def test_another_python_and_missing_packages_are_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "PACKAGES", ("click", "no-such-package"))
    monkeypatch.setattr(platform, "system", lambda: "Plan 9")
    python, packages, _all = checkup.check_versions()
    assert (python.level, packages.level) == (Level.PROBLEM, Level.PROBLEM)
    assert "no-such-package" in packages.detail


def test_one_engine_is_enough_and_none_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "ENGINES", ("no-such-engine", "rocksdict"))
    (found,) = checkup.check_versions()
    assert found.level is Level.OK
    assert "rocksdict 0." in found.detail
    monkeypatch.setattr(checkup, "ENGINES", ("no-such-engine", "nor-this"))
    missing, _all = checkup.check_versions()
    assert missing.level is Level.PROBLEM
    assert "no-such-engine / nor-this" in missing.detail


@pytest.fixture
def validator(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NodeConfig:
    """Return a validator whose ledger holds the genesis block, in a network of its own.

    How busy this machine's disk is while the test runs is no fault.
    """
    monkeypatch.setattr(checkup, "_SYNC_PROBLEM_MS", math.inf)
    shutil.copytree(home, tmp_path / "net")
    config = NodeConfig.load(tmp_path / "net/nodes/validator-1")
    begin_ledger(config, tmp_path / "net/genesis.cbor")
    return config


def begin_ledger(config: NodeConfig, genesis_path: Path) -> None:
    genesis = Genesis.decode(genesis_path.read_bytes())
    with closing(open_database(config.data, create=True)) as store:
        LedgerStore.open(store, genesis.suite, Executor(genesis).genesis_block())


def check_ledger(config: NodeConfig) -> tuple[Ran, dict[str, str]]:
    ran = run("doctor", "--home", config.home.parents[1], "--ledger", "--json")
    (finding,) = (each for each in ran.json["findings"] if each["check"] == "ledger")
    return ran, finding


def test_a_sound_ledger_is_found_to_be(validator: NodeConfig) -> None:
    ran, finding = check_ledger(validator)
    assert (ran.code, finding["level"]) == (0, "ok")
    assert "all 1 blocks" in finding["detail"]


def test_a_validator_that_never_ran_has_no_ledger_to_check(validator: NodeConfig) -> None:
    shutil.rmtree(validator.data)
    ran, finding = check_ledger(validator)
    assert (ran.code, finding["level"]) == (0, "ok")
    assert "no ledger yet" in finding["detail"]
    assert not validator.data.exists()


def test_a_damaged_ledger_ends_with_1_and_the_fix(validator: NodeConfig) -> None:
    with closing(open_database(validator.data, create=False)) as store:
        key, value = next(store.scan(keys.STATE, limit=1))
        batch = WriteBatch()
        batch.put(key, value + b"!")
        store.write(batch, sync=True)
    ran, finding = check_ledger(validator)
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.NOT_VERIFIED, "GC-2316")
    assert (finding["level"], "rebuild" in finding["fix"]) == ("problem", True)
    assert "these are not the bytes that were stored" in finding["detail"]


def test_the_ledger_of_another_chain_is_a_problem(validator: NodeConfig, tmp_path: Path) -> None:
    assert run("testnet", "init", "--home", tmp_path / "other", "-n", 1).code == 0
    shutil.rmtree(validator.data)
    begin_ledger(validator, tmp_path / "other/genesis.cbor")
    ran, finding = check_ledger(validator)
    assert ran.code == ExitCode.NOT_VERIFIED
    assert "GC-3011" in finding["detail"]


def test_a_ledger_in_use_is_left_alone(validator: NodeConfig) -> None:
    with InstanceLock(validator.home):
        ran, finding = check_ledger(validator)
    assert (ran.code, finding["level"]) == (0, "warning")
    record = ProcessRecord.of(os.getpid())
    assert record is not None
    record.save(validator.home / "node.pid")
    _ran, finding = check_ledger(validator)
    assert finding["level"] == "unknown"
    assert "at rest" in finding["detail"]
