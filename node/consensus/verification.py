"""When a consensus message is acceptable at all: its shape, its chain and its signatures.

Pure predicates, run by the driver before a message becomes an event; each refusal is a `PeerError`
naming the rule. What depends on this node's progress is judged by the core, not here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

from node.chain.block import CertifiedHeader, Header, TransactionRoots
from node.chain.certificate import Phase, QuorumCertificate, Subject, check_certificate
from node.chain.membership import ValidatorSet
from node.consensus.messages import NewView, Proposal, ViewChange
from node.crypto.suite import Suite
from node.errors import PeerError

CERTIFICATES_REMEMBERED = 256


@dataclass(frozen=True)
class Verifier:
    """Checks messages of one epoch; remembers only certificates that verified."""

    chain_id: bytes
    validators: ValidatorSet
    suite: Suite
    window_slots: int
    anchor_height: int = 0
    """Height of the block the epoch stands on: 0 where that is genesis."""
    tx_roots: TransactionRoots | None = None
    """Those of whoever executes blocks here; without any, nothing is remembered."""
    _remembered: dict[tuple[Phase, bytes], None] = field(default_factory=dict)

    def digest_of(self, header: Header) -> bytes:
        """Return a header's digest."""
        return header.digest(self.suite)

    def check_certificate(self, certificate: QuorumCertificate, phase: Phase) -> None:
        """Check a certificate, or recall that these very bytes were checked before."""
        key = (phase, certificate.digest(self.suite))
        if key in self._remembered:
            return
        check_certificate(certificate, self.chain_id, self.validators, phase)
        if len(self._remembered) >= CERTIFICATES_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[key] = None

    def check_proposal(self, proposal: Proposal) -> bytes:
        """P1 vote is the primary's PREPARE for exactly this header; P2 list matches its root.

        Returns the header digest. The list is checked here because no signature covers it: with a
        false list a correct header would look invalid.
        """
        header, vote = proposal.header, proposal.vote
        digest = self.digest_of(header)
        subject = Subject(Phase.PREPARE, header.view, header.height, digest)
        if vote.subject != subject or vote.validator != self.validators.primary(header.view):
            raise PeerError("proposal-vote", "expected the primary's PREPARE for this header")
        self.check_tx_root(header, proposal.tx_hashes)
        if not vote.verify(self.chain_id, self.validators):
            raise PeerError("proposal-signature", "the primary's vote does not verify")
        return digest

    def check_tx_root(self, header: Header, tx_hashes: tuple[bytes, ...]) -> None:
        """Check that a list of transaction hashes is the one a header commits to."""
        roots = self.tx_roots or TransactionRoots(self.suite.hash)
        if roots.of(tx_hashes) != header.tx_root:
            raise PeerError("tx-root", "the transaction list does not give the header's root")

    def check_decided(self, decided: CertifiedHeader) -> None:
        """Check a header with its commit certificate."""
        self._check_certified(decided, (Phase.COMMIT,))

    def check_view_change(self, view_change: ViewChange) -> None:
        """Check a VIEW-CHANGE whole.

        V1 of this epoch and set, for a view above 0. V2 signed by its sender. V3 the committed
        headers are the last W of a chain, none of them below this epoch. V4 the prepared ones lie
        within the window above the tip, ascending. V5 every certificate is sound and of an earlier
        view.
        """
        validators = self.validators
        if view_change.epoch != validators.epoch or view_change.validator >= validators.size:
            raise PeerError("view-change-epoch", "another epoch, or an unknown validator")
        if view_change.view < 1:
            raise PeerError("view-change-view", "expected a view above 0")
        key = validators.vote_keys[view_change.validator]
        if not key.verify(view_change.sign_bytes(self.chain_id), view_change.signature):
            raise PeerError("view-change-signature", "does not verify")
        committed = view_change.committed
        tip_height = committed[-1].header.height if committed else self.anchor_height
        expected = min(self.window_slots, tip_height - self.anchor_height)
        if len(committed) != expected:
            raise PeerError(
                "view-change-committed", f"expected {expected} headers, got {len(committed)}"
            )
        for older, newer in pairwise(committed):
            if (
                newer.header.height != older.header.height + 1
                or newer.header.parent != older.certificate.subject.header_digest
            ):
                raise PeerError("view-change-chain", "the committed headers are not a chain")
        height = tip_height
        for item in view_change.prepared:
            if not height < item.header.height <= tip_height + self.window_slots:
                raise PeerError("view-change-prepared", f"height {item.header.height} misplaced")
            height = item.header.height
        for item in committed:
            self._check_certified(item, (Phase.COMMIT,))
            self._check_earlier(item, view_change.view)
        for item in view_change.prepared:
            self._check_certified(item, (Phase.PREPARE, Phase.COMMIT))
            self._check_earlier(item, view_change.view)

    def check_new_view(self, message: NewView) -> None:
        """Check a NEW-VIEW: N1 a quorum of distinct, checked VIEW-CHANGEs for it; N2 signed."""
        senders = [view_change.validator for view_change in message.view_changes]
        is_ascending = all(lower < higher for lower, higher in pairwise(senders))
        if not is_ascending or len(senders) < self.validators.quorum:
            raise PeerError("new-view-quorum", f"expected distinct ascending senders: {senders}")
        if message.epoch != self.validators.epoch:
            raise PeerError("new-view-epoch", f"got epoch {message.epoch}")
        if any(view_change.view != message.view for view_change in message.view_changes):
            raise PeerError("new-view-view", "a view change for another view")
        primary = self.validators.vote_keys[self.validators.primary(message.view)]
        if not primary.verify(message.sign_bytes(self.chain_id), message.signature):
            raise PeerError("new-view-signature", "does not verify")
        for view_change in message.view_changes:
            self.check_view_change(view_change)

    def _check_certified(self, item: CertifiedHeader, phases: tuple[Phase, ...]) -> None:
        header, subject = item.header, item.certificate.subject
        if subject.phase not in phases:
            raise PeerError("certified-phase", f"got {subject.phase.name}")
        if header.chain_id != self.chain_id or header.epoch != self.validators.epoch:
            raise PeerError("certified-chain", "a header of another chain or epoch")
        if subject.height != header.height or subject.header_digest != self.digest_of(header):
            raise PeerError("certified-header", "the certificate is about another header")
        if header.view > subject.view:
            raise PeerError("certified-view", "certified before it was proposed")
        self.check_certificate(item.certificate, subject.phase)

    @staticmethod
    def _check_earlier(item: CertifiedHeader, view: int) -> None:
        if item.certificate.subject.view >= view:
            raise PeerError(
                "view-change-later",
                f"a certificate of view {item.certificate.subject.view} in a change to {view}",
            )


DigestOf = Callable[[Header], bytes]
