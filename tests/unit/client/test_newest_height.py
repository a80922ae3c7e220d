"""How far the chain is, where a validator says what it likes, or nothing."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from node.client.events import newest_height
from node.rpc.client import NetworkUnavailable
from node.rpc.port import NodeStatus
from tests.unit.rpc.fake_node import FakeNode, running


async def claim(node: FakeNode, height: int) -> NodeStatus:
    return replace(await FakeNode.status(node), height=height)


@pytest.mark.parametrize("claimed", [0, 2**62])
async def test_one_validator_of_four_says_nothing_that_counts(
    monkeypatch: pytest.MonkeyPatch, claimed: int
) -> None:
    """Events from now on were those from any height that the first one asked liked to name."""
    async with running(4) as network, network.client() as client:
        for _ in range(3):
            network.ledger.commit()
        monkeypatch.setattr(network.nodes[0], "status", partial(claim, network.nodes[0], claimed))
        assert await newest_height(client) == 3
        await network.servers[3].stop(0)
        assert await newest_height(client) == 3
        for server in network.servers[:3]:
            await server.stop(0)
        with pytest.raises(NetworkUnavailable):
            await newest_height(client)
