"""One validator wired together: its running parts, and the order in which they start and end."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

import structlog

import node
from node.assembly.api import Api, Parts
from node.assembly.health import Health, RunningFigures
from node.assembly.http import make_http_server
from node.assembly.keys import Keys
from node.assembly.peering import Peering
from node.assembly.publication import Surroundings, make_cosigning, make_queries
from node.assembly.reader import Reader
from node.assembly.renewal import LoggedRenewal
from node.assembly.sharing import Sharing
from node.assembly.signals import hearing_signals
from node.assembly.stamping import NodeParts, make_stamping
from node.assembly.stores import Stores
from node.assembly.vault import NodeVault
from node.assembly.watchman import SECURITY_FOLDER, Watchman
from node.chain.genesis import Genesis
from node.config import NodeConfig
from node.rpc import port
from node.rpc.certificate_watch import CertificateWatch
from node.rpc.server import ClientServer, PeerServer
from node.rpc.vault import VaultPeerApi
from node.service import clock
from node.service.engine import Engine
from node.service.home import TLS_FILE, TLS_KEY_FILE
from node.service.public_log.files import PublicLogFiles
from node.service.runner import Runner
from node.service.telemetry import Telemetry
from node.service.time_daemon import watch_time_daemon

STOP_GRACE_MS: Final = 500
"""How long calls under way may still take once the process is told to stop."""

log = structlog.get_logger()


class Validator:
    """A validator that runs."""

    def __init__(
        self,
        config: NodeConfig,
        genesis: Genesis,
        stores: Stores,
        engine: Engine,
        *,
        keys: Keys,
    ) -> None:
        """Wire the parts on the running event loop."""
        self._config = config
        queries = make_queries(stores, genesis, keys.signer)
        self._telemetry = Telemetry(
            validator_id=config.validator_id, chain_id=genesis.chain_id, version=node.__version__
        )
        self._peering = peering = Peering(config, genesis, stores.ledger, engine.roster, keys)
        self._runner = runner = Runner(
            engine,
            stores.log,
            peering,
            self._telemetry,
            now=peering.trial.now,
            verify_threads=config.verify_threads,
            find_result=queries.final_result,
        )
        self._cosigning = make_cosigning(
            config, genesis, stores, keys.cosigner, runner=runner, peering=peering
        )
        self._sharing = Sharing(
            genesis,
            stores.ledger,
            config.validator_id,
            keys.sharer,
            Surroundings(runner, peering),
            on_error=runner.stop,
        )
        self._cosigning.on_checkpoint.append(self._sharing.state)
        runner.on_share.append(self._sharing.hear)
        runner.on_connected.append(self._sharing.greet)
        self._health = Health(engine, peering, stores.ledger)
        peering.join(runner, self._health.look_anew)
        self._figures = RunningFigures(runner, stores.log, peering, self._health)
        self._reader = reader = Reader()
        self._stamping = (
            None
            if keys.stamping is None
            else make_stamping(
                config, genesis, keys.stamping, queries, NodeParts(runner, self._health, reader)
            )
        )
        if self._stamping is not None:
            self._figures.stamp_terms = partial(self._stamping.terms, stores.ledger.get)
            if self._stamping.desk is not None:
                self._figures.stamping = self._stamping.desk.figures
        parts = Parts(
            validator_id=config.validator_id,
            runner=runner,
            ledger=stores.ledger,
            queries=queries,
            reader=self._reader,
            public_log=PublicLogFiles(genesis, stores.ledger, stores.checkpoints, queries),
            stamping=self._stamping,
            peering=peering,
            health=self._health,
            telemetry=self._telemetry,
        )
        self._api = Api(genesis, parts, keys.cosigner)
        self._vault = NodeVault(
            config,
            genesis,
            stores.ledger,
            queries=queries,
            peering=peering,
            keys=keys,
            is_abreast=lambda: engine.is_abreast,
        )
        runner.on_committed.append(self._vault.keeper.note_commit)
        self._figures.vault = self._vault.keeper.figures
        self._certificates = CertificateWatch(
            keys.tls,
            (config.home / TLS_KEY_FILE, config.home / TLS_FILE),
            keys.reload_tls,
            clock.utc_ms,
            LoggedRenewal(),
        )
        self._figures.certificate_ends_ms = lambda: self._certificates.ends_ms
        self._watchman = Watchman(config.home / SECURITY_FOLDER, config.validator_id)
        self._peer_server = PeerServer(
            peering.transport,
            [str(config.peer_address)],
            tls=keys.tls,
            gatekeeper=peering.gatekeeper,
            vault=VaultPeerApi(self._vault, peering.gatekeeper, peering.on_failure),
        )
        self._client_server = ClientServer(
            self._api,
            [str(config.client_address)],
            tls=keys.tls,
            gatekeeper=peering.gatekeeper,
            chain_id=genesis.chain_id,
            on_failure=peering.on_failure,
            vault=self._vault,
            note_refusal=self._watchman.note_refusal,
        )
        address = config.http_address
        self._http_server = (
            None if address is None else make_http_server(address, config, genesis, parts)
        )
        self.is_retiring = False
        """Whether it was told to stop."""

    async def run(self) -> None:
        """Serve until told to stop; raises what made it end otherwise."""
        loop = asyncio.get_running_loop()
        tasks: list[asyncio.Task[None]] = []

        def retire() -> None:
            tasks.append(loop.create_task(self._retire()))
            tasks[-1].add_done_callback(self._reap)

        async with AsyncExitStack() as parts:
            parts.enter_context(hearing_signals(retire))
            await self._start(parts)
            watch = loop.create_task(self._health.watch(self._tell_health))
            watch.add_done_callback(self._reap)
            tasks.append(watch)
            daemon = loop.create_task(watch_time_daemon(self._runner.engine.clock_fitness))
            daemon.add_done_callback(self._reap)
            tasks.append(daemon)
            certificates = loop.create_task(self._certificates.run())
            certificates.add_done_callback(self._reap)
            tasks.append(certificates)
            noting = loop.create_task(self._watchman.run())
            noting.add_done_callback(self._reap)
            tasks.append(noting)
            keeping = loop.create_task(self._vault.keeper.run())
            keeping.add_done_callback(self._reap)
            tasks.append(keeping)
            if self._peering.trial.is_allowed:
                trial = loop.create_task(self._peering.trial.watch())
                trial.add_done_callback(self._reap)
                tasks.append(trial)
            try:
                await self._runner.run()
            finally:
                for task in tasks:
                    task.cancel()

    def _reap(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._runner.stop(error)

    async def _start(self, parts: AsyncExitStack) -> None:
        parts.callback(self._reader.close)
        parts.callback(self._vault.close)
        parts.push_async_callback(self._watchman.close)
        if self._stamping is not None and self._stamping.desk is not None:
            parts.callback(self._stamping.desk.close)
        address = self._config.metrics_address
        if address is not None:
            parts.callback(self._telemetry.serve(address.host, address.port, self._figures))
        self._telemetry.watch_loop()
        await self._peer_server.start()
        parts.push_async_callback(self._peer_server.stop)
        self._cosigning.start()
        parts.push_async_callback(self._cosigning.stop)
        parts.callback(self._sharing.close)
        await self._peering.transport.start()
        parts.push_async_callback(self._peering.transport.stop)
        await self._client_server.start()
        parts.push_async_callback(self._client_server.stop, 0)
        if self._http_server is not None:
            await self._http_server.start()
            parts.push_async_callback(self._http_server.stop)
        config = self._config
        log.info(
            "listening",
            peers=str(config.peer_address),
            clients=str(config.client_address),
            metrics=None if address is None else str(address),
            http=None if config.http_address is None else str(config.http_address),
        )

    async def _retire(self) -> None:
        """End in order: no new calls, a moment for those under way, then the rest."""
        self.is_retiring = True
        log.info("stopping")
        if self._http_server is not None:
            await self._http_server.stop()
        await self._client_server.stop(STOP_GRACE_MS)
        self._runner.stop()

    async def _tell_health(self, health: port.Health) -> None:
        await self._client_server.set_ready(ready=health is port.Health.READY)
