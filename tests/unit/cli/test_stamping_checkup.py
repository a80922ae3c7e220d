"""`doctor` on time-stamping: a certificate that ends is told in time, one that is missing too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from node.cli.checkup import Level
from node.cli.network import read_genesis
from node.cli.stamping_checkup import (
    check_stamping_identities,
    check_time_stamping,
    check_token_roots,
)
from node.crypto.suite import INTERNATIONAL
from node.operations.provision import NetworkPlan, provision
from node.operations.topology import GENESIS_FILE, PORTS_PER_NODE
from tests.unit.cli.test_stall import heard

DAY_MS = 86_400_000
CREATED_MS = 1_700_000_000_000


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stamping") / "net"
    plan = NetworkPlan(
        name="trial",
        suite=INTERNATIONAL,
        created_ms=CREATED_MS,
        node_count=2,
        ports=range(20_000, 20_000 + 2 * PORTS_PER_NODE),
    )
    provision(folder, plan)
    return folder


@pytest.mark.parametrize(
    ("days", "levels"),
    [
        (0, [Level.OK]),
        (1_825 - 91, [Level.OK]),
        (1_825 - 80, [Level.WARNING, Level.WARNING]),
        (1_826, [Level.PROBLEM, Level.PROBLEM]),
    ],
)
def test_it_is_told_in_time(home: Path, days: int, levels: list[Level]) -> None:
    findings = [*check_time_stamping(home, CREATED_MS + days * DAY_MS)]
    assert [each.level for each in findings] == levels
    assert {each.check for each in findings} == {"time-stamping"}
    assert all(each.fix for each in findings if each.level is not Level.OK)


def test_a_node_without_one_or_with_a_wrong_one_is_named(home: Path, tmp_path: Path) -> None:
    for name, content, level in (
        ("a", None, Level.UNKNOWN),
        ("b", b"no certificate", Level.PROBLEM),
        ("c", (home / "nodes/validator-1/tls.pem").read_bytes(), Level.PROBLEM),
    ):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "node.toml").touch()
        if content is not None:
            (folder / "tsa.pem").write_bytes(content)
        (finding,) = check_time_stamping(folder, CREATED_MS)
        assert finding.level is level
        assert "tsa.pem" in finding.detail


def test_the_newest_of_several_counts(home: Path, tmp_path: Path) -> None:
    (tmp_path / "node.toml").touch()
    old = (home / "nodes/validator-1/tsa.pem").read_bytes()
    later = home.with_name("later")
    plan = NetworkPlan(
        name="later",
        suite=INTERNATIONAL,
        created_ms=CREATED_MS + 1_000 * DAY_MS,
        node_count=1,
        ports=range(20_000, 20_000 + PORTS_PER_NODE),
    )
    provision(later, plan)
    new = (later / "nodes/validator-1/tsa.pem").read_bytes()
    (tmp_path / "tsa.pem").write_bytes(old + new)
    (finding,) = check_time_stamping(tmp_path, CREATED_MS + 1_826 * DAY_MS)
    assert finding.level is Level.OK


def test_a_node_whose_tokens_no_trust_file_leads_to_is_named(home: Path, tmp_path: Path) -> None:
    """As that of an organisation that joined later: its authority is not in the genesis."""
    genesis = read_genesis(home / GENESIS_FILE)
    assert [*check_token_roots(home, genesis)] == []
    other = tmp_path / "other"
    plan = NetworkPlan(
        name="other",
        suite=INTERNATIONAL,
        created_ms=CREATED_MS,
        node_count=1,
        ports=range(20_000, 20_000 + PORTS_PER_NODE),
    )
    provision(other, plan)
    (found,) = check_token_roots(other, genesis)
    assert (found.check, found.level) == ("time-stamping", Level.WARNING)
    assert "validator-1/tsa.pem: by an authority that is not in the genesis" in found.detail
    assert found.fix
    (other / "nodes/validator-1/tsa.pem").write_bytes(b"no certificate")
    assert [*check_token_roots(other, genesis)] == []


@pytest.mark.parametrize(
    ("ends_in_ms", "level", "told"),
    [
        (30 * DAY_MS, Level.OK, "may record requests until 20"),
        (30 * DAY_MS - 1, Level.WARNING, "in 29 days; then"),
        (7 * DAY_MS, Level.WARNING, "in 7 days; then"),
        (7 * DAY_MS - 1, Level.WARNING, "within a week; then"),
        (DAY_MS, Level.WARNING, "within a week; then"),
        (DAY_MS - 1, Level.PROBLEM, "within a day; then"),
        (1, Level.PROBLEM, "within a day; then"),
        (0, Level.PROBLEM, "requests for time stamps are refused"),
        (-CREATED_MS, Level.WARNING, "the chain does not know org-1-tsa"),
    ],
)
def test_an_identity_that_ends_is_told_in_time_with_what_to_do(
    ends_in_ms: int, level: Level, told: str
) -> None:
    said = replace(
        heard("validator-1").diagnosis,
        stamping_identity="org-1-tsa",
        stamping_identity_ends_ms=CREATED_MS + ends_in_ms,
    )
    none = replace(said, stamping_identity="")
    (found,) = check_stamping_identities({"a": said, "b": none}, Path("/net"), CREATED_MS)
    assert (found.check, found.level) == ("time-stamping identity", level)
    assert told in found.detail
    assert ("govchain node stamping a --home /net" in found.fix) is (level is not Level.OK)
