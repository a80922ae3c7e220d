"""What a display shows: numbers masked unless a policy says otherwise."""

from __future__ import annotations

import pytest

from node.disclosure.masking import DEFAULT_POLICY, POLICY_BYTES_MAX, MaskingPolicy
from node.errors import DecodeError
from tests.unit.disclosure.test_personal import BANK, CARD, CODE

POLICY = """
otherwise = "show"
[numbers]
identity-card = "hide"
credit-code = "show"
[fields]
name = "mask"
"address/city" = "hide"
remark = "show"
"""


def test_by_default_numbers_are_masked_and_all_else_is_shown() -> None:
    text = f"张三 {CARD} 13800138000 {BANK} 6222-0200-0000-0000-0{BANK[-1]} {CODE}"
    shown = DEFAULT_POLICY.mask_text(text)
    assert shown.startswith("张三 110*************2X 138****8000 6222***********")
    assert shown.endswith(" 91************0Y43")
    assert "19491231" not in shown, "nothing of the birthday"


def test_a_policy_names_kinds_and_fields() -> None:
    policy = MaskingPolicy.read(POLICY.encode())
    assert policy.mask_text(f"{CARD} {CODE} 13800138000") == f"******** {CODE} 138****8000"
    assert policy.mask_field(("name",), "张三丰") == "张**"
    assert policy.mask_field(("0", "name"), "张三丰") == "张**"
    assert policy.mask_field(("address", "city"), "深圳") == "********"
    assert policy.mask_field(("remark",), CARD) == CARD
    assert policy.mask_field(("other",), CARD) == "********"
    assert MaskingPolicy.read(b'otherwise = "hide"').mask_text("x") == "********"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("numbers = 3", "expected a table"),
        ('[numbers]\npassport = "hide"', "passport is unknown"),
        ('[fields]\nname = "blur"', "show, mask, hide"),
        ("other = 1", "'other' is unknown"),
        ("=", "not TOML"),
        ("\ufeffother = 1", "byte order mark"),
        ("a=" + "[" * 50_000, "not TOML"),
        ("#" * (POLICY_BYTES_MAX + 1), "at most"),
    ],
)
def test_a_policy_that_does_not_hold_is_refused_by_what_is_wrong(text: str, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        MaskingPolicy.read(text.encode())
