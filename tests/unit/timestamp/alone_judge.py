"""What verdicts of `alone.py` are compared with: those given here, with every library."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from node.timestamp.compact_verify import CompactStep
from node.timestamp.verify import Step
from tests.unit.timestamp import alone

ROOT = Path(__file__).parents[3]
RUN_TIMEOUT_S = 120
COMPACT = "compact.qr.txt"
NO_LIBRARY = "no library for BLS12-381 here: install py-ecc to check this signature"


def run_alone(python: str | Path, *arguments: str) -> dict[str, Any]:
    """Run the program by an interpreter, with nothing but this product on its path."""
    done = subprocess.run(
        [str(python), "-P", alone.__file__, *arguments],
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def expect_same_verdicts(cases: dict[str, Any]) -> None:
    """Expect verdicts and steps to be ours; where BLS is asked for, an honest "cannot tell"."""
    ours = alone.verdicts()
    assert cases.keys() == ours.keys()
    unchecked = {name for name, (_, steps) in cases.items() if steps[-1][2] == NO_LIBRARY}
    for name, (outcome, steps) in cases.items():
        if name not in unchecked:
            assert [outcome, steps] == ours[name], name
            continue
        assert outcome == "not rooted"
        at = CompactStep.SIGNATURE if name == COMPACT else Step.SIGNATURES
        assert steps[-1][:2] == [at, False]
        assert steps[:-1] == ours[name][1][: len(steps) - 1]
    assert {"good-compact", "good-compact-own", COMPACT} <= unchecked
    assert {ours[name][0] for name in cases.keys() - unchecked} == {
        "verified",
        "not verified",
        "not rooted",
    }
