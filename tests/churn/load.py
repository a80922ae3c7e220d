"""Clients that submit records through every validator, and a file of all that was acknowledged.

Acknowledged means that a validator told the client of a final result: from then on the client
throws its own copy away, and the network answers for the record.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from node.chain.admission import AdmissionCode
from node.chain.block import ResultCode
from node.chain.record import Notarization
from node.chain.transaction import Transaction
from node.errors import ClientError
from node.rpc.client import LedgerClient, Submission
from tests.network.local_network import LocalNetwork

BATCH: Final = 5
"""Transactions a client submits at a time."""

_PATIENCE_MS: Final = 2_000
"""How long one validator may take; then any other is asked too."""
_PAUSE_S: Final = 0.1
_NOT_NOW: Final = (AdmissionCode.POOL_FULL, AdmissionCode.NOT_READY)
_ENTRY: Final = struct.Struct("<32s32sQQ")


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A record whose client was told that it is final."""

    tx_id: bytes
    digest: bytes
    height: int
    log_index: int


class Acknowledgements:
    """All of them, in the order in which they came, in a file: this process keeps none."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b")
        self.count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()

    def append(self, entry: Acknowledged) -> None:
        """Remember one more."""
        self._file.seek(self.count * _ENTRY.size)
        packed = _ENTRY.pack(entry.tx_id, entry.digest, entry.height, entry.log_index)
        self._file.write(packed)
        self.count += 1

    def read(self, start: int, count: int) -> list[Acknowledged]:
        """Return up to `count` of them, from one on."""
        self._file.seek(start * _ENTRY.size)
        data = self._file.read(min(count, max(self.count - start, 0)) * _ENTRY.size)
        return [Acknowledged(*fields) for fields in _ENTRY.iter_unpack(data)]


class Loader:
    """Submits batches to one validator, and to any other where that one does not answer in time."""

    def __init__(
        self,
        network: LocalNetwork,
        validator_id: str,
        clients: Mapping[str, LedgerClient],
        acknowledgements: Acknowledgements,
        batches_per_s: float,
    ) -> None:
        self._network, self._acknowledgements = network, acknowledgements
        others = [client for name, client in clients.items() if name != validator_id]
        self._clients = (clients[validator_id], *others)
        self._period_s = 1 / batches_per_s
        self._is_stopping = False
        self.without_effect: Counter[str] = Counter()
        """Transactions that were refused or had no effect, by the name of the reason."""

    async def run(self) -> None:
        """Submit until told to stop, and until the last batch is final."""
        while not self._is_stopping:
            began_s = time.monotonic()
            await self._bring_through([self._network.transaction() for _ in range(BATCH)])
            await asyncio.sleep(max(began_s + self._period_s - time.monotonic(), 0))

    def stop(self) -> None:
        """Begin no batch any more."""
        self._is_stopping = True

    async def _bring_through(self, transactions: Sequence[Transaction]) -> None:
        """Submit the same transactions again and again, until it is known what became of each."""
        left = list(transactions)
        while True:
            for client in self._clients:
                encoded = [transaction.encoded for transaction in left]
                try:
                    outcomes = await client.submit(encoded, _PATIENCE_MS)
                except ClientError:
                    continue
                pairs = zip(left, outcomes, strict=True)
                left = [each for each, outcome in pairs if not self._settle(each, outcome)]
                if not left:
                    return
            await asyncio.sleep(_PAUSE_S)

    def _settle(self, transaction: Transaction, outcome: Submission) -> bool:
        """Take note of an outcome; return whether no later one can be another."""
        if outcome.result is None:
            code = outcome.admission.code
            if code.is_admitted or code in _NOT_NOW:
                return False
            self.without_effect[code.name] += 1
        elif outcome.result.code is not ResultCode.OK:
            self.without_effect[outcome.result.code.name] += 1
        else:
            payload = transaction.body.payload
            assert isinstance(payload, Notarization)
            result = outcome.result
            self._acknowledgements.append(
                Acknowledged(transaction.tx_id, payload.digests, result.height, result.log_index)
            )
        return True
