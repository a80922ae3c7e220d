"""What the format of disclosures says, held against vectors that others' code made."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from node.chain.merkle import leaf_hash
from node.crypto.suite import SHA_256, suite_by_name
from node.disclosure.fields import FieldsStatement, Salt, commit_field
from node.disclosure.opening import OpenField, Opening
from node.disclosure.proof import Disclosure, check_fields, disclose
from node.errors import ClientError
from node.timestamp.trust import load_trust
from node.timestamp.verify import NamedDigest, Outcome, verify_receipt
from tests.vectors.disclosure import generate

NAMES = ("international", "national")


def vector(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((generate.FOLDER / f"{name}.json").read_text("utf-8"))
    return found


def test_the_vectors_are_those_that_the_generator_makes() -> None:
    for name, content in generate.made().items():
        assert (generate.FOLDER / name).read_bytes() == content, name


@pytest.mark.parametrize("name", NAMES)
def test_fields_are_committed_to_as_the_vector_says(name: str) -> None:
    given, suite = vector(name), suite_by_name(name)
    for field in given["fields"]:
        salt = Salt(bytes.fromhex(field["salt"]))
        leaf = commit_field(salt, tuple(field["path"]), field["value"], suite)
        assert leaf.code.hex() == field["commitment"]
        assert leaf_hash(leaf.code, suite.hash).hex() == field["leaf_hash"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["opening", "opening_without_id"])
def test_openings_give_the_statement(name: str, kind: str) -> None:
    given = vector(name)
    opening = Opening.decode(bytes.fromhex(given[kind]))
    assert opening.encode().hex() == given[kind]
    assert opening.statement.encode().hex() == given["statement"]
    assert FieldsStatement.decode(bytes.fromhex(given["statement"])) == opening.statement
    shown = {entry.path for entry in opening.entries if isinstance(entry, OpenField)}
    assert (("id",) in shown) == (kind == "opening")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_erased_is_the_vectors_opening_without_it(name: str) -> None:
    given = vector(name)
    opening = Opening.decode(bytes.fromhex(given["opening"]))
    assert opening.erased([("id",)]).encode().hex() == given["opening_without_id"]
    with pytest.raises(ClientError) as refused:
        opening.erased([("id",)]).erased([("id",)])
    assert refused.value.code == "GC-2611"


@pytest.mark.parametrize("name", NAMES)
def test_the_disclosure_is_made_and_verified_to_its_receipt(name: str) -> None:
    given = vector(name)
    disclosure = Disclosure.decode(bytes.fromhex(given["disclosure"]))
    for kind in ("opening", "opening_without_id"):  # nothing of an erased field is needed
        opening = Opening.decode(bytes.fromhex(given[kind]))
        paths = [tuple(path) for path in given["shown"]]
        assert disclose(opening, paths, disclosure.receipt).encode().hex() == given["disclosure"]
    proven = check_fields(disclosure)
    assert [list(path) for path, _value in proven.fields] == given["shown"]
    anchor = load_trust((generate.FOLDER / "trust.json").read_bytes())
    digest = NamedDigest(SHA_256, hashlib.sha256(proven.encoded).digest())
    verdict = verify_receipt(disclosure.receipt, anchor, digest)
    assert verdict.outcome is Outcome.VERIFIED
    other = NamedDigest(SHA_256, hashlib.sha256(proven.encoded + b"\0").digest())
    assert verify_receipt(disclosure.receipt, anchor, other).outcome is Outcome.NOT_VERIFIED
