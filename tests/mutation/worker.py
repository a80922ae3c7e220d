"""Runs seeds of the simulator of a copy, in a process of its own, and tells them one by one.

    python -P worker.py START SEEDS [SKIPPED]     (in the copy, with PYTHONPATH naming it)

Each line of output is a seed's outcome as JSON. It ends with the first seed that breaks a rule. The
first of them may be left out; those that follow are what they would have been. A mutant may also
never end, or eat all memory: both are bounded here.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from types import FrameType

SEED_SECONDS_MAX = 40
"""Processor time; a usual seed takes less than one."""
MEMORY_BYTES_MAX = 3 << 30
SIZES = (4,) * 6 + (5,) + (4,) * 6 + (6,) + (4,) * 5 + (7,)
"""Validators of successive seeds: 85 % of the runs are of four."""


class _NoEnd(BaseException):
    """A seed took too long: not an error that the simulator may take for one of a validator."""


def main(start: int, count: int, skipped: int = 0) -> None:
    """Run seeds until one breaks a rule."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    signal.signal(signal.SIGPROF, _give_up)
    from tests.simulation.runs import run_seed  # noqa: PLC0415 - within the bounds

    for position in range(skipped, count):
        seed, size = start + position, SIZES[position % len(SIZES)]
        signal.setitimer(signal.ITIMER_PROF, SEED_SECONDS_MAX)
        try:
            report = run_seed(seed, size)
            violation, trace = report.violation, report.trace
        except _NoEnd:
            violation, trace = f"E: no end within {SEED_SECONDS_MAX} s of processor time", ""
        signal.setitimer(signal.ITIMER_PROF, 0)
        told = {"seed": seed, "size": size, "violation": violation, "trace": trace}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        if violation:
            return


def _give_up(signal_number: int, frame: FrameType | None) -> None:
    del signal_number, frame
    raise _NoEnd


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
