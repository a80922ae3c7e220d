"""The search: every schedule of a setup with at most so many delays, each state visited once.

Without delays the schedule is one: of the instances that can take a usual step the first takes its
first. Each departure from that costs one delay: that instance is put off until nobody else can
move, takes another of its steps, or something happens out of turn to any instance (its timer runs
out, it restarts, it is shown a certificate). When nothing usual is left those put off go on, and
when there are none a timer runs out; both cost nothing. Without a bound all of this may happen at
any time.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.exhaustive.chain import SIZE
from tests.exhaustive.system import RESTART, TIMEOUT, Action, Step, System

State = tuple[int, ...]
"""The local state of each instance, then a mask of those put off."""
PUT_OFF: Action = ("put-off", 0, 0)
LOCAL_BITS = 24


@dataclass(slots=True)
class Outcome:
    """What a search found and how much it did."""

    states: int = 0
    transitions: int = 0
    local_states: int = 0
    core_steps: int = 0
    depth: int = 0
    """Steps of the longest schedule among the shortest to each state."""
    cpu_seconds: float = 0.0
    delays: int | None = None
    """The most delays of any schedule that was begun; None without a bound."""
    is_complete: bool = False
    """Whether everything within the bound was visited, or a rule is broken."""
    violation: str = ""
    transcript: list[str] = field(default_factory=list)


def explore(
    system: System,
    delays: int | None,
    *,
    seconds: float = 0.0,
    on_state: Callable[[State], None] | None = None,
) -> Outcome:
    """Visit every state reachable within `delays`, fewest delays first, until a rule is broken.

    None: without a bound. `seconds` above 0 end the search early.
    """
    search = _Search(system, on_state, is_bounded=delays is not None)
    outcome = search.outcome
    started = time.process_time()
    ends = time.monotonic() + seconds if seconds > 0 else None
    outcome.is_complete = True
    for spent in range(1 if delays is None else delays + 1):
        outcome.delays = None if delays is None else spent
        if not search.run(dearer=delays is not None and spent < delays, ends=ends):
            outcome.is_complete = False
            break
        if outcome.violation:
            break
    outcome.cpu_seconds = time.process_time() - started
    outcome.states, outcome.local_states = len(search.parents), len(system.locals)
    outcome.core_steps = system.core_steps
    return outcome


def successors(system: System, state: State, *, is_bounded: bool) -> list[tuple[int, int, Step]]:
    """Return each next step as its cost in delays, the instance and what happens to it."""
    asleep = state[-1]
    options = system.options(state[:-1])
    if not is_bounded:
        return [
            (0, k, step)
            for k, (usual, unusual) in enumerate(options)
            for step in (*usual, *unusual)
        ]
    able = [k for k, (usual, _) in enumerate(options) if usual]
    awake = [k for k in able if not asleep >> k & 1] or able
    found = []
    if awake:
        first = awake[0]
        found = [(int(at > 0), first, step) for at, step in enumerate(options[first][0])]
        if len(awake) > 1:
            found.append((1, first, (PUT_OFF, state[first])))
    cost = int(bool(able))
    for k, (_, unusual) in enumerate(options):
        for step in unusual:
            if step[0] is TIMEOUT:
                found.append((cost, k, step))
                cost = 1
            else:
                found.append((1, k, step))
    return found


def advance(state: State, k: int, step: Step) -> State:
    """Return the state that a step leads to.

    Nobody stays put off once one of them moves because nobody else could. An instance whose timer
    ran out is in another view, and that is not put off.
    """
    action, number = step
    asleep = state[-1]
    if action is PUT_OFF:
        asleep |= 1 << k
    elif asleep >> k & 1:
        if action is TIMEOUT:
            asleep &= ~(1 << k)
        elif action is not RESTART and action[0] != "decided":
            asleep = 0
    return (*state[:k], number, *state[k + 1 : -1], asleep)


class _Search:
    def __init__(
        self, system: System, on_state: Callable[[State], None] | None, *, is_bounded: bool
    ) -> None:
        self.system, self.on_state, self.is_bounded = system, on_state, is_bounded
        self.outcome = Outcome()
        self.parents: dict[int, int] = {}
        self._size = len(system.start) + 1
        self._now: deque[tuple[int, int]] = deque()
        self._later = [(_pack((*system.start, 0)), -1, 0)]

    def run(self, *, dearer: bool, ends: float | None) -> bool:
        """Visit all that costs no more; say whether that was done in time."""
        parents, outcome = self.parents, self.outcome
        for packed, parent, depth in self._later:
            if packed not in parents:
                self._enter(packed, parent, depth)
        self._later = []
        visited = 0
        while self._now and not outcome.violation:
            packed, depth = self._now.popleft()
            state = _unpack(packed, self._size)
            visited += 1
            if ends is not None and visited % 256 == 0 and time.monotonic() > ends:
                return False
            if self.on_state is not None:
                self.on_state(state)
            for cost, k, step in successors(self.system, state, is_bounded=self.is_bounded):
                if cost and not dearer:
                    continue
                outcome.transitions += 1
                reached = _pack(advance(state, k, step))
                if reached in parents:
                    continue
                if cost:
                    self._later.append((reached, packed, depth + 1))
                else:
                    self._enter(reached, packed, depth + 1)
        return True

    def _enter(self, packed: int, parent: int, depth: int) -> None:
        """Take a state up among those visited, and judge it."""
        self.parents[packed] = parent
        self._now.append((packed, depth))
        self.outcome.depth = max(self.outcome.depth, depth)
        broken = judge(self.system, _unpack(packed, self._size))
        if broken and not self.outcome.violation:
            self.outcome.violation = broken
            self.outcome.transcript = self._transcript(packed)

    def _transcript(self, key: int) -> list[str]:
        path = [key]
        while (parent := self.parents[path[-1]]) != -1:
            path.append(parent)
        states = [_unpack(packed, self._size) for packed in reversed(path)]
        lines = []
        for state, reached in pairwise(states):
            for _, k, step in successors(self.system, state, is_bounded=self.is_bounded):
                if advance(state, k, step) == reached:
                    if step[0] is not PUT_OFF:  # of the search alone: nothing happens
                        lines.append(describe(self.system, k, step[0]))
                    break
        return lines


def judge(system: System, state: State) -> str:
    """Return the rule that is broken in a state, or nothing.

    A1 two correct validators commit different headers at a height. A2 two headers of one height
    are certifiable by COMMITs, or of one view and height by PREPAREs. A4 parent links, D1 double
    votes, X halts and failures: instance.py, the moment they happen.
    """
    correct = [system.locals[number] for number in state[: SIZE - 1]]
    for at, local in enumerate(correct):
        if local.broken:
            return local.broken
        for other in correct[:at]:
            if any(a != b for a, b in zip(local.ledger, other.ledger, strict=False)):
                return f"A1: validators commit {system.describe_ledgers(state[: SIZE - 1])}"
    return system.double_certificate(state[:-1])


def replay(system: System, lines: Sequence[str]) -> str:
    """Take the steps of a transcript; return the rule that the last one breaks, or nothing."""
    state: State = (*system.start, 0)
    for line in lines:
        for _, k, step in successors(system, state, is_bounded=False):
            if describe(system, k, step[0]) == line:
                state = advance(state, k, step)
                break
        else:
            raise LookupError(f"no such step here: {line}")
        if broken := judge(system, state):
            return broken
    return ""


def describe(system: System, k: int, action: Action) -> str:
    """Return a step in words; no two steps that are possible at once read alike."""
    kind, what, voters = action
    who = system.describe_instance(k)
    match kind:
        case "timeout":
            return f"{who} leaves its view, for its timer ran out"
        case "restart":
            return f"{who} restarts"
        case "votes" if isinstance(what, int):
            from_whom = ",".join(str(v) for v in range(SIZE) if voters >> v & 1)
            return f"{who} hears {system.describe_subject(what)} from {from_whom}"
        case "decided" if isinstance(what, int):
            return f"{who} is shown that {system.describe_subject(what)} has a quorum"
    numbers = what if isinstance(what, tuple) else (what,)
    heard = "; ".join(system.describe_message(number) for number in numbers)
    return f"{who} hears {heard}"


def _pack(state: State) -> int:
    packed = state[-1]
    for number in state[:-1]:
        packed = packed << LOCAL_BITS | number
    return packed


def _unpack(packed: int, size: int) -> State:
    numbers = [packed >> LOCAL_BITS * at & (1 << LOCAL_BITS) - 1 for at in range(size - 1)]
    return (*reversed(numbers), packed >> LOCAL_BITS * (size - 1))
