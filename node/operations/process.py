"""Processes by an identity that is never reused: the process id together with its start time.

Linux only: the start time comes from /proc, and a file descriptor of the process makes sure that a
signal reaches the process that was looked at, not a later one with its number.
"""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
import subprocess
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from node.errors import ConfigError, InvariantViolation
from node.operations.topology import write_file

_PR_SET_DUMPABLE: Final = 4  # sys/prctl.h
_STATE: Final = 0  # positions among the fields of /proc/<pid>/stat after the command's name
_THREADS: Final = 17
_START_TIME: Final = 19
_DEAD_STATES: Final = ("Z", "X")
_MILLISECONDS: Final = 1_000

OPEN_FILES: Final = 65_536
"""As many as a node or gateway asks for: its databases, and the connections that it takes."""


class ProcessRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One process, past or present."""

    pid: int
    start_ticks: int
    """When it started, in clock ticks since the system did."""

    @classmethod
    def of(cls, pid: int) -> ProcessRecord | None:
        """Return the record of a process alive now, or None.

        One whose first thread has ended lives on, and holds its files, until the last one has.
        """
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        fields = stat.rpartition(")")[2].split()
        if fields[_STATE] in _DEAD_STATES and int(fields[_THREADS]) <= 1:
            return None
        return cls(pid, int(fields[_START_TIME]))

    @classmethod
    def load(cls, path: Path) -> ProcessRecord | None:
        """Read a record, or None where there is none; raises `ConfigError` on anything else.

        One that was copied here with its folder is none: its process has the original in use.
        """
        try:
            saved = msgspec.json.decode(path.read_bytes(), type=_SavedRecord)
            return saved.process if saved.folder == _identity_of(path.parent) else None
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            raise ConfigError(
                f"{path}: no record of a process: {error}",
                code="GC-2107",
                fix=f"stop the node yourself if it runs, then remove {path}",
            ) from error

    def save(self, path: Path) -> None:
        """Record at `path` that this process has the folder of that file in use."""
        saved = _SavedRecord(self.pid, self.start_ticks, _identity_of(path.parent))
        write_file(path, msgspec.json.encode(saved) + b"\n")

    @property
    def is_alive(self) -> bool:
        """Tell whether this very process still runs."""
        return ProcessRecord.of(self.pid) == self

    def complains_to(self, path: Path) -> bool:
        """Tell whether its standard error is this very file."""
        try:
            return path.samefile(f"/proc/{self.pid}/fd/2")
        except OSError:  # it has ended, or is not ours to look at; or there is no such file
            return False

    def age_s(self) -> float:
        """Return how long ago it started."""
        up_s = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
        return up_s - self.start_ticks / os.sysconf("SC_CLK_TCK")


class _SavedRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of a file that records a process."""

    pid: int
    start_ticks: int
    folder: tuple[int, int]
    """Device and inode of the folder it lies in: a move keeps them, no copy has them."""

    @property
    def process(self) -> ProcessRecord:
        return ProcessRecord(self.pid, self.start_ticks)


def claim(path: Path) -> None:
    """Record the calling process at `path`; raises `ConfigError` while another one runs."""
    holder = ProcessRecord.load(path)
    if holder is not None and holder.pid != os.getpid() and holder.is_alive:
        raise ConfigError(
            f"{path.parent}: in use by process {holder.pid}",
            code="GC-3002",
            fix="stop that process, or give this node a directory and a key of its own",
        )
    own = ProcessRecord.of(os.getpid())
    if own is None:
        raise InvariantViolation("a running process is alive")
    own.save(path)


def forbid_dumps() -> None:
    """Have nothing write this process's memory to a file, or look into it, but the superuser.

    No core dump (setrlimit(2)), also where a program takes it (prctl(2), PR_SET_DUMPABLE), which
    keeps a debugger of the same user out as well.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise InvariantViolation("a process may always forbid its own dumps")


def allow_open_files() -> None:
    """Raise how many files and connections this process may have open to what it is allowed.

    Programs are started with 1,024 for the sake of those that use select(2); a database has about
    as many open by itself, and a node without another to open ends.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def hide_from_environ(name: str) -> None:
    """Overwrite a variable where others see it: in /proc/PID/environ, which shows how we started.

    What this process and its children are told by it stays the same.
    """
    value = os.environ.get(name)
    libc = ctypes.CDLL(None)
    libc.getenv.restype, libc.getenv.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
    found = libc.getenv(os.fsencode(name))
    if value is None or not found:
        return
    ctypes.memset(found, 0, len(os.fsencode(value)))
    os.putenv(name, value)


def running_commands() -> dict[tuple[str, ...], ProcessRecord]:
    """Return what this user's processes were started with, but for the program's own name.

    Of several started alike the oldest counts.
    """
    found: list[tuple[ProcessRecord, tuple[str, ...]]] = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            if folder.stat().st_uid == os.geteuid():
                _program, *arguments = (folder / "cmdline").read_bytes().split(b"\0")[:-1] or [b""]
                process = ProcessRecord.of(int(folder.name))
                if process is not None:
                    found.append((process, tuple(map(os.fsdecode, arguments))))
    found.sort(key=lambda each: each[0].start_ticks, reverse=True)
    return {arguments: process for process, arguments in found}


def spawn_detached(
    arguments: Sequence[str], *, environment: Mapping[str, str], log: Path
) -> ProcessRecord:
    """Start a program in a session of its own, its output appended to `log`, and record it.

    It outlives this process, and a Ctrl-C meant for this process does not reach it.
    """
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    pid = os.posix_spawn(
        arguments[0],
        list(arguments),
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.fspath(log), append, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigmask=(),  # whatever this process does not hear just now
    )
    return ProcessRecord.of(pid) or ProcessRecord(pid, 0)  # 0: it has ended already


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Have Ctrl-C and SIGTERM wait until what belongs together is done.

    By handlers, as a mask is one thread's: whichever other thread heard the signal, the main thread
    would be interrupted all the same. No other is ever interrupted.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {
        each: signal.signal(each, lambda number, _frame: came.append(number))
        for each in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, signal.SIG_DFL if handler is None else handler)
        if came:
            signal.raise_signal(came[0])


def wait_for_an_exit(processes: Collection[ProcessRecord], timeout_s: float) -> None:
    """Return as soon as one of the processes has ended, and after the time in any case."""
    with _open_all(processes) as descriptors:
        if len(descriptors) == len(processes):
            _poll(descriptors, timeout_s)


def stop_processes(
    processes: Collection[ProcessRecord], *, grace_s: float
) -> tuple[ProcessRecord, ...]:
    """End processes: SIGTERM, `grace_s` for all together to finish, then SIGKILL.

    Returns those that had to be killed. None of them runs any more.
    """
    with _open_all(processes) as descriptors:
        for descriptor in descriptors:
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        left = dict(descriptors)
        deadline_s = time.monotonic() + grace_s
        while left and (remaining_s := deadline_s - time.monotonic()) > 0:
            for ended in _poll(left, remaining_s):
                del left[ended]
        for descriptor in left:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            _poll([descriptor], None)
        for process in descriptors.values():
            _reap(process.pid)
        return tuple(left.values())


def kill_processes(processes: Collection[ProcessRecord]) -> None:
    """End processes at once, as a crash does; returns when none of them runs any more."""
    with _open_all(processes) as descriptors:
        for descriptor in descriptors:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        for descriptor, process in descriptors.items():
            _poll([descriptor], None)
            _reap(process.pid)


@contextmanager
def paused_processes(processes: Collection[ProcessRecord]) -> Iterator[None]:
    """Keep processes from running meanwhile. They go on afterwards, even if this process is killed.

    For that a shell waits for the end of a pipe that only this process holds open.
    """
    with _open_all(processes) as descriptors:
        pids = [str(process.pid) for process in descriptors.values()]
        guard = subprocess.Popen(  # noqa: S603 - a fixed script; its arguments are numbers
            ("/bin/sh", "-c", 'read _; kill -CONT "$@"', "sh", *pids),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C meant for this process does not reach it
        )
        try:
            for descriptor in descriptors:
                signal.pidfd_send_signal(descriptor, signal.SIGSTOP)
            yield
        finally:
            for descriptor in descriptors:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(descriptor, signal.SIGCONT)
            guard.communicate()


@contextmanager
def _open_all(processes: Collection[ProcessRecord]) -> Iterator[dict[int, ProcessRecord]]:
    """Yield a descriptor of each process alive; it is looked at once its id cannot be reused."""
    with ExitStack() as stack:
        descriptors = {}
        for process in processes:
            with suppress(ProcessLookupError):
                descriptor = os.pidfd_open(process.pid)
                stack.callback(os.close, descriptor)
                if process.is_alive:
                    descriptors[descriptor] = process
        yield descriptors


def _poll(descriptors: Collection[int], timeout_s: float | None) -> list[int]:
    """Return the descriptors whose process has ended, waiting for the first one."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    timeout_ms = None if timeout_s is None else int(timeout_s * _MILLISECONDS) + 1
    return [descriptor for descriptor, _ in poll.poll(timeout_ms)]


def _identity_of(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _reap(pid: int) -> None:
    """Take note of the end of a process that was started by this one."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
