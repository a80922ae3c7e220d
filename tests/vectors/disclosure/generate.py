"""Vectors of disclosures, made by code that shares none with the product's commitments.

    python -m tests.vectors.disclosure.generate

Commitments by hmac and hashlib, CBOR by cbor2, Merkle trees by recursion; the receipts are of the
chain of tests/vectors/receipt.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import cbor2

from tests.vectors.receipt.chain import Chain, record_of
from tests.vectors.writing import write_generated

FOLDER: Final = Path(__file__).parent
HASHES: Final = {"international": "sha256", "national": "sm3"}
SUITE_IDS: Final = {"international": 1, "national": 2}
RECORD: Final[Mapping[tuple[str, ...], Any]] = {
    ("name",): "张三",
    ("id",): "11010519491231002X",
    ("address", "city"): "深圳",
    ("address", "lines", "0"): "福中三路",
    ("married",): True,
    ("children",): 2,
    ("note",): None,
}
SHOWN: Final = (("name",), ("married",), ("note",))


def canonical(value: object) -> bytes:
    """Return deterministic CBOR (RFC 8949 section 4.2.1)."""
    return cbor2.dumps(value, canonical=True)


def salt_of(suite: str, path: Sequence[str]) -> bytes:
    """Return a fixed salt for a field."""
    return hashlib.sha256(f"salt {suite} {'/'.join(path)}".encode()).digest()[:16]


def commitment(suite: str, path: Sequence[str], value: object) -> bytes:
    """Return the commitment to a field: HMAC under its salt."""
    message = b"govchain/v1/field\x00" + canonical([list(path), value])
    return hmac.new(salt_of(suite, path), message, HASHES[suite]).digest()


def digest(suite: str, data: bytes) -> bytes:
    """Return the digest by the suite's hash."""
    return hashlib.new(HASHES[suite], data).digest()


def root_of(suite: str, leaves: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes, as RFC 9162 section 2.1.1 defines it."""
    if len(leaves) == 1:
        return leaves[0]
    at = 1 << ((len(leaves) - 1).bit_length() - 1)
    return digest(suite, b"\x01" + root_of(suite, leaves[:at]) + root_of(suite, leaves[at:]))


def path_up(suite: str, leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Return the inclusion path, as RFC 9162 section 2.1.3.1 defines it."""
    if len(leaves) == 1:
        return []
    at = 1 << ((len(leaves) - 1).bit_length() - 1)
    if index < at:
        return [*path_up(suite, leaves[:at], index), root_of(suite, leaves[at:])]
    return [*path_up(suite, leaves[at:], index - at), root_of(suite, leaves[:at])]


def made() -> dict[str, bytes]:
    """Return every file of this folder, by name."""
    statements: dict[str, bytes] = {}
    for suite in HASHES:
        leaves = leaf_hashes(suite)
        statement = ["govchain-fields-1", SUITE_IDS[suite], len(leaves), root_of(suite, leaves)]
        statements[suite] = canonical(statement)
    chain = Chain.found()
    chain.append(*(record_of(each, reference=None) for each in statements.values()))
    files: dict[str, bytes] = {"trust.json": chain.trust().encode()}
    for operation, (suite, statement_bytes) in enumerate(statements.items()):
        receipt = chain.receipt(1, operation).encode()
        vector = vector_of(suite, statement_bytes, receipt)
        files[f"{suite}.json"] = json.dumps(vector, indent=1, ensure_ascii=False).encode() + b"\n"
    return files


def leaf_hashes(suite: str) -> list[bytes]:
    """Return the leaf hashes of the record's tree."""
    codes = [commitment(suite, path, value) for path, value in RECORD.items()]
    return [digest(suite, b"\x00" + code) for code in codes]


def vector_of(suite: str, statement: bytes, receipt: bytes) -> dict[str, Any]:
    """Return what stands in a suite's file."""
    leaves, paths = leaf_hashes(suite), list(RECORD)
    rows = []
    for path in SHOWN:
        at = paths.index(path)
        up = path_up(suite, leaves, at)
        rows.append([at, list(path), RECORD[path], salt_of(suite, path), up])
    opening = [[list(path), value, salt_of(suite, path)] for path, value in RECORD.items()]
    erased = [
        commitment(suite, ("id",), RECORD["id",]) if row[0] == ["id"] else row for row in opening
    ]
    return {
        "suite": suite,
        "fields": [
            {
                "path": list(path),
                "value": value,
                "salt": salt_of(suite, path).hex(),
                "commitment": commitment(suite, path, value).hex(),
                "leaf_hash": leaf.hex(),
            }
            for (path, value), leaf in zip(RECORD.items(), leaves, strict=True)
        ],
        "statement": statement.hex(),
        "opening": canonical(["govchain-opening-1", SUITE_IDS[suite], opening]).hex(),
        "opening_without_id": canonical(["govchain-opening-1", SUITE_IDS[suite], erased]).hex(),
        "shown": [list(path) for path in SHOWN],
        "disclosure": canonical(["govchain-disclosure-1", statement, rows, receipt]).hex(),
    }


if __name__ == "__main__":
    write_generated(FOLDER, made(), "*.json")
