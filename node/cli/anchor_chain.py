"""The chain as whoever makes anchors reaches it: checkpoints found, anchors recorded and joined.

What validators answer is checked before it counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from node.chain.block import Header
from node.chain.record import RecordAction
from node.cli.network import Network, decode_answer, decode_certified
from node.cli.submission import fault_of, record_digests
from node.cli.verb import CommandError
from node.cli.wording import unchecked_fault
from node.client.recording import Outlook, Recorded
from node.errors import CryptoError, PeerError, ProofError
from node.rpc.client import LedgerClient, NotFound
from node.rpc.port import CertifiedHeader as SentHeader
from node.timestamp.consistency import ConsistencyProof
from node.timestamp.history import carry_newest
from node.timestamp.outside.anchor import ANCHOR_DIGEST, AnchoredCheckpoint
from node.timestamp.outside.anchor_verify import check_checkpoint
from node.timestamp.steps import NotRootedError
from node.timestamp.trust import TrustAnchor
from node.timestamp.verify import NamedDigest, Outcome

_REFUSED_BY_THE_CHAIN: Final = "GC-2307"


@dataclass(frozen=True)
class ReachedChain:
    """`AnchoredChain` over a client's profile: see `node.operations.anchoring`."""

    network: Network

    @property
    def trust(self) -> TrustAnchor:
        """What the trust file beside the profile pins, or else the genesis, followed from there."""
        return self.network.known

    def checkpoint_before(self, time_ms: int | None) -> AnchoredCheckpoint | None:
        """Return the last block whose T is before a time, or the newest; see `AnchoredChain`."""
        network = self.network
        sent = network.ask(lambda client: _find(client, time_ms))
        if sent is None:
            return None
        block = decode_certified(sent, network.suite)
        epoch = block.header.epoch
        checkpoint = AnchoredCheckpoint(
            suite=network.suite,
            block=block,
            handovers=carry_newest(reversed(network.follow(epoch).handovers[:epoch])),
        )
        try:
            check_checkpoint(checkpoint, network.known.up_to(max(epoch, network.pinned.epoch)))
        except (CryptoError, PeerError, ProofError, NotRootedError) as error:
            raise CommandError("GC-2305", str(error)) from error
        return checkpoint

    def find_record(self, digest: bytes) -> bytes | None:
        """Return the verified receipt of a record of this digest that our identity made.

        Raises `CommandError` where that cannot be checked whole here: it is to be kept.
        """
        try:
            receipt = self.network.ask(lambda client: client.receipt_of_digest(digest))
        except NotFound:
            return None
        named = NamedDigest(ANCHOR_DIGEST, digest)
        verdict = self.network.verify_receipt(receipt, named)
        attestation = verdict.attestation
        is_ours = attestation is not None and attestation.sender == self.network.identity
        if not is_ours or verdict.outcome is not Outcome.VERIFIED:
            return None
        if (unchecked := unchecked_fault(verdict)) is not None:
            raise CommandError(unchecked.code, unchecked.message, unchecked.fix)
        return receipt

    def record(self, digest: bytes, type_code: str, reference: str) -> bytes:
        """Record a digest and return the receipt, verified.

        Where the reference is taken, by an anchor that was lost since, this one supersedes it.
        """
        outlook = Outlook(type_code, (reference,), digest=ANCHOR_DIGEST)
        recorded = self._record(digest, outlook)
        fault = fault_of(recorded)
        if fault is not None and fault.code == _REFUSED_BY_THE_CHAIN:
            recorded = self._record(digest, replace(outlook, action=RecordAction.SUPERSEDE))
        if fault is not None and recorded.error is not None:
            raise CommandError(fault.code, fault.message, fault.fix)
        return recorded.receipt

    def header_path(self, old_height: int, height: int) -> tuple[bytes, ...]:
        """Return what joins the header of one height to the log of a later one; unchecked."""

        async def question(client: LedgerClient) -> bytes:
            return await client.consistency_proof(old_height, height)

        return decode_answer(ConsistencyProof.decode, self.network.ask(question)).header_path

    def _record(self, digest: bytes, outlook: Outlook) -> Recorded:
        known = [Recorded(b"", 0)]

        def learn(_place: int, told: Sequence[Recorded]) -> None:
            known[0] = told[0]

        fault = record_digests(self.network, [digest], outlook, learn)
        if fault is not None and not known[0].is_settled:
            raise CommandError(fault.code, fault.message, fault.fix)
        return known[0]


async def _find(client: LedgerClient, time_ms: int | None) -> SentHeader | None:
    """Return the block that is due, as a validator tells."""
    newest = await client.certified_header()
    tip = _header(newest)
    if not newest.certificate:  # nothing but the genesis so far
        return None
    if time_ms is None or tip.time_ms < time_ms:
        return newest
    found = await _last_before(client, tip, time_ms)
    is_retired = found is not None and _header(found).epoch < tip.epoch
    return newest if is_retired else found  # a stamp of now comes too late for retired keys


async def _last_before(client: LedgerClient, tip: Header, time_ms: int) -> SentHeader | None:
    """Search the heights below the tip, over which T rises."""
    low, high, found = 1, tip.height - 1, None
    while low <= high:
        middle = (low + high) // 2
        sent = await client.certified_header(middle)
        if _header(sent).time_ms < time_ms:
            low, found = middle + 1, sent
        else:
            high = middle - 1
    return found


def _header(sent: SentHeader) -> Header:
    return decode_answer(Header.decode, sent.header)
