"""Evidence that validators equivocated: found, taken from peers, kept, and passed on once.

What validators sign is remembered for a while, and held against what comes later: votes, those in
certificates included, which a commit certificate keeps at hand when its height is long final here;
VIEW-CHANGEs and NEW-VIEWs; statements of checkpoints, also against the chain. A vote that its own
voter brings is remembered unchecked: the core stops checking at the quorum, and who lies in his own
name harms himself alone.

A primary that shows each peer one of two headers is not found out so while nobody hears both; so
the PREPARE of a peer for another header than this validator was shown is answered with what the
primary signed here. Whoever then holds both has the proof.

All of it is bounded: so many votes and messages per validator, one answer per peer and block, one
proof per validator, epoch and offence, one passing on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from node.chain.block import CertifiedHeader, Header
from node.chain.certificate import Phase, QuorumCertificate, Vote
from node.chain.encoding import encode
from node.chain.evidence import Charge, Evidence, Offence, Statement, contradict
from node.chain.governance import CheckpointStatement, Governance
from node.chain.membership import Validator, ValidatorSet
from node.consensus.messages import NewView, Proposal, ViewChange
from node.errors import DecodeError, PeerError
from node.execution.apply import ExecutedBlock
from node.execution.registry import find_epoch_start
from node.limits import EVIDENCE_BYTES_MAX, EVIDENCE_PER_MESSAGE_MAX
from node.service.output import Outlet
from node.service.recovery import Ledger
from node.service.term import Term
from node.service.wire import Accusations

BLOCKS_REMEMBERED: Final = 16
"""Votes are remembered for about so many blocks: most of them are final long since."""
VOTES_REMEMBERED: Final = 4 * BLOCKS_REMEMBERED
"""Per validator: two phases, and views that changed."""
MESSAGES_REMEMBERED: Final = 2
"""VIEW-CHANGEs per validator, and NEW-VIEWs: of the newest views."""
CHECKPOINTS_REMEMBERED: Final = 64
MESSAGE_BYTES_AIM: Final = 4_194_304
"""Evidence in one message, and told to one peer that comes, ends before it would exceed this."""

_Place = tuple[int, int, int, Phase]
"""Epoch, height, view, phase."""
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


@dataclass(slots=True)
class _Held:
    """A vote remembered."""

    vote: Vote
    place: _Place
    is_checked: bool

    def is_same(self, vote: Vote) -> bool:
        """Whether a vote for the same place, of the same voter, is this very one."""
        held = self.vote
        return (
            held.signature == vote.signature
            and held.time_ms == vote.time_ms
            and held.subject.header_digest == vote.subject.header_digest
        )


class Misconduct:
    """What one validator knows of the misbehaviour of others, and how it comes to know it."""

    def __init__(
        self,
        *,
        term: Term,
        founders: ValidatorSet,
        ledger: Ledger,
        outlet: Outlet,
    ) -> None:
        """Start from what the ledger keeps; `founders` are the validators of genesis."""
        self._founders, self._ledger, self._outlet = founders, ledger, outlet
        self._votes: dict[int, dict[_Place, _Held]] = {}
        """By index in the set of their epoch."""
        self._view_changes: dict[int, dict[tuple[int, int], Statement]] = {}
        """By index, then by epoch and view. All were checked, as were those below."""
        self._new_views: dict[tuple[int, int], Statement] = {}
        self._checkpoints: dict[tuple[int, int, int], CheckpointStatement] = {}
        """By epoch, height and index."""
        self.begin(term)
        self._held: dict[Charge, Evidence] = {each.charge: each for each in ledger.evidence()}

    def begin(self, term: Term) -> None:
        """Begin an epoch."""
        self._term, self._validators = term, term.epoch.validators
        self._chain_id = term.epoch.chain_id
        self._confronted: deque[tuple[int, int, int]] = deque(
            maxlen=BLOCKS_REMEMBERED * self._validators.size
        )
        """View, height and peer: to whom the primary's vote was sent."""

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """All that is held, in order of epoch and offence."""
        return tuple(evidence for _, evidence in sorted(self._held.items()))

    @property
    def accused(self) -> tuple[Validator, ...]:
        """Which validators of this epoch are proven guilty, in this one or one before."""
        guilty = frozenset(self._name(charge) for charge in self._held)
        members = self._validators.validators
        return tuple(each for each in members if each.validator_id in guilty)

    # ------------------------------------------------------------------ from peer to peer

    def report(self, one: Vote, other: Vote) -> None:
        """Keep two contradicting votes whose signatures were checked, and tell everybody."""
        self._keep([Evidence.of(one, other, self._validators)])

    def take(self, message: Accusations) -> None:
        """Keep and pass on what is new to this validator and proven; raises `PeerError`.

        Evidence of an epoch to come is left alone: it cannot be judged yet.
        """
        proven = []
        try:
            for evidence in message.evidence:
                validators = self._set_of(evidence.epoch)
                if validators is not None and evidence.charge not in self._held:
                    evidence.check(self._chain_id, validators)
                    proven.append(evidence)
        finally:
            self._keep(proven)

    def tell(self, peer: int) -> None:
        """Send a peer the newest of what is held: it may have been away when it was passed on."""
        newest_first = self.evidence[::-1]
        accusations = next(in_messages(newest_first), None)
        if accusations is not None:
            self._outlet.send(peer, accusations)

    # ------------------------------------------------------------------ what is said

    def hear(self, peer: int, message: Vote | Proposal | ViewChange | NewView) -> None:
        """Hold an unchecked message of any epoch against what is remembered; raises `PeerError`.

        What contradicts that is evidence if its signature is good, and refused if it is not.
        """
        match message:
            case Vote():
                self._hear_vote(peer, message)
            case Proposal():
                self._hear_vote(peer, message.vote)
            case ViewChange():
                held = self._view_changes.get(message.validator, {})
                self._compare(held.get((message.epoch, message.view)), message)
            case NewView():
                self._compare(self._new_views.get((message.epoch, message.view)), message)

    def note(self, message: Vote | Proposal | ViewChange | NewView | CertifiedHeader) -> None:
        """Remember what a checked message of this epoch shows that its signers signed."""
        match message:
            case Vote():
                self.note_vote(message)
            case Proposal():
                self.note_vote(message.vote)
            case ViewChange():
                self.note_view_change(message)
            case NewView():
                self.note_new_view(message)
            case CertifiedHeader():
                self.note_certificate(message.certificate)

    def note_vote(self, vote: Vote) -> None:
        """Remember a checked vote of this epoch."""
        place = _place_of(vote)
        held = self._held_at(vote.validator, place)
        if held is None:
            self._remember_vote(vote, place, is_checked=True)
        elif not held.is_checked:
            if held.is_same(vote):
                held.is_checked = True
            else:
                self._remember_vote(vote, place, is_checked=True)

    def note_view_change(self, message: ViewChange) -> None:
        """Remember a checked VIEW-CHANGE of this epoch, and the votes in its certificates."""
        held = self._view_changes.setdefault(message.validator, {})
        key = (message.epoch, message.view)
        if key not in held:
            _remember(held, key, statement_of(message), MESSAGES_REMEMBERED)
        else:
            self._compare(held[key], message)
        for item in (*message.committed, *message.prepared):
            self.note_certificate(item.certificate)

    def note_new_view(self, message: NewView) -> None:
        """Remember a checked NEW-VIEW of this epoch, and all it is made of."""
        key = (message.epoch, message.view)
        if key not in self._new_views:
            _remember(self._new_views, key, statement_of(message), MESSAGES_REMEMBERED)
        for view_change in message.view_changes:
            self.note_view_change(view_change)

    def note_certificate(self, certificate: QuorumCertificate) -> None:
        """Hold the votes of a checked certificate against those remembered, and remember them."""
        subject = certificate.subject
        place = (certificate.epoch, subject.height, subject.view, subject.phase)
        for cast in certificate.votes:
            held = self._held_at(cast.validator, place)
            if held is None:
                self._remember_vote(certificate.vote(cast), place, is_checked=True)
            elif held.vote.subject.header_digest != subject.header_digest:
                self._judge(held, certificate.vote(cast), is_checked=True)

    def note_final(self, executed: ExecutedBlock, certificate: QuorumCertificate) -> None:
        """Take note of a block that became final, and of the checkpoints stated in it."""
        self.note_certificate(certificate)
        written = self._ledger.tip_height
        due = [key for key in self._checkpoints if key[1] <= written]
        stated = [self._checkpoints.pop(key) for key in due]
        for verified in executed.transactions:
            payload = verified.transaction.body.payload
            if isinstance(payload, Governance):
                stated += payload.evidence
        for statement in stated:
            self.note_checkpoint(statement)

    def note_checkpoint(self, stated: CheckpointStatement) -> None:
        """Hold an unchecked statement, by whomever it was brought, against the chain and others."""
        try:
            header = Header.decode(stated.header)
        except DecodeError:
            return
        validators = self._set_of(header.epoch)
        index = None if validators is None else validators.index_of(stated.validator_id)
        if validators is None or index is None:
            return
        digest = header.digest(validators.suite)
        final, certificate = self._ledger.header_at(header.height) or (None, None)
        if final is not None and final.digest(validators.suite) == digest:
            return
        key = (header.epoch, header.height, index)
        other = self._checkpoints.get(key)
        if final is not None and certificate is not None and final.epoch == header.epoch:
            certified = CertifiedHeader(final, certificate)
            evidence = Evidence.of_false_checkpoint(stated, certified, validators)
        elif other is None:
            _remember(self._checkpoints, key, stated, CHECKPOINTS_REMEMBERED)
            return
        elif other.header == stated.header:
            return
        else:
            evidence = Evidence.of_checkpoints(other, stated, validators)
        try:
            self._prove(evidence)
        except PeerError:
            return  # whoever brought it, the block that holds it is final: nobody is to blame

    # ------------------------------------------------------------------ votes

    def _hear_vote(self, peer: int, vote: Vote) -> None:
        place = _place_of(vote)
        held = self._held_at(vote.validator, place)
        is_own = (
            vote.validator == self._term.indices.get(peer) and vote.epoch == self._validators.epoch
        )
        if held is None:
            if is_own and self._is_recent(vote):
                self._remember_vote(vote, place, is_checked=False)
        elif held.vote.subject.header_digest != vote.subject.header_digest:
            self._judge(held, vote, is_checked=False)
        if is_own and vote.subject.phase is Phase.PREPARE:
            self._confront(peer, vote, place)

    def _held_at(self, validator: int, place: _Place) -> _Held | None:
        votes = self._votes.get(validator)
        return None if votes is None else votes.get(place)

    def _remember_vote(self, vote: Vote, place: _Place, *, is_checked: bool) -> None:
        """Remember a vote, in place of one for the same place if there is one.

        What it has in common with the primary's vote is held once for both: nearly all votes for a
        block have, and there are as many as validators.
        """
        subject = vote.subject
        shown = self._held_at(self._validators.primary(subject.view), place)
        if shown is not None and shown.vote.subject.header_digest == subject.header_digest:
            place, common = shown.place, shown.vote.subject
            if common is not subject:
                vote = Vote(common, vote.validator, vote.time_ms, vote.signature, vote.epoch)
        votes = self._votes.setdefault(vote.validator, {})
        _remember(votes, place, _Held(vote, place, is_checked=is_checked), VOTES_REMEMBERED)

    def _is_recent(self, vote: Vote) -> bool:
        distance = vote.subject.height - self._ledger.tip_height
        return abs(distance) <= BLOCKS_REMEMBERED

    def _judge(self, held: _Held, vote: Vote, *, is_checked: bool) -> None:
        """Make evidence of two votes that contradict each other; raises `PeerError`."""
        validators = self._set_of(vote.epoch)
        if validators is None or not contradict(held.vote, vote):
            return
        evidence = Evidence.of(held.vote, vote, validators)
        if evidence.charge in self._held:
            return
        if not is_checked and not vote.verify(self._chain_id, validators):
            raise PeerError("vote-signature", f"the vote of {vote.validator} does not verify")
        if held.is_checked or held.vote.verify(self._chain_id, validators):
            self._keep([evidence])
        else:
            self._remember_vote(vote, _place_of(vote), is_checked=True)

    def _confront(self, peer: int, vote: Vote, place: _Place) -> None:
        """Show a peer what the primary signed here, if it was shown something else."""
        subject = vote.subject
        primary = self._validators.primary(subject.view)
        shown = self._held_at(primary, place)
        if shown is None or not shown.is_checked or vote.validator == primary:
            return
        key = (subject.view, subject.height, peer)
        is_another = shown.vote.subject.header_digest != subject.header_digest
        if is_another and key not in self._confronted:
            self._confronted.append(key)
            self._outlet.send(peer, shown.vote)

    # ------------------------------------------------------------------ VIEW-CHANGEs, NEW-VIEWs

    def _compare(self, held: Statement | None, message: ViewChange | NewView) -> None:
        """Make evidence of two messages for one view that differ; raises `PeerError`."""
        said = None if held is None else statement_of(message)
        validators = self._set_of(message.epoch)
        if held is None or said is None or held.content == said.content or validators is None:
            return
        if isinstance(message, ViewChange):
            offence, sender = Offence.VIEW_CHANGE, message.validator
        else:
            offence, sender = Offence.NEW_VIEW, validators.primary(message.view)
        evidence = Evidence.of_messages(
            offence, held, said, validators, view=message.view, sender=sender
        )
        self._prove(evidence)

    # ------------------------------------------------------------------ keeping

    def _set_of(self, epoch: int) -> ValidatorSet | None:
        """Return the set of an epoch; None of those to come."""
        if epoch == self._validators.epoch:
            return self._validators
        if epoch == self._founders.epoch:
            return self._founders
        if epoch > self._validators.epoch:
            return None
        start = find_epoch_start(self._ledger, epoch, self._founders.suite)
        return None if start is None else start.validators

    def _name(self, charge: Charge) -> str:
        validators = self._set_of(charge.epoch)
        return "" if validators is None else validators.validators[charge.validator].validator_id

    def _prove(self, evidence: Evidence) -> None:
        """Keep evidence if it is new and holds; raises `PeerError` where it does not."""
        validators = self._set_of(evidence.epoch)
        if validators is not None and evidence.charge not in self._held:
            evidence.check(self._chain_id, validators)
            self._keep([evidence])

    def _keep(self, proven: Sequence[Evidence]) -> None:
        new = []
        for evidence in proven:
            charge = evidence.charge
            if charge in self._held or len(evidence.encode()) > EVIDENCE_BYTES_MAX:
                continue
            self._ledger.keep_evidence(evidence)
            self._held[charge] = evidence
            new.append(evidence)
            detail = f"{self._name(charge)} signed two of {charge.offence.name} in epoch "
            detail += f"{charge.epoch}, view {evidence.view}"
            self._outlet.trace("equivocation", evidence.height, detail)
        for accusations in in_messages(new):
            self._outlet.send(None, accusations)


def _place_of(vote: Vote) -> _Place:
    subject = vote.subject
    return vote.epoch, subject.height, subject.view, subject.phase


def statement_of(message: ViewChange | NewView) -> Statement:
    """Return what a message says and how it is signed, as evidence holds it."""
    return Statement(encode(message.unsigned_value()), 0, message.signature)


def _remember(memory: dict[_Key, _Value], key: _Key, value: _Value, most: int) -> None:
    """Put a value into a bounded memory, if need be for the oldest."""
    memory[key] = value
    if len(memory) > most:
        del memory[next(iter(memory))]


def in_messages(evidence: Sequence[Evidence]) -> Iterator[Accusations]:
    """Yield all of it in messages of bounded number and size."""
    batch: list[Evidence] = []
    size_bytes = 0
    for each in evidence:
        own_bytes = len(each.encode())
        is_full = len(batch) == EVIDENCE_PER_MESSAGE_MAX
        if batch and (is_full or size_bytes + own_bytes > MESSAGE_BYTES_AIM):
            yield Accusations(tuple(batch))
            batch, size_bytes = [], 0
        batch.append(each)
        size_bytes += own_bytes
    if batch:
        yield Accusations(tuple(batch))
