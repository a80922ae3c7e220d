"""The stage: validators, the messages between them and virtual time; and what is told of it.

A message arrives the moment it is sent, in order, unless the script holds or loses it. The stage
keeps watch over what no scenario may ever show: two blocks final at one height, two votes of a
validator for one (phase, view, height), a transaction final twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from node.chain.certificate import Phase, Vote
from node.consensus.events import DecidedReceived, Tick
from node.consensus.messages import Proposal, ViewChange
from tests.scenario.actor import Actor, Message
from tests.scenario.cast import Cast, ScriptError
from tests.scenario.words import describe, kind_of, listed


@dataclass(frozen=True, slots=True)
class Letter:
    """A message on its way to one validator."""

    sender: int
    to: int
    message: Message


@dataclass(frozen=True, slots=True)
class Filter:
    """Which letters a rule is about; what is empty or None matches all."""

    kind: str
    block: str
    senders: tuple[int, ...]
    receivers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """What a scenario starts from."""

    validators: int = 4
    window: int = 2
    rotation: str = ""
    """Blocks or milliseconds that a view lasts, "3 blocks" or "60000 ms"; empty: as by default."""
    scripted: tuple[int, ...] = ()
    """Validators without a core: the script says what they send. Faulty, in the paper's sense."""


class Stage:
    """A play in progress."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.cast = Cast(settings.validators, settings.window, settings.rotation)
        if len(settings.scripted) > self.cast.validators.faults:
            raise ScriptError(f"more than {self.cast.validators.faults} scripted validators")
        self.now_ms = 0
        self.sent: dict[tuple[int, str], None] = {}
        """Everything that left a validator: who, and the message in words."""
        self._reached: dict[tuple[int, int, str], None] = {}
        """What was delivered from whom to whom."""
        self._told: list[tuple[str, str]] = []
        self._told_at_ms = 0
        self._letters: deque[Letter] = deque()
        self._held: list[Letter] = []
        self._holding: list[Filter] = []
        self._losing: list[Filter] = []
        self._cut: tuple[tuple[int, ...], ...] = ()
        self._voted: dict[tuple[int, Phase, int, int], bytes] = {}
        self.actors = {
            index: Actor(self.cast, index, self.tell, self.post)
            for index in range(settings.validators)
            if index not in settings.scripted
        }

    # ------------------------------------------------------------------ the story

    def tell(self, who: int, what: str) -> None:
        """Add to the trace; what several do alike in a row becomes one line."""
        if self.now_ms != self._told_at_ms:
            self._told_at_ms = self.now_ms
            self._told.append(("", f"at {self.now_ms} ms"))
        if self._told and self._told[-1][0] and self._told[-1][1] == what:
            told_by = self._told[-1][0].split()
            if str(who) not in told_by:
                self._told[-1] = (" ".join([*told_by, str(who)]), what)
                return
        self._told.append((str(who), what))

    def story(self) -> list[str]:
        """Return and forget the lines told since the last call."""
        width = 2 * self.settings.validators + 1
        lines = [f"{who:>{width}}  {what}" if who else f"  {what}" for who, what in self._told]
        self._told.clear()
        return lines

    # ------------------------------------------------------------------ the network

    def post(
        self, sender: int, to: int | None, message: Message, receivers: Sequence[int] = ()
    ) -> None:
        """Put a message on its way: to one, to those listed, or to all others.

        A repetition is told when it reaches somebody for the first time, a STATUS never.
        """
        if to is not None:
            receivers = (to,)
        elif not receivers:
            receivers = [i for i in range(self.settings.validators) if i != sender]
        held, lost = [], []
        for receiver in receivers:
            letter = Letter(sender, receiver, message)
            if self._is_lost(letter):
                lost.append(receiver)
            elif any(self._matches(rule, letter) for rule in self._holding):
                held.append(receiver)
                self._held.append(letter)
            else:
                self._letters.append(letter)
        words = describe(message, self.cast)
        if isinstance(message, Vote | ViewChange) and message.validator != sender:
            words += f" in the name of {message.validator}"
        again = (sender, words) in self.sent
        self.sent[sender, words] = None
        reached = [r for r in receivers if r not in held + lost]
        first = [r for r in reached if (sender, r, words) not in self._reached]
        self._reached |= dict.fromkeys((sender, r, words) for r in reached)
        if sender in self.actors:
            self._watch_vote(sender, message)
        if kind_of(message) == "STATUS" or (again and not first):
            return
        if again:
            self.tell(sender, f"{words} -> {listed(first)} (again)")
            return
        everybody = len(receivers) == self.settings.validators - 1 and len(receivers) > 1
        whom = "all" if everybody else listed(receivers)
        fate = f" (held: {listed(held)})" if held else ""
        fate += f" (lost: {listed(lost)})" if lost else ""
        self.tell(sender, f"{words} -> {whom}{fate}")

    def _is_lost(self, letter: Letter) -> bool:
        actor = self.actors.get(letter.to)
        if actor is not None and not actor.running:
            return True
        sides = [side for side in self._cut if letter.sender in side]
        if sides and letter.to not in sides[0]:
            return True
        return any(self._matches(rule, letter) for rule in self._losing)

    def _matches(self, rule: Filter, letter: Letter) -> bool:
        kind = kind_of(letter.message)
        if rule.kind not in ("everything", kind):
            return False
        if rule.block and rule.block not in describe(letter.message, self.cast).split():
            return False
        return (not rule.senders or letter.sender in rule.senders) and (
            not rule.receivers or letter.to in rule.receivers
        )

    def hold(self, rule: Filter) -> None:
        """Keep matching letters back from now on."""
        self._holding.append(rule)

    def lose(self, rule: Filter) -> None:
        """Lose matching letters from now on."""
        self._losing.append(rule)

    def lift(self, rule: Filter) -> None:
        """End a `hold`, delivering what it kept back, or a `lose`."""
        if rule in self._losing:
            self._losing.remove(rule)
            return
        if rule not in self._holding:
            raise ScriptError("no such rule is in force")
        self._holding.remove(rule)
        held, self._held = self._held, []
        for letter in held:
            if any(self._matches(other, letter) for other in self._holding):
                self._held.append(letter)
            elif not self._is_lost(letter):
                self._reached[letter.sender, letter.to, describe(letter.message, self.cast)] = None
                self._letters.append(letter)
        self.settle()

    def cut(self, sides: Iterable[tuple[int, ...]]) -> None:
        """Lose everything between the sides; no sides heal the network."""
        self._cut = tuple(sides)

    def settle(self) -> None:
        """Deliver until nothing is on its way."""
        while self._letters:
            letter = self._letters.popleft()
            actor = self.actors.get(letter.to)
            if actor is not None and actor.running and not actor.halted:
                outspoken = letter.sender in self.settings.scripted
                actor.receive(letter.sender, letter.message, self.now_ms, outspoken=outspoken)
        self._watch()

    # ------------------------------------------------------------------ what a script does

    def actor(self, index: int) -> Actor:
        """Return a validator that has a core."""
        if index not in self.actors:
            raise ScriptError(f"validator {index} has no core here")
        return self.actors[index]

    def submit(self, transaction: str, to: Iterable[int]) -> None:
        """Put a transaction into pools."""
        for index in to:
            self.actor(index).submit(transaction, self.now_ms)
        self.settle()

    def wait(self, duration_ms: int) -> None:
        """Let time pass, waking each core when it asked to be."""
        until_ms = self.now_ms + duration_ms
        while True:
            due = [
                (max(actor.core.deadline(), self.now_ms), index)
                for index, actor in sorted(self.actors.items())
                if actor.running and not actor.halted
            ]
            if not due or min(due)[0] > until_ms:
                break
            self.now_ms, index = min(due)
            self.actors[index].feed(Tick(), self.now_ms)
            self.settle()
        self.now_ms = until_ms

    def sync_blocks(self, index: int, source: int) -> None:
        """Hand a validator the certified blocks another one holds above its tip."""
        actor = self.actor(index)
        for _, item in self.actor(source).disk.ledger[actor.tip.header.height :]:
            actor.feed(DecidedReceived(item), self.now_ms)
        self.settle()

    # ------------------------------------------------------------------ what may never happen

    def _watch(self) -> None:
        final: dict[int, str] = {}
        for index, actor in self.actors.items():
            names = [block.name for block, _ in actor.disk.ledger]
            for height, name in enumerate(names, start=1):
                if final.setdefault(height, name) != name:
                    raise AssertionError(f"{name} at {index} is not {final[height]}")
            executed = [tx for block, _ in actor.disk.ledger for tx in block.transactions]
            if len(frozenset(executed)) != len(executed):
                raise AssertionError(f"a transaction is final twice at {index}: {executed}")

    def _watch_vote(self, sender: int, message: Message) -> None:
        vote = message.vote if isinstance(message, Proposal) else message
        if isinstance(vote, Vote):
            subject = vote.subject
            place = (sender, subject.phase, subject.view, subject.height)
            if self._voted.setdefault(place, subject.header_digest) != subject.header_digest:
                raise AssertionError(f"{sender} voted twice: {describe(vote, self.cast)}")
