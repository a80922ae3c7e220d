"""Why a chain stands still: whoever answers, the verdict names who is missing and what helps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

import node
from node.chain.time_rules import UnfitCause
from node.cli.checkup import Finding, Level
from node.cli.clock_causes import CHECK, explain_cause
from node.cli.stall import (
    Answers,
    check_chain,
    clock_offsets_ms,
    describe_answers,
    newest_members,
)
from node.consensus.standing import Standing, UndecidedHeight
from node.consensus.state import Stage
from node.errors import NodeError
from node.rpc.client import HeardDiagnosis
from node.rpc.port import Diagnosis, Health, NodeStatus, PeerSight
from tests.unit.execution.small_chain import GENESIS

NAMES = [each.validator_id for each in GENESIS.validators.validators]
FIFTH = "validator-9"
CLOCK_MS = 1_700_000_000_000


def heard(  # noqa: PLR0913 - what a diagnosis may differ in
    name: str,
    *,
    hears: Iterable[str] = NAMES,
    height: int = 7,
    view: int = 0,
    waited_ms: int | None = None,
    leaving: tuple[int, ...] | None = None,
    votes: tuple[tuple[int, ...], tuple[int, ...]] | None = None,
    clock_ms: int = CLOCK_MS,
    health: Health = Health.READY,
    epoch: int = 0,
    validators: Iterable[str] = NAMES,
) -> HeardDiagnosis:
    undecided = []
    if votes is not None:
        undecided = [
            UndecidedHeight(
                height=height + 1, stage=Stage.PREPARING, prepares=votes[0], commits=votes[1]
            )
        ]
    status = NodeStatus(
        validator_id=name,
        chain_id=bytes(32),
        version=node.__version__,
        health=health,
        health_detail="",
        height=height,
        header_digest=bytes(32),
        time_ms=1,
        view=view,
        epoch=0,
        peers_connected=0,
        pending=5 if waited_ms is not None else 0,
    )
    diagnosis = Diagnosis(
        status=status,
        clock_ms=clock_ms,
        epoch=epoch,
        validators=tuple(validators),
        parameters=GENESIS.parameters,
        standing=Standing(
            view=view,
            view_active=leaving is None,
            leaving=leaving or (),
            view_ends_in_ms=700,
            waited_ms=waited_ms,
            undecided=tuple(undecided),
        ),
        peers=tuple(
            PeerSight(
                validator_id=other,
                connected=True,
                heard_ms_ago=50 if other in hears else None,
                height=height,
                view=view,
            )
            for other in dict.fromkeys([*NAMES, *validators])
            if other != name
        ),
    )
    return HeardDiagnosis(diagnosis, 1_000.0, 1_004.0)


def judge(answers: Answers) -> dict[str, Finding]:
    findings = list(check_chain(answers))
    for finding in findings:
        assert bool(finding.fix) == (finding.level is not Level.OK)
    return {finding.check: finding for finding in findings}


def all_but(*silent: str, **said: object) -> Answers:
    others = [name for name in NAMES if name not in silent]
    return {
        name: NodeError("no answer") if name in silent else heard(name, **{"hears": others, **said})  # type: ignore[arg-type]
        for name in NAMES
    }


def test_an_idle_chain_of_good_clocks_has_nothing_wrong() -> None:
    found = judge(all_but())
    assert {each.level for each in found.values()} == {Level.OK}
    assert found.keys() == {"answers", "quorum", "progress", "clocks"}


def test_where_nobody_answers_that_is_all_there_is_to_say() -> None:
    found = judge(all_but(*NAMES))
    assert found.keys() == {"answers"}
    assert found["answers"].level is Level.UNKNOWN


def test_without_a_quorum_the_missing_are_named_and_whose_votes_are_not_there() -> None:
    found = judge(all_but(*NAMES[2:], waited_ms=5_000, votes=((0, 1), ())))
    assert found["quorum"].level is Level.PROBLEM
    for check in ("answers", "quorum", "votes"):
        assert NAMES[2] in found[check].detail
        assert NAMES[3] in found[check].detail
    assert "testnet up" in found["quorum"].fix
    assert found["progress"].level is Level.PROBLEM
    assert "5.0 s" in found["progress"].detail
    assert "0.7 s" in found["view"].detail


def test_with_one_of_four_missing_the_chain_may_move() -> None:
    found = judge(all_but(NAMES[3], waited_ms=20))
    assert (found["answers"].level, found["quorum"].level) == (Level.WARNING, Level.WARNING)
    assert found["progress"].level is Level.OK
    assert "votes" not in found


def test_it_is_said_alike_of_one_and_of_many_who_answers() -> None:
    one = judge(all_but(NAMES[3]))["answers"].detail
    assert one == f"answering: {', '.join(NAMES[:3])}; not answering: {NAMES[3]}"
    three = judge(all_but(*NAMES[1:]))["answers"].detail
    assert three == f"answering: {NAMES[0]}; not answering: {', '.join(NAMES[1:])}"


def test_who_does_not_answer_but_is_heard_by_others_is_there() -> None:
    others = [name for name in NAMES if name != NAMES[3]]
    answers = {name: heard(name) for name in others} | {NAMES[3]: NodeError("no answer")}
    assert judge(answers)["quorum"].level is Level.OK


def test_a_partition_without_a_quorum_is_told_from_missing_validators() -> None:
    left, right = NAMES[:2], NAMES[2:]
    answers = {name: heard(name, hears=left, waited_ms=9_000) for name in left}
    answers |= {name: heard(name, hears=right, waited_ms=9_000) for name in right}
    found = judge(answers)
    assert found["quorum"].level is Level.PROBLEM
    assert f"{', '.join(left)} | {', '.join(right)}" in found["quorum"].detail
    assert found["progress"].fix == "mend what the finding quorum says"


def test_a_link_that_works_one_way_is_no_link() -> None:
    answers = {name: heard(name) for name in NAMES[:3]}
    answers[NAMES[3]] = heard(NAMES[3], hears=())
    found = judge(answers)
    assert found["quorum"].level is Level.WARNING
    assert NAMES[3] in found["quorum"].detail


def test_a_missing_primary_is_named() -> None:
    found = judge(all_but(NAMES[1], view=1, waited_ms=3_000))
    assert f"primary {NAMES[1]}" in found["view"].detail
    assert "the primary is not there" in found["view"].detail


def test_between_views_the_missing_view_changes_are_named() -> None:
    answers = dict(all_but(waited_ms=3_000, view=2))
    for index in (0, 3):
        answers[NAMES[index]] = heard(NAMES[index], waited_ms=3_000, view=2, leaving=(0, 3))
    answers[NAMES[1]] = heard(NAMES[1], waited_ms=3_000, view=1)
    answers[NAMES[2]] = heard(NAMES[2], waited_ms=3_000, view=1)
    detail = judge(answers)["view"].detail
    assert f"{NAMES[0]}, {NAMES[3]}, 3 are needed; missing: {NAMES[1]}, {NAMES[2]}" in detail


def test_votes_of_several_views_are_not_added_up() -> None:
    answers = {
        NAMES[0]: heard(NAMES[0], view=3, waited_ms=3_000, votes=((0,), ())),
        NAMES[1]: heard(NAMES[1], view=2, waited_ms=3_000, votes=((1, 2, 3), ())),
    }
    detail = judge(answers)["votes"].detail
    assert f"{NAMES[0]} sent PREPARE, none sent COMMIT" in detail


def test_who_is_far_behind_is_named_with_the_number_of_blocks() -> None:
    answers = {name: heard(name, height=100) for name in NAMES}
    answers[NAMES[2]] = heard(NAMES[2], height=60)
    found = judge(answers)["behind"]
    assert f"{NAMES[2]} is 40 blocks behind" in found.detail
    answers[NAMES[2]] = heard(NAMES[2], height=60, hears=())
    assert "hears nobody" in judge(answers)["behind"].fix


@pytest.mark.parametrize("cause", [each for each in UnfitCause if each is not UnfitCause.NONE])
def test_a_node_whose_clock_is_unfit_is_named_with_the_cause(cause: UnfitCause) -> None:
    answers = dict(all_but())
    told = replace(heard(NAMES[1]).diagnosis, clock_cause=cause, clock_detail="by 42 ms")
    answers[NAMES[1]] = replace(heard(NAMES[1]), diagnosis=told)
    [finding] = [each for each in check_chain(answers) if each.check == CHECK]
    assert finding.level is Level.PROBLEM
    assert finding.detail.startswith(f"{NAMES[1]}: {explain_cause(cause)[0]} (by 42 ms)")
    assert finding.fix == explain_cause(cause)[1]


def test_degraded_time_is_told_of() -> None:
    answers = dict(all_but())
    status = replace(heard(NAMES[2]).diagnosis.status, time_degraded=True)
    told = replace(heard(NAMES[2]).diagnosis, status=status)
    answers[NAMES[2]] = replace(heard(NAMES[2]), diagnosis=told)
    found = judge(answers)["time"]
    assert found.level is Level.PROBLEM
    assert NAMES[2] in found.detail


@pytest.mark.parametrize("offset_ms", [-5_000, 5_000])
def test_a_clock_that_is_off_is_named(offset_ms: int) -> None:
    answers = {name: heard(name) for name in NAMES}
    answers[NAMES[1]] = heard(NAMES[1], clock_ms=CLOCK_MS + offset_ms)
    found = judge(answers)["clocks"]
    assert (found.level, NAMES[1] in found.detail) == (Level.PROBLEM, True)
    assert f"{offset_ms:+d} ms" in found.detail
    assert clock_offsets_ms(answers)[NAMES[1]].error_ms == 2.0


def test_what_is_wrong_on_purpose_and_who_is_proven_guilty_are_told() -> None:
    answers = {name: heard(name) for name in NAMES}
    told = replace(answers[NAMES[0]].diagnosis, chaos="clock +9 ms", accused=(NAMES[2],))
    answers[NAMES[0]] = replace(answers[NAMES[0]], diagnosis=told)
    found = judge(answers)
    assert f"{NAMES[0]} is disturbed on purpose: clock +9 ms" in found["chaos"].detail
    assert NAMES[2] in found["misbehaviour"].detail


def test_what_was_said_is_told_to_programs() -> None:
    answers = dict(all_but(NAMES[0], waited_ms=10, votes=((1,), (2,))))
    first, second, *_ = describe_answers(answers)
    assert first == {"id": NAMES[0], "answers": False, "error": "no answer"}
    assert (second["answers"], second["view_active"], second["waited_ms"]) == (True, True, 10)
    assert list(second["undecided"]) == [
        {"height": 8, "stage": "preparing", "prepares": (1,), "commits": (2,)}
    ]


def test_the_set_of_the_newest_epoch_decides_who_is_missed_and_who_is_primary() -> None:
    """The first left, a fifth came: indices and views are those of the new set."""
    members = [*NAMES[1:], FIFTH]
    here = (NAMES[1], FIFTH)
    answers: dict[str, HeardDiagnosis | NodeError] = {
        name: heard(
            name, hears=here, epoch=1, validators=members, waited_ms=5_000, votes=((0, 3), ())
        )
        for name in here
    }
    answers[NAMES[0]] = heard(NAMES[0], hears=[], height=2, view=9, waited_ms=5_000)
    answers |= {name: NodeError("no answer") for name in NAMES[2:]}
    found = judge(answers)
    assert found["quorum"].level is Level.PROBLEM
    assert "2 of 4 validators are there, 3 are needed" in found["quorum"].detail
    assert f"view 0 of primary {NAMES[1]}" in found["view"].detail
    assert f"{NAMES[1]}, {FIFTH} sent PREPARE" in found["votes"].detail
    assert f"missing: {NAMES[2]}, {NAMES[3]}" in found["votes"].detail
    assert NAMES[0] in found["behind"].detail
    assert newest_members(answers) == members


def test_a_follower_that_answers_alone_is_no_quorum_and_breaks_nothing() -> None:
    answers = {FIFTH: heard(FIFTH, hears=[], waited_ms=5_000)}
    assert judge(answers)["quorum"].level is Level.PROBLEM
