"""A validator's process from its start to its end, and on from one ledger to the next."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog
import uvloop

from node.assembly.keys import Keys, check_key, load_keys
from node.assembly.stores import Stores, open_stores
from node.assembly.validator import Validator
from node.chain.genesis import Genesis
from node.config import NodeConfig
from node.crypto.keystore import KeySecret
from node.errors import InvariantViolation
from node.service import clock
from node.service.engine import Engine
from node.service.home import require_whole
from node.service.log_file import LogFile
from node.service.logs import configure_logs
from node.service.mempool import Mempool
from node.storage.lock import InstanceLock, KeyLock

log = structlog.get_logger()


def run_node(
    home: Path,
    config: NodeConfig,
    genesis: Genesis,
    secret: KeySecret,
    *,
    log_path: Path | None = None,
) -> None:
    """Run the validator of `home` until it is told to stop; SIGTERM and SIGINT end it in order.

    Logs go to standard error, which becomes the file at `log_path`, kept within bounds, where one
    is named. Raises what makes it end otherwise; of that the log notes no more than the code: why,
    and what to do, is for the caller to tell, once.
    """
    stream = None if log_path is None else LogFile(log_path)
    configure_logs(config.log_level, validator=config.validator_id, stream=stream)
    try:
        require_whole(home)
        with InstanceLock(home):
            _run_alone(home, config, genesis, secret)
    except Exception as error:
        log.critical("ended", code=getattr(error, "code", InvariantViolation.code))
        raise
    log.info("stopped")


def _run_alone(home: Path, config: NodeConfig, genesis: Genesis, secret: KeySecret) -> None:
    keys = load_keys(home, config, genesis, secret)
    with (
        KeyLock(keys.signer.public_key.encoded),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop,
    ):
        while _run_until_superseded(config, genesis, keys, loop):
            log.info("ledger-replaced", detail="going on with the one made of a snapshot")


def _run_until_superseded(
    config: NodeConfig, genesis: Genesis, keys: Keys, loop: asyncio.Runner
) -> bool:
    """Run on the ledger there is; say whether to go on with another that was made meanwhile."""
    signer = keys.signer
    with open_stores(config, genesis) as stores:
        check_key(config, signer, stores.recovery.epoch.validators)
        engine = Engine(
            genesis=genesis,
            validator_id=config.validator_id,
            signer=signer,
            executor=stores.executor,
            ledger=stores.ledger,
            log=stores.log,
            mempool=Mempool(),
            recovery=stores.recovery,
        )
        engine.counters.efforts.measure_by(clock.thread_cpu_ns)
        engine.allow_snapshots(stores.drafts, config.snapshot_gap_blocks)
        engine.expect_own_votes()
        told_to_stop = loop.run(_serve(config, genesis, stores, engine, keys))
        stores.log.sync()
    return engine.is_superseded and not told_to_stop


async def _serve(
    config: NodeConfig, genesis: Genesis, stores: Stores, engine: Engine, keys: Keys
) -> bool:
    """Run until told to stop, or until there is another ledger; say whether it was the former."""
    validator = Validator(config, genesis, stores, engine, keys=keys)
    await validator.run()
    return validator.is_retiring
