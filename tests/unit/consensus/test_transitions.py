"""The tables of node/consensus/transitions.md, held against the core row by row."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

import node.consensus
from node.chain.certificate import Phase
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
    OwnNewViewDurable,
    PassedOver,
    PoolChanged,
    ProposalBuilt,
    ProposalReceived,
    Retain,
    Send,
    StatusReceived,
    Tick,
    Trace,
    Validate,
    ViewChangeReceived,
    VoteReceived,
)
from node.consensus.messages import Status
from node.consensus.state import Stage
from tests.unit.consensus.rig import FIRST, SECOND, TIMEOUT_MS, Rig, proposal, view_1
from tests.unit.consensus.signing import certified, view_change, vote
from tests.unit.execution.small_chain import GENESIS

PAGE = Path(node.consensus.__file__).with_name("transitions.md")
VIEW = 0
"""Stands for the height where a row is about a view."""
ROTATION_MS = GENESIS.parameters.rotation_ms


class Row(NamedTuple):
    """One line of a table."""

    name: str
    state: str
    event: str
    when: str
    out: str
    then: str


def rows() -> list[Row]:
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.read_text().splitlines()
        if re.match(r"\| [HV]\d", line)
    ]
    return [Row(*line) for line in cells]


def drawn(kind: str) -> str:
    """Draw a diagram from the rows of one table."""
    edges: dict[tuple[str, str], list[str]] = {}
    for row in rows():
        if row.name.startswith(kind):
            edges.setdefault((row.state, row.then), []).append(row.name)
    lines = [f"    {a} --> {b}: {', '.join(names)}" for (a, b), names in edges.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"])


OTHER = replace(FIRST.header, time_ms=FIRST.header.time_ms + 1)
LATE = FIRST.header.time_ms + 10_000


def built_by_the_primary() -> Rig:
    rig = Rig(0).feed(PoolChanged(pending=True))
    assert any(isinstance(action, BuildProposal) for action in rig.out)
    hashes = proposal(FIRST).tx_hashes
    return rig.feed(ProposalBuilt(0, 1, FIRST.header, hashes))


def two_preparing() -> Rig:
    return Rig().prepare(FIRST).prepare(SECOND)


def two_committing() -> Rig:
    return two_preparing().votes(Phase.PREPARE, FIRST, 1).votes(Phase.PREPARE, SECOND, 1)


def one_block_a_view() -> Rig:
    rig = Rig(parameters=replace(GENESIS.parameters, rotation_blocks=1))
    return rig.prepare(FIRST).votes(Phase.PREPARE, FIRST, 1).votes(Phase.COMMIT, FIRST, 0)


def both_leave(rig: Rig) -> Rig:
    for validator in (0, 2):
        rig.feed(ViewChangeReceived(view_change(validator, 1)))
    return rig


def announced() -> Rig:
    rig = both_leave(Rig(1).leave())
    [made] = [action for action in rig.out if isinstance(action, AnnounceNewView)]
    return rig.feed(OwnNewViewDurable(made.new_view))


def waited_for_new_view() -> Rig:
    rig = both_leave(Rig().leave())
    rig.now_ms += 2 * TIMEOUT_MS
    return rig.feed(Tick())


def unfit(rig: Rig) -> Rig:
    rig.clock_is_fit = False
    return rig


def followed() -> Rig:
    return unfit(Rig()).prepare(FIRST).votes(Phase.PREPARE, FIRST, 1)


PLAYS: dict[str, tuple[int, Callable[[], Rig], Callable[[Rig], Rig]]] = {
    "H1": (1, Rig, lambda rig: rig.propose(FIRST)),
    "H2": (2, Rig, lambda rig: rig.propose(SECOND)),
    "H3": (1, Rig, lambda rig: rig.feed(ProposalReceived(proposal(FIRST), LATE))),
    "H4": (2, lambda: Rig().propose(SECOND), lambda rig: rig.propose(FIRST)),
    "H5": (1, lambda: Rig(0), lambda _: built_by_the_primary()),
    "H6": (1, lambda: Rig().propose(FIRST), lambda rig: rig.validate(FIRST)),
    "H7": (1, lambda: Rig().propose(FIRST), lambda rig: rig.validate(FIRST, matches=False)),
    "H8": (1, lambda: Rig().prepare(FIRST), lambda rig: rig.votes(Phase.PREPARE, FIRST, 1)),
    "H9": (2, two_preparing, lambda rig: rig.votes(Phase.PREPARE, SECOND, 1)),
    "H10": (
        2,
        lambda: two_preparing().votes(Phase.PREPARE, SECOND, 1),
        lambda rig: rig.votes(Phase.PREPARE, FIRST, 1),
    ),
    "H11": (
        1,
        lambda: two_committing().votes(Phase.COMMIT, FIRST, 0),
        lambda rig: rig.votes(Phase.COMMIT, FIRST, 1),
    ),
    "H12": (
        2,
        lambda: two_committing().votes(Phase.COMMIT, SECOND, 0),
        lambda rig: rig.votes(Phase.COMMIT, SECOND, 1),
    ),
    "H13": (
        2,
        lambda: two_committing().votes(Phase.COMMIT, SECOND, 0, 1).votes(Phase.COMMIT, FIRST, 0),
        lambda rig: rig.votes(Phase.COMMIT, FIRST, 1),
    ),
    "H14": (1, Rig, lambda rig: rig.feed(DecidedReceived(certified(FIRST.header, Phase.COMMIT)))),
    "H15": (
        1,
        lambda: Rig().feed(DecidedReceived(certified(FIRST.header, Phase.COMMIT))),
        lambda rig: rig.validate(FIRST),
    ),
    "H16": (
        1,
        lambda: Rig().feed(DecidedReceived(certified(FIRST.header, Phase.COMMIT))),
        lambda rig: rig.validate(FIRST, matches=False),
    ),
    "H17": (
        1,
        lambda: Rig().feed(ProposalReceived(proposal(FIRST), LATE)),
        lambda rig: rig.propose(FIRST),
    ),
    "H18": (
        1,
        lambda: Rig().prepare(FIRST),
        lambda rig: rig.feed(VoteReceived(vote(Phase.PREPARE, 0, OTHER, 0))),
    ),
    "H19": (1, lambda: Rig().prepare(FIRST), lambda rig: rig.feed(view_1())),
    "H20": (
        1,
        lambda: Rig().prepare(FIRST).votes(Phase.PREPARE, FIRST, 1),
        lambda rig: rig.feed(view_1(prepared=[FIRST])),
    ),
    "H21": (1, lambda: unfit(Rig()).propose(FIRST), lambda rig: rig.validate(FIRST)),
    "H22": (1, followed, lambda rig: rig.votes(Phase.PREPARE, FIRST, 2)),
    "H23": (
        1,
        lambda: followed().votes(Phase.PREPARE, FIRST, 2).votes(Phase.COMMIT, FIRST, 0, 1),
        lambda rig: rig.votes(Phase.COMMIT, FIRST, 2),
    ),
    "V1": (VIEW, lambda: Rig(0), lambda rig: rig.feed(PoolChanged(pending=True))),
    "V2": (VIEW, Rig, lambda rig: rig.leave()),
    "V3": (
        VIEW,
        lambda: Rig().feed(ViewChangeReceived(view_change(1, 7))),
        lambda rig: rig.feed(ViewChangeReceived(view_change(2, 4))),
    ),
    "V4": (VIEW, lambda: Rig(1).leave(), both_leave),
    "V5": (VIEW, lambda: both_leave(Rig(1).leave()), lambda _: announced()),
    "V6": (VIEW, lambda: Rig().leave(), lambda rig: rig.feed(view_1())),
    "V7": (VIEW, lambda: both_leave(Rig().leave()), lambda _: waited_for_new_view()),
    "V8": (
        VIEW,
        lambda: Rig().prepare(FIRST).leave(),
        lambda rig: rig.votes(Phase.PREPARE, FIRST, 1),
    ),
    "V9": (
        VIEW,
        lambda: (
            Rig()
            .prepare(FIRST)
            .feed(DecidedReceived(certified(FIRST.header, Phase.COMMIT)))
            .feed(view_1())
        ),
        lambda rig: rig.feed(StatusReceived(0, Status(0, 0, view_active=True, height=0))),
    ),
    "V10": (VIEW, Rig, lambda rig: rig.feed(ViewChangeReceived(view_change(0, 7)))),
    "V11": (VIEW, lambda: Rig(0).feed(Tick()), lambda rig: rig.last(ROTATION_MS)),
    "V12": (
        VIEW,
        lambda: Rig().feed(Tick()).last(ROTATION_MS),
        lambda rig: rig.last(TIMEOUT_MS),
    ),
    "V13": (VIEW, one_block_a_view, lambda rig: rig.votes(Phase.COMMIT, FIRST, 1)),
    "V14": (VIEW, Rig, lambda rig: rig.feed(PassedOver(0, bytes(32), TIMEOUT_MS))),
    "V15": (VIEW, lambda: unfit(Rig(0)), lambda rig: rig.feed(PoolChanged(pending=True))),
}
"""Per row: the height it is about, how to get there, and the event."""


def height_of(action: Action) -> int | None:
    """Return the height an action is about, None where it is about no single one."""
    match action:
        case Validate(header) | CastProposal(header) | Commit(header):
            return header.height
        case CastVote(subject):
            return subject.height
        case BuildProposal(height=height):
            return height
        case AdoptNewView() | AnnounceNewView() | CastViewChange():
            return VIEW
        case _:
            return None


def done(actions: Sequence[Action], height: int) -> list[str]:
    """Return the kinds of the actions that concern a row, each once."""
    found = [
        type(action).__name__
        for action in actions
        if not isinstance(action, Trace | Retain)
        and not (isinstance(action, Send) and isinstance(action.message, Status))
        and (height == VIEW or height_of(action) in (None, height))
    ]
    return list(dict.fromkeys(found))


def phases(actions: Sequence[Action], height: int) -> list[str]:
    return [
        action.subject.phase.name
        for action in actions
        if isinstance(action, CastVote) and action.subject.height == height
    ]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.name)
def test_the_core_does_what_the_row_says(row: Row) -> None:
    height, before, event = PLAYS[row.name]
    rig = before()
    standing(rig, row.state, height)
    rig = event(rig)
    assert done(rig.out, height) == re.findall(r"`(\w+)`", row.out)
    assert phases(rig.out, height) == re.findall(r"PREPARE|COMMIT", row.out)
    standing(rig, row.then, height)


def standing(rig: Rig, state: str, height: int) -> None:
    if height != VIEW:
        assert rig.core.stage(height) is Stage(state)
    else:
        assert rig.core.view_active == (state == "active")


def test_every_row_is_played_and_every_event_and_stage_has_one() -> None:
    assert [row.name for row in rows()] == list(PLAYS)
    assert {row.state for row in rows()} | {row.then for row in rows()} == {
        *(stage.value for stage in Stage),
        "active",
        "leaving",
    }
    casts = {"OwnVoteDurable", "OwnViewChangeDurable"}  # the rig answers with them by itself
    events = {event.__name__ for event in Event.__args__}
    assert {row.event.strip("`") for row in rows()} == events - casts


@pytest.mark.parametrize("kind", ["H", "V"])
def test_the_diagrams_are_drawn_from_the_tables(kind: str) -> None:
    assert drawn(kind) in PAGE.read_text(), f"put this into {PAGE.name}:\n{drawn(kind)}"
