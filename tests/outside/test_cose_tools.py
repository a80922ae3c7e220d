"""COSE Receipts under pycose and cwt, which know nothing of us: the golden file and broken ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from node.timestamp.cose import CoseReceipt, root_sign_bytes
from tests.outside.environments import run_with
from tests.unit.timestamp.independent_verifier import path_root
from tests.vectors.receipt.chain import signer
from tests.vectors.receipt.story import build_chain

GOLDEN = Path(__file__).parents[1] / "vectors" / "receipt" / "document.txt.cose"
TOOLS = ("pycose", "cwt")


def root_of(data: bytes) -> bytes:
    """Return the root that a COSE Receipt with a carried receipt proves, by RFC 9162."""
    _, unprotected, _, _ = cbor2.loads(data).value
    size, index, path = cbor2.loads(unprotected[396][-1][0])
    (carried,) = [value for label, value in unprotected.items() if label < -65_536]
    return path_root(cbor2.loads(carried)[3], index, size, path)


def coordinates(name: str) -> bytes:
    """Return x and y of a validator's vote key."""
    encoded = signer(name).public_key.encoded
    numbers = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), encoded).public_numbers()
    return numbers.x.to_bytes(32) + numbers.y.to_bytes(32)


def verdict(tool: str, path: Path, root: bytes, key: bytes) -> str:
    """Return what the tool objects to; nothing where it accepts."""
    done = run_with(tool, path, root.hex(), key.hex())
    assert done.returncode == 0, done.stderr
    said = done.stdout.strip()
    assert said == "accepted" or said.startswith("refused"), said
    return said.removeprefix("accepted")


@pytest.mark.parametrize("golden", [GOLDEN, GOLDEN.with_name("document.txt.stamped.cose")])
@pytest.mark.parametrize("tool", TOOLS)
def test_the_golden_file_is_accepted(tool: str, golden: Path) -> None:
    root = root_of(golden.read_bytes())
    assert root == build_chain().blocks[1].header.log_roots[0]
    assert verdict(tool, golden, root, coordinates("validator-2")) == ""


@pytest.mark.parametrize("tool", TOOLS)
def test_another_root_key_or_signature_is_refused(tool: str, tmp_path: Path) -> None:
    data, key = GOLDEN.read_bytes(), coordinates("validator-2")
    root, good = root_of(data), CoseReceipt.decode(data)
    assert verdict(tool, GOLDEN, bytes(32), key)
    assert verdict(tool, GOLDEN, root, coordinates("validator-1"))
    other_chain = signer("validator-2").sign(
        root_sign_bytes(bytes(32), signer("validator-2").public_key.encoded, root)
    )
    for changed in (
        replace(good, signature=good.signature[::-1]),
        replace(good, signature=other_chain),
        replace(good, protected=good.protected[:-1] + b"\x02"),
    ):
        path = tmp_path / "changed.cose"
        path.write_bytes(changed.encode())
        assert verdict(tool, path, root, key)


@pytest.mark.parametrize("tool", TOOLS)
def test_what_carries_no_chain_proof_is_still_a_cose_receipt(tool: str, tmp_path: Path) -> None:
    data = GOLDEN.read_bytes()
    bare = tmp_path / "bare.cose"
    bare.write_bytes(replace(CoseReceipt.decode(data), carried=None).encode())
    assert verdict(tool, bare, root_of(data), coordinates("validator-2")) == ""
