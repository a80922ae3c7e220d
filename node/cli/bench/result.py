"""What a round found: one shape for all rounds, as JSON, and two of them compared.

A result has cases: things measured several times each, such as a number of validators or a size of
batches. The figures of a case are the medians of its runs; the runs follow, every second of them.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

SCHEMA: Final = 1
_DIGITS: Final = 4
_UNLIKE: Final = "not what a round of `govchain bench` prints"
_APART: Final = ("seconds",)
"""Members of a run that have no median."""


class NotAResultError(ValueError):
    """A file holds something else than the result of a round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing that was measured."""

    name: str
    """Unique in its result."""
    settings: Mapping[str, Any]
    load: Mapping[str, Any]
    """Medians over the runs measured quietly, over all where none was: `is_quiet` tells."""
    runs: Sequence[Mapping[str, Any]]
    """What `figures.summarise` returned for each, and what the round adds."""
    figures: Mapping[str, Any]
    """What the round found besides: on the idle chain, of the disk, of the dead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one round found."""

    round: str
    machine: Mapping[str, Any]
    """Hardware, versions and commit: `machine.describe_machine`."""
    settings: Mapping[str, Any]
    """The seed among them."""
    cases: Sequence[Case]

    def to_json(self) -> dict[str, Any]:
        """Return the members of its JSON object."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Return what `--json` printed; raises `NotAResultError`."""
        try:
            given = json.loads(text)
            if given["schema"] != SCHEMA:
                raise NotAResultError(f"schema: expected {SCHEMA}, got {given['schema']!r}")
            cases = [
                Case(**{name: each[name] for name in Case.__dataclass_fields__})
                for each in given["cases"]
            ]
            rest = {name: given[name] for name in ("round", "machine", "settings")}
            json.dumps(given, ensure_ascii=False, allow_nan=False).encode()  # it can be written
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            if isinstance(error, NotAResultError):
                raise
            raise NotAResultError(_UNLIKE) from error
        result = cls(**rest, cases=cases)
        if not _is_shaped(result):
            raise NotAResultError(_UNLIKE)
        return result


def _is_shaped(result: Result) -> bool:
    """Tell whether parts read from a file are of the types that they are to be."""
    objects: list[object] = [result.machine, result.settings]
    for case in result.cases:
        if not isinstance(case.runs, list):
            return False
        objects += [case.settings, case.load, case.figures, *case.runs]
    texts: list[object] = [result.round, *(case.name for case in result.cases)]
    return (
        all(isinstance(each, dict) for each in objects)
        and all(isinstance(each, str) for each in texts)
        and len({*texts[1:]}) == len(result.cases)
    )


def make_case(
    name: str,
    settings: Mapping[str, Any],
    runs: Sequence[Mapping[str, Any]],
    figures: Mapping[str, Any] | None = None,
) -> Case:
    """Return a case with the medians of its runs, one at least."""
    quiet = [run for run in runs if run["is_quiet"]]
    load = {**medians(quiet or runs), "is_quiet": bool(quiet), "runs_counted": len(quiet or runs)}
    return Case(name=name, settings=settings, load=load, runs=runs, figures=figures or {})


def medians(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the median of each number, whatever it lies in; of failures and view changes the sum.

    Where a run has none (null), those of the others count.
    """
    found: dict[str, Any] = {}
    for name in dict.fromkeys(name for run in runs for name in run):
        values = [run[name] for run in runs if run.get(name) is not None]
        if name in _APART:
            continue
        if not values:
            found[name] = None
        elif name == "failures":
            kinds = dict.fromkeys(kind for value in values for kind in value)
            found[name] = {kind: sum(value.get(kind, 0) for value in values) for kind in kinds}
        elif name == "view_changes":
            found[name] = sum(values)
        elif isinstance(values[0], Mapping):
            found[name] = medians(values)
        elif isinstance(values[0], int | float):
            found[name] = round(statistics.median(values), _DIGITS)
    return found


@dataclass(frozen=True, slots=True)
class Ratio:
    """One figure in two results."""

    case: str
    figure: str
    """Its path, such as `latency.p50_ms`."""
    before: float
    after: float

    @property
    def ratio(self) -> float | None:
        """Return the later one over the earlier one; null where that is zero."""
        return round(self.after / self.before, 3) if self.before else None


def compare(before: Result, after: Result) -> list[Ratio]:
    """Return every number that both results have of a case of the same name."""
    earlier = {case.name: case for case in before.cases}
    return [
        Ratio(case.name, path, known[path], value)
        for case in after.cases
        if case.name in earlier
        for known in [_numbers(earlier[case.name])]
        for path, value in _numbers(case).items()
        if path in known
    ]


def differences(before: Result, after: Result) -> list[str]:
    """Return the settings and facts of the machine that differ, for ratios tell of those, too.

    What a commit changes (its name, versions) is left out, and so is the load of the moment.
    """
    found = ["round"] if before.round != after.round else []
    for where, names in (
        ("machine", ("cpu", "cores", "memory_gib", "file_system", "python")),
        ("settings", dict.fromkeys([*before.settings, *after.settings])),
    ):
        ours, theirs = getattr(before, where), getattr(after, where)
        found += [f"{where}.{name}" for name in names if ours.get(name) != theirs.get(name)]
    earlier = {case.name: case.settings for case in before.cases}
    return found + [
        f"{case.name}.{name}"
        for case in after.cases
        if (known := earlier.get(case.name)) is not None
        for name in dict.fromkeys([*known, *case.settings])
        if known.get(name) != case.settings.get(name)
    ]


def _numbers(case: Case) -> dict[str, float]:
    """Return the numbers among the figures of a case, by their paths."""
    numbers: dict[str, float] = {}

    def visit(path: str, value: Any) -> None:  # noqa: ANN401 - JSON
        if isinstance(value, Mapping):
            for name, inner in value.items():
                visit(f"{path}.{name}" if path else str(name), inner)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            numbers[path] = value

    visit("", case.load)
    visit("", case.figures)
    return numbers
