"""`python -m tests.crash`: kill real validators wherever they persist something.

A cell that no validator came to die in is a failure, as is anything found after a death.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from node.assembly.engines import installed_engines
from tests.commands import at_least, end_tidily
from tests.crash.cells import cover, matrix, select, tables
from tests.crash.network import trapped_network
from tests.crash.restarts import restart_all
from tests.crash.trial import Death, Trial, judge_at_rest


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the cells asked for; 0 when each was died in and cost nothing, 1 otherwise."""
    options = _parse(arguments)
    end_tidily()
    if options.restarts:
        return _restart(range(options.start, options.start + options.restarts), options.engines)
    cells = select(cover() if options.cover else matrix(), options.only)
    if not cells:
        sys.stderr.write(f"no cell begins with {options.only}\n")
        return 2
    deaths: list[Death] = []

    def tell(death: Death) -> None:
        deaths.append(death)
        sys.stderr.write(f"{len(deaths):3}/{len(cells)} {_line(death)}\n")

    started_s = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="crash-") as folder,
        trapped_network(Path(folder) / "network", engines=options.engines) as network,
    ):
        trial = Trial(network)
        asyncio.run(trial.run(cells, tell))
        findings = judge_at_rest(network, trial.results)
        signatures = len(network.signatures)
    summary = {
        "revision": _revision(),
        "engines": options.engines,
        "cells": len(cells),
        "killed": sum(death.is_killed for death in deaths),
        "acknowledged": len(trial.results),
        "receipts_verified": trial.receipts,
        "signatures_compared": signatures,
        "findings": [f"{d.cell}: {each}" for d in deaths for each in d.findings] + findings,
        "seconds": round(time.monotonic() - started_s),
    }
    if options.json:
        rows = [_row(death) for death in deaths]
        sys.stdout.write(json.dumps({**summary, "deaths": rows}, indent=1) + "\n")
    else:
        sys.stdout.write(table(deaths) + json.dumps(summary) + "\n")
    return 0 if len(deaths) == len(cells) and not findings and all_sound(deaths) else 1


def _restart(seeds: Iterable[int], engines: Sequence[str]) -> int:
    failed = 0
    for seed in seeds:
        with (
            tempfile.TemporaryDirectory(prefix="crash-") as folder,
            trapped_network(Path(folder) / "network", engines=engines) as network,
        ):
            restarts = asyncio.run(restart_all(network, seed))
            findings = judge_at_rest(network, restarts.results)
        failed += bool(findings)
        sys.stdout.write(f"seed {seed}: {restarts}; findings: {findings}\n")
        sys.stdout.flush()
    return 1 if failed else 0


def all_sound(deaths: Sequence[Death]) -> bool:
    """Whether each cell was died in, and cost nothing."""
    return all(death.is_sound for death in deaths)


def table(deaths: Sequence[Death]) -> str:
    """Return which cells were died in, kinds down and points across; nothing is left out."""
    lines = []
    by_cell = {(death.cell.kind, death.cell.point): death for death in deaths}
    for points, _ in tables():
        kinds = list(dict.fromkeys(d.cell.kind for d in deaths if d.cell.point in points))
        if kinds:
            lines += ["", "".join([f"{'':16}", *(f"{point:17}" for point in points)])]
        for kind in kinds:
            verdicts = [_verdict(by_cell.get((kind, point))) for point in points]
            lines.append("".join([f"{kind:16}", *(f"{verdict:17}" for verdict in verdicts)]))
    return "\n".join([*lines, "", ""])


def _verdict(death: Death | None) -> str:
    if death is None:
        return "-"
    if not death.is_killed:
        return "NOT REACHED"
    return "killed" if death.is_sound else "KILLED, BUT"


def _line(death: Death) -> str:
    text = (
        f"{death.cell!s:32} {death.victim}: {_verdict(death)} after {death.reached_s:.1f} s, "
        f"votes in block {death.certified_at} after {death.back_s:.1f} s, "
        f"{death.receipts} receipts"
    )
    return "; ".join([text, *death.findings])


def _row(death: Death) -> dict[str, object]:
    return {
        "point": death.cell.point,
        "kind": death.cell.kind,
        "victim": death.victim,
        "killed": death.is_killed,
        "reached_s": round(death.reached_s, 1),
        "back_s": round(death.back_s, 1),
        "certified_at": death.certified_at,
        "receipts": death.receipts,
        "findings": death.findings,
    }


def _revision() -> str:
    command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    return said.stdout.strip() or "unknown"


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.crash", description=__doc__)
    add = parser.add_argument
    add("--only", default="", help="POINT,TYPE, or how they begin; either may be left out")
    add(
        "--engines",
        nargs="+",
        choices=installed_engines(),
        default=installed_engines()[:1],
        help="of the four validators, in turn; by default the usual one for all",
    )
    add("--cover", action="store_true", help="each point and each kind, in as few cells as can be")
    add(
        "--restarts",
        type=at_least(1),
        default=0,
        help="so many seeds of all four restarted, instead",
    )
    add("--start", type=at_least(0), default=0, help="the first of these seeds")
    add("--json", action="store_true", help="print one JSON object at the end")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
