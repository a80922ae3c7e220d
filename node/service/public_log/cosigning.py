"""What this validator signs of the public log, and how the signatures of a quorum come together.

A checkpoint is cosigned of every block at a multiple of `checkpoint_blocks`, of the last block of
an epoch, and of the tip once nothing was committed for a while, by the validators of the set that
certified that block. Each sends its lines to the others; whoever has those of a quorum keeps them
as one note that never changes. Nothing waits for this, and what is lost is not asked for again: the
next checkpoint covers the same records. node/adr/0013 gives the reasons.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog

from node.chain.block import Header
from node.chain.genesis import Genesis
from node.chain.membership import Validator, ValidatorSet
from node.chain.merkle import TreeHead
from node.crypto.signature import Signer
from node.errors import ProofError, StorageError
from node.service.wire import CheckpointLines, Message
from node.storage.checkpoints import CheckpointStore, KeptCheckpoint
from node.storage.cosigned_file import CosignedFile
from node.timestamp.log.checkpoint import (
    Checkpoint,
    collect,
    cosigner_key,
    cosigner_name,
    log_key,
    members_that_sign,
    origin_of,
)
from node.timestamp.log.note import Note, NoteSignature, cosign_text, sign_text

IDLE_MS: Final = 2_000
"""How long nothing is committed until the tip is cosigned."""
GATHERED_MAX: Final = 8
"""Checkpoints whose signatures are gathered at once: the largest."""
AHEAD_MAX: Final = 64
"""Validators whose lines for a log larger than this node's are kept, one each."""

_TIME_BYTES: Final = 8

log = structlog.get_logger()


class Headers(Protocol):
    """The ledger as the cosigning sees it."""

    @property
    def header(self) -> Header:
        """The newest one."""

    def header_of_size(self, size: int) -> Header | None:
        """Return the header after whose block the log had `size` leaves; None where none did."""


class Network(Protocol):
    """What the cosigning is told of its surroundings."""

    def send(self, peer: int | None, message: Message) -> None:
        """Send to a peer by number, or to all."""

    def name_of(self, peer: int) -> str:
        """Return the id of a peer by its number."""

    def utc_ms(self) -> int:
        """Return the time by this node's clock, milliseconds since 1970 UTC."""

    @property
    def is_behind(self) -> bool:
        """Whether the others are further than this node."""

    @property
    def clock_is_fit(self) -> bool:
        """Whether this node's clock can be vouched for: a cosignature states its time."""

    @property
    def checkpoint_blocks(self) -> int:
        """How many blocks lie between checkpoints, in the epoch in force."""


@dataclass(slots=True)
class _Gathering:
    """The lines for one checkpoint so far."""

    checkpoint: Checkpoint
    validators: ValidatorSet
    lines: dict[str, CheckpointLines] = field(default_factory=dict)
    """By validator id; every one checked."""


class Cosigning:
    """Signs checkpoints, gathers those of the others, keeps what a quorum signed."""

    def __init__(  # noqa: PLR0913 - the parts of one concern
        self,
        genesis: Genesis,
        validator_id: str,
        cosigner: Signer,
        *,
        ledger: Headers,
        find_set: Callable[[int], ValidatorSet | None],
        checkpoints: CheckpointStore,
        cosigned: CosignedFile,
        network: Network,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        """`find_set` gives the set of an epoch above 0; `on_failure` hears of a failing disk."""
        self._genesis, self._me, self._cosigner = genesis, validator_id, cosigner
        self._ledger, self._find_set, self._checkpoints = ledger, find_set, checkpoints
        self._cosigned, self._network, self._on_failure = cosigned, network, on_failure
        self._origin = origin_of(genesis.chain_id)
        self._writer = ThreadPoolExecutor(1, "cosigned")
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._own: CheckpointLines | None = None
        self._told_size = 0
        """Of the log after the block that `on_checkpoint` heard of last."""
        self._gathered: dict[int, _Gathering] = {}
        self._ahead: dict[str, CheckpointLines] = {}
        self._distrusted: set[str] = set()
        """Whose lines did not verify since the last checkpoint."""
        self._sets = {0: genesis.validators}
        self.on_checkpoint: list[Callable[[Header], None]] = []
        """Told of each header that is signed, so that all that validators sign is of the same."""
        newest = checkpoints.newest()
        self._kept_size = 0 if newest is None else newest.size

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        """Begin: the tip is cosigned soon, for nobody else may have kept what was said before."""
        self._wait_idle()

    async def stop(self) -> None:
        """End, with nothing half done."""
        if self._timer is not None:
            self._timer.cancel()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._writer.shutdown(wait=True)

    # ------------------------------------------------------------------ what happens

    def note_committed(self, header: Header) -> None:
        """Take note of a block that became final and is on disk."""
        self._wait_idle()
        for name, lines in tuple(self._ahead.items()):
            if lines.size <= header.log_size:
                del self._ahead[name]
                self._take(name, lines)
        validators = self._set_of(header.epoch)
        if validators is None or self._network.is_behind:
            return
        ends_epoch = header.next_set_digest != validators.digest
        if ends_epoch or header.height % self._network.checkpoint_blocks == 0:
            self._cosign(header)

    def note_lines(self, peer: int, lines: CheckpointLines) -> None:
        """Take what a peer signed."""
        self._take(self._network.name_of(peer), lines)

    def greet(self, peer: int) -> None:
        """Tell a peer that can be reached from now on what this validator signed last."""
        if self._own is not None:
            self._network.send(peer, self._own)

    def _wait_idle(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(IDLE_MS / 1_000, self._note_idle)

    def _note_idle(self) -> None:
        self._timer = None
        if self._network.is_behind or not self._network.clock_is_fit:
            self._wait_idle()  # it may not be so any more then
        if not self._network.is_behind:
            self._cosign(self._ledger.header)

    # ------------------------------------------------------------------ signing

    def _cosign(self, header: Header) -> None:
        """Sign a checkpoint of the newest block, if this node is one of those who do."""
        if header.log_size > self._told_size:
            self._told_size = header.log_size
            for listener in self.on_checkpoint:
                listener(header)
        validators = self._set_of(header.epoch)
        if not header.log_size or validators is None or self._member(validators, self._me) is None:
            return
        if not self._network.clock_is_fit:
            return
        head = TreeHead(header.log_size, header.log_roots[0])
        task = asyncio.get_running_loop().create_task(self._cosign_head(head))
        self._tasks.add(task)
        task.add_done_callback(self._reap)

    async def _cosign_head(self, head: TreeHead) -> None:
        loop = asyncio.get_running_loop()
        if not await loop.run_in_executor(self._writer, self._cosigned.permit, head):
            log.warning("checkpoint-not-cosigned", size=head.size, last=self._cosigned.last)
            return
        text = Checkpoint(self._origin, head).text
        name, time_s = cosigner_name(self._origin, self._me), self._network.utc_ms() // 1_000
        cosignature = cosign_text(text, name, self._cosigner, time_s)
        self._own = CheckpointLines(
            size=head.size,
            root=head.root,
            log_signature=sign_text(text, self._origin, self._cosigner).signature,
            time_s=time_s,
            cosignature=cosignature.signature[_TIME_BYTES:],
        )
        self._network.send(None, self._own)
        self._take(self._me, self._own)

    def _reap(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_failure(error)

    # ------------------------------------------------------------------ gathering

    def _take(self, name: str, lines: CheckpointLines) -> None:
        """Check what a validator signed, once the log is as large here, and gather it."""
        if lines.size <= self._kept_size or name in self._distrusted:
            return
        if lines.size > self._ledger.header.log_size:
            if name in self._ahead or len(self._ahead) < AHEAD_MAX:
                self._ahead[name] = lines
            return
        gathering = self._gathering(lines.size)
        if gathering is None or name in gathering.lines:
            return
        member = self._member(gathering.validators, name)
        if member is None:
            return
        try:
            self._check(gathering.checkpoint, member, lines)
        except ProofError as error:
            self._distrusted.add(name)
            log.warning("checkpoint-refused", validator=name, size=lines.size, reason=str(error))
            return
        gathering.lines[name] = lines
        if len(gathering.lines) >= gathering.validators.quorum:
            self._keep(gathering)

    def _gathering(self, size: int) -> _Gathering | None:
        """Return what is gathered for a size of the log after some block."""
        found = self._gathered.get(size)
        if found is not None:
            return found
        header = self._ledger.header_of_size(size)
        validators = None if header is None else self._set_of(header.epoch)
        if header is None or validators is None:
            return None
        checkpoint = Checkpoint(self._origin, TreeHead(size, header.log_roots[0]))
        found = self._gathered[size] = _Gathering(checkpoint, validators)
        if len(self._gathered) > GATHERED_MAX:
            del self._gathered[min(self._gathered)]
        return found

    def _check(self, checkpoint: Checkpoint, member: Validator, lines: CheckpointLines) -> None:
        if lines.root != checkpoint.head.root:
            raise ProofError("checkpoint-root", f"not the root of this log at {lines.size}")
        log_line, cosignature = self._as_lines(member, lines)
        Note(checkpoint.text, (log_line,)).signed_by([log_key(self._origin, member)])
        Note(checkpoint.text, (cosignature,)).signed_by([cosigner_key(self._origin, member)])

    def _as_lines(
        self, member: Validator, lines: CheckpointLines
    ) -> tuple[NoteSignature, NoteSignature]:
        as_log, as_cosigner = log_key(self._origin, member), cosigner_key(self._origin, member)
        timed = lines.time_s.to_bytes(_TIME_BYTES, "big") + lines.cosignature
        return (
            NoteSignature(as_log.name, as_log.key_id, lines.log_signature),
            NoteSignature(as_cosigner.name, as_cosigner.key_id, timed),
        )

    def _keep(self, gathering: _Gathering) -> None:
        validators, size = gathering.validators, gathering.checkpoint.head.size
        signed = [
            self._as_lines(member, gathering.lines[member.validator_id])
            for member in members_that_sign(validators)
            if member.validator_id in gathering.lines
        ]
        note = collect(gathering.checkpoint, signed[0][0], [line for _, line in signed])
        try:
            self._checkpoints.keep(KeptCheckpoint(size, validators.epoch, note.encode()))
        except StorageError as error:
            self._on_failure(error)
            return
        self._kept_size = size
        self._gathered = {each: it for each, it in self._gathered.items() if each > size}
        self._distrusted.clear()
        log.debug("checkpoint-cosigned", size=size, cosigners=len(signed))

    # ------------------------------------------------------------------ who

    def _member(self, validators: ValidatorSet, name: str) -> Validator | None:
        for each in members_that_sign(validators):
            if each.validator_id == name:
                return each
        return None

    def _set_of(self, epoch: int) -> ValidatorSet | None:
        if epoch not in self._sets:
            found = self._find_set(epoch)
            if found is None:
                return None
            self._sets[epoch] = found
        return self._sets[epoch]
