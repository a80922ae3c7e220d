"""Laws of masking and of commitments to fields, for whatever text and record."""

from __future__ import annotations

import re
from datetime import date
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from node.crypto.suite import SUITES
from node.disclosure.fields import flatten, parse_path, path_text
from node.disclosure.masking import DEFAULT_POLICY
from node.disclosure.opening import Opening
from node.disclosure.personal import (
    PersonalKind,
    credit_check,
    find_numbers,
    identity_check,
    luhn_check,
)
from node.disclosure.proof import Disclosure, check_fields, disclose
from node.errors import DecodeError

DIGITS = st.text("0123456789", min_size=1, max_size=20)
SIGNS = "0123456789ABCDEFGHJKLMNPQRTUWXY"
IDENTITY = st.builds(
    lambda region, day, order: region + day.strftime("%Y%m%d") + order,
    st.sampled_from(["110105", "440305", "650102", "810000"]),
    st.dates(date(1900, 1, 1), date(2099, 12, 31)),
    st.from_regex(r"[0-9]{3}", fullmatch=True),
).map(lambda digits: digits + identity_check(digits))
CREDIT = st.from_regex(rf"91440300[{SIGNS}]{{9}}", fullmatch=True).map(
    lambda text: text + credit_check(text)
)
BANK = st.from_regex(r"62[0-9]{14,16}", fullmatch=True).map(lambda text: text + luhn_check(text))
MOBILE = st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True)
KINDS = {
    PersonalKind.IDENTITY_CARD: IDENTITY,
    PersonalKind.CREDIT_CODE: CREDIT,
    PersonalKind.BANK_CARD: BANK,
    PersonalKind.MOBILE: MOBILE,
}
NUMBER = st.one_of([st.tuples(st.just(kind), drawn) for kind, drawn in KINDS.items()])
AROUND = st.text(st.characters(codec="utf-8", exclude_characters=SIGNS + "+- Xx"), max_size=8).map(
    lambda text: re.sub(r"[0-9A-Za-z]", "", text)
)


@given(NUMBER, AROUND, AROUND)
def test_every_number_is_found_in_any_text_and_its_middle_never_shown(
    number: tuple[PersonalKind, str], before: str, after: str
) -> None:
    kind, bare = number
    text = before + bare + after
    (found,) = find_numbers(text)
    assert text[found.start : found.end] == bare
    if found.kind is not kind:  # a code of digits alone may be an identity card, or a bank card
        assert bare.isdigit()
    shown = DEFAULT_POLICY.mask_text(text)
    assert len(shown) == len(text)
    assert shown.startswith(before)
    assert shown.endswith(after)
    assert bare not in shown
    assert shown.count("*") >= before.count("*") + after.count("*") + 4
    assert find_numbers(shown) == ()


@given(st.text())
def test_masking_twice_shows_no_more_and_what_is_no_number_is_untouched(text: str) -> None:
    shown = DEFAULT_POLICY.mask_text(text)
    assert len(shown) == len(text)
    if not find_numbers(text):
        assert shown == text


@given(IDENTITY, st.integers(0, 16), st.integers(1, 9))
def test_one_wrong_digit_makes_no_identity_card(card: str, at: int, by: int) -> None:
    wrong = card[:at] + str((int(card[at]) + by) % 10) + card[at + 1 :]
    assert all(each.kind is not PersonalKind.IDENTITY_CARD for each in find_numbers(wrong))


NAMES = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=12)
VALUES = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=40)
RECORDS = st.dictionaries(
    NAMES,
    st.recursive(
        VALUES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
        max_leaves=8,
    ),
    min_size=1,
    max_size=6,
)


@given(RECORDS, st.sampled_from(SUITES), st.data())
def test_any_part_of_any_record_is_proved_before_and_after_the_rest_is_erased(
    record: dict[str, object], suite: object, data: st.DataObject
) -> None:
    try:
        fields = flatten(record)
    except DecodeError:
        return  # nested too deep, or a name that is not visible
    number = count()
    opening = Opening.begin(fields, suite, lambda size: next(number).to_bytes(size))  # type: ignore[arg-type] # a suite
    paths = data.draw(st.lists(st.sampled_from(list(fields)), min_size=1, unique=True))
    whole = disclose(opening, paths, b"receipt")
    others = [path for path in fields if path not in paths]
    assert disclose(opening.erased(others), paths, b"receipt") == whole
    again = Disclosure.decode(whole.encode())
    proven = check_fields(again)
    assert dict(proven.fields) == {path: fields[path] for path in paths}
    assert proven.statement == opening.statement
    assert [parse_path(path_text(path)) for path in paths] == paths
