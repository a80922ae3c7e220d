"""What holds for every test: what the machine must not decide, and what one suite cannot run."""

from __future__ import annotations

import gc
import signal
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, settings

from node.crypto.suite import NATIONAL
from tests.suites import SUITE, unable_on_national

# A shell that runs commands in the background has them ignore Ctrl-C, and so all that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What is imported and collected stays to the end: to look through it for garbage, again and again,
# takes a sixth of the start.
gc.disable()

# How long an example may take, and to draw one, is for the machine, which others use too.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Leave out, where chains are national, what is named with its reason in `national.toml`."""
    unable = unable_on_national() if SUITE is NATIONAL else {}
    for item in items:
        file, _, _ = item.nodeid.partition("::")
        why = unable.get(item.nodeid.partition("[")[0]) or unable.get(file)
        if why is not None:
            item.add_marker(pytest.mark.skip(reason=f"not on the national suite: {why}"))


def pytest_collection_finish() -> None:
    """Look for garbage from here on, in what tests make."""
    gc.freeze()
    gc.enable()
