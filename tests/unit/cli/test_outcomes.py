"""That every result a transaction can have is told, each as itself."""

from __future__ import annotations

import pytest

from node.chain.block import ResultCode
from node.cli.outcomes import explain

FAILURES = [code for code in ResultCode if code is not ResultCode.OK]


@pytest.mark.parametrize("code", FAILURES)
def test_every_failure_is_told_with_its_cause_and_what_helps(code: ResultCode) -> None:
    cause, fix = explain(code)
    assert cause != code.name
    assert fix


def test_no_two_failures_are_told_alike() -> None:
    causes = [explain(code)[0] for code in FAILURES]
    assert len({*causes}) == len(causes)


def test_numbers_of_results_leave_no_hole_that_another_could_take() -> None:
    assert [code.value for code in ResultCode] == [*range(len(ResultCode))]
