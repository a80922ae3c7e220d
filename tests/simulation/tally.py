"""How many clean seeds stand for the sources as they are: a file that only `--record` writes.

Seeds add up over runs while a digest stays the same, which is of the consensus core, the codecs of
what it decides about and votes with (headers, certificates, epochs, evidence, transactions as
wholes; messages, log records and their frames) and the simulation, but for its tests, with the
costs that its oracle C allows. All else that seeds run is not in it: the rest of node/service,
node/execution, node/storage, and of node/chain the state, the log, admission, compact proofs, and
what a transaction carries (records, references, governance), none of which the core reads. What was
found there since says nothing of the seeds before.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILE = Path(__file__).with_name("clean_seeds.json")
_OF_CHAIN = (
    "block",
    "certificate",
    "encoding",
    "epoch",
    "evidence",
    "genesis",
    "membership",
    "merkle",
    "struct",
    "time_rules",
    "transaction",
    "validation",
)
"""Modules of node/chain that the core or its messages are made of; payloads are not."""
_JUDGED = (
    "node/consensus/*.py",
    *(f"node/chain/{name}.py" for name in _OF_CHAIN),
    "node/service/wire.py",
    "node/service/log_records.py",
    "node/storage/segment.py",
    "tests/simulation/**/*.py",
    "tests/unit/service/block_cost.py",
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
    repeated: dict[str, Ranges] = field(default_factory=dict)
    """Those that were run twice, under different hash seeds, and were the same run."""
    failed: list[str] = field(default_factory=list)
    """SEED/VALIDATORS."""

    def add(self, size: int, seeds: Iterable[int], repeated: Iterable[int] = ()) -> None:
        """Add clean seeds, and those run twice; one that is there already counts once."""
        for held, added in ((self.clean, seeds), (self.repeated, repeated)):
            ranges = held.get(str(size), [])
            if merged := _merged([*ranges, *([seed, seed + 1] for seed in added)]):
                held[str(size)] = merged

    def count(self) -> dict[str, int]:
        """Return how many clean seeds there are, by the number of validators."""
        return _count(self.clean)

    def write(self) -> None:
        """Replace the file, whole: it is never seen half written."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        fields["total"] = self.count()
        fields["total_repeated"] = _count(self.repeated)
        written = FILE.with_name(f"{FILE.name}.{os.getpid()}")
        written.write_text(json.dumps(fields, indent=1) + "\n")
        written.replace(FILE)


@contextmanager
def changed_tally() -> Iterator[Tally]:
    """Hand out the tally and write what has become of it; one process at a time."""
    folder = os.open(FILE.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        tally = read_tally()
        yield tally
        tally.write()
    finally:
        os.close(folder)


def read_tally() -> Tally:
    """Return the tally of the sources as they are: the file's, or a new one if it is of others."""
    digest = source_digest()
    if FILE.exists():
        fields = json.loads(FILE.read_text())
        if fields["digest"] == digest:
            return Tally(**{name: fields[name] for name in Tally.__slots__})
    return Tally(digest)


def judged_sources() -> list[Path]:
    """Return the files on which a seed's verdict rests, but for its tests."""
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
    return hash_of + ("+" if _git("status", "--porcelain", "--", "node", *_JUDGED[-2:]) else "")


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def _count(held: dict[str, Ranges]) -> dict[str, int]:
    return {size: sum(end - first for first, end in ranges) for size, ranges in held.items()}


def _merged(ranges: Iterable[list[int]]) -> Ranges:
    merged: Ranges = []
    for first, end in sorted(ranges):
        if merged and first <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([first, end])
    return merged
