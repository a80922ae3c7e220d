"""The composition root: the only module that knows every room. It wires one validator and runs it.

No rules and no protocol live here: what a room asks for through a port is adapted to the room that
has it. Reading order: `run_node`, `_Validator`, then the adapters `_Switchboard` and `_Api`.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypeVar

import structlog
import uvloop

import node
from node.chain.admission import Admission, AdmissionCode
from node.chain.block import checkpoint_of
from node.chain.encoding import encode
from node.chain.genesis import Genesis
from node.chain.governance import CheckpointStatement
from node.chain.membership import ValidatorSet
from node.chain.transaction import TransactionKind
from node.config import NodeConfig
from node.consensus.events import Now
from node.consensus.standing import standing_of
from node.crypto.certificate import CertificateIdentity, read_identity
from node.crypto.keystore import KeyPurpose, KeySecret, load_signer, load_tls_key_pem
from node.crypto.signature import Signer
from node.errors import ConfigError, InvariantViolation, StorageError
from node.execution.apply import Executor
from node.execution.registry import find_endpoint
from node.rpc import port
from node.rpc.identity import Gatekeeper, TlsIdentity
from node.rpc.outbox import Priority
from node.rpc.peer import PeerState, PeerTransport, RemotePeer
from node.rpc.server import ClientServer, PeerServer
from node.service import clock
from node.service.chaos import CHAOS_FILE, DisturbedLinks, Links, read_chaos
from node.service.effort import Effort
from node.service.engine import CommittedBlock, Engine
from node.service.home import (
    COSIGNATURE_KEY_FILE,
    OWN_AUTHORITY_FILE,
    TLS_FILE,
    TLS_KEY_FILE,
    VOTE_KEY_FILE,
    log_identity,
    require_whole,
)
from node.service.log_file import LogFile
from node.service.logs import configure_logs
from node.service.mempool import Mempool
from node.service.neighbours import Neighbour, Neighbourhood
from node.service.queries import Queries
from node.service.recovery import Recovery, recover
from node.service.runner import Runner
from node.service.telemetry import Telemetry
from node.service.tickets import Ticket
from node.service.wire import MessageKind
from node.storage.draft_folder import DraftFolder, install_draft
from node.storage.ledger import LedgerStore, RecordQuery
from node.storage.leveldb import LevelDBStore
from node.storage.lock import InstanceLock, KeyLock
from node.storage.wal import WriteAheadLog

STOP_GRACE_MS: Final = 500
"""How long calls under way may still take once the process is told to stop."""
HEALTH_INTERVAL_MS: Final = 250
CHAOS_INTERVAL_MS: Final = 100
RETRY_AFTER_MS: Final = 500
"""When a client refused for want of readiness should come back."""

_PRIORITIES: Final[Mapping[int, Priority]] = {
    MessageKind.NEW_VIEW: Priority.VIEW_CHANGE,
    MessageKind.VIEW_CHANGE: Priority.VIEW_CHANGE,
    MessageKind.VOTE: Priority.VOTE,
    MessageKind.DECIDED: Priority.VOTE,
    MessageKind.PROPOSAL: Priority.PROPOSAL,
    MessageKind.STATUS: Priority.SYNC,
    MessageKind.WANT_BODIES: Priority.SYNC,
    MessageKind.BODIES: Priority.SYNC,
    MessageKind.WANT_BLOCKS: Priority.SYNC,
    MessageKind.BLOCKS: Priority.SYNC,
    MessageKind.TRANSACTIONS: Priority.GOSSIP,
    MessageKind.EVIDENCE: Priority.GOSSIP,
    MessageKind.WANT_SNAPSHOTS: Priority.SYNC,
    MessageKind.SNAPSHOTS: Priority.SYNC,
    MessageKind.WANT_STATE: Priority.SYNC,
    MessageKind.STATE: Priority.SYNC,
    MessageKind.WANT_PAST: Priority.GOSSIP,
    MessageKind.PAST: Priority.GOSSIP,
}

_Answer = TypeVar("_Answer")

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
    signer = load_signer(home / VOTE_KEY_FILE, secret, KeyPurpose.VOTE)
    cosigner = load_signer(home / COSIGNATURE_KEY_FILE, secret, KeyPurpose.COSIGNATURE)
    tls = TlsIdentity((home / TLS_FILE).read_bytes(), load_tls_key_pem(home / TLS_KEY_FILE, secret))
    _check_name(config, tls)
    _check_key(config, signer, genesis.validators)  # founders keep their keys as long as their ids
    keys = _Keys(tls, signer, cosigner, _own_authority(home, tls))
    with (
        KeyLock(signer.public_key.encoded),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop,
    ):
        while _run_until_superseded(config, genesis, keys, loop):
            log.info("ledger-replaced", detail="going on with the one made of a snapshot")


def _run_until_superseded(
    config: NodeConfig, genesis: Genesis, keys: _Keys, loop: asyncio.Runner
) -> bool:
    """Run on the ledger there is; say whether to go on with another that was made meanwhile."""
    signer = keys.signer
    with _open_stores(config, genesis) as stores:
        _check_key(config, signer, stores.recovery.epoch.validators)
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
        engine.counters.effort = Effort(clock.thread_cpu_ns)
        engine.allow_snapshots(stores.drafts, config.snapshot_gap_blocks)
        told_to_stop = loop.run(_serve(config, genesis, stores, engine, keys))
        stores.log.sync()
    return engine.is_superseded and not told_to_stop


async def _serve(
    config: NodeConfig, genesis: Genesis, stores: _Stores, engine: Engine, keys: _Keys
) -> bool:
    """Run until told to stop, or until there is another ledger; say whether it was the former."""
    validator = _Validator(config, genesis, stores, engine, keys=keys)
    await validator.run()
    return validator.is_retiring


def _check_name(config: NodeConfig, tls: TlsIdentity) -> None:
    """Refuse to run under a name that no peer would believe."""
    shown = read_identity(tls.certificate_pem)
    if shown.identity_id != config.validator_id:
        raise ConfigError(
            f"{config.home}: {TLS_FILE} is of {shown.identity_id!r}, not {config.validator_id!r}",
            fix="correct validator_id in node.toml, or put the right certificate there",
        )


def _own_authority(home: Path, tls: TlsIdentity) -> dict[str, bytes]:
    """Return who certifies this node, if its home says so: its own people may ask it at once."""
    path = home / OWN_AUTHORITY_FILE
    if not path.exists():
        return {}
    return {read_identity(tls.certificate_pem).organisation: path.read_bytes()}


def _check_key(config: NodeConfig, signer: Signer, validators: ValidatorSet) -> None:
    """Refuse to vote under another key than the chain knows; who is no member does not vote."""
    me = validators.index_of(config.validator_id)
    if me is not None and signer.public_key.encoded != validators.validators[me].vote_key:
        raise ConfigError(
            f"{config.home / VOTE_KEY_FILE}: is not the key that this chain gives "
            f"{config.validator_id}",
            fix="restore the key; if it is lost, give the validator a new one: "
            "govchain node rotate",
        )


def _hints(config: NodeConfig) -> dict[str, str]:
    return {peer.validator_id: str(peer.address) for peer in config.peers}


def _check_addresses(config: NodeConfig, neighbourhood: Neighbourhood) -> None:
    """Refuse to start where nobody could ever be reached.

    Some addresses may well be missing: of validators that left since this node's last block. Who
    joined since then is not known here but for its address.
    """
    members = neighbourhood.members()
    found = (*members, *neighbourhood.unknown())
    if members and not any(each.addresses for each in found):
        raise ConfigError(
            f"{config.home}: peers: expected addresses of the other validators, got none of "
            f"{', '.join(each.node_id for each in members)}",
            fix="correct the tables [[peers]] in node.toml",
        )


@dataclass(frozen=True, slots=True)
class _Keys:
    """What the running node proves itself with."""

    tls: TlsIdentity
    signer: Signer
    """Of its votes."""
    cosigner: Signer
    own_authority: Mapping[str, bytes]
    """By organisation: its own, which the state may not name yet; nothing where it does."""


# ---------------------------------------------------------------------- what lies on disk


@dataclass(frozen=True, slots=True)
class _Stores:
    """What of the validator outlives the process, opened, and what was found in it."""

    executor: Executor
    ledger: LedgerStore
    drafts: DraftFolder
    log: WriteAheadLog
    recovery: Recovery


@contextmanager
def _open_stores(config: NodeConfig, genesis: Genesis) -> Iterator[_Stores]:
    """Open log and ledger, and bring the ledger to where the log shows that it was."""
    with ExitStack() as stack:
        wal, replay = WriteAheadLog.open(config.wal, log_identity(genesis, config.validator_id))
        stack.callback(wal.close)
        install_draft(config.data)
        drafts = DraftFolder(config.data, partial(LevelDBStore.open, create=True))
        stack.callback(drafts.close)
        database = LevelDBStore.open(config.data, create=True)
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
        )
        yield _Stores(executor, ledger, drafts, wal, recovery)


@contextmanager
def open_ledger_at_rest(
    config: NodeConfig, genesis: Genesis
) -> Iterator[tuple[LevelDBStore, LedgerStore]]:
    """Open the ledger of a validator that does not run, and keep it from starting meanwhile.

    Raises `StorageError`: it runs (GC-3002), or its ledger is damaged, or not of this chain.
    """
    with InstanceLock(config.home), ExitStack() as stack:
        install_draft(config.data)
        database = LevelDBStore.open(config.data, create=False)
        stack.callback(database.close)
        genesis_block = Executor(genesis).genesis_block()
        yield database, LedgerStore.open(database, genesis.suite, genesis_block)


@contextmanager
def open_scratch(folder: Path) -> Iterator[LevelDBStore]:
    """Open an empty database in `folder`, which is gone again at the end; raises `StorageError`."""
    try:
        made = TemporaryDirectory(prefix="scratch-", dir=folder)
    except OSError as error:
        raise StorageError(f"{folder}: {error}", fix="name a folder that can be written") from error
    with made as home, closing(LevelDBStore.open(Path(home) / "data", create=True)) as database:
        yield database


# ---------------------------------------------------------------------- the running validator


class _Validator:
    """One validator wired together: its parts, and the order in which they start and end."""

    def __init__(
        self,
        config: NodeConfig,
        genesis: Genesis,
        stores: _Stores,
        engine: Engine,
        *,
        keys: _Keys,
    ) -> None:
        """Wire the parts on the running event loop."""
        tls = keys.tls
        self._own_authority = keys.own_authority
        self._config, self._genesis, self._stores = config, genesis, stores
        self.engine, self.ledger = engine, stores.ledger
        self.queries = Queries(stores.ledger, genesis.suite)
        self.telemetry = Telemetry(
            validator_id=config.validator_id, chain_id=genesis.chain_id, version=node.__version__
        )
        self._neighbourhood = Neighbourhood(
            genesis, config.validator_id, _hints(config), stores.ledger
        )
        _check_addresses(config, self._neighbourhood)
        self._gatekeeper = gatekeeper = Gatekeeper({}, clock.utc_ms)
        switchboard = _Switchboard(self)
        self.transport = PeerTransport(
            (),
            switchboard,
            tls=tls,
            gatekeeper=gatekeeper,
            jitter=secrets.SystemRandom().random,
            porter=self._let_follow,
        )
        self._meet()
        loop = asyncio.get_running_loop()
        self.disturbed = DisturbedLinks(
            self.transport,
            name_of=engine.roster.name,
            assigned=lambda: self.transport.assigned,
            now_ms=clock.monotonic_ms,
            call_later=lambda delay_ms, release: loop.call_later(delay_ms / 1_000, release),
        )
        self.links: Links = self.disturbed if genesis.testnet else self.transport
        self.runner = Runner(
            engine,
            stores.log,
            switchboard,
            self.telemetry,
            now=self.now,
            verify_threads=config.verify_threads,
            find_result=self.queries.final_result,
        )
        self.runner.on_epoch.append(self._meet)
        self.runner.on_committed.append(self._meet_if_governed)
        self._api = _Api(self, genesis, config.validator_id, keys.cosigner)
        self._peer_server = PeerServer(
            self.transport, [str(config.peer_address)], tls=tls, gatekeeper=gatekeeper
        )
        self._client_server = ClientServer(
            self._api,
            [str(config.client_address)],
            tls=tls,
            gatekeeper=gatekeeper,
            chain_id=genesis.chain_id,
            on_failure=self.failed,
        )
        self.is_retiring = False
        """Whether it was told to stop."""
        self.health_changed = asyncio.Event()
        self.health_known, self.health_detail = port.Health.STARTING, "starting"

    async def run(self) -> None:
        """Serve until told to stop; raises what made it end otherwise."""
        loop = asyncio.get_running_loop()
        tasks: list[asyncio.Task[None]] = []
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, lambda: tasks.append(loop.create_task(self._retire())))
        async with AsyncExitStack() as parts:
            await self._start(parts)
            watch = loop.create_task(self._watch_health())
            watch.add_done_callback(self._reap)
            tasks.append(watch)
            if self._genesis.testnet:
                trial = loop.create_task(self._watch_chaos())
                trial.add_done_callback(self._reap)
                tasks.append(trial)
            try:
                await self.runner.run()
            finally:
                for task in tasks:
                    task.cancel()

    def _reap(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.runner.stop(error)

    async def _start(self, parts: AsyncExitStack) -> None:
        parts.callback(self._api.close)
        address = self._config.metrics_address
        if address is not None:
            parts.callback(self.telemetry.serve(address.host, address.port, self))
        self.telemetry.watch_loop()
        await self._peer_server.start()
        parts.push_async_callback(self._peer_server.stop)
        await self.transport.start()
        parts.push_async_callback(self.transport.stop)
        await self._client_server.start()
        parts.push_async_callback(self._client_server.stop, 0)
        log.info(
            "listening",
            peers=str(self._config.peer_address),
            clients=str(self._config.client_address),
            metrics=None if address is None else str(address),
        )

    async def _retire(self) -> None:
        """End in order: no new calls, a moment for those under way, then the rest."""
        self.is_retiring = True
        log.info("stopping")
        await self._client_server.stop(STOP_GRACE_MS)
        self.runner.stop()

    def failed(self, error: Exception) -> None:
        """Note an error that no caller is to blame for; end where going on would be wrong."""
        log.error("failed", exc_info=error)
        if isinstance(error, StorageError | InvariantViolation):
            self.runner.stop(error)

    # --- Whom it deals with ---

    def _meet(self) -> None:
        """Deal with whom the state names, from now on."""
        self._gatekeeper.admit({**self._own_authority, **self._neighbourhood.authorities()})
        members, unknown = self._neighbourhood.members(), self._neighbourhood.unknown()
        for each in members:
            if not each.addresses:
                log.warning("peer-without-address", peer=each.node_id)
        self.transport.assign([self._as_peer(each) for each in (*members, *unknown)])

    def _meet_if_governed(self, block: CommittedBlock) -> None:
        """Look at the state anew after what alone can change who there is."""
        transactions = block.executed.transactions
        if any(each.transaction.body.kind is TransactionKind.GOVERN for each in transactions):
            self._meet()

    def _let_follow(self, shown: CertificateIdentity) -> RemotePeer:
        return self._as_peer(self._neighbourhood.follower(shown, clock.utc_ms()))

    def _as_peer(self, neighbour: Neighbour) -> RemotePeer:
        return RemotePeer(
            number=self.engine.roster.number(neighbour.node_id),
            validator_id=neighbour.node_id,
            organisation=neighbour.organisation,
            addresses=neighbour.addresses,
        )

    def name_of(self, peer: int) -> str:
        """Return the id of a peer by its number."""
        return self.engine.roster.name(peer)

    # --- Faults on purpose, where genesis allows them ---

    def now(self) -> Now:
        """Read the clocks, as this validator is to see them."""
        now = clock.now()
        return self.disturbed.put_wrong(now) if self._genesis.testnet else now

    def hears(self, peer: int) -> bool:
        """Whether what comes from a peer is to be taken."""
        return not self._genesis.testnet or self.disturbed.hears(peer)

    async def _watch_chaos(self) -> None:
        """Do what the control file says, and say so; what does not count is told once."""
        path, told = self._config.home / CHAOS_FILE, ""
        while True:
            now_ms = clock.monotonic_ms()
            try:
                chaos = read_chaos(path, now_ms)
                said = "" if chaos is None else f"until {chaos.until_ms}"
            except ConfigError as error:
                chaos, said = None, str(error)
            self.disturbed.disturb(chaos)
            if said != told:
                detail = said if chaos is None else chaos.describe(now_ms)
                log.warning("chaos", detail=detail or "over")
                told = said
            await asyncio.sleep(CHAOS_INTERVAL_MS / 1_000)

    # --- Health ---

    async def _watch_health(self) -> None:
        """Keep the health known, and have the health service tell it."""
        while True:
            health, detail = self._judge_health()
            if health is not self.health_known:
                log.info("health", health=health.name, detail=detail)
                await self._client_server.set_ready(ready=health is port.Health.READY)
            self.health_known, self.health_detail = health, detail
            with suppress(TimeoutError):
                async with asyncio.timeout(HEALTH_INTERVAL_MS / 1_000):
                    await self.health_changed.wait()
            self.health_changed.clear()

    def _judge_health(self) -> tuple[port.Health, str]:
        term = self.engine.term
        connected = sum(1 for peer in self.transport.connected if peer in term.indices)
        needed = term.epoch.validators.quorum - 1 if term.is_member else 1
        if self.engine.halted:
            return port.Health.HALTED, self.engine.halted
        if connected < needed:
            why = "".join(f"; {reason}" for reason in self.transport.refusals[:1])
            return port.Health.STARTING, f"connected to {connected} of {needed} peers needed{why}"
        if (told := self.engine.informants) < needed:
            return port.Health.STARTING, f"{told} of {needed} peers needed said where they stand"
        if self.engine.is_behind:
            return port.Health.CATCHING_UP, self._describe_catching_up()
        if not term.is_member:
            return port.Health.FOLLOWING, f"no validator in epoch {term.epoch.number}: it follows"
        missing = self.ledger.missing
        past = f"blocks {missing.start} to {missing.stop - 1} are still being fetched"
        return port.Health.READY, past if missing else ""

    def _describe_catching_up(self) -> str:
        at = f"at height {self.engine.height}, behind its peers"
        progress = self.engine.snapshot_progress
        if progress is None:
            return at
        givers = ", ".join(self.engine.roster.name(peer) for peer in progress.peers) or "nobody yet"
        return (
            f"{at}; fetching the state at height {progress.height}: {progress.state_percent} % of "
            f"it, {progress.past_percent} % of the blocks it needs, from {givers}"
        )

    # --- Figures for telemetry ---

    @property
    def held_up_ms(self) -> int:
        """For how long this process did not run since the start."""
        return self.runner.held_up_ms

    @property
    def fsyncs(self) -> int:
        """Syncs of the write-ahead log since the start."""
        return self._stores.log.fsync_count

    @property
    def batches_waiting(self) -> int:
        """Transactions somebody waits for."""
        return len(self.runner.tickets)

    @property
    def health(self) -> int:
        """Number of the validator's health on the wire."""
        return self.health_known.value

    @property
    def peers(self) -> Mapping[str, PeerState]:
        """Figures of every peer by validator id."""
        return {self.name_of(peer): state for peer, state in self.transport.states.items()}


# ---------------------------------------------------------------------- adapters


class _Switchboard:
    """Between runner and transport: the runner's `Transport`, the transport's `PeerListener`."""

    def __init__(self, validator: _Validator) -> None:
        self._validator = validator

    def send(self, peer: int, kind: int, data: bytes) -> None:
        """Queue a message for one peer; it is lost where there is no link to it."""
        self._validator.links.send(peer, _PRIORITIES[kind], data)

    def broadcast(self, kind: int, data: bytes) -> None:
        """Queue a message for every peer."""
        self._validator.links.broadcast(_PRIORITIES[kind], data)

    async def on_messages(self, peer: int, messages: Sequence[bytes]) -> None:
        """Hand a frame to the engine."""
        if self._validator.hears(peer):
            self._validator.runner.received(peer, messages)

    def on_peer(self, peer: int, *, connected: bool) -> None:
        """Greet a peer that came, and look at the health anew."""
        log.info("peer", peer=self._validator.name_of(peer), connected=connected)
        if connected:
            self._validator.runner.connected(peer)
        self._validator.health_changed.set()

    def on_failure(self, error: Exception) -> None:
        """Note this node's own fault."""
        self._validator.failed(error)

    def on_refusal(self, reason: str) -> None:
        """Say who is not let in, or who does not let this node in."""
        log.warning("peer-refused", reason=reason)


def _sight(validator: _Validator, peer: int, now: Now) -> port.PeerSight:
    signs = validator.engine.peer_signs
    said = signs.status(peer)
    return port.PeerSight(
        validator_id=validator.name_of(peer),
        connected=peer in validator.transport.connected,
        heard_ms_ago=signs.heard_ms_ago(peer, now),
        height=None if said is None else said.height,
        view=None if said is None else said.view,
    )


def _follower(validator: _Validator, peer: RemotePeer) -> port.Follower:
    said = validator.engine.peer_signs.status(peer.number)
    return port.Follower(
        node_id=peer.validator_id,
        organisation=peer.organisation,
        height=None if said is None else said.height,
    )


class _Api:
    """The `NodeApi` that the client server serves: domain types in, values of the wire out.

    Reads run on a thread of their own, so that a page of receipts does not hold up a vote.
    """

    def __init__(
        self, validator: _Validator, genesis: Genesis, validator_id: str, cosigner: Signer
    ) -> None:
        self._validator, self._genesis, self._validator_id = validator, genesis, validator_id
        self._cosigner = cosigner
        self._stated: tuple[bytes, CheckpointStatement] | None = None
        """The newest statement, by the header's digest: asking again costs nothing."""
        self._suite, self._queries = genesis.suite, validator.queries
        self._readers = ThreadPoolExecutor(1, "queries")
        self._committed = asyncio.Event()
        validator.runner.on_committed.append(self._note_commit)

    async def submit_batch(self, transactions: Sequence[bytes], submitter: str) -> Ticket:
        """Judge and queue a batch, unless another validator would serve it better."""
        validator = self._validator
        if validator.health_known is not port.Health.READY:
            refusal = Admission(AdmissionCode.NOT_READY, validator.health_detail, RETRY_AFTER_MS)
            count = len(transactions)
            return validator.runner.tickets.open([None] * count, [refusal] * count)
        log.debug("submitted", submitter=submitter, transactions=len(transactions))
        submitted_ms = clock.monotonic_ms()
        ticket = await validator.runner.submit(transactions)
        ticket.when_final(lambda: validator.telemetry.became_final(submitted_ms))
        return ticket

    async def status(self) -> port.NodeStatus:
        """Return how the node is."""
        validator, engine = self._validator, self._validator.engine
        header = validator.ledger.header
        return port.NodeStatus(
            validator_id=self._validator_id,
            chain_id=self._genesis.chain_id,
            version=node.__version__,
            health=validator.health_known,
            health_detail=validator.health_detail,
            height=header.height,
            header_digest=validator.ledger.header_digest,
            time_ms=header.time_ms,
            view=engine.core.view,
            epoch=header.epoch,
            peers_connected=len(validator.transport.connected),
            pending=engine.mempool.pending_count,
        )

    async def diagnosis(self) -> port.Diagnosis:
        """Return what the node knows of why the chain moves or does not."""
        validator, engine, now = (
            self._validator,
            self._validator.engine,
            self._validator.runner.now(),
        )
        chaos, epoch = validator.disturbed.chaos, engine.term.epoch
        return port.Diagnosis(
            status=await self.status(),
            clock_ms=now.utc_ms,
            epoch=epoch.number,
            validators=tuple(each.validator_id for each in epoch.validators.validators),
            parameters=epoch.parameters,
            standing=standing_of(engine.core, now),
            chaos="" if chaos is None else chaos.describe(clock.monotonic_ms()),
            accused=tuple(each.validator_id for each in engine.accused),
            peers=tuple(_sight(validator, peer, now) for peer in validator.transport.assigned),
        )

    async def evidence(self) -> Sequence[bytes]:
        """Return the proofs of misbehaviour held."""
        return [each.encode() for each in self._validator.engine.evidence]

    async def membership(self) -> port.Membership:
        """Return who decides the next height, and who follows."""
        validator, state = self._validator, self._validator.ledger
        epoch = validator.engine.term.epoch
        return port.Membership(
            epoch=epoch.number,
            members=tuple(
                port.Member(
                    validator_id=each.validator_id,
                    organisation=each.organisation,
                    address=str(find_endpoint(state, each.validator_id) or ""),
                )
                for each in epoch.validators.validators
            ),
            followers=tuple(_follower(validator, each) for each in validator.transport.followers),
        )

    async def checkpoint(self) -> CheckpointStatement:
        """Return a statement of the newest header here, signed once."""
        header, digest = self._validator.ledger.header, self._validator.ledger.header_digest
        if self._stated is None or self._stated[0] != digest:
            signature = self._cosigner.sign(checkpoint_of(header, digest))
            statement = CheckpointStatement(self._validator_id, header.encode(), signature)
            self._stated = (digest, statement)
        return self._stated[1]

    async def receipt_of_operation(self, tx_id: bytes, operation_index: int) -> bytes | None:
        """Return the receipt of one record."""
        found = await self.receipts(tx_id, operation_index, 1)
        return found[0] if found else None

    async def receipt_of_digest(self, digest: bytes) -> bytes | None:
        """Return the receipt of the earliest record of a digest."""
        receipt = await self._read(partial(self._queries.receipt_of_digest, digest))
        return None if receipt is None else receipt.encode()

    async def receipts(
        self, tx_id: bytes, first_operation: int, limit: int
    ) -> Sequence[bytes] | None:
        """Return receipts of one transaction."""
        found = await self._read(partial(self._queries.receipts, tx_id, first_operation, limit))
        return None if found is None else [receipt.encode() for receipt in found]

    async def records(
        self, wanted: port.RecordFilter, limit: int, page_token: bytes
    ) -> port.RecordPage:
        """Return one page of records; the token is the log index where the next one starts."""
        query = RecordQuery(
            digest=wanted.digest,
            reference=wanted.reference,
            type_code=wanted.type_code,
            from_ms=wanted.from_ms,
            to_ms=wanted.to_ms,
        )
        start = int.from_bytes(page_token)
        return await self._read(partial(self._read_records, query, limit, start))

    async def block(self, height: int) -> port.Block | None:
        """Return a committed block."""
        return await self._read(partial(self._read_block, height))

    async def transaction(self, tx_id: bytes) -> port.CommittedTransaction | None:
        """Return a committed transaction."""
        found = await self._read(partial(self._queries.transaction, tx_id))
        if found is None:
            return None
        return port.CommittedTransaction(
            height=found.height,
            index=found.index,
            time_ms=found.time_ms,
            transaction=found.transaction.encoded,
            result=found.result.encode(),
        )

    async def certified_header(self, height: int | None) -> port.CertifiedHeader | None:
        """Return a header and its certificate."""
        wanted = self._validator.ledger.tip_height if height is None else height
        header, certificate = self._queries.header(wanted) or (None, None)
        if header is None:
            return None
        encoded = b"" if certificate is None else encode(certificate.to_value())
        return port.CertifiedHeader(header.encode(), encoded)

    async def handovers(self, from_epoch: int, limit: int) -> Sequence[bytes]:
        """Return what led from epoch to epoch."""
        found = await self._read(partial(self._queries.handovers_from, from_epoch, limit))
        return [handover.encode() for handover in found]

    async def genesis(self) -> bytes:
        """Return the genesis."""
        return self._genesis.encode()

    async def blocks(self, from_height: int) -> AsyncGenerator[port.BlockSummary]:
        """Yield summaries of blocks from a height on, and of each new one as it is committed."""
        height = from_height
        while True:
            committed = self._committed
            while height <= self._validator.ledger.tip_height:
                yield await self._read(partial(self._summarise, height))
                height += 1
            await committed.wait()

    def close(self) -> None:
        """End the reading, before the store under it is closed."""
        self._readers.shutdown(wait=True)

    async def _read(self, question: Callable[[], _Answer]) -> _Answer:
        return await asyncio.get_running_loop().run_in_executor(self._readers, question)

    def _note_commit(self, _block: CommittedBlock) -> None:
        committed, self._committed = self._committed, asyncio.Event()
        committed.set()

    def _read_records(self, query: RecordQuery, limit: int, start: int) -> port.RecordPage:
        page = self._queries.records(query, limit=limit, start=start)
        entries = tuple(
            port.RecordEntry(
                found.log_index,
                found.leaf.encode(),
                port.RecordStatus(self._queries.status_of(found).value),
            )
            for found in page.records
        )
        following = page.next_log_index
        return port.RecordPage(entries, b"" if following is None else following.to_bytes(8))

    def _read_block(self, height: int) -> port.Block | None:
        block = self._queries.block(height)
        if block is None:
            return None
        return port.Block(block.encode(), tuple(result.encode() for result in block.results()))

    def _summarise(self, height: int) -> port.BlockSummary:
        block = self._queries.block(height)
        if block is None:
            raise InvariantViolation(f"block {height} lies below the tip and is not there")
        header, certificate = block.header, block.certificate
        return port.BlockSummary(
            height=height,
            header_digest=header.digest(self._suite),
            time_ms=header.time_ms,
            time_degraded=header.time_degraded,
            view=header.view,
            proposer=header.proposer,
            transactions=len(block.encoded_transactions),
            records=max(header.log_size - block.first_log_index - 1, 0),
            signers=0 if certificate is None else len(certificate.votes),
        )
