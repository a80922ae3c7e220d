"""Reading chrony and ntpd: what they print, what they might print, and programs that misbehave."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence

import pytest

from node.service import time_daemon
from node.service.clock_fitness import DaemonReading
from node.service.time_daemon import (
    ANSWER_BYTES_MAX,
    chrony_reading,
    ntpd_reading,
    read_time_daemon,
    run_briefly,
)

TRACKING = (
    "C0A80101,192.168.1.1,3,1700000000.123456789,-0.000012345,0.000001,0.000023,"
    "-12.345,0.001,0.020,0.012345678,0.000987654,64.2,Normal\n"
)
SOURCES = """\
^,*,192.168.1.1,2,6,377,12,0.000012,0.000013,0.000456
^,+,192.168.1.2,2,6,377,13,0.000012,0.000013,0.000456
^,-,192.168.1.3,2,6,377,13,0.000012,0.000013,0.000456
^,x,192.168.1.4,2,6,377,13,1.000012,1.000013,0.000456
^,?,192.168.1.5,0,6,0,4294967295,0.0,0.0,0.0
"""
CHRONY = DaemonReading(
    daemon="chrony",
    is_synchronised=True,
    offset_us=-13,
    root_dispersion_us=988,
    root_delay_us=12_346,
    sources=3,
)
VARIABLES = "leap=00, offset=-1.234, rootdelay=25.5, rootdisp=7.0001\n"
PEERS = """\
     remote           refid      st t when poll reach   delay   offset  jitter
==============================================================================
*10.0.0.1        .GPS.            1 u   33   64  377    0.123   -0.045   0.012
+10.0.0.2        10.0.0.9         2 u   33   64  377    0.123   -0.045   0.012
-10.0.0.3        10.0.0.9         2 u   33   64  377    0.123   -0.045   0.012
x10.0.0.4        10.0.0.9         2 u   33   64  377    0.123 1000.045   0.012
 10.0.0.5        .INIT.          16 u    -   64    0    0.000    0.000   0.000
"""
NTPD = DaemonReading(
    daemon="ntpd",
    is_synchronised=True,
    offset_us=-1_234,
    root_dispersion_us=7_001,
    root_delay_us=25_500,
    sources=3,
)


def test_what_chrony_prints() -> None:
    assert chrony_reading(TRACKING, SOURCES) == CHRONY
    assert CHRONY.error_us == 13 + 988 + 6_173


def test_chrony_that_follows_nothing() -> None:
    idle = (
        "7F7F0101,,0,0.000000000,0.000000000,0.000000000,0.000000000,0.000,0.000,0.000,"
        "1.000000000,1.000000000,0.0,Not synchronised"
    )
    reading = chrony_reading(idle, "")
    assert reading is not None
    assert (reading.is_synchronised, reading.sources) == (False, 0)


def test_what_ntpd_prints() -> None:
    assert ntpd_reading(VARIABLES, PEERS) == NTPD


@pytest.mark.parametrize("leap", ["11", "leap_alarm"])
def test_ntpd_that_follows_nothing(leap: str) -> None:
    reading = ntpd_reading(VARIABLES.replace("leap=00", f"leap={leap}"), "")
    assert reading is not None
    assert not reading.is_synchronised


@pytest.mark.parametrize(
    "said",
    [
        "",
        "506 Cannot talk to daemon",
        TRACKING.replace("-0.000012345", "nan"),
        TRACKING.replace("-0.000012345", "1e999"),
        TRACKING.replace(",Normal", ""),
        TRACKING.replace("0.000987654", "abc"),
        "\ufffd" * 14,
    ],
)
def test_what_no_chrony_says_is_no_reading(said: str) -> None:
    assert chrony_reading(said, SOURCES) is None
    assert chrony_reading(TRACKING, said) is not None, "sources may be missing"


@pytest.mark.parametrize(
    "said", ["", "ntpq: read: Connection refused", "leap=00, offset=x", VARIABLES.partition(",")[2]]
)
def test_what_no_ntpd_says_is_no_reading(said: str) -> None:
    assert ntpd_reading(said, PEERS) is None


def answers(**said: str) -> DaemonReading | None:
    """Ask where commands print what is named by their first or last word, others are missing."""

    async def run(command: Sequence[str]) -> str | None:
        return said.get(command[-1].split()[0])

    return asyncio.run(read_time_daemon(run))


def test_chrony_is_asked_first_then_ntpd() -> None:
    both = {"tracking": TRACKING, "sources": SOURCES, "rv": VARIABLES, "peers": PEERS}
    assert answers(**both) == CHRONY
    assert answers(rv=VARIABLES, peers=PEERS) == NTPD
    assert answers(**both | {"tracking": "nonsense"}) == NTPD
    assert answers() is None
    assert answers(rv="nonsense", peers=PEERS) is None
    sourceless = answers(tracking=TRACKING)
    assert sourceless is not None
    assert sourceless.sources == 0


def ran(program: str) -> str | None:
    return asyncio.run(run_briefly((sys.executable, "-c", program)))


def test_a_program_is_heard_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ran("print('42')") == "42\n"
    assert ran("print('42'); raise SystemExit(1)") is None
    assert ran(f"print('x' * {ANSWER_BYTES_MAX})") is None
    assert asyncio.run(run_briefly(("no-such-program-here",))) is None
    monkeypatch.setattr(time_daemon, "ANSWER_MS", 300)
    assert ran("import time; time.sleep(60)") is None


BESIDE_GRPC = """
import asyncio, grpc, uvloop
from node.service.time_daemon import run_briefly

async def main():
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await channel.channel_ready()
        for _ in range(5):
            print(await run_briefly(("echo", "heard")), end="")
    await server.stop(None)

uvloop.run(main())
"""


def test_a_program_is_made_without_a_fork_that_grpc_would_hold_up() -> None:
    done = subprocess.run(
        (sys.executable, "-c", BESIDE_GRPC),
        env={**os.environ, "GRPC_VERBOSITY": "INFO"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "heard\n" * 5
    assert "fork" not in done.stderr, "gRPC tells when its handlers of a fork are run"
