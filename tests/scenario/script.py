"""Scenario files: their form, what a script can say, and what it can expect.

A file opens with `key: value` lines. After the first blank line each line is a comment (`# `), a
command (`> `), an expectation (`expect: `) or, indented, the trace of the command above it. Only
the trace is rewritten; an expectation is checked whatever the trace says.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from node.chain.block import CertifiedHeader
from node.chain.certificate import Phase, Subject
from node.consensus.messages import NewView, Proposal, Reason, Status, ViewChange
from tests.scenario.actor import Actor, Message
from tests.scenario.cast import STARTED_UTC_MS, ScriptError
from tests.scenario.stage import Filter, Settings, Stage
from tests.scenario.words import KINDS

HEADINGS = (
    "title", "pitfall", "known from", "shows", "validators", "window", "rotation", "scripted"
)  # fmt: skip
REQUIRED = HEADINGS[:4]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A file, read."""

    headings: dict[str, str]
    lines: tuple[str, ...]
    """All lines after the headings but the trace."""

    @property
    def settings(self) -> Settings:
        """Return what the stage is built from."""
        return Settings(
            validators=int(self.headings.get("validators", "4")),
            window=int(self.headings.get("window", "2")),
            rotation=self.headings.get("rotation", ""),
            scripted=_numbers(self.headings.get("scripted", "")),
        )

    @property
    def expectations(self) -> int:
        """Return how many expectations are stated."""
        return sum(1 for line in self.lines if line.startswith("expect: "))


@dataclass(frozen=True, slots=True)
class Played:
    """A file with its trace written anew, and every expectation that did not hold."""

    text: str
    failures: tuple[str, ...]


def read_scenario(path: Path) -> Scenario:
    """Read a scenario file."""
    top, _, body = path.read_text().partition("\n\n")
    headings = {}
    for line in top.splitlines():
        key, separator, value = line.partition(": ")
        if key not in HEADINGS or not separator:
            raise ScriptError(f"{path.name}: no such heading: {line}")
        headings[key] = value
    if missing := [key for key in REQUIRED if key not in headings]:
        raise ScriptError(f"{path.name}: lacks {', '.join(missing)}")
    lines = tuple(line for line in body.splitlines() if not line.startswith(" "))
    return Scenario(headings, lines)


def play(scenario: Scenario) -> Played:
    """Play a scenario from its beginning."""
    stage = Stage(scenario.settings)
    written = [f"{key}: {value}" for key, value in scenario.headings.items()] + [""]
    failures = []
    for line in scenario.lines:
        written.append(line)
        try:
            _take(stage, line)
        except (AssertionError, ScriptError) as error:
            failures.append(f"{line}: {error}")
        written += stage.story()
    return Played("\n".join(written) + "\n", tuple(failures))


def _take(stage: Stage, line: str) -> None:
    if line.startswith("> "):
        _obey(stage, line.removeprefix("> "))
    elif line.startswith("expect: "):
        _check(stage, line.removeprefix("expect: "))
    elif line and not line.startswith("#"):
        raise ScriptError("neither a comment nor a command nor an expectation")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split())


# ---------------------------------------------------------------------- commands


def _obey(stage: Stage, command: str) -> None:
    for pattern, act in COMMANDS:
        if match := re.fullmatch(pattern, command):
            act(stage, match)
            return
    raise ScriptError(f"no such command: {command}")


def _submit(stage: Stage, match: re.Match[str]) -> None:
    running = tuple(index for index, actor in stage.actors.items() if actor.running)
    to = _numbers(match["to"]) if match["to"] else running
    for transaction in match["txs"].split():
        stage.submit(transaction, to)


def _filter(match: re.Match[str]) -> Filter:
    if match["kind"] not in (*KINDS, "everything"):
        raise ScriptError(f"no such kind of message: {match['kind']}")
    return Filter(
        match["kind"],
        match["block"] or "",
        _numbers(match["senders"] or ""),
        _numbers(match["receivers"] or ""),
    )


def _hold(stage: Stage, match: re.Match[str]) -> None:
    act = {"hold": stage.hold, "lose": stage.lose, "lift": stage.lift}[match["verb"]]
    act(_filter(match))


def _cut(stage: Stage, match: re.Match[str]) -> None:
    stage.cut(_numbers(side) for side in match["sides"].split("|"))


def _heal(stage: Stage, _: re.Match[str]) -> None:
    stage.cut(())


def _wait(stage: Stage, match: re.Match[str]) -> None:
    stage.wait(int(match["ms"]))


def _crash(stage: Stage, match: re.Match[str]) -> None:
    stage.actor(int(match["who"])).crash()


def _restart(stage: Stage, match: re.Match[str]) -> None:
    stage.actor(int(match["who"])).restart(stage.now_ms)
    stage.settle()


def _stall_disk(stage: Stage, match: re.Match[str]) -> None:
    stage.actor(int(match["who"])).disk_stalled = True


def _sync_disk(stage: Stage, match: re.Match[str]) -> None:
    stage.actor(int(match["who"])).sync_disk(stage.now_ms)
    stage.settle()


def _withhold(stage: Stage, match: re.Match[str]) -> None:
    for index in _numbers(match["who"]):
        stage.actor(index).withheld[match["block"]] = None


def _supply(stage: Stage, match: re.Match[str]) -> None:
    for index in _numbers(match["who"]):
        stage.actor(index).give_bodies(stage.cast.block(match["block"]), stage.now_ms)
    stage.settle()


def _misexecute(stage: Stage, match: re.Match[str]) -> None:
    stage.actor(int(match["who"])).misexecuted[match["block"]] = None


def _clock(stage: Stage, match: re.Match[str]) -> None:
    stage.actor(int(match["who"])).clock_error_ms = int(match["error"])


def _doubt(stage: Stage, match: re.Match[str]) -> None:
    for index in _numbers(match["who"]):
        stage.actor(index).clock_is_fit = match["fit"] == "fit"


def _block(stage: Stage, match: re.Match[str]) -> None:
    stage.cast.make_block(
        stage.cast.block(match["parent"]),
        match["txs"].split(),
        view=int(match["view"]),
        time_ms=STARTED_UTC_MS + int(match["time"]),
        name=match["name"],
        sound=match["unsound"] is None,
        degraded=match["degraded"] is not None,
    )


def _sync(stage: Stage, match: re.Match[str]) -> None:
    stage.sync_blocks(int(match["who"]), int(match["source"]))


def _send(stage: Stage, match: re.Match[str]) -> None:
    sender = int(match["who"])
    if sender not in stage.settings.scripted:
        raise ScriptError(
            f"{sender} follows the protocol; only scripted validators are told what to send"
        )
    receivers = () if match["to"] == "all" else _numbers(match["to"])
    for pattern, write in MESSAGES:
        if said := re.fullmatch(pattern, match["message"]):
            stage.post(sender, None, write(stage, sender, said), receivers)
            stage.settle()
            return
    raise ScriptError(f"no such message: {match['message']}")


COMMANDS: tuple[tuple[str, Callable[[Stage, re.Match[str]], None]], ...] = (
    (r"submit (?P<txs>[\w ]+?)(?: to (?P<to>[\d ]+))?", _submit),
    (
        (
            r"(?P<verb>hold|lose|lift) (?P<kind>\S+)(?: of (?P<block>\S+))?"
            r"(?: from (?P<senders>[\d ]+?))?(?: to (?P<receivers>[\d ]+))?"
        ),
        _hold,
    ),
    (r"cut (?P<sides>[\d |]+)", _cut),
    (r"heal", _heal),
    (r"wait (?P<ms>\d+) ms", _wait),
    (r"crash (?P<who>\d+)", _crash),
    (r"restart (?P<who>\d+)", _restart),
    (r"stall the disk of (?P<who>\d+)", _stall_disk),
    (r"sync the disk of (?P<who>\d+)", _sync_disk),
    (r"withhold (?P<block>\S+) from (?P<who>[\d ]+)", _withhold),
    (r"supply (?P<block>\S+) to (?P<who>[\d ]+)", _supply),
    (r"let (?P<who>\d+) execute (?P<block>\S+) wrongly", _misexecute),
    (r"find the clocks? of (?P<who>[\d ]+) (?P<fit>fit|unfit)", _doubt),
    (r"set the clock of (?P<who>\d+) (?P<error>[+-]\d+) ms", _clock),
    (
        (
            r"block (?P<name>\S+) v(?P<view>\d+) on (?P<parent>\S+): (?P<txs>[\w ]+), "
            r"T(?P<time>[+-]\d+)(?P<unsound>, unsound)?(?P<degraded>, degraded)?"
        ),
        _block,
    ),
    (r"hand (?P<who>\d+) the blocks of (?P<source>\d+)", _sync),
    (r"(?P<who>\d+) sends (?P<message>.+) to (?P<to>all|[\d ]+)", _send),
)


# ---------------------------------------------------------------------- scripted messages


def _a_vote(stage: Stage, sender: int, said: re.Match[str]) -> Message:
    block = stage.cast.block(said["block"])
    subject = Subject(Phase[said["phase"]], int(said["view"]), block.header.height, block.digest)
    vote = stage.cast.sign_vote(subject, sender, STARTED_UTC_MS + stage.now_ms)
    if said["other"] is None:
        return vote
    return type(vote)(subject, int(said["other"]), vote.time_ms, vote.signature, 0)


def _a_proposal(stage: Stage, sender: int, said: re.Match[str]) -> Message:
    block = stage.cast.block(said["block"])
    subject = Subject(Phase.PREPARE, block.header.view, block.header.height, block.digest)
    vote = stage.cast.sign_vote(subject, sender, STARTED_UTC_MS + stage.now_ms)
    return Proposal(block.header, block.tx_hashes, vote)


def _a_view_change(stage: Stage, sender: int, said: re.Match[str]) -> Message:
    cast = stage.cast
    committed: list[CertifiedHeader] = []
    name = said["tip"]
    while name != cast.genesis.name and len(committed) < cast.parameters.window_slots:
        block = cast.block(name)
        view = next(s.view for s in cast.votes if (s.phase, s.header_digest) == (2, block.digest))
        committed.insert(0, cast.certify(Phase.COMMIT, block, view))
        name = block.parent
    prepared: list[CertifiedHeader] = []
    clock_ms = re.search(r"clock ([+-]\d+)", said["shown"])
    for how, block_name, view in re.findall(r"(prepare|forged) (\S+) v(\d+)", said["shown"]):
        block = cast.block(block_name)
        prepared.append(
            cast.certify(Phase.PREPARE, block, int(view))
            if how == "prepare"
            else cast.forge(Phase.PREPARE, block, int(view), sender)
        )
    return cast.sign_view_change(
        ViewChange(
            epoch=0,
            view=int(said["view"]),
            validator=sender,
            committed=tuple(committed),
            prepared=tuple(prepared),
            clock_bit="clock bit" in said["shown"],
            clock_ms=STARTED_UTC_MS + (int(clock_ms[1]) if clock_ms else stage.now_ms),
            reason=Reason.TIMEOUT,
        )
    )


def _a_new_view(stage: Stage, sender: int, said: re.Match[str]) -> Message:
    del sender
    view = int(said["view"])
    held = stage.cast.view_changes
    try:
        chosen = tuple(held[view, index] for index in _numbers(said["senders"]))
    except KeyError as missing:
        raise ScriptError(f"no VIEW-CHANGE of {missing}") from None
    return stage.cast.sign_new_view(NewView(epoch=0, view=view, view_changes=chosen))


def _a_decided(stage: Stage, sender: int, said: re.Match[str]) -> Message:
    block, view = stage.cast.block(said["block"]), int(said["view"])
    if said["forged"] is not None:
        return stage.cast.forge(Phase.COMMIT, block, view, sender)
    return stage.cast.certify(Phase.COMMIT, block, view)


def _a_status(stage: Stage, sender: int, said: re.Match[str]) -> Message:
    del stage, sender
    return Status(0, int(said["view"]), view_active=True, height=int(said["height"]))


MESSAGES: tuple[tuple[str, Callable[[Stage, int, re.Match[str]], Message]], ...] = (
    (r"(?P<phase>PREPARE|COMMIT) (?P<block>\S+) v(?P<view>\d+)(?: as (?P<other>\d+))?", _a_vote),
    (r"PROPOSAL (?P<block>\S+)", _a_proposal),
    (r"VIEW-CHANGE v(?P<view>\d+) tip (?P<tip>[^\s,]+)(?P<shown>.*)", _a_view_change),
    (r"NEW-VIEW v(?P<view>\d+) from (?P<senders>[\d ]+)", _a_new_view),
    (r"DECIDED (?P<block>\S+) v(?P<view>\d+)(?P<forged> forged)?", _a_decided),
    (r"STATUS v(?P<view>\d+) h(?P<height>\d+)", _a_status),
)


# ---------------------------------------------------------------------- expectations

Judge = Callable[[Stage, Actor, re.Match[str]], bool]


def _check(stage: Stage, expectation: str) -> None:
    said = re.fullmatch(r"(?P<who>all|nobody|(?:only )?[\d ]+?) (?P<what>[a-z].*)", expectation)
    for pattern, judge in EXPECTATIONS if said else ():
        match = re.fullmatch(pattern, said["what"]) if said else None
        if said and match:
            fitting = [i for i, actor in stage.actors.items() if judge(stage, actor, match)]
            if not _is_as_said(said["who"], fitting, list(stage.actors)):
                raise AssertionError(f"it is so of {fitting or 'nobody'}")
            return
    raise ScriptError(f"no such expectation: {expectation}")


def _is_as_said(who: str, fitting: list[int], everybody: list[int]) -> bool:
    if who == "nobody":
        return not fitting
    if who.startswith("only "):
        return fitting == sorted(_numbers(who.removeprefix("only ")))
    named = everybody if who == "all" else _numbers(who)
    return all(index in fitting for index in named)


def _has_sent(stage: Stage, actor: Actor, match: re.Match[str]) -> bool:
    kind, *rest = match["words"].split()
    if kind not in KINDS:
        raise ScriptError(f"no such kind of message: {kind}")
    if kind in ("PROPOSAL", "PREPARE", "COMMIT", "DECIDED") and rest:
        stage.cast.block(rest[0])
    count = sum(
        1
        for sender, words in stage.sent
        if sender == actor.index and re.split(r",? ", words)[: 1 + len(rest)] == [kind, *rest]
    )
    return count == int(match["times"]) if match["times"] else count > 0


def _has_committed(stage: Stage, actor: Actor, match: re.Match[str]) -> bool:
    names = [] if match["blocks"] == "nothing" else match["blocks"].split()
    for name in names:
        stage.cast.block(name)
    return [block.name for block, _ in actor.disk.ledger] == names


def _is_in_view(_: Stage, actor: Actor, match: re.Match[str]) -> bool:
    return actor.standing == f"{match['how']} view {match['view']}"


def _has_refused(_: Stage, actor: Actor, match: re.Match[str]) -> bool:
    return any(
        rule == match["rule"] and match["sender"] in (None, str(sender))
        for rule, sender in actor.refusals
    )


def _has_accused(_: Stage, actor: Actor, match: re.Match[str]) -> bool:
    return int(match["whom"]) in actor.accused


def _has_halted(_: Stage, actor: Actor, __: re.Match[str]) -> bool:
    return bool(actor.halted)


def _has_waiting(_: Stage, actor: Actor, match: re.Match[str]) -> bool:
    return actor.waiting == ([] if match["txs"] == "nothing" else match["txs"].split())


def _has_checked(_: Stage, actor: Actor, match: re.Match[str]) -> bool:
    return actor.votes_checked == int(match["count"])


EXPECTATIONS: tuple[tuple[str, Judge], ...] = (
    (r"sent (?P<words>.+?)(?: (?P<times>\d+) times)?", _has_sent),
    (r"committed (?P<blocks>.+)", _has_committed),
    (r"stands (?P<how>in|leaving for) view (?P<view>\d+)", _is_in_view),
    (r"refused by rule (?P<rule>[\w-]+)(?: from (?P<sender>\d+))?", _has_refused),
    (r"accused (?P<whom>\d+)", _has_accused),
    (r"halted", _has_halted),
    (r"has waiting (?P<txs>.+)", _has_waiting),
    (r"checked (?P<count>\d+) votes", _has_checked),
)
