"""The state instead of blocks: fetched in pieces from anybody, each believed for its hash alone."""

from __future__ import annotations

from tests.unit.service.catching import Catching, long_chain

CHAIN = long_chain(60)


def test_a_node_far_behind_begins_with_the_state_and_goes_on() -> None:
    net = Catching(CHAIN)
    net.greet()
    net.run(lambda: net.fetcher.engine.is_superseded)
    net.fetcher.start()
    assert net.fetcher.engine.height == 60
    assert net.fetcher.engine.recovered
