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
    leaf = cbor2.loads(unprotected[-6_778_742])[3]
    return path_root(leaf, index, size, path)


def coordinates(name: str) -> bytes:
    """Return x and y of a validator's vote key."""
    encoded = signer(name).public_key.encoded
    numbers = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), encoded).public_numbers()
    return numbers.x.to_bytes(32) + numbers.y.to_bytes(32)


def verdicts(tool: str, *cases: tuple[Path, bytes, bytes]) -> list[bool]:
    """Tell of each file, with a root and a key, whether the tool accepts it."""
    arguments = [each for path, root, key in cases for each in (path, root.hex(), key.hex())]
    done = run_with(tool, *arguments)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert len(said) == len(cases)
    assert all(each == "accepted" or each.startswith("refused: ") for each in said)
    return [each == "accepted" for each in said]


@pytest.mark.parametrize("tool", TOOLS)
def test_the_golden_files_are_accepted(tool: str, tmp_path: Path) -> None:
    key, root = coordinates("validator-2"), root_of(GOLDEN.read_bytes())
    stamped = GOLDEN.with_name("document.txt.stamped.cose")
    bare = tmp_path / "bare.cose"
    bare.write_bytes(replace(CoseReceipt.decode(GOLDEN.read_bytes()), carried=None).encode())
    refreshed = GOLDEN.with_name("document.txt.refreshed.cose")
    assert root == root_of(stamped.read_bytes()) == build_chain().blocks[1].header.log_roots[0]
    assert root == root_of(refreshed.read_bytes())
    cases = [(path, root, key) for path in (GOLDEN, stamped, refreshed, bare)]
    assert verdicts(tool, *cases) == [True] * 4


@pytest.mark.parametrize("tool", TOOLS)
def test_another_root_key_or_signature_is_refused(tool: str, tmp_path: Path) -> None:
    data, key = GOLDEN.read_bytes(), coordinates("validator-2")
    root, good = root_of(data), CoseReceipt.decode(data)
    other_chain = signer("validator-2").sign(
        root_sign_bytes(bytes(32), signer("validator-2").public_key.encoded, root)
    )
    cases = [(GOLDEN, bytes(32), key), (GOLDEN, root, coordinates("validator-1"))]
    for name, changed in (
        ("reversed", replace(good, signature=good.signature[::-1])),
        ("other-chain", replace(good, signature=other_chain)),
        ("other-header", replace(good, protected=good.protected[:-1] + b"\x02")),
    ):
        path = tmp_path / name
        path.write_bytes(changed.encode())
        cases.append((path, root, key))
    assert verdicts(tool, *cases, (GOLDEN, root, key)) == [False] * 5 + [True]
