"""The table of algorithms: when they are weak, and that it is only ever tightened."""

from __future__ import annotations

import pytest

from node.errors import ClientError, ProofError
from node.timestamp.evidence.algorithms import STANDARD
from tests.vectors.evidence.authorities import year


@pytest.mark.parametrize(
    ("name", "strong_ms", "weak_ms"),
    [
        ("rsa-2048", year(2031) - 1, year(2031)),
        ("rsa-3071", year(2031) - 1, year(2031)),
        ("rsa-3072", year(2036) - 1, year(2036)),
        ("rsa-8192", year(2036) - 1, year(2036)),
        ("p-256", year(2036) - 1, year(2036)),
        ("sha-256", year(2100), None),
        ("sha-1", None, 0),
        ("unknown", None, 0),
    ],
)
def test_an_algorithm_is_weak_from_its_end_on(
    name: str, strong_ms: int | None, weak_ms: int | None
) -> None:
    if strong_ms is not None:
        STANDARD.check(name, strong_ms)
    if weak_ms is not None:
        with pytest.raises(ProofError, match="algorithm-weak"):
            STANDARD.check(name, weak_ms)


def test_an_end_may_come_earlier_and_never_later() -> None:
    earlier = STANDARD.weaken("p-256", year(2030)).weaken("sha-256", year(2040))
    assert (earlier.end_ms("p-256"), earlier.end_ms("sha-256")) == (year(2030), year(2040))
    assert earlier.weaken("p-256", year(2035)).end_ms("p-256") == year(2030)
    assert STANDARD.end_ms("p-256") == year(2036), "the table itself stays"
    with pytest.raises(ClientError, match="expected one of ed25519, p-256"):
        STANDARD.weaken("md5", 0)
