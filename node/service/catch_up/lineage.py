"""Who decided in which epoch, as far as this node knows: from its ledger, and from handovers above.

A handover counts only if the set before it certified it, so that trust begins with the set in force
here: whoever once had the keys of a set that has retired cannot make up another past.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from node.chain.block import CertifiedHeader
from node.chain.genesis import Genesis
from node.chain.membership import ValidatorSet
from node.errors import CryptoError, InvariantViolation, PeerError, ProofError
from node.execution.registry import epoch_in_force, find_epoch_start
from node.service.recovery import FinalChain
from node.timestamp.history import Handover, check_certified


@contextmanager
def peer_to_blame() -> Iterator[None]:
    """Turn what is wrong with the proofs in a message into the fault of who sent it."""
    try:
        yield
    except ProofError as error:
        raise PeerError(error.rule, str(error)) from error
    except CryptoError as error:
        raise PeerError("validator-key", str(error)) from error


class Lineage:
    """The validator sets of one chain."""

    def __init__(self, genesis: Genesis, ledger: FinalChain) -> None:
        """Begin with what `ledger` holds."""
        self._genesis, self._ledger = genesis, ledger
        self._learned: dict[int, Handover] = {}
        """By the epoch that each begins; none of them known to the ledger when it was learned."""

    @property
    def newest(self) -> int:
        """The latest epoch whose set is known."""
        in_force = epoch_in_force(self._ledger, self._genesis.suite).number
        return max(in_force, *self._learned) if self._learned else in_force

    def set_of(self, epoch: int) -> ValidatorSet:
        """Return the set of an epoch; raises `PeerError` (`epoch-unknown`)."""
        if epoch == 0:
            return self._genesis.validators
        start = find_epoch_start(self._ledger, epoch, self._genesis.suite)
        if start is not None:
            return start.validators
        if epoch not in self._learned:
            raise PeerError("epoch-unknown", f"epoch {epoch} was not handed over to")
        return self._learned[epoch].next_set

    def check(self, block: CertifiedHeader) -> None:
        """Check that the set of its epoch certified a header; raises `PeerError`."""
        with peer_to_blame():
            check_certified(block, self._genesis.chain_id, self.set_of(block.header.epoch))

    def learn(self, handover: Handover) -> None:
        """Take note of the handover to the epoch after the newest; raises `PeerError`."""
        if handover.next_set.epoch <= self.newest:
            return
        with peer_to_blame():
            handover.check(self._genesis.chain_id, self.set_of(self.newest))
        self._learned[handover.next_set.epoch] = handover

    def barriers(self) -> Iterator[CertifiedHeader]:
        """Yield the last header of every epoch that has ended, oldest first."""
        for epoch in range(1, self.newest + 1):
            start = find_epoch_start(self._ledger, epoch, self._genesis.suite)
            if start is None:
                yield self._learned[epoch].block
                continue
            header, certificate = self._ledger.header_at(start.first_height - 1) or (None, None)
            if header is None or certificate is None:
                raise InvariantViolation(f"the ledger holds no handover to epoch {epoch}")
            yield CertifiedHeader(header, certificate)
