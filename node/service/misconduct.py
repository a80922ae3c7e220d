"""Evidence that validators equivocated: found, taken from peers, kept, and passed on once.

The core reports two votes that reach this validator for one place. A primary that shows each peer
one of two headers is not found out that way, as nobody hears both; so the PREPARE of a peer for
another header than this validator was shown is answered with what the primary signed here. Whoever
then holds both has the proof.

All of it is bounded: a few proofs per validator, one answer per peer and block, one passing on.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence

from node.chain.certificate import Phase, Vote
from node.chain.evidence import Evidence, Place, contradict
from node.chain.membership import Validator
from node.limits import EVIDENCE_PER_MESSAGE_MAX, EVIDENCE_PER_VALIDATOR_MAX
from node.service.output import Outlet
from node.service.recovery import Ledger
from node.service.term import Term
from node.service.wire import Accusations

BLOCKS_REMEMBERED = 64
"""Of so many proposals it is remembered what the primary signed: most are final long since."""


class Misconduct:
    """What one validator knows of the misbehaviour of others, and how it comes to know it."""

    def __init__(self, *, term: Term, ledger: Ledger, outlet: Outlet) -> None:
        """Start from what the ledger keeps."""
        self._ledger, self._outlet = ledger, outlet
        self.begin(term)
        self._held: dict[Place, Evidence] = {each.place: each for each in ledger.evidence()}
        self._counts = Counter((place.epoch, place.validator) for place in self._held)

    def begin(self, term: Term) -> None:
        """Begin an epoch: what is found out from now on is judged by its set."""
        self._term, self._validators = term, term.epoch.validators
        self._chain_id = term.epoch.chain_id
        self._shown: dict[tuple[int, int], Vote] = {}
        """By view and height: the PREPARE that came with the primary's proposal."""
        self._confronted: deque[tuple[int, int, int]] = deque(
            maxlen=BLOCKS_REMEMBERED * self._validators.size
        )
        """View, height and validator: to whom that vote was sent."""

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """All that is held, in order of epoch, view and height."""
        return tuple(evidence for _, evidence in sorted(self._held.items()))

    @property
    def accused(self) -> tuple[Validator, ...]:
        """Who is proven guilty by what is of this epoch, in the order of its set."""
        return tuple(
            validator
            for index, validator in enumerate(self._validators.validators)
            if self._counts[self._validators.epoch, index]
        )

    def report(self, one: Vote, other: Vote) -> None:
        """Keep two contradicting votes whose signatures were checked, and tell everybody."""
        self._keep([Evidence.of(one, other, self._validators)])

    def take(self, message: Accusations) -> None:
        """Keep and pass on what is new to this validator and proven; raises `PeerError`.

        Evidence of another epoch is left alone: it cannot be judged by this one's set.
        """
        proven = []
        try:
            for evidence in message.evidence:
                if evidence.epoch == self._validators.epoch and self._is_wanted(evidence.place):
                    evidence.check(self._chain_id, self._validators)
                    proven.append(evidence)
        finally:
            self._keep(proven)

    def tell(self, peer: int) -> None:
        """Send a peer what is held of this epoch: it may have been away when it was passed on."""
        held = [each for each in self.evidence if each.epoch == self._validators.epoch]
        for accusations in _in_messages(held):
            self._outlet.send(peer, accusations)

    # ------------------------------------------------------------------ primaries that show two

    def note_shown(self, vote: Vote) -> None:
        """Note the checked PREPARE of a primary that came with its proposal."""
        self._shown.setdefault((vote.subject.view, vote.subject.height), vote)
        if len(self._shown) > BLOCKS_REMEMBERED:
            del self._shown[next(iter(self._shown))]

    def note_heard(self, peer: int, vote: Vote) -> None:
        """Hold an unchecked vote against what was shown here; raises `PeerError`.

        A second vote of the primary is evidence. A vote of the peer for another header says that it
        was shown another one, so it is sent the vote that this validator was shown.
        """
        subject = vote.subject
        shown = self._shown.get((subject.view, subject.height))
        if shown is None or subject.phase is not Phase.PREPARE:
            return
        if subject.header_digest == shown.subject.header_digest:
            return
        if contradict(vote, shown):
            evidence = Evidence.of(vote, shown, self._validators)
            if self._is_wanted(evidence.place):
                evidence.check(self._chain_id, self._validators)
                self._keep([evidence])
        elif vote.validator == self._term.indices.get(peer):
            key = (subject.view, subject.height, peer)
            if key not in self._confronted:
                self._confronted.append(key)
                self._outlet.send(peer, shown)

    # ------------------------------------------------------------------ keeping

    def _is_wanted(self, place: Place) -> bool:
        known = place in self._held
        return not known and self._counts[place.epoch, place.validator] < EVIDENCE_PER_VALIDATOR_MAX

    def _keep(self, proven: list[Evidence]) -> None:
        new = []
        for evidence in proven:
            place = evidence.place
            if not self._is_wanted(place):
                continue
            self._ledger.keep_evidence(evidence)
            self._held[place] = evidence
            self._counts[place.epoch, place.validator] += 1
            new.append(evidence)
            name = self._validators.validators[place.validator].validator_id
            detail = f"{name} signed two headers in {place.phase.name} of view {place.view}"
            self._outlet.trace("equivocation", place.height, detail)
        for accusations in _in_messages(new):
            self._outlet.send(None, accusations)


def _in_messages(evidence: Sequence[Evidence]) -> Iterator[Accusations]:
    for start in range(0, len(evidence), EVIDENCE_PER_MESSAGE_MAX):
        yield Accusations(tuple(evidence[start : start + EVIDENCE_PER_MESSAGE_MAX]))
