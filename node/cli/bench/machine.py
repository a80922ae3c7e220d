"""Readings from outside the processes: CPU time and memory from /proc, metrics pages, the disk.

Linux only. What the figures come to is for report.py.
"""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

import node
from node.cli.bench.figures import Reading, Tick
from node.errors import ClientError

_METRICS_TIMEOUT_S: Final = 5.0
_FSYNC_TRIES: Final = 100
_FSYNC_BYTES: Final = 4_096
_PACKAGES: Final = ("grpcio", "cryptography", "cbor2", "plyvel", "rocksdict", "uvloop")
_BUSY_FIELDS: Final = (0, 1, 2, 5, 6, 7)  # user, nice, system, irq, softirq, steal


def take_tick(pids: Mapping[str, int]) -> Tick:
    """Read CPU times and memory by process, in a fraction of a millisecond for each."""
    return Tick(
        time_s=time.monotonic(),
        cpu_s={name: _cpu_s(pid) for name, pid in pids.items()},
        machine_busy_s=_machine_busy_s(),
        memory_bytes={name: _memory_bytes(pid) for name, pid in pids.items()},
    )


def take_reading(addresses: Mapping[str, str]) -> Reading:
    """Read metrics by validator from the `addresses` of their pages.

    Raises `ClientError` where a validator does not answer.
    """
    return Reading(
        time_s=time.monotonic(),
        metrics={name: _metrics(address) for name, address in addresses.items()},
    )


def parse_metrics(text: str) -> dict[str, float]:
    """Return the counters and gauges of a metrics page by name, each summed over its labels."""
    metrics: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        if family.type in ("counter", "gauge"):
            for sample in family.samples:
                metrics[sample.name] = metrics.get(sample.name, 0.0) + sample.value
    return metrics


def describe_machine(home: Path) -> dict[str, Any]:
    """Return what a figure depends on besides this code: hardware, system, versions, the disk."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory_bytes / 2**30, 1),
        "load_average": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "file_system": _file_system(home),
        "fdatasync_ms": round(_fdatasync_ms(home), 2),
        "python": platform.python_version(),
        "govchain": node.__version__,
        "commit": _commit(),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def bytes_on_disk(folder: Path) -> int:
    """Return what the files of a folder occupy."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def _cpu_s(pid: int) -> float:
    """Return the CPU time a process has used, by itself and in the kernel; 0 once it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    user_ticks, system_ticks = stat.rpartition(")")[2].split()[11:13]
    return (int(user_ticks) + int(system_ticks)) / os.sysconf("SC_CLK_TCK")


def _memory_bytes(pid: int) -> int:
    """Return what a process keeps in memory; 0 once it has ended."""
    try:
        resident_pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(resident_pages) * os.sysconf("SC_PAGE_SIZE")


def _machine_busy_s() -> float:
    with Path("/proc/stat").open(encoding="utf-8") as file:
        ticks = file.readline().split()[1:]
    return sum(int(ticks[at]) for at in _BUSY_FIELDS) / os.sysconf("SC_CLK_TCK")


def _metrics(address: str) -> dict[str, float]:
    url = f"http://{address}/metrics"
    try:
        with urllib.request.urlopen(url, timeout=_METRICS_TIMEOUT_S) as page:
            return parse_metrics(page.read().decode())
    except OSError as error:
        raise ClientError(f"{url}: {error}", fix="see the log of the validator") from error


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def _file_system(folder: Path) -> str:
    """Return the type of the file system that a folder lies on."""
    found, where = "", Path("/")
    for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        _, mount, kind, *_ = line.split()
        mounted_at = Path(mount.encode().decode("unicode_escape"))
        if folder.resolve().is_relative_to(mounted_at) and mounted_at.is_relative_to(where):
            found, where = kind, mounted_at
    return found


def _fdatasync_ms(folder: Path) -> float:
    """Return the median time that making a small append durable takes there."""
    taken_ms = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(_FSYNC_TRIES):
            file.write(bytes(_FSYNC_BYTES))
            began_s = time.perf_counter()
            os.fdatasync(file.fileno())
            taken_ms.append((time.perf_counter() - began_s) * 1_000)
    return median(taken_ms)


def _version(package: str) -> str | None:
    """Return its version; None where it is not installed: one of the two databases is enough."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Return the commit of the checkout this package runs from, `+` where it was changed."""
    checkout = Path(node.__file__).parent.parent
    if not (checkout / ".git").exists():
        return None
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"],  # noqa: S607
            cwd=checkout,
            capture_output=True,
            check=True,
            text=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()
