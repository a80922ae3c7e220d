"""Compact certificates on a running node: moments in, shares to the peers, certificates kept.

Signing and counting run on one thread of their own, never two at a time; what comes meanwhile waits
as the newest, so a slow machine skips checkpoints instead of falling behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

import structlog

from node.chain.block import Header
from node.chain.compact import Checkpoint, Share
from node.chain.genesis import Genesis
from node.chain.membership import ValidatorSet
from node.crypto.bls import BlsSigner, is_native
from node.execution.registry import find_epoch_start
from node.service.public_log.shares import Shares, count
from node.service.wire import Message
from node.storage.ledger import LedgerStore

_NO_LIBRARY: Final = (
    "no shares of compact certificates from here: .venv/bin/pip install -e '.[bls]'"
)

log = structlog.get_logger()


class Network(Protocol):
    """The peers, by number."""

    def send(self, peer: int | None, message: Message) -> None:
        """Send to a peer, or to all."""

    def name_of(self, peer: int) -> str:
        """Return the id of a peer."""


class Sharing:
    """This node's part in compact certificates. Without a signer it has none, and says nothing."""

    def __init__(
        self,
        genesis: Genesis,
        ledger: LedgerStore,
        validator_id: str,
        signer: BlsSigner | None,
        network: Network,
        *,
        on_error: Callable[[BaseException], None],
    ) -> None:
        """Begin on the running event loop; `on_error` is told of what should not happen."""
        self._genesis, self._ledger, self._network = genesis, ledger, network
        self._on_error = on_error
        self._signer = signer if signer is not None and is_native() else None
        if signer is not None and self._signer is None:
            log.warning("compact-certificates", detail=_NO_LIBRARY)
        self._shares = Shares(validator_id, genesis.chain_id, self._set_of)
        self._worker = ThreadPoolExecutor(1, "shares")
        self._waiting: Checkpoint | None = None
        self._task: asyncio.Task[None] | None = None

    def state(self, header: Header) -> None:
        """Sign a header of a moment, unless this validator did not decide it."""
        checkpoint = Checkpoint.of(header, header.digest(self._genesis.suite))
        if self._signer is not None and self._shares.may_sign(checkpoint):
            self._waiting = checkpoint
            self._work()

    def hear(self, peer: int, share: Share) -> None:
        """Take a peer's share; tell it this node's own where it may have missed it."""
        if self._signer is None:
            return
        answer = self._shares.hear(self._network.name_of(peer), share)
        if answer is not None:
            self._network.send(peer, answer)
        self._work()

    def greet(self, peer: int) -> None:
        """Tell a peer that came the newest share: it may have missed it."""
        own = self._shares.own
        if own is not None:
            self._network.send(peer, own)

    def close(self) -> None:
        """End; what is not signed or counted by now never is."""
        if self._task is not None:
            self._task.cancel()
        self._worker.shutdown(wait=True, cancel_futures=True)

    def _set_of(self, epoch: int) -> ValidatorSet | None:
        if epoch == self._genesis.validators.epoch:
            return self._genesis.validators
        start = find_epoch_start(self._ledger, epoch, self._genesis.suite)
        return None if start is None else start.validators

    def _work(self) -> None:
        """See to what there is to do, unless that is being done."""
        if self._task is None and (self._waiting is not None or self._shares.due() is not None):
            self._task = asyncio.get_running_loop().create_task(self._until_at_rest())
            self._task.add_done_callback(self._reap)

    async def _until_at_rest(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if self._waiting is not None and self._signer is not None:
                checkpoint, self._waiting = self._waiting, None
                message = checkpoint.share_bytes(self._genesis.chain_id)
                signature = await loop.run_in_executor(self._worker, self._signer.sign, message)
                share = self._shares.sign(checkpoint, signature)
                self._network.send(None, share)
            tally = self._shares.due()
            if tally is None:
                if self._waiting is None:
                    return
                continue
            counted = await loop.run_in_executor(self._worker, count, tally)
            self._shares.settle(tally, counted)
            names = [tally.validators.validators[each].validator_id for each in counted.unsound]
            if names:
                log.warning("unsound-shares", height=tally.checkpoint.height, validators=names)
            if counted.certificate is not None:
                self._ledger.keep_compact(counted.certificate)
                log.debug("compact-certificate", height=tally.checkpoint.height)

    def _reap(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_error(error)
        elif not task.cancelled():
            self._work()
