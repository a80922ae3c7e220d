"""`node.timestamp.verify` where only cryptography and cbor2 are installed: the same verdicts.

`tests/outside/test_alone.py` does so in an environment that has no others.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from node.chain.record import Record, RecordAction
from node.timestamp.plain_struct import Struct
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


def test_a_plain_struct_is_as_strict_as_its_model() -> None:
    class Plain(Struct, frozen=True, gc=False, kw_only=True):
        height: int
        sender: str | None = None

    made = Plain(height=1)
    assert made == Plain(height=1, sender=None)
    assert hash(made) == hash(Plain(height=1))
    with pytest.raises(AttributeError):
        made.height = 2  # type: ignore[misc] # that is the point
    with pytest.raises(TypeError):
        Plain(1)  # type: ignore[call-arg]
    assert not issubclass(Record, Struct), "where msgspec is installed, it is used"
    assert RecordAction.RECORD in RecordAction
