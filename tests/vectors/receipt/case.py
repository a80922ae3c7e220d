"""What a case is, and the JSON it becomes."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

from node.crypto.suite import SM3
from node.timestamp.receipt import Receipt
from node.timestamp.verify import NamedDigest, Outcome, Step
from tests.vectors.receipt.chain import AGENCY
from tests.vectors.receipt.story import DOCUMENT, sha_256_of

DIGEST: Final = sha_256_of(DOCUMENT)
SM3_DIGEST: Final = str(NamedDigest(SM3, SM3.new_hash(DOCUMENT).digest()))

GENESIS: Final = "genesis"
PINNED_3: Final = "pinned-3"
PINNED_7: Final = "pinned-7"
OTHER_CHAIN: Final = "other-chain"
KEYED: Final = "compact"
"""The genesis of a chain with compact certificates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attested:
    """What a verified receipt attests; times since 1970 UTC."""

    sender: str = AGENCY
    height: int
    agreed_time_ms: int
    time_degraded: bool = False
    accuracy_ms: int | None = 1_000
    seal_time_ms: int


@dataclass(frozen=True, slots=True)
class Case:
    """One receipt and what must come of it."""

    name: str
    about: str
    receipt: Receipt | bytes
    trust: str = GENESIS
    digest: str = DIGEST
    outcome: Outcome = Outcome.VERIFIED
    step: Step | None = None
    reason: str = ""
    """How our own report of the failing step begins."""
    attested: Attested | None = None
    without_bls: Outcome | None = None
    """Of a verifier without BLS12-381, which names the compact certificate as not checked; None
    where it need not."""

    @property
    def data(self) -> bytes:
        """Return the receipt's bytes."""
        return self.receipt if isinstance(self.receipt, bytes) else self.receipt.encode()

    def to_json(self) -> bytes:
        """Return the content of the case's file."""
        return _to_json(
            {
                "about": self.about,
                "trust": f"{self.trust}.json",
                "digest": self.digest,
                "outcome": self.outcome.value,
                "step": self.step,
                "reason": self.reason,
                "attested": None if self.attested is None else asdict(self.attested),
                "receipt": base64.b64encode(self.data).decode(),
            }
            | ({} if self.without_bls is None else {"without_bls": self.without_bls.value})
        )


@dataclass(frozen=True, slots=True)
class TrustCase:
    """One trust file's bytes, and the rule for which they are unusable, if they are."""

    name: str
    about: str
    data: bytes
    rule: str | None = None
    """`form`, or the letter of a rule of RECEIPT.md."""
    reason: str = ""
    """How our own error begins."""

    def to_json(self) -> bytes:
        """Return the content of the case's file."""
        return _to_json(
            {
                "about": self.about,
                "outcome": "usable" if self.rule is None else "unusable",
                "rule": self.rule,
                "reason": self.reason,
                "trust": base64.b64encode(self.data).decode(),
            }
        )


def fails(
    step: Step,
    name: str,
    about: str,
    receipt: Receipt | bytes,
    reason: str,
    *,
    trust: str = GENESIS,
    digest: str = DIGEST,
) -> Case:
    """Return a case that is not verified at `step`, in whose name the step comes first."""
    return Case(
        f"{step.value}-{name}", about, receipt, trust, digest, Outcome.NOT_VERIFIED, step, reason
    )


def _to_json(fields: Mapping[str, object]) -> bytes:
    return (json.dumps(fields, indent=2, ensure_ascii=False) + "\n").encode()
