"""Makes every file of this folder from fixed keys: `python -m tests.vectors.archive.generate`.

Blocks are packed by the zlib at hand: another version may write other bytes that say the same.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Final

from node.chain.record import RecordAction
from node.chain.transaction import (
    TransactionBody,
    TransactionKind,
    VerifiedTransaction,
    sign_transaction,
    verify_transaction,
)
from node.service.archived import blocks_of, head_of
from node.storage.archive import write_archive
from node.storage.ledger import LedgerStore
from node.storage.memory import MemoryStore
from node.timestamp.trust import TrustFile
from tests.unit.execution.small_chain import (
    CREATED_MS,
    GENESIS,
    SmallChain,
    certify,
    payload,
    signer,
)
from tests.vectors.writing import write_generated

FOLDER: Final = Path(__file__).parent
SUITE: Final = GENESIS.suite
ARCHIVE, TRUST = "blocks.archive", "trust.json"
BLOCKS: Final = 6
FIRST: Final = 3
RECORDS: Final = 3
"""In each block; another transaction has no effect."""


def files() -> dict[str, bytes]:
    """Return every generated file by name."""
    file = io.BytesIO()
    ledger = build_ledger()
    write_archive(
        file, head_of(ledger, GENESIS, FIRST, BLOCKS), blocks_of(ledger, FIRST, BLOCKS), SUITE
    )
    trust = TrustFile(chain_id=GENESIS.chain_id, genesis=GENESIS)
    return {ARCHIVE: file.getvalue(), TRUST: trust.encode()}


def build_ledger() -> LedgerStore:
    """Return a ledger of the blocks, and of those below them."""
    chain = SmallChain()
    ledger = LedgerStore.open(MemoryStore(), SUITE, chain.executor.genesis_block())
    for height in range(1, BLOCKS + 1):
        executed = chain.commit(
            _transaction(height, RecordAction.RECORD, RECORDS),
            _transaction(height, RecordAction.WITHDRAW, 1),
        )
        ledger.commit([(executed, certify(executed))], sync=False)
    return ledger


def _transaction(height: int, action: RecordAction, count: int) -> VerifiedTransaction:
    names = [f"{action.name} {height}-{number}" for number in range(count)]
    body = TransactionBody(
        chain_id=GENESIS.chain_id,
        sender="agency-1",
        nonce=hashlib.sha256(names[0].encode()).digest()[:16],
        not_after_ms=CREATED_MS + 300_000,
        kind=TransactionKind.NOTARIZE,
        payload=payload(*names, action=action, references=names),
    )
    key = signer("agency-1")
    return verify_transaction(sign_transaction(body, key, SUITE), key.public_key)


if __name__ == "__main__":
    write_generated(FOLDER, files(), "*.archive")
