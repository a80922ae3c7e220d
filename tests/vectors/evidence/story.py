"""The document, its receipt, and the evidence of both as it is renewed over the years."""

from __future__ import annotations

from typing import Final

from node.crypto.suite import SHA_256, SHA_512, DocumentDigest
from node.timestamp.evidence.hash_tree import DataGroup, data_object
from node.timestamp.evidence.record import EvidenceRecord
from node.timestamp.evidence.renewal import Plan, plan_creation, plan_rehashing, plan_renewal
from tests.vectors.evidence.authorities import FIRST, SECOND, THIRD, Tsa, year
from tests.vectors.receipt.story import DOCUMENT, PLAIN, build_chain

RECEIPT: Final = build_chain().receipt(PLAIN, 1).encode()
FILES: Final = {"document.txt": DOCUMENT, "document.txt.receipt": RECEIPT}
GROUP: Final[DataGroup] = tuple(map(data_object, FILES.values()))
OTHERS: Final[tuple[DataGroup, ...]] = tuple(
    (data_object(b"document %d" % number), data_object(b"receipt %d" % number))
    for number in range(6)
)

CREATED_MS: Final = year(2026)
RENEWED_MS: Final = year(2028.5)
REHASHED_MS: Final = year(2032.5)
LAST_MS: Final = year(2033.5)


def stamped(plan: Plan, tsa: Tsa, time_ms: int) -> list[EvidenceRecord]:
    """Return the records that a plan makes of a token of that time."""
    return plan.finish(tsa.stamp(plan.imprint, time_ms))


def created(
    group: DataGroup = GROUP,
    *others: DataGroup,
    tsa: Tsa = FIRST,
    time_ms: int = CREATED_MS,
    algorithm: DocumentDigest = SHA_256,
) -> EvidenceRecord:
    """Return the record of a group of files, made together with others."""
    return stamped(plan_creation([group, *others], algorithm), tsa, time_ms)[0]


def renewed(record: EvidenceRecord, tsa: Tsa = SECOND, time_ms: int = RENEWED_MS) -> EvidenceRecord:
    """Return a record with one more time stamp in its chain."""
    return stamped(plan_renewal([record]), tsa, time_ms)[0]


def rehashed(
    record: EvidenceRecord,
    group: DataGroup = GROUP,
    *,
    tsa: Tsa = SECOND,
    time_ms: int = REHASHED_MS,
    algorithm: DocumentDigest = SHA_512,
) -> EvidenceRecord:
    """Return a record with one more chain."""
    return stamped(plan_rehashing([record], [group], algorithm), tsa, time_ms)[0]


def whole_story() -> EvidenceRecord:
    """Return the record made among others, renewed, hashed anew and renewed again."""
    first = stamped(plan_creation([GROUP, *OTHERS], SHA_256), FIRST, CREATED_MS)
    second = stamped(plan_renewal(first), SECOND, RENEWED_MS)
    third = stamped(plan_rehashing(second, [GROUP, *OTHERS], SHA_512), SECOND, REHASHED_MS)
    return stamped(plan_renewal(third), THIRD, LAST_MS)[0]
