"""The public log of a running node: its checkpoints cosigned, and what it serves of it."""

from __future__ import annotations

from functools import partial

from node.assembly.peering import Peering
from node.assembly.reader import Reader
from node.assembly.stores import Stores
from node.chain.genesis import Genesis
from node.chain.membership import ValidatorSet
from node.config import NodeConfig
from node.crypto.signature import Signer
from node.execution.registry import find_epoch_start
from node.service.public_log.cosigning import Cosigning
from node.service.public_log.files import PublicLogFiles
from node.service.queries import Queries
from node.service.runner import Runner
from node.service.wire import Message, encode_message, kind_of
from node.storage.cosigned_file import COSIGNED_FILE, CosignedFile
from node.timestamp.log.checkpoint import origin_of
from node.timestamp.log.tiles import TileFile


class PublishedLog:
    """The files of the public log for HTTP, read on the readers' thread."""

    def __init__(self, files: PublicLogFiles, reader: Reader) -> None:
        self._files, self._read = files, reader.read

    async def checkpoint(self, size: int | None) -> bytes | None:
        """Return a checkpoint."""
        return await self._read(partial(self._files.checkpoint, size))

    async def tile(self, file: TileFile) -> bytes | None:
        """Return hashes or entries."""
        return await self._read(partial(self._files.tile, file))

    async def policy(self, epoch: int | None) -> bytes | None:
        """Return a policy."""
        return await self._read(partial(self._files.policy, epoch))

    async def handover(self, epoch: int) -> bytes | None:
        """Return how an epoch ended."""
        return await self._read(partial(self._files.handover, epoch))

    async def consistency(self, old_size: int, size: int) -> list[bytes] | None:
        """Return a consistency proof."""
        return await self._read(partial(self._files.consistency, old_size, size))


class Surroundings:
    """What the cosigning is told of the node around it."""

    def __init__(self, runner: Runner, peering: Peering) -> None:
        self._runner, self._peering = runner, peering

    def send(self, peer: int | None, message: Message) -> None:
        """Send to a peer by number, or to all."""
        kind, data = int(kind_of(message)), encode_message(message)
        if peer is None:
            self._peering.broadcast(kind, data)
        else:
            self._peering.send(peer, kind, data)

    def name_of(self, peer: int) -> str:
        """Return the id of a peer by its number."""
        return self._peering.name_of(peer)

    def utc_ms(self) -> int:
        """Return the time by this node's clock, milliseconds since 1970 UTC."""
        return self._runner.now().utc_ms

    @property
    def is_behind(self) -> bool:
        """Whether the others are further than this node."""
        return self._runner.engine.is_behind

    @property
    def clock_is_fit(self) -> bool:
        """Whether this node's clock can be vouched for."""
        return self._runner.engine.clock_fitness.judge().is_fit

    @property
    def checkpoint_blocks(self) -> int:
        """How many blocks lie between checkpoints, in the epoch in force."""
        return self._runner.engine.term.epoch.parameters.checkpoint_blocks


def make_queries(stores: Stores, genesis: Genesis, voter: Signer) -> Queries:
    """Return what reads the ledger; receipts bear the log's public forms where its suite has any.

    `voter` holds the vote key of this node.
    """
    if not genesis.suite.has_public_forms:
        return Queries(stores.ledger, genesis)
    return Queries(stores.ledger, genesis, voter, stores.checkpoints)


def make_cosigning(
    config: NodeConfig,
    genesis: Genesis,
    stores: Stores,
    cosigner: Signer,
    *,
    runner: Runner,
    peering: Peering,
) -> Cosigning:
    """Return what cosigns checkpoints, told of what happens here, and not started.

    Raises `StorageError` where what it signed last cannot be read.
    """
    ledger, suite = stores.ledger, genesis.suite

    def find_set(epoch: int) -> ValidatorSet | None:
        start = find_epoch_start(ledger, epoch, suite)
        return None if start is None else start.validators

    cosigning = Cosigning(
        genesis,
        config.validator_id,
        cosigner,
        ledger=ledger,
        find_set=find_set,
        checkpoints=stores.checkpoints,
        cosigned=CosignedFile(config.home / COSIGNED_FILE, origin_of(genesis.chain_id)),
        network=Surroundings(runner, peering),
        on_failure=runner.stop,
    )
    runner.on_committed.append(lambda block: cosigning.note_committed(block.executed.header))
    runner.on_lines.append(cosigning.note_lines)
    runner.on_connected.append(cosigning.greet)
    return cosigning
