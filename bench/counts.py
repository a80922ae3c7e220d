"""What blocks cost in counts, which no machine changes: measured, and compared with a baseline.

Counts are of all validators together, of real engines without IO (engines.py). What a transaction
costs is what a block of many costs more than a block of one; what a record of a batch costs, what a
transaction of many costs more than one of a single record. The baseline is `counts.json`; after
a change that is meant to cost more, or that saves something, it is written anew, for review:

    python -m bench.counts > bench/counts.json
"""

from __future__ import annotations

import _hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

from bench.engines import EngineNetwork

BASELINE: Final = Path(__file__).with_suffix(".json")
VALIDATORS: Final = (4, 7)
BLOCKS: Final = 3
MANY: Final = 50
"""Transactions of a full block."""
RECORDS: Final = 513
"""Of a transaction that is a batch."""

_DIGITS: Final = 3

Counts = Mapping[str, Mapping[str, Mapping[str, float]]]
"""By number of validators, then per what, then of what."""


def measure() -> Counts:
    """Return the counts of this code."""
    return {f"{validators} validators": _measure(validators) for validators in VALIDATORS}


def regressions(baseline: Counts, measured: Counts) -> list[str]:
    """Return a line for every count that grew, and for what either of the two lacks."""
    return [
        f"{network}, {per}, {name}: {_said(before)} before, {_said(after)} now"
        for network, per, name, before, after in _pairs(baseline, measured)
        if before is None or after is None or after > before
    ]


def savings(baseline: Counts, measured: Counts) -> list[str]:
    """Return a line for every count that fell: worth a new baseline."""
    return [
        f"{network}, {per}, {name}: {_said(before)} before, {_said(after)} now"
        for network, per, name, before, after in _pairs(baseline, measured)
        if before is not None and after is not None and after < before
    ]


def load_baseline() -> Counts:
    """Return what was saved."""
    saved: Counts = json.loads(BASELINE.read_text(encoding="utf-8"))
    return saved


def _measure(validators: int) -> Mapping[str, Mapping[str, float]]:
    one, many = (_count(validators, transactions) for transactions in (1, MANY))
    batch = _count(validators, 1, RECORDS)
    per_transaction = {
        name: round((many[name] - one[name]) / (BLOCKS * (MANY - 1)), _DIGITS) for name in one
    }
    return {
        "per block": {
            name: round(one[name] / BLOCKS - per_transaction[name], _DIGITS) for name in one
        },
        "per transaction": per_transaction,
        "per record of a batch": {
            name: round((batch[name] - one[name]) / (BLOCKS * (RECORDS - 1)), _DIGITS)
            for name in one
        },
    }


def _count(validators: int, transactions: int, records: int = 1) -> dict[str, int]:
    """Return what `BLOCKS` blocks of so many transactions cost, each of so many records."""
    network = EngineNetwork(validators)
    batches = network.sign_batches(BLOCKS, transactions, records=records)
    before = network.counts()
    with _hashes_counted() as hashes:
        network.run(batches)
    after = network.counts()
    return {name: after[name] - before[name] for name in after} | {"hashes": hashes[0]}


@contextmanager
def _hashes_counted() -> Iterator[list[int]]:
    """Yield a count of the digests taken meanwhile, by whatever part; keyed hashes are none."""
    taken = [0]

    def see(_frame: FrameType, event: str, called: Any) -> None:  # noqa: ANN401 - any function
        if event == "c_call" and called.__name__ == "digest":
            taken[0] += isinstance(called.__self__, _hashlib.HASH)

    sys.setprofile(see)
    try:
        yield taken
    finally:
        sys.setprofile(None)


def _pairs(
    baseline: Counts, measured: Counts
) -> Iterator[tuple[str, str, str, float | None, float | None]]:
    flat = [
        {
            (network, per, name): count
            for network, parts in counts.items()
            for per, named in parts.items()
            for name, count in named.items()
        }
        for counts in (baseline, measured)
    ]
    for key in dict.fromkeys([*flat[0], *flat[1]]):
        yield (*key, flat[0].get(key), flat[1].get(key))


def _said(count: float | None) -> str:
    return "nothing" if count is None else f"{count:g}"


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
