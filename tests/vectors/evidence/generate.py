"""Makes every file of this folder from fixed keys: `python -m tests.vectors.evidence.generate`.

A case that fails differs from a good one in one thing, as far as one thing can.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from cryptography.x509 import ReasonFlags

from node.crypto import der
from node.crypto.revocation import RevocationList
from node.crypto.suite import SHA_256, SHA_384, SHA_512
from node.timestamp.evidence.algorithms import STANDARD, AlgorithmPolicy
from node.timestamp.evidence.hash_tree import data_object
from node.timestamp.evidence.record import ArchiveTimeStamp, EvidenceRecord
from node.timestamp.evidence.renewal import plan_creation
from node.timestamp.evidence.verify import EvidenceStep, EvidenceTrust, verify_evidence
from node.timestamp.tokens.issuing import add_chain_proof
from tests.vectors.evidence.authorities import FIRST, SECOND, STRANGER, THIRD, Tsa, year
from tests.vectors.evidence.story import (
    CREATED_MS,
    FILES,
    GROUP,
    OTHERS,
    RENEWED_MS,
    created,
    rehashed,
    renewed,
    whole_story,
)
from tests.vectors.writing import write_generated

FOLDER: Final = Path(__file__).parent
ROOTS: Final[Mapping[str, Tsa]] = {"first": FIRST, "second": SECOND, "third": THIRD}
OTHER: Final = "other.txt"
ALL_FILES: Final[Mapping[str, bytes]] = {**FILES, OTHER: b"another document\n"}
BOTH: Final = tuple(FILES)
DOCUMENT: Final = BOTH[0]


@dataclass(frozen=True, slots=True)
class Case:
    """One record and what must come of it. The step it fails at is part of its name."""

    name: str
    about: str
    record: EvidenceRecord | bytes
    at_ms: int
    files: Sequence[str] = BOTH
    weak_from_ms: Mapping[str, int] = field(default_factory=dict)
    """What the verifier knows of algorithms beyond the table."""
    revocations: Sequence[RevocationList] = ()

    @property
    def data(self) -> bytes:
        """Return the record's bytes."""
        return self.record if isinstance(self.record, bytes) else self.record.encode()

    def to_json(self) -> bytes:
        """Return the file of the case; raises `ValueError` if it fails elsewhere than its name."""
        trust = EvidenceTrust(
            roots=[tsa.root for tsa in ROOTS.values()],
            revocations=self.revocations,
            algorithms=weakened(self.weak_from_ms),
        )
        files = [data_object(ALL_FILES[name]) for name in self.files]
        verdict = verify_evidence(self.data, files, trust, at_ms=self.at_ms)
        failure, found = verdict.failure, verdict.attestation
        step = None if failure is None else EvidenceStep(failure.step)
        if self.name.partition("-")[0] != ("good" if step is None else f"{step}"):
            raise ValueError(f"{self.name}: {verdict.outcome.value}: {failure}")
        fields: dict[str, Any] = {
            "about": self.about,
            "files": list(self.files),
            "at_ms": self.at_ms,
            "weak_from_ms": dict(self.weak_from_ms),
            "revocations": [base64.b64encode(each.encoded).decode() for each in self.revocations],
            "outcome": verdict.outcome.value,
            "step": step,
            "reason": "" if failure is None else failure.detail.partition(":")[0],
            "attested": None
            if found is None
            else {
                "times_ms": [stamp.time_ms for stamp in found.stamps],
                "algorithms": list(found.algorithms),
                "is_whole": found.is_whole,
                "valid_until_ms": found.valid_until_ms,
            },
            "record": base64.b64encode(self.data).decode(),
        }
        return (json.dumps(fields, indent=2, ensure_ascii=False) + "\n").encode()


def weakened(weak_from_ms: Mapping[str, int]) -> AlgorithmPolicy:
    """Return the standard table with these ends."""
    policy = STANDARD
    for name, from_ms in weak_from_ms.items():
        policy = policy.weaken(name, from_ms)
    return policy


def cases() -> Iterator[Case]:
    """Yield every case."""
    yield from _good()
    yield from _malformed()
    yield from _not_covering()
    yield from _not_stamped()
    yield from _too_late()


def _good() -> Iterator[Case]:
    first, story = created(), whole_story()
    once = renewed(first)
    anew = rehashed(once)
    soon = CREATED_MS + 1_000
    yield Case("good-created", "two files, one time stamp, no tree beside them", first, soon)
    yield Case("good-clock-behind", "by a clock a minute behind", first, CREATED_MS - 60_000)
    yield Case("good-batch", "two files among fourteen", created(GROUP, *OTHERS), soon)
    single = created(GROUP[:1])
    yield Case("good-single", "a file alone: nothing but a time stamp", single, soon, [DOCUMENT])
    among = created(GROUP[:1], *OTHERS)
    yield Case("good-single-batch", "a file alone among many", among, soon, [DOCUMENT])
    yield Case("good-one-of-two", "one file of those it is about", first, soon, [DOCUMENT])
    sha_384 = created(algorithm=SHA_384)
    yield Case("good-sha-384", "hashed by SHA-384", sha_384, soon)
    yield Case(
        "good-renewed", "renewed; the certificate of the first has ended since", once, year(2031)
    )
    yield Case("good-renewed-twice", "renewed twice", renewed(once, THIRD, year(2033)), year(2035))
    yield Case("good-rehashed", "hashed anew by SHA-512", anew, year(2033))
    yield Case("good-story", "all of it, among others, over ten years", story, year(2035))
    stamp = first.chains[0][0]
    left_out = replace(stamp, algorithm=None, encoded=der.encode_sequence(_parts(stamp)[1]))
    yield Case(
        "good-no-algorithm",
        "its hash algorithm is left to the token",
        replace(first, chains=((left_out,),)),
        soon,
    )
    plan = plan_creation([GROUP], SHA_256)
    bare = FIRST.stamp(plan.imprint, CREATED_MS, has_certificates=False)
    (beside,) = plan.finish(bare, [FIRST.certificate])
    yield Case("good-certificate-beside", "the certificate is beside the token", beside, soon)
    after = [FIRST.revoke(RENEWED_MS + 5_000)]
    yield Case(
        "good-stolen-after",
        "the key was stolen after the renewal",
        once,
        year(2031),
        revocations=after,
    )
    retired = [FIRST.revoke(year(2027), ReasonFlags.superseded)]
    yield Case("good-retired", "the key was merely retired", first, year(2028), revocations=retired)


def _malformed() -> Iterator[Case]:
    first, soon = created(), CREATED_MS + 1_000
    encoded, stamp = first.encode(), first.chains[0][0]

    def malformed(name: str, about: str, record: EvidenceRecord | bytes) -> Case:
        return Case(f"1-{name}", about, record, soon)

    yield malformed("empty", "no bytes", b"")
    yield malformed("trailing", "a byte after the end", encoded + b"\0")
    yield malformed("cut", "the last byte is missing", encoded[:-1])
    yield malformed("version", "version 2", encoded.replace(b"\x02\x01\x01", b"\x02\x01\x02", 1))
    yield malformed("no-chain", "no chain", replace(first, chains=()))
    yield malformed("empty-chain", "a chain without a time stamp", replace(first, chains=((),)))
    named = der.encode(der.context(1, constructed=True), b"")
    version, listed, chains = _items(encoded)
    encrypted = der.encode_sequence(version, listed, named, chains)
    yield malformed("encrypted", "files that were encrypted", encrypted)
    algorithm, rest = _parts(stamp)
    attributed = replace(stamp, encoded=der.encode_sequence(algorithm, named, rest))
    yield malformed(
        "attributes", "attributes that nothing protects", replace(first, chains=((attributed,),))
    )
    beside = replace(first, certificates=(FIRST.certificate,)).encode()
    version, listed, infos, chains = _items(beside)
    (attribute,) = _items(infos)
    twice = der.encode(der.context(0, constructed=True), attribute * 2)
    repeated = der.encode_sequence(version, listed, twice, chains)
    yield malformed("crypto-infos", "certificates in two attributes", repeated)
    yield malformed(
        "listed", "lists an algorithm more", replace(first, algorithms=(SHA_256, SHA_512))
    )
    yield malformed("unlisted", "lists another algorithm", replace(first, algorithms=(SHA_384,)))
    yield malformed("repeated", "lists one twice", replace(first, algorithms=(SHA_256, SHA_256)))
    other = created(algorithm=SHA_512, tsa=SECOND, time_ms=RENEWED_MS).chains[0][0]
    mixed = replace(first, algorithms=(SHA_256, SHA_512), chains=((stamp, other),))
    yield malformed("mixed", "two algorithms in one chain", mixed)
    misnamed = ArchiveTimeStamp.of(SHA_384, stamp.lists, stamp.token)
    yield malformed(
        "misnamed", "the tree's is not the token's", replace(first, chains=((misnamed,),))
    )


def _not_covering() -> Iterator[Case]:
    first, soon = created(GROUP, *OTHERS), CREATED_MS + 1_000
    stamp = first.chains[0][0]
    own, beside, *rest = stamp.lists

    def treed(name: str, about: str, *lists: tuple[bytes, ...]) -> Case:
        made = ArchiveTimeStamp.of(SHA_256, lists, stamp.token)
        return Case(f"2-{name}", about, replace(first, chains=((made,),)), soon)

    yield treed("short", "a list too few", own, beside, *rest[:-1])
    yield treed("long", "a list too many", own, beside, *rest, rest[0])
    yield treed("turned", "hashes out of order", own[::-1], beside, *rest)
    yield treed("repeated", "a hash twice", own, beside * 2, *rest)
    yield treed("one", "a first list of one hash", own[:1], own[1:], beside, *rest)
    yield treed("more", "a hash more among its own", (*own, bytes([255] * 32)), beside, *rest)
    alone = ArchiveTimeStamp.of(SHA_256, (), stamp.token)
    yield Case("3-no-tree", "without its tree", replace(first, chains=((alone,),)), soon)
    yield Case("3-other", "another document", first, soon, [OTHER])
    yield Case("3-one-other", "another document beside", first, soon, [*BOTH, OTHER])
    yield Case("3-neighbour", "a record of others", created(OTHERS[0], GROUP), soon)
    once = renewed(first)
    foreign = renewed(created(OTHERS[0])).chains[0][1]
    swapped = replace(first, chains=((stamp, foreign),))
    yield Case("4-foreign", "the renewal of another record", swapped, year(2029))
    again = renewed(once, THIRD, year(2033)).chains[0]
    skipped = replace(first, chains=((again[1], again[0]),))
    yield Case("3-turned", "the renewal before what it renews", skipped, year(2034))
    anew = rehashed(once)
    (second,) = anew.chains[1]
    unrenewed = replace(anew, chains=(first.chains[0], (second,)))
    yield Case("5-dropped", "the chain before lacks its renewal", unrenewed, year(2033))
    stolen = replace(anew, chains=(once.chains[0], rehashed(once, OTHERS[0]).chains[1]))
    yield Case("5-other", "hashed anew over another group", stolen, year(2033))


def _not_stamped() -> Iterator[Case]:
    first, soon = created(), CREATED_MS + 1_000
    stamp = first.chains[0][0]

    def tokened(name: str, about: str, token: bytes, **fields: Any) -> Case:  # noqa: ANN401
        made = ArchiveTimeStamp.of(SHA_256, stamp.lists, token)
        return Case(f"6-{name}", about, replace(first, chains=((made,),), **fields), soon)

    proof = add_chain_proof(stamp.token, b"anything")
    yield tokened("unsigned", "a chain proof, which is not signed", proof)
    forged = bytearray(stamp.token)
    forged[-1] ^= 1
    yield tokened("signature", "the signature is wrong", bytes(forged))
    superfluous = (SECOND.certificate,)
    yield tokened(
        "certificate", "a certificate that is not needed", stamp.token, certificates=superfluous
    )
    yield Case("6-stranger", "an authority that is not believed", created(tsa=STRANGER), soon)


def _too_late() -> Iterator[Case]:
    first = created()
    once = renewed(first)
    yield Case("7-future", "judged before it was made", first, CREATED_MS - 60_001)
    before = renewed(created(tsa=SECOND, time_ms=year(2029)), SECOND, year(2028.5))
    yield Case("7-order", "renewed before it was made", before, year(2030))
    yield Case("8-expired", "not renewed before its certificate ended", first, year(2031))
    late = renewed(first, SECOND, year(2030) + 1_000)
    yield Case("8-late", "renewed after the certificate had ended", late, year(2031))
    yield Case("8-last", "the last one has ended", once, year(2035))
    for name, about, at_ms, stolen_ms in (
        ("8-stolen", "the key was stolen before the renewal", RENEWED_MS - 1_000, None),
        ("8-stolen-early", "and known since later only", RENEWED_MS + 5_000, CREATED_MS + 5_000),
    ):
        stolen = [FIRST.revoke(at_ms, ReasonFlags.key_compromise, stolen_ms=stolen_ms)]
        yield Case(name, about, once, year(2031), revocations=stolen)
    silent = [FIRST.revoke(year(2026.5))]
    yield Case("8-revoked", "revoked without a reason", first, year(2027), revocations=silent)
    retired = [FIRST.revoke(CREATED_MS - 1_000, ReasonFlags.superseded)]
    yield Case("8-retired", "by a key that was retired", first, year(2027), revocations=retired)
    by_others = [FIRST.revoke(year(2029), signed_by="nobody")]
    yield Case(
        "8-list", "a list that its issuer did not sign", once, year(2031), revocations=by_others
    )
    broken = {"sha-256": year(2031)}
    yield Case("9-digest", "SHA-256 is broken", once, year(2032), weak_from_ms=broken)
    yield Case(
        "9-rehashed-late",
        "hashed anew after SHA-256 had been broken",
        rehashed(once),
        year(2033),
        weak_from_ms=broken,
    )
    tree = created(algorithm=SHA_384)
    broken = {"sha-384": year(2027)}
    yield Case("9-tree", "the trees' hash is broken", tree, year(2028), weak_from_ms=broken)
    curve = {"p-256": RENEWED_MS}
    yield Case(
        "9-signature", "renewed after P-256 had been broken", once, year(2029), weak_from_ms=curve
    )
    yield Case("9-table", "the table's own end", whole_story(), year(2036))


def _items(data: bytes) -> list[bytes]:
    """Return what one element consists of."""
    items, found = der.Reader(der.Reader(data, "case").read().content, "case"), []
    while not items.is_empty:
        found.append(items.read().encoded)
    return found


def _parts(stamp: ArchiveTimeStamp) -> tuple[bytes, bytes]:
    """Return the algorithm that a time stamp names, and the rest of it."""
    parts = der.read_only(stamp.encoded, der.SEQUENCE, "case")
    return parts.read().encoded, b"".join([parts.read().encoded, parts.read().encoded])


def files() -> dict[str, bytes]:
    """Return every generated file of this folder by its relative path."""
    made = {**ALL_FILES, **{f"roots/{name}.der": tsa.root for name, tsa in ROOTS.items()}}
    for case in cases():
        path = f"cases/{case.name}.json"
        if path in made:
            raise ValueError(f"two cases are named {case.name}")
        made[path] = case.to_json()
    made["document.txt.ers"] = whole_story().encode()
    return made


def main() -> None:
    """Write the files, and remove cases that are no longer made."""
    write_generated(FOLDER, files(), "cases/*.json")


if __name__ == "__main__":
    main()
