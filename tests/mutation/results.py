"""What was measured: results.json, and the tables of README.md that are written from it.

A result is kept with the commit it was measured on and the budget it had, and is replaced when the
mutant is tried again. Nothing enters a table that was not run.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tests.mutation.mutant import Mutant

FOLDER = Path(__file__).parent
FILE = FOLDER / "results.json"
PAGE = FOLDER / "README.md"
_TABLES = "<!-- Below: written by --record -->\n"

Results = dict[str, dict[str, Any]]
"""By mutant: its digest, and the verdicts of the simulation, scenarios and unit tests."""
_SUITES = ("scenario", "unit")
_ORACLES = ("simulation", *_SUITES)
_COLUMNS = (
    "module",
    "made",
    "scenarios",
    "unit tests",
    "simulator",
    "proved equivalent",
    "survive",
    "no verdict yet",
)
"""Of the table of made mutants: how many there are, who kills how many, and what is left."""


def read_results() -> Results:
    """Return what was recorded."""
    results: Results = json.loads(FILE.read_text()) if FILE.exists() else {}
    return results


def record(
    mutants: Sequence[Mutant],
    mutant: Mutant,
    verdicts: Mapping[str, Any],
    equivalent: Container[str],
) -> None:
    """Add verdicts, forget those on mutants that are no more, and write the tables anew."""
    held = read_results()
    known = held.get(mutant.name, {})
    if known.get("digest") != mutant.digest:
        known = {"digest": mutant.digest}
    held[mutant.name] = {**known, **verdicts}
    held = {m.name: held[m.name] for m in mutants if held.get(m.name, {}).get("digest") == m.digest}
    lines = [f"{json.dumps(name)}: {json.dumps(result)}" for name, result in held.items()]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    page = PAGE.read_text()
    head, mark, _ = page.partition(_TABLES)
    if not mark:
        raise LookupError(f"{PAGE.name} does not say where its tables begin")
    PAGE.write_text(f"{head}{mark}\n{tables(mutants, held, equivalent)}")


def is_killed(result: Mapping[str, Any]) -> bool:
    """Whether anything that was run killed a mutant."""
    verdicts = [result[oracle] for oracle in _ORACLES if oracle in result]
    return any(verdict.get("oracle") or verdict.get("test") for verdict in verdicts)


def names_its_tests(result: Mapping[str, Any], sources: Path) -> bool:
    """Whether the tests by which a mutant died are there still: else its verdict is out of date."""
    tests = [result[suite]["test"] for suite in _SUITES if suite in result]
    return all(_is_there(test, sources) for test in tests if test)


def _is_there(test: str, sources: Path) -> bool:
    path, _, name = test.partition("::")
    function = name.partition("[")[0]
    return bool(function) and f"def {function}(" in _text(sources / path)


@cache
def _text(file: Path) -> str:
    return file.read_text() if file.is_file() else ""


def tables(mutants: Sequence[Mutant], results: Results, equivalent: Container[str]) -> str:
    """Return the tables: planted mistakes one by one, made ones by module."""
    planted = [results[m.name] for m in mutants if m.known_from and m.name in results]
    lines = [
        "## Mistakes known from real systems",
        "",
        f"Scenarios and unit tests: on {_all(planted, 'commit', _SUITES)}, each suite by itself.",
        "The simulator: budget (whichever ends first) and commit as each row says.",
        "",
        "| | mistake | known from | simulator: oracle, median seeds | scenario | unit test |",
        "|---|---|---|---|---|---|",
    ]
    for mutant in mutants:
        result = results.get(mutant.name)
        if result is None or not mutant.known_from:
            continue
        source = mutant.known_from + (f" (here: {mutant.instead})" if mutant.instead else "")
        cells = (
            mutant.name,
            mutant.mistake,
            source,
            _simulated(result),
            *(_suite(result, suite) for suite in _SUITES),
        )
        lines.append(f"| {' | '.join(cells)} |")
    generic = [m for m in mutants if not m.known_from]
    if any(mutant.name in results for mutant in generic):
        lines += ["", "## Mutants made by operators", "", *_generic(generic, results, equivalent)]
    return "\n".join(lines) + "\n"


def _generic(mutants: Sequence[Mutant], results: Results, equivalent: Container[str]) -> list[str]:
    """Return the table of modules; who killed a mutant is the first of the columns that did."""
    recorded = [results[m.name] for m in mutants if m.name in results]
    measured = _all(recorded, "commit", _ORACLES)
    lines = [
        f"Measured on {measured}: by which tests they die, the cheapest that do.",
        "",
        f"| {' | '.join(_COLUMNS)} |",
        "|---" * len(_COLUMNS) + "|",
    ]
    unsettled = []
    for module in dict.fromkeys(mutant.edits[0].path for mutant in mutants):
        made = [mutant for mutant in mutants if mutant.edits[0].path == module]
        tried = [mutant for mutant in made if mutant.name in results]
        killers = Counter(_killer(results[mutant.name]) for mutant in tried)
        proved = [mutant for mutant in made if mutant.name in equivalent]
        survivors = [m for m in tried if not _killer(results[m.name]) and m not in proved]
        no_verdict = [m for m in made if m not in tried and m not in proved]
        unsettled += survivors
        counts = (
            len(made),
            *(killers[oracle] for oracle in ("scenario", "unit", "simulation")),
            len(proved),
            len(survivors),
            len(no_verdict),
        )
        lines.append(f"| {module} | {' | '.join(map(str, counts))} |")
    lines += ["", *_by_room(mutants, results, equivalent)]
    if unsettled:
        lines += ["", "Survivors:", "", *(f"- `{m.name}`: {m.mistake}" for m in unsettled)]
    return lines


def _by_room(mutants: Sequence[Mutant], results: Results, equivalent: Container[str]) -> list[str]:
    """Return the table of rooms, and of all: how many are dead or proved, and how many are open."""
    made, killed, proved = Counter[str](), Counter[str](), Counter[str]()
    for mutant in mutants:
        is_killed_here = is_killed(results.get(mutant.name, {}))
        for room in ("/".join(mutant.edits[0].path.split("/")[:2]), "all"):
            made[room] += 1
            killed[room] += is_killed_here
            proved[room] += mutant.name in equivalent
    lines = ["| room | made | killed | proved equivalent | open | settled |", "|---" * 6 + "|"]
    for room in sorted(made, key=lambda room: (room == "all", room)):
        settled = killed[room] + proved[room]
        counts = (made[room], killed[room], proved[room], made[room] - settled)
        share = f"{100 * settled / made[room]:.1f} %"
        lines.append(f"| {room} | {' | '.join(map(str, counts))} | {share} |")
    return lines


def _killer(result: Mapping[str, Any]) -> str:
    """Return the oracle that killed a mutant, the cheapest if several did; empty if none did."""
    if result.get("scenario", {}).get("test"):
        return "scenario"
    if result.get("unit", {}).get("test"):
        return "unit"
    return "simulation" if _oracle(result) else ""


def _all(results: Iterable[Mapping[str, Any]], field: str, oracles: Sequence[str]) -> str:
    found = [
        result[oracle].get(field) for result in results for oracle in oracles if oracle in result
    ]
    return " or ".join(dict.fromkeys(filter(None, found))) or "nothing yet"


def _oracle(result: Mapping[str, Any]) -> str:
    return str(result.get("simulation", {}).get("oracle", ""))


def _simulated(result: Mapping[str, Any]) -> str:
    simulation = result.get("simulation")
    if simulation is None:
        return "not run"
    measured = f"; {simulation['budget']}; {simulation['commit']}"
    if not simulation["oracle"]:
        return f"**survives** {simulation['seeds']} seeds{measured}"
    median = simulation["median_seeds"]
    count = len(simulation["seeds_to_kill"])
    middle = "more than the budget" if median is None else median
    return f"{simulation['oracle']}, {middle} ({count} starts){measured}"


def _suite(result: Mapping[str, Any], suite: str) -> str:
    if suite not in result:
        return "not run"
    test = result[suite]["test"].rpartition("::")[2]
    if suite == "scenario":
        test = test.partition("[")[2].rstrip("]") or test
    return f"`{test}`" if test else "-"
