"""Evidence over decades: expired certificates, stolen keys, broken algorithms. And our vectors."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from node.crypto.revocation import RevocationList
from node.crypto.suite import SHA_256, SHA_512, DocumentDigest
from node.errors import ClientError
from node.timestamp.evidence.algorithms import STANDARD, AlgorithmPolicy
from node.timestamp.evidence.hash_tree import data_object
from node.timestamp.evidence.record import EvidenceRecord, encode_chains
from node.timestamp.evidence.renewal import plan_creation, plan_rehashing, plan_renewal
from node.timestamp.evidence.verify import (
    EvidenceStep,
    EvidenceTrust,
    EvidenceVerdict,
    verify_evidence,
)
from node.timestamp.steps import Outcome
from node.timestamp.tokens.issuing import encode_granted
from tests.unit.timestamp.authority import ROOT, TSA_KEY
from tests.unit.timestamp.evidence import strong_tsa
from tests.unit.timestamp.reference_token import certificate_of
from tests.vectors.evidence.authorities import FIRST, SECOND, Tsa, year
from tests.vectors.evidence.generate import (
    ALL_FILES,
    FOLDER,
    ROOTS,
    Case,
    cases,
    files,
    weakened,
)
from tests.vectors.evidence.story import (
    CREATED_MS,
    GROUP,
    OTHERS,
    RENEWED_MS,
    created,
    rehashed,
    renewed,
    stamped,
    whole_story,
)

CASES = sorted((FOLDER / "cases").glob("*.json"))
TRUST = EvidenceTrust(roots=[*(tsa.root for tsa in ROOTS.values()), strong_tsa.ROOT])


def verify(
    record: EvidenceRecord,
    at_ms: int,
    revocations: Sequence[RevocationList] = (),
    algorithms: AlgorithmPolicy = STANDARD,
) -> EvidenceVerdict:
    trust = replace(TRUST, revocations=revocations, algorithms=algorithms)
    return verify_evidence(record.encode(), GROUP, trust, at_ms=at_ms)


def failed_at(verdict: EvidenceVerdict) -> EvidenceStep:
    assert verdict.outcome is Outcome.NOT_VERIFIED
    assert verdict.attestation is None
    assert verdict.failure is not None
    return EvidenceStep(verdict.failure.step)


def test_the_generator_makes_exactly_the_committed_files() -> None:
    kept = {
        str(path.relative_to(FOLDER)): path.read_bytes()
        for path in FOLDER.rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc", ".md"}
    }
    assert files() == kept


def test_every_step_has_cases_that_fail_at_it() -> None:
    assert {json.loads(path.read_bytes())["step"] for path in CASES} == {None, *EvidenceStep}


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_verdict_is_the_stated_one_at_the_stated_step_for_the_stated_reason(path: Path) -> None:
    case = json.loads(path.read_bytes())
    trust = EvidenceTrust(
        roots=[each.read_bytes() for each in sorted((FOLDER / "roots").iterdir())],
        revocations=[RevocationList.read(base64.b64decode(each)) for each in case["revocations"]],
        algorithms=weakened(case["weak_from_ms"]),
    )
    named = [data_object(ALL_FILES[name]) for name in case["files"]]
    data = base64.b64decode(case["record"])
    verdict = verify_evidence(data, named, trust, at_ms=case["at_ms"])
    failed, found = verdict.failure, verdict.attestation
    assert verdict.outcome is Outcome(case["outcome"])
    assert (failed and failed.step) == case["step"]
    assert (failed.detail if failed else "").startswith(case["reason"])
    taken = [report.step for report in verdict.steps]
    assert taken == list(EvidenceStep)[: len(taken)]
    if found is None:
        assert case["attested"] is None
        return
    assert case["attested"] == {
        "times_ms": [stamp.time_ms for stamp in found.stamps],
        "algorithms": list(found.algorithms),
        "is_whole": found.is_whole,
        "valid_until_ms": found.valid_until_ms,
    }


def test_every_case_has_a_name_of_its_own() -> None:
    names = [case.name for case in cases()]
    assert len(set(names)) == len(names) == len(CASES)
    with pytest.raises(ValueError, match="good-wrong"):
        Case("good-wrong", "", created(), year(2031)).to_json()


def test_no_file_is_no_evidence() -> None:
    verdict = verify_evidence(created().encode(), [], TRUST, at_ms=year(2027))
    assert failed_at(verdict) is EvidenceStep.FILES


def test_a_record_outlives_its_hash_algorithm_if_it_is_hashed_anew_in_time() -> None:
    """SHA-256 breaks in 2033: whoever forges files with the old digest changes nothing by then."""
    broken = STANDARD.weaken("sha-256", year(2033))
    first = renewed(created())
    plan = plan_rehashing([first], [GROUP], SHA_512)
    (saved,) = plan.finish(strong_tsa.token_of(plan.imprint, year(2032)))
    verdict = verify(saved, year(2034), algorithms=broken)
    assert verdict.outcome is Outcome.VERIFIED, verdict.failure
    (too_late,) = plan.finish(strong_tsa.token_of(plan.imprint, year(2033.5)))
    assert failed_at(verify(too_late, year(2034), algorithms=broken)) is EvidenceStep.STRENGTH
    assert failed_at(verify(first, year(2033.5), algorithms=broken)) is EvidenceStep.STRENGTH
    assert verify(first, year(2032.9), algorithms=broken).outcome is Outcome.VERIFIED


@pytest.mark.parametrize("weak", ["issuing", "signing"])
def test_a_digest_counts_wherever_a_signature_rests_on_it(weak: str) -> None:
    """SHA-256 is broken: under the certificate alone, or under the signature of the token alone."""
    plan = plan_creation([GROUP], SHA_512)
    if weak == "issuing":
        token = strong_tsa.token_of(plan.imprint, CREATED_MS, leaf=certificate_of(strong_tsa.KEY))
    else:
        leaf = strong_tsa.leaf_of(TSA_KEY.private_key)
        token = strong_tsa.token_of(
            plan.imprint, CREATED_MS, key=TSA_KEY.private_key, leaf=leaf, digest="sha256"
        )
    (record,) = plan.finish(token)
    roots, algorithms = [ROOT, strong_tsa.ROOT], STANDARD.weaken("sha-256", year(2027))
    trust = EvidenceTrust(roots=roots, algorithms=algorithms)
    early = verify_evidence(record.encode(), GROUP, trust, at_ms=year(2026.5))
    assert early.outcome is Outcome.VERIFIED, early.failure
    late = verify_evidence(record.encode(), GROUP, trust, at_ms=year(2028))
    assert failed_at(late) is EvidenceStep.STRENGTH


def test_a_forged_file_of_the_old_digest_is_not_in_the_new_tree() -> None:
    """A file that collides with the document under SHA-256 alone."""
    record = whole_story()
    genuine = GROUP[0]

    def colliding(algorithm: DocumentDigest) -> bytes:
        return genuine(algorithm) if algorithm is SHA_256 else algorithm.new_hash(b"f").digest()

    verdict = verify_evidence(record.encode(), [colliding], TRUST, at_ms=year(2035))
    assert failed_at(verdict) is EvidenceStep.REHASHINGS
    assert "rehashed-digest" in str(verdict.failure)


def test_a_stolen_key_forges_nothing_that_was_renewed_before() -> None:
    stolen = [FIRST.revoke(year(2028.75))]
    honest = renewed(created())
    assert verify(honest, year(2031), revocations=stolen).outcome is Outcome.VERIFIED
    backdated = renewed(created(time_ms=year(2026.1)), SECOND, year(2029))
    assert verify(backdated, year(2031)).outcome is Outcome.VERIFIED, "nobody knows of it yet"
    verdict = verify(backdated, year(2031), revocations=stolen)
    assert failed_at(verdict) is EvidenceStep.VALIDITY


def test_what_is_renewed_again_says_what_it_said_before() -> None:
    record, times = created(), [CREATED_MS]
    for number in range(4):
        times.append(RENEWED_MS + number * 1_000)
        record = renewed(record, time_ms=times[-1])
        attested = verify(record, year(2030)).attestation
        assert attested is not None
        assert [stamp.time_ms for stamp in attested.stamps] == times
        assert attested.time_ms == CREATED_MS + 1_000, "with what its clock may err"


def test_the_hash_of_the_file_comes_first_and_then_that_of_the_chains() -> None:
    """Section 5.2 step 4, as BouncyCastle has it too, not in sorted order as in figure 4."""
    for number in range(8):
        file = data_object(b"%d" % number)
        first = created([file])
        record = rehashed(first, [file], time_ms=year(2029))
        digest = hashlib.sha512(b"%d" % number).digest()
        before = hashlib.sha512(encode_chains(first.chains)).digest()
        plan = plan_rehashing([first], [[file]], SHA_512)
        assert plan.tree.root == hashlib.sha512(digest + before).digest()
        verdict = verify_evidence(record.encode(), [file], TRUST, at_ms=year(2033))
        assert verdict.outcome is Outcome.VERIFIED, verdict.failure


def test_certificates_of_decades_lie_beside_one_another() -> None:
    record = created()
    roots = [FIRST.root]
    for number in range(12):
        tsa = Tsa(f"authority {number}", 2026, 2040)
        plan = plan_renewal([record])
        token = tsa.stamp(plan.imprint, year(2026 + number / 4), has_certificates=False)
        (record,) = plan.finish(token, [tsa.certificate])
        roots.append(tsa.root)
    assert len(record.certificates) == 12
    trust = EvidenceTrust(roots=roots)
    verdict = verify_evidence(record.encode(), GROUP, trust, at_ms=year(2030))
    assert verdict.outcome is Outcome.VERIFIED, verdict.failure
    missing = replace(record, certificates=record.certificates[1:])
    verdict = verify_evidence(missing.encode(), GROUP, trust, at_ms=year(2030))
    assert failed_at(verdict) is EvidenceStep.TOKENS


def test_thousands_of_records_share_one_token() -> None:
    groups = [
        (data_object(b"document %d" % at), data_object(b"receipt %d" % at)) for at in range(2_000)
    ]
    made = stamped(plan_creation(groups, SHA_256), FIRST, CREATED_MS)
    assert len({record.chains[0][0].token for record in made}) == 1
    assert max(len(record.encode()) for record in made) < 2_000
    later = stamped(plan_renewal(made), SECOND, RENEWED_MS)
    assert all(record.chains[0][1].lists == () for record in later), "they had one time stamp"
    for at in (0, 1, 999, 1_999):
        data = later[at].encode()
        verdict = verify_evidence(data, groups[at], TRUST, at_ms=year(2031))
        assert verdict.outcome is Outcome.VERIFIED
        assert verdict.attestation is not None
        assert verdict.attestation.is_whole
        other = verify_evidence(data, groups[at - 1], TRUST, at_ms=year(2031))
        assert failed_at(other) is EvidenceStep.FILES


def test_records_of_different_stories_are_renewed_together() -> None:
    once = created(OTHERS[0])
    records = [created(), once, renewed(created(OTHERS[1]))]
    made = stamped(plan_renewal(records), SECOND, year(2029))
    for record, group in zip(made, (GROUP, OTHERS[0], OTHERS[1]), strict=True):
        verdict = verify_evidence(record.encode(), group, TRUST, at_ms=year(2031))
        assert verdict.outcome is Outcome.VERIFIED
    with pytest.raises(ClientError, match="sha-256, sha-512"):
        plan_renewal([created(), rehashed(once, OTHERS[0])])


def test_an_answer_serves_as_its_token_and_one_over_something_else_is_refused() -> None:
    plan = plan_creation([GROUP], SHA_256)
    token = FIRST.stamp(plan.imprint, CREATED_MS)
    assert plan.finish(encode_granted(token)) == plan.finish(token)
    other = plan_creation([OTHERS[0]], SHA_256)
    with pytest.raises(ClientError, match="not over what"):
        other.finish(token)
