"""The simulated disk itself: what it does to a log must be what the oracles take it to be."""

from __future__ import annotations

from random import Random

import pytest

from node.errors import DecodeError, StorageError
from tests.simulation.disk import SimulatedLog

IDENTITY = bytes(32)


@pytest.mark.parametrize("seed", range(200))
def test_rot_strikes_where_no_power_loss_explains_it_whatever_is_torn_behind(seed: int) -> None:
    """Else a validator may take it for a torn end, rightly, and oracle R objects to nothing."""
    random = Random(seed)
    log = SimulatedLog(IDENTITY)
    log.append([(1, random.randbytes(40)) for _ in range(3)])
    log.synced(log.last_lsn)
    log.append([(1, random.randbytes(40)) for _ in range(2)])
    log.crash(random, power_loss=True)
    assert log.rot(random)
    with pytest.raises((StorageError, DecodeError)):
        log.open()


def test_a_log_of_one_record_is_left_alone() -> None:
    log = SimulatedLog(IDENTITY)
    log.append([(1, b"only")])
    log.synced(log.last_lsn)
    assert not log.rot(Random(0))
    assert len(log.open()) == 1
