"""The verifier written from proto/RECEIPT.md alone and ours: the same verdict, at the same step.

If the page lacked a rule, or the code had one more, the two would disagree on a case.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import json
from pathlib import Path

import pytest

from node.timestamp.trust import load_trust
from node.timestamp.verify import NamedDigest, verify_receipt
from tests.unit.timestamp import independent_verifier
from tests.unit.timestamp.independent_proofs import refreshed_attested, verify_refreshed
from tests.unit.timestamp.independent_verifier import RefusedError, Trust, attested, verify

VECTORS = Path(__file__).parents[2] / "vectors" / "receipt"
CASES = sorted((VECTORS / "cases").glob("*.json"))
REFRESHED_CASES = sorted((VECTORS / "refreshed-cases").glob("*.json"))
TRUST_CASES = sorted((VECTORS / "trust-cases").glob("*.json"))


def trust_file(name: str) -> bytes:
    return (VECTORS / "trust" / name).read_bytes()


def test_it_imports_nothing_of_this_product() -> None:
    tree = ast.parse(Path(independent_verifier.__file__).read_text())
    imported = [
        alias.name
        for found in ast.walk(tree)
        if isinstance(found, ast.Import)
        for alias in found.names
    ]
    imported += [
        found.module or "" for found in ast.walk(tree) if isinstance(found, ast.ImportFrom)
    ]
    assert imported
    assert not [name for name in imported if name.split(".")[0] in {"node", "tests"}]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_it_gives_every_vector_its_stated_verdict(path: Path) -> None:
    case = json.loads(path.read_text(encoding="utf-8"))
    receipt, trust = base64.b64decode(case["receipt"]), Trust(trust_file(case["trust"]))
    verdict = verify(receipt, case["digest"], trust)
    assert verdict == (case["outcome"], case["step"])
    if verdict == ("verified", None):
        assert attested(receipt, trust) == case["attested"]
    outcome, _ = verify(receipt, case["digest"], trust, bls=False)
    assert outcome == case.get("without_bls", case["outcome"])


@pytest.mark.parametrize("path", REFRESHED_CASES, ids=lambda path: path.stem)
def test_it_gives_every_refreshed_receipt_its_stated_verdict(path: Path) -> None:
    case = json.loads(path.read_text(encoding="utf-8"))
    data, trust = base64.b64decode(case["receipt"]), Trust(trust_file(case["trust"]))
    is_refreshed = path.stem != "6-forged-alone"
    verdict = (verify_refreshed if is_refreshed else verify)(data, case["digest"], trust)
    assert verdict == (case["outcome"], case["step"])
    if verdict == ("verified", None):
        assert refreshed_attested(data, trust) == case["attested"]


@pytest.mark.parametrize("path", TRUST_CASES, ids=lambda path: path.stem)
def test_it_refuses_every_unusable_trust_file_by_the_stated_rule(path: Path) -> None:
    case = json.loads(path.read_text(encoding="utf-8"))
    text = base64.b64decode(case["trust"])
    if case["outcome"] == "usable":
        Trust(text)
        return
    with pytest.raises(RefusedError) as caught:
        Trust(text)
    assert str(caught.value) == case["rule"]


def test_it_verifies_the_plain_files() -> None:
    document = hashlib.sha256((VECTORS / "document.txt").read_bytes()).hexdigest()
    receipt = (VECTORS / "document.txt.receipt").read_bytes()
    trust = Trust(trust_file("genesis.json"))
    assert verify(receipt, f"sha-256:{document}", trust) == ("verified", None)


@pytest.mark.parametrize(
    ("name", "pace"),
    [("good-all-signed", 1), ("good-epoch-2-pinned", 3), ("good-public", 3)],  # long, much alike
)
def test_both_refuse_flipped_bytes_at_the_same_step(name: str, pace: int) -> None:
    case = json.loads((VECTORS / "cases" / f"{name}.json").read_text(encoding="utf-8"))
    data, text = base64.b64decode(case["receipt"]), trust_file(case["trust"])
    trust, anchor, document = Trust(text), load_trust(text), NamedDigest.parse(case["digest"])
    for position in range(0, len(data), pace):
        flipped = bytearray(data)
        flipped[position] ^= 1 << position % 8
        ours = verify_receipt(bytes(flipped), anchor, document)
        failed = ours.failure
        assert failed is not None
        theirs = verify(bytes(flipped), case["digest"], trust)
        assert theirs == (ours.outcome.value, failed.step), (position, failed.detail)
