"""The quick way to a verdict: scenarios and unit tests, until one of them finds the mutant."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.mutation.copies import environment
from tests.mutation.mutant import Mutant
from tests.mutation.warm_worker import NOT_PLANTED

WARM_SUITES = (
    "tests/scenario/test_scenarios.py",
    "tests/unit/chain",
    "tests/unit/consensus",
    "tests/unit/execution",
    "tests/unit/service",
    "tests/unit/storage/test_runs.py",
    "tests/unit/crypto/test_key_tables.py",
)
"""What can find a mutant of the modules that mutants are made of, cheapest first."""


class Warm:
    """A process that has the tests of one snapshot ready."""

    def __init__(self, sources: Path, mutants: IO[str], verdicts: IO[str]) -> None:
        """Take the snapshot and the two ends to the process."""
        self._sources, self._mutants, self._verdicts = sources, mutants, verdicts

    def first_to_find(self, mutant: Mutant | None) -> str:
        """Return the first test that finds a mutant; empty if none does or it is not planted."""
        texts = {} if mutant is None else mutant.texts(self._sources)
        self._mutants.write(json.dumps(texts) + "\n")
        self._mutants.flush()
        line = self._verdicts.readline()
        if not line:
            raise RuntimeError("the process that has the tests ready ended")
        found: str = json.loads(line)
        if mutant is not None and found.startswith(NOT_PLANTED):
            sys.stderr.write(f"{mutant.name} {found}\n")
            return ""
        return found


@contextmanager
def warm(sources: Path, suites: Sequence[str]) -> Iterator[Warm]:
    """Keep some suites of a snapshot ready for as long as the block lasts."""
    script = Path(__file__).with_name("warm_worker.py")
    with subprocess.Popen(
        [sys.executable, "-P", str(script), *suites],
        cwd=sources,
        env=environment(sources, hash_seed=1),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as worker:
        if worker.stdin is None or worker.stdout is None:
            raise RuntimeError("a pipe to the process is missing")
        try:
            yield Warm(sources, worker.stdin, worker.stdout)
        finally:
            worker.stdin.close()
            worker.wait()
