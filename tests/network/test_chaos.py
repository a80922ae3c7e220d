"""Faults made on purpose in real networks do what was expected of them; doctor sees why."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest

from node.chain.genesis import Genesis
from node.operations import provision
from node.operations.chaos import disturbed, monotonic_ms
from node.operations.founding import Founder, Terms, found
from node.rpc.client import HeardDiagnosis
from node.service.chaos import CHAOS_FILE, Chaos
from tests.network.local_network import LocalNetwork, make_network, running_network, until
from tests.unit.cli.command import Ran, run

LEFT, RIGHT = ("validator-1", "validator-2"), ("validator-3", "validator-4")
PATIENT = ("--within", "30s")  # machines that run tests are busy; the bar is for benchmarks


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    with running_network(tmp_path_factory.mktemp("chaos") / "network") as network:
        asyncio.run(network.until_ready(network.ids))
        yield network


def try_out(network: LocalNetwork, *words: str) -> Ran:
    ran = run("testnet", "chaos", *words, "--home", network.home, "--json")
    assert ran.json.get("as_expected"), ran.out
    return ran


def test_with_the_primary_killed_blocks_go_on(network: LocalNetwork) -> None:
    facts = try_out(network, "kill-primary", "--for", "1s", *PATIENT).json
    assert facts["expected"] == "progress"
    assert facts["commits"] >= 1
    assert len(facts["heights"]["after"]) == 4, "it runs again"


def test_without_a_quorum_blocks_wait_and_come_when_it_is_back(network: LocalNetwork) -> None:
    facts = try_out(network, "pause", "2", "--for", "2s").json
    assert (facts["expected"], facts["commits"]) == ("stall", 0)
    assert facts["healed_commit_ms"] is not None


def test_a_partition_without_a_majority_stalls_and_heals(network: LocalNetwork) -> None:
    facts = try_out(network, "partition", "1,2/3,4", "--for", "2s").json
    assert facts["expected"] == "stall"
    assert not list(network.home.rglob(CHAOS_FILE))


def test_delayed_messages_and_a_wrong_clock_are_survived(network: LocalNetwork) -> None:
    facts = try_out(network, "delay", "150", "--for", "1s", *PATIENT).json
    assert facts["next_commit_ms"] >= 450
    facts = try_out(network, "skew", "4", "60000", "--for", "1s", *PATIENT).json
    assert abs(facts["offsets_ms"]["validator-4"] - 60_000) < 250


def test_a_fault_ends_at_its_time_even_if_nobody_ends_it(network: LocalNetwork) -> None:
    chaos = Chaos(until_ms=monotonic_ms() + 1_500, delay_ms=1)
    path = network.folder("validator-1") / CHAOS_FILE
    path.touch(mode=0o600)
    path.write_bytes(chaos.encode())

    async def is_disturbed(*, expected: bool) -> bool | None:
        async with network.client("validator-1") as client:
            heard = (await client.diagnoses())["validator-1"]
        assert isinstance(heard, HeardDiagnosis)
        return bool(heard.diagnosis.chaos) is expected or None

    try:
        asyncio.run(until(lambda: is_disturbed(expected=True), "disturbed"))
        asyncio.run(until(lambda: is_disturbed(expected=False), "over"))
    finally:
        path.unlink()


def test_doctor_tells_a_partition_and_a_wrong_clock(network: LocalNetwork) -> None:
    until_ms = monotonic_ms() + 60_000
    faults = {name: Chaos(until_ms=until_ms, cut=RIGHT) for name in LEFT}
    faults |= {name: Chaos(until_ms=until_ms, cut=LEFT, skew_ms=9_000) for name in RIGHT[:1]}
    faults |= {name: Chaos(until_ms=until_ms, cut=LEFT) for name in RIGHT[1:]}

    async def told() -> dict[str, dict[str, str]] | None:
        ran = await asyncio.to_thread(run, "doctor", "--home", network.home, "--json")
        found = {each["check"]: each for each in ran.json["findings"]}
        return found if found["quorum"]["level"] == "problem" else None

    with disturbed(network.home, network.supervisor, faults):
        found = asyncio.run(until(told, "the partition is told"))
    assert f"{', '.join(LEFT)} | {', '.join(RIGHT)}" in found["quorum"]["detail"]
    assert (found["clocks"]["level"], found["chaos"]["level"]) == ("problem", "warning")
    assert RIGHT[0] in found["clocks"]["detail"]


def as_operators_of_a_real_chain(terms: Terms, founders: Sequence[Founder]) -> Genesis:
    return found(replace(terms, testnet=False), founders)


async def test_a_node_of_a_real_chain_does_not_obey(tmp_path: Path) -> None:
    with patch.object(provision, "found", as_operators_of_a_real_chain):
        network = make_network(tmp_path / "net")
    assert not network.genesis.testnet
    until_ms = monotonic_ms() + 200_000
    everything = {
        name: Chaos(until_ms=until_ms, cut=network.ids, delay_ms=2_000, skew_ms=60_000)
        for name in network.ids
    }
    try:
        with disturbed(network.home, network.supervisor, everything):
            network.supervisor.up()
            await network.until_ready(network.ids)
            async with network.client() as client:
                transaction = network.transaction()
                (outcome,) = await client.submit([transaction.encoded], 30_000)
                assert outcome.final().height == 1
                answers = (await client.diagnoses()).values()
            said = [each.diagnosis.chaos for each in answers if isinstance(each, HeardDiagnosis)]
            assert said == [""] * 4
    finally:
        network.supervisor.down()
