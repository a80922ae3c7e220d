"""The command when things go wrong: killed validators, taken ports, broken homes, Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

import node
from node.cli.exit_codes import ExitCode
from node.client import recording
from node.operations import supervisor
from node.operations.process import ProcessRecord, spawn_detached, wait_for_an_exit
from node.operations.topology import Topology
from node.storage.scratch import SCRATCH_PREFIX
from tests.unit.cli.command import ENGLISH, Ran, run

ROOT = Path(node.__file__).parent.parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield the folder of a network that has recorded something, until a test destroys it."""
    home = tmp_path_factory.mktemp("failures") / "net"
    assert run("testnet", "up", "--home", home).code == 0
    assert notarize(home, home.parent).code == 0
    yield home
    if home.exists():
        run("testnet", "down", "--home", home)


@pytest.fixture
def home(folder: Path) -> Iterator[Path]:
    """Yield a network that serves, in whatever state the test before left it."""
    up = run("testnet", "up", "--home", folder, "--json")
    assert up.code == 0, up.out
    yield folder
    if folder.exists():
        for name in ids(folder):
            if (process := record(folder, name)) is not None and process.is_alive:
                os.kill(process.pid, signal.SIGCONT)


@pytest.fixture
def stopped(folder: Path) -> Path:
    """Return a network that does not run."""
    assert run("testnet", "down", "--home", folder).code == 0
    return folder


def ids(home: Path) -> list[str]:
    return [entry.id for entry in Topology.load(home).nodes]


def record(home: Path, name: str) -> ProcessRecord | None:
    return ProcessRecord.load(home / "nodes" / name / "node.pid")


def send(home: Path, name: str, number: signal.Signals) -> None:
    process = record(home, name)
    assert process is not None
    os.kill(process.pid, number)
    if number is signal.SIGKILL:
        wait_for_an_exit([process], 30)
        os.waitpid(process.pid, 0)


def _nodes(home: Path) -> list[dict[str, str]]:
    nodes: list[dict[str, str]] = run("testnet", "status", "--home", home, "--json").json["nodes"]
    return nodes


def notarize(home: Path, folder: Path, *options: object) -> Ran:
    path = folder / secrets.token_hex(4)
    path.write_bytes(secrets.token_bytes(16))
    arguments = ("--home", home, "--out", folder / "receipts", "--json", *options)
    return run("notarize", path, *arguments)


def test_one_validator_killed_is_no_trouble_and_up_brings_it_back(
    home: Path, tmp_path: Path
) -> None:
    assert notarize(home, tmp_path).code == 0
    send(home, "validator-1", signal.SIGKILL)  # the primary, and the first to be asked
    assert notarize(home, tmp_path).code == 0
    status = run("testnet", "status", "--home", home, "--json")
    assert status.code == 0
    assert status.json["nodes"][0]["health"] == "STOPPED"
    doctor = run("doctor", "--home", home, "--json")
    assert [each["level"] for each in doctor.json["findings"] if each["check"] == "nodes"] == [
        "warning",
        "ok",
        "ok",
        "ok",
    ]
    again = run("testnet", "up", "--home", home, "--json")
    assert again.code == 0
    assert all(each["pid"] for each in again.json["nodes"])
    assert notarize(home, tmp_path).code == 0


def test_without_a_quorum_nothing_is_recorded_and_all_is_said(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "TIMEOUT_MS", 3_000)
    for name in ("validator-3", "validator-4"):
        send(home, name, signal.SIGSTOP)  # their connections stay open
    pending = notarize(home, tmp_path)
    (item,) = pending.json["items"]
    assert (pending.code, item["error"]["code"]) == (ExitCode.NOT_FINAL, "GC-2207")
    assert f"tx:{item['transaction']}" in item["error"]["fix"]
    assert f"tx show {item['transaction']}" in item["error"]["fix"]
    for name in ("validator-3", "validator-4"):
        send(home, name, signal.SIGCONT)
    subject = f"tx:{item['transaction']}"
    deadline_s = time.monotonic() + 30
    while run("receipt", "fetch", subject, "--home", home, "--out", tmp_path).code != 0:
        assert time.monotonic() < deadline_s, "what was accepted must become final"


def expect_the_doctor_to_have_them_started(home: Path) -> None:
    """Check that it blames those that died, and none that wait for them."""
    ran = run("doctor", "--home", home, "--json")
    assert ran.code == ExitCode.SOME_FAILED
    problems = [each for each in ran.json["findings"] if each["level"] == "problem"]
    fixes = {each["fix"] for each in problems if each["check"] != "fsync"}  # a busy disk
    assert fixes == {"start what does not run: govchain testnet up"}


def test_too_few_validators_to_decide_are_told_at_once_and_nothing_is_sent(
    home: Path, tmp_path: Path
) -> None:
    for name in ("validator-3", "validator-4"):
        send(home, name, signal.SIGKILL)
    deadline_s = time.monotonic() + 30
    while any(each["health"] == "READY" for each in _nodes(home)):
        assert time.monotonic() < deadline_s, "who lost its peers must not serve"
    began_s = time.monotonic()
    ran = notarize(home, tmp_path, "--wait", 1)
    assert time.monotonic() - began_s < 10, "it waits once, as long as told"
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.UNAVAILABLE, "GC-2106")
    assert "2 of 4 validators answer, 3 are needed" in ran.json["error"]["message"]
    assert "govchain testnet up" in ran.json["error"]["fix"]
    assert "govchain doctor" in ran.json["error"]["fix"]
    assert "items" not in ran.json
    expect_the_doctor_to_have_them_started(home)


def test_with_no_validator_at_all_the_network_is_unavailable_and_receipts_still_verify(
    home: Path, tmp_path: Path
) -> None:
    ran = notarize(home, tmp_path)
    (item,) = ran.json["items"]
    assert run("trust", "export", "--home", home).code == 0
    for name in ids(home):
        send(home, name, signal.SIGKILL)
    trust = home / "trust.json"
    arguments = ("verify", item["path"], "--receipt", item["receipt"], "--trust", trust)
    assert run(*arguments, "--offline").code == 0
    assert run(*arguments).code == 0, "no network was named"
    failed = notarize(home, tmp_path, "--wait", 0)
    assert (failed.code, failed.json["error"]["code"]) == (ExitCode.UNAVAILABLE, "GC-2205")
    assert "items" not in failed.json, "nothing was sent"
    assert run("testnet", "status", "--home", home).code == ExitCode.UNAVAILABLE
    expect_the_doctor_to_have_them_started(home)
    assert run("testnet", "up", "--home", home).code == 0
    assert run("record", "show", item["path"], "--home", home).code == 0, "nothing was lost"


def test_a_copy_of_a_running_network_is_none_of_its_own(home: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(home, tmp_path / "copy")
    before = [record(home, name) for name in ids(home)]
    status = run("testnet", "status", "--home", copy, "--json")
    assert {each["pid"] for each in status.json["nodes"]} == {None}
    assert run("testnet", "down", "--home", copy, "--json").json["stopped"] == []
    assert all(process is not None and process.is_alive for process in before)


def test_the_ledger_of_a_running_validator_is_not_audited(home: Path) -> None:
    ran = run("audit", "ledger", "--home", home / Topology.load(home).nodes[0].home, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-3002")


def test_the_ledgers_of_stopped_validators_can_be_checked(stopped: Path) -> None:
    ran = run("doctor", "--home", stopped, "--ledger", "--json")
    found = [each for each in ran.json["findings"] if each["check"] == "ledger"]
    assert [each["level"] for each in found] == ["ok"] * 4
    assert not any("all 1 blocks" in each["detail"] for each in found)


def test_the_ledger_of_a_stopped_validator_can_be_audited(stopped: Path) -> None:
    folder = stopped / Topology.load(stopped).nodes[0].home
    audited = run("audit", "ledger", "--home", folder, "--json")
    assert audited.code == 0, audited.err
    assert audited.json["validator"] == "validator-1"
    assert audited.json["transactions"] > 0
    assert audited.json["records"] > 0
    assert audited.json["votes"] >= 3 * audited.json["blocks"]
    assert [*folder.glob(f"{SCRATCH_PREFIX}*")] == [], "nothing is left behind"


def test_a_network_that_cannot_come_up_names_the_guilty_with_its_last_words(stopped: Path) -> None:
    for name in ("validator-2", "validator-3"):
        (stopped / "nodes" / name / "wal").rename(stopped / "nodes" / name / "lost")
    ran = run("testnet", "up", "--home", stopped, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.UNAVAILABLE, "GC-2106")
    assert ran.json["node"] == "validator-2"
    assert 0 < len(ran.json["log_tail"]) <= 20
    assert any("GC-2108" in line for line in ran.json["log_tail"])
    assert "node.log" in ran.json["error"]["fix"]
    for name in ("validator-2", "validator-3"):
        (stopped / "nodes" / name / "lost").rename(stopped / "nodes" / name / "wal")


def test_taken_ports_are_replaced_and_printed(stopped: Path, tmp_path: Path) -> None:
    before = Topology.load(stopped)
    with socket.create_server((before.nodes[0].host, before.nodes[0].client_port)):
        up = run("testnet", "up", "--home", stopped)
    assert up.code == 0, up.err
    assert "validator-1 has new ports" in up.err
    after = Topology.load(stopped)
    assert f"127.0.0.1:{after.nodes[0].client_port}" in up.out
    assert after.nodes[1] == before.nodes[1]
    assert notarize(stopped, tmp_path).code == 0


def test_a_port_taken_while_a_validator_starts_is_replaced_though_the_others_serve(
    stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = Topology.load(stopped).nodes[0]
    with ExitStack() as held:

        def taken_first(
            arguments: Sequence[str], *, environment: Mapping[str, str], log: Path
        ) -> ProcessRecord:
            monkeypatch.undo()
            held.enter_context(socket.create_server((wanted.host, wanted.http_port)))
            return spawn_detached(arguments, environment=environment, log=log)

        monkeypatch.setattr(supervisor, "spawn_detached", taken_first)
        up = run("testnet", "up", "--home", stopped, "--json")
    assert up.code == 0, up.out
    assert up.json["serving"] == 4
    assert up.json["nodes"][0]["http_port"] != wanted.http_port


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-P", "-m", "node", *map(str, arguments)]


ENVIRONMENT = {**os.environ, **ENGLISH, "PYTHONPATH": str(ROOT)}


def test_an_interruption_ends_with_130(home: Path, tmp_path: Path) -> None:
    _wait_until_pool_holds(home, something=False)  # of an earlier test
    for name in ids(home)[2:]:
        send(home, name, signal.SIGSTOP)
    (tmp_path / "document").write_bytes(b"x")
    arguments = ("notarize", tmp_path / "document", "--home", home, "--json")
    with subprocess.Popen(
        command(*arguments), cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE
    ) as process:
        _wait_until_pool_holds(home, something=True)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == ExitCode.INTERRUPTED
    assert json.loads(out)["error"]["code"] == "GC-2313"


def test_when_all_are_killed_before_they_answer_the_transactions_are_told(
    home: Path, tmp_path: Path
) -> None:
    _wait_until_pool_holds(home, something=False)  # of an earlier test
    for name in ids(home)[2:]:
        send(home, name, signal.SIGSTOP)
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(secrets.token_bytes(16))
    arguments = ("notarize", "one", "two", "--batch", 1, "--home", home)
    with subprocess.Popen(
        command(*arguments, "--json"), cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE
    ) as process:
        _wait_until_pool_holds(home, something=True)
        for name in ids(home):
            send(home, name, signal.SIGKILL)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == ExitCode.UNAVAILABLE, out
    items = json.loads(out)["items"]
    assert [item["error"]["code"] for item in items] == ["GC-2205"] * 2
    assert run("testnet", "up", "--home", home).code == 0
    for item in items:
        transaction = item["transaction"]
        assert f"receipt fetch tx:{transaction}:0" in item["error"]["fix"]
        assert run("tx", "show", transaction, "--home", home).code in (0, ExitCode.NO_SUCH_RECORD)


def test_a_network_that_is_just_starting_is_waited_for(stopped: Path, tmp_path: Path) -> None:
    assert run("testnet", "up", "--home", stopped, "--no-wait").code == 0
    ran = notarize(stopped, tmp_path, "--wait", 60)
    assert ran.code == 0, ran.out


def _wait_until_pool_holds(home: Path, *, something: bool) -> None:
    """Wait for the first validator to hold a transaction, or none; the frozen are not asked."""
    url = f"http://127.0.0.1:{Topology.load(home).nodes[0].metrics_port}/metrics"
    deadline_s = time.monotonic() + 30
    while True:
        with urllib.request.urlopen(url, timeout=10) as answer:
            held = re.search(rb"^govchain_pool_transactions (\S+)$", answer.read(), re.MULTILINE)
        if held is not None and (float(held[1]) > 0) is something:
            return
        assert time.monotonic() < deadline_s, f"the pool holds {held}"


def test_the_quickstart_does_it_all_and_cleans_up_after_itself(tmp_path: Path) -> None:
    paper = tmp_path / "合同.pdf"
    paper.write_bytes(b"agreed")
    done = subprocess.run(
        command("quickstart", "--once", paper.name),
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        check=False,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("VERIFIED"))
    assert line.startswith("VERIFIED  合同.pdf existed no later than 20")
    assert "of 4 validators signed" in line
    assert "\x1b" not in done.stdout + done.stderr
    assert (tmp_path / "receipts" / "合同.pdf.receipt").is_file()
    home = tmp_path / ".testnet"
    assert all((each := record(home, name)) is None or not each.is_alive for name in ids(home))
    receipt = ("--receipt", "receipts/合同.pdf.receipt")
    verified = subprocess.run(
        command("verify", paper.name, "--offline", *receipt, "--trust", ".testnet/trust.json"),
        cwd=tmp_path,
        env=ENVIRONMENT,
        check=False,
        capture_output=True,
    )
    assert verified.returncode == 0


def test_the_quickstart_leaves_a_running_network_running(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"a")
    monkeypatch.chdir(tmp_path)
    ran = run("quickstart", "a", "--once", "--home", home, "--json")
    assert (ran.code, ran.json["verified"]) == (0, 1)
    assert ran.json["items"][0]["verdict"] == "verified"
    again = run("quickstart", "a", "--home", home)
    assert "Try next" in again.out
    assert run("testnet", "status", "--home", home).code == 0


def test_destroy_stops_what_runs_and_leaves_nothing(home: Path) -> None:
    processes = [record(home, name) for name in ids(home)]
    assert run("testnet", "destroy", "--home", home).code == 0
    assert not home.exists()
    assert not any(process is None or process.is_alive for process in processes)
