"""Transactions of records, signed by the identity that asks."""

from __future__ import annotations

import secrets
import time
from typing import Final

from node.chain.record import Notarization
from node.chain.transaction import (
    Transaction,
    TransactionBody,
    TransactionKind,
    sign_transaction,
)
from node.client.chain import Chain
from node.limits import TX_NONCE_BYTES

LIFETIME_MS: Final = 300_000
"""How long a transaction may wait to be included; afterwards it is void."""

_NS_PER_MS: Final = 1_000_000


def clock_ms() -> int:
    """Return what the clock here says, ms since 1970 UTC."""
    return time.time_ns() // _NS_PER_MS


def sign_records(chain: Chain, payload: Notarization, lead_ms: int = 0) -> Transaction:
    """Sign a transaction of records; the chain's time is `lead_ms` ahead of the clock here."""
    body = TransactionBody(
        chain_id=chain.profile.chain_id,
        sender=chain.identity,
        nonce=secrets.token_bytes(TX_NONCE_BYTES),
        not_after_ms=clock_ms() + lead_ms + LIFETIME_MS,
        kind=TransactionKind.NOTARIZE,
        payload=payload,
    )
    return sign_transaction(body, chain.signer, chain.suite)
