"""`python -m tests.fuzz`: search for bytes that a decoder takes badly.

Each target runs by itself, in a process of its own with bounds on time and memory, guided by what
of the product an input reaches. A find is kept beside the corpora and ends the command with 1. What
a run adds to a corpus is reduced and kept: the next one goes on from there.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tests.commands import above_zero, at_least, end_tidily
from tests.fuzz import corpora
from tests.fuzz.targets import TARGETS

FOUND: Final = Path(__file__).with_name("found")
"""Where inputs lie that a target took badly, until a test holds them."""
SECONDS_EACH_MAX: Final = 10
"""What one input may take; the instrumented product is some ten times slower than it is."""
MEGABYTES_MAX: Final = 1_024
_STATISTIC: Final = re.compile(r"stat::(\w+):\s+(\d+)")
_MERGE_MINUTES_MAX: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one target."""

    target: str
    seconds: int
    inputs_tried: int
    corpus_inputs: int
    peak_megabytes: int
    finds: list[str]


def main() -> int:
    """Run what was asked for; 1 if anything was found."""
    options = _options()
    end_tidily()
    if options.replay is not None:
        return _replay(options.names, options.replay)
    with ThreadPoolExecutor(options.jobs) as pool:
        outcomes = []
        for outcome in pool.map(lambda name: _search(name, options.minutes), options.names):
            outcomes.append(outcome)
            if not options.json:
                _say(_told(outcome))
    if options.json:
        _say(json.dumps([asdict(outcome) for outcome in outcomes], indent=1))
    return int(any(outcome.finds for outcome in outcomes))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.fuzz", description=__doc__)
    parser.add_argument("--only", default="", help="targets whose name this expression matches")
    parser.add_argument("--minutes", type=above_zero, default=30, help="for each target (30)")
    parser.add_argument("--jobs", type=at_least(1), default=os.cpu_count(), help="targets at once")
    parser.add_argument("--list", action="store_true", help="name the targets, and end")
    parser.add_argument("--replay", type=Path, help="hand this file to the targets, and end")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.names = [name for name in TARGETS if re.search(options.only, name)]
    if not options.names:
        parser.error(f"no target matches {options.only}: see --list")
    if options.list:
        _say("\n".join(options.names))
        sys.exit()
    return options


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _told(outcome: Outcome) -> str:
    verdict = "; ".join(outcome.finds) or "nothing found"
    return (
        f"{outcome.target}: {outcome.inputs_tried} inputs in {outcome.seconds} s, "
        f"{outcome.corpus_inputs} kept, {outcome.peak_megabytes} MB at most: {verdict}"
    )


def _replay(names: Sequence[str], file: Path) -> int:
    data = file.read_bytes()
    for name in names:
        _say(f"{name}: {'taken' if TARGETS[name].attempt(data) else 'refused'}")
    return 0


def _search(name: str, minutes: float) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="govchain-fuzz-") as temporary:
        corpus, merged, finds = (Path(temporary, part) for part in ("corpus", "merged", "finds"))
        for folder in (merged, finds):
            folder.mkdir()
        corpora.unpack([*corpora.read(name), *TARGETS[name].examples], corpus)
        seconds = max(1, round(minutes * 60))
        told = _guided(
            name,
            [corpus],
            f"-max_total_time={seconds}",
            f"-artifact_prefix={finds}/",
            f"-timeout={SECONDS_EACH_MAX}",
            f"-rss_limit_mb={MEGABYTES_MAX}",
            f"-max_len={corpora.INPUT_BYTES_MAX}",
            "-print_final_stats=1",
            limit_s=seconds + 60 * _MERGE_MINUTES_MAX,
        )
        found = [_keep(name, find) for find in sorted(finds.iterdir())]
        numbers = {key: int(value) for key, value in _STATISTIC.findall(told)}
        if not found and "number_of_executed_units" not in numbers:
            raise RuntimeError(f"{name}: the fuzzer ended without a result:\n{told[-2_000:]}")
        if not found:  # the fuzzer ends at each find, and would begin to reduce anew
            _guided(name, [merged, corpus], "-merge=1", limit_s=60 * _MERGE_MINUTES_MAX)
            corpora.pack(name, merged)
        return Outcome(
            target=name,
            seconds=seconds,
            inputs_tried=numbers.get("number_of_executed_units", 0),
            corpus_inputs=len(corpora.read(name)),
            peak_megabytes=numbers.get("peak_rss_mb", 0),
            finds=found,
        )


def _guided(name: str, folders: Sequence[Path], *options: str, limit_s: float) -> str:
    """Return what libFuzzer printed; a find ends it with another status than 0."""
    command = [sys.executable, "-m", "tests.fuzz.guided", name, *map(str, folders), *options]
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", timeout=limit_s, check=False
    )
    return done.stdout + done.stderr


def _keep(name: str, find: Path) -> str:
    """Keep an input that was taken badly; return where, and why."""
    kept = FOUND / f"{corpora.file_of(name).stem}-{find.name}"
    FOUND.mkdir(exist_ok=True)
    kept.write_bytes(find.read_bytes())
    try:
        TARGETS[name].attempt(kept.read_bytes())
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        return f"{kept}: {type(error).__name__}: {error}"
    return f"{kept}: too slow, or too much memory"


if __name__ == "__main__":
    sys.exit(main())
