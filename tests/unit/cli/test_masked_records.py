"""Numbers of people in references: masked where records are listed, by the policy of the chain."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.cli.exit_codes import ExitCode
from node.client.chain import MASKING_FILE, Chain
from node.disclosure.masking import DEFAULT_POLICY
from node.errors import ConfigError
from tests.unit.cli.command import CHINESE, Ran, run
from tests.unit.cli.instant import Office
from tests.unit.cli.served import served

PHONE, MASKED = "13800138000", "138****8000"
REFERENCE = f"case of {PHONE}"


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    found = Office(tmp_path)
    with served(found.node, found.home, found.node.chain.chain_id):
        found.write("letter")
        assert found.notarize("--ref", REFERENCE).code == ExitCode.DONE
        yield found


def look(office: Office, *words: object, env: dict[str, str] | None = None) -> Ran:
    ran = run("record", *words, "--home", office.home, env=env)
    assert ran.code == 0, ran.out + ran.err
    return ran


def row_of(office: Office, *words: object) -> dict[str, Any]:
    (row,) = look(office, *words, "--json").json["records"]
    return dict(row)


def test_a_number_in_a_reference_is_masked_unless_told_otherwise(office: Office) -> None:
    letter = office.documents / "letter"
    for words in (("list",), ("show", letter), ("list", "--ref", REFERENCE)):
        row = row_of(office, *words)
        assert (row["reference"], row["masked"]) == (f"case of {MASKED}", True)
        clear = row_of(office, *words, "--clear")
        assert (clear["reference"], clear["masked"]) == (REFERENCE, False)
    told = look(office, "list")
    assert MASKED in told.out
    assert PHONE not in told.out + told.err
    assert "--clear" in told.out + told.err
    chinese = look(office, "list", env=CHINESE)
    assert "脱敏" in chinese.out + chinese.err


def test_what_is_masked_is_in_the_receipt_as_it_was_recorded(office: Office) -> None:
    (receipt,) = office.out.glob("*.receipt")
    assert PHONE.encode() in receipt.read_bytes()


def test_a_policy_of_the_chain_or_of_the_moment_says_how_much(
    office: Office, tmp_path: Path
) -> None:
    policy = office.home / MASKING_FILE
    policy.write_text('[fields]\nreference = "hide"\n')
    assert row_of(office, "list")["reference"] == "********"
    shown = tmp_path / "shown.toml"
    shown.write_text('[numbers]\nmobile = "show"\n')
    assert row_of(office, "list", "--masking", shown)["reference"] == REFERENCE
    policy.write_text('[fields]\nreference = "perhaps"\n')
    refused = run("record", "list", "--home", office.home, "--json")
    assert refused.code == ExitCode.USAGE
    assert MASKING_FILE in refused.json["error"]["message"]
    assert "fields.reference" in refused.json["error"]["message"]


def test_the_policy_of_a_chain_is_the_default_one_or_the_file_beside_its_profile(
    tmp_path: Path,
) -> None:
    home = tmp_path / "net"
    assert run("testnet", "init", "--home", home).code == 0
    assert Chain.load(home / "profile.toml").masking is DEFAULT_POLICY
    (home / MASKING_FILE).write_text('otherwise = "hide"\n')
    assert Chain.load(home / "profile.toml").masking.mask_reference("A-1") == "********"
    assert Chain.load(home / "profile.toml").masking.mask_reference(None) is None
    (home / MASKING_FILE).write_text("otherwise = 1\n")
    with pytest.raises(ConfigError, match=MASKING_FILE):
        _ = Chain.load(home / "profile.toml").masking
