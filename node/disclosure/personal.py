"""Numbers that name a person or a company in China, found in text by their own check digits.

A number is found where no digit or letter touches it, in digits of any script (an input method for
Chinese writes full-width ones), in the groups that people write it in, and with signs in it that
nobody sees. What the standards let a reader check is
checked, so that an order number of as many digits is, as a rule, taken for none of these:

- identity card (GB 11643-1999): 17 digits and a check character, ISO 7064 MOD 11-2, a province of
  GB/T 2260 in front and a day of the calendar in the middle;
- unified social credit code (GB 32100-2015): 18 characters, the last by MOD 31-3;
- bank card (ISO/IEC 7812-1): 13 to 19 digits that begin as cards of payment do, the last by Luhn;
- mobile number (MIIT's plan: 1, then 3 to 9): 11 digits; it has no check digit.

That nothing is found does not say that nothing personal is there.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Final

_ALONE: Final = r"(?<![0-9A-Za-z])(?:{})(?![0-9A-Za-z])"
_IDENTITY_CARD: Final = re.compile(_ALONE.format(r"[1-9][0-9]{5}[ -]?[0-9]{8}[ -]?[0-9]{3}[0-9Xx]"))
_CREDIT_CODE: Final = re.compile(_ALONE.format(r"[0-9A-HJ-NP-RT-UW-Y]{18}"))
_MOBILE: Final = re.compile(
    r"(?<![0-9A-Za-z])(?:\+?86[ -]?)?(1[3-9][0-9][ -]?[0-9]{4}[ -]?[0-9]{4})(?![0-9A-Za-z])"
)
_BANK_CARD: Final = re.compile(_ALONE.format(r"[1-9][0-9]{3}(?:[ -]?[0-9]{4}){2}[ -]?[0-9]{1,7}"))
_BANK_CARD_DIGITS: Final = (13, 19)
_WRITTEN_OTHERWISE: Final = re.compile(
    r"(?![0-9])\d|[\xa0\xad\u2000-\u2015\u202f\u2060-\u2064\u2212\u3000\ufeff\uff01-\uff5e]"
)
"""What may stand for a digit, a letter, a blank or a hyphen, or be invisible."""

_IDENTITY_WEIGHTS: Final = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_IDENTITY_CHECKS: Final = "10X98765432"
_PROVINCES: Final = re.compile("1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[1-3]")
"""First two digits of GB/T 2260, and of residence permits of Hong Kong, Macao and Taiwan."""
_BIRTH_YEARS: Final = range(1850, 2100)

_CREDIT_ALPHABET: Final = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_CREDIT_WEIGHTS: Final = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)
_CREDIT_FIRST: Final = frozenset("123456789ANY")
"""The department that registers; GB 32100-2015 table 1 with its amendment."""

SECRET_NUMBER_BYTES_MAX: Final = 64
"""Of a content that may be one number and nothing else, with blanks around it."""
_CARD_STARTS: Final = ("3", "4", "5", "62", "8", "9")
"""Cards of payment, of whatever network; 62 is UnionPay."""


class PersonalKind(Enum):
    """What a number names."""

    IDENTITY_CARD = "identity-card"
    CREDIT_CODE = "credit-code"
    BANK_CARD = "bank-card"
    MOBILE = "mobile"


@dataclass(frozen=True, slots=True)
class PersonalNumber:
    """A number found: of what kind, and from where up to where in the text."""

    kind: PersonalKind
    start: int
    end: int


SECRET_KINDS: Final = (PersonalKind.IDENTITY_CARD, PersonalKind.BANK_CARD, PersonalKind.MOBILE)
"""Those whose bare hash gives them away: few enough to try all. (Codes of companies are public.)"""


def find_numbers(text: str) -> tuple[PersonalNumber, ...]:
    """Return the numbers in a text, in their order; of two that overlap the first kind above."""
    found: list[PersonalNumber] = []
    plain, places = _plain(text)
    for kind, first, after in _candidates(plain):
        start, end = places[first], places[after - 1] + 1
        if all(end <= each.start or start >= each.end for each in found):
            found.append(PersonalNumber(kind, start, end))
    return tuple(sorted(found, key=lambda each: each.start))


def kind_of_number(text: str) -> PersonalKind | None:
    """Return what a text is that is one number and nothing else, but for blanks around it."""
    bare = _plain(text)[0].strip()
    match find_numbers(bare):
        case (number,) if (number.start, number.end) == (0, len(bare)):
            return number.kind
        case _:
            return None


def holds_identity_card(text: str) -> bool:
    """Tell whether the number of an identity card stands anywhere in a text."""
    plain, _places = _plain(text)
    if _IDENTITY_CARD.search(plain) is None:  # as nearly always: every transaction is asked for it
        return False
    return any(is_identity_card(match[0]) for match in _IDENTITY_CARD.finditer(plain))


def is_identity_card(text: str) -> bool:
    """Tell whether 18 characters are the number of an identity card (GB 11643-1999).

    A blank or a hyphen may be before and after the birthday.
    """
    if not _IDENTITY_CARD.fullmatch(text) or not _PROVINCES.match(text):
        return False
    number = text.replace(" ", "").replace("-", "")
    year, month, day = int(number[6:10]), int(number[10:12]), int(number[12:14])
    if year not in _BIRTH_YEARS:
        return False
    try:
        date(year, month, day)
    except ValueError:
        return False
    return identity_check(number[:17]) == number[17].upper()


def identity_check(digits: str) -> str:
    """Return the check character of the first 17 digits (ISO 7064 MOD 11-2)."""
    total = sum(int(each) * weight for each, weight in zip(digits, _IDENTITY_WEIGHTS, strict=True))
    return _IDENTITY_CHECKS[total % 11]


def is_credit_code(text: str) -> bool:
    """Tell whether 18 characters are a unified social credit code (GB 32100-2015)."""
    if not _CREDIT_CODE.fullmatch(text) or text[0] not in _CREDIT_FIRST:
        return False
    return text[2:8].isdigit() and credit_check(text[:17]) == text[17]


def credit_check(characters: str) -> str:
    """Return the check character of the first 17 characters (GB 32100-2015 section 5.2.6)."""
    values = (_CREDIT_ALPHABET.index(each) for each in characters)
    total = sum(value * weight for value, weight in zip(values, _CREDIT_WEIGHTS, strict=True))
    return _CREDIT_ALPHABET[-total % len(_CREDIT_ALPHABET)]


def is_bank_card(text: str) -> bool:
    """Tell whether digits, blanks and hyphens among them, are the number of a bank card."""
    digits = text.replace(" ", "").replace("-", "")
    least, most = _BANK_CARD_DIGITS
    if not _BANK_CARD.fullmatch(text) or not least <= len(digits) <= most:
        return False
    return digits.startswith(_CARD_STARTS) and luhn_check(digits[:-1]) == digits[-1]


def luhn_check(digits: str) -> str:
    """Return the check digit of a number without it (ISO/IEC 7812-1 annex B)."""
    doubled = (2 * int(each) for each in digits[::-2])
    total = sum(each - 9 if each > 9 else each for each in doubled)  # noqa: PLR2004 - a digit
    total += sum(map(int, digits[-2::-2]))
    return str(-total % 10)


def _plain(text: str) -> tuple[str, Sequence[int]]:
    """Return a text as the patterns above read it, and of each character its place in the text."""
    if _WRITTEN_OTHERWISE.search(text) is None:  # as nearly always
        return text, range(len(text))
    signs, places = [], []
    for place, sign in enumerate(text):
        digit, category = unicodedata.decimal(sign, None), unicodedata.category(sign)
        if category == "Cf":
            continue  # invisible
        if digit is not None:
            read = str(digit)
        elif category in ("Zs", "Pd") or sign == "\N{MINUS SIGN}":
            read = " " if category == "Zs" else "-"
        else:
            folded = unicodedata.normalize("NFKC", sign) if "\uff01" <= sign <= "\uff5e" else sign
            read = folded if len(folded) == 1 else sign
        signs.append(read)
        places.append(place)
    return "".join(signs), places


def _candidates(text: str) -> Iterator[tuple[PersonalKind, int, int]]:
    for match in _IDENTITY_CARD.finditer(text):
        if is_identity_card(match[0]):
            yield PersonalKind.IDENTITY_CARD, match.start(), match.end()
    for match in _CREDIT_CODE.finditer(text):
        if is_credit_code(match[0]):
            yield PersonalKind.CREDIT_CODE, match.start(), match.end()
    for match in _BANK_CARD.finditer(text):
        if is_bank_card(match[0]):
            yield PersonalKind.BANK_CARD, match.start(), match.end()
    for match in _MOBILE.finditer(text):
        yield PersonalKind.MOBILE, match.start(1), match.end(1)
