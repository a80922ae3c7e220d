"""One running validator: the real core under the thinnest engine, forkable and comparable.

The engine here executes nothing: a well-formed header is confirmed at once. What is cast is durable
at once, and survives `restarted`; nothing else does. It is a stand-in for node/service/engine.py,
whose own tests and simulation are elsewhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from node.chain.block import CertifiedHeader
from node.chain.certificate import Phase, Subject, Vote
from node.consensus import events as ev
from node.consensus.core import Core
from node.consensus.messages import NewView, ViewChange
from node.consensus.pacemaker import Expired, Pacemaker
from node.consensus.state import Recovered, Slot
from tests.exhaustive.chain import (
    ANCHOR,
    CONTEXT,
    GENESIS_HEADER,
    NOW,
    VALIDATORS,
    Chain,
    digest_of,
)
from tests.unit.execution.small_chain import GENESIS

EXPIRED = ev.Now(monotonic_ms=1, utc_ms=NOW.utc_ms)
"""The time at which whatever timer runs is due."""

IRRELEVANT = (
    # constant
    "validators",
    "me",
    "parameters",
    "context",
    "_epoch_anchor",
    "_digest_of",
    "_window",
    "has_ended",
    # a header without a verdict gets one within the same step, so these two follow from the rest
    "_verdicts",
    "_asked",
    # told to peers again, and by `Status`: what was sent stays in flight for ever here
    "_own_durable",
    "_heights",
    "new_view",
    # empty between steps
    "_out",
    # timers run at every step here, set or not
    "_clock",
    "_are_timers_set",
)
"""Attributes of the core that tell no two of its states apart."""


class StoppedClock(Pacemaker):
    """Timers that run out exactly when told, under the core's own conditions; no repetitions."""

    def run(self, now: ev.Now, *, waiting: bool, failed_views: int, busy: bool) -> Expired:
        """Expire at once where the core would let a timer run."""
        del failed_views, busy
        return Expired(view=waiting and now == EXPIRED, repeat=False, stalled=False)

    def deadline_ms(self) -> int:
        """Have the core run timers at every step: this clock has no time to wait for."""
        return 0


class Broken(Exception):  # noqa: N818 - a verdict on the code under test
    """A correct validator did what none may do; the message begins with the rule."""


@dataclass(slots=True)
class Durable:
    """What a validator said and logged."""

    cast: int = 0
    """Every vote it ever cast, as a mask over `Chain.subjects`."""
    places: dict[tuple[Phase, int, int], bytes] = field(default_factory=dict)
    """(phase, view, height) of those votes to digest."""
    proposals: dict[tuple[int, int], int] = field(default_factory=dict)
    """(view, height) to the number of what it proposed there."""
    view_changes: dict[int, int] = field(default_factory=dict)
    """View to the number of its VIEW-CHANGE for it."""
    new_views: dict[int, int] = field(default_factory=dict)
    """View to the number of the NEW-VIEW it announced."""
    adopted: int | None = None
    """The number of the NEW-VIEW it entered its newest view with."""
    prepared: dict[int, CertifiedHeader] = field(default_factory=dict)
    ledger: tuple[CertifiedHeader, ...] = ()

    def said(self) -> Hashable:
        """Return a key of all that others may have heard."""
        sent = (self.proposals, self.view_changes, self.new_views)
        return (self.cast, *(tuple(sorted(messages.items())) for messages in sent))


@dataclass(slots=True)
class Instance:
    """A validator of one exploration."""

    chain: Chain
    core_class: type[Core]
    me: int
    maker: str
    """What its blocks are named by: two twins make different ones."""
    slots: int
    """How many heights there is something to propose for."""
    core: Core
    durable: Durable

    @classmethod
    def start(
        cls, chain: Chain, core_class: type[Core], me: int, maker: str, slots: int
    ) -> Instance:
        """Return a validator at genesis that has transactions waiting."""
        recovered = Recovered(tip=GENESIS_HEADER, tip_digest=digest_of(GENESIS_HEADER), recent=())
        core = _make_core(core_class, me, recovered)
        instance = cls(chain, core_class, me, maker, slots, core, Durable())
        instance.feed([ev.PoolChanged(pending=True)])
        return instance

    def fork(self) -> Instance:
        """Return a validator in the same state that goes its own way."""
        core = object.__new__(type(self.core))
        vars(core).update({name: _forked(value) for name, value in vars(self.core).items()})
        return Instance(
            self.chain,
            self.core_class,
            self.me,
            self.maker,
            self.slots,
            core,
            _forked(self.durable),
        )

    def key(self) -> Hashable:
        """Return what is equal for two states of this validator with the same future."""
        core, durable, chain = self.core, self.durable, self.chain
        held: list[Hashable] = []
        for name, value in vars(core).items():
            if name in IRRELEVANT:
                continue
            if name == "_slots":
                kept = [_slot_key(slot, chain, active=core.view_active) for slot in value.values()]
                held.append(tuple(sorted(key for key in kept if any(key[1:]))))
            elif name == "_view_changes":
                floor = core.view + core.view_active
                late = {vc.validator: chain.number(vc) for vc in value.since(floor)}
                held.append(chain.canonical(late))
            else:
                held.append(chain.canonical(value))
        prepared = chain.canonical(durable.prepared)
        return (durable.said(), durable.adopted, prepared, *held)

    # ------------------------------------------------------------------ one step

    def feed(self, events: Sequence[ev.Event], now: ev.Now = NOW) -> None:
        """Take events, and all that follows from them; the first comes at `now`."""
        queue = deque(events)
        while queue:
            for action in self.core.step(queue.popleft(), now):
                self._obey(action, queue)
            now = NOW

    def restarted(self) -> None:
        """Lose what is not durable."""
        durable, chain = self.durable, self.chain
        ledger = durable.ledger
        height = len(ledger)
        newest: dict[tuple[Phase, int], Vote] = {}
        blocks = {}
        for (phase, view, at), digest in durable.places.items():
            held = newest.get((phase, at))
            if at > height and (held is None or held.subject.view <= view):
                subject = Subject(phase, view, at, digest)
                newest[phase, at] = chain.vote(chain.bit(subject), self.me)
                blocks[digest] = (chain.headers[digest], ())
        adopted = None if durable.adopted is None else chain.messages[durable.adopted]
        new_view = adopted if isinstance(adopted, NewView) else None
        view = 0 if new_view is None else new_view.view
        leaving = max(durable.view_changes, default=0)
        change = chain.messages[durable.view_changes[leaving]] if leaving > view else None
        recovered = Recovered(
            tip=ledger[-1].header if ledger else GENESIS_HEADER,
            tip_digest=digest_of(ledger[-1].header if ledger else GENESIS_HEADER),
            recent=ledger[-GENESIS.parameters.window_slots :],
            view=max(view, leaving),
            view_active=change is None,
            new_view=new_view,
            view_change=change if isinstance(change, ViewChange) else None,
            blocks=tuple(blocks.values()),
            votes=tuple(vote for _, vote in sorted(newest.items())),
            prepared=tuple(i for at, i in sorted(durable.prepared.items()) if at > height),
        )
        self.core = _make_core(self.core_class, self.me, recovered)
        self.feed([ev.PoolChanged(pending=True)])

    def _obey(self, action: ev.Action, queue: deque[ev.Event]) -> None:  # noqa: C901 - one case each
        match action:
            case ev.BuildProposal():
                queue.appendleft(self._build(action))
            case ev.Validate():
                queue.append(ev.Validated(action.header_digest, matches=True))
            case ev.CastProposal(header=header, header_digest=digest, view=view):
                subject = Subject(Phase.PREPARE, view, header.height, digest)
                queue.append(self._cast(subject))
                if header.view == view:
                    proposal = self.chain.proposal(header, self.maker)
                    number = self.chain.number(proposal)
                    self.durable.proposals[view, header.height] = number
            case ev.CastVote():
                if action.evidence is not None:
                    self.durable.prepared[action.subject.height] = action.evidence
                queue.append(self._cast(action.subject))
            case ev.CastViewChange():
                view_change = self.chain.sign_view_change(action.view_change)
                number = self.chain.number(view_change)
                self.durable.view_changes.setdefault(view_change.view, number)
                queue.append(ev.OwnViewChangeDurable(view_change))
            case ev.AnnounceNewView():
                new_view = self.chain.sign_new_view(action.new_view)
                self.durable.new_views[new_view.view] = self.chain.number(new_view)
                self.durable.adopted = self.chain.number(new_view)
                queue.append(ev.OwnNewViewDurable(new_view))
            case ev.AdoptNewView():
                self.durable.adopted = self.chain.number(action.new_view)
            case ev.Commit():
                self._commit(action)
            case ev.Halt():
                raise Broken(f"X: validator {self.me} halts: {action.reason}")
            case ev.Retain() | ev.Send() | ev.ReportEvidence() | ev.Trace():
                pass

    def _build(self, action: ev.BuildProposal) -> ev.ProposalBuilt:
        view, height = action.view, action.height
        header = None
        if height <= self.slots:
            header = self.chain.header(view, height, action.parent_digest, self.maker)
        return ev.ProposalBuilt(view, height, header, self.chain.tx_hashes(self.maker))

    def _cast(self, subject: Subject) -> ev.OwnVoteDurable:
        place = (subject.phase, subject.view, subject.height)
        first = self.durable.places.setdefault(place, subject.header_digest)
        if first != subject.header_digest:
            raise Broken(f"D1: validator {self.me} votes twice at {place}")
        bit = self.chain.bit(subject)
        self.durable.cast |= 1 << bit
        return ev.OwnVoteDurable(self.chain.vote(bit, self.me))

    def _commit(self, action: ev.Commit) -> None:
        ledger = self.durable.ledger
        parent = digest_of(ledger[-1].header if ledger else GENESIS_HEADER)
        if action.header.parent != parent or action.header.height != len(ledger) + 1:
            raise Broken(f"A4: validator {self.me} commits {action.header.height} on another block")
        bit = self.chain.bit(action.certificate.subject)
        for vote in action.certificate.votes:
            if vote.signature != self.chain.vote(bit, vote.validator).signature:
                raise Broken(
                    f"A3: validator {self.me} commits {action.header.height} by a vote of "
                    f"{vote.validator} about something else"
                )
        self.durable.ledger = (*ledger, CertifiedHeader(action.header, action.certificate))


def _make_core(core_class: type[Core], me: int, recovered: Recovered) -> Core:
    core = core_class(
        validators=VALIDATORS,
        me=me,
        parameters=GENESIS.parameters,
        context=CONTEXT,
        anchor=ANCHOR,
        digest_of=digest_of,
        recovered=recovered,
    )
    vars(core)["_clock"] = StoppedClock(GENESIS.parameters)
    return core


def _forked(value: Any) -> Any:  # noqa: ANN401 - any attribute of a core
    """Copy what can change and share the rest; messages, headers and certificates are frozen."""
    kind = type(value)
    if kind is dict:
        if any(_can_change(type(item)) for item in value.values()):
            return {key: _forked(item) for key, item in value.items()}
        return value.copy()
    if kind is list:
        return [_forked(item) for item in value]
    if not _can_change(kind):
        return value
    copied = object.__new__(kind)
    for name in kind.__slots__:
        setattr(copied, name, _forked(getattr(value, name)))
    return copied


_CHANGING: dict[type, bool] = {dict: True, list: True}


def _can_change(kind: type) -> bool:
    known = _CHANGING.get(kind)
    if known is None:
        params = getattr(kind, "__dataclass_params__", None)
        known = _CHANGING[kind] = params is not None and not params.frozen
    return known


def _slot_key(slot: Slot, chain: Chain, *, active: bool) -> tuple[Hashable, ...]:
    """Return what of a slot matters: of a view that was left, the certificates alone.

    Votes matter until they make a quorum, an offer until a header is accepted.
    """
    prepared, decided = (
        0 if item is None else 1 + chain.bit(item.certificate.subject)
        for item in (slot.prepared, slot.decided)
    )
    if not active:
        return (slot.height, prepared, decided)
    counted = []
    for phase, is_over in ((Phase.PREPARE, slot.prepared_here), (Phase.COMMIT, decided)):
        votes = {} if is_over else slot.votes(phase)
        counted.append(tuple(sorted((v, vote.subject.header_digest) for v, vote in votes.items())))
    offer = b"" if slot.header is not None or slot.offer is None else slot.offer.digest
    flags = (slot.refused, slot.prepare_cast, slot.commit_cast, slot.prepared_here)
    return (slot.height, prepared, decided, offer, slot.digest, *flags, *counted)
