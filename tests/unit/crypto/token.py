"""A token of SoftHSM in a folder of its own: a device of PKCS #11 without a device."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

PIN = "a pin of some length"
_MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/*/softhsm/libsofthsm2.so")


@dataclass(frozen=True)
class SoftToken:
    """A token that is there, and what opens it."""

    module: Path
    label: str
    configuration: Path
    """What SOFTHSM2_CONF has to name."""


def make_token(folder: Path, label: str = "govchain") -> SoftToken:
    """Make a token in `folder`; skips the test where SoftHSM is not installed."""
    if shutil.which("softhsm2-util") is None:
        pytest.skip("NOT RUN: SoftHSM is not installed (Debian: softhsm2)")
    module = next(found for each in _MODULES for found in Path("/").glob(each[1:]))
    (folder / "tokens").mkdir()
    configuration = folder / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {folder / 'tokens'}\n")
    subprocess.run(
        [
            "softhsm2-util",
            "--init-token",
            "--free",
            "--label",
            label,
            "--pin",
            PIN,
            "--so-pin",
            PIN,
        ],
        env={"SOFTHSM2_CONF": str(configuration), "PATH": "/usr/bin:/bin"},
        check=True,
        capture_output=True,
    )
    return SoftToken(module, label, configuration)
