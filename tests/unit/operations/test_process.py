"""Processes: recognised by more than their number, stopped gently first, never mistaken."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import node
from node.errors import ConfigError
from node.operations.process import (
    ProcessRecord,
    claim,
    kill_processes,
    paused_processes,
    running_commands,
    spawn_detached,
    stop_processes,
    wait_for_an_exit,
)

GENTLE = "import signal; print('up', flush=True); signal.pause()"
STUBBORN = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); "
    "[signal.pause() for _ in iter(int, 1)]"
)


ROOT = Path(node.__file__).parent.parent


def spawn(folder: Path, program: str) -> ProcessRecord:
    """Start a program and return once it has printed its first line."""
    pipe = folder / f"pipe-{len(list(folder.iterdir()))}"
    os.mkfifo(pipe)
    descriptor = os.open(
        pipe, os.O_RDONLY | os.O_NONBLOCK
    )  # a reader first: opening to write waits
    command = (sys.executable, "-c", program)
    record = spawn_detached(command, environment=dict(os.environ), log=pipe)
    os.set_blocking(descriptor, True)
    with os.fdopen(descriptor, encoding="utf-8") as output:
        assert output.readline() == "up\n"
    return record


@pytest.fixture
def gentle(tmp_path: Path) -> Iterator[ProcessRecord]:
    record = spawn(tmp_path, GENTLE)
    yield record
    stop_processes([record], grace_s=10)


def test_a_process_is_alive_until_it_is_stopped(gentle: ProcessRecord) -> None:
    assert gentle.is_alive
    assert os.getsid(gentle.pid) == gentle.pid, "it must survive the terminal of its parent"
    assert stop_processes([gentle], grace_s=10) == ()
    assert not gentle.is_alive


def test_a_process_is_alive_until_its_last_thread_has_ended(tmp_path: Path) -> None:
    """One that is killed ends thread by thread, and holds its locks meanwhile."""
    program = """
import ctypes, platform, threading, time
from pathlib import Path
def go_on():
    while " Z " not in Path("/proc/self/stat").read_text():  # of the first thread
        time.sleep(0.001)
    print("up", flush=True)
    time.sleep(600)
threading.Thread(target=go_on).start()
ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[platform.machine()], 0)  # this thread
"""
    record = spawn(tmp_path, program)
    assert record.is_alive
    assert stop_processes([record], grace_s=10) == ()
    assert not record.is_alive


def test_a_process_that_ignores_the_request_is_killed(tmp_path: Path) -> None:
    stubborn, gentle = spawn(tmp_path, STUBBORN), spawn(tmp_path, GENTLE)
    assert stop_processes([stubborn, gentle], grace_s=0.5) == (stubborn,)
    assert not stubborn.is_alive
    assert not gentle.is_alive


def test_a_reused_process_id_is_another_process_and_left_alone(gentle: ProcessRecord) -> None:
    earlier = ProcessRecord(gentle.pid, gentle.start_ticks - 1)
    assert not earlier.is_alive
    assert stop_processes([earlier], grace_s=10) == ()
    assert gentle.is_alive


def test_waiting_ends_with_the_first_exit(tmp_path: Path, gentle: ProcessRecord) -> None:
    other = spawn(tmp_path, "import sys; print('up', flush=True)")
    wait_for_an_exit([gentle, other], 60)
    assert not other.is_alive
    stop_processes([other], grace_s=1)
    started_s = time.monotonic()
    wait_for_an_exit([gentle, other], 60)  # one has ended already
    assert time.monotonic() - started_s < 30


def test_a_record_reads_back_as_written(tmp_path: Path) -> None:
    path = tmp_path / "node.pid"
    assert ProcessRecord.load(path) is None
    ProcessRecord(7, 11).save(path)
    assert ProcessRecord.load(path) == ProcessRecord(7, 11)


def test_a_record_counts_only_in_the_folder_it_was_written_in(
    tmp_path: Path, gentle: ProcessRecord
) -> None:
    original, copy, moved = (tmp_path / name for name in ("original", "copy", "moved"))
    original.mkdir()
    gentle.save(original / "node.pid")
    shutil.copytree(original, copy)
    assert ProcessRecord.load(copy / "node.pid") is None
    claim(copy / "node.pid")
    assert ProcessRecord.load(original.rename(moved) / "node.pid") == gentle


def test_a_process_is_found_by_its_command_line(gentle: ProcessRecord) -> None:
    assert running_commands()["-c", GENTLE] == gentle
    stop_processes([gentle], grace_s=10)
    assert ("-c", GENTLE) not in running_commands()


@pytest.mark.parametrize("content", [b"", b"7", b'{"pid": "7", "start_ticks": 1}'])
def test_a_damaged_record_is_refused_with_a_fix(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "node.pid").write_bytes(content)
    with pytest.raises(ConfigError, match=r"node\.pid") as raised:
        ProcessRecord.load(tmp_path / "node.pid")
    assert (raised.value.code, "remove" in raised.value.fix) == ("GC-2107", True)


def test_a_home_is_claimed_once(tmp_path: Path, gentle: ProcessRecord) -> None:
    path = tmp_path / "node.pid"
    gentle.save(path)
    with pytest.raises(ConfigError, match=f"in use by process {gentle.pid}") as raised:
        claim(path)
    assert raised.value.code == "GC-3002"
    stop_processes([gentle], grace_s=10)
    claim(path)
    assert ProcessRecord.load(path) == ProcessRecord.of(os.getpid())
    claim(path)  # its own claim does not stand in its way


def test_a_process_has_an_age(gentle: ProcessRecord) -> None:
    assert 0 <= gentle.age_s() < 60
    assert ProcessRecord(1, 0).age_s() > gentle.age_s()


def state(process: ProcessRecord) -> str:
    text = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8")
    return text.rpartition(")")[2].split()[0]


def wait_until(process: ProcessRecord, *, is_paused: bool) -> None:
    deadline_s = time.monotonic() + 10
    while (state(process) == "T") is not is_paused:
        assert time.monotonic() < deadline_s, f"expected paused: {is_paused}"
        wait_for_an_exit([process], 0.02)


def test_a_paused_process_goes_on_at_the_end_even_of_an_error(gentle: ProcessRecord) -> None:
    def pause_and_fail() -> None:
        with paused_processes([gentle]):
            wait_until(gentle, is_paused=True)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pause_and_fail()
    wait_until(gentle, is_paused=False)
    assert gentle.is_alive


def test_a_paused_process_goes_on_when_who_paused_it_is_killed(
    tmp_path: Path, gentle: ProcessRecord
) -> None:
    program = (
        "import signal, sys\n"
        "from node.operations.process import ProcessRecord, paused_processes\n"
        f"with paused_processes([ProcessRecord({gentle.pid}, {gentle.start_ticks})]):\n"
        "    open(sys.argv[1], 'w').close()\n"
        "    signal.pause()\n"
    )
    marker = tmp_path / "paused"
    owner = subprocess.Popen((sys.executable, "-c", program, marker), cwd=ROOT)
    try:
        deadline_s = time.monotonic() + 30
        while not marker.exists():
            assert time.monotonic() < deadline_s
            wait_for_an_exit([gentle], 0.02)
        wait_until(gentle, is_paused=True)
    finally:
        owner.kill()
        owner.wait()
    wait_until(gentle, is_paused=False)


def test_what_is_killed_runs_no_more_and_had_no_say(gentle: ProcessRecord) -> None:
    kill_processes([gentle, ProcessRecord(gentle.pid, gentle.start_ticks - 1)])
    assert not gentle.is_alive


def test_a_process_that_forbids_dumps_leaves_none(tmp_path: Path) -> None:
    script = """
import ctypes, os, resource
from node.operations.process import forbid_dumps
resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), flush=True)
forbid_dumps()
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE), flush=True)
os.abort()
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGABRT
    assert done.stdout == "1\n0 (0, 0)\n"
    assert not list(tmp_path.iterdir())


def test_a_variable_is_hidden_where_others_see_it_and_told_to_children() -> None:
    script = """
import subprocess, sys
from node.cli.passphrases import ask_passphrase
secret = ask_passphrase()
told = "import os; print(os.environ['GOVCHAIN_PASSPHRASE'])"
child = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
print(child.stdout.strip(), flush=True)
sys.stdin.read()
"""
    passphrase = "a passphrase that nobody else is to see"
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT), "GOVCHAIN_PASSPHRASE": passphrase},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    told = process.stdout.readline()
    shown = Path(f"/proc/{process.pid}/environ").read_bytes()
    process.communicate()
    assert told == f"{passphrase}\n"
    assert b"GOVCHAIN_PASSPHRASE=" in shown
    assert passphrase.encode() not in shown


def test_no_verb_leaves_a_dump() -> None:
    """Each may open keys; `main` is what runs them all."""
    script = """
import ctypes, resource, sys
from node.cli.main import main
sys.argv = ["govchain", "gateway", "openapi", "--json"]
main()
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE), flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.endswith("\n0 (0, 0)\n")


@pytest.mark.parametrize(("allowed", "expected"), [(4_096, 4_096), (64, 64)])
def test_a_process_has_open_as_many_files_as_it_is_allowed(allowed: int, expected: int) -> None:
    script = f"""
import resource
from node.operations.process import allow_open_files
resource.setrlimit(resource.RLIMIT_NOFILE, (64, {allowed}))
allow_open_files()
print(resource.getrlimit(resource.RLIMIT_NOFILE))
"""
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    assert told == f"({expected}, {allowed})\n"
