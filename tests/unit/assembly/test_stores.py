"""What is prepared before a ledger is opened."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from node.assembly import stores
from node.chain import state_columns
from node.cli.network import read_genesis
from node.config import NodeConfig
from node.crypto import hashing
from node.crypto.hashing import HashMany, NewHash
from node.operations.topology import GENESIS_FILE
from tests.suites import SUITE
from tests.unit.cli.command import run


@pytest.mark.parametrize(
    "case",
    [
        ("hashlib", True, [], []),
        ("kernels", True, [SUITE.new_hash], []),
        ("kernels", False, [], ["no-hash-kernels"]),
        ("auto", True, [SUITE.new_hash], []),
        ("auto", False, [], []),
    ],
)
def test_kernels_are_loaded_where_they_are_configured(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    case: tuple[str, bool, list[NewHash], list[str]],
) -> None:
    configured, is_installed, loaded, warnings = case
    kernels: dict[NewHash, HashMany] = {}
    monkeypatch.setattr(hashing, "_kernels", kernels)
    monkeypatch.setattr(hashing, "_node_kernels", {})
    columns: dict[NewHash, object] = {}
    monkeypatch.setattr(state_columns, "_prepared", columns)
    if not is_installed:
        monkeypatch.setattr(state_columns, "load_kernel", lambda _: False)
    assert run("testnet", "init", "--home", tmp_path / "network", "-n", 1, "--json").code == 0
    home = tmp_path / "network" / "nodes" / "validator-1"
    config = replace(NodeConfig.load(home), hashing=configured)
    with (
        capture_logs() as logged,
        stores.open_stores(config, read_genesis(home / GENESIS_FILE)) as opened,
    ):
        assert opened.ledger.tip_height == 0
    assert list(kernels) == list(columns) == loaded
    assert [each["event"] for each in logged if each["log_level"] == "warning"] == warnings
