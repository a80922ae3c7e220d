"""Verification of an evidence record (RFC 4998 section 5.3) in nine numbered steps, offline.

Each archive time stamp is judged at the time when the next one was made, the last one at a time
that the verifier gives: usually now. proto/EVIDENCE.md says the same for those who write a verifier
of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import Final

from node.crypto.authority import AuthorityCertificate
from node.crypto.revocation import RevocationList
from node.crypto.suite import DOCUMENT_DIGESTS, DocumentDigest
from node.errors import ProofError
from node.timestamp.evidence.algorithms import STANDARD, AlgorithmPolicy
from node.timestamp.evidence.hash_tree import DataGroup, root_of
from node.timestamp.evidence.record import ArchiveTimeStamp, EvidenceRecord
from node.timestamp.evidence.renewal import rehash
from node.timestamp.history import expect_equal
from node.timestamp.outside.kinship import find_insider
from node.timestamp.outside.stamp import OutsideAuthority, OutsideStamp, verify_stamp
from node.timestamp.receipt import iso_time
from node.timestamp.steps import Judgement, NotRootedError, Outcome, expect_past, take_steps
from node.timestamp.tokens.issuing import encode_signer_id, without_unsigned_attributes
from node.timestamp.tokens.reading import ReadToken
from node.timestamp.trust import TrustAnchor
from node.timestamp.verify import Attestation

_DIGEST_NAMES: Final = {digest.oid: digest.name for digest in DOCUMENT_DIGESTS}


class EvidenceStep(IntEnum):
    """The steps of verification, in their order."""

    RECORD = 1
    TREES = 2
    FILES = 3
    RENEWALS = 4
    REHASHINGS = 5
    TOKENS = 6
    ORDER = 7
    VALIDITY = 8
    STRENGTH = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceTrust:
    """What a verifier of evidence believes."""

    roots: Sequence[bytes]
    """Certificates (PEM or DER) of authorities, also of those that have expired since."""
    revocations: Sequence[RevocationList] = ()
    algorithms: AlgorithmPolicy = STANDARD


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceAttestation:
    """What is shown: the files existed by the first time stamp. Times are ms since 1970 UTC."""

    stamps: tuple[OutsideStamp, ...]
    """All time stamps, oldest first."""
    algorithms: tuple[str, ...]
    """Of the hash trees, one per chain."""
    files: int
    is_whole: bool
    """The record is about these files together and no other; not known for one among others."""
    valid_until_ms: int
    """From here on the last time stamp, or what it rests on, can no longer be relied on."""

    @property
    def time_ms(self) -> int:
        """Return by when the files existed, as the first authority says."""
        return self.stamps[0].latest_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class CoveredRecord:
    """What a receipt attests that is one of the files, once it is verified by what is pinned.

    It holds the votes on its block, so nobody can have stamped it before that.
    """

    attestation: Attestation
    chain: TrustAnchor


EvidenceVerdict = Judgement[EvidenceAttestation]
"""What is attested is there if all steps have passed."""


def verify_evidence(
    record: bytes,
    files: DataGroup,
    trust: EvidenceTrust,
    *,
    at_ms: int,
    covered: CoveredRecord | None = None,
) -> EvidenceVerdict:
    """Verify that files, at least one, existed by the first time stamp. Never raises on any bytes.

    `covered` is of the receipt that is one of the files, where it is verified.

    1. RECORD: exactly the DER of an evidence record, with nothing in it that nothing protects; it
       lists the hash algorithms of its chains, each once. A chain has one.
    2. TREES: each reduced hash tree leads to what its time stamp stamps.
    3. FILES: the first time stamp of all covers the hash of each file.
    4. RENEWALS: every other time stamp of a chain covers the hash of the one before it.
    5. REHASHINGS: the first time stamp of every other chain covers, for each file, its hash with
       that of all older chains.
    6. TOKENS: each is a sound time-stamp token, its certificates valid at its time, of an authority
       that is believed. Certificates that the record holds beside them are needed. *Not rooted
       where one leads to none of the roots.*
    7. ORDER: no time stamp is older than the one before it, and none from after `at_ms` by more
       than the verifier's clock may be behind.
    8. VALIDITY: the certificates of each were valid, and not revoked, when the next one was made;
       of the last, at `at_ms`.
    9. STRENGTH: so were the algorithms of signatures and certificates strong enough; and that of
       each chain when the next chain began.

    The first failed step ends it: `NOT_ROOTED` if step 6 lacks a root, else `NOT_VERIFIED`.
    """
    return _Verification(record, files, trust, at_ms, covered).run()


class _Verification:
    """One run through the steps."""

    def __init__(
        self,
        data: bytes,
        files: DataGroup,
        trust: EvidenceTrust,
        at_ms: int,
        covered: CoveredRecord | None,
    ) -> None:
        self._data, self._files, self._trust, self._at_ms = data, files, trust, at_ms
        self._covered = covered
        self._record: EvidenceRecord
        self._algorithms: list[DocumentDigest] = []
        """Of each chain."""
        self._is_whole = True
        self._stamps: list[OutsideStamp] = []

    def run(self) -> EvidenceVerdict:
        outcome, reports = take_steps(self._steps())
        attestation = self._attestation() if outcome is Outcome.VERIFIED else None
        return Judgement(outcome, reports, attestation)

    def _steps(self) -> Iterator[tuple[EvidenceStep, Callable[[], str]]]:
        yield EvidenceStep.RECORD, self._read
        yield EvidenceStep.TREES, self._check_trees
        yield EvidenceStep.FILES, self._check_files
        yield EvidenceStep.RENEWALS, self._check_renewals
        yield EvidenceStep.REHASHINGS, self._check_rehashings
        yield EvidenceStep.TOKENS, self._check_tokens
        yield EvidenceStep.ORDER, self._check_order
        yield EvidenceStep.VALIDITY, self._check_validity
        yield EvidenceStep.STRENGTH, self._check_strength

    def _read(self) -> str:  # step 1
        self._record = record = EvidenceRecord.decode(self._data)
        for chain in record.chains:
            used = {_algorithm_of(stamp) for stamp in chain}
            if len(used) > 1:
                names = ", ".join(sorted(each.name for each in used))
                raise ProofError("chain-algorithm", f"expected one in a chain, got {names}")
            self._algorithms += used
        listed = sorted(each.name for each in record.algorithms)
        expect_equal("record-algorithms", sorted({each.name for each in self._algorithms}), listed)
        count = len(record.time_stamps)
        return f"version 1, {len(self._data)} bytes, {count} time stamps, {', '.join(listed)}"

    def _check_trees(self) -> str:  # step 2
        lists = 0
        for number, algorithm, stamp in self._numbered():
            imprint = ReadToken.decode(stamp.token).info.imprint.digest
            if stamp.lists:
                root = root_of(stamp.lists, algorithm)
                if root != imprint:
                    expected = f"{number}: expected {imprint.hex()}, got {root.hex()}"
                    raise ProofError("tree-root", expected)
            lists += len(stamp.lists)
        return f"{lists} lists of hashes"

    def _check_files(self) -> str:  # step 3
        algorithm = self._algorithms[0]
        hashes = [file(algorithm) for file in self._files]
        if not hashes:
            raise ProofError("file-digest", "expected at least one file, got none")
        self._expect_covered("file-digest", self._record.chains[0][0], hashes)
        return f"{len(hashes)} by {algorithm.name}"

    def _check_renewals(self) -> str:  # step 4
        count = 0
        for algorithm, chain in zip(self._algorithms, self._record.chains, strict=True):
            for before, stamp in pairwise(chain):
                digest = algorithm.new_hash(before.token).digest()
                if digest not in _covered(stamp):
                    expected = f"the time stamp before it, {digest.hex()}"
                    raise ProofError("renewal-digest", f"expected that it covers {expected}")
                count += 1
        return f"{count} time stamps renewed"

    def _check_rehashings(self) -> str:  # step 5
        chains = self._record.chains
        for at in range(1, len(chains)):
            algorithm = self._algorithms[at]
            hashes = [rehash(file(algorithm), chains[:at], algorithm) for file in self._files]
            self._expect_covered("rehashed-digest", chains[at][0], hashes)
        return f"{len(chains) - 1} hash trees renewed"

    def _expect_covered(self, rule: str, stamp: ArchiveTimeStamp, hashes: Sequence[bytes]) -> None:
        covered = _covered(stamp)
        for digest in hashes:
            if digest not in covered:
                raise ProofError(rule, f"expected one that is covered, got {digest.hex()}")
        self._is_whole = self._is_whole and set(covered) == set(hashes)

    def _check_tokens(self) -> str:  # step 6
        held = [AuthorityCertificate.read(each) for each in self._record.certificates]
        for number, algorithm, stamp in self._numbered():
            if without_unsigned_attributes(stamp.token) != stamp.token:
                raise ProofError("token-unsigned", f"{number}: expected nothing unsigned in it")
            token = ReadToken.decode(stamp.token)
            document = (algorithm, token.info.imprint.digest)
            authority = OutsideAuthority(
                roots=self._trust.roots, certificates=_above(token, held), allows_ed25519=True
            )
            verdict = verify_stamp(stamp.token, document, authority)
            if verdict.attestation is None:
                last = verdict.steps[-1]
                said = f"{number}: step {int(last.step)} of a token: {last.detail}"
                if verdict.outcome is Outcome.NOT_ROOTED:
                    raise NotRootedError(said)
                raise ProofError("token", said)
            self._stamps.append(verdict.attestation)
        needed = [certificate for stamp in self._stamps for certificate in stamp.path]
        if not set(needed).issuperset(self._record.certificates):
            raise ProofError("record-certificates", "expected none that no time stamp needs")
        names = dict.fromkeys(stamp.authority for stamp in self._stamps)
        return "; ".join(names)

    def _check_order(self) -> str:  # step 7
        times = [stamp.time_ms for stamp in self._stamps]
        for before, after in pairwise(times):
            if after < before:
                expected, got = iso_time(before), iso_time(after)
                raise ProofError("time-order", f"expected {expected} or later, got {got}")
        expect_past(times[-1], self._at_ms)
        if self._covered is not None:
            self._check_covered(self._covered)
        return " < ".join(map(iso_time, times))

    def _check_covered(self, covered: CoveredRecord) -> None:
        first, record = self._stamps[0], covered.attestation
        if record.time_degraded and find_insider(first.path, covered.chain) is None:
            return
        if first.latest_ms + covered.chain.genesis.parameters.accuracy_ms < record.time_ms:
            expected, got = iso_time(record.time_ms), iso_time(first.latest_ms)
            raise ProofError("receipt-time", f"expected {expected} or later, got {got}")

    def _check_validity(self) -> str:  # step 8
        for stamp, judged_ms in self._judged():
            path = [AuthorityCertificate.read(each) for each in stamp.path]
            for certificate in path:
                if not certificate.not_before_ms <= judged_ms <= certificate.not_after_ms:
                    end, judged = iso_time(certificate.not_after_ms), iso_time(judged_ms)
                    what = f"{certificate.subject}, valid until {end}, judged at {judged}"
                    raise ProofError("certificate-expired", what)
            for certificate, issuer in pairwise(path):
                for revocations in self._trust.revocations:
                    found = revocations.find(certificate, issuer)
                    at_ms = stamp.time_ms if found and found.is_harmless else judged_ms
                    if found is not None and found.since_ms <= at_ms:
                        since, subject = iso_time(found.since_ms), certificate.subject
                        raise ProofError("certificate-revoked", f"{subject}, since {since}")
        return f"the last one until {iso_time(self._stamps[-1].valid_until_ms)}"

    def _check_strength(self) -> str:  # step 9
        policy = self._trust.algorithms
        for stamp, judged_ms in self._judged():
            for name in _names_of(stamp):
                policy.check(name, judged_ms)
        begun = self._beginnings()
        for algorithm, next_ms in zip(self._algorithms, (*begun[1:], self._at_ms), strict=True):
            policy.check(algorithm.name, next_ms)
        return ", ".join(_names_of(self._stamps[-1]))

    def _numbered(self) -> Iterator[tuple[str, DocumentDigest, ArchiveTimeStamp]]:
        """Yield each time stamp with its number as `chain.place`, and its chain's algorithm."""
        chains = zip(self._algorithms, self._record.chains, strict=True)
        for number, (algorithm, chain) in enumerate(chains, start=1):
            for place, stamp in enumerate(chain, start=1):
                yield f"{number}.{place}", algorithm, stamp

    def _judged(self) -> Iterator[tuple[OutsideStamp, int]]:
        """Yield each time stamp with the time it is judged at: when the next was surely made."""
        times = [stamp.latest_ms for stamp in self._stamps[1:]]
        last_ms = max(self._at_ms, self._stamps[-1].time_ms)
        return zip(self._stamps, (*times, last_ms), strict=True)

    def _beginnings(self) -> list[int]:
        """Return when the first time stamp of each chain was surely made."""
        firsts = [0]
        for chain in self._record.chains[:-1]:
            firsts.append(firsts[-1] + len(chain))
        return [self._stamps[at].latest_ms for at in firsts]

    def _attestation(self) -> EvidenceAttestation:
        last, policy = self._stamps[-1], self._trust.algorithms
        ends = [policy.end_ms(name) for name in (*_names_of(last), self._algorithms[-1].name)]
        return EvidenceAttestation(
            stamps=tuple(self._stamps),
            algorithms=tuple(each.name for each in self._algorithms),
            files=len(self._files),
            is_whole=self._is_whole,
            valid_until_ms=min([last.valid_until_ms, *(end for end in ends if end is not None)]),
        )


def _algorithm_of(stamp: ArchiveTimeStamp) -> DocumentDigest:
    """Return the algorithm of a tree, which has to be that of what is stamped."""
    stamped = ReadToken.decode(stamp.token).info.imprint.algorithm
    if stamp.algorithm is not None:
        expect_equal("tree-algorithm", stamped.name, stamp.algorithm.name)
    return stamped


def _covered(stamp: ArchiveTimeStamp) -> tuple[bytes, ...]:
    """Return the hashes of which a time stamp is taken to speak: the first list, or the imprint."""
    if stamp.lists:
        return stamp.lists[0]
    return (ReadToken.decode(stamp.token).info.imprint.digest,)


def _above(token: ReadToken, held: Sequence[AuthorityCertificate]) -> list[bytes]:
    """Return those of the certificates held that may be on the way from a token to a root.

    In decades a record comes to hold more than are looked at for one token.
    """
    issuers = {AuthorityCertificate.read(each).issuer_name for each in token.certificates}
    found: list[AuthorityCertificate] = []
    waiting = list(held)
    while above := [
        each
        for each in waiting
        if each.subject_name in issuers or encode_signer_id(each) == token.signer_id
    ]:
        found += above
        issuers |= {each.issuer_name for each in above}
        waiting = [each for each in waiting if each not in above]
    return [each.encoded for each in found]


def _names_of(stamp: OutsideStamp) -> list[str]:
    """Return the algorithms that a time stamp rests on: digest, keys, signatures under its root."""
    path = [AuthorityCertificate.read(each) for each in stamp.path]
    digest = _DIGEST_NAMES.get(stamp.digest_algorithm, stamp.digest_algorithm)
    keys = (each.key_algorithm for each in path)
    issued = (each.issuing_digest for each in path[:-1])  # a root is believed, however it is signed
    return [*dict.fromkeys((digest, *keys, *issued))]
