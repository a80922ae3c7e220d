"""How the process is told to stop, while there is somebody to tell."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

TOLD_TO_STOP: Final = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def hearing_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Have `stop` called on the running event loop at each SIGTERM and SIGINT, while within.

    Afterwards they end the process at once, as before the start: between one ledger and the next
    the loop does not run, a handler left behind would swallow them, and nothing of what is on disk
    needs more than the next start. Who was told to stop already is left to end in order.
    """
    loop, is_told = asyncio.get_running_loop(), False

    def heard() -> None:
        nonlocal is_told
        is_told = True
        stop()

    for number in TOLD_TO_STOP:
        loop.add_signal_handler(number, heard)
    try:
        yield
    finally:
        for number in TOLD_TO_STOP:
            loop.remove_signal_handler(number)
            if is_told:
                signal.signal(number, signal.SIG_IGN)
