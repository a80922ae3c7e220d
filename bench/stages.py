"""Where the CPU time of a transaction goes on a validator, by stage, between gate and ledger.

    python -m bench.stages [--transactions 250] [--blocks 24] [--validators 4] [--kernels]

Real engines with real signatures and databases in one thread, without network, threads and logs'
files: what those add is the difference to `govchain bench saturate`. A stage has the time in its
functions less that in those of other stages; of all blocks, the lower quartile. Times are of the
machine: compare what is told in checks. A check is that of one signature by itself, in the same
run; a validator has many checked at once, under a key that signs often, which takes less (ADR 28).
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

from bench import engines
from bench.cores import AGENCY
from bench.engines import EngineNetwork
from bench.keyed_hash import signer
from node.assembly.engines import open_database
from node.chain.state_columns import load_kernels
from node.chain.state_tree import StateMap
from node.consensus.core import Core
from node.crypto.suite import INTERNATIONAL
from node.execution.apply import Executor
from node.service import reception
from node.service.admission import Gate
from node.service.ballots import Ballots
from node.service.engine import Engine
from node.service.gossip import Gossip
from node.service.mempool import Mempool
from node.service.reception import Reception
from node.service.runner import GC_THRESHOLDS
from node.service.staged import StagedLedger
from node.service.undecided import Undecided
from node.storage.leveldb import LevelDBStore

CHECK: Final = "a check by itself"
STAGES: Final[Sequence[tuple[Any, str, str]]] = (
    (engines, "check_signatures", "signature checks"),
    (Gate, "screen", "screening: decoding, identity, lifetime"),
    (Engine, "admit", "into the pool"),
    (Mempool, "take", "proposal: choice"),
    (Mempool, "pin", "proposal: pins"),
    (Undecided, "became_final", "out of the pool"),
    (Executor, "execute", "execution: rules, leaves, log"),
    (Executor, "_header", "execution: roots of transactions and results"),
    (StateMap, "update", "execution: state tree"),
    (StagedLedger, "write", "ledger: entries"),
    (LevelDBStore, "write", "ledger: database"),
    (Ballots, "write", "log records"),
    (Ballots, "_vote", "votes: signing"),
    (Reception, "_verify", "votes: checks"),
    (Core, "step", "consensus core"),
    (reception, "decode_message", "messages: decoding"),
    (Gossip, "flush", "messages: gossip"),
    (Engine, "receive", "turns"),
    (Engine, "durable", "turns"),
    (Engine, "drain", "turns"),
)
"""What is timed: where a function is found, its name, its stage."""
REST: Final = "rest, this program included"

_WARM_UP_BLOCKS: Final = 3
_QUARTILES: Final = 4
_CHECKS_TIMED: Final = 100

P = ParamSpec("P")
T = TypeVar("T")


class Stopwatch:
    """CPU time of this thread by stage; one within another counts for the inner one."""

    def __init__(self) -> None:
        self.spent_s: defaultdict[str, float] = defaultdict(float)
        self._stages = [REST]
        self._since_s = time.thread_time()

    def lap(self) -> dict[str, float]:
        """Return and forget what was spent since the last call, seconds by stage."""
        self._switch()
        spent = dict(self.spent_s)
        self.spent_s.clear()
        return spent

    def timed(self, function: Callable[P, T], stage: str) -> Callable[P, T]:
        """Return the function with its time told as that of `stage`."""

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            self._switch()
            self._stages.append(stage)
            try:
                return function(*args, **kwargs)
            finally:
                self._switch()
                self._stages.pop()

        return call

    def _switch(self) -> None:
        now_s = time.thread_time()
        self.spent_s[self._stages[-1]] += now_s - self._since_s
        self._since_s = now_s


@contextmanager
def all_stages_timed(watch: Stopwatch) -> Iterator[None]:
    """Have every stage timed meanwhile."""
    with ExitStack() as stack:
        for owner, name, stage in STAGES:
            function = getattr(owner, name)
            stack.callback(setattr, owner, name, owner.__dict__[name])
            setattr(owner, name, watch.timed(function, stage))
        yield


def measure(validators: int, blocks: int, block_txs: int) -> dict[str, float]:
    """Return microseconds of CPU time per transaction and validator, by stage, and of a check."""
    with tempfile.TemporaryDirectory(prefix="govchain-stages-") as folder, ExitStack() as stack:
        stores = [
            stack.enter_context(closing(open_database(Path(folder) / str(number), create=True)))
            for number in range(validators)
        ]
        network = EngineNetwork(validators, suite=INTERNATIONAL, stores=stores)
        batches = network.sign_batches(_WARM_UP_BLOCKS + blocks, block_txs, references=True)
        network.run(batches[:_WARM_UP_BLOCKS])
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        watch, laps, checks_s = Stopwatch(), [], []
        with all_stages_timed(watch):
            for batch in batches[_WARM_UP_BLOCKS:]:
                watch.lap()
                network.run([batch])
                laps.append(watch.lap())
                checks_s.append(_time_check())
    stages = dict.fromkeys([stage for _, _, stage in STAGES] + [REST])
    scale = 1e6 / (block_txs * validators)
    return {CHECK: _lower_quartile(checks_s) * 1e6} | {
        stage: _lower_quartile([lap.get(stage, 0.0) for lap in laps]) * scale for stage in stages
    }


def _time_check() -> float:
    """Return the CPU time (s) of a check by itself."""
    owner = signer(AGENCY, INTERNATIONAL)
    key, signature = owner.public_key, owner.sign(b"a message")
    began_s = time.thread_time()
    for _ in range(_CHECKS_TIMED):
        key.verify(b"a message", signature)
    return (time.thread_time() - began_s) / _CHECKS_TIMED


def _lower_quartile(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=_QUARTILES)[0]


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.stages")
    parser.add_argument("--transactions", type=int, default=250, help="per block")
    parser.add_argument("--blocks", type=int, default=24)
    parser.add_argument("--validators", type=int, default=4)
    parser.add_argument("--kernels", action="store_true", help="hash and update by kernels")
    args = parser.parse_args()
    if args.kernels and not (load_kernels(INTERNATIONAL)):
        parser.error("kernels are not installed (extra [kernels]), or nowhere to be kept")
    spent_us = measure(args.validators, args.blocks, args.transactions)
    check_us = spent_us.pop(CHECK)
    rows = [(CHECK, check_us), *spent_us.items(), ("all", sum(spent_us.values()))]
    print(f"{'us per transaction and validator':<48}{'us':>8}{'checks':>9}")
    for stage, us in rows:
        print(f"{stage:<48}{us:>8.2f}{us / check_us:>9.3f}")


if __name__ == "__main__":
    _main()
