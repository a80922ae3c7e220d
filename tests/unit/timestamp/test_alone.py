"""`node.timestamp.verify` where only cryptography and cbor2 are installed: the same verdicts.

`tests/outside/test_alone.py` does so in an environment that has no others.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.unit.timestamp import alone
from tests.unit.timestamp.alone_judge import expect_same_verdicts, run_alone


def test_every_vector_has_its_verdict_and_steps() -> None:
    answer = run_alone(sys.executable, "guarded")
    assert set(answer["packages"]) <= alone.ALLOWED
    expect_same_verdicts(answer["cases"])


def test_the_guard_guards() -> None:
    program = Path(alone.__file__)
    source = (
        f"import runpy, sys; sys.meta_path.insert(0, runpy.run_path({str(program)!r})['Guard'])"
    )
    for package in ("msgspec", "py_ecc", "pyblst", "asn1crypto", "grpc"):
        done = subprocess.run(
            [sys.executable, "-c", f"{source}; import {package}"], check=False, capture_output=True
        )
        assert b"ModuleNotFoundError" in done.stderr
    allowed = [sys.executable, "-c", f"{source}; import cbor2, cryptography.x509"]
    subprocess.run(allowed, check=True)
