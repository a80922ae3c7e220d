"""`new_view(V)`: what a view starts from, as one pure function that primary and backups run alike.

Architecture section 4, "View change". Nothing else in a NEW-VIEW message is trusted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from node.chain.block import CertifiedHeader, Header
from node.chain.epoch import Anchor
from node.chain.membership import ValidatorSet
from node.chain.time_rules import time_reached
from node.consensus.messages import Reason, ViewChange


@dataclass(frozen=True, slots=True)
class ViewStart:
    """The outcome: the decided prefix, what must be decided again, and what T may be."""

    base: tuple[CertifiedHeader, ...]
    """The newest committed headers shown by anybody, ascending; empty if all are at the anchor."""
    carried: tuple[CertifiedHeader, ...]
    """Consecutive headers above the base, each with the certificate that carries it over."""
    degraded_to_ms: int | None = None
    """None: nothing in this view may be degraded. Else up to where T may go in what is, beyond the
    least step: the latest time that a quorum of the clocks shown have reached."""


def new_view(
    view_changes: Sequence[ViewChange],
    anchor: Anchor,
    digest_of: Callable[[Header], bytes],
    validators: ValidatorSet,
) -> ViewStart:
    """Compute the start of a view from a quorum of checked VIEW-CHANGEs.

    The base is the highest commit certificate. Each next height takes, of the prepared certificates
    *whose parent is the header just chosen*, the one of the highest view; the first gap ends it.
    No null blocks are made, and nothing depends on the order of `view_changes`. Only heights above
    the `anchor`, the block the epoch stands on, are spoken of. Where f + 1 of the senders, hence a
    correct one, could not vouch for time, blocks of this view, and of no other, may be degraded.
    """
    degraded_to_ms = None
    if sum(1 for vc in view_changes if vc.clock_bit) > validators.faults:
        degraded_to_ms = time_reached([vc.clock_ms for vc in view_changes], validators.quorum)
    base = max((vc.committed for vc in view_changes), key=_tip_height, default=())
    height = base[-1].header.height if base else anchor.height
    parent = base[-1].certificate.subject.header_digest if base else anchor.digest
    carried: list[CertifiedHeader] = []
    while True:
        height += 1
        candidates = [
            item
            for vc in view_changes
            for item in vc.prepared
            if item.header.height == height and item.header.parent == parent
        ]
        if not candidates:
            return ViewStart(base, tuple(carried), degraded_to_ms)
        # Certificates of one view agree on the digest, so the view alone decides what is carried;
        # the encoding only picks the same bytes everywhere among equal certificates.
        chosen = max(candidates, key=lambda item: (item.certificate.subject.view, item.encode()))
        carried.append(chosen)
        parent = digest_of(chosen.header)


def is_rotation(view_changes: Sequence[ViewChange], faults: int) -> bool:
    """Whether one of these senders who is correct found the view before due for rotation.

    Such a view did not fail: timeouts need not grow for it.
    """
    return sum(1 for vc in view_changes if vc.reason is Reason.ROTATION) > faults


def _tip_height(committed: tuple[CertifiedHeader, ...]) -> tuple[int, bytes]:
    return (committed[-1].header.height, committed[-1].encode()) if committed else (0, b"")
