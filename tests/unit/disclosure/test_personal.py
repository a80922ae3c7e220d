"""Numbers of people and companies are found by their check digits, and what is none is left."""

from __future__ import annotations

import pytest

from node.disclosure.masking import DEFAULT_POLICY, MASK
from node.disclosure.personal import (
    PersonalKind,
    find_numbers,
    holds_identity_card,
    identity_check,
    is_bank_card,
    is_credit_code,
    is_identity_card,
    kind_of_number,
    luhn_check,
)

CARD = "11010519491231002X"  # the example of GB 11643-1999
CODE = "91350100M000100Y43"  # the example of GB 32100-2015
BANK = "6222020000000000000"[:-1] + luhn_check("622202000000000000")


@pytest.mark.parametrize("number", [CARD, CARD.lower(), "440524188001010014"])
def test_the_examples_of_the_standard_are_identity_cards(number: str) -> None:
    assert is_identity_card(number)


@pytest.mark.parametrize(
    "number",
    [
        "110105194912310021",  # check digit
        "99010519491231002" + identity_check("99010519491231002"),  # no such province
        "11010519490231002" + identity_check("11010519490231002"),  # 31 February
        "11010517491231002" + identity_check("11010517491231002"),  # too long ago
        "11010519491331002" + identity_check("11010519491331002"),  # month 13
        CARD[:-1],
        "1" + CARD,
    ],
)
def test_what_breaks_one_rule_is_no_identity_card(number: str) -> None:
    assert not is_identity_card(number)


def test_every_other_digit_in_one_place_is_found_out() -> None:
    """MOD 11-2 finds every wrong digit alone (GB 11643-1999 says so)."""
    for at in range(17):
        for digit in "0123456789":
            if digit != CARD[at]:
                assert not is_identity_card(CARD[:at] + digit + CARD[at + 1 :])


def test_codes_of_companies_are_checked() -> None:
    assert is_credit_code(CODE)
    alphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY"
    for at in range(18):
        for other in alphabet:
            if other != CODE[at]:
                assert not is_credit_code(CODE[:at] + other + CODE[at + 1 :])
    assert not is_credit_code(CODE.replace("M", "I"))


@pytest.mark.parametrize("number", [BANK, "4111 1111 1111 1111", "3782-8224-6310-005"])
def test_bank_cards_are_checked(number: str) -> None:
    assert is_bank_card(number)
    last = number[:-1] + str((int(number[-1]) + 1) % 10)
    assert not is_bank_card(last)


_WIDE = {ord(each): ord(each) + 0xFEE0 for each in "0123456789X-"}


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        (PersonalKind.IDENTITY_CARD, CARD.translate(_WIDE)),
        (PersonalKind.IDENTITY_CARD, "110105 19491231 002X"),
        (PersonalKind.IDENTITY_CARD, "110105-19491231-002x"),
        (PersonalKind.IDENTITY_CARD, "110105\u300019491231\xa0002X"),
        (PersonalKind.IDENTITY_CARD, f"{CARD[:9]}\u200b{CARD[9:14]}\xad\ufeff{CARD[14:]}"),
        (PersonalKind.IDENTITY_CARD, "".join(chr(0x660 + int(n)) for n in CARD[:17]) + "X"),
        (PersonalKind.MOBILE, "138 0013 8000"),
        (PersonalKind.MOBILE, "138\u20110013\u20118000"),
        (PersonalKind.MOBILE, "13800138000".translate(_WIDE)),
        (PersonalKind.BANK_CARD, "4111\u30001111\u30001111\u30001111"),
        (PersonalKind.CREDIT_CODE, "".join(chr(ord(each) + 0xFEE0) for each in CODE)),
    ],
)
def test_a_number_is_found_however_it_is_written(kind: PersonalKind, written: str) -> None:
    text = f"张三\u300c{written}\u300d\uff11\uff12\uff13。"
    (found,) = find_numbers(text)
    assert (found.kind, text[found.start : found.end]) == (kind, written)
    assert kind_of_number(f"\ufeff{written}\r\n") is kind
    assert holds_identity_card(text) is (kind is PersonalKind.IDENTITY_CARD)
    shown = DEFAULT_POLICY.mask_text(text)
    assert shown.startswith("张三\u300c")
    assert shown.endswith("\u300d\uff11\uff12\uff13。")
    assert shown.count(MASK) >= 4
    assert kind_of_number(shown[3:-5]) is None


def test_numbers_are_found_in_text_and_where_they_stand() -> None:
    text = f"张三({CARD})电话+86 13800138000 卡{BANK} {CODE}"
    found = [(each.kind, text[each.start : each.end]) for each in find_numbers(text)]
    assert found == [
        (PersonalKind.IDENTITY_CARD, CARD),
        (PersonalKind.MOBILE, "13800138000"),
        (PersonalKind.BANK_CARD, BANK),
        (PersonalKind.CREDIT_CODE, CODE),
    ]


@pytest.mark.parametrize(
    "text", ["", "2025-0001", "粤A12345", f"a{CARD}", f"{CARD}1", "12800138000"]
)
def test_other_numbers_are_left_alone(text: str) -> None:
    assert find_numbers(text) == ()
    assert not holds_identity_card(text)


def test_a_content_that_is_one_number_is_told_from_one_that_holds_it() -> None:
    assert kind_of_number(f" {CARD}\n") is PersonalKind.IDENTITY_CARD
    assert kind_of_number("13800138000\r\n") is PersonalKind.MOBILE
    assert kind_of_number(f"{CARD} {CARD}") is None
    assert kind_of_number(f"no. {CARD}") is None
    assert holds_identity_card(f"case-{CARD}")
