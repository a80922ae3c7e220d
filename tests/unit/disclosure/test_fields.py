"""Fields are committed to under salts alone; what is shown is bound, what is not stays hidden."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import cast

import cbor2
import pytest

from node.crypto.suite import INTERNATIONAL, SHA_256, SUITES, Suite
from node.disclosure.fields import (
    FIELDS_MAX,
    PATH_PARTS_MAX,
    FieldLeaf,
    FieldsStatement,
    Salt,
    commit_field,
    flatten,
    leaf_hash_of,
    parse_path,
    path_text,
)
from node.disclosure.opening import OpenField, Opening
from node.disclosure.proof import Disclosure, check_fields, disclose
from node.errors import ClientError, DecodeError, InvariantViolation, ProofError
from node.timestamp.trust import TrustAnchor, load_trust
from node.timestamp.verify import NamedDigest, Outcome, verify_receipt
from tests.vectors.disclosure import generate

ROOT = Path(__file__).parents[3]
RECORD = {"name": "张三", "id": "11010519491231002X", "address": {"city": "深圳"}, "age": 75}
CARD = ("id",)


COUNT = itertools.count()


def draw(size_bytes: int) -> bytes:
    return hashlib.sha256(str(next(COUNT)).encode()).digest()[:size_bytes]


@pytest.fixture(params=SUITES, ids=lambda suite: suite.name)
def opening(request: pytest.FixtureRequest) -> Opening:
    suite: Suite = request.param
    return Opening.begin(flatten(RECORD), suite, draw)


def test_a_commitment_takes_a_salt_and_nothing_else() -> None:
    digest = hashlib.sha256(b"11010519491231002X").digest()
    for unsalted in (b"", digest, digest[:15], None):
        with pytest.raises((DecodeError, InvariantViolation)):
            commit_field(Salt(cast("bytes", unsalted)), CARD, RECORD["id"], INTERNATIONAL)  # type: ignore[arg-type] # text
        with pytest.raises(InvariantViolation):
            commit_field(cast("Salt", unsalted), CARD, "x", INTERNATIONAL)
    with pytest.raises(InvariantViolation):
        FieldLeaf(digest, None)
    with pytest.raises(InvariantViolation):
        leaf_hash_of(cast("FieldLeaf", digest), INTERNATIONAL)


def test_the_type_checker_refuses_an_unsalted_hash(tmp_path: Path) -> None:
    program = tmp_path / "unsalted.py"
    program.write_text(
        "import hashlib\n"
        "from node.crypto.suite import INTERNATIONAL\n"
        "from node.disclosure.fields import FieldsStatement, Salt, commit_field\n"
        "digest = hashlib.sha256(b'11010519491231002X').digest()\n"
        "FieldsStatement.of([commit_field(Salt(digest[:16]), ('id',), 'x', INTERNATIONAL)],"
        " INTERNATIONAL)\n"
        "FieldsStatement.of([digest], INTERNATIONAL)\n"
        "commit_field(digest, ('id',), 'x', INTERNATIONAL)\n"
        "commit_field(None, ('id',), 'x', INTERNATIONAL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", str(program)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if "error:" in line]
    assert [line.split(":")[1] for line in lines] == ["6", "7", "8"], done.stdout + done.stderr


def test_two_fields_of_one_value_have_nothing_in_common(opening: Opening) -> None:
    suite = opening.suite
    again = Opening.begin(flatten(RECORD), suite, draw)
    assert not {leaf.code for leaf in opening.leaves} & {leaf.code for leaf in again.leaves}


def test_what_is_shown_says_nothing_of_the_others(opening: Opening) -> None:
    disclosure = disclose(opening, [("age",)], b"").encode()
    for field in opening.fields:
        if field.path != ("age",):
            assert field.salt.value not in disclosure
            assert str(field.value).encode() not in disclosure
            assert field.path[-1].encode() not in disclosure


def test_an_erased_field_is_neither_proved_nor_guessed(opening: Opening) -> None:
    """Who holds all that is left, and knows the value to look for, cannot tell that it is it."""
    left = opening.erased([CARD])
    assert left.statement == opening.statement
    kept = left.encode()
    lost = next(each for each in opening.fields if each.path == CARD)
    assert lost.salt.value not in kept
    assert str(lost.value).encode() not in kept
    with pytest.raises(ClientError) as refused:
        disclose(left, [CARD], b"")
    assert refused.value.code == "GC-2611"
    check_fields(disclose(left, [("name",)], b""))
    code = left.entries[opening.index_of(CARD)]
    assert isinstance(code, FieldLeaf)
    message = b"govchain/v1/field\x00" + cbor2.dumps([["id"], lost.value], canonical=True)
    name = opening.suite.keyed_hash.name
    at_hand = [bytes(16), *(each.salt.value for each in left.fields), code.code[:16]]
    assert all(hmac.new(salt, message, name).digest() != code.code for salt in at_hand)
    assert hmac.new(lost.salt.value, message, name).digest() == code.code, "with the salt it is"


def test_another_value_name_or_salt_is_refused_by_the_name_of_its_field(opening: Opening) -> None:
    sound = disclose(opening, [CARD, ("age",)], b"")
    row = sound.shown[0]
    entry = row.field
    others = (
        OpenField(entry.path, "11010519491231001X", entry.salt),
        OpenField(("passport",), entry.value, entry.salt),
        OpenField(entry.path, entry.value, Salt(bytes(16))),
    )
    for other in others:
        forged = Disclosure(sound.statement, (type(row)(row.index, other, row.path_up),), b"")
        with pytest.raises(ProofError, match=other.path[0]):
            check_fields(forged)
    for index in range(len(opening.entries)):
        if index != row.index:
            moved = Disclosure(sound.statement, (type(row)(index, entry, row.path_up),), b"")
            with pytest.raises(ProofError):
                check_fields(moved)


@pytest.mark.parametrize("name", ["international", "national"])
def test_every_byte_that_is_tampered_with_is_refused(name: str) -> None:
    """Flipped bit by bit, of each byte one: the shape, a field, the statement or the receipt."""
    path = generate.FOLDER / f"{name}.json"
    data = bytes.fromhex(json.loads(path.read_text("utf-8"))["disclosure"])
    anchor = load_trust((generate.FOLDER / "trust.json").read_bytes())
    assert why_not(data, anchor) is None
    reasons: dict[str, int] = {}
    for at in range(len(data)):
        altered = bytearray(data)
        altered[at] ^= 1 << (at % 8)
        reason = why_not(bytes(altered), anchor)
        assert reason, f"byte {at} of {len(data)}"
        reasons[reason] = reasons.get(reason, 0) + 1
    for cut in range(0, len(data), 97):
        assert why_not(data[:cut], anchor) == "shape"
    assert why_not(data + b"\0", anchor) == "shape"
    assert {"shape", "field", "step 2"} <= set(reasons), reasons


def why_not(data: bytes, anchor: TrustAnchor) -> str | None:
    """Return which part of verification refuses, or None; a field is named."""
    try:
        disclosure = Disclosure.decode(data)
        proven = check_fields(disclosure)
    except DecodeError as error:
        return "shape" if str(error) else ""
    except ProofError as error:
        return "field" if "field '" in str(error) else ""
    digest = NamedDigest(SHA_256, hashlib.sha256(proven.encoded).digest())
    verdict = verify_receipt(disclosure.receipt, anchor, digest)
    if verdict.outcome is Outcome.VERIFIED:
        return None
    assert verdict.failure is not None
    assert verdict.failure.detail
    return f"step {int(verdict.failure.step)}"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"a": 1.5}, "fraction"),
        ({"a": 2**64}, "64 bits"),
        ({"a": "x" * 65_537}, "65536 bytes"),
        ({"a": "\ud800"}, "text"),
        ({"": 1}, "printable"),
        ({"a\n": 1}, "printable"),
        ({}, "no fields"),
        ([], "no fields"),
        ("text", "named fields"),
        ({"a": {"b": {"c": {"d": {"e": {"f": {"g": 1}}}}}}}, f"deeper than {PATH_PARTS_MAX}"),
        (list(range(FIELDS_MAX + 1)), f"at most {FIELDS_MAX}"),
    ],
)
def test_a_record_without_one_meaning_is_refused(content: object, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        flatten(content)


def test_objects_lists_and_empty_ones_are_fields() -> None:
    found = flatten({"a": [1, {"b/c": None}], "d": {}, "e": []})
    assert found == {("a", "0"): 1, ("a", "1", "b/c"): None, ("d",): None, ("e",): None}
    assert [parse_path(path_text(path)) for path in found] == [*found]
    assert path_text(("a", "1", "b/c")) == "a/1/b~1c"


def test_statements_and_openings_are_read_strictly(opening: Opening) -> None:
    encoded = opening.encode()
    assert Opening.decode(encoded) == opening
    first = opening.fields[0]
    for entries in (
        (),
        (first, first),
        (first, OpenField(("other",), 1, first.salt)),
    ):
        with pytest.raises(DecodeError):
            Opening.decode(Opening(opening.suite, entries).encode())
    with pytest.raises(DecodeError):
        Opening.decode(encoded + b"\0")
    statement = opening.statement
    with pytest.raises(DecodeError):
        FieldsStatement.decode(FieldsStatement(statement.suite, 0, statement.root).encode())
    with pytest.raises(DecodeError):
        FieldsStatement.decode(statement.encode()[:-1])


def test_nothing_secret_is_in_what_python_prints(opening: Opening) -> None:
    printed = repr(opening)
    assert "11010519491231002X" not in printed
    assert all(repr(each.salt.value) not in printed for each in opening.fields)
