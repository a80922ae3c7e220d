"""`govchain parameters show|set`: listed with bounds, refused early, proposed as other changes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import cast

import pytest

from node.chain.genesis import Genesis, Parameters
from node.cli.exit_codes import ExitCode
from node.cli.network import Network
from node.cli.parameters import BOUNDS
from node.cli.parameters_in_force import read_parameters
from node.cli.proposal import Proposal
from node.cli.verb import CommandError
from node.errors import DecodeError
from node.rpc.client import HeardDiagnosis, NetworkUnavailable
from tests.unit.cli.command import CHINESE, run
from tests.unit.cli.served import served
from tests.unit.rpc.fake_node import FakeLedger, FakeNode
from tests.vectors.receipt.story import build_chain


class _Founder(FakeNode):
    async def handovers(self, from_epoch: int, limit: int) -> list[bytes]:
        del from_epoch, limit
        return []


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the folder of a network of one validator that answers."""
    home = tmp_path_factory.mktemp("parameters") / "network"
    assert run("testnet", "init", "--home", home, "-n", 1).code == 0
    genesis = Genesis.decode((home / "genesis.cbor").read_bytes())
    with served(_Founder("validator-1", FakeLedger()), home, genesis.chain_id):
        yield home


class _Answers:
    """Stands for a network of four, one of them faulty: what each says, or that it is silent."""

    def __init__(self, said: Sequence[tuple[int, Parameters] | None]) -> None:
        genesis = build_chain().genesis
        self.validators = replace(genesis.validators, epoch=1)
        self._said = said

    def ask(self, _question: object) -> dict[str, HeardDiagnosis | NetworkUnavailable]:
        found: dict[str, HeardDiagnosis | NetworkUnavailable] = {}
        for each, said in zip(self.validators.validators, self._said, strict=True):
            name = each.validator_id
            if said is None:
                found[name] = NetworkUnavailable("silent")
                continue
            diagnosis = asyncio.run(FakeNode(name, FakeLedger()).diagnosis())
            epoch, parameters = said
            changed = replace(diagnosis, epoch=epoch, parameters=parameters)
            found[name] = HeardDiagnosis(changed, asked_ms=0, answered_ms=1)
        return found


ONE, TWO, THREE = (Parameters(precision_ms=value) for value in (90, 80, 70))


def test_parameters_are_those_that_f_plus_1_say() -> None:
    said = _Answers([(1, TWO), (1, ONE), None, (1, ONE)])
    assert read_parameters(cast("Network", said)) == ONE


@pytest.mark.parametrize(
    ("said", "code", "told"),
    [
        ([(1, ONE), (1, TWO), (1, THREE), None], "GC-2211", "validator-2: epoch 1, precision_ms 8"),
        ([(0, ONE), (0, ONE), (2, ONE), (1, ONE)], "GC-2211", "of epoch 1; validator-1: epoch 0; "),
        ([(1, ONE), None, None, None], "GC-2205", "2 validators have to say the same"),
    ],
    ids=["split", "amid a change of epoch", "silent"],
)
def test_validators_that_differ_are_told_from_silent_ones(
    said: Sequence[tuple[int, Parameters] | None], code: str, told: str
) -> None:
    with pytest.raises(CommandError) as refused:
        read_parameters(cast("Network", _Answers(said)))
    assert (refused.value.code, refused.value.fault.exit_code) == (code, ExitCode.UNAVAILABLE)
    assert told in str(refused.value)
    assert ("ask again" in refused.value.fault.fix) == (code == "GC-2211")


def test_the_bounds_told_are_those_of_the_chain() -> None:
    assert [*BOUNDS] == [each.name for each in fields(Parameters)]
    for place, (name, bounds) in enumerate(BOUNDS.items(), start=1):
        for value, is_within in (
            (bounds.least - 1, False),
            (bounds.least, True),
            (bounds.most, True),
            (bounds.most + 1, False),
        ):
            items = Parameters().to_value()
            items[place] = value
            assert _is_by_itself_accepted(items, name) is is_within, (name, value)


def _is_by_itself_accepted(items: list[int], name: str) -> bool:
    """Say whether a parameter is refused for no bound of its own."""
    try:
        Parameters.from_value(items)
    except DecodeError as error:
        told = str(error)
        by_others = ("at least message_delay_ms", "exceeds view_", "is below ")
        return name not in told or any(each in told for each in by_others)
    return True


def test_each_parameter_is_listed_with_bounds_and_unit(home: Path) -> None:
    ran = run("parameters", "show", "--home", home, "--json")
    assert ran.code == 0
    assert [*ran.json["parameters"]] == [*BOUNDS]
    assert ran.json["parameters"]["block_bytes_max"] == {
        "value": 1_048_576,
        "least": 1_024,
        "most": 4_194_304,
        "unit": "bytes",
    }
    told = run("parameters", "show", "--home", home, env=CHINESE)
    assert "clock_error_ms" in told.out
    assert "毫秒" in told.out


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ((), "NAME=VALUE"),
        (("clock_eror_ms=40",), "no parameter"),
        (("clock_error_ms",), "whole number from 0 to 86400000 (ms)"),
        (("clock_error_ms=-1",), "whole number"),
        (("window_slots=5",), "from 1 to 4 (slots)"),
        (("window_slots=" + "9" * 5_000,), "from 1 to 4 (slots)"),
        (("clock_error_ms=40", "clock_error_ms=41"), "given twice"),
        (("clock_error_ms=50",), "nothing would change"),
        (("clock_error_ms=900",), "accuracy_ms: expected at least"),
    ],
)
def test_what_the_chain_would_refuse_is_wrong_usage(
    home: Path, tmp_path: Path, changes: tuple[str, ...], told: str
) -> None:
    step = tmp_path / "step.json"
    ran = run("parameters", "set", *changes, "--home", home, "--propose", step, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (2, "GC-2303")
    assert told in ran.json["error"]["message"]
    assert not step.exists()


def test_a_change_is_proposed_and_approved_as_others_are(home: Path, tmp_path: Path) -> None:
    step = tmp_path / "step.json"
    change = ("parameters", "set", "--home", home)
    proposed = run(*change, "clock_error_ms=40", "precision_ms=90", "--propose", step)
    assert (proposed.code, proposed.err) == (0, "")
    assert "clock_error_ms: 50 now, 40 then" in proposed.out
    (operation,) = Proposal.decode(step.read_bytes()).governance.operations
    assert getattr(operation, "parameters", None) == Parameters(clock_error_ms=40, precision_ms=90)
    approved = run(*change, "--approve", step, "--as", "admin-1", "--yes", "--json")
    assert (approved.code, approved.json["approved_by"]) == (0, ["admin-1"])
    assert json.loads(step.read_bytes())["operations"][0]["parameters"]["clock_error_ms"] == 40
