"""Four validators, one of them Byzantine: which steps each can take next, and what follows.

A state is one number per instance: each names a local state, kept once together with a snapshot of
the real core. A step of one instance depends on nothing but its own state and what it is handed, so
the core runs once per distinct local step and all else is table lookup. The network needs no state
of its own: whatever was said stays in flight for ever, and is part of the local state of whoever
said it.

Votes are handed over when they complete a quorum, not before: a vote short of one is written into a
table that nobody reads (`whole_quorums=False` hands over each alone, and a test compares the two).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from node.chain.block import Header
from node.chain.certificate import Phase, Subject
from node.consensus import events as ev
from node.consensus.core import Core
from node.consensus.messages import NewView, Proposal, ViewChange
from node.errors import NodeError
from tests.exhaustive.adversary import Adversary
from tests.exhaustive.chain import NOW, SIZE, VALIDATORS, Chain, NewViewRule, digest_of
from tests.exhaustive.instance import EXPIRED, Broken, Instance

Action = tuple[str, int | tuple[int, ...], int]
"""What happens to an instance: kind, what it is handed (numbers, or a subject's bit), and voters as
a mask."""
TIMEOUT: Action = ("timeout", 0, 0)
RESTART: Action = ("restart", 0, 0)
EVERY_VOTE = -1
"""The votes of a validator that votes for anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is explored."""

    slots: int = 2
    views: int = 2
    byzantine: int = 0
    """Index of the Byzantine validator."""
    sees: tuple[int, ...] | None = None
    """The Byzantine one runs twice and follows the protocol: for each correct validator whether it
    hears the first instance (1), the second (2) or both (3). None: it runs not at all, but says
    whatever helps."""
    restarts: bool = True
    whole_quorums: bool = True

    @property
    def name(self) -> str:
        """Return a short description."""
        if self.sees is None:
            return f"equivocator {self.byzantine}"
        heard = "/".join(("a", "b", "ab")[mask - 1] for mask in self.sees)
        return f"twins {self.byzantine} heard as {heard}"


@dataclass(frozen=True, slots=True)
class Await:
    """A quorum that an instance still lacks."""

    bit: int
    counted: int
    """Mask of validators whose votes for it are counted."""
    blocked: int
    """Mask of those whose vote for something else came first."""


@dataclass(frozen=True, slots=True)
class Local:
    """One state of one instance, and what others need to know of it."""

    number: int
    instance: Instance
    view: int
    active: bool
    cast: int
    ledger: tuple[bytes, ...]
    awaits: tuple[Await, ...]
    wants: tuple[tuple[int, bytes], ...]
    """Height and parent of the proposals that would follow what it has accepted in its view."""
    lacks: tuple[int, ...]
    """Heights it has no commit certificate for."""
    holds: tuple[int, ...]
    """Whose VIEW-CHANGEs for its view it holds while waiting for that to begin."""
    proposals: dict[tuple[int, int], int]
    view_changes: dict[int, int]
    new_views: dict[int, int]
    broken: str
    said: int
    """A number of all that others may have heard of it."""


Step = tuple[Action, int]
"""What happens to an instance, and the local state that leads to."""


@dataclass(slots=True)
class System:
    """The instances, every local state met, and every local step taken."""

    setup: Setup
    core_class: type[Core]
    new_view: NewViewRule
    chain: Chain = field(init=False)
    locals: list[Local] = field(default_factory=list)
    members: list[int] = field(init=False)
    """The validator that each instance runs as; the first three are the correct ones."""
    start: tuple[int, ...] = field(init=False)
    _adversary: Adversary = field(init=False)
    _numbers: dict[Hashable, int] = field(default_factory=dict)
    _steps: dict[tuple[int, Action], int] = field(default_factory=dict)
    _said: dict[Hashable, int] = field(default_factory=dict)
    _options: dict[tuple[int, ...], tuple[list[Step], list[Step]]] = field(default_factory=dict)
    _verdicts: dict[tuple[int, ...], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        setup = self.setup
        self.chain = Chain(self.new_view)
        self._adversary = Adversary(self.chain, setup.byzantine, setup.slots)
        correct = [validator for validator in range(SIZE) if validator != setup.byzantine]
        twins = [] if setup.sees is None else [setup.byzantine, setup.byzantine]
        self.members = correct + twins
        numbers = []
        for k, me in enumerate(self.members):
            maker = "pab"[max(0, k - 2)]
            fresh = Instance.start(self.chain, self.core_class, me, maker, setup.slots)
            numbers.append(self._number(k, fresh, ""))
        self.start = tuple(numbers)

    # ------------------------------------------------------------------ one instance

    def step(self, k: int, number: int, action: Action) -> int:
        """Return the local state that an action leads to, from the real core."""
        known = self._steps.get((number, action))
        if known is not None:
            return known
        instance = self.locals[number].instance.fork()
        broken = ""
        try:
            if action is RESTART:
                instance.restarted()
            else:
                now = EXPIRED if action is TIMEOUT else NOW
                instance.feed(self._events(action), now)
        except Broken as verdict:
            broken = str(verdict)
        except NodeError as error:
            broken = f"X: validator {instance.me} fails: {error}"
        if broken and k >= SIZE - 1:
            reached = number  # a twin may fail: it does nothing, then
        elif instance.core.view >= self.setup.views:
            reached = number  # beyond what is explored
        else:
            reached = self._number(k, instance, broken)
        self._steps[number, action] = reached
        return reached

    def _events(self, action: Action) -> Sequence[ev.Event]:
        kind, what, voters = action
        chain = self.chain
        if kind == "timeout":
            return [ev.Tick()]
        if kind == "votes" and isinstance(what, int):
            return [ev.VoteReceived(chain.vote(what, v)) for v in range(SIZE) if voters >> v & 1]
        if kind == "decided" and isinstance(what, int):
            return [ev.DecidedReceived(chain.certified(what))]
        numbers = what if isinstance(what, tuple) else (what,)
        return [_received(chain.messages[number]) for number in numbers]

    def _number(self, k: int, instance: Instance, broken: str) -> int:
        key = (k, broken, instance.key())
        known = self._numbers.get(key)
        if known is None:
            known = self._numbers[key] = len(self.locals)
            self.locals.append(self._summary(known, instance, broken))
        return known

    def _summary(self, number: int, instance: Instance, broken: str) -> Local:
        core, durable, chain = instance.core, instance.durable, self.chain
        slots = vars(core)["_slots"]
        tip = core.tip.height
        awaits, lacks = [], []
        for height in range(tip + 1, self.setup.slots + 1):
            slot = slots.get(height)
            if slot is None or slot.decided is None:
                lacks.append(height)
            if slot is None or slot.header is None or not core.view_active:
                continue
            for phase, is_over in (
                (Phase.PREPARE, slot.prepared_here),
                (Phase.COMMIT, slot.decided is not None),
            ):
                if not is_over:
                    masks = [0, 0]
                    for voter, vote in slot.votes(phase).items():
                        masks[vote.subject.header_digest != slot.digest] |= 1 << voter
                    bit = chain.bit(Subject(phase, core.view, height, slot.digest))
                    awaits.append(Await(bit, *masks))
        holds = () if core.view_active else core.leaving
        return Local(
            number=number,
            instance=instance,
            view=core.view,
            active=core.view_active,
            cast=durable.cast,
            ledger=tuple(i.certificate.subject.header_digest for i in durable.ledger),
            awaits=tuple(awaits),
            wants=_wants(instance),
            lacks=tuple(lacks),
            holds=holds,
            proposals=durable.proposals,
            view_changes=durable.view_changes,
            new_views=durable.new_views,
            broken=broken,
            said=self._said.setdefault(durable.said(), len(self._said)),
        )

    # ------------------------------------------------------------------ all of them

    def casts(self, state: Sequence[int]) -> list[int]:
        """Return the votes in existence of each validator, as masks."""
        found = [EVERY_VOTE] * SIZE
        for validator, number in zip(self.members[: SIZE - 1], state, strict=False):
            found[validator] = self.locals[number].cast
        if self.setup.sees is not None:
            first, second = (self.locals[number].cast for number in state[SIZE - 1 :])
            found[self.setup.byzantine] = first | second
        return found

    def double_certificate(self, state: Sequence[int]) -> str:
        """Return rule A2 and what breaks it: two headers with a quorum each where one may have it.

        Every vote in existence counts, whoever has heard of it.
        """
        said = tuple([self.locals[number].said for number in state])
        verdict = self._verdicts.get(said)
        if verdict is None:
            verdict = ""
            certifiable = _three_of(self.casts(state))
            for bit in _members(certifiable):
                against = certifiable & self.chain.conflicts[bit]
                if against:
                    names = [self.describe_subject(b) for b in (bit, against.bit_length() - 1)]
                    verdict = f"A2: both {names[0]} and {names[1]} are certifiable"
            self._verdicts[said] = verdict
        return verdict

    def options(self, state: Sequence[int]) -> list[tuple[list[Step], list[Step]]]:
        """Return what may happen to each instance: as the protocol runs, and out of turn.

        What changes nothing is left out.
        """
        locals_ = self.locals
        said = tuple([locals_[number].said for number in state])
        found = []
        for k, number in enumerate(state):
            key = (number, *said)
            options = self._options.get(key)
            if options is None:
                usual, unusual = (
                    [(action, self.step(k, number, action)) for action in actions]
                    for actions in self._actions(k, state)
                )
                options = self._options[key] = (
                    [step for step in usual if step[1] != number],
                    [step for step in unusual if step[1] != number],
                )
            found.append(options)
        return found

    def _actions(self, k: int, state: Sequence[int]) -> tuple[list[Action], list[Action]]:
        local, casts = self.locals[state[k]], self.casts(state)
        heard = self._heard_casts(k, state, casts)
        certifiable = _three_of(casts)
        usual = list(self._new_views(k, local, state, certifiable))
        usual += self._changes(k, local, state, certifiable)
        usual += self._offers(k, local, state)
        usual += self._votes(k, local, heard)
        unusual: list[Action] = [TIMEOUT] if local.view + 1 < self.setup.views else []
        unusual += self._decided(local, certifiable)
        if self.setup.restarts and k < SIZE - 1:
            unusual.append(RESTART)
        return usual, unusual

    def _heard_casts(self, k: int, state: Sequence[int], casts: Sequence[int]) -> Sequence[int]:
        setup = self.setup
        if setup.sees is None or k >= SIZE - 1:
            return casts
        heard = list(casts)
        heard[setup.byzantine] = 0
        for twin in self._twins_heard(k):
            heard[setup.byzantine] |= self.locals[state[twin]].cast
        return heard

    def _twins_heard(self, k: int) -> list[int]:
        """Return the instances of the Byzantine validator that an instance hears."""
        sees = self.setup.sees
        if sees is None or k >= SIZE - 1:
            return []
        return [SIZE - 1 + twin for twin in (0, 1) if sees[k] >> twin & 1]

    def _speakers(self, k: int, validator: int) -> list[int]:
        """Return the instances of another validator that an instance hears."""
        if validator == self.members[k]:
            return []
        if validator == self.setup.byzantine:
            return self._twins_heard(k)
        return [self.members.index(validator)]

    def _is_free(self, k: int, validator: int) -> bool:
        """Whether a validator says to an instance whatever helps."""
        return validator == self.setup.byzantine and self.setup.sees is None and k < SIZE - 1

    def _new_views(
        self, k: int, local: Local, state: Sequence[int], certifiable: int
    ) -> Iterator[Action]:
        for view in range(max(1, local.view + local.active), self.setup.views):
            primary = VALIDATORS.primary(view)
            if primary == self.members[k]:
                continue
            if self._is_free(k, primary):
                said = [self.locals[n].view_changes.get(view) for n in state]
                numbers = tuple(number for number in said if number is not None)
                for number in self._adversary.new_views(view, numbers, certifiable):
                    yield ("new-view", number, 0)
            for speaker in self._speakers(k, primary):
                announced = self.locals[state[speaker]].new_views.get(view)
                if announced is not None:
                    yield ("new-view", announced, 0)

    def _changes(
        self, k: int, local: Local, state: Sequence[int], certifiable: int
    ) -> Iterator[Action]:
        """Yield VIEW-CHANGEs that make an instance leave its view, or begin one as its primary."""
        me = self.members[k]
        examples = {
            view: change
            for number in state
            for view, change in self.locals[number].view_changes.items()
        }
        for view in range(local.view + local.active, self.setup.views):
            if view not in examples:
                continue  # a liar alone moves nobody, but the primary: as a timeout does
            offered: dict[int, list[int]] = {}
            for validator in range(SIZE):
                found = [
                    number
                    for speaker in self._speakers(k, validator)
                    for number in [self.locals[state[speaker]].view_changes.get(view)]
                    if number is not None
                ]
                if self._is_free(k, validator):
                    found += self._adversary.view_changes(view, examples[view], certifiable)
                if found:
                    offered[validator] = found
            leader = VALIDATORS.primary(local.view)
            if local.active and view > local.view and leader in offered:
                yield ("view-changes", (offered[leader][0],), 0)
            needed = VALIDATORS.faults + 1
            if view == local.view:
                needed = VALIDATORS.quorum - len(local.holds)
            missing = [v for v in offered if view > local.view or v not in local.holds]
            if needed < 1 or len(missing) < needed:
                continue
            every = VALIDATORS.primary(view) == me
            for group in combinations(missing, needed):
                for chosen in _choices([offered[v] for v in group], every=every):
                    yield ("view-changes", chosen, 0)
                if not every:
                    break

    def _offers(self, k: int, local: Local, state: Sequence[int]) -> Iterator[Action]:
        primary = VALIDATORS.primary(local.view)
        for height, parent in local.wants:
            if self._is_free(k, primary):
                for maker in "xy":
                    header = self.chain.header(local.view, height, parent, maker)
                    yield ("proposal", self.chain.number(self.chain.proposal(header, maker)), 0)
            for speaker in self._speakers(k, primary):
                number = self.locals[state[speaker]].proposals.get((local.view, height))
                if number is not None:
                    proposal = self.chain.messages[number]
                    if isinstance(proposal, Proposal) and proposal.header.parent == parent:
                        yield ("proposal", number, 0)

    def _votes(self, k: int, local: Local, casts: Sequence[int]) -> Iterator[Action]:
        me = self.members[k]
        for awaited in local.awaits:
            new = 0
            for validator in range(SIZE):
                if validator != me and casts[validator] >> awaited.bit & 1:
                    new |= 1 << validator
            new &= ~(awaited.counted | awaited.blocked)
            if not self.setup.whole_quorums:
                yield from (("votes", awaited.bit, 1 << v) for v in _members(new))
                continue
            short = VALIDATORS.quorum - awaited.counted.bit_count()
            if new and new.bit_count() >= short:
                chosen = sum(1 << v for v in _members(new)[: max(1, short)])
                yield ("votes", awaited.bit, chosen)

    def _decided(self, local: Local, certifiable: int) -> Iterator[Action]:
        commits = certifiable & self.chain.of_phase[Phase.COMMIT]
        while local.lacks and commits:
            bit = commits.bit_length() - 1
            commits ^= 1 << bit
            if self.chain.subjects[bit].height in local.lacks:
                yield ("decided", bit, 0)

    # ------------------------------------------------------------------ in words

    @property
    def core_steps(self) -> int:
        """How many distinct local steps the core took."""
        return len(self._steps)

    def describe_instance(self, k: int) -> str:
        """Return what transcripts call an instance."""
        return f"{self.members[k]}{'' if k < SIZE - 1 else 'ab'[k - SIZE + 1]}"

    def describe_subject(self, bit: int) -> str:
        """Return what a vote is about."""
        subject = self.chain.subjects[bit]
        name = self.chain.names[subject.header_digest]
        return f"{subject.phase.name} {name} in view {subject.view}"

    def describe_message(self, number: int) -> str:
        """Return a message."""
        match self.chain.messages[number]:
            case Proposal(header=header):
                return f"the proposal {self._name(header)}"
            case ViewChange() as change:
                shown = [f"decided {self._name(i.header)}" for i in change.committed[-1:]]
                shown += [
                    f"prepared {self._name(i.header)} in view {i.certificate.subject.view}"
                    for i in change.prepared
                ]
                what = ", ".join(shown) or "nothing"
                return f"VIEW-CHANGE {change.view} of {change.validator} showing {what}"
            case NewView() as new_view:
                start = self.chain.start_of(new_view.view_changes)
                base = self._name(start.base[-1].header) if start.base else "genesis"
                carried = ", ".join(self._name(i.header) for i in start.carried) or "nothing"
                return f"NEW-VIEW {new_view.view}: {base} is decided, {carried} carried over"
            case other:
                return str(other)

    def describe_ledgers(self, numbers: Sequence[int]) -> str:
        """Return what each correct validator committed last."""
        tips = [self.locals[number].ledger[-1:] for number in numbers]
        return ", ".join(self.chain.names[tip[0]] if tip else "nothing" for tip in tips)

    def _name(self, header: Header) -> str:
        return self.chain.names[digest_of(header)]


def _three_of(casts: Sequence[int]) -> int:
    """Return the mask of what three of four validators voted for."""
    a, b, c, d = casts
    return (a & b & (c | d)) | (c & d & (a | b))


def _wants(instance: Instance) -> tuple[tuple[int, bytes], ...]:
    core = instance.core
    if not core.view_active or VALIDATORS.primary(core.view) == instance.me:
        return ()
    start = vars(core)["_start"].base
    parent, height = core.tip_digest, core.tip.height
    if start and start[-1].header.height > height:
        height, parent = start[-1].header.height, start[-1].certificate.subject.header_digest
    slots = vars(core)["_slots"]
    found = []
    while height < min(instance.slots, core.window_top):
        height += 1
        found.append((height, parent))
        slot = slots.get(height)
        if slot is None or slot.header is None:
            break
        parent = slot.digest
    return tuple(found)


def _received(message: object) -> ev.Event:
    match message:
        case Proposal():
            return ev.ProposalReceived(message, NOW.utc_ms)
        case ViewChange():
            return ev.ViewChangeReceived(message)
        case NewView():
            return ev.NewViewReceived(message)
        case _:
            raise TypeError(f"not sent to validators: {message}")


def _members(mask: int) -> list[int]:
    return [member for member in range(mask.bit_length()) if mask >> member & 1]


def _choices(offered: Sequence[Sequence[int]], *, every: bool) -> Iterator[tuple[int, ...]]:
    """Yield one of what each offers: every combination, or just one."""
    if not every:
        yield tuple(numbers[0] for numbers in offered)
        return
    combined: list[tuple[int, ...]] = [()]
    for numbers in offered:
        combined = [(*before, number) for before in combined for number in numbers]
    yield from combined
