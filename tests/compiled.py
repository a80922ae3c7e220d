"""Libraries in C that tests have in their folders, built where there is a compiler."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def build_library(source: Path, module: Path, *options: str) -> Path:
    """Build a shared library, with options of the compiler; skip where there is none."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("NOT RUN: there is no C compiler (Debian: gcc)")
    command = [compiler, "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC"]
    done = subprocess.run(
        [*command, "-o", module, source, *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return module
