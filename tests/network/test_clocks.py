"""Real validators whose clocks are wrong, each by libfaketime: the chain goes on and says so.

The library fakes UTC for one process as a file says, which is read again every second; monotonic
time stays as it is. Where it is missing, nothing here is tried, and pytest says so.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from glob import glob
from pathlib import Path
from unittest.mock import patch

import pytest

from node.chain.block import Header
from node.chain.time_rules import UnfitCause
from node.rpc.client import HeardDiagnosis, LedgerClient
from node.rpc.port import Diagnosis
from tests.network.local_network import Load, LocalNetwork, make_network, until, utc_ms
from tests.unit.cli.command import run

_LIBRARIES = glob("/usr/lib/*/faketime/libfaketimeMT.so.1")  # noqa: PTH207 - of the machine
LONG = "GOVCHAIN_LONG_TESTS"
"""Set, what takes minutes is run too."""

SOUND = [UnfitCause.NONE] * 3
"""Of all validators but the last."""

pytestmark = pytest.mark.skipif(
    not _LIBRARIES, reason="NOT RUN: libfaketime is missing (Debian package faketime)"
)


class Clocks:
    """The clocks of a network's validators."""

    def __init__(self, network: LocalNetwork) -> None:
        self._network = network

    def _file(self, validator_id: str) -> Path:
        return self._network.folder(validator_id) / "clock.faketime"

    def set(self, validator_id: str, fake: str) -> None:
        """Fake a clock as libfaketime has it: `+10` is ten seconds ahead, `+0 x0.9` slow."""
        path = self._file(validator_id)
        new = path.with_suffix(".new")
        new.write_text(fake + "\n")
        new.replace(path)

    def start(self, validator_id: str) -> None:
        faked = {
            "LD_PRELOAD": _LIBRARIES[0],
            "FAKETIME_TIMESTAMP_FILE": str(self._file(validator_id)),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            # Debian's build has timed waits end at the wrong time, which turns them into busy ones.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
        }
        with patch.dict(os.environ, faked):
            self._network.supervisor.start(validator_id)


@contextmanager
def faked_network(home: Path, **at_start: str) -> Iterator[tuple[LocalNetwork, Clocks]]:
    """Make and start a network; `at_start` fakes clocks, by the last letter of the id."""
    network = make_network(home)
    clocks = Clocks(network)
    try:
        for validator_id in network.ids:
            clocks.set(validator_id, at_start.get(f"v{validator_id[-1]}", "+0"))
            clocks.start(validator_id)
        asyncio.run(network.until_ready(network.ids))
        yield network, clocks
    finally:
        network.supervisor.down()


async def told(network: LocalNetwork, expected: Callable[[dict[str, Diagnosis]], bool]) -> None:
    """Wait until the diagnoses of all are as expected."""

    async def is_so(client: LedgerClient) -> bool | None:
        heard = (await client.diagnoses(2_000)).items()
        found = {name: each.diagnosis for name, each in heard if isinstance(each, HeardDiagnosis)}
        return (len(found) == len(network.ids) and expected(found)) or None

    async with network.client() as client:
        await until(lambda: is_so(client), "what is told of clocks")


async def under_load(
    network: LocalNetwork, expected: Callable[[dict[str, Diagnosis]], bool]
) -> list[Header]:
    """Submit until all is as expected, and then once more; return the headers since then."""
    load = Load(network, batch=1, pause_ms=150)
    running = asyncio.create_task(load.run("validator-1", "validator-2", "validator-3"))
    await told(network, expected)
    before = await network.height()
    count = len(load.results)

    async def more() -> bool | None:
        return len(load.results) >= count + 3 or None

    await until(more, "blocks go on")
    load.stop()
    await running
    top = await network.height()
    async with network.client("validator-1") as client:
        await network.until_height("validator-1", top)
        return [
            Header.decode((await client.certified_header(height)).header)
            for height in range(before + 1, top + 1)
        ]


def causes(found: dict[str, Diagnosis]) -> list[UnfitCause]:
    return [found[name].clock_cause for name in sorted(found)]


def is_near(headers: list[Header], offset_ms: int = 0) -> bool:
    """Whether each T is within the promise of a moment of the last half a minute."""
    now_ms = utc_ms() + offset_ms
    return all(now_ms - 30_000 <= header.time_ms <= now_ms + 150 for header in headers)


@pytest.fixture(scope="module")
def one_ahead(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalNetwork, Clocks]]:
    """Yield a network whose last validator began with a clock an hour ahead."""
    with faked_network(tmp_path_factory.mktemp("clocks") / "network", v4="+3600") as faked:
        yield faked


def test_one_clock_an_hour_ahead_and_the_chain_goes_on(
    one_ahead: tuple[LocalNetwork, Clocks],
) -> None:
    network, _ = one_ahead
    headers = asyncio.run(
        under_load(network, lambda found: causes(found) == [*SOUND, UnfitCause.AHEAD])
    )
    assert headers
    assert is_near(headers)
    assert not any(header.time_degraded for header in headers)
    # That node alarms: in its log, its metrics and its health; the doctor names it.
    assert network.metric("validator-4", "clock_fit") == 0
    assert network.metric("validator-4", "clock_unfit_cause") == UnfitCause.AHEAD
    assert network.metric("validator-1", "clock_fit") == 1
    assert any("clock-unfit" in line and "AHEAD" in line for line in network.log("validator-4"))
    status = asyncio.run(network.until_ready(["validator-4"]))["validator-4"]
    assert "its clock is unfit" in status.health_detail
    doctor = run("doctor", "--home", network.home, "--json")
    fitness = [each for each in doctor.json["findings"] if each["check"] == "clock fitness"]
    assert [each["level"] for each in fitness] == ["problem"]
    assert fitness[0]["detail"].startswith("validator-4: ")


def test_a_clock_that_drifts_is_found_by_the_votes_of_others(
    one_ahead: tuple[LocalNetwork, Clocks],
) -> None:
    network, clocks = one_ahead
    network.end("validator-4", signal.SIGTERM)
    clocks.set("validator-4", "+0 x0.97")  # no step, ever
    clocks.start("validator-4")
    asyncio.run(network.until_ready(["validator-4"]))
    headers = asyncio.run(
        under_load(network, lambda found: causes(found) == [*SOUND, UnfitCause.BEHIND])
    )
    assert is_near(headers)
    assert not any(header.time_degraded for header in headers)


@pytest.mark.parametrize("step", ["+10", "-10"])
def test_all_clocks_stepped_and_the_chain_goes_on_degraded_and_says_so(
    tmp_path: Path, step: str
) -> None:
    with faked_network(tmp_path / "network") as (network, clocks):
        before = asyncio.run(under_load(network, lambda _found: True))
        assert not any(header.time_degraded for header in before)
        for validator_id in network.ids:
            clocks.set(validator_id, step)

        def is_told(found: dict[str, Diagnosis]) -> bool:
            degraded = all(said.status.time_degraded for said in found.values())
            return degraded and causes(found) == [UnfitCause.STEPPED] * 4

        headers = asyncio.run(under_load(network, is_told))
        assert headers
        assert all(header.time_degraded for header in headers)
        if step == "-10":  # T is ahead of every clock, and takes the least step
            times_ms = [header.time_ms for header in headers]
            assert times_ms == list(range(times_ms[0], times_ms[0] + len(times_ms)))
        else:
            assert is_near(headers, 10_000)
        doctor = run("doctor", "--home", network.home, "--json")
        found = [each["check"] for each in doctor.json["findings"] if each["level"] == "problem"]
        assert found.count("clock fitness") == 4
        assert "time" in found
        if os.environ.get(LONG) is None:
            return
        asyncio.run(told_in_time(network))
        after = asyncio.run(under_load(network, lambda _found: True))
        assert not any(header.time_degraded for header in after)


async def told_in_time(network: LocalNetwork) -> None:
    """Wait, for minutes, until all clocks are fit again and the chain says so."""
    for _ in range(8):
        try:
            await told(
                network,
                lambda found: (
                    causes(found) == [UnfitCause.NONE] * 4
                    and not any(said.status.time_degraded for said in found.values())
                ),
            )
        except AssertionError:
            continue
        return
    raise AssertionError("time did not become sound again")
