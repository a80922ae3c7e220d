"""How many clean seeds stand for the sources as they are: a file that only `--record` writes.

Seeds add up over runs while the digest of what they judge stays the same: the consensus core, the
codecs (chain, messages, log records and their frames) and the simulation itself, but for its tests.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILE = Path(__file__).with_name("clean_seeds.json")
_JUDGED = (
    "node/consensus/*.py",
    "node/chain/*.py",
    "node/service/wire.py",
    "node/service/log_records.py",
    "node/storage/segment.py",
    "tests/simulation/**/*.py",
)

Ranges = list[list[int]]
"""Disjoint [first, past the last], ascending."""


@dataclass(slots=True)
class Tally:
    """What was run on one state of the sources."""

    digest: str
    commits: list[str] = field(default_factory=list)
    """Revisions on which it was run, a `+` where the sources had changes on top."""
    clean: dict[str, Ranges] = field(default_factory=dict)
    """By the number of validators, the seeds that no oracle objected to."""
    repeated: int = 0
    """How many were run twice, under different hash seeds, and were the same run."""
    failed: list[str] = field(default_factory=list)
    """SEED/VALIDATORS."""

    def add(self, size: int, seeds: Iterable[int]) -> None:
        """Add clean seeds; one that is there already counts once."""
        ranges = self.clean.get(str(size), [])
        self.clean[str(size)] = _merged([*ranges, *([seed, seed + 1] for seed in seeds)])

    def count(self) -> dict[str, int]:
        """Return how many clean seeds there are, by the number of validators."""
        return {size: sum(b - a for a, b in ranges) for size, ranges in self.clean.items()}

    def write(self) -> None:
        """Replace the file."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        fields["total"] = self.count()
        FILE.write_text(json.dumps(fields, indent=1) + "\n")


def read_tally() -> Tally:
    """Return the tally of the sources as they are: the file's, or a new one if it is of others."""
    digest = source_digest()
    if FILE.exists():
        fields = json.loads(FILE.read_text())
        del fields["total"]
        if fields["digest"] == digest:
            return Tally(**fields)
    return Tally(digest)


def judged_sources() -> list[Path]:
    """Return the files on which a seed's verdict rests: tests of the simulation change none."""
    found = [path for pattern in _JUDGED for path in sorted(ROOT.glob(pattern))]
    return [path for path in found if not path.name.startswith("test_")]


def source_digest() -> str:
    """Return a digest of everything a clean seed vouches for, or is judged by."""
    digest = hashlib.sha256()
    for path in judged_sources():
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def revision() -> str:
    """Return the commit the sources are at, with a `+` if they differ from it."""
    hash_of = _git("rev-parse", "--short=12", "HEAD")
    return hash_of + (
        "+" if _git("status", "--porcelain", "--", "node", "tests/simulation") else ""
    )


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def _merged(ranges: Iterable[list[int]]) -> Ranges:
    merged: Ranges = []
    for first, end in sorted(ranges):
        if merged and first <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([first, end])
    return merged
