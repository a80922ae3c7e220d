"""What the core remembers: slots, votes, views; and what of it comes back from the log at restart.

Durable means: rebuilt from the write-ahead log into `Recovered`. All else is volatile and may be
lost, because peers send it again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from node.chain.block import CertifiedHeader, Header
from node.chain.certificate import Phase, Vote
from node.consensus.messages import NewView, Proposal, ViewChange


class Stage(Enum):
    """How far a height is in the current view of one validator; transitions.md has the table."""

    EMPTY = "empty"
    OFFERED = "offered"
    """A proposal is here; the header below it is not accepted yet."""
    REFUSED = "refused"
    """The proposal broke a rule or its execution differs: nothing else is accepted in this view."""
    ACCEPTED = "accepted"
    """This is what the view decides about; its bodies and execution are awaited."""
    PREPARING = "preparing"
    """This validator has cast its PREPARE."""
    PREPARED = "prepared"
    """A quorum has; COMMIT waits for a height below."""
    COMMITTING = "committing"
    """This validator has cast its COMMIT."""
    DECIDED = "decided"
    """A commit certificate is here; a height below, or bodies, are awaited."""
    FINAL = "final"


@dataclass(frozen=True, slots=True)
class Offer:
    """A proposal of the current view as it came in, not necessarily accepted."""

    proposal: Proposal
    digest: bytes
    arrival_utc_ms: int


@dataclass(slots=True)
class Slot:
    """One undecided height. All but `prepared` and `decided` belongs to the current view."""

    height: int
    offer: Offer | None = None
    refused: bool = False
    """The offer broke a rule: nothing else is accepted for this height in this view."""
    header: Header | None = None
    """The header accepted in this view, by offer or carried over."""
    digest: bytes = b""
    tx_hashes: tuple[bytes, ...] | None = None
    prepares: dict[int, Vote] = field(default_factory=dict)
    commits: dict[int, Vote] = field(default_factory=dict)
    accused: dict[tuple[Phase, int], None] = field(default_factory=dict)
    """Whose second vote in this view was reported already: one proof is enough."""
    abstains: bool = False
    """What was accepted is followed without a vote: this node cannot tell whether T is timely."""
    prepare_cast: bool = False
    commit_cast: bool = False
    prepared_here: bool = False
    prepared: CertifiedHeader | None = None
    """The certificate of the highest view known for this height, whatever the view."""
    decided: CertifiedHeader | None = None

    def votes(self, phase: Phase) -> dict[int, Vote]:
        """Return the first vote of each validator in this view and phase."""
        return self.prepares if phase is Phase.PREPARE else self.commits

    def matching(self, phase: Phase, digest: bytes) -> list[Vote]:
        """Return the votes of a phase for one digest."""
        return [v for v in self.votes(phase).values() if v.subject.header_digest == digest]

    def accept(self, header: Header, digest: bytes, tx_hashes: tuple[bytes, ...] | None) -> None:
        """Make `header` what this view decides about here."""
        self.header, self.digest, self.tx_hashes = header, digest, tx_hashes

    def leave_view(self) -> None:
        """Forget what belonged to the view just left."""
        self.offer, self.refused = None, False
        self.header, self.digest, self.tx_hashes = None, b"", None
        self.prepares, self.commits, self.accused = {}, {}, {}
        self.prepare_cast = self.commit_cast = self.prepared_here = self.abstains = False

    def learn_prepared(self, item: CertifiedHeader) -> None:
        """Keep the certificate of the highest view."""
        if (
            self.prepared is None
            or item.certificate.subject.view > self.prepared.certificate.subject.view
        ):
            self.prepared = item


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """Durable state after a restart; `fresh` describes a node that never ran."""

    tip: Header
    tip_digest: bytes
    recent: tuple[CertifiedHeader, ...]
    """The last W committed headers of this epoch with certificates, ascending, up to the tip."""
    view: int = 0
    view_active: bool = True
    new_view: NewView | None = None
    """The NEW-VIEW this node adopted for `view`, if it was adopted."""
    view_change: ViewChange | None = None
    """The VIEW-CHANGE this node cast for `view`, if it is still leaving."""
    blocks: tuple[tuple[Header, tuple[bytes, ...]], ...] = ()
    """Undecided blocks whose bodies are in the log: header and transaction hashes."""
    votes: tuple[Vote, ...] = ()
    """Own votes above the tip, oldest first."""
    prepared: tuple[CertifiedHeader, ...] = ()
    """Prepared certificates above the tip."""


def slots_prepared(slots: dict[int, Slot], low: int, high: int) -> tuple[CertifiedHeader, ...]:
    """Return, for heights in (low, high], the best certificate held: what a VIEW-CHANGE shows.

    A commit certificate above a missing one counts as prepared.
    """
    shown = []
    for height in range(low + 1, high + 1):
        slot = slots.get(height)
        held = [] if slot is None else [i for i in (slot.prepared, slot.decided) if i is not None]
        if held:
            shown.append(max(held, key=lambda item: item.certificate.subject.view))
    return tuple(shown)
