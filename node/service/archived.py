"""What an archive of blocks proves, by a trust file alone; and one made of a ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from node.chain.block import CertifiedHeader
from node.chain.genesis import Genesis
from node.chain.log import frontier_of_edge, read_edge
from node.chain.merkle import leaf_hash
from node.crypto.suite import Suite
from node.errors import CryptoError, PeerError, ProofError
from node.execution.apply import Executor
from node.service.queries import Queries
from node.storage.archive import ArchiveHead, BlockValues
from node.storage.ledger import LedgerStore
from node.storage.stored_block import StoredBlock
from node.timestamp.history import check_certified, expect_equal
from node.timestamp.trust import TrustAnchor, TrustFile


class ArchiveCheck:
    """Checks the blocks of an archive in their order. Each rule broken raises `ProofError`.

    1. `archive-chain`: it is of the chain that is trusted;
    2. its handovers hold, and contradict nothing that is pinned (rules of trust files);
    3. `archive-before`, `archive-log`: below its first block lies genesis, or a certified block
       that gives the log from which it goes on;
    4. `archive-height`, `archive-parent`: each block is the next one and names the one before;
    5. the validators of its epoch certified it, and a block that is pinned is that very block
       (`archive-pinned`);
    6. its transactions, results and records are those that its header commits to.
    """

    def __init__(self, head: ArchiveHead, trust: TrustAnchor) -> None:
        """Check the head."""
        self._trust, self._suite = trust, trust.suite
        expect_equal("archive-chain", trust.chain_id.hex(), head.chain_id.hex())
        stated = TrustFile(
            chain_id=trust.chain_id, genesis=trust.genesis, handovers=head.handovers
        ).establish()
        trust.join(stated)
        self._sets = max(stated.validator_sets, trust.validator_sets, key=len)
        self._pinned = {block.header.height: block.header for block in trust.blocks}
        self._rooted_up_to = 0
        self.first = head.first
        self._frontier = head.frontier
        if head.before is None:
            genesis_block = Executor(trust.genesis).genesis_block()
            self._height, self.digest = 0, genesis_block.digest
            expect_equal("archive-log", genesis_block.frontier, head.frontier)
        else:
            header = head.before.header
            expect_equal("archive-before", head.first - 1, header.height)
            self._note(head.before)
            root = head.frontier.root(self._suite.hash).hex()
            expect_equal("archive-log", header.log_size, head.frontier.size)
            expect_equal("archive-log", header.log_roots[0].hex(), root)
        self.transactions = self.records = 0
        self.newest: CertifiedHeader | None = head.before

    @property
    def is_rooted(self) -> bool:
        """Whether the newest block, and so all below it, is beyond those who hold retired keys.

        It is of the epoch that is trusted, or later; or it is, or lies below, a pinned block.
        """
        if self.newest is None:
            return False
        header = self.newest.header
        return header.epoch >= self._trust.epoch or header.height <= self._rooted_up_to

    def take(self, block: StoredBlock) -> None:
        """Check the next block; raises `ProofError` or `DecodeError`."""
        header, hash_function = block.header, self._suite.hash
        expect_equal("archive-height", self._height + 1, header.height)
        expect_equal("archive-parent", self.digest.hex(), header.parent.hex())
        if block.certificate is None:
            raise ProofError("archive-certificate", f"block {header.height} has none")
        self._note(CertifiedHeader(header, block.certificate))
        block.require_sound()
        expect_equal("archive-log", self._frontier.size, block.first_log_index)
        leaves = [
            leaf_hash(block.leaf(log_index), hash_function)
            for log_index in range(block.first_log_index, header.log_size)
        ]
        self._frontier, _ = self._frontier.append(leaves, hash_function)
        root = self._frontier.root(hash_function).hex()
        expect_equal("archive-log", header.log_roots[0].hex(), root)
        self.transactions += block.count
        self.records += len(leaves) - 1

    def _note(self, block: CertifiedHeader) -> None:
        header = block.header
        if header.epoch >= len(self._sets):
            raise ProofError("archive-epoch", f"nothing leads to epoch {header.epoch}")
        with _proof_at_fault():
            check_certified(block, self._trust.chain_id, self._sets[header.epoch])
        self._height, self.digest = header.height, header.digest(self._suite)
        pinned = self._pinned.get(header.height)
        if pinned is not None:
            expect_equal("archive-pinned", pinned.digest(self._suite).hex(), self.digest.hex())
            self._rooted_up_to = header.height
        self.newest = block


def head_of(ledger: LedgerStore, genesis: Genesis, first: int, last: int) -> ArchiveHead:
    """Return the head of an archive of blocks of a ledger; raises `NotHeldYet` and `Pruned`."""
    if not ledger.is_whole:
        raise ledger.not_held_yet()
    if first < ledger.pruned_below:
        raise ledger.pruned()
    below, certificate = ledger.require_header(first - 1)
    epoch = ledger.require_header(last)[0].epoch
    size, hash_function = below.log_size, genesis.suite.hash
    return ArchiveHead(
        chain_id=genesis.chain_id,
        first=first,
        last=last,
        before=None if certificate is None else CertifiedHeader(below, certificate),
        frontier=frontier_of_edge(size, read_edge(size, ledger.tile), hash_function),
        handovers=Queries(ledger, genesis).handovers(epoch),
    )


def blocks_of(ledger: LedgerStore, first: int, last: int) -> Iterator[BlockValues]:
    """Yield blocks of a ledger as archives hold them."""
    for height in range(first, last + 1):
        values = ledger.block_values(height)
        if values is None:
            raise ledger.pruned()
        yield values


def anchor_of(ledger: LedgerStore, genesis: Genesis) -> TrustAnchor:
    """Return what a ledger pins: every handover in it, and its tip."""
    header, certificate = ledger.require_header(ledger.tip_height)
    pinned = None if certificate is None else CertifiedHeader(header, certificate)
    handovers = Queries(ledger, genesis).handovers(header.epoch)
    return TrustFile(
        chain_id=genesis.chain_id, genesis=genesis, handovers=handovers, pinned=pinned
    ).establish()


def take_in(
    ledger: LedgerStore,
    blocks: Iterable[StoredBlock],
    suite: Suite,
    advance: Callable[[int], None] = lambda _blocks: None,
) -> int:
    """Give a ledger what of checked blocks it lacks, missing or pruned; return how many.

    What was pruned is put back from above: the blocks must reach up to where pruning ended.
    Raises `ProofError` where the ledger knows another block, or the blocks between are lacking.
    """
    taken = 0
    first_restored: int | None = None
    for block in blocks:
        height = block.header.height
        if height in ledger.missing:
            expect_equal("archive-gap", ledger.missing.start, height)
            above = ledger.header_at(height + 1)
            if above is not None and above[0].parent != block.header.digest(suite):
                raise ProofError("archive-block", f"block {height + 1} follows another block here")
            ledger.fill([block])
            taken += 1
        elif height < ledger.pruned_below:
            ledger.put_back(block)
            first_restored = height if first_restored is None else first_restored
            taken += 1
            if height == ledger.pruned_below - 1:
                ledger.end_pruning_at(first_restored)
                first_restored = None
        advance(1)
    if first_restored is not None:
        raise ProofError(
            "archive-gap", f"the blocks up to {ledger.pruned_below - 1} have to be put back first"
        )
    return taken


@contextmanager
def _proof_at_fault() -> Iterator[None]:
    try:
        yield
    except PeerError as error:
        raise ProofError(error.rule, str(error)) from error
    except CryptoError as error:
        raise ProofError("archive-certificate", str(error)) from error
