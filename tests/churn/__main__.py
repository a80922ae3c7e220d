"""`python -m tests.churn`: validators killed and paused under load, and nothing lost by it."""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.churn.run import Plan, Report, churn
from tests.commands import above_zero, at_least, end_tidily
from tests.network.local_network import running_network


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; 0 when nothing was lost, no fork seen and no stall, 1 otherwise."""
    options = _parse(arguments)
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    plan = Plan(
        seconds=options.minutes * 60,
        every_s=options.every,
        seed=seed,
        transactions_per_s=options.rate,
    )
    _say(f"seed {seed}")
    end_tidily()
    with tempfile.TemporaryDirectory(prefix="govchain-churn-") as folder:
        with running_network(Path(folder) / "network", options.nodes) as network:
            report = asyncio.run(churn(network, plan, _say))
        if options.logs is not None:
            _keep_logs(Path(folder), options.logs)
    if options.json:
        sys.stdout.write(json.dumps(report.to_json()) + "\n")
    else:
        _show(report)
    return 1 if report.failures() else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.churn", description=__doc__)
    add = parser.add_argument
    add("--minutes", type=above_zero, default=20.0, help="for how long faults are made")
    add("--every", type=above_zero, default=10.0, help="seconds from a fault to the next, at least")
    add("--nodes", type=at_least(4), default=4, help="validators")
    add(
        "--rate",
        type=above_zero,
        default=100.0,
        help="transactions submitted per second, all in all",
    )
    add("--seed", type=int, help="which faults are drawn; told, where it is not given")
    add("--logs", type=Path, help="keep the logs of the validators in this folder")
    add("--json", action="store_true", help="tell the result as one JSON object")
    return parser.parse_args(arguments)


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


def _keep_logs(folder: Path, kept: Path) -> None:
    kept.mkdir(parents=True, exist_ok=True)
    for log in folder.rglob("node.log"):
        (kept / f"{log.parent.name}.log").write_bytes(log.read_bytes())


def _show(report: Report) -> None:
    """Say what came of it to a person."""
    say = sys.stdout.write
    say(
        f"{report.seconds:.0f} s, {report.blocks} blocks, {report.transactions} transactions; "
        f"load average {report.load_average}\n"
        f"acknowledged {report.acknowledged}, receipts verified {report.receipts_verified}, "
        f"without effect {report.without_effect}\n"
        f"longest wait for a block {report.longest_wait['lasted_s']:.2f} s, "
        f"of which this process's own lag at most {report.observer_lag_s} s\n"
    )
    for kind, costs in report.by_kind().items():
        told = ", ".join(
            f"{name} {cost['median']} / {cost['most']}"
            for name, cost in costs.items()
            if name != "count"
        )
        say(f"{kind}: {costs['count']} times; seconds, median / most: {told}\n")
    say("".join(f"FAILED  {failure}\n" for failure in report.failures()) or "PASSED\n")


if __name__ == "__main__":
    sys.exit(main())
