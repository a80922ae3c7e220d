"""The served policy: it says what is in force, to the figure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.chain.genesis import Parameters
from node.timestamp.tokens.issuing import POLICY
from node.web.tsa_policy import PolicyFacts, render, routes
from tests.unit.web.http_client import ask, serving

FACTS = PolicyFacts(
    chain_id=bytes(range(32)),
    node_id="validator-1",
    identity_id="org-1-tsa",
    epoch=3,
    parameters=Parameters(
        precision_ms=11, message_delay_ms=222, clock_error_ms=33, accuracy_ms=4_444
    ),
    requests_per_minute=55,
    is_testnet=False,
)


async def test_it_is_served_as_of_the_moment() -> None:
    found = [FACTS]
    async with serving(routes(lambda: found[0])) as served:
        first = await ask(served.port, "/tsa/policy")
        assert first.headers["content-type"] == "text/plain; charset=utf-8"
        found[0] = replace(FACTS, epoch=4)
        second = await ask(served.port, "/tsa/policy")
    assert b"epoch 3" in first.body
    assert b"epoch 4" in second.body


@pytest.mark.parametrize(
    "said",
    [
        POLICY,
        bytes(range(32)).hex(),
        "validator-1, recording under org-1-tsa",
        "within 4444 ms of UTC",
        "within 33 ms. A validator votes for T only if it is at most 11 ms ahead",
        "222 + 11 ms behind it",
        "55 times a minute",
        "sha-256, sm3, sha-384, sha-512",
    ],
)
def test_it_states_what_is_in_force(said: str) -> None:
    assert " ".join(said.split()) in " ".join(render(FACTS).split())


def test_a_trial_says_that_it_is_one() -> None:
    assert "TRIAL" not in render(FACTS)
    assert "THIS IS A TRIAL" in render(replace(FACTS, is_testnet=True))
