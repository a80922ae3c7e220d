"""Makes every file of this folder from fixed keys: `python -m tests.vectors.standing.generate`.

A case that fails differs from a good one in one thing, as far as one thing can.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from node.chain.block import CertifiedHeader
from node.chain.certificate import Phase
from node.chain.encoding import decode, encode
from node.chain.record import RecordAction
from node.chain.reference import ReferenceName
from node.chain.state_tree import StateLeaf
from node.timestamp.consistency import (
    ConsistencyProof,
    ConsistencyStep,
    verify_consistency_proof,
)
from node.timestamp.receipt import Receipt
from node.timestamp.standing import StandingProof, StandingStep, verify_standing
from node.timestamp.steps import Outcome
from node.timestamp.trust import load_trust
from tests.vectors.receipt.chain import Chain, certify, seed, validator_set
from tests.vectors.standing.chain import (
    StandingChain,
    absent_beside_another,
    absent_beside_nothing,
    name_of,
    record_under,
)
from tests.vectors.writing import write_generated

FOLDER: Final = Path(__file__).parent
LICENCE: Final = name_of("粤A-2025-0001")
GENESIS, PINNED_8, OTHER_CHAIN = "genesis", "pinned-8", "other-chain"
FORGERS: Final = validator_set(0, (6, 7, 8, 9))

# Heights of the chain, named by what happens to the licence there.
RECORDED, SUPERSEDED, WITHDRAWN, RECORDED_AGAIN, DEGRADED = 1, 2, 3, 4, 5
LAST_OF_EPOCH_0, FIRST_OF_EPOCH_1, PINNED = 6, 7, 8


@dataclass(frozen=True, slots=True)
class Case:
    """One proof and what must come of it. Outcome and step are checked when it is made."""

    name: str
    about: str
    proof: StandingProof | ConsistencyProof | bytes
    trust: str = GENESIS
    asked: ReferenceName | None = None
    receipt: Receipt | None = None

    @property
    def data(self) -> bytes:
        """Return the proof's bytes."""
        return self.proof if isinstance(self.proof, bytes) else self.proof.encode()


def build_chain() -> StandingChain:
    """Return eight blocks of two epochs."""
    chain = StandingChain.found(neighbours=12)
    reference = LICENCE.reference
    chain.append(record_under(reference, b"one"), record_under("another", b"another"))
    chain.append(record_under(reference, b"two", RecordAction.SUPERSEDE))
    chain.append(record_under(reference, b"decision", RecordAction.WITHDRAW))
    chain.append(record_under(None, b"plain"), record_under(reference, b"three"))
    chain.append(degraded=True)
    chain.append(next_set=validator_set(1, (1, 2, 3, 4, 5)))
    chain.append(record_under(reference, b"four", RecordAction.SUPERSEDE))
    chain.append()
    return chain


def standing_cases(chain: StandingChain) -> Iterator[Case]:
    """Yield every case of standing."""
    first = chain.receipt(RECORDED)
    for height, about in (
        (RECORDED, "in force, the first record"),
        (SUPERSEDED, "in force, the second record"),
        (WITHDRAWN, "withdrawn"),
        (RECORDED_AGAIN, "recorded again after it was withdrawn"),
        (DEGRADED, "after a block whose time nobody vouches for"),
        (PINNED, "over a handover"),
    ):
        yield Case(f"good-{height}", about, chain.proof(LICENCE, height), asked=LICENCE)
    yield Case("good-any-name", "no name in mind", chain.proof(LICENCE, RECORDED))
    yield Case(
        "good-absent-beside-another",
        "never recorded: another leaf is where it would be",
        chain.proof(absent_beside_another(chain, PINNED), PINNED),
        PINNED_8,
    )
    yield Case(
        "good-absent-beside-nothing",
        "never recorded: nothing is where it would be",
        chain.proof(absent_beside_nothing(chain, PINNED), PINNED),
        PINNED_8,
    )
    for height, fate in (
        (RECORDED, "in force"),
        (SUPERSEDED, "superseded"),
        (WITHDRAWN, "withdrawn"),
    ):
        about = f"beside the receipt of the first record: it is {fate}"
        proof = chain.proof(LICENCE, height)
        yield Case(f"good-record-{height}", about, proof, receipt=first)
    for height, recorded, fate in (
        (RECORDED_AGAIN, first, "withdrawn, though another was recorded later"),
        (PINNED, first, "withdrawn, though another was superseded later"),
        (PINNED, chain.receipt(SUPERSEDED), "withdrawn: the second record"),
        (RECORDED_AGAIN, chain.receipt(RECORDED_AGAIN, 1), "in force: recorded after a withdrawal"),
        (PINNED, chain.receipt(RECORDED_AGAIN, 1), "superseded: recorded after a withdrawal"),
    ):
        name = f"good-record-{height}-of-{recorded.leaf.height}"
        yield Case(
            name, f"beside a receipt, {fate}", chain.proof(LICENCE, height), receipt=recorded
        )
    yield from _malformed(chain.proof(LICENCE, WITHDRAWN))
    yield from _misstated(chain)
    other = name_of("粤A-2025-0001", "seal")
    yield Case("2-type", "of another type", chain.proof(other, PINNED), asked=LICENCE)
    foreign = name_of("粤A-2025-0001", issuer="agency-2")
    yield Case("2-issuer", "of another issuer", chain.proof(foreign, PINNED), asked=LICENCE)
    yield from _unstated(chain)
    yield from _unsigned(chain)
    yield Case("5-other-chain", "of another chain", chain.proof(LICENCE, 1), OTHER_CHAIN)
    yield Case("5-retired", "of an epoch whose keys are retired", chain.proof(LICENCE, 1), PINNED_8)
    skipping = replace(chain.proof(LICENCE, PINNED), handovers=())
    yield Case("5-no-handover", "nothing leads to its epoch", skipping)
    yield from _contradicting(chain, first)


def _malformed(proof: StandingProof) -> Iterator[Case]:
    encoded = proof.encode()
    yield Case("1-trailing", "a byte after the end", encoded + b"\0")
    yield Case("1-cut", "the last byte is missing", encoded[:-1])
    version = encoded.replace(b"govchain-standing\x01", b"govchain-standing\x02")
    yield Case("1-version", "version 2", version)
    named = encoded.replace(b"govchain-standing", b"govchain-standinG")
    yield Case("1-format", "another format", named)
    yield Case("1-empty", "no bytes", b"")


def _misstated(chain: StandingChain) -> Iterator[Case]:
    proof = chain.proof(LICENCE, RECORDED_AGAIN)
    again, encoded = proof.status, proof.encode()
    assert again is not None
    assert again.withdrawn_index is not None
    for name, about, told in (
        ("late", "withdrawn where the latest record stands", [3, again.log_index]),
        ("in-force", "in force, with a withdrawal", [1, again.withdrawn_index]),
        ("withdrawn", "withdrawn, with a withdrawal before it", [2, again.withdrawn_index]),
        ("renewed", "in force again, without a withdrawal", [3]),
        ("unknown", "no such standing", [4, again.withdrawn_index]),
    ):
        items = decode(again.encode(), what="status", size_max=1_024)
        assert isinstance(items, list)
        changed = encode([items[0], told[0], *items[2:8], *told[1:]])
        stated = encoded.replace(encode(again.encode()), encode(changed))
        yield Case(f"1-standing-{name}", about, stated)


def _unstated(chain: StandingChain) -> Iterator[Case]:
    proof = chain.proof(LICENCE, WITHDRAWN)
    absent = chain.proof(absent_beside_another(chain, WITHDRAWN), WITHDRAWN)
    path, status = proof.proof, chain.status(LICENCE, SUPERSEDED)
    yield Case("3-status", "the status of before", replace(proof, status=status))
    yield Case("3-hidden", "the status is left out", replace(proof, status=None))
    stranger = replace(path, other_leaf=StateLeaf(seed("path"), seed("value")))
    yield Case("3-present-and-other", "present, and another leaf", replace(proof, proof=stranger))
    hidden = replace(proof, status=None, proof=stranger)
    yield Case("3-other-elsewhere", "the other leaf belongs elsewhere", hidden)
    moved = replace(absent, name=LICENCE)
    yield Case("3-other-name", "the absence of another name", moved)
    longer = replace(path, siblings=(*path.siblings, bytes(32)))
    yield Case("3-superfluous", "an empty sibling at the bottom", replace(proof, proof=longer))
    shorter = replace(path, siblings=path.siblings[:-1])
    yield Case("3-short", "the lowest sibling is missing", replace(proof, proof=shorter))
    turned = replace(path, siblings=path.siblings[::-1])
    yield Case("3-order", "siblings from the leaf upward", replace(proof, proof=turned))


def _unsigned(chain: StandingChain) -> Iterator[Case]:
    proof = chain.proof(LICENCE, WITHDRAWN)
    header, validators = proof.block.header, chain.trust().establish().validator_sets[0]

    def certified(name: str, about: str, certificate: Any) -> Case:  # noqa: ANN401
        return Case(name, about, replace(proof, block=CertifiedHeader(header, certificate)))

    before = chain.chain.blocks[SUPERSEDED - 1].certificate
    yield certified("4-other-header", "the certificate of another block", before)
    prepared = certify(header, validators, phase=Phase.PREPARE)
    yield certified("4-prepared", "prepared, not committed", prepared)
    yield certified("6-forgers", "signed by others", certify(header, FORGERS))
    full = certify(header, validators)
    yield certified("6-two-of-four", "below the quorum", replace(full, votes=full.votes[:2]))
    twisted = replace(full.votes[2], signature=full.votes[1].signature)
    votes = (*full.votes[:2], twisted)
    yield certified("6-signature", "one signature is another's", replace(full, votes=votes))


def _contradicting(chain: StandingChain, first: Receipt) -> Iterator[Case]:
    fork = StandingChain.found(neighbours=12)
    for number in range(PINNED):
        ends = {"next_set": validator_set(1, (1, 2, 3, 4, 5))} if number == PINNED - 3 else {}
        fork.append(record_under(None, b"fork"), **ends)
    yield Case("7-fork", "another block at the pinned height", fork.proof(LICENCE, 8), PINNED_8)
    second, plain = chain.receipt(SUPERSEDED), chain.receipt(RECORDED_AGAIN)
    early = chain.proof(LICENCE, RECORDED)
    yield Case("8-older", "older than the record", early, receipt=second)
    another = chain.proof(name_of("another"), PINNED)
    yield Case("8-name", "of another reference", another, receipt=first)
    yield Case("8-no-reference", "a record without one", chain.proof(LICENCE, 8), receipt=plain)
    yield Case("8-fork", "of another chain since", fork.proof(LICENCE, RECORDED), receipt=first)
    block = chain.chain.blocks[DEGRADED - 1]
    for name, about, told in (
        ("8-earlier", "a quorum states an older state anew", chain.proof(LICENCE, RECORDED)),
        ("8-absent", "a quorum denies the record", fork.proof(LICENCE, RECORDED)),
    ):
        header = replace(block.header, state_root=told.block.header.state_root)
        signed = certify(header, chain.trust().establish().validator_sets[0])
        yield Case(
            name, about, replace(told, block=CertifiedHeader(header, signed)), receipt=second
        )


def consistency_cases(chain: StandingChain) -> Iterator[Case]:
    """Yield every case of consistency."""
    for first, last in ((1, 2), (1, 8), (3, 4), (5, 6), (6, 7), (7, 8)):
        told = f"from {first} to {last}"
        yield Case(f"good-{first}-{last}", told, chain.consistency(first, last))
    about = "the old header is of a retired epoch, the new one of that in force"
    yield Case("good-retired", about, chain.consistency(2, 8), PINNED_8)
    proof = chain.consistency(2, 5)
    old, encoded = proof.old, proof.encode()
    yield Case("1-trailing", "a byte after the end", encoded + b"\0")
    yield Case("1-format", "another format", encoded.replace(b"consistency", b"consistencY"))
    yield Case("1-standing", "a proof of standing", chain.proof(LICENCE, 1).encode())
    later = proof.block.header
    yield Case("2-same", "one height twice", replace(proof, old=later))
    late = replace(old, time_ms=later.time_ms - 2)
    yield Case("2-time", "three blocks in two milliseconds", replace(proof, old=late))
    yield Case("2-epoch", "the epoch falls", replace(proof, old=replace(old, epoch=1)))
    yield Case("2-chain", "of another chain", replace(proof, old=replace(old, chain_id=bytes(32))))
    root = replace(old, log_roots=(seed("root"),))
    yield Case("3-root", "the old log is another", replace(proof, old=root))
    yield Case("3-short", "a hash too few", replace(proof, log_path=proof.log_path[:-1]))
    yield Case("3-long", "a hash too many", replace(proof, log_path=(*proof.log_path, seed("x"))))
    yield Case("3-empty", "from an empty log", replace(proof, old=replace(old, log_size=0)))
    state = replace(old, state_root=seed("another state"))
    yield Case("4-state", "the old header says another state", replace(proof, old=state))
    yield Case("4-short", "a hash too few", replace(proof, header_path=proof.header_path[:-1]))
    block = CertifiedHeader(later, chain.chain.blocks[1].certificate)
    yield Case("5-other-header", "the certificate of another block", replace(proof, block=block))
    yield Case("6-retired", "the new header is of a retired epoch", proof, PINNED_8)
    yield Case("6-other-chain", "of another chain", proof, OTHER_CHAIN)
    block = CertifiedHeader(later, certify(later, FORGERS))
    yield Case("7-forgers", "signed by others", replace(proof, block=block))


def trust_files(chain: StandingChain) -> dict[str, bytes]:
    """Return the trust files by name."""
    return {
        GENESIS: chain.trust().encode(),
        PINNED_8: chain.trust(PINNED).encode(),
        OTHER_CHAIN: Chain.found("another chain").trust().encode(),
    }


def files() -> dict[str, bytes]:
    """Return every generated file of this folder by its relative path."""
    chain = build_chain()
    trust = trust_files(chain)
    made = {f"trust/{name}.json": text for name, text in trust.items()}
    for case in standing_cases(chain):
        made[f"standing/{case.name}.json"] = _standing_to_json(case, trust[case.trust])
    for case in consistency_cases(chain):
        made[f"consistency/{case.name}.json"] = _consistency_to_json(case, trust[case.trust])
    return made


def _standing_to_json(case: Case, trust: bytes) -> bytes:
    verdict = verify_standing(case.data, load_trust(trust), case.asked, case.receipt)
    found = verdict.attestation
    return _to_json(
        case,
        verdict.outcome,
        StandingStep(verdict.failure.step) if verdict.failure else None,
        verdict.failure.detail if verdict.failure else "",
        {
            "name": None if case.asked is None else case.asked.to_value(),
            "receipt": None if case.receipt is None else _base64(case.receipt.encode()),
        },
        None
        if found is None
        else {
            "standing": found.fate.value,
            "count": found.status and found.status.version,
            "since_height": found.status and found.status.height,
            "since_ms": found.status and found.status.time_ms,
            "height": found.height,
            "known_ms": found.known_ms,
        },
    )


def _consistency_to_json(case: Case, trust: bytes) -> bytes:
    verdict = verify_consistency_proof(case.data, load_trust(trust))
    found = verdict.attestation
    return _to_json(
        case,
        verdict.outcome,
        ConsistencyStep(verdict.failure.step) if verdict.failure else None,
        verdict.failure.detail if verdict.failure else "",
        {},
        None
        if found is None
        else {
            "old_height": found.old.height,
            "old_log_size": found.old.log_size,
            "new_height": found.new.height,
            "new_log_size": found.new.log_size,
        },
    )


def _to_json(  # noqa: PLR0917 - a field each
    case: Case,
    outcome: Outcome,
    step: int | None,
    detail: str,
    more: dict[str, Any],
    attested: dict[str, Any] | None,
) -> bytes:
    """Return the file of a case; its name has to say at which step it fails."""
    said = case.name.partition("-")[0]
    if said != ("good" if step is None else f"{step}"):
        raise ValueError(f"{case.name}: {outcome.value} at step {step}: {detail}")
    fields = {
        "about": case.about,
        "trust": f"{case.trust}.json",
        **more,
        "outcome": outcome.value,
        "step": step,
        "reason": detail.partition(":")[0],
        "attested": attested,
        "proof": _base64(case.data),
    }
    return (json.dumps(fields, indent=2, ensure_ascii=False) + "\n").encode()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def main() -> None:
    """Write the files, and remove those that are no longer made."""
    write_generated(FOLDER, files(), "*/*.json")


if __name__ == "__main__":
    main()
