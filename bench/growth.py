"""What a transaction costs one validator as its ledger grows: CPU time, and bytes for the disk.

    python -m bench.growth [--transactions 25000] [--parts 8] [--engine leveldb]
        [--write-buffer-mib 32] [--folder FOLDER]

One engine on a real database, with keyed hashes for signatures and a record with a reference in
each transaction, in blocks of 250. The main thread does all that a validator does between gate and
ledger; the other threads are the database's own, which merge its tables. Bytes put are the keys and
values that the ledger hands over, bytes written what the database gives the operating system.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final, Self

from bench.engines import EngineNetwork
from node.assembly.engines import LEVELDB, open_database
from node.config import StorageConfig
from node.service.runner import GC_THRESHOLDS
from node.storage.kv import KeyValueStore, KeyValueView, WriteBatch

BLOCK_TXS: Final = 250
_IO: Final = Path("/proc/self/io")  # Linux has it
_WRITTEN: Final = "wchar: "
_HEADS: Final = ("transactions", "main us", "others us", "written", "put", "puts", "gets")
_ROW: Final = "{:>13,}{:>10.1f}{:>11.1f}{:>10,.0f}{:>8,.0f}{:>7.1f}{:>7.1f}"


class MeteredStore:
    """A database that counts what it is asked for."""

    def __init__(self, store: KeyValueStore) -> None:
        self._store = store
        self.puts = self.put_bytes = self.gets = 0

    def get(self, key: bytes) -> bytes | None:
        self.gets += 1
        return self._store.get(key)

    def scan(
        self, prefix: bytes, *, start: bytes = b"", reverse: bool = False, limit: int | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        return self._store.scan(prefix, start=start, reverse=reverse, limit=limit)

    def view(self) -> KeyValueView:
        return self._store.view()

    def write(self, batch: WriteBatch, *, sync: bool) -> None:
        for key, value in batch.changes():
            self.puts += 1
            self.put_bytes += len(key) + len(value or b"")
        self._store.write(batch, sync=sync)

    def compact(self, start: bytes, end: bytes) -> None:
        self._store.compact(start, end)

    def close(self) -> None:
        self._store.close()


@dataclass(frozen=True, slots=True)
class Meters:
    """What was spent up to a moment, or between two."""

    main_us: float
    others_us: float
    written_bytes: float
    put_bytes: float
    puts: float
    gets: float

    @classmethod
    def read(cls, store: MeteredStore) -> Self:
        """Return what was spent so far, by the thread that asks and by all others."""
        main_s = time.thread_time()
        return cls(
            main_s * 1e6,
            (time.process_time() - main_s) * 1e6,
            _written_bytes(),
            store.put_bytes,
            store.puts,
            store.gets,
        )

    def since(self, before: Self, transactions: int) -> tuple[float, ...]:
        """Return what was spent for each of so many transactions, in the order of the fields."""
        pairs = zip(astuple(self), astuple(before), strict=True)
        return tuple((now - then) / transactions for now, then in pairs)


def _written_bytes() -> int:
    lines = _IO.read_text().splitlines()
    return next(int(line.removeprefix(_WRITTEN)) for line in lines if line.startswith(_WRITTEN))


def measure(store: KeyValueStore, transactions: int, parts: int) -> Iterator[tuple[float, ...]]:
    """Yield what each transaction cost, part by part of a chain that grows in `store`."""
    metered = MeteredStore(store)
    network = EngineNetwork(1, stores=[metered])
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    for _ in range(parts):
        batches = network.sign_batches(transactions // BLOCK_TXS, BLOCK_TXS, references=True)
        before = Meters.read(metered)
        network.run(batches)
        yield Meters.read(metered).since(before, len(batches) * BLOCK_TXS)


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.growth")
    parser.add_argument("--transactions", type=int, default=25_000, help="in each part")
    parser.add_argument("--parts", type=int, default=8)
    parser.add_argument("--engine", default=LEVELDB)
    default_mib = StorageConfig().write_buffer_mib
    parser.add_argument("--write-buffer-mib", type=int, default=default_mib)
    parser.add_argument("--folder", help="on the disk to be measured")
    args = parser.parse_args()
    storage = StorageConfig(engine=args.engine, write_buffer_mib=args.write_buffer_mib)
    print("{:>13}{:>10}{:>11}{:>10}{:>8}{:>7}{:>7}".format(*_HEADS))
    with (
        tempfile.TemporaryDirectory(prefix="govchain-growth-", dir=args.folder) as folder,
        closing(open_database(Path(folder) / "data", create=True, storage=storage)) as store,
    ):
        for part, spent in enumerate(measure(store, args.transactions, args.parts), start=1):
            print(_ROW.format(part * args.transactions, *spent), flush=True)


if __name__ == "__main__":
    _main()
