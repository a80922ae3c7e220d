"""Receipts that a folder holds already, found by what they say was recorded, whatever their names.

So a run that goes on where another was stopped records nothing twice: what it is to record is
looked up by its content.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from node.chain.record import Record
from node.cli.network import Network
from node.crypto.suite import document_digest_by_id
from node.errors import DecodeError
from node.limits import RECEIPT_BYTES_MAX
from node.timestamp.receipt import RECEIPT_SUFFIX
from node.timestamp.refreshed import decode_receipt
from node.timestamp.verify import Attestation, NamedDigest, Outcome


@dataclass(frozen=True, slots=True)
class KeptReceipt:
    """A receipt in the folder, verified."""

    path: Path
    attestation: Attestation


class KeptReceipts:
    """Those of one sender."""

    def __init__(self, network: Network) -> None:
        """Begin with none."""
        self._network, self._sender = network, network.identity
        self._by_operation: dict[tuple[bytes, int], Path] = {}
        self._by_record: dict[Record, list[Path]] = {}

    @classmethod
    def read(cls, folder: Path, network: Network) -> Self:
        """Look through a folder, if it is there; what is no receipt is passed over."""
        found = cls(network)
        for path in sorted(folder.glob(f"*{RECEIPT_SUFFIX}")):
            try:
                with path.open("rb") as file:
                    found.add(path, file.read(RECEIPT_BYTES_MAX + 1))
            except (OSError, DecodeError):
                continue
        return found

    @property
    def by_operation(self) -> Mapping[tuple[bytes, int], Path]:
        """Where receipts are, by the id of the transaction and the place of the record in it."""
        return self._by_operation

    def add(self, path: Path, encoded: bytes) -> None:
        """Take note of a receipt; raises `DecodeError` for what is none."""
        leaf = decode_receipt(encoded)[0].leaf
        if leaf.sender == self._sender:
            self._by_operation[leaf.tx_id, leaf.operation_index] = path
            self._by_record.setdefault(leaf.record, []).append(path)

    def find(self, record: Record) -> KeptReceipt | None:
        """Return a receipt of this very record that verifies, or None."""
        digest = NamedDigest(document_digest_by_id(record.digest_algorithm), record.digest)
        for path in self._by_record.get(record, ()):
            try:
                verdict = self._network.verify_receipt(path.read_bytes(), digest)
            except OSError:
                continue
            attestation = verdict.attestation
            is_proof = verdict.outcome is Outcome.VERIFIED and verdict.unchecked is None
            if is_proof and attestation is not None and attestation.record == record:
                return KeptReceipt(path, attestation)
        return None
