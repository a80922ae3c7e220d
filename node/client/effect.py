"""What became of a transaction that is said to have no effect, by more validators than may lie.

One validator alone may say so, of what it holds back or what is recorded already: who believed it
would record the same documents again.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from enum import Enum, auto
from typing import Final

from node.chain.block import ResultCode, TransactionResult
from node.chain.membership import ValidatorSet
from node.chain.record import Notarization, RecordAction
from node.chain.transaction import Transaction
from node.client.chain import Chain
from node.client.signing import clock_ms, sign_records
from node.crypto.suite import SHA_256
from node.errors import ClientError, DecodeError
from node.rpc.client import LedgerClient, NotFound
from node.rpc.port import CommittedTransaction, NodeStatus

_ASK_MS: Final = 2_000
_MARK_MS: Final = 10_000


class Effect(Enum):
    """What a transaction does."""

    NONE = auto()
    """Nothing, for ever: f + 1 validators say so, and one of these at least is correct."""
    RECORDED = auto()
    """It is on the chain, by the word of one validator: its receipts prove that."""
    OPEN = auto()
    """Nobody can tell yet."""


async def find_effect(chain: Chain, client: LedgerClient, transaction: Transaction) -> Effect:
    """Ask all validators what a transaction does.

    It has no effect where it failed in a block, or is in none and T of the newest has reached its
    not-after: no later block can hold it. Where it is past that by the clock here, and no block
    was made since, one is asked for.
    """
    validators = await chain.deciding(client)
    effect = await _ask(client, validators, transaction)
    if effect is not Effect.OPEN or clock_ms() <= transaction.body.not_after_ms:
        return effect
    mark = _mark(chain)
    for each in validators.validators:  # each by itself: the first one may keep it back
        with suppress(ClientError):
            async with chain.client(each.validator_id) as asked:
                await asked.submit([mark.encoded], _MARK_MS)
        effect = await _ask(client, validators, transaction)
        if effect is not Effect.OPEN:
            break
    return effect


async def _ask(client: LedgerClient, validators: ValidatorSet, transaction: Transaction) -> Effect:
    statuses = await client.statuses(_ASK_MS)  # first: what it lacks afterwards, it lacked then
    answers = await client.transactions(transaction.tx_id, _ASK_MS)
    said = [
        _judge(statuses.get(each.validator_id), answers.get(each.validator_id), transaction)
        for each in validators.validators
    ]
    if said.count(Effect.NONE) > validators.faults:
        return Effect.NONE
    return Effect.RECORDED if Effect.RECORDED in said else Effect.OPEN


def _judge(
    status: NodeStatus | ClientError | None,
    answer: CommittedTransaction | ClientError | None,
    transaction: Transaction,
) -> Effect:
    """Return what one validator says."""
    if isinstance(answer, CommittedTransaction):
        try:
            result = TransactionResult.decode(answer.result)
        except DecodeError:
            return Effect.OPEN
        return Effect.RECORDED if result.code is ResultCode.OK else Effect.NONE
    is_past = isinstance(status, NodeStatus) and status.time_ms >= transaction.body.not_after_ms
    return Effect.NONE if is_past and isinstance(answer, NotFound) else Effect.OPEN


def _mark(chain: Chain) -> Transaction:
    """Return a transaction that fails in a block, and makes one: it withdraws what nobody named."""
    payload = Notarization(
        digest_algorithm=SHA_256.digest_id,
        type_code="none",
        action=RecordAction.WITHDRAW,
        digests=bytes(SHA_256.size),
        references=(secrets.token_hex(),),
    )
    return sign_records(chain, payload)
