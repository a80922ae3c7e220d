"""Until when an algorithm is taken for strong: one table, which a verifier may tighten.

A time stamp has to be renewed before what it rests on becomes weak, and is judged by this table at
the time when that was done. The dates are conventions: those of NIST for signatures (SP 800-57 part
1 revision 5 for 2,048-bit RSA, IR 8547 for all that quantum computers break); of the hash functions
none has an end that anybody has published. Whoever knows better says so by `weaken`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Self

from node.crypto.suite import DOCUMENT_DIGESTS
from node.errors import ClientError, ProofError
from node.timestamp.receipt import iso_time

_YEAR_2031_MS: Final = 1_924_992_000_000
_YEAR_2036_MS: Final = 2_082_758_400_000
_RSA: Final = re.compile(r"rsa-(\d{1,5})")
_STRONG_RSA_BITS: Final = 3_072
_WEAKER_RSA, _STRONG_RSA = "rsa-2048", "rsa-3072"


@dataclass(frozen=True, slots=True)
class AlgorithmPolicy:
    """When each algorithm becomes weak."""

    weak_from_ms: Mapping[str, int | None]
    """Ms since 1970 UTC, by name; None where no end is known. What is not named is weak already.

    Names are those of digests and curves, and rsa-2048 or rsa-3072 for such a key or a longer one.
    """

    def end_ms(self, name: str) -> int | None:
        """Return when an algorithm becomes weak; RSA counts as the next shorter that is named."""
        found = _RSA.fullmatch(name)
        if found is not None:
            name = _STRONG_RSA if int(found[1]) >= _STRONG_RSA_BITS else _WEAKER_RSA
        return self.weak_from_ms.get(name, 0)

    def check(self, name: str, at_ms: int) -> None:
        """Raise `ProofError` if an algorithm is weak at a time."""
        end_ms = self.end_ms(name)
        if end_ms is not None and at_ms >= end_ms:
            since = "ever" if end_ms == 0 else iso_time(end_ms)
            raise ProofError(
                "algorithm-weak", f"{name} is weak since {since}, judged at {iso_time(at_ms)}"
            )

    def weaken(self, name: str, from_ms: int) -> Self:
        """Return the policy with an earlier end of one algorithm; raises `ClientError` for others.

        A later one would be a belief against the table, which this one is not for.
        """
        if name not in self.weak_from_ms:
            known = ", ".join(sorted(self.weak_from_ms))
            raise ClientError(f"algorithm: expected one of {known}, got {name!r:.40}")
        known_ms = self.weak_from_ms[name]
        end_ms = from_ms if known_ms is None else min(from_ms, known_ms)
        return type(self)(MappingProxyType({**self.weak_from_ms, name: end_ms}))


STANDARD: Final = AlgorithmPolicy(
    MappingProxyType(
        {
            **dict.fromkeys((digest.name for digest in DOCUMENT_DIGESTS), None),
            _WEAKER_RSA: _YEAR_2031_MS,
            _STRONG_RSA: _YEAR_2036_MS,
            "p-256": _YEAR_2036_MS,
            "p-384": _YEAR_2036_MS,
            "p-521": _YEAR_2036_MS,
            "sm2": _YEAR_2036_MS,
            "ed25519": _YEAR_2036_MS,
        }
    )
)
