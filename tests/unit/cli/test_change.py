"""Waiting for a node that is to join; proposals of another epoch than the one in force."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from node.chain.governance import Governance
from node.cli.change import await_learner, check_epoch
from node.cli.network import Network
from node.cli.proposal import Proposal
from node.cli.screen import Screen
from node.cli.verb import CommandError
from node.client.signing import clock_ms
from node.rpc.port import Health, NodeStatus
from tests.unit.rpc.fake_node import FakeNetwork, running

QUIET = Screen("node join", as_json=True)
LEARNER = "validator-2"


def have_learner_say(
    monkeypatch: pytest.MonkeyPatch, network: FakeNetwork, *said: tuple[Health, int]
) -> None:
    """Have the second node say these, one after the other, of a chain of three blocks."""
    network.ledger.blocks += [[b"1"], [b"2"], [b"3"]]
    first, learner = network.nodes
    left = list(said)

    async def status() -> NodeStatus:
        health, height = left.pop(0) if len(left) > 1 else left[0]
        return replace(await first.status(), health=health, height=height, health_detail="so far")

    monkeypatch.setattr(learner, "status", status)


async def test_a_learner_has_caught_up_once_it_follows_where_the_others_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running(2) as network, network.client() as client:
        told = [
            (Health.STARTING, 0),
            (Health.STARTING, 0),
            (Health.FOLLOWING, 2),  # it does not know yet what it lacks
            (Health.CATCHING_UP, 3),
            (Health.FOLLOWING, 3),
        ]
        have_learner_say(monkeypatch, network, *told)
        await await_learner(QUIET, client, LEARNER, patience_s=10)
        assert (await client.statuses())[LEARNER].health is Health.FOLLOWING  # type: ignore[union-attr]


async def test_a_learner_that_makes_no_progress_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running(2) as network, network.client() as client:
        have_learner_say(monkeypatch, network, (Health.STARTING, 1))
        with pytest.raises(CommandError) as raised:
            await await_learner(QUIET, client, LEARNER, patience_s=0.5)
        assert raised.value.code == "GC-2323"
        assert str(raised.value).endswith("at 1 of 3, STARTING so far")


@pytest.mark.parametrize(
    ("proposed", "said", "commands"),
    [
        (2, "for epoch 2, which has ended: in force is 3", ("--propose", "--approve")),
        (4, "for epoch 4; as far as the validators asked", ("node list", "--submit")),
    ],
)
def test_a_proposal_of_another_epoch_says_which_and_what_to_do(
    proposed: int, said: str, commands: tuple[str, ...]
) -> None:
    network = cast(
        "Network",
        SimpleNamespace(
            profile=SimpleNamespace(chain_id=bytes(32)), validators=SimpleNamespace(epoch=3)
        ),
    )
    proposal = Proposal(
        bytes(32),
        Governance(
            epoch=proposed, not_after_ms=clock_ms() + 60_000, nonce=bytes(16), operations=()
        ),
    )
    with pytest.raises(CommandError) as raised:
        check_epoch(network, proposal)
    assert raised.value.code == "GC-2307"
    assert said in str(raised.value)
    assert all(each in raised.value.fix for each in commands)
    check_epoch(network, replace(proposal, governance=replace(proposal.governance, epoch=3)))


def test_a_proposal_that_lapsed_is_refused_before_anybody_approves() -> None:
    network = cast(
        "Network",
        SimpleNamespace(
            profile=SimpleNamespace(chain_id=bytes(32)), validators=SimpleNamespace(epoch=3)
        ),
    )
    lapsed = Governance(epoch=3, not_after_ms=1_000, nonce=bytes(16), operations=())
    with pytest.raises(CommandError) as raised:
        check_epoch(network, Proposal(bytes(32), lapsed))
    assert raised.value.code == "GC-2307"
    assert "lapsed at 1970-01-01T00:00:01.000Z" in str(raised.value)
    assert "--valid-days" in raised.value.fix
