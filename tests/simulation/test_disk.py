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


@pytest.mark.parametrize("crashes_after_sync", [False, True])
def test_a_rotation_leaves_the_log_as_it_was_or_as_it_becomes_with_what_follows(
    crashes_after_sync: bool,  # noqa: FBT001 - a case
) -> None:
    log = SimulatedLog(IDENTITY)
    log.append([(1, b"first")])
    log.synced(log.last_lsn)
    log.append([(1, b"second")])
    log.begin_rotation([(1, b"both")])
    lsn = log.last_lsn
    log.append([(1, b"third")])
    if crashes_after_sync:
        assert log.synced(lsn) == []
    log.crash(Random(0), power_loss=False)
    found = [record.payload for record in log.open()]
    assert found == ([b"both", b"third"] if crashes_after_sync else [b"first", b"second", b"third"])
