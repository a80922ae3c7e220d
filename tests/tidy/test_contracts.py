"""The import contracts of pyproject.toml can fail: each is broken once, in a tree made for that."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")

LAYERS = "Dependencies point one way"
PURITY = "The pure rooms do no IO, read no clock and draw no randomness, not even indirectly"
CORE = "The consensus core knows the standard library, node.chain and node.crypto"
PROFILE = "Certificates on the chain are judged by the profile alone, by no library for X.509"
TRANSPORT = "Generated transport code stays behind node.rpc"
ENGINE = "Only the composition root picks the engine of the store"
BINDING = "Only the engines import their bindings"
KERNELS = "Only kernels import what compiles them, and what marks images numpy"

# Per violation: the modules to write, as path and text, and every contract that breaks.
VIOLATIONS: list[tuple[dict[str, str], set[str]]] = [
    ({"node/execution/apply.py": "import node.timestamp"}, {LAYERS}),
    ({"node/rpc/server.py": "import node.service"}, {LAYERS}),
    ({"node/storage/blocks.py": "import node.assembly"}, {LAYERS}),
    ({"node/service/driver.py": "import node.config"}, {LAYERS}),
    ({"node/operations/process.py": "import node.assembly"}, {LAYERS}),
    ({"node/helpers/__init__.py": ""}, {LAYERS}),
    ({"node/chain/block.py": "import time"}, {PURITY}),
    (
        {
            "node/timestamp/verify.py": "from node.crypto import suite",
            "node/crypto/suite.py": "import node.crypto.keystore",
            "node/crypto/keystore.py": "import os.path",
        },
        {PURITY},
    ),
    ({"node/consensus/ordering.py": "import cbor2"}, {CORE}),
    ({"node/execution/identity.py": "import node.crypto.certificate"}, {PROFILE}),
    ({"node/crypto/certificate_fields.py": "import node.crypto.sm2_certificate"}, {PROFILE}),
    ({"node/cli/verify.py": "import node.rpc.pb.peer_pb2"}, {TRANSPORT}),
    ({"node/service/driver.py": "import node.storage.leveldb"}, {ENGINE}),
    ({"node/service/driver.py": "import node.storage.rocksdb"}, {ENGINE}),
    ({"node/storage/blocks.py": "import plyvel"}, {BINDING}),
    ({"node/storage/blocks.py": "import rocksdict"}, {BINDING}),
    ({"node/crypto/hashing.py": "import numba"}, {KERNELS}),
    ({"node/crypto/hashing.py": "import numpy"}, {KERNELS}),
    ({"node/cli/watermark/image.py": "import numba\nimport numpy"}, {KERNELS}),
]


def contract_names() -> list[str]:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    return [contract["name"] for contract in config["contracts"]]


def make_tree(root: Path) -> None:
    """Make a tree with every room named by the layers, and each import that is innocent."""
    text = (ROOT / "pyproject.toml").read_text()
    (root / "pyproject.toml").write_text(text)
    layers = tomllib.loads(text)["tool"]["importlinter"]["contracts"][0]["layers"]
    rooms = [room for layer in layers for room in re.findall(r"\w+", layer)]
    for package in ("node", *(f"node/{room}" for room in rooms), "node/rpc/pb"):
        (root / package).mkdir(exist_ok=True)
        (root / package / "__init__.py").touch()
    (root / "node/rpc/pb/peer_pb2.py").touch()
    for judge in ("profile", "fields", "extensions", "algorithms"):
        (root / f"node/crypto/certificate_{judge}.py").touch()
    for reader in ("authority", "certificate", "revocation", "sm2_certificate"):
        (root / f"node/crypto/{reader}.py").touch()
    (root / "node/rpc/server.py").write_text("import node.rpc.pb.peer_pb2\n")
    (root / "node/storage/leveldb.py").write_text("import plyvel\n")
    (root / "node/storage/rocksdb.py").write_text("import rocksdict\n")
    for kernels in ("crypto/hashing", "chain/state"):
        (root / f"node/{kernels}_kernels.py").write_text("import numba\nimport numpy\n")
    (root / "node/cli/watermark").mkdir()
    (root / "node/cli/watermark/__init__.py").touch()
    (root / "node/cli/watermark/image.py").write_text("import numpy\n")
    (root / "node/assembly/__init__.py").write_text(
        "import node.storage.leveldb\nimport node.storage.rocksdb\n"
    )


def broken_contracts(root: Path) -> set[str]:
    """Return the names of the contracts that the tree under `root` breaks."""
    report = subprocess.run(
        [str(LINT_IMPORTS), "--no-cache"],
        cwd=root,
        env={"PYTHONPATH": str(root), "NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    broken = {name for name in contract_names() if f"{name} BROKEN" in report.stdout}
    kept = {name for name in contract_names() if f"{name} KEPT" in report.stdout}
    assert broken | kept == set(contract_names()), report.stdout + report.stderr
    return broken


def test_an_orderly_tree_keeps_every_contract(tmp_path: Path) -> None:
    make_tree(tmp_path)
    assert broken_contracts(tmp_path) == set()


@pytest.mark.parametrize(("modules", "contracts"), VIOLATIONS)
def test_a_violation_breaks_its_contract(
    tmp_path: Path, modules: dict[str, str], contracts: set[str]
) -> None:
    make_tree(tmp_path)
    for module, imports in modules.items():
        (tmp_path / module).parent.mkdir(exist_ok=True)
        (tmp_path / module).write_text(f"{imports}\n")
    assert broken_contracts(tmp_path) == contracts


def test_every_contract_has_been_broken() -> None:
    assert set.union(*(contracts for _, contracts in VIOLATIONS)) == set(contract_names())
