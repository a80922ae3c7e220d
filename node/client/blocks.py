"""Blocks as they are proved: a certified header of this chain, its transactions, their results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from node.chain.block import CertifiedBlock, CertifiedHeader, TransactionResult
from node.chain.merkle import leaf_hashes, merkle_root
from node.chain.transaction import Transaction
from node.client.chain import WRONG_ANSWER, Chain
from node.errors import ClientError, CryptoError, DecodeError, PeerError, ProofError
from node.rpc.client import LedgerClient
from node.timestamp.history import check_certified, expect_equal
from node.timestamp.trust import TrustAnchor


@dataclass(frozen=True, slots=True)
class ProvedBlock:
    """A block that a quorum certified, and what became of each of its transactions."""

    certified: CertifiedBlock
    header_digest: bytes
    results: tuple[TransactionResult, ...]

    def find(self, tx_id: bytes) -> ProvedTransaction:
        """Return a transaction of it; raises `ClientError` blaming who said that it is here."""
        for index, transaction in enumerate(self.certified.transactions):
            if transaction.tx_id == tx_id:
                return ProvedTransaction(self, index, transaction, self.results[index])
        height = self.certified.header.height
        raise ClientError(f"block {height} does not hold the transaction", code=WRONG_ANSWER)


@dataclass(frozen=True, slots=True)
class ProvedTransaction:
    """A transaction, its result, and the block that proves both."""

    block: ProvedBlock
    index: int
    """Its place in the block."""
    transaction: Transaction
    result: TransactionResult


def decode_block(chain: Chain, encoded: bytes) -> CertifiedBlock:
    """Read a block that a validator sent; raises `ClientError` blaming it."""
    try:
        return CertifiedBlock.decode(encoded, chain.suite)
    except DecodeError as error:
        raise ClientError(str(error), code=WRONG_ANSWER) from error


def check_block(chain: Chain, block: CertifiedBlock, history: TrustAnchor) -> None:
    """Check that the validators certified the header, and the header its transactions.

    `history` leads to the block's epoch. Raises `ClientError` GC-2305.
    """
    try:
        header = CertifiedHeader(block.header, block.certificate)
        validators = history.validator_sets[block.header.epoch]
        check_certified(header, chain.profile.chain_id, validators)
        history.check_joined([header])
        root = merkle_root(
            leaf_hashes((each.tx_hash for each in block.transactions), chain.suite.hash),
            chain.suite.hash,
        )
        expect_equal("block-transactions", block.header.tx_root.hex(), root.hex())
    except (CryptoError, PeerError, ProofError) as error:
        raise ClientError(str(error), code=WRONG_ANSWER) from error


class BlockReader:
    """Fetches blocks and takes none that is not proved."""

    def __init__(self, chain: Chain, client: LedgerClient) -> None:
        self._chain, self._client = chain, client

    async def read(self, height: int) -> ProvedBlock:
        """Return the block of a height, 1 or more; raises `ClientError`, `NotFound` among them."""
        sent = await self._client.block(height)
        block = decode_block(self._chain, sent.block)
        epoch = block.header.epoch
        if block.header.height != height:
            raise ClientError(f"expected block {height}, got another", code=WRONG_ANSWER)
        history = self._chain.known
        if epoch > history.epoch:
            history = await self._chain.lead_on(self._client)
        if epoch > history.epoch:
            raise ClientError(f"nothing leads to epoch {epoch}", code=WRONG_ANSWER)
        check_block(self._chain, block, history)
        digest = block.header.digest(self._chain.suite)
        return ProvedBlock(block, digest, self._check_results(block, sent.results))

    async def read_newest(self) -> ProvedBlock:
        """Return the newest block of the validator that answers; raises `NotFound` before any."""
        return await self.read((await self._client.status()).height)

    async def find(self, tx_id: bytes) -> ProvedTransaction:
        """Return a transaction, proved by its block; raises `NotFound`."""
        told = await self._client.transaction(tx_id)
        return (await self.read(told.height)).find(tx_id)

    def _check_results(
        self, block: CertifiedBlock, encoded: Sequence[bytes]
    ) -> tuple[TransactionResult, ...]:
        hash_function = self._chain.suite.hash
        try:
            root = merkle_root(leaf_hashes(encoded, hash_function), hash_function)
            expect_equal("block-results", block.header.results_root.hex(), root.hex())
            results = tuple(map(TransactionResult.decode, encoded))
            expect_equal(
                "block-results",
                [each.tx_id.hex() for each in block.transactions],
                [each.tx_id.hex() for each in results],
            )
        except (DecodeError, ProofError) as error:
            raise ClientError(str(error), code=WRONG_ANSWER) from error
        return results
