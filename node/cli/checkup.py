"""The checks behind `govchain doctor`: each looks at one thing and says what it found and the fix.

Nothing is changed, but for a file written and removed again to time the disk.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import stat
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from gettext import gettext as _
from pathlib import Path
from typing import Final

import node
from node.assembly import open_ledger_at_rest
from node.chain.genesis import Genesis
from node.chain.membership import quorum_size
from node.cli.remedies import remedy_of
from node.cli.screen import Fault
from node.config import NodeConfig
from node.crypto.authority import AuthorityCertificate
from node.errors import CryptoError, NodeError
from node.operations.supervisor import LOG_FILE, NodeProcess
from node.operations.topology import is_port_free
from node.rpc.port import Health, NodeStatus
from node.storage.ledger_check import verify_store

PACKAGES: Final = ("cbor2", "click", "cryptography", "grpcio", "msgspec", "protobuf")
ENGINES: Final = ("plyvel", "rocksdict")  # one of them is enough

_PYTHON_VERSIONS: Final = ((3, 11), (3, 12), (3, 13))
_DISK_PROBLEM_BYTES: Final = 1 << 30
_DISK_WARNING_BYTES: Final = 5 << 30
_SYNC_ROUNDS: Final = 16
_SYNC_BYTES: Final = 4_096
_SYNC_WARNING_MS: Final = 20.0
_SYNC_PROBLEM_MS: Final = 200.0
_CERTIFICATE_WARNING_DAYS: Final = 30
_CERTIFICATE_PROBLEM_DAYS: Final = 7
_CERTIFICATE_LAST_DAYS: Final = 1
_HOURS_PER_DAY: Final = 24
_S_PER_DAY: Final = 86_400
_MS: Final = 1_000
_OTHERS: Final = 0o077
_LOG_TAIL_BYTES: Final = 16_384
_ENDED: Final = re.compile(r'"event": "ended".*"code": "(GC-\d{4})"')
_BEGAN_OR_STOPPED: Final = re.compile(r'"event": "(?:recovered|stopped)"')


Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Begins to tell how far something is: what, and how much there is; takes each amount done."""


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    UNKNOWN = "unknown"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    check: str
    """Name of the check, for programs the same in every language."""
    level: Level
    detail: str
    fix: str = ""


def check_versions() -> Iterator[Finding]:
    """Look at the interpreter and the packages."""
    got = sys.version_info[:2]
    detail = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    if got not in _PYTHON_VERSIONS or platform.system() != "Linux":
        fix = _("use Python 3.11, 3.12 or 3.13 on Linux")
        yield Finding("versions", Level.PROBLEM, detail, fix)
    versions = {package: _version_of(package) for package in (*PACKAGES, *ENGINES)}
    found = [f"{package} {version}" for package, version in versions.items() if version]
    missing = [package for package in PACKAGES if not versions[package]]
    if not any(versions[package] for package in ENGINES):
        missing.append(" / ".join(ENGINES))
    if missing:
        fix = _("install the locked packages again: ./run does")
        yield Finding("versions", Level.PROBLEM, _("missing: ") + ", ".join(missing), fix)
    yield Finding("versions", Level.OK, ", ".join((f"govchain {node.__version__}", detail, *found)))


def _version_of(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_disk(folder: Path) -> Iterator[Finding]:
    """Look at the space left where the data lies, and at how long a sync takes there."""
    usage = shutil.disk_usage(folder)
    detail = _("{free:.1f} of {total:.1f} GiB are free").format(
        free=usage.free / (1 << 30), total=usage.total / (1 << 30)
    )
    level = Level.WARNING if usage.free < _DISK_WARNING_BYTES else Level.OK
    level = Level.PROBLEM if usage.free < _DISK_PROBLEM_BYTES else level
    yield Finding("disk", level, detail, "" if level is Level.OK else _("free space, or move"))
    yield _check_sync(folder)


def _check_sync(folder: Path) -> Finding:
    try:
        times_ms = [*_time_syncs(folder)]
    except OSError as error:
        return Finding("fsync", Level.PROBLEM, f"{folder}: {error.strerror}", _("check its rights"))
    median_ms, worst_ms = statistics.median(times_ms), max(times_ms)
    detail = _("a sync takes {median:.1f} ms, at worst {worst:.1f} ms").format(
        median=median_ms, worst=worst_ms
    )
    if median_ms >= _SYNC_WARNING_MS:
        level = Level.PROBLEM if median_ms >= _SYNC_PROBLEM_MS else Level.WARNING
        fix = _("use a disk that syncs faster: every vote waits for one")
        return Finding("fsync", level, detail, fix)
    return Finding("fsync", Level.OK, detail)


def _time_syncs(folder: Path) -> Iterator[float]:
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-") as file:
        for _round in range(_SYNC_ROUNDS):
            started_s = time.perf_counter()
            os.write(file.fileno(), bytes(_SYNC_BYTES))
            os.fdatasync(file.fileno())
            yield (time.perf_counter() - started_s) * 1_000


def check_permissions(home: Path) -> Iterator[Finding]:
    """Look at who may read the private files."""
    open_files = [
        path
        for path in sorted(home.rglob("*.key"))
        if path.is_file() and stat.S_IMODE(path.stat().st_mode) & _OTHERS
    ]
    for path in open_files:
        detail = _("{path}: others than its owner may use it").format(path=path)
        yield Finding("permissions", Level.PROBLEM, detail, f"chmod 600 {path}")
    if not open_files:
        yield Finding("permissions", Level.OK, _("private files are for their owner alone"))


def check_certificates(home: Path, now_s: float) -> Iterator[Finding]:
    """Look at how long the certificates are valid."""
    soonest: tuple[float, Path] | None = None
    for path in sorted([*home.rglob("tls.pem"), *home.rglob("client.pem"), *home.rglob("ca.pem")]):
        try:
            certificate = AuthorityCertificate.read(path.read_bytes())
        except (OSError, CryptoError) as error:
            fix = _("restore the file from a backup")
            yield Finding("certificates", Level.PROBLEM, f"{path}: {error}", fix)
            continue
        days = (certificate.not_after_ms / _MS - now_s) / _S_PER_DAY
        if days < _CERTIFICATE_WARNING_DAYS:
            level = Level.PROBLEM if days < _CERTIFICATE_PROBLEM_DAYS else Level.WARNING
            detail = _tell_end(path, days)
            yield Finding("certificates", level, detail, _("have it renewed by its authority"))
        if soonest is None or days < soonest[0]:
            soonest = (days, path)
    if soonest is not None and soonest[0] >= _CERTIFICATE_WARNING_DAYS:
        detail = _("the first to end has {days:.0f} more days: {path}")
        yield Finding("certificates", Level.OK, detail.format(days=soonest[0], path=soonest[1]))


def _tell_end(path: Path, days: float) -> str:
    if days < 0:
        return _("{path}: not valid any more").format(path=path)
    if days < _CERTIFICATE_LAST_DAYS:
        hours = days * _HOURS_PER_DAY
        return _("{path}: valid for {hours:.0f} more hours, no longer").format(
            path=path, hours=hours
        )
    return _("{path}: valid for {days:.0f} more days").format(path=path, days=days)


def check_nodes(
    nodes: Sequence[NodeProcess],
    statuses: Mapping[str, NodeStatus | NodeError],
    home: Path,
    members: Collection[str],
) -> Iterator[Finding]:
    """Look at each node: its process, its ports, its word about itself, its version.

    `members` are the validators by now; other nodes follow them. Where a quorum does not run, who
    waits for it is not to blame.
    """
    deciding = [each for each in nodes if each.entry.id in members]
    quorum = quorum_size(len(deciding))
    running = sum(each.process is not None for each in deciding)
    lost = [each.entry.id for each in deciding if each.is_lost]
    start = _("start what does not run: govchain testnet up")
    if lost and running < quorum:
        detail = _(
            "{running} of {count} validators run, {quorum} are needed; "
            "ended otherwise than by govchain testnet down: {lost}"
        ).format(running=running, count=len(deciding), quorum=quorum, lost=", ".join(lost))
        yield Finding("nodes", Level.PROBLEM, detail, start)
    for each in nodes:
        name = each.entry.id
        status = statuses.get(name)
        log = home / each.entry.home / LOG_FILE
        fix = _("mend what its log says ({log}), then: govchain testnet up").format(log=log)
        level = Level.PROBLEM
        if each.is_starting:
            level, fix = Level.WARNING, _("look again in a minute: it has just been started")
        if each.process is None:
            yield _check_stopped(each, log)
        elif not isinstance(status, NodeStatus):
            detail = _("{node} runs but does not answer: {why}").format(node=name, why=status)
            yield Finding("nodes", level, detail, fix)
        elif name not in members and status.health is not Health.HALTED:
            detail = _("{node} is no validator now, and follows at height {height}")
            yield Finding("nodes", Level.OK, detail.format(node=name, height=status.height))
        elif status.health is not Health.READY:
            if status.health is Health.HALTED:  # it will not mend itself
                level = Level.PROBLEM
            elif running < quorum:
                level, fix = Level.WARNING, start
            detail = f"{name}: {status.health.name}, {status.health_detail}"
            yield Finding("nodes", level, detail, fix)
        elif status.version != node.__version__:
            detail = _("{node} runs version {got}, this is {own}").format(
                node=name, got=status.version, own=node.__version__
            )
            restart = _("start it anew: govchain testnet down, then up")
            yield Finding("versions", Level.WARNING, detail, restart)
        else:
            detail = _("{node} serves, at height {height}")
            yield Finding("nodes", Level.OK, detail.format(node=name, height=status.height))


def check_ledger(
    node_process: NodeProcess, home: Path, genesis: Genesis, progress: Progress
) -> Finding:
    """Check the whole ledger of a validator that does not run."""
    name = node_process.entry.id
    if node_process.process is not None:
        detail = _("{node} runs: only a ledger at rest can be checked").format(node=name)
        return Finding("ledger", Level.UNKNOWN, detail, _("stop it first: govchain testnet down"))
    try:
        config = NodeConfig.load(home / node_process.entry.home)
        if not config.data.exists():
            detail = _("{node} has no ledger yet").format(node=name)
            return Finding("ledger", Level.OK, detail)
        with open_ledger_at_rest(config, genesis) as (store, ledger):
            blocks = ledger.tip_height + 1
            with progress(_("checking the ledger of {node}").format(node=name), blocks) as advance:
                verify_store(store, ledger, genesis.suite, advance)
    except NodeError as error:
        fault = Fault.of(error)
        in_use = error.code == "GC-3002"  # by a process that nobody knows of
        level = Level.WARNING if in_use else Level.PROBLEM
        return Finding("ledger", level, f"{name}: {fault.sentence}", fault.fix)
    detail = _("{node}: all {count} blocks, the log, the state and the indexes agree")
    return Finding("ledger", Level.OK, detail.format(node=name, count=blocks))


def _check_stopped(each: NodeProcess, log: Path) -> Finding:
    """Say of a node at rest why it ended, if by itself, and whether it could start."""
    entry = each.entry
    taken = [port for port in entry.ports if not is_port_free(entry.host, port)]
    if taken:
        detail = _("{node} is stopped, and something else holds its ports: {ports}")
        ports = ", ".join(map(str, taken))
        fix = _("let it have others: govchain testnet up")
        return Finding("ports", Level.PROBLEM, detail.format(node=entry.id, ports=ports), fix)
    if ending := _ending_of(log):
        code, cause = ending
        remedy = remedy_of(code)
        detail = _("{node} stopped by itself: {code} {summary} ({cause})").format(
            node=entry.id, code=code, summary=remedy.summary, cause=cause
        )
        return Finding("nodes", Level.PROBLEM, detail, remedy.fix)
    detail = _("{node} is stopped").format(node=entry.id)
    return Finding("nodes", Level.WARNING, detail, _("start it: govchain testnet up"))


def _ending_of(log: Path) -> tuple[str, str] | None:
    """Return error code and cause that a node told at the end of its log, if it ended by itself."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return None
    for number in reversed(range(len(lines))):
        if _BEGAN_OR_STOPPED.search(lines[number]):
            return None
        if found := _ENDED.search(lines[number]):
            told = [line for line in lines[number + 1 :] if line.startswith("  ")]
            return found[1], told[0].strip() if told else lines[number]
    return None
