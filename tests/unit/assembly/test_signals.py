"""A process told to stop stops, also between one ledger and the next, when no loop runs."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

SERVE = """
import asyncio, os, signal, uvloop
from node.assembly.signals import hearing_signals

async def serve(number=None):
    told = asyncio.Event()
    with hearing_signals(told.set):
        if number is not None:
            os.kill(os.getpid(), number)
            await asyncio.wait_for(told.wait(), 10)

"""
BETWEEN = """
with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
    loop.run(serve())
    os.kill(os.getpid(), signal.SIGTERM)  # while the next ledger is opened, say
    loop.run(serve())
    print("goes on")
"""
AFTERWARDS = """
with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
    loop.run(serve(signal.{first}))
    os.kill(os.getpid(), signal.{second})  # an impatient operator, while the log is synced
    print("ended in order")
"""


def run(program: str) -> tuple[int, str, str]:
    ended = subprocess.run(
        [sys.executable, "-c", SERVE + program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stdout, ended.stderr


def test_between_two_ledgers_a_signal_ends_the_process() -> None:
    code, said, errors = run(BETWEEN)
    assert (code, said) == (-signal.SIGTERM, ""), errors


@pytest.mark.parametrize(("first", "second"), [("SIGTERM", "SIGINT"), ("SIGINT", "SIGTERM")])
def test_who_was_told_to_stop_ends_in_order(first: str, second: str) -> None:
    code, said, errors = run(AFTERWARDS.format(first=first, second=second))
    assert (code, said) == (0, "ended in order\n"), errors
