"""Is everything still there? Receipts that verify offline, ledgers that are whole and all alike."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from node.assembly import open_ledger_at_rest
from node.config import NodeConfig
from node.crypto.suite import SHA_256
from node.rpc.client import LedgerClient, NetworkUnavailable, NotFound
from node.timestamp.receipt import Receipt
from node.timestamp.verify import NamedDigest, Outcome, verify_receipt
from tests.churn.load import Acknowledged, Acknowledgements
from tests.network.local_network import LocalNetwork

LOSSES_TOLD: Final = 20

_AT_ONCE: Final = 16
_ANSWER_MS: Final = 2_000
_PATIENCE_S: Final = 60.0
_PAUSE_S: Final = 0.1
_PAGE: Final = 1_000


class ReceiptCheck:
    """Fetches and verifies the receipt of every acknowledged record, each at the next validator."""

    def __init__(
        self,
        network: LocalNetwork,
        clients: Mapping[str, LedgerClient],
        acknowledgements: Acknowledgements,
    ) -> None:
        self._anchor = network.anchor
        self._clients, self._acknowledgements = tuple(clients.values()), acknowledgements
        self._is_stopping = False
        self.verified = 0
        self.lost: list[str] = []

    async def run(self) -> None:
        """Follow the acknowledgements until told to stop, and then to their end."""
        done = 0
        while not (self._is_stopping and done == self._acknowledgements.count):
            entries = self._acknowledgements.read(done, _AT_ONCE)
            await asyncio.gather(
                *(self._check(entry, turn) for turn, entry in enumerate(entries, done))
            )
            done += len(entries)
            if not entries:
                await asyncio.sleep(_PAUSE_S)

    def stop(self) -> None:
        """End with the last acknowledgement that there is."""
        self._is_stopping = True

    async def _check(self, entry: Acknowledged, turn: int) -> None:
        """Ask one validator after the other: who is down, or behind, may not have it just now."""
        deadline_s = time.monotonic() + _PATIENCE_S
        while True:
            client = self._clients[turn % len(self._clients)]
            try:
                encoded = await client.receipt_of_operation(entry.tx_id, 0, _ANSWER_MS)
            except (NetworkUnavailable, NotFound) as error:
                if time.monotonic() > deadline_s:
                    self._note_loss(f"{entry.tx_id.hex()}: {error}")
                    return
                turn += 1
                await asyncio.sleep(_PAUSE_S)
                continue
            self._judge(entry, encoded)
            return

    def _judge(self, entry: Acknowledged, encoded: bytes) -> None:
        verdict = verify_receipt(encoded, self._anchor, NamedDigest(SHA_256, entry.digest))
        if verdict.outcome is not Outcome.VERIFIED:
            failure = verdict.failure.detail if verdict.failure else "no step failed"
            self._note_loss(f"{entry.tx_id.hex()}: {verdict.outcome.value}: {failure}")
            return
        receipt = Receipt.decode(encoded)
        told = (receipt.leaf.tx_id, receipt.leaf.height, receipt.log_index)
        if told != (entry.tx_id, entry.height, entry.log_index):
            self._note_loss(f"{entry.tx_id.hex()}: acknowledged as {entry}, its receipt is another")
            return
        self.verified += 1

    def _note_loss(self, what: str) -> None:
        if len(self.lost) < LOSSES_TOLD:
            self.lost.append(what)


@dataclass(frozen=True, slots=True)
class Ledgers:
    """What the ledgers of a network at rest are."""

    audited: dict[str, int]
    """By validator, its blocks; one whose audit failed is missing."""
    faults: tuple[str, ...]
    """What is wrong with them, the first of each kind."""


def examine_ledgers(network: LocalNetwork, acknowledgements: Acknowledgements) -> Ledgers:
    """Audit every ledger, hold them against each other, and look up all that was acknowledged."""
    audited: dict[str, int] = {}
    faults: list[str] = []
    for validator_id in network.ids:
        command = (sys.executable, "-m", "node", "audit", "ledger", "--json")
        done = subprocess.run(
            (*command, "--home", str(network.folder(validator_id))),
            capture_output=True,
            check=False,
        )
        if done.returncode:
            faults.append(f"audit of {validator_id}: {done.stdout.decode() + done.stderr.decode()}")
        else:
            audited[validator_id] = json.loads(done.stdout)["blocks"]
    if not faults:
        faults += _compare(network, acknowledgements)
    return Ledgers(audited, tuple(faults))


def _compare(network: LocalNetwork, acknowledgements: Acknowledgements) -> list[str]:
    with ExitStack() as stack:
        ledgers = {}
        for validator_id in network.ids:
            config = NodeConfig.load(network.folder(validator_id))
            _, ledgers[validator_id] = stack.enter_context(
                open_ledger_at_rest(config, network.genesis)
            )
        tip = min(ledger.tip_height for ledger in ledgers.values())
        for height in range(tip + 1):
            digests = {ledger.digest_at(height) for ledger in ledgers.values()}
            if len(digests) != 1:
                return [f"the ledgers hold {len(digests)} different blocks {height}"]
        for start in range(0, acknowledgements.count, _PAGE):
            for entry in acknowledgements.read(start, _PAGE):
                for validator_id, ledger in ledgers.items():
                    position = ledger.find_transaction(entry.tx_id)
                    if position is None or position[0] != entry.height:
                        return [f"{validator_id} holds {position} for {entry}"]
    return []
