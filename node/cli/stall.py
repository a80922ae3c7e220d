"""Why a chain does not move, or a validator is behind: what `govchain doctor` makes of diagnoses.

Every validator that answers says what it sees. What they say together is judged here, whichever of
them answer; nothing is asked and nothing is read from disk. See `node.consensus.standing`.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from gettext import gettext as _
from typing import Any, Final

from node.chain.genesis import Parameters
from node.chain.membership import quorum_size
from node.cli.checkup import Finding, Level
from node.cli.clock_causes import check_fitness
from node.consensus.standing import UndecidedHeight
from node.errors import NodeError
from node.rpc.client import HeardDiagnosis
from node.rpc.port import Diagnosis, Health

Answers = Mapping[str, HeardDiagnosis | NodeError]
"""By validator id: its diagnosis, or why there is none."""

_SILENT_AFTER_VIEWS: Final = 3
"""A validator repeats where it stands once in a view timeout; so many missed, and it is silent."""
_STALLED_AFTER_VIEWS: Final = 2
_MS: Final = 1_000


def check_chain(answers: Answers) -> Iterator[Finding]:
    """Say who is there, whether they can decide, what they wait for, who lags, whose clock is off.

    Works with any number of answers. Whether each node runs at all is for `checkup.check_nodes`.
    Who the validators are, and by which parameters they decide, is what those say who are in the
    newest epoch.
    """
    chain = _Chain(answers)
    yield chain.check_answers()
    if not chain.heard:
        return
    yield chain.check_quorum()
    yield chain.check_progress()
    if chain.is_stalled:
        yield from chain.explain_stall()
    yield from chain.check_heights()
    yield from chain.check_clocks()
    yield from check_fitness(chain.heard)
    yield from chain.check_chaos()
    yield from chain.check_misbehaviour()


def describe_answers(answers: Answers) -> list[dict[str, Any]]:
    """Return what was said, as members of a JSON object."""
    offsets = clock_offsets_ms(answers)
    rows: list[dict[str, Any]] = []
    for name, answer in answers.items():
        if isinstance(answer, NodeError):
            rows.append({"id": name, "answers": False, "error": str(answer)})
            continue
        said = answer.diagnosis
        standing = asdict(said.standing)
        for each in standing["undecided"]:
            each["stage"] = each["stage"].value
        rows.append(
            {
                "id": name,
                "answers": True,
                "health": said.status.health.name,
                "detail": said.status.health_detail,
                "epoch": said.epoch,
                "validators": list(said.validators),
                "chaos": said.chaos,
                "accused": said.accused,
                "height": said.status.height,
                "pending": said.status.pending,
                "clock_offset_ms": round(offsets[name].offset_ms, 1),
                "clock_error_ms": round(offsets[name].error_ms, 1),
                "clock_cause": said.clock_cause.name,
                "clock_detail": said.clock_detail,
                "time_degraded": said.status.time_degraded,
                **standing,
                "peers": [asdict(peer) for peer in said.peers],
            }
        )
    return rows


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """How far a clock is off the median of those that answered."""

    offset_ms: float
    error_ms: float
    """At most this much of it is due to the way of the answer."""


def clock_offsets_ms(answers: Answers) -> dict[str, ClockOffset]:
    """Compare the clocks of those that answer, each against the middle of its round trip."""
    readings = {}
    for name, heard in _heard(answers).items():
        middle_ms = (heard.asked_ms + heard.answered_ms) / 2
        readings[name] = heard.diagnosis.clock_ms - middle_ms
    if not readings:
        return {}
    median_ms = statistics.median_low(readings.values())
    return {
        name: ClockOffset(reading_ms - median_ms, (heard.answered_ms - heard.asked_ms) / 2)
        for (name, reading_ms), heard in zip(
            readings.items(), _heard(answers).values(), strict=True
        )
    }


def newest_members(answers: Answers) -> list[str]:
    """Return the validators of the newest epoch that any answer speaks of; none, if there is none.

    By the word of that one: enough to say what to look at, not to rely on.
    """
    newest = _newest(answers)
    return [] if newest is None else list(newest.validators)


def newest_parameters(answers: Answers) -> Parameters | None:
    """Return the parameters of that epoch, by that word; None where nobody answers."""
    newest = _newest(answers)
    return None if newest is None else newest.parameters


def _newest(answers: Answers) -> Diagnosis | None:
    said = [heard.diagnosis for heard in _heard(answers).values()]
    return max(said, key=lambda each: each.epoch, default=None)


def _heard(answers: Answers) -> dict[str, HeardDiagnosis]:
    return {name: answer for name, answer in answers.items() if isinstance(answer, HeardDiagnosis)}


class _Chain:
    """What the validators that answer say together."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self.heard: dict[str, Diagnosis] = {
            name: heard.diagnosis for name, heard in _heard(answers).items()
        }
        newest = _newest(answers)
        self._epoch = 0 if newest is None else newest.epoch
        self._names = newest_members(answers)
        self._parameters = newest_parameters(answers) or Parameters()
        self._timeout_ms = self._parameters.view_timeout_ms
        self._quorum = quorum_size(len(self._names))

    @property
    def _deciding(self) -> list[Diagnosis]:
        """What those say who are in the newest epoch: views and indices of others mean others."""
        return [said for said in self.heard.values() if said.epoch == self._epoch]

    # ------------------------------------------------------------------ who is there

    def check_answers(self) -> Finding:
        silent = [name for name in self._answers if name not in self.heard]
        if not self.heard:
            detail = _("no validator answers: only what lies on this machine was looked at")
            fix = _("start them: govchain testnet up")
            return Finding("answers", Level.UNKNOWN, detail, fix)
        if silent:
            detail = _("answering: {answering}; not answering: {silent}").format(
                answering=_list(self.heard), silent=_list(silent)
            )
            fix = _("start what does not run: govchain testnet up")
            return Finding("answers", Level.WARNING, detail, fix)
        return Finding("answers", Level.OK, _("all validators answer"))

    @cached_property
    def present(self) -> list[str]:
        """Who answers and has not stopped, or was heard of late by one that answers."""
        alive = [name for name in self._names if any(map(self._hears(name), self.heard.values()))]
        alive += [
            name for name, said in self.heard.items() if said.status.health is not Health.HALTED
        ]
        return [name for name in self._names if name in alive]

    @property
    def missing(self) -> list[str]:
        """Everybody else."""
        return [name for name in self._names if name not in self.present]

    @cached_property
    def groups(self) -> list[list[str]]:
        """The present ones in groups that hear each other, the largest first."""
        left, groups = list(self.present), []
        while left:
            group = [left.pop(0)]
            for member in group:
                near = [other for other in left if self._are_linked(member, other)]
                group += near
                left = [other for other in left if other not in near]
            groups.append(sorted(group, key=self._names.index))
        return sorted(groups, key=len, reverse=True)

    def check_quorum(self) -> Finding:
        counts = {"count": len(self._names), "needed": self._quorum}
        if len(self.present) < self._quorum:
            detail = _(
                "{present} of {count} validators are there, {needed} are needed: "
                "nothing can be decided without {missing}"
            ).format(present=len(self.present), missing=_list(self.missing), **counts)
            fix = _("start what does not run: govchain testnet up")
            return Finding("quorum", Level.PROBLEM, detail, fix)
        if len(self.groups[0]) < self._quorum:
            groups = " | ".join(map(_list, self.groups))
            detail = _(
                "the validators do not all hear each other: {groups}; no group has the {needed} "
                "that are needed"
            ).format(groups=groups, **counts)
            fix = _("mend the network between the groups; firewalls and addresses in node.toml")
            return Finding("quorum", Level.PROBLEM, detail, fix)
        apart = [name for name in self._names if name not in self.groups[0]]
        if apart:
            detail = _("a quorum hears each other; not heard: {apart}").format(apart=_list(apart))
            fix = _("see that they run and are reachable: govchain testnet status")
            return Finding("quorum", Level.WARNING, detail, fix)
        return Finding("quorum", Level.OK, _("all validators hear each other"))

    def _hears(self, name: str) -> Any:  # noqa: ANN401 - a predicate
        return lambda said: self._heard_lately(said, name)

    def _heard_lately(self, said: Diagnosis, name: str) -> bool:
        return any(
            peer.validator_id == name
            and peer.heard_ms_ago is not None
            and peer.heard_ms_ago <= _SILENT_AFTER_VIEWS * self._timeout_ms
            for peer in said.peers
        )

    def _are_linked(self, one: str, other: str) -> bool:
        """Whether every word there is about the two says that they hear each other."""
        pairs = ((self.heard.get(one), other), (self.heard.get(other), one))
        return all(said is None or self._heard_lately(said, name) for said, name in pairs) and any(
            said is not None for said, _name in pairs
        )

    # ------------------------------------------------------------------ what they wait for

    @cached_property
    def _waited_ms(self) -> list[int]:
        waited = [said.standing.waited_ms for said in self.heard.values()]
        return [each for each in waited if each is not None]

    @cached_property
    def _leading(self) -> Diagnosis:
        """Who is furthest: by height, then by view."""
        return max(self._deciding, key=lambda d: (d.status.height, d.standing.view))

    @property
    def is_stalled(self) -> bool:
        """Whether all who know of work have waited for a block for long."""
        limit_ms = _STALLED_AFTER_VIEWS * self._timeout_ms
        return bool(self._waited_ms) and min(self._waited_ms) >= limit_ms

    def check_progress(self) -> Finding:
        height = self._leading.status.height
        pending = max(said.status.pending for said in self.heard.values())
        if not self._waited_ms:
            detail = _("nothing waits for a block; the chain rests at height {height}")
            return Finding("progress", Level.OK, detail.format(height=height))
        if not self.is_stalled:
            detail = _("the chain moves: height {height}, {pending} transactions wait")
            return Finding("progress", Level.OK, detail.format(height=height, pending=pending))
        detail = _(
            "the chain stands still: no block for {seconds:.1f} s at height {height}, "
            "{pending} transactions wait"
        ).format(seconds=min(self._waited_ms) / _MS, height=height, pending=pending)
        return Finding("progress", Level.PROBLEM, detail, self._remedy())

    def _remedy(self) -> str:
        if not self.groups or len(self.groups[0]) < self._quorum:
            return _("mend what the finding quorum says")
        if any(each.level is not Level.OK for each in self.check_clocks()):
            return _("mend what the finding clocks says")
        return _("wait for the next view; if it stays so, see the logs: view-left tells why")

    def explain_stall(self) -> Iterator[Finding]:
        """Say which view it is, what ends it, and whose votes are not there."""
        yield self._check_view()
        if (finding := self._check_votes()) is not None:
            yield finding

    def _check_view(self) -> Finding:
        leading = max(self._deciding, key=lambda said: said.standing.view)
        view = leading.standing.view
        if not leading.standing.view_active:
            left = self._union(
                said.standing.leaving
                for said in self._deciding
                if said.standing.view == view and not said.standing.view_active
            )
            detail = _(
                "between views: towards view {view} go {left}, {needed} are needed; "
                "missing: {missing}"
            ).format(
                view=view,
                left=_list(left),
                needed=self._quorum,
                missing=_list(self._all_but(left)),
            )
            fix = _("start or mend those that are missing: govchain testnet status")
            return Finding("view", Level.WARNING, detail, fix)
        primary = self._names[view % len(self._names)]
        ends = [
            said.standing.view_ends_in_ms
            for said in self._deciding
            if said.standing.view == view and said.standing.view_ends_in_ms is not None
        ]
        timer = (
            _("it fails in {seconds:.1f} s").format(seconds=max(ends) / _MS)
            if ends
            else _("its timer does not run")
        )
        detail = _("view {view} of primary {primary}; {timer}").format(
            view=view, primary=primary, timer=timer
        )
        if primary in self.missing:
            detail += "; " + _("the primary is not there")
        fix = _("wait: the next primary takes over when it fails, if a quorum is there")
        return Finding("view", Level.WARNING, detail, fix)

    def _check_votes(self) -> Finding | None:
        """Add up the votes for the block after the tip, of all who are in the newest view."""
        view = max(said.standing.view for said in self._deciding)
        following = self._leading.status.height + 1
        seen: list[UndecidedHeight] = [
            each
            for said in self._deciding
            for each in said.standing.undecided
            if said.standing.view == view and each.height == following
        ]
        if not seen:
            detail = _("nobody has a proposal for block {height}").format(height=following)
            fix = _("wait for the next view; if it stays so, see the log of the primary")
            return Finding("votes", Level.WARNING, detail, fix)
        prepares = self._union(each.prepares for each in seen)
        commits = self._union(each.commits for each in seen)
        lacking = commits if len(prepares) >= self._quorum else prepares
        if len(lacking) >= self._quorum:
            return None
        detail = _(
            "block {height}: {prepares} sent PREPARE, {commits} sent COMMIT, {needed} of each are "
            "needed; missing: {missing}"
        ).format(
            height=following,
            prepares=_list(prepares),
            commits=_list(commits),
            needed=self._quorum,
            missing=_list(self._all_but(lacking)),
        )
        fix = _("start or mend those that are missing: govchain testnet status")
        return Finding("votes", Level.WARNING, detail, fix)

    def _union(self, groups: Iterator[tuple[int, ...]]) -> list[str]:
        members = frozenset(index for group in groups for index in group)
        return [name for index, name in enumerate(self._names) if index in members]

    def _all_but(self, present: Collection[str]) -> list[str]:
        return [name for name in self._names if name not in present]

    # ------------------------------------------------------------------ who differs

    def check_heights(self) -> Iterator[Finding]:
        """Yield a finding for every validator that is further behind than votes alone explain."""
        top = self._leading.status.height
        for name, said in self.heard.items():
            behind = top - said.status.height
            if behind <= 2 * self._parameters.window_slots:
                continue
            detail = _("{node} is {count} blocks behind, at height {height}").format(
                node=name, count=behind, height=said.status.height
            )
            if any(self._heard_lately(said, other) for other in self._names):
                fix = _("wait: it fetches them by itself; ask again whether the number falls")
            else:
                fix = _("it hears nobody: see that it reaches the others' peer addresses")
            yield Finding("behind", Level.WARNING, detail, fix)

    def check_clocks(self) -> Iterator[Finding]:
        """Compare the clocks of those that answer with each other."""
        offsets = clock_offsets_ms(self._answers)
        if len(offsets) <= 1:
            return
        allowed_ms = self._parameters.precision_ms
        good = True
        for name, clock in offsets.items():
            if abs(clock.offset_ms) - clock.error_ms <= allowed_ms:
                continue
            good = False
            detail = _(
                "{node}: its clock is {offset:+.0f} ms off that of the others "
                "(measured to ± {error:.0f} ms); {allowed} ms are allowed"
            ).format(node=name, offset=clock.offset_ms, error=clock.error_ms, allowed=allowed_ms)
            fix = _("let its time daemon step the clock: chronyc makestep")
            yield Finding("clocks", Level.PROBLEM, detail, fix)
        if good:
            worst_ms = max(abs(clock.offset_ms) for clock in offsets.values())
            error_ms = max(clock.error_ms for clock in offsets.values())
            detail = _(
                "no clock is more than {worst:.0f} ms off that of the others "
                "(measured to ± {error:.0f} ms)"
            ).format(worst=worst_ms, error=error_ms)
            yield Finding("clocks", Level.OK, detail)

    def check_chaos(self) -> Iterator[Finding]:
        """Tell what is wrong on purpose, so that nobody looks for its cause."""
        for name, said in self.heard.items():
            if said.chaos:
                detail = _("{node} is disturbed on purpose: {what}")
                fix = _("wait until the trial is over; it ends by itself")
                yield Finding(
                    "chaos", Level.WARNING, detail.format(node=name, what=said.chaos), fix
                )

    def check_misbehaviour(self) -> Iterator[Finding]:
        """Tell of whom there is proof that they signed what no correct validator can."""
        accused = frozenset(name for said in self.heard.values() for name in said.accused)
        for name in sorted(accused):
            detail = _("{node} signed what no correct validator can: there is proof")
            fix = _("ask its organisation; see the proof: govchain misbehaviour list")
            yield Finding("misbehaviour", Level.WARNING, detail.format(node=name), fix)


def _list(names: Collection[str]) -> str:
    return ", ".join(names) or _("none")
