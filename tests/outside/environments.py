"""Virtual environments for the programs of others, made when a test first asks for one.

They lie in `.outside/` of the checkout, one per set of versions, and are kept. Where the package
index cannot be reached, tests that need one are skipped, and say so.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VERSIONS = Path(__file__).parent / "versions.toml"
PROGRAMS = Path(__file__).parent / "programs"
INSTALL_TIMEOUT_S = 180
RUN_TIMEOUT_S = 120


@cache
def python_with(name: str) -> Path:
    """Return the interpreter of an environment of versions.toml; skip where it cannot be made."""
    packages = tomllib.loads(VERSIONS.read_text())[name]["packages"]
    made_of = hashlib.sha256("\n".join([sys.version, *packages]).encode()).hexdigest()[:12]
    folder = ROOT / ".outside" / f"{name}-{made_of}"
    folder.parent.mkdir(exist_ok=True)
    with (folder.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            _make(folder, packages)
    return folder / "bin" / "python"


def run_with(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `programs/with_NAME.py` in the environment of that name; what it says is the answer."""
    command = [python_with(name), "-I", PROGRAMS / f"with_{name}.py", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=RUN_TIMEOUT_S
    )


def _make(folder: Path, packages: list[str]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    python = str(folder / "bin" / "python")
    make = [sys.executable, "-m", "venv", "--without-pip", str(folder)]
    uv = ["uv", "pip", "install", "--python", python]
    pip = [sys.executable, "-m", "pip", "--python", python, "install"]
    installer = uv if shutil.which("uv") else pip
    try:
        for command in (make, [*installer, "--quiet", "--only-binary", ":all:", *packages]):
            subprocess.run(
                command, capture_output=True, text=True, check=True, timeout=INSTALL_TIMEOUT_S
            )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        said = str(error.stderr or error).strip().splitlines() or ["nothing said"]
        pytest.skip(f"NOT RUN: {' '.join(packages)} cannot be installed: {said[-1]}")
    (folder / "ready").touch()
