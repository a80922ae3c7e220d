"""Validators that change under load: a few seeds of the governed simulation, and that it judges."""

from __future__ import annotations

import pytest

from node.chain.block import ResultCode
from node.chain.epoch import Epoch
from node.chain.membership import ValidatorSet
from node.execution import governance
from tests.simulation.governed import run_governed

SEEDS = range(6)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_is_clean_and_has_changes(seed: int) -> None:
    violation, run = run_governed(seed)
    assert violation == ""
    assert run.account.epoch >= 1
    assert run.oracles.codes[ResultCode.OK] >= run.account.epoch  # some change nothing


def test_a_seed_is_one_run() -> None:
    first, second = (run_governed(11)[1].world.trace_digest for _ in range(2))
    assert first == second != run_governed(12)[1].world.trace_digest


def test_a_set_that_the_operations_do_not_give_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = governance._Draft.finish  # noqa: SLF001 - the mistake to plant

    def forgetful(draft: governance._Draft, first_height: int) -> Epoch:
        draft.members.reverse()
        return sound(draft, first_height)

    monkeypatch.setattr(governance._Draft, "finish", forgetful)  # noqa: SLF001
    violation, _ = run_governed(0)
    assert violation.startswith("E1: ")


def test_a_quorum_that_is_none_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ValidatorSet, "quorum", property(lambda self: self.size // 2))
    assert any(run_governed(seed)[0].startswith(("A1: ", "A2: ", "A3: ", "G2: ")) for seed in SEEDS)
