"""What govchain would do with any number of validators: counts times what each counted thing costs.

    python -m bench.model --calibrate > COSTS.json        # what things cost here, in a minute
    python -m bench.model --costs COSTS.json              # 4 to 100 validators of 8 cores each
    python -m bench.model --costs COSTS.json --cores 32 --json
    python -m bench.model --costs COSTS.json --shared --cores 2  # all of them on one machine
    python -m bench.model --costs COSTS.json --measured SCALE.json

Counts are formulas in the number of validators and of transactions in a block; `bench_model.py`
holds them against real engines. Costs are CPU time, of the machine that was calibrated
(`calibration.py`). `--measured` compares with what `govchain bench scale --json` found. What is
simple here, and therefore not exact:

- The normal case: no view change, nothing lost, every message in a frame of its own.
- One thread, the event loop, does all that a validator does but the checks of transactions, for
  which there are as many threads as cores are left. So cores beyond a few are of no use.
- What is submitted goes to the primary. Blocks are as large as what came while the one before was
  under way, up to what a primary can execute in the time it has (`node/service/batching.py`).
- Latency is the time that the steps of one block take one after the other. Under load, what takes
  CPU time takes 1 / (1 - load) of it, as where all that is under way shares a processor; waits for
  disks and links are those of an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from node.chain.genesis import Parameters
from node.chain.membership import quorum_size
from node.service.batching import RECORDS_LEAST
from node.service.runner import CHECK_CHUNK, GOSSIP_DELAY_MS

SIZES: Final = (4, 7, 10, 16, 22, 31, 43, 64, 79, 100)
TX_BYTES: Final = 256
BATCH_TXS: Final = 100
"""Transactions that a client submits at once."""
UNDER_WAY: Final = 5
"""Batches that it has under way on a shared machine, as `govchain bench` does."""
LOAD: Final = 0.7
"""Of what is possible: what latency is told for."""

VOTE_BYTES: Final = 117
PROPOSAL_BYTES: Final = 411
HASH_BYTES: Final = 32
"""Of each transaction in a proposal."""
GOSSIP_BYTES: Final = 4
"""Around the transactions of a batch."""
GOSSIP_TX_BYTES: Final = 3
"""Around each of them."""

_CLIENT_CHECKS: Final = 0.25
"""What a transaction costs its client, in signature checks: on a shared machine, that counts."""
_STATUSES_PER_S: Final = 2
"""Each validator tells every other so often where it stands."""
_SYNCS: Final = 4
"""That a block waits for: the proposal's, those of two votes, the ledger's."""
_HOPS: Final = 4
"""That a transaction waits for: gossip or proposal, PREPARE, COMMIT, the answer."""
_ROUNDS: Final = 100
"""Of the search for the size of blocks that fits a rate."""
_US: Final = 1e6
_MS: Final = 1e3


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What things cost: CPU microseconds of one validator where nothing else is said."""

    check_us: float
    """A signature checked by itself."""
    transaction_check_us: float
    """That of a transaction, one of a batch under a key that signs often."""
    sign_us: float
    """A vote signed."""
    transaction_us: float
    """A transaction of one record, but for its check: decoded, held, executed, stored."""
    execution_us: float
    """Of that, what a primary does between stamping a proposal and sending it."""
    message_us: float
    """A vote heard, and the turn it causes, but for its check."""
    block_us: float
    """A block, but for all that is counted: header, certificate, syncs, the batch of the ledger."""
    frame_us: float
    """A frame of one small message, sent and received over TLS: of both ends together."""
    frame_kib_us: float
    """Each KiB more in it."""
    sync_ms: float
    """For how long something waits for a synced write: elapsed time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What a block makes all validators do together."""

    messages: int
    """Votes, proposals, gossip: each to n - 1."""
    message_bytes: int
    votes_sent: int
    votes_signed: int
    votes_checked: int
    transactions_checked: int
    log_syncs: int
    ledger_syncs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where validators run."""

    cores: int
    """Of each machine."""
    shared: bool = False
    """Whether all of them, and the client, are on one machine."""
    hop_ms: float = 0.5
    """One way between two of them."""
    link_mbit_per_s: float = 1_000.0
    """What each of them can send."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What so many validators do."""

    validators: int
    transactions_per_s: float
    transactions_per_block: int
    blocks_per_s: float
    idle_ms: float
    """Submit to final, of one transaction on an idle chain."""
    latency_ms: float
    """The same at `LOAD` of the throughput."""
    cpu_us_per_transaction: float
    """Of each validator."""
    cpu_ms_per_block: float
    """Of each validator."""
    mbit_per_s: float
    """That the primary sends."""
    bound: str
    """What is used up: the event loop, the cores, or the link of the primary."""
    counts: Counts


def count(validators: int, transactions: int, *, batches: int = 1) -> Counts:
    """Return the counts of a block of transactions that came to its primary in so many batches.

    Two votes of everybody to all others (OSDI'99 section 4.2), the PREPARE of the primary in its
    proposal; checks stop at a quorum with one's own vote. A sync of the log for each vote.
    """
    others = validators - 1
    votes = 2 * validators * others
    proposal = PROPOSAL_BYTES + HASH_BYTES * transactions
    gossip = GOSSIP_BYTES * batches + (GOSSIP_TX_BYTES + TX_BYTES) * transactions
    return Counts(
        messages=votes + others * batches,
        message_bytes=(votes - others) * VOTE_BYTES + others * (proposal + gossip),
        votes_sent=votes,
        votes_signed=2 * validators,
        votes_checked=2 * validators * (quorum_size(validators) - 1),
        transactions_checked=validators * transactions,
        log_syncs=2 * validators,
        ledger_syncs=validators,
    )


def block_us(costs: Costs, validators: int, transactions: int) -> float:
    """Return the CPU time that a block costs each validator, on the average of all."""
    counts = count(validators, transactions, batches=-(-transactions // BATCH_TXS))
    all_us = (
        validators * costs.block_us
        + counts.transactions_checked * (costs.transaction_check_us + costs.transaction_us)
        + counts.votes_signed * costs.sign_us
        + counts.votes_checked * costs.check_us
        + counts.messages * (costs.message_us + costs.frame_us)
        + counts.message_bytes / 1_024 * costs.frame_kib_us
    )
    return all_us / validators


def beside_us_per_s(costs: Costs, validators: int) -> float:
    """Return what each second costs each validator, whatever is decided in it."""
    return _STATUSES_PER_S * (validators - 1) * (costs.message_us + costs.frame_us)


def predict(costs: Costs, validators: int, setting: Setting) -> Prediction:
    """Return what so many validators would do there."""
    most = _most_per_block(costs, setting)
    possible = {
        name: transactions * (1 - used)
        for name, transactions, used in _bounds(costs, validators, most, setting)
    }
    bound = min(possible, key=lambda name: possible[name])
    per_s = max(possible[bound], 0.0)
    spent_us = block_us(costs, validators, most)
    counts = count(validators, most, batches=-(-most // BATCH_TXS))
    blocks_per_s = per_s / most
    idle_ms = block_ms(costs, validators, 1, setting)
    return Prediction(
        validators=validators,
        transactions_per_s=round(per_s, 1),
        transactions_per_block=most,
        blocks_per_s=round(blocks_per_s, 2),
        idle_ms=round(idle_ms, 1),
        latency_ms=round(_latency_ms(costs, validators, LOAD * per_s, most, setting), 1),
        cpu_us_per_transaction=round(spent_us / most, 1),
        cpu_ms_per_block=round(spent_us / _MS, 2),
        mbit_per_s=round(_primary_bytes(validators, most) * blocks_per_s * 8 / _US, 1),
        bound=bound,
        counts=counts,
    )


def block_ms(
    costs: Costs, validators: int, transactions: int, setting: Setting, *, load: float = 0.0
) -> float:
    """Return how long a block takes, from submission until its client knows.

    `load` is the share of time in which whoever works has something else to do, too.
    """
    work_us = block_us(costs, validators, transactions)
    checks_us = transactions * costs.transaction_check_us
    if setting.shared:  # all that all do, by all cores
        cpu_us = validators * work_us / min(setting.cores, validators)
    else:  # the primary executes, then each replica, whose threads have checked before
        threads = min(max(setting.cores - 1, 1), -(-transactions // CHECK_CHUNK))
        cpu_us = work_us - checks_us + checks_us / threads + transactions * costs.execution_us
    waits_ms = _SYNCS * costs.sync_ms + _HOPS * setting.hop_ms + GOSSIP_DELAY_MS
    return cpu_us / _MS / (1 - load) + waits_ms


def _bounds(
    costs: Costs, validators: int, transactions: int, setting: Setting
) -> list[tuple[str, float, float]]:
    """Return of each bound its name, transactions per second, and the share that goes elsewhere."""
    work_us = block_us(costs, validators, transactions)
    checks_us = transactions * costs.transaction_check_us
    beside = beside_us_per_s(costs, validators) / _US
    if setting.shared:
        client_us = transactions * _CLIENT_CHECKS * costs.check_us
        whole_us = (validators * work_us + client_us) / setting.cores
        return [("cores", transactions * _US / whole_us, validators * beside / setting.cores)]
    sent_bytes = _primary_bytes(validators, transactions)
    sent_us = sent_bytes / 1_024 * costs.frame_kib_us
    loop_us = work_us - checks_us + sent_us * (1 / 2 - 1 / validators)  # it sends, others receive
    return [
        ("loop", transactions * _US / loop_us, beside),
        ("cores", transactions * _US * setting.cores / (loop_us + checks_us), beside),
        ("link", setting.link_mbit_per_s * _US / 8 / sent_bytes * transactions, 0.0),
    ]


def _primary_bytes(validators: int, transactions: int) -> int:
    """Return the bytes of transactions that a primary sends for a block."""
    each = TX_BYTES + GOSSIP_TX_BYTES + HASH_BYTES
    return (validators - 1) * (transactions * each + PROPOSAL_BYTES + VOTE_BYTES)


def _most_per_block(costs: Costs, setting: Setting) -> int:
    """Return how many transactions a block holds where any number waits."""
    if setting.shared:
        return min(RECORDS_LEAST, UNDER_WAY * BATCH_TXS // Parameters().window_slots)
    in_time_us = (Parameters().message_delay_ms / 4 - costs.sync_ms) * _MS
    most = min(Parameters().block_txs_max, Parameters().block_bytes_max // TX_BYTES)
    return max(min(int(in_time_us / costs.execution_us), most), RECORDS_LEAST)


def _latency_ms(
    costs: Costs, validators: int, rate_per_s: float, most: int, setting: Setting
) -> float:
    """Return submit to final at `LOAD`: a block of what came while the one before was under way."""
    transactions = 1
    for _ in range(_ROUNDS):
        took_ms = block_ms(costs, validators, transactions, setting)
        came = rate_per_s * took_ms / _MS / Parameters().window_slots
        transactions = max(1, min(round((transactions + came) / 2), most))
    return block_ms(costs, validators, transactions, setting, load=LOAD)


def compare(costs: Costs, case: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a case of `govchain bench` took of each validator's CPU, and what costs say.

    Of blocks as large as they were there; without figures where nothing became final.
    """
    validators, load = case["settings"]["validators"], case["load"]
    each = load["cpu_us_per_transaction"]
    spent = [us for name, us in each.items() if not name.startswith("client")]
    found: dict[str, Any] = {"case": case["name"], "is_quiet": load["is_quiet"]}
    if None in spent or not load["transactions_per_block"]:
        return found
    transactions = load["transactions_per_block"]
    measured_us = sum(spent) / len(spent)
    beside_us = beside_us_per_s(costs, validators) / load["transactions_per_s"]
    predicted_us = block_us(costs, validators, round(transactions)) / transactions + beside_us
    return {
        **found,
        "transactions_per_block": transactions,
        "cpu_us_per_transaction": {
            "measured": round(measured_us, 1),
            "predicted": round(predicted_us, 1),
        },
        "cpu_ms_per_block": {
            "measured": round(measured_us * transactions / _MS, 2),
            "predicted": round(predicted_us * transactions / _MS, 2),
        },
        "error_percent": round(100 * (predicted_us / measured_us - 1), 1),
    }


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(map(_at_least_one, text.split(",")))


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.model")
    parser.add_argument("--calibrate", action="store_true", help="measure what things cost here")
    given = argparse.FileType("rb")
    parser.add_argument("--costs", type=given, help="what --calibrate printed; else it is done now")
    parser.add_argument("--n", type=_sizes, default=SIZES, help="validators: 4,7,10")
    parser.add_argument("--cores", type=_at_least_one, default=8, help="of each machine")
    parser.add_argument("--shared", action="store_true", help="all of them on one machine")
    parser.add_argument("--measured", type=given, help="what `govchain bench scale --json` printed")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.costs is None:
        from bench.calibration import calibrate  # noqa: PLC0415 - its processes import this module

        costs = calibrate(len(os.sched_getaffinity(0)))
    else:
        costs = Costs(**json.load(args.costs)["costs"])
    told: dict[str, Any] = {"costs": asdict(costs)}
    if args.measured is not None:
        result = json.load(args.measured)
        told["cases"] = [compare(costs, case) for case in result["cases"]]
    elif not args.calibrate:
        setting = Setting(cores=args.cores, shared=args.shared)
        found = [predict(costs, validators, setting) for validators in args.n]
        told |= {"setting": asdict(setting), "predictions": [asdict(each) for each in found]}
    if args.json or args.calibrate:
        print(json.dumps(told, indent=2))
    else:
        _print(told.get("cases") or told["predictions"])


def _print(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print what the rows tell, the numbers among it, as a table."""
    flat = [
        {
            f"{name} {inner}".strip(): said
            for name, value in row.items()
            for inner, said in (value if isinstance(value, Mapping) else {"": value}).items()
        }
        for row in rows
    ]
    names = list(dict.fromkeys(name for row in flat for name in row))
    width = max(map(len, names))
    for name in names:
        print(f"{name:<{width}}", *(f"{row.get(name, '-')!s:>9}" for row in flat))


if __name__ == "__main__":
    _main()
