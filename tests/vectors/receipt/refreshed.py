"""Refreshed receipts: of an epoch whose keys are retired, joined to a later block.

Here the keys of epoch 0, all of them, sign what they are asked to, long after they were retired.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from node.chain.block import CertifiedHeader
from node.timestamp.consistency import ConsistencyProof
from node.timestamp.receipt import Receipt
from node.timestamp.refreshed import RefreshedReceipt
from node.timestamp.verify import Outcome, Step
from tests.vectors.receipt.case import (
    DIGEST,
    GENESIS,
    OTHER_CHAIN,
    PINNED_7,
    Attested,
    Case,
    fails,
)
from tests.vectors.receipt.chain import (
    CREATED_MS,
    Chain,
    certify,
    record_of,
    seed,
    validator_set,
)
from tests.vectors.receipt.story import (
    DEGRADED,
    DOCUMENT,
    FIRST_OF_EPOCH_1,
    FIRST_OF_EPOCH_2,
    FORGED,
    LAST_OF_EPOCH_0,
    PLAIN,
    SET_1,
    WITHDRAWN,
    forked,
    sha_256_of,
    with_certificate,
    with_signature,
)

FORGED_DOCUMENT: Final = b"recorded by retired keys"
_SEAL_AFTER_MS: Final = 47
_ONE: Final = bytes(31) + b"\x01"


def refreshed_cases(chain: Chain) -> Iterator[Case]:
    """Yield every case of a refreshed receipt; the trust file pins epoch 1 unless it says."""
    plain, joined = chain.receipt(PLAIN, 1), chain.consistency(PLAIN, FIRST_OF_EPOCH_2)
    yield from _verified(chain)
    yield from _malformed(RefreshedReceipt(plain, joined).encode())
    other = sha_256_of(b"another document")
    yield _fails(Step.DOCUMENT, "document", "of another", plain, joined, "document", digest=other)
    yield from _unrooted(chain, plain, joined)
    yield from _broken(chain, plain, joined)
    yield from _forged(chain, joined)
    yield _two_epochs(chain)
    withdrawal = chain.receipt(WITHDRAWN, 1)
    proof = chain.consistency(WITHDRAWN, FIRST_OF_EPOCH_1)
    yield _fails(Step.RECORD, "withdrawal", "of a withdrawal", withdrawal, proof, "record-action")


def _verified(chain: Chain) -> Iterator[Case]:
    def good(name: str, about: str, old: int, new: int, **fields: object) -> Case:
        attested = Attested(
            **{  # type: ignore[arg-type] # a field each
                "height": old,
                "agreed_time_ms": CREATED_MS + 1_000 * old,
                "seal_time_ms": CREATED_MS + 1_000 * new + _SEAL_AFTER_MS,
                **fields,
            }
        )
        data = RefreshedReceipt(chain.receipt(old, 1), chain.consistency(old, new)).encode()
        return Case(f"good-{name}", about, data, PINNED_7, attested=attested)

    yield good("retired", "epoch 0, joined to epoch 2", PLAIN, FIRST_OF_EPOCH_2)
    yield good("barrier", "the last of epoch 0, to epoch 1", LAST_OF_EPOCH_0, FIRST_OF_EPOCH_1)
    yield good(
        "degraded",
        "a T that nobody vouches for: only the later block says when",
        DEGRADED,
        FIRST_OF_EPOCH_1,
        time_degraded=True,
        accuracy_ms=None,
    )
    own_seal_ms = CREATED_MS + 1_000 * PLAIN + _SEAL_AFTER_MS
    unneeded = good(
        "unneeded",
        "the trust file believes epoch 0: S is its own",
        PLAIN,
        5,
        seal_time_ms=own_seal_ms,
    )
    yield replace(unneeded, trust=GENESIS)


def _malformed(encoded: bytes) -> Iterator[Case]:
    def malformed(name: str, about: str, data: bytes, reason: str) -> Case:
        return fails(Step.RECEIPT, name, about, data, reason, trust=PINNED_7)

    yield malformed("trailing", "a byte after the end", encoded + b"\0", "refreshed receipt")
    yield malformed("cut", "the last byte is missing", encoded[:-1], "refreshed receipt")
    version = encoded.replace(b"govchain-refreshed\x01", b"govchain-refreshed\x02")
    yield malformed("version", "version 2", version, "refreshed receipt: expected version")
    named = encoded.replace(b"govchain-consistency\x01", b"govchain-consistencY\x01")
    yield malformed("proof", "what joins it is of another format", named, "consistency proof")


def _unrooted(chain: Chain, plain: Receipt, joined: ConsistencyProof) -> Iterator[Case]:
    def unrooted(name: str, about: str, proof: ConsistencyProof, trust: str = PINNED_7) -> Case:
        made = _fails(Step.ROOT, name, about, plain, proof, "joined: step 6", trust=trust)
        return replace(made, outcome=Outcome.NOT_ROOTED)

    yield unrooted("retired", "joined within epoch 0 alone", chain.consistency(PLAIN, 5))
    yield unrooted("other-chain", "trust in another chain", joined, OTHER_CHAIN)
    skipping = replace(joined, handovers=())
    yield unrooted("no-handover", "nothing leads to the later epoch", skipping)


def _broken(chain: Chain, plain: Receipt, joined: ConsistencyProof) -> Iterator[Case]:
    def broken(name: str, about: str, proof: ConsistencyProof, reason: str) -> Case:
        return _fails(Step.ROOT, name, about, plain, proof, reason)

    reason = "refreshed-proof"
    path = (seed("path"), *joined.log_path[1:])
    yield broken("log-path", "the logs are not joined", replace(joined, log_path=path), reason)
    path = (seed("path"), *joined.header_path[1:])
    yield broken(
        "header-path",
        "its header is not in the later log",
        replace(joined, header_path=path),
        reason,
    )
    later = joined.block.header
    forgers = CertifiedHeader(later, certify(later, validator_set(2, FORGED)))
    yield broken("signers", "others signed the later block", replace(joined, block=forgers), reason)
    another = chain.consistency(PLAIN + 1, FIRST_OF_EPOCH_2)
    yield broken("another-block", "the proof joins another block", another, "refreshed-header")
    certificate = with_signature(plain.block.certificate, 0, _ONE + _ONE)
    unsigned = with_certificate(plain, certificate)
    about = "a signature of its own certificate is wrong"
    yield _fails(Step.SIGNATURES, "own-vote", about, unsigned, joined, "certificate-signature")


def _forged(chain: Chain, joined: ConsistencyProof) -> Iterator[Case]:
    """Yield what holders of all keys of epoch 0 can make of a document that was not recorded."""
    digest = sha_256_of(FORGED_DOCUMENT)
    fork = forked(chain, PLAIN)
    before, after = record_of(b"before"), record_of(b"after")
    forged = fork.receipt(fork.append(before, record_of(FORGED_DOCUMENT), after), 1)

    def forgery(name: str, about: str, proof: ConsistencyProof, reason: str) -> Case:
        return _fails(Step.ROOT, name, about, forged, proof, reason, digest=digest)

    yield forgery("forged-true-proof", "with the true proof", joined, "refreshed-header")
    posing = replace(joined, old=forged.block.header)
    about = "with the true proof of the header it forged"
    yield forgery("forged-header", about, posing, "refreshed-proof")
    alone = fails(
        Step.ROOT,
        "forged-alone",
        "not refreshed at all",
        forged,
        "expected epoch 1 or",
        trust=PINNED_7,
        digest=digest,
    )
    yield replace(alone, outcome=Outcome.NOT_ROOTED)
    for _ in range(PLAIN, LAST_OF_EPOCH_0 - 1):
        fork.append(record_of(b"filler"))
    fork.append(next_set=validator_set(1, FORGED))
    fork.append(record_of(b"filler"))
    about = "with a chain of its own over a handover of its own"
    yield forgery(
        "forged-epoch", about, fork.consistency(PLAIN, FIRST_OF_EPOCH_1), "refreshed-proof"
    )


def _two_epochs(chain: Chain) -> Case:
    """Return a case of two sets that epoch 0 handed over to: one signs the record, one the rest."""
    fork = forked(chain, LAST_OF_EPOCH_0)
    fork.append(next_set=validator_set(1, FORGED))
    height = fork.append(record_of(b"before"), record_of(DOCUMENT), record_of(b"after"))
    receipt = fork.receipt(height, 1)
    joining = fork.fork()
    joining.validators, joining.handovers = SET_1, chain.handovers[:1]
    later = joining.append(record_of(b"later"))
    data = RefreshedReceipt(receipt, joining.consistency(height, later)).encode()
    about = "the sets of the record and of the later block are both of epoch 1"
    return fails(Step.HISTORY, "two-epochs", about, data, "history-fork")


def _fails(  # noqa: PLR0917 - the parts of a case
    step: Step,
    name: str,
    about: str,
    receipt: Receipt,
    joined: ConsistencyProof,
    reason: str,
    *,
    trust: str = PINNED_7,
    digest: str = DIGEST,
) -> Case:
    data = RefreshedReceipt(receipt, joined).encode()
    return fails(step, name, about, data, reason, trust=trust, digest=digest)
