"""What of a validator lies on disk: opened to run on it, or while it does not run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from node.assembly.engines import open_database
from node.chain.genesis import Genesis
from node.chain.state_columns import load_kernels
from node.chain.state_tree import root_of
from node.config import NodeConfig
from node.execution.apply import Executor
from node.service.home import log_identity
from node.service.recovery import Recovery, recover
from node.storage.checkpoints import CheckpointStore
from node.storage.draft_folder import DraftFolder, install_draft
from node.storage.kv import KeyValueStore
from node.storage.ledger import LedgerStore
from node.storage.lock import InstanceLock
from node.storage.scratch import DATA_NAME, scratch_folder
from node.storage.wal import WriteAheadLog

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Stores:
    """What of the validator outlives the process, opened, and what was found in it."""

    executor: Executor
    ledger: LedgerStore
    checkpoints: CheckpointStore
    drafts: DraftFolder
    log: WriteAheadLog
    recovery: Recovery


@contextmanager
def open_stores(config: NodeConfig, genesis: Genesis) -> Iterator[Stores]:
    """Open log and ledger, and bring the ledger to where the log shows that it was."""
    _prepare_hashing(config, genesis)
    with ExitStack() as stack:
        wal, replay = WriteAheadLog.open(config.wal, log_identity(genesis, config.validator_id))
        stack.callback(wal.close)
        install_draft(config.data)
        begin = partial(open_database, create=True, storage=config.storage)
        drafts = DraftFolder(config.data, begin)
        stack.callback(drafts.close)
        database = begin(config.data)
        stack.callback(database.close)
        executor = Executor(genesis)
        ledger = LedgerStore.open(database, genesis.suite, executor.genesis_block())
        recovery = recover(
            genesis, executor, ledger, replay.records, validator_id=config.validator_id
        )
        log.info(
            "recovered",
            height=ledger.tip_height,
            view=recovery.consensus.view,
            log_records=len(replay.records),
            log_bytes_dropped=replay.dropped_bytes,
            blocks_from_log=recovery.recommitted,
            state_root=root_of(ledger.tree).hex(),  # reads the state: no block has to wait for it
        )
        yield Stores(executor, ledger, CheckpointStore(database), drafts, wal, recovery)


@contextmanager
def open_ledger_at_rest(
    config: NodeConfig, genesis: Genesis
) -> Iterator[tuple[KeyValueStore, LedgerStore]]:
    """Open the ledger of a validator that does not run, and keep it from starting meanwhile.

    Raises `StorageError`: it runs (GC-3002), or its ledger is damaged, or not of this chain.
    """
    _prepare_hashing(config, genesis)
    with InstanceLock(config.home), ExitStack() as stack:
        install_draft(config.data)
        database = open_database(config.data, create=False, storage=config.storage)
        stack.callback(database.close)
        genesis_block = Executor(genesis).genesis_block()
        yield database, LedgerStore.open(database, genesis.suite, genesis_block)


@contextmanager
def open_scratch(folder: Path) -> Iterator[KeyValueStore]:
    """Open an empty database in `folder`, which is gone again at the end; raises `StorageError`.

    What such a process left there that was killed is removed first.
    """
    with (
        scratch_folder(folder) as home,
        closing(open_database(home / DATA_NAME, create=True)) as database,
    ):
        yield database


def _prepare_hashing(config: NodeConfig, genesis: Genesis) -> None:
    """Load kernels before anything is hashed: at once, or half a minute where they are compiled."""
    if config.hashing == "hashlib":
        return
    log.info("loading-hash-kernels")
    if load_kernels(genesis.suite):
        log.info("hash-kernels-loaded")
    elif config.hashing == "kernels":
        log.warning(
            "no-hash-kernels", fix=".venv/bin/pip install -e '.[kernels]'; hashlib does it so far"
        )
