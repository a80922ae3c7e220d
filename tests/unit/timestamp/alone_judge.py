"""What verdicts of `alone.py` are compared with: those given here, with every library.

Where a compact certificate is beside the votes, it is named as not checked, and the vectors say
what comes of that; where it is all there is, the answer is an honest "cannot tell".
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from node.timestamp.compact_verify import CompactStep
from node.timestamp.steps import COMPACT_CERTIFICATE
from node.timestamp.verify import Step
from tests.unit.timestamp import alone

ROOT = Path(__file__).parents[3]
RUN_TIMEOUT_S = 120
COMPACT, GOOD = "compact.qr.txt", "good-compact"
OTHER_LOG = "7-compact-log-root"
"""Where the path shows it too, after the signature."""
NO_LIBRARY = "no library for BLS12-381 here: install py-ecc, or pyblst (extra govchain[bls])"


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
    """Expect verdicts and steps to be ours but where the vectors say what differs without BLS."""
    ours = alone.verdicts()
    assert cases.keys() == ours.keys()
    without = {
        path.stem: told
        for path in (alone.VECTORS / "cases").glob("*.json")
        if (told := json.loads(path.read_bytes()).get("without_bls")) is not None
    }
    assert {"good-compact", "good-compact-own", "7-compact-more"} <= without.keys()
    lacking = {name for name, (_, steps, _) in cases.items() if any(each[3] for each in steps)}
    assert lacking == {COMPACT, *without}
    for name in cases.keys() - lacking - {OTHER_LOG}:
        assert cases[name] == ours[name], name
    assert cases[OTHER_LOG][0] == ours[OTHER_LOG][0] == "not verified"
    for name, outcome in without.items():
        assert outcome == "verified"
        _expect_unchecked(cases[name], ours["good-compact-own" if "own" in name else GOOD])
    outcome, steps, attested = cases[COMPACT]
    assert (outcome, attested) == ("not rooted", "None")
    assert steps[:-1] == ours[COMPACT][1][: len(steps) - 1]
    assert steps[-1] == [CompactStep.SIGNATURE, False, NO_LIBRARY, COMPACT_CERTIFICATE]
    assert {ours[name][0] for name in cases.keys() - lacking} == {
        "verified",
        "not verified",
        "not rooted",
    }


def _expect_unchecked(found: Any, good: Any) -> None:  # noqa: ANN401 - JSON
    """Expect the verdict of the sound receipt, whatever the certificate beside the votes says."""
    at = Step.SIGNATURES - 1
    number, passed, detail, unchecked = found[1][at]
    assert (number, passed, unchecked) == (Step.SIGNATURES, True, COMPACT_CERTIFICATE)
    assert detail.endswith(f"; {COMPACT_CERTIFICATE} not checked: {NO_LIBRARY}")
    assert found[1][:at] + found[1][at + 1 :] == good[1][:at] + good[1][at + 1 :]
    assert (found[0], found[2]) == (good[0], good[2])
