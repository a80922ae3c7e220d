"""`python -m tests.mutation`: plant mistakes one by one and tell what finds each of them.

Without options, the mistakes known from real systems, each with the whole budget. The simulator
comes first, then the scenarios, then the unit tests; each verdict stands for itself. With
`--until-killed` it is the other way round: what costs least comes first, and one kill is enough.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Container, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from tests.commands import above_zero, at_least, end_tidily
from tests.mutation.copies import copy_with, holds, revision, snapshot
from tests.mutation.equivalence import PAGE, proved_equivalent
from tests.mutation.mutant import Mutant, select
from tests.mutation.operators import generic_mutants
from tests.mutation.planted import PLANTED
from tests.mutation.results import Results, is_killed, names_its_tests, read_results, record
from tests.mutation.trial import STARTS, SUITES, Budget, Unsound, run_suite, simulate
from tests.mutation.warm import WARM_SUITES, Warm, warm

ORACLES = ("simulation", *SUITES)
_ALL_TESTS = ",".join(WARM_SUITES)
SEEDS = 20_000
MINUTES = 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Try mutants; 0 when all are killed or proved equivalent, 1 otherwise, 2 if none was tried."""
    options = _parse(arguments)
    end_tidily()
    try:
        return _run(options)
    except Unsound as fault:
        sys.stderr.write(f"without a mutant: {fault}\n")
        return 2


def _run(options: argparse.Namespace) -> int:
    with snapshot(options.commit, is_compiled=_runs_in_copies(options)) as sources:
        generic = generic_mutants(sources)
        everything = [*PLANTED, *generic]
        asked = generic if options.generic else PLANTED
        try:
            chosen = select(everything if options.only else asked, _words(options.only))
        except LookupError as unknown:
            sys.stderr.write(f"{unknown}; --list and --generic --list name those there are\n")
            return 2
        chosen = list(islice(chosen, options.first, None, options.every))
        equivalent = proved_equivalent(everything, sources, PAGE.read_text())
        if options.open:
            results = read_results()
            chosen = [m for m in chosen if _is_open(m, results, equivalent, sources)]
        if options.list:
            sys.stdout.write("".join(f"{m.name}  {m.mistake}\n" for m in chosen))
            return 0
        if not chosen:
            sys.stderr.write("that leaves no mutant to try\n")
            return 2
        survivors, unseen = [], []
        way = _until_killed if options.until_killed else _verdicts
        for mutant, verdicts in way(chosen, options, sources):
            if mutant is None:
                if is_killed(verdicts):
                    sys.stderr.write(f"without a mutant: {json.dumps(verdicts)}\n")
                    return 2
                continue
            is_equivalent = mutant.name in equivalent
            if not is_killed(verdicts) and not is_equivalent:
                survivors.append(mutant.name)
            if not verdicts.get("simulation", {"oracle": "not run"})["oracle"]:
                unseen.append(mutant.name)
            _tell(mutant, verdicts, options, is_equivalent=is_equivalent)
            if options.record and (is_killed(verdicts) or options.tests == _ALL_TESTS):
                record(everything, mutant, verdicts, equivalent)
    summary = {
        "tried": len(chosen),
        "survive_simulation": unseen,
        "survive_all": survivors,
    }
    sys.stdout.write(json.dumps(summary) + "\n")
    return 1 if survivors else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.mutation", description=__doc__)
    add = parser.add_argument
    add("--only", default="", help="names, or how they begin, for instance M07,consensus.new_view")
    add("--generic", action="store_true", help="the mutants made by operators")
    add("--every", type=at_least(1), default=1, help="try only one in so many")
    add("--first", type=at_least(0), default=0, help="leave out so many at the beginning")
    add("--seeds", type=at_least(1), default=SEEDS, help="seeds per mutant and starting point")
    add("--minutes", type=above_zero, default=MINUTES, help="minutes of simulation per mutant")
    starts = at_least(1, len(STARTS))
    add("--starts", type=starts, default=len(STARTS), help="starting points, for the median")
    add("--oracles", default=",".join(ORACLES), help="what is run of simulation,scenario,unit")
    add("--jobs", type=at_least(1), default=1, help="how many mutants are tried at a time")
    add("--commit", default="", help="the commit to plant in, instead of the sources as they are")
    add("--record", action="store_true", help="write results.json and the tables of README.md")
    add("--open", action="store_true", help="those that no recorded result or proof settles")
    add("--until-killed", action="store_true", help="cheapest tests first, one kill is enough")
    add("--tests", default=_ALL_TESTS, help="files or folders that are tried, in place of all")
    add("--list", action="store_true", help="name the mutants and try none")
    add("--json", action="store_true", help="one line of JSON per mutant")
    options = parser.parse_args(arguments)
    oracles = _words(options.oracles)
    if not oracles or not set(oracles) <= set(ORACLES):
        parser.error(f"--oracles {options.oracles}: there are {', '.join(ORACLES)}")
    try:
        options.at = revision(options.commit)
    except subprocess.CalledProcessError:
        parser.error(f"--commit {options.commit}: no such commit")
    tests = _words(options.tests)
    if not tests or not all(holds(options.commit, test) for test in tests):
        parser.error(f"--tests {options.tests}: no such files or folders")
    return options


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def _runs_in_copies(options: argparse.Namespace) -> bool:
    """Whether processes are started in copies, one after the other, that would each compile."""
    return not options.list and not (
        options.until_killed and "simulation" not in _words(options.oracles)
    )


def _is_open(mutant: Mutant, results: Results, equivalent: Container[str], sources: Path) -> bool:
    known = results.get(mutant.name, {})
    is_current = known.get("digest") == mutant.digest and names_its_tests(known, sources)
    return mutant.name not in equivalent and not (is_current and is_killed(known))


Verdicts = Iterator[tuple[Mutant | None, dict[str, Any]]]
"""First of the product as it is, then of each mutant: what each oracle says."""


def _until_killed(
    mutants: Sequence[Mutant], options: argparse.Namespace, sources: Path
) -> Verdicts:
    with warm(sources, _words(options.tests)) as tests:
        for mutant in (None, *mutants):
            yield mutant, _first_kill(mutant, tests, options, sources)


def _first_kill(
    mutant: Mutant | None, tests: Warm, options: argparse.Namespace, sources: Path
) -> dict[str, Any]:
    asked = _words(options.oracles)
    verdicts: dict[str, Any] = {}
    if set(asked) & set(SUITES):
        found = tests.first_to_find(mutant)
        suites = [suite for suite in SUITES if not found or found.startswith(f"tests/{suite}")]
        verdicts = {suite: {"test": found, "commit": options.at} for suite in suites or ["unit"]}
    if mutant is not None and "simulation" in asked and not is_killed(verdicts):
        verdicts |= _try(mutant, options, sources, ["simulation"])
    return verdicts


def _verdicts(mutants: Sequence[Mutant], options: argparse.Namespace, sources: Path) -> Verdicts:
    suites = [oracle for oracle in _words(options.oracles) if oracle in SUITES]
    if suites:  # of the simulator, the seeds that kill are run without their mutant
        yield None, _try(None, options, sources, suites)
    attempt = partial(_attempt, options=options, sources=sources)
    with ProcessPoolExecutor(options.jobs, initializer=end_tidily) as pool:
        try:
            yield from zip(mutants, pool.map(attempt, mutants), strict=True)
        except BaseException:
            for worker in multiprocessing.active_children():
                worker.terminate()
            raise


def _attempt(mutant: Mutant, options: argparse.Namespace, sources: Path) -> dict[str, Any]:
    """Try a mutant in a process of the pool; once that is to end, it takes no further one."""
    try:
        return _try(mutant, options, sources)
    except SystemExit:
        os._exit(1)


def _try(
    mutant: Mutant | None,
    options: argparse.Namespace,
    sources: Path,
    oracles: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the verdict of each oracle asked for on a mutant, or on the product as it is."""
    budget = Budget(options.seeds, options.minutes, options.starts)
    verdicts: dict[str, Any] = {}
    with copy_with(mutant, sources) as root:
        for oracle in oracles or _words(options.oracles):
            if oracle == "simulation":
                verdicts[oracle] = simulate(root, budget, sources).fields()
                verdicts[oracle]["budget"] = f"{options.seeds} seeds, {options.minutes:g} minutes"
            else:
                tests = SUITES[oracle] if options.tests == _ALL_TESTS else _words(options.tests)
                verdicts[oracle] = {"test": run_suite(root, tests)}
            verdicts[oracle]["commit"] = options.at
    return verdicts


def _tell(
    mutant: Mutant, verdicts: dict[str, Any], options: argparse.Namespace, *, is_equivalent: bool
) -> None:
    if options.json:
        told = {"name": mutant.name, "equivalent": is_equivalent, **verdicts}
        line = json.dumps(told)
    else:
        found = [
            f"{oracle}: {_in_words(verdicts[oracle])}" for oracle in ORACLES if oracle in verdicts
        ]
        line = f"{mutant.name} {mutant.mistake}\n    {'; '.join(found)}"
        line += " (proved equivalent)" if is_equivalent else ""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _in_words(verdict: dict[str, Any]) -> str:
    if "test" in verdict:
        return verdict["test"] or "survives"
    if not verdict["oracle"]:
        return f"survives {verdict['seeds']} seeds"
    return f"{verdict['oracle']} after {verdict['seeds_to_kill']} seeds"


if __name__ == "__main__":
    sys.exit(main())
