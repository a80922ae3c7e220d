"""That for all the oracles can say there is a planted mistake at which they say it.

The mistakes are in test_oracles.py and in those that tell of them, test_oracles_told.py,
test_guard_told.py, test_timely_told.py, test_heard_told.py and test_disk_told.py, and are tried
there.
"""

from __future__ import annotations

import pytest

from tests.simulation import (
    test_disk_told,
    test_guard_told,
    test_heard_told,
    test_oracles,
    test_oracles_told,
    test_timely_told,
)
from tests.simulation.test_rules import SAYS

PLANTED = (
    *test_oracles.CASES,
    *test_oracles_told.CASES,
    *test_guard_told.CASES,
    *test_heard_told.CASES,
    *test_timely_told.CASES,
    *test_disk_told.CASES,
)


@pytest.mark.parametrize("says", SAYS)
def test_a_mistake_is_planted_for_all_that_a_rule_says(says: str) -> None:
    assert [case.name for case in PLANTED if case.says == says], f"nothing makes it say {says!r}"


def test_nothing_is_planted_for_what_no_rule_says() -> None:
    assert not {case.says for case in PLANTED} - {*SAYS}
