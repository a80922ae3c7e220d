"""What a record costs on the disk of a node, by part: real ledgers, executed, written, compacted.

    python -m bench.disk [--transactions 20000] [--json]

Counted are the bytes of keys and values of each part, and the files of the database before and
after compaction; what the files have beyond keys and values is the engine's. Bytes are the same on
every machine. Signatures are keyed hashes (keyed_hash.py), which are as long, and shrink as little.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.cores import AGENCY, CREATED_MS, genesis_of
from bench.keyed_hash import KEYED_HASH, signer
from node.assembly.engines import LEVELDB, installed_engines, open_database
from node.chain.certificate import Phase, QuorumCertificate, Subject, Vote, build_certificate
from node.chain.genesis import Genesis
from node.chain.record import Notarization, RecordAction
from node.chain.transaction import (
    TransactionBody,
    TransactionKind,
    VerifiedTransaction,
    sign_transaction,
    verify_transaction,
)
from node.config import StorageConfig
from node.execution.apply import BlockInputs, ExecutedBlock, Executor
from node.storage.kv import KeyValueStore
from node.storage.ledger import LedgerStore
from node.storage.packing import pack
from node.storage.wal import SEGMENT_BYTES_TARGET

VALIDATORS: Final = 4
STEP_MS: Final = 100

PARTS: Final[Mapping[str, str]] = {
    "bodies": "B",
    "headers, certificates": "H",
    "log tiles": "L",
    "state": "SK",
    "index by transaction": "T",
    "index by digest": "dD",
    "index by reference": "rR",
    "other": "!.-ICteca~",
}
"""Families of keys, as node.storage.keys names them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the transactions of a ledger are like."""

    name: str
    block_txs: int
    tx_records: int
    reference_bytes: int = 0
    """Of each record; 0 where none has one."""
    share: float = 1.0
    """Of the transactions asked for, so that every ledger takes about as long to make."""


SHAPES: Final = (
    Shape(name="256 bytes, with a reference", block_txs=100, tx_records=1, reference_bytes=67),
    Shape(name="without", block_txs=100, tx_records=1),
    Shape(
        name="256 bytes, a block each", block_txs=1, tx_records=1, reference_bytes=67, share=0.05
    ),
    Shape(name="of 1,000 records", block_txs=1, tx_records=1_000, share=0.002),
    Shape(name="with references", block_txs=1, tx_records=1_000, reference_bytes=20, share=0.001),
)


def measure(shape: Shape, transactions: int, engine: str) -> dict[str, Any]:
    """Return bytes per record of a ledger of so many transactions, by part and in all."""
    count = max(round(transactions * shape.share), shape.block_txs)
    records = count * shape.tx_records
    with tempfile.TemporaryDirectory(prefix="govchain-bench-disk-") as folder:
        path = Path(folder) / "data"
        storage = StorageConfig(engine=engine)
        with closing(open_database(path, create=True, storage=storage)) as store:
            fill(store, shape, count)
            parts = _parts(store)
            pruned = _pruned_bodies(store)
        written = _bytes_in(path)
        with closing(open_database(path, create=False, storage=storage)) as store:
            store.compact(b"", b"\xff")
        compacted = _bytes_in(path)
    live = sum(parts.values())
    return {
        "shape": shape.name,
        "records": records,
        "parts": {name: round(size / records, 1) for name, size in parts.items()},
        "engine": round((compacted - live) / records, 1),
        "all": round(compacted / records, 1),
        "bodies, once pruned": round(pruned / records, 1),
        "before_compaction": round(written / records, 1),
    }


def fill(store: KeyValueStore, shape: Shape, transactions: int) -> None:
    """Make a ledger in `store` of so many transactions in blocks, as a validator writes it."""
    genesis = genesis_of(VALIDATORS)
    executor = Executor(genesis)
    ledger = LedgerStore.open(store, KEYED_HASH, executor.genesis_block())
    made = _transactions(genesis, shape, transactions)
    for height in range(1, transactions // shape.block_txs + 1):
        inputs = BlockInputs(
            height=height,
            view=0,
            time_ms=CREATED_MS + height * STEP_MS,
            time_degraded=False,
            proposer=0,
        )
        block = [next(made) for _ in range(shape.block_txs)]
        executed = executor.execute(ledger, inputs, block)
        ledger.commit([(executed, _certify(genesis, executed))], sync=False)


def _transactions(genesis: Genesis, shape: Shape, count: int) -> Iterator[VerifiedTransaction]:
    key = signer(AGENCY)
    for number in range(count):
        names = [f"{number:08d}-{each:05d}" for each in range(shape.tx_records)]
        time_ms = CREATED_MS + (number // shape.block_txs + 1) * STEP_MS
        body = TransactionBody(
            chain_id=genesis.chain_id,
            sender=AGENCY,
            nonce=_digest(f"nonce {number}")[:16],
            not_after_ms=time_ms + 300_000 + number % 997,
            kind=TransactionKind.NOTARIZE,
            payload=Notarization(
                digest_algorithm=1,
                type_code="licence",
                action=RecordAction.RECORD,
                digests=b"".join(map(_digest, names)),
                references=_references(shape, names),
            ),
        )
        yield verify_transaction(sign_transaction(body, key, KEYED_HASH), key.public_key)


def _references(shape: Shape, names: list[str]) -> tuple[str, ...] | None:
    """Return a reference for each name, of the length asked for, as `govchain bench` makes them."""
    if not shape.reference_bytes:
        return None
    return tuple(f"{name:0>{shape.reference_bytes}}" for name in names)


def _certify(genesis: Genesis, executed: ExecutedBlock) -> QuorumCertificate:
    validators, header = genesis.validators, executed.header
    subject = Subject(Phase.COMMIT, header.view, header.height, executed.digest)
    votes = []
    for index in range(validators.quorum):
        time_ms = header.time_ms + index
        message = subject.sign_bytes(genesis.chain_id, validators, time_ms)
        signature = signer(validators.validators[index].validator_id).sign(message)
        votes.append(Vote(subject, index, time_ms, signature, 0))
    return build_certificate(votes, validators)


def _parts(store: KeyValueStore) -> dict[str, int]:
    """Return the bytes of keys and values by part; every family of keys belongs to one."""
    part_of = {ord(family): part for part, families in PARTS.items() for family in families}
    sizes = Counter(dict.fromkeys(PARTS, 0))
    for key, value in store.scan(b""):
        sizes[part_of[key[0]]] += len(key) + len(value)
    return dict(sizes)


def _pruned_bodies(store: KeyValueStore) -> int:
    """Return what bodies would take if all blocks were pruned, without their keys."""
    genesis_block = Executor(genesis_of(VALIDATORS)).genesis_block()
    ledger = LedgerStore.open(store, KEYED_HASH, genesis_block)
    blocks = map(ledger.block, range(1, ledger.tip_height + 1))
    return sum(len(pack((block and block.pruned_body()) or b"")) for block in blocks)


def _bytes_in(folder: Path) -> int:
    return sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _print(results: list[dict[str, Any]]) -> None:
    rows = [
        ("records", "records"),
        *((name, name) for name in PARTS),
        ("the engine's", "engine"),
        ("all", "all"),
        ("all, before compaction", "before_compaction"),
        ("bodies, once pruned", "bodies, once pruned"),
    ]
    print("| bytes per record | " + " | ".join(each["shape"] for each in results) + " |")
    print("|---|" + "---:|" * len(results))
    for title, name in rows:
        cells = [each["parts"].get(name, each.get(name)) for each in results]
        print(f"| {title} | " + " | ".join(f"{cell:,}" for cell in cells) + " |")


def main() -> None:
    """Measure every shape and print a table, or JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.disk")
    parser.add_argument("--transactions", type=int, default=20_000)
    parser.add_argument("--engine", choices=installed_engines(), default=LEVELDB)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = [measure(shape, options.transactions, options.engine) for shape in SHAPES]
    if options.json:
        print(json.dumps(results, indent=2))
        return
    _print(results)
    print(f"\nThe log beside it has at most {2 * SEGMENT_BYTES_TARGET:,} bytes, whatever came.")


if __name__ == "__main__":
    main()
