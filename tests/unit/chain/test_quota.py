"""Quotas: one form of each, and nothing out of bounds."""

from __future__ import annotations

import pytest

from node.chain.encoding import encode
from node.chain.quota import SHARE_MAX, Quota, SetQuota
from node.errors import DecodeError
from node.limits import MEMPOOL_TXS_MAX


@pytest.mark.parametrize("quota", [Quota(), Quota(SHARE_MAX, MEMPOOL_TXS_MAX), Quota(2, 1)])
def test_a_quota_is_read_as_it_was_written(quota: Quota) -> None:
    assert Quota.decode(quota.encode()) == quota
    for given in (quota, None):
        asked = SetQuota("org-1", given)
        assert SetQuota.from_value(asked.to_value()) == asked


@pytest.mark.parametrize(
    "value",
    [
        [],
        [1, 1],
        [1, 1, 0, 0],
        [2, 1, 0],
        [1, 0, 0],
        [1, SHARE_MAX + 1, 0],
        [1, -1, 0],
        [1, 1, MEMPOOL_TXS_MAX + 1],
        [1, 1, -1],
        [1, 1, None],
        [1, True, 0],
        [1, "1", 0],
    ],
)
def test_anything_else_is_refused(value: list[object]) -> None:
    with pytest.raises(DecodeError):
        Quota.decode(encode(value))
    with pytest.raises(DecodeError):
        SetQuota.from_value(["org-1", value])


def test_a_quota_is_of_somebody() -> None:
    for name in ("", "x" * 65, 7, None):
        with pytest.raises(DecodeError):
            SetQuota.from_value([name, None])
