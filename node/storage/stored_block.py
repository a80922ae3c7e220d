"""A committed block as the ledger keeps it, and the leaves of the log rebuilt from it.

Leaves are not stored: each is a function of header, transactions and results. Two values make a
block, so that headers and certificates can be read without the transactions:

- header: [header, certificate or null]; the genesis block alone has no certificate;
- body: [log index of its first leaf, [encoded transaction, ...], places, failures]. `places` holds
  4 bytes per transaction: how many leaves after the block's first one its own begin. `failures`
  lists [transaction, code, operation] of those that failed.

A pruned body has null for the transactions, and a fifth item, what receipts need of each: [id,
sender, payload], the payload null where it wrote no records. With the signatures and nonces it has
lost what the root of the transactions is made of; those of results and log still follow from it.

What this node reads of its own is damaged if it is malformed. What another node hands over in this
form is not believed (`require_sound`).
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from node.chain.block import DIGEST_BYTES, CertifiedBlock, Header, ResultCode, TransactionResult
from node.chain.certificate import QuorumCertificate
from node.chain.encoding import (
    decode,
    encode,
    expect_array,
    expect_blob,
    expect_bytes,
    expect_list,
    expect_text,
    expect_uint,
)
from node.chain.merkle import leaf_hashes, merkle_root
from node.chain.record import Notarization, RecordLeaf, encode_header_leaf
from node.chain.struct import Struct
from node.chain.transaction import Transaction
from node.crypto.suite import Suite
from node.errors import DecodeError, InvariantViolation, ProofError, StorageError
from node.execution.apply import ExecutedBlock
from node.limits import (
    BLOCK_TXS_MAX,
    IDENTITY_ID_BYTES_MAX,
    PEER_MESSAGE_BYTES_MAX,
    TX_BYTES_MAX,
)
from node.storage.past import Pruned

VALUE_BYTES_MAX: Final = PEER_MESSAGE_BYTES_MAX
_PLACE_BYTES: Final = 4
_PRUNED_FIELDS: Final = 5


@contextmanager
def damage_explained(what: str) -> Iterator[None]:
    """Turn a `DecodeError` about stored bytes into the `StorageError` it means."""
    try:
        yield
    except DecodeError as error:
        raise StorageError(
            f"stored {what}: {error}",
            code="GC-3003",
            fix="the database is damaged: remove it and start again to rebuild it",
        ) from error


def encode_header_value(header: Header, certificate: QuorumCertificate | None) -> bytes:
    """Return the header value of a block."""
    return encode([header.encoded, None if certificate is None else certificate.encoded])


def encode_body_value(executed: ExecutedBlock) -> bytes:
    """Return the body value of a block."""
    first = executed.header.log_size - len(executed.leaves)
    places = [result.log_index - first for result in executed.results]
    return encode(
        [
            first,
            [verified.transaction.encoded for verified in executed.transactions],
            struct.pack(f">{len(places)}I", *places),
            [
                [index, result.code.value, result.operation_index]
                for index, result in enumerate(executed.results)
                if result.code is not ResultCode.OK
            ],
        ]
    )


def decode_header_value(data: bytes, suite: Suite) -> tuple[Header, QuorumCertificate | None]:
    """Read a header value of this node's own; raises `StorageError`."""
    with damage_explained("header"):
        return _header_value(data, suite)


def _header_value(data: bytes, suite: Suite) -> tuple[Header, QuorumCertificate | None]:
    header, certificate = expect_array(
        decode(data, what="header", size_max=VALUE_BYTES_MAX), 2, "header"
    )
    return (
        Header.from_value(header),
        None
        if certificate is None
        else QuorumCertificate.from_value(certificate, suite.signature_size),
    )


class Written(Struct, frozen=True, gc=False):
    """What receipts, results and indexes need of a transaction."""

    tx_id: bytes
    sender: str
    payload: Notarization | None
    """None where it wrote no records."""

    def to_value(self) -> list[object]:
        """Return the array of a pruned body."""
        return [
            self.tx_id,
            self.sender,
            None if self.payload is None else self.payload.to_value(),
        ]

    @classmethod
    def from_value(cls, value: object) -> Written:
        """Read the array of a pruned body; raises `DecodeError`."""
        tx_id, sender, payload = expect_array(value, 3, "pruned transaction")
        return cls(
            expect_bytes(tx_id, "pruned transaction id", size=DIGEST_BYTES),
            expect_text(sender, "pruned transaction sender", size_max=IDENTITY_ID_BYTES_MAX),
            None if payload is None else Notarization.from_value(payload),
        )


class StoredBlock:
    """One committed block, its transactions decoded only as they are asked for."""

    def __init__(
        self, header_value: bytes, body_value: bytes, suite: Suite, *, may_be_pruned: bool = False
    ) -> None:
        """Read both values of a block; raises `DecodeError`."""
        self._suite = suite
        self.header_value, self.body_value = header_value, body_value
        self.header, self.certificate = _header_value(header_value, suite)
        fields = decode(body_value, what="block body", size_max=VALUE_BYTES_MAX)
        self.is_pruned = may_be_pruned and type(fields) is list and len(fields) == _PRUNED_FIELDS
        self._pruned: tuple[Written, ...] = ()
        if self.is_pruned:
            first, encoded, places, failures, written = fields
            expect_list(encoded if encoded is not None else [], 0, "pruned block transactions")
            self._pruned = tuple(
                Written.from_value(item)
                for item in expect_list(written, BLOCK_TXS_MAX, "pruned block transactions")
            )
            encoded = ()
        else:
            first, encoded, places, failures = expect_array(fields, 4, "block body")
            expect_list(encoded, BLOCK_TXS_MAX, "block transactions")
        self.first_log_index = expect_uint(first, "block first log index")
        self.encoded_transactions: tuple[bytes, ...] = tuple(
            expect_blob(item, "block transaction", size_max=TX_BYTES_MAX) for item in encoded
        )
        """None of a pruned block."""
        count = self.count = len(self._pruned) or len(self.encoded_transactions)
        self._places = struct.unpack(
            f">{count}I", expect_bytes(places, "block places", size=count * _PLACE_BYTES)
        )
        self._failures: dict[int, tuple[ResultCode, int]] = {}
        for failure in expect_list(failures, count, "block failures"):
            index, code, operation_index = expect_array(failure, 3, "block failure")
            known = expect_uint(code, "failure code", max(ResultCode).value)
            self._failures[expect_uint(index, "failure index", count - 1)] = (
                ResultCode(known),
                expect_uint(operation_index, "failure operation"),
            )
        self._transactions: dict[int, Transaction] = {}

    @classmethod
    def stored(cls, header_value: bytes, body_value: bytes, suite: Suite) -> StoredBlock:
        """Read both values of a block as this node wrote them; raises `StorageError`."""
        with damage_explained("block"):
            return cls(header_value, body_value, suite, may_be_pruned=True)

    def require_sound(self) -> None:
        """Check all that another node may have made up, but for the certificate.

        Raises `DecodeError`, or `ProofError` for the first rule broken:

        1. `past-transactions`: the header's root is that of the transactions;
        2. `past-log`: the leaves begin where the header's log size less their number is, and each
           transaction's where the ones before it end;
        3. `past-results`: the header's root is that of the results, and nothing else is told.
        """
        header, hash_function = self.header, self._suite.hash
        count = len(self.encoded_transactions)
        for index in range(count):
            self._decode(index)
        transactions = [self.transaction(index) for index in range(count)]
        tx_leaves = leaf_hashes((each.tx_hash for each in transactions), hash_function)
        if merkle_root(tx_leaves, hash_function) != header.tx_root:
            raise ProofError("past-transactions", f"block {header.height}: not its transactions")
        place = 1  # the first leaf is the parent's header
        for index, transaction in enumerate(transactions):
            if self._places[index] != place:
                raise ProofError(
                    "past-log", f"block {header.height}: transaction {index} misplaced"
                )
            if index not in self._failures:
                place += transaction.body.payload.count
        if self.first_log_index + place != header.log_size:
            raise ProofError("past-log", f"block {header.height}: begins elsewhere in the log")
        result_leaves = leaf_hashes((each.encode() for each in self.results()), hash_function)
        if merkle_root(result_leaves, hash_function) != header.results_root:
            raise ProofError("past-results", f"block {header.height}: not its results")
        failures = [
            [index, code.value, operation_index]
            for index, (code, operation_index) in sorted(self._failures.items())
        ]
        if decode(self.body_value, what="block body", size_max=VALUE_BYTES_MAX)[3] != failures:
            raise ProofError("past-results", f"block {header.height}: failures told otherwise")

    def encode(self) -> bytes:
        """Return the canonical `certified-block`, without decoding its transactions.

        Raises `Pruned`, as all that gives transactions.
        """
        self._require_transactions()
        certificate = None if self.certificate is None else self.certificate.encoded
        return encode([1, self.header.encoded, list(self.encoded_transactions), certificate])

    def certified(self) -> CertifiedBlock | None:
        """Return the block with its certificate; None for genesis, which has none."""
        if self.certificate is None:
            return None
        transactions = tuple(self.transaction(index) for index in range(self.count))
        return CertifiedBlock(self.header, transactions, self.certificate)

    def transaction(self, index: int) -> Transaction:
        """Return a transaction by its position; raises `StorageError` if it is malformed."""
        self._require_transactions()
        transaction = self._transactions.get(index)
        if transaction is None:
            with damage_explained("transaction"):
                transaction = self._decode(index)
        return transaction

    def written(self, index: int) -> Written:
        """Return what is kept of a transaction, pruned or not."""
        if self.is_pruned:
            return self._pruned[index]
        transaction = self.transaction(index)
        payload = transaction.body.payload
        records = payload if isinstance(payload, Notarization) else None
        return Written(transaction.tx_id, transaction.body.sender, records)

    def pruned_body(self) -> bytes | None:
        """Return the body value without what receipts do not need.

        None where there is nothing to gain, or where all is needed: by what governance decided,
        old blocks are judged.
        """
        kept = [self.written(index) for index in range(self.count)]
        governs = any(each.payload is None for each in kept)
        if self.is_pruned or not kept or governs:
            return None
        first, _, places, failures = decode(
            self.body_value, what="block body", size_max=VALUE_BYTES_MAX
        )
        without_leaves = [
            Written(each.tx_id, each.sender, None if index in self._failures else each.payload)
            for index, each in enumerate(kept)
        ]
        values = [each.to_value() for each in without_leaves]
        return encode([first, None, places, failures, values])

    def _require_transactions(self) -> None:
        if self.is_pruned:
            raise Pruned(self.header.height + 1)

    def _decode(self, index: int) -> Transaction:
        transaction = Transaction.decode(self.encoded_transactions[index], self._suite)
        self._transactions[index] = transaction
        return transaction

    def result(self, index: int) -> TransactionResult:
        """Return the result of the transaction at `index`."""
        code, operation_index = self._failures.get(index, (ResultCode.OK, 0))
        return TransactionResult(
            tx_id=self.written(index).tx_id,
            code=code,
            operation_index=operation_index,
            log_index=self.first_log_index + self._places[index],
        )

    def results(self) -> tuple[TransactionResult, ...]:
        """Return the results of all transactions."""
        return tuple(self.result(index) for index in range(self.count))

    def record_leaf(self, log_index: int) -> RecordLeaf | None:
        """Return the record at `log_index`, one of this block's; None at its header leaf."""
        place = log_index - self.first_log_index
        if place == 0:
            return None
        # A transaction without leaves has the place of the one after it: the last one counts.
        index = bisect_right(self._places, place) - 1
        written = self.written(index)
        if written.payload is None:
            raise InvariantViolation(f"leaf {log_index} is of no record")
        operation_index = place - self._places[index]
        return RecordLeaf(
            height=self.header.height,
            time_ms=self.header.time_ms,
            tx_id=written.tx_id,
            operation_index=operation_index,
            sender=written.sender,
            record=written.payload.record(operation_index),
        )

    def leaf(self, log_index: int) -> bytes:
        """Return the encoded leaf at `log_index`, which must be one of this block's."""
        record = self.record_leaf(log_index)
        if record is None:
            return encode_header_leaf(self.header.height - 1, self.header.parent)
        return record.encode()
