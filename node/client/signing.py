"""Transactions, signed by the identity that asks."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Final

from node.chain.governance import Governance
from node.chain.record import Notarization
from node.chain.transaction import (
    Payload,
    Transaction,
    TransactionBody,
    TransactionKind,
    sign_transaction,
)
from node.chain.vault import Vault
from node.client.chain import Chain
from node.limits import TX_NONCE_BYTES

LIFETIME_MS: Final = 300_000
"""How long a transaction may wait to be included; afterwards it is void."""

_KINDS: Final[Mapping[type[Payload], TransactionKind]] = {
    Notarization: TransactionKind.NOTARIZE,
    Governance: TransactionKind.GOVERN,
    Vault: TransactionKind.VAULT,
}
_NS_PER_MS: Final = 1_000_000


def clock_ms() -> int:
    """Return what the clock here says, ms since 1970 UTC."""
    return time.time_ns() // _NS_PER_MS


def sign_payload(chain: Chain, payload: Payload, from_ms: int) -> Transaction:
    """Sign a transaction as the chain's identity; its lifetime is reckoned from `from_ms`, UTC."""
    body = TransactionBody(
        chain_id=chain.profile.chain_id,
        sender=chain.identity,
        nonce=secrets.token_bytes(TX_NONCE_BYTES),
        not_after_ms=from_ms + LIFETIME_MS,
        kind=_KINDS[type(payload)],
        payload=payload,
    )
    return sign_transaction(body, chain.signer, chain.suite)


def sign_records(chain: Chain, payload: Notarization, lead_ms: int = 0) -> Transaction:
    """Sign a transaction of records; the chain's time is `lead_ms` ahead of the clock here."""
    return sign_payload(chain, payload, clock_ms() + lead_ms)
