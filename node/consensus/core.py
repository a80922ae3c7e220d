"""The PBFT core: `Core.step(event, now) -> actions`. Deterministic, single-threaded, sans-IO.

Reading order: `step` dispatches; `_progress` draws every consequence of what is now known, lowest
height first; the view-change half starts at `_leave_view`. README.md has the argument for safety
and liveness, transitions.md the tables. Section numbers refer to Castro and Liskov, OSDI'99.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import assert_never

from node.chain.block import CertifiedHeader, Header
from node.chain.certificate import Phase, Subject, Vote, build_certificate
from node.chain.epoch import Anchor
from node.chain.genesis import Parameters
from node.chain.membership import ValidatorSet
from node.chain.time_rules import delay_for, is_degraded_time, is_timely, longest_delay
from node.chain.validation import HeaderContext, check_header_follows
from node.consensus.events import (
    Action,
    AdoptNewView,
    AnnounceNewView,
    BuildProposal,
    CastProposal,
    CastViewChange,
    CastVote,
    Commit,
    DecidedReceived,
    Event,
    Halt,
    NewViewReceived,
    Now,
    OwnNewViewDurable,
    OwnViewChangeDurable,
    OwnVoteDurable,
    PassedOver,
    PoolChanged,
    ProposalBuilt,
    ProposalReceived,
    ReportEvidence,
    Retain,
    Send,
    StatusReceived,
    Tick,
    Trace,
    Validate,
    Validated,
    ViewChangeReceived,
    VoteReceived,
)
from node.consensus.messages import NewView, Proposal, Reason, Status, ViewChange
from node.consensus.new_view import ViewStart, is_rotation, new_view
from node.consensus.pacemaker import Pacemaker
from node.consensus.state import Offer, Recovered, Slot, Stage, slots_prepared
from node.consensus.verification import DigestOf
from node.consensus.view_changes import ViewChanges
from node.errors import InvariantViolation, PeerError, invariant

HEIGHTS_AHEAD_MAX = 64
"""How far above the window proposals and votes are kept."""


NO_MEMBER = -1
"""The index of a node outside the set: it commits what others decide, and casts nothing."""
_FOLLOWED = (Validated, DecidedReceived, Tick)
"""What concerns such a node."""
_MAY_MOVE_NOTHING = (VoteReceived, OwnVoteDurable, StatusReceived, PoolChanged, Tick)
"""What need not have consequences; whoever takes one of these says whether it can have."""


class Core:
    """One node's consensus state machine for one epoch, over once that epoch's barrier is final."""

    def __init__(
        self,
        *,
        validators: ValidatorSet,
        me: int,
        parameters: Parameters,
        context: HeaderContext,
        anchor: Anchor,
        digest_of: DigestOf,
        recovered: Recovered,
    ) -> None:
        """Start from durable state. `me` is this node's index in `validators`, or `NO_MEMBER`."""
        self.validators, self.me, self.parameters, self.context = (
            validators,
            me,
            parameters,
            context,
        )
        self._epoch_anchor, self._digest_of = anchor, digest_of
        self._window = parameters.window_slots
        self.tip, self.tip_digest = recovered.tip, recovered.tip_digest
        self.recent = recovered.recent
        self.view, self.view_active = recovered.view, recovered.view_active
        self.new_view = recovered.new_view
        self._start = ViewStart((), ())
        self._rotated_view = 0
        """The newest view known to have begun on schedule: none before it counts as failed."""
        self._is_fit = True
        """Whether the clock was, at the turn in hand."""
        self._came_too_late = False
        """Whether this view had a header so late that no growth of D could have made it timely."""
        self._announced_view = 0
        self._view_changes = ViewChanges(validators)
        self._slots: dict[int, Slot] = {}
        self._verdicts: dict[bytes, bool] = {}
        """Whether execution confirmed an undecided header, by digest."""
        self._asked: dict[bytes, int] = {}
        """Headers whose validation was asked for, with the number of holders named."""
        self._early: dict[int, list[Vote]] = {}
        """Votes for a view not entered yet, bounded per validator."""
        self._cast: dict[tuple[Phase, int], tuple[int, bytes]] = {}
        """Double-sign guard: view and digest of the last own vote per phase and height."""
        self._own_durable: dict[tuple[Phase, int], Vote] = {}
        self._building: tuple[int, int] | None = None
        self._pool_pending = False
        self._heights: dict[int, int] = {}
        """Where each peer last said it stands: its word, used for timers alone."""
        self._halted = False
        self.has_ended = False
        """Whether the barrier of this epoch was committed: then nothing more happens here."""
        self._clock = Pacemaker(parameters)
        self._is_settled = False
        """Whether all consequences of what is known were drawn, if none of it is about leaving."""
        self._are_timers_set = False
        """Whether the timers are as that demands, until the next is due."""
        self._out: list[Action] = []
        self._restore(recovered)

    # ------------------------------------------------------------------ the interface

    def step(self, event: Event, now: Now) -> list[Action]:  # noqa: C901, PLR0912 - the dispatch table
        """Take one event and return what to do, in order. Never raises for what a peer sent."""
        if self._is_over():
            return []
        self._out = []
        if now.is_fit is not self._is_fit:
            self._is_fit, self._is_settled = now.is_fit, False
        if self.me == NO_MEMBER and not isinstance(event, _FOLLOWED):
            return []
        if not isinstance(event, _MAY_MOVE_NOTHING):
            self._is_settled = False
        match event:
            case VoteReceived():
                self._on_vote(event.vote)
            case OwnVoteDurable():
                self._on_own_vote(event.vote)
            case ProposalReceived():
                self._on_proposal(event)
            case Validated():
                self._on_validated(event)
            case ProposalBuilt():
                self._on_built(event)
            case PoolChanged():
                self._pool_pending, self._are_timers_set = event.pending, False
                self._is_settled = self._is_settled and not event.pending
            case PassedOver():
                self._on_passed_over(event, now)
            case DecidedReceived():
                self._on_decided(event.decided)
            case StatusReceived():
                self._on_status(event.validator, event.status)
            case ViewChangeReceived() | OwnViewChangeDurable():
                self._view_changes.add(event.view_change)
            case NewViewReceived():
                self._on_new_view(event.new_view)
            case OwnNewViewDurable():
                if event.new_view.view == self.view and not self.view_active:
                    self._enter_view(event.new_view)
            case Tick():
                pass
            case _:
                assert_never(event)
        is_calm = self.view_active and not self._view_changes.has_above(self.view)
        if not (self._is_settled and is_calm):
            self._is_settled, self._are_timers_set = True, False
            self._progress(now)
        if not self._are_timers_set or now.monotonic_ms >= self._clock.deadline_ms():
            self._are_timers_set = True
            self._run_timers(now)
        return self._out

    def deadline(self) -> int:
        """Return the monotonic time (ms) by which `Tick` must come."""
        return self._clock.deadline_ms()

    def wants_vote(self, vote: Vote) -> bool:
        """Say cheaply whether a vote could matter, before its signature is checked.

        This stops verification at the quorum: at most q - 1 checks per phase and slot, counting
        on the own vote, and where no header is known yet, on the one that comes with the proposal.
        """
        subject = vote.subject
        if vote.validator == self.me or not self._in_reach(subject.height):
            return False
        if self.me == NO_MEMBER:
            return False
        if subject.view != self.view or not self.view_active:
            held_early = self._early.get(vote.validator, ())
            known = any(early.subject == subject for early in held_early)
            return subject.view >= self.view and not known
        slot = self._slots.get(subject.height) or Slot(subject.height)
        votes = slot.votes(subject.phase)
        previous = votes.get(vote.validator)
        if previous is not None:
            differs = previous.subject.header_digest != subject.header_digest
            return differs and (subject.phase, vote.validator) not in slot.accused
        if slot.decided is not None:
            return False
        is_silent = slot.abstains or (slot.header is None and not self._is_fit)
        coming = [] if is_silent else [self.me]
        primary = self.validators.primary(self.view)
        if subject.phase is Phase.PREPARE and slot.header is None:
            coming += [] if primary in (self.me, vote.validator) else [primary]
        held = [
            other
            for other in votes.values()
            if other.subject.header_digest == subject.header_digest
            and other.validator not in coming
        ]
        return len(held) + len(coming) < self.validators.quorum

    @property
    def slots(self) -> Mapping[int, Slot]:
        """Return what is remembered of each height above the tip, to look at."""
        return self._slots

    @property
    def pursued(self) -> tuple[bytes, ...]:
        """Return the digests of the headers that are decided, or that this view decides about.

        What was prepared in an earlier view and is not carried over is shown when leaving, and no
        more: its transactions wait again, or all who hold it would wait for each other to propose.
        """
        digests = []
        for slot in self._slots.values():
            if slot.decided is not None:
                digests.append(slot.decided.certificate.subject.header_digest)
            if slot.header is not None:
                digests.append(slot.digest)
        return tuple(digests)

    @property
    def leaving(self) -> tuple[int, ...]:
        """Return whose VIEW-CHANGE for the current view or a later one is here, ascending."""
        return tuple(sorted(each.validator for each in self._view_changes.since(self.view)))

    @property
    def is_degraded(self) -> bool:
        """Whether the blocks of the newest view entered here may be degraded."""
        return self._start.degraded_to_ms is not None

    @property
    def pacemaker(self) -> Pacemaker:
        """Return the timers, to look at."""
        return self._clock

    @property
    def window_top(self) -> int:
        """Return the highest height that may be proposed now: none above a barrier."""
        barrier = self._barrier_height()
        return self._anchor()[0].height + self._window if barrier is None else barrier

    def wants_proposal(self, proposal: Proposal) -> bool:
        """Say cheaply whether a proposal could matter, before anything in it is checked."""
        if self.me == NO_MEMBER:
            return False
        header = proposal.header
        if header.view != self.view or not self.view_active or not self._in_reach(header.height):
            return False
        slot = self._slots.get(header.height)
        return slot is None or (slot.offer is None and slot.header is None)

    def stage(self, height: int) -> Stage:
        """Return how far a height is in the current view."""
        if height <= self.tip.height:
            return Stage.FINAL
        slot = self._slots.get(height) or Slot(height)
        reached = (
            (slot.decided is not None, Stage.DECIDED),
            (slot.refused or self._verdicts.get(slot.digest) is False, Stage.REFUSED),
            (slot.commit_cast, Stage.COMMITTING),
            (slot.prepared_here, Stage.PREPARED),
            (slot.prepare_cast, Stage.PREPARING),
            (slot.header is not None, Stage.ACCEPTED),
            (slot.offer is not None, Stage.OFFERED),
        )
        return next((stage for is_reached, stage in reached if is_reached), Stage.EMPTY)

    # ------------------------------------------------------------------ normal case (section 4.2)

    def _on_proposal(self, event: ProposalReceived) -> None:
        proposal, subject = event.proposal, event.proposal.vote.subject
        self._on_vote(proposal.vote)
        if subject.view != self.view or not self.view_active or not self._in_reach(subject.height):
            return
        slot = self._slot(subject.height)
        if slot.offer is None:
            slot.offer = Offer(proposal, subject.header_digest, event.arrival_utc_ms)

    def _on_vote(self, vote: Vote) -> None:
        subject = vote.subject
        if vote.validator == self.me or not self._in_reach(subject.height):
            return
        if subject.view > self.view or (subject.view == self.view and not self.view_active):
            early = self._early.setdefault(vote.validator, [])
            early.append(vote)
            del early[: -4 * self._window]  # the newest: two phases of two windows
        elif subject.view == self.view:
            self._record_vote(vote)

    def _record_vote(self, vote: Vote) -> None:
        """Count the first vote of a validator per phase and slot; a second digest is evidence."""
        slot = self._slot(vote.subject.height)
        votes = slot.votes(vote.subject.phase)
        first = votes.setdefault(vote.validator, vote)
        if first.subject.header_digest != vote.subject.header_digest:
            accused = (vote.subject.phase, vote.validator)
            if accused not in slot.accused:
                self._out.append(ReportEvidence(first, vote))
            slot.accused[accused] = None
        is_asked_for = slot.header is not None and slot.digest not in self._verdicts
        if is_asked_for or len(votes) >= self.validators.quorum:
            self._is_settled = False  # it may certify the header, or its voter have the bodies

    def _on_own_vote(self, vote: Vote) -> None:
        """Count an own vote now that it is durable, if it is still of the current view."""
        if vote.subject.height <= self.tip.height:
            return
        self._own_durable[vote.subject.phase, vote.subject.height] = vote
        if vote.subject.view == self.view:
            self._record_vote(vote)

    def _on_validated(self, event: Validated) -> None:
        self._verdicts[event.header_digest] = event.matches
        if event.matches:
            return
        for slot in self._slots.values():
            for item in _held(slot):
                if item.certificate.subject.header_digest == event.header_digest:
                    self._halt(
                        f"block {slot.height} is certified and this node's execution differs: "
                        f"{event.header_digest.hex()}"
                    )
                    return
        self._trace("proposal-invalid", self.tip.height + 1, event.header_digest.hex())

    def _on_built(self, event: ProposalBuilt) -> None:
        if self._building != (event.view, event.height):
            self._retain()
            return
        self._building = None
        if event.header is None:
            self._pool_pending = False  # until the driver says otherwise
            return
        digest = self._digest_of(event.header)
        slot = self._slot(event.height)
        slot.accept(event.header, digest, event.tx_hashes)
        self._verdicts[digest] = True
        self._guard(Subject(Phase.PREPARE, self.view, event.height, digest))
        slot.prepare_cast = True
        self._out.append(CastProposal(event.header, digest, event.tx_hashes, self.view))

    def _on_decided(self, decided: CertifiedHeader) -> None:
        height = decided.header.height
        if self._in_reach(height):
            slot = self._slot(height)
            if slot.decided is None:
                slot.decided = decided

    def _progress(self, now: Now) -> None:
        """Draw every consequence, lowest height first, until nothing changes."""
        while self._commit_next(now):
            pass
        if self._is_over():
            return
        self._advance_view_change(now)
        if self.view_active:
            self._accept_offers()
            self._vote()
            while self._commit_next(now):
                self._accept_offers()
                self._vote()
            if self._is_over():
                return
            self._ask_for_proposal()
        self._ask_for_validation()

    def _accept_offers(self) -> None:
        """Accept, in height order, the offers whose parent is accepted or decided (rule R1)."""
        header, digest = self._anchor()
        if header.height + 1 not in self._slots:
            return
        for height in range(header.height + 1, self.window_top + 1):
            slot = self._slots.get(height)
            if slot is None:
                return
            if slot.header is None and slot.offer is not None and not slot.refused:
                self._accept_offer(slot, slot.offer, header, digest)
            if slot.header is None:
                return
            header, digest = slot.header, slot.digest

    def _accept_offer(self, slot: Slot, offer: Offer, parent: Header, parent_digest: bytes) -> None:
        header = offer.proposal.header
        try:
            check_header_follows(header, parent, parent_digest, self.context)
            if header.time_degraded:
                self._check_degraded_time(header, parent, offer.arrival_utc_ms)
            elif self._is_fit:
                self._check_time(header, offer.arrival_utc_ms)
        except PeerError as error:
            slot.refused = True
            self._trace(error.rule, slot.height, str(error))
            return
        slot.accept(header, offer.digest, offer.proposal.tx_hashes)
        slot.abstains = not header.time_degraded and not self._is_fit
        if slot.abstains:
            self._trace("proposal-followed", slot.height, "followed without a vote")

    def _check_time(self, header: Header, arrival_utc_ms: int) -> None:
        """Check what only this node's clock can tell (architecture section 5)."""
        delay_ms = delay_for(self._failed_views(), self.parameters)
        precision_ms = self.parameters.precision_ms
        if is_timely(arrival_utc_ms, header.time_ms, precision_ms, delay_ms):
            return
        if arrival_utc_ms > header.time_ms and delay_ms == longest_delay(self.parameters):
            self._came_too_late = True
        raise PeerError("header-timely", f"T {header.time_ms} arrived at {arrival_utc_ms}")

    def _check_degraded_time(self, header: Header, parent: Header, arrival_utc_ms: int) -> None:
        """Check that this view may hold a degraded block, and its T."""
        reached_ms = self._start.degraded_to_ms
        if reached_ms is None:
            raise PeerError("header-degraded", "no view change allows degraded time here")
        time_ms, precision_ms = header.time_ms, self.parameters.precision_ms
        if not is_degraded_time(time_ms, parent.time_ms, reached_ms, arrival_utc_ms, precision_ms):
            raise PeerError(
                "header-degraded-time",
                f"T {time_ms} arrived at {arrival_utc_ms}, on {parent.time_ms}, "
                f"where a quorum of clocks had reached {reached_ms}",
            )

    def _vote(self) -> None:
        """Cast PREPARE where a header is confirmed, and COMMIT above an unbroken prepared run."""
        if self.tip.height + 1 not in self._slots:
            return
        unbroken = True
        for height in range(self.tip.height + 1, self.window_top + 1):
            slot = self._slots.get(height)
            if slot is None or slot.header is None:
                return
            if not self._verdicts.get(slot.digest):
                return
            if not slot.prepare_cast and not slot.abstains:
                slot.prepare_cast = True
                subject = Subject(Phase.PREPARE, self.view, height, slot.digest)
                self._guard(subject)
                self._out.append(CastVote(subject, None))
            if not slot.prepared_here:
                prepared = self._certified(slot, slot.header, Phase.PREPARE)
                if prepared is not None:
                    slot.prepared_here = True
                    slot.learn_prepared(prepared)
            unbroken = unbroken and slot.prepared_here and not slot.abstains
            if unbroken and not slot.commit_cast:
                slot.commit_cast = True
                subject = Subject(Phase.COMMIT, self.view, height, slot.digest)
                self._guard(subject)
                self._out.append(CastVote(subject, slot.prepared))
            if slot.decided is None:
                slot.decided = self._certified(slot, slot.header, Phase.COMMIT)

    def _certified(self, slot: Slot, header: Header, phase: Phase) -> CertifiedHeader | None:
        """Return the header accepted in a slot with its votes of a phase, once a quorum is here."""
        quorum = self.validators.quorum
        if len(slot.votes(phase)) < quorum:
            return None
        votes = slot.matching(phase, slot.digest)
        if len(votes) < quorum:
            return None
        return CertifiedHeader(header, build_certificate(votes, self.validators))

    def _commit_next(self, now: Now) -> bool:
        """Deliver the next height if it is decided and confirmed; true when something moved."""
        height = self.tip.height + 1
        slot = self._slots.get(height)
        if self._is_over() or slot is None or slot.decided is None:
            return False
        header, certificate = slot.decided.header, slot.decided.certificate
        digest = certificate.subject.header_digest
        if not self._verdicts.get(digest):
            if digest in self._verdicts:
                self._halt(f"block {height} is decided and this node's execution differs")
            return False
        if header.parent != self.tip_digest:
            self._halt(f"two certified blocks below height {height}: more than f faults")
            return False
        self._out.append(Commit(header, digest, certificate))
        self.tip, self.tip_digest = header, digest
        self.has_ended = self.context.ends_with(header)
        self.recent = (*self.recent, slot.decided)[-self._window :]
        del self._slots[height]
        if slot.header is not None and slot.digest != digest:
            self._refuse_accepted()
        for phase in Phase:
            self._cast.pop((phase, height), None)
            self._own_durable.pop((phase, height), None)
        if self._building is not None and self._building[1] <= height:
            self._building = None
        self._came_too_late = False
        self._retain()
        self._clock.progressed(now)
        return True

    def _ask_for_proposal(self) -> None:
        """As primary, ask for the next block when a slot is free and something waits."""
        if self.validators.primary(self.view) != self.me or not self._pool_pending:
            return
        if self._building is not None or self._highest_certified_view() > self.view:
            return  # one at a time, and none in a view that is known to be over
        if not self._is_fit and not self.is_degraded:
            return  # who cannot vouch for T leaves, if that is not yet done
        header, digest = self._anchor()
        if header.height > self.tip.height:
            return  # this node does not hold the state of the base yet
        last = self._start_height() + self.parameters.rotation_blocks
        for height in range(header.height + 1, min(self.window_top, last) + 1):
            slot = self._slots.get(height)
            if slot is None or slot.header is None:
                if (Phase.PREPARE, height) in self._cast_here():
                    return  # this view's vote for the height is spent
                self._building = (self.view, height)
                self._out.append(
                    BuildProposal(self.view, height, digest, self._start.degraded_to_ms)
                )
                return
            if not self._verdicts.get(slot.digest):
                return
            header, digest = slot.header, slot.digest

    def _ask_for_validation(self) -> None:
        """Ask the driver to confirm what is accepted or decided, naming who holds the bodies."""
        if not self._slots:
            return
        for height in range(self.tip.height + 1, self.tip.height + 2 * self._window + 1):
            slot = self._slots.get(height)
            if slot is None:
                continue
            if slot.header is not None and slot.digest not in self._verdicts:
                holders = dict.fromkeys((self.validators.primary(self.view), *slot.prepares))
                self._ask(slot.header, slot.digest, slot.tx_hashes, tuple(holders))
            for item in _held(slot):
                digest = item.certificate.subject.header_digest
                if digest not in self._verdicts and (item is slot.decided or digest == slot.digest):
                    voters = tuple(vote.validator for vote in item.certificate.votes)
                    known = slot.tx_hashes if digest == slot.digest else None
                    self._ask(item.header, digest, known, voters)

    def _ask(
        self,
        header: Header,
        digest: bytes,
        tx_hashes: tuple[bytes, ...] | None,
        holders: tuple[int, ...],
    ) -> None:
        others = tuple(holder for holder in holders if holder != self.me)
        if self._asked.get(digest, -1) >= len(others):
            return
        self._asked[digest] = len(others)
        self._out.append(Validate(header, digest, tx_hashes, others))

    # ------------------------------------------------------------------ view change (section 4.4)

    def _on_new_view(self, message: NewView) -> None:
        if message.view > self.view or (message.view == self.view and not self.view_active):
            self._enter_view(message)
            self._out.append(AdoptNewView(message))

    def _advance_view_change(self, now: Now) -> None:
        """Join a higher view on f + 1 (section 4.5.2), and start a view as its primary."""
        if self.view_active and not self._view_changes.has_above(self.view):
            return  # nobody is known to leave
        self._follow_primary(now)
        while above := self._view_changes.joined_above(self.view):
            target = min(vc.view for vc in above)
            if target <= self._highest_certified_view():
                break
            rotates = is_rotation(above, self.validators.faults)
            self._leave_view(target, Reason.ROTATION if rotates else Reason.OTHERS, now)
        if self.view_active or self.validators.primary(self.view) != self.me:
            return
        gathered = self._view_changes.quorum_for(self.view)
        mine = any(view_change.validator == self.me for view_change in gathered)
        if mine and self._announced_view < self.view:
            self._announced_view = self.view
            made = NewView(epoch=self.validators.epoch, view=self.view, view_changes=gathered)
            self._out.append(AnnounceNewView(made))

    def _follow_primary(self, now: Now) -> None:
        """Leave a view that its primary has left: it proposes and votes there no more.

        Only to the next view, whichever the primary is for. That it left on schedule is believed if
        the schedule is near here too: else faulty primaries would keep timeouts from growing.
        """
        left = self._view_changes.of(self.validators.primary(self.view))
        if not self.view_active or left is None or left.view <= self.view:
            return
        if self._highest_certified_view() > self.view:
            return  # this view is over, and the next to be entered is a later one
        final = self.tip.height - self._start_height()
        is_near = self._clock.is_rotation_near(now) or (
            0 < final >= self.parameters.rotation_blocks - self._window
        )
        rotates = left.reason is Reason.ROTATION and is_near
        self._leave_view(self.view + 1, Reason.ROTATION if rotates else Reason.OTHERS, now)

    def _on_passed_over(self, event: PassedOver, now: Now) -> None:
        """Leave the view of a primary that prefers some: f + 1 who see it take all along."""
        in_view = event.view == self.view and self.view_active
        if not in_view or self.validators.primary(self.view) == self.me:
            return
        if self._highest_certified_view() <= self.view and not self._is_left_behind():
            detail = f"{event.tx_id.hex()} came {event.earlier_by_ms} ms before one that is final"
            self._trace("passed-over", self.tip.height, detail)
            self._leave_view(self.view + 1, Reason.FAIRNESS, now)

    def _leave_unfit(self, now: Now) -> None:
        """Leave, as its primary, a view in which work waits that this clock may not stamp."""
        is_primary = self.validators.primary(self.view) == self.me
        if now.is_fit or self.is_degraded or not is_primary or not self._pool_pending:
            return
        if self._highest_certified_view() <= self.view:
            self._leave_view(self.view + 1, Reason.CLOCK, now)

    def _leave_on_schedule(self, now: Now) -> None:
        """Leave a view that has lasted long enough: everywhere at one height, or by the clock."""
        is_primary = self.validators.primary(self.view) == self.me
        is_due = self._clock.rotates(now, is_primary=is_primary) or (
            self.tip.height - self._start_height() >= self.parameters.rotation_blocks
        )
        if is_due and self._highest_certified_view() <= self.view:
            self._leave_view(self.view + 1, Reason.ROTATION, now)

    def _leave_view(self, target: int, reason: Reason, now: Now) -> None:
        """Stop voting below `target` and say what is held; durable before it leaves."""
        invariant(target > self.view, f"view {self.view} may not fall back to {target}")
        shown = slots_prepared(self._slots, self.tip.height, self.tip.height + self._window)
        clock_bit = not self._can_vouch(shown, reason, now)
        undecided = [
            f"{height} {self.stage(height).value}"
            for height in range(self.tip.height + 1, self.tip.height + self._window + 1)
        ]
        self.view, self.view_active = target, False
        self._building = None
        self._clock.left_view(now)
        rule = "view-rotating" if reason is Reason.ROTATION else "view-left"
        detail = f"{reason.name.lower()}: towards view {target}: {', '.join(undecided)}"
        self._trace(rule, self.tip.height, detail)
        self._out.append(
            CastViewChange(
                ViewChange(
                    epoch=self.validators.epoch,
                    view=target,
                    validator=self.me,
                    committed=self.recent,
                    prepared=shown,
                    clock_bit=clock_bit,
                    clock_ms=now.utc_ms,
                    reason=reason,
                )
            )
        )

    def _can_vouch(self, shown: Sequence[CertifiedHeader], reason: Reason, now: Now) -> bool:
        """Whether, as far as this validator can tell, T and its clock are right (section 5)."""
        newest_ms = max([self.tip.time_ms, *(item.header.time_ms for item in shown)])
        leaving = self._view_changes.since(self.view)
        others_doubt = any(vc.clock_bit and vc.validator != self.me for vc in leaving)
        return (
            now.is_fit
            and newest_ms <= now.utc_ms + self.parameters.precision_ms
            and not self._came_too_late
            and not (reason is Reason.TIMEOUT and others_doubt)
        )

    def _enter_view(self, message: NewView) -> None:
        """Start the view from what its quorum showed, dropping what it does not carry over."""
        self._start = new_view(
            message.view_changes, self._epoch_anchor, self._digest_of, self.validators
        )
        self._came_too_late = False
        self.view, self.view_active, self.new_view = message.view, True, message
        self._building = None
        carried = {item.header.height: item for item in self._start.carried}
        for slot in self._slots.values():
            item = carried.get(slot.height)
            same = item is not None and item.certificate.subject.header_digest == slot.digest
            known = slot.tx_hashes if same else None
            slot.leave_view()
            slot.tx_hashes = known
        for item in self._start.base:
            self._on_decided(item)
        for height, item in carried.items():
            if self._in_reach(height):
                slot = self._slot(height)
                digest = item.certificate.subject.header_digest
                slot.accept(item.header, digest, slot.tx_hashes)
                slot.learn_prepared(item)
        self._retain()
        self._clock.entered_view(is_degraded=self.is_degraded)
        rotated = is_rotation(message.view_changes, self.validators.faults)
        if rotated:
            self._rotated_view = message.view
        rule = "view-rotated" if rotated else "view-entered"
        self._trace(rule, self._start_height(), f"carried {len(carried)}")
        if self.is_degraded:
            doubters = [vc.validator for vc in message.view_changes if vc.clock_bit]
            detail = f"validators {doubters} do not vouch for time"
            self._trace("view-degraded", self._start_height(), detail)
        early, self._early = self._early, {}
        for votes in early.values():
            for vote in votes:
                self._on_vote(vote)

    # ------------------------------------------------------------------ time, and those behind

    def _run_timers(self, now: Now) -> None:
        """Expire the view, and repeat what may have been lost."""
        if self._is_over():
            return
        if self.view_active and self.me != NO_MEMBER:
            self._leave_on_schedule(now)
        if self.view_active:
            self._leave_unfit(now)
        work = self._pool_pending or any(slot.header is not None for slot in self._slots.values())
        if self.view_active:
            waiting = work and self.me != NO_MEMBER and not self._is_left_behind()
        else:
            waiting = len(self.leaving) >= self.validators.quorum
        expired = self._clock.run(
            now,
            waiting=waiting,
            failed_views=self._failed_views(),
            busy=work or not self.view_active,
        )
        if expired.view:
            if not self.view_active:
                self._out += [Send(None, held) for held in self._view_changes.since(self.view)]
            target = max(self.view, self._highest_certified_view()) + 1
            self._leave_view(target, Reason.TIMEOUT, now)
        if expired.repeat:
            self._repeat(stalled=expired.stalled)

    def _is_left_behind(self) -> bool:
        """Whether others are known to make progress, and what is missing here comes from them.

        So it is when the next block is decided and only its bodies are awaited, or when a correct
        peer, by the word of f + 1, is out of this validator's window. Leaving their view would only
        take this validator's vote from them until the next one.
        """
        following = self._slots.get(self.tip.height + 1)
        if following is not None and following.decided is not None:
            return True
        top = self.tip.height + self._window
        ahead = [height for height in self._heights.values() if height > top]
        return len(ahead) > self.validators.faults

    def _repeat(self, *, stalled: bool) -> None:
        """Say where this validator stands and, when stalled, send again what may have been lost."""
        status = Status(self.validators.epoch, self.view, self.view_active, self.tip.height)
        self._out.append(Send(None, status))
        if not self.view_active:
            own = self._view_changes.of(self.me)
            if own is not None and own.view == self.view:  # else the new one is not durable yet
                self._out.append(Send(None, own))
            left = self._view_changes.of(self.validators.primary(self.view - 1))
            if left is not None and left.validator != self.me and left.view >= self.view:
                self._out.append(Send(None, left))  # others may not know that the primary left
            return
        if not stalled:
            return
        if self.validators.primary(self.view) == self.me:
            self._repeat_new_view()
        for (phase, height), vote in self._own_durable.items():
            slot = self._slots.get(height)
            if slot is None or vote.subject.view != self.view or slot.header is None:
                continue
            fresh = slot.header.view == self.view and slot.header.proposer == self.me
            if phase is Phase.PREPARE and fresh and slot.tx_hashes is not None:
                self._out.append(Send(None, Proposal(slot.header, slot.tx_hashes, vote)))
            else:
                self._out.append(Send(None, vote))

    def _repeat_new_view(self) -> None:
        """Repeat the NEW-VIEW only while nothing was decided in the view."""
        if self.new_view is not None and self._tip_view() < self.view and self._slots:
            self._out.append(Send(None, self.new_view))

    def _on_status(self, validator: int, status: Status) -> None:
        """Answer a peer that is behind with certificates; a status itself proves nothing."""
        if validator == self.me:
            return
        self._heights[validator], self._are_timers_set = status.height, False
        for item in self.recent:
            if item.header.height > status.height:
                self._out.append(Send(validator, item))
        behind = status.view < self.view or (status.view == self.view and not status.view_active)
        if not behind:
            return
        if self.view_active and self.new_view is not None:
            self._out.append(Send(validator, self.new_view))
        own = self._view_changes.of(self.me)
        if not self.view_active and own is not None and own.view == self.view:
            self._out.append(Send(validator, own))

    # ------------------------------------------------------------------ small things

    def _is_over(self) -> bool:
        """Whether nothing more happens here."""
        return self._halted or self.has_ended

    def _restore(self, recovered: Recovered) -> None:
        """Rebuild slots from durable state; what is undecided is validated again."""
        if recovered.view_change is not None:
            self._view_changes.add(recovered.view_change)
        if recovered.new_view is not None:
            self._enter_view(recovered.new_view)
            self.view, self.view_active = recovered.view, recovered.view_active
        for item in recovered.prepared:
            if self._in_reach(item.header.height):
                self._slot(item.header.height).learn_prepared(item)
        blocks = {self._digest_of(header): (header, hashes) for header, hashes in recovered.blocks}
        for vote in recovered.votes:
            subject = vote.subject
            if subject.height <= self.tip.height:
                continue
            self._cast[subject.phase, subject.height] = (subject.view, subject.header_digest)
            self._own_durable[subject.phase, subject.height] = vote
            if subject.view != self.view or not self.view_active:
                continue
            slot = self._slot(subject.height)
            self._record_vote(vote)
            if subject.phase is Phase.COMMIT:
                slot.commit_cast = True
                continue
            slot.prepare_cast = True
            block = blocks.get(subject.header_digest)
            if block is None:
                raise InvariantViolation(f"the log holds a vote but not its block {subject.height}")
            slot.accept(block[0], subject.header_digest, block[1])

    def _guard(self, subject: Subject) -> None:
        """Record an own vote, refusing to vote twice for one (phase, height) in one view."""
        key = (subject.phase, subject.height)
        view, digest = self._cast.get(key, (-1, b""))
        invariant(
            subject.view > view or (subject.view == view and subject.header_digest == digest),
            f"second {subject.phase.name} at height {subject.height} in view {subject.view}",
        )
        self._cast[key] = (subject.view, subject.header_digest)

    def _cast_here(self) -> dict[tuple[Phase, int], bytes]:
        """Return the own votes cast in this view."""
        return {key: digest for key, (view, digest) in self._cast.items() if view == self.view}

    def _slot(self, height: int) -> Slot:
        slot = self._slots.get(height)
        if slot is None:
            slot = self._slots[height] = Slot(height)
        return slot

    def _in_reach(self, height: int) -> bool:
        """Heights remembered at all, for peers that are ahead.

        Many more than the window: what comes while blocks of the past are fetched is needed as soon
        as they are there. Else a validator that fetches more slowly than a window is decided would
        be behind for ever.
        """
        return self.tip.height < height <= self.tip.height + self._window + HEIGHTS_AHEAD_MAX

    def _start_height(self) -> int:
        """Return the height the current view starts above."""
        base = self._start.base
        return base[-1].header.height if base else self._epoch_anchor.height

    def _anchor(self) -> tuple[Header, bytes]:
        """Return what the view builds on: the tip, or the view's base where the tip is behind it.

        Nothing at or below the base is up for decision in this view.
        """
        if self._start_height() > self.tip.height:
            base = self._start.base[-1]
            return base.header, base.certificate.subject.header_digest
        return self.tip, self.tip_digest

    def _barrier_height(self) -> int | None:
        """Return the height of this epoch's barrier if one is accepted or decided here."""
        base, _ = self._anchor()
        ends = self.context.ends_with
        if ends(base):
            return base.height
        for height in range(base.height + 1, base.height + self._window + 1):
            slot = self._slots.get(height)
            if slot is None:
                continue
            accepted, decided = slot.header, slot.decided
            if accepted is not None and ends(accepted):
                return height
            if decided is not None and decided.header is not accepted and ends(decided.header):
                return height
        return None

    def _tip_view(self) -> int:
        return self.recent[-1].certificate.subject.view if self.recent else 0

    def _failed_views(self) -> int:
        """Return how many views ended before their time since the last commit or rotation."""
        return self.view - max(self._tip_view(), self._rotated_view)

    def _highest_certified_view(self) -> int:
        """Return the highest view any held certificate is of: no use leaving for one below it."""
        views = [item.certificate.subject.view for item in self.recent]
        for slot in self._slots.values():
            views += [item.certificate.subject.view for item in _held(slot)]
        return max(views, default=0)

    def _refuse_accepted(self) -> None:
        """Another block than the accepted one was decided: nothing built on that can follow."""
        for slot in self._slots.values():
            if slot.header is not None:
                slot.refused = True
                slot.header, slot.digest, slot.tx_hashes = None, b"", None

    def _retain(self) -> None:
        """Forget, and have the driver forget, every header no longer pursued."""
        digests = self.pursued
        self._verdicts = {d: ok for d, ok in self._verdicts.items() if d in digests}
        self._asked = {d: count for d, count in self._asked.items() if d in digests}
        self._out.append(Retain(digests))

    def _trace(self, rule: str, height: int, detail: str) -> None:
        self._out.append(Trace(rule, self.view, height, detail))

    def _halt(self, reason: str) -> None:
        self._halted = True
        self._out.append(Halt(reason))


def _held(slot: Slot) -> list[CertifiedHeader]:
    return [item for item in (slot.prepared, slot.decided) if item is not None]
