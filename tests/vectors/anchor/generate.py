"""Makes every file of this folder from fixed keys: `python -m tests.vectors.anchor.generate`.

A case that fails differs from a good one in one thing, as far as one thing can.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from node.chain.block import CertifiedHeader
from node.chain.certificate import Phase, QuorumCertificate
from node.chain.merkle import inclusion_path
from node.chain.record import RecordAction
from node.crypto.certificate import (
    Authority,
    Issuance,
    build_authority_certificate,
    build_timestamp_certificate,
    encode_pem,
)
from node.crypto.signature import P256Signer
from node.crypto.suite import SHA_256
from node.timestamp.outside.anchor import Anchor, AnchoredCheckpoint
from node.timestamp.outside.anchor_verify import AnchoredRecord, AnchorStep, verify_anchor
from node.timestamp.outside.stamp import OutsideAuthority
from node.timestamp.receipt import Receipt
from node.timestamp.tokens.issuing import (
    Coordinates,
    Stamp,
    TokenIssuer,
    add_chain_proof,
    encode_granted,
)
from node.timestamp.tokens.request import Imprint
from node.timestamp.trust import load_trust
from node.timestamp.verify import NamedDigest
from tests.vectors.receipt.chain import (
    CREATED_MS,
    SUITE,
    Chain,
    certify,
    record_of,
    seed,
    signer,
    validator_set,
)
from tests.vectors.writing import write_generated

FOLDER: Final = Path(__file__).parent
GENESIS, PINNED_8, OTHER_CHAIN = "genesis", "pinned-8", "other-chain"
OUTSIDE, OTHER, EXPIRED, INSIDER = "outside", "other", "expired", "org-1"
POLICY: Final = "1.3.6.1.4.1.99999.1"
ACCURACY_MS: Final = 1_000
YEAR_MS: Final = 31_536_000_000
FORGERS: Final = validator_set(0, (6, 7, 8, 9))
DOCUMENT: Final = b"a licence"

# Heights of the chain.
RECORDED, WITHDRAWN, ANCHORED, LATER, LAST_OF_EPOCH_0, NEXT_DAY, PINNED = 1, 2, 3, 4, 6, 7, 8
_STAMPED_AFTER_MS: Final = 1_200


@dataclass(frozen=True, slots=True)
class OutsideIssuer:
    """An authority of fixed keys whose root is valid until a time."""

    name: str
    not_after_ms: int = CREATED_MS + 10 * YEAR_MS

    @property
    def root(self) -> bytes:
        """Return its certificate."""
        issuance = Issuance(
            serial_number=3, not_before_ms=CREATED_MS - YEAR_MS, not_after_ms=self.not_after_ms
        )
        return build_authority_certificate(self._signer, self.name, issuance)

    @property
    def issuer(self) -> TokenIssuer:
        """Return what issues its tokens."""
        key = signer(f"{self.name} time-stamping")
        issuance = Issuance(
            serial_number=4,
            not_before_ms=CREATED_MS - YEAR_MS,
            not_after_ms=CREATED_MS + 10 * YEAR_MS,
        )
        certificate = build_timestamp_certificate(
            Authority(self.root, self._signer), f"{self.name}-tsa", key.public_key.encoded, issuance
        )
        return TokenIssuer([certificate], key, policy=POLICY, accuracy_ms=ACCURACY_MS)

    def stamp(self, checkpoint: AnchoredCheckpoint, time_ms: int) -> bytes:
        """Return a token over a checkpoint."""
        imprint = Imprint.of(*checkpoint.document)
        where = Coordinates(seed(self.name)[:7], height=1, log_index=time_ms - CREATED_MS + YEAR_MS)
        return self.issuer.issue(Stamp(imprint=imprint, coordinates=where, time_ms=time_ms))

    @property
    def _signer(self) -> P256Signer:
        return signer(f"{self.name} authority")


ISSUERS: Final = {
    OUTSIDE: OutsideIssuer("outside"),
    OTHER: OutsideIssuer("other"),
    EXPIRED: OutsideIssuer("expired", not_after_ms=CREATED_MS - 1_000),
    INSIDER: OutsideIssuer(INSIDER),  # by the key of the chain's own org-1
}


@dataclass(frozen=True, slots=True)
class Case:
    """One anchor and what must come of it. Outcome and step are checked when it is made."""

    name: str
    about: str
    anchor: Anchor | bytes
    receipt: Receipt | None = None
    document: bytes = DOCUMENT
    trust: str = GENESIS
    authority: str = OUTSIDE

    @property
    def data(self) -> bytes:
        """Return the anchor's bytes."""
        return self.anchor if isinstance(self.anchor, bytes) else self.anchor.encode()


def build_chain() -> Chain:
    """Return eight blocks of two epochs."""
    chain = Chain.found()
    chain.append(record_of(DOCUMENT), record_of(b"another"))
    chain.append(record_of(b"decision", action=RecordAction.WITHDRAW))
    chain.append(record_of(DOCUMENT, reference="2025-0002"))
    chain.append(record_of(DOCUMENT, reference="2025-0003"))
    chain.append()
    chain.append(next_set=validator_set(1, (1, 2, 3, 4, 5)))
    chain.append(record_of(b"more"))
    chain.append()
    return chain


def checkpoint_of(chain: Chain, height: int) -> AnchoredCheckpoint:
    """Return what is stamped of a block."""
    block = chain.blocks[height - 1]
    handovers = tuple(chain.handovers[: block.header.epoch])
    return AnchoredCheckpoint(suite=SUITE, block=block, handovers=handovers)


def anchor_of(
    checkpoint: AnchoredCheckpoint, issuer: str = OUTSIDE, *, after_ms: int = _STAMPED_AFTER_MS
) -> Anchor:
    """Return an anchor stamped so long after the header's T."""
    time_ms = checkpoint.block.header.time_ms + after_ms
    return Anchor(checkpoint=checkpoint, token=ISSUERS[issuer].stamp(checkpoint, time_ms))


def join(chain: Chain, anchor: Anchor, height: int) -> Anchor:
    """Return the anchor joined to an earlier block."""
    later, old = anchor.checkpoint.block.header, chain.blocks[height - 1].header
    hashes = chain.leaf_hashes(later.log_size)
    return anchor.joined(inclusion_path(hashes, old.log_size, SUITE.hash))


def anchor_cases(chain: Chain) -> Iterator[Case]:
    """Yield every case."""
    anchor = anchor_of(checkpoint_of(chain, ANCHORED))
    first = chain.receipt(RECORDED)
    joined = join(chain, anchor, RECORDED)
    yield Case("good-alone", "no record asked for", anchor)
    yield Case("good-record", "a record of an earlier block", joined, first)
    within = chain.receipt(ANCHORED)
    yield Case("good-within", "a record of the anchored block", anchor, within)
    yield Case(
        "good-retired", "stamped before its keys were retired", joined, first, trust=PINNED_8
    )
    later = anchor_of(checkpoint_of(chain, NEXT_DAY))
    yield Case("good-handover", "over a handover", join(chain, later, RECORDED), first)
    early = anchor_of(checkpoint_of(chain, ANCHORED), after_ms=-ACCURACY_MS - 1_000)
    yield Case("good-early", "as early as both may err", early)
    inside = anchor_of(checkpoint_of(chain, ANCHORED), INSIDER)
    yield Case("good-insider", "stamped by a part of the chain", inside, authority=INSIDER)
    unrooted = replace(first, block=replace(first.block, certificate=_forged(first.block)))
    yield Case("good-receipt-forged-votes", "votes of the receipt count not", joined, unrooted)
    yield from _malformed(anchor, joined)
    yield from _unfit(chain, anchor)
    yield from _unstamped(chain, anchor, joined, first)
    yield from _unsigned(chain, anchor)
    yield from _unjoined(chain, anchor, joined, first)


def _malformed(anchor: Anchor, joined: Anchor) -> Iterator[Case]:
    encoded = anchor.encode()
    yield Case("1-empty", "no bytes", b"")
    yield Case("1-cut", "the last byte is missing", encoded[:-1])
    yield Case("1-trailing", "a byte after the end", encoded + b"\0")
    other = encoded.replace(b"govchain-anchor\x01", b"govchain-anchor\x02")
    yield Case("1-version", "version 2", other)
    inner = encoded.replace(b"anchored-checkpoint\x01", b"anchored-checkpoint\x02")
    yield Case("1-inner-version", "version 2 of what is stamped", inner)
    yield Case("1-path-alone", "a path that nothing asked for", joined)


def _unfit(chain: Chain, anchor: Anchor) -> Iterator[Case]:
    checkpoint, header = anchor.checkpoint, anchor.checkpoint.block.header
    before = chain.blocks[ANCHORED - 2].certificate
    other = replace(checkpoint, block=CertifiedHeader(header, before))
    yield Case("2-other-header", "the certificate of another block", anchor_of(other))
    prepared = certify(header, chain.genesis.validators, phase=Phase.PREPARE)
    only = replace(checkpoint, block=CertifiedHeader(header, prepared))
    yield Case("2-prepared", "prepared, not committed", anchor_of(only))
    later = checkpoint_of(chain, NEXT_DAY)
    none = anchor_of(replace(later, handovers=()))
    yield Case("good-no-handover", "the trust file knows the set", none, trust=PINNED_8)
    yield Case("5-no-handover", "nothing leads to the set", none)
    twice = anchor_of(replace(later, handovers=later.handovers * 2))
    yield Case("3-twice", "a handover said twice", twice)
    more = replace(checkpoint, handovers=later.handovers)
    yield Case("3-more", "a handover too many", anchor_of(more))


def _unstamped(chain: Chain, anchor: Anchor, joined: Anchor, first: Receipt) -> Iterator[Case]:
    another = anchor_of(checkpoint_of(chain, LATER))
    swapped = replace(anchor, token=another.token)
    yield Case("4-other-checkpoint", "stamped is another checkpoint", swapped)
    yield Case("4-other-authority", "believed is another", anchor, authority=OTHER)
    expired = anchor_of(anchor.checkpoint, EXPIRED)
    about = "the authority's certificate had expired at genTime"
    yield Case("4-expired", about, expired, authority=EXPIRED)
    answer = replace(anchor, token=encode_granted(anchor.token))
    yield Case("4-answer", "an answer, not a token", answer)
    unsigned = replace(anchor, token=add_chain_proof(anchor.token, b"x"))
    yield Case("4-unsigned", "something in it that nobody signed", unsigned)
    yield Case("4-no-token", "no token", replace(anchor, token=b""))
    revoted = replace(
        anchor.checkpoint,
        block=CertifiedHeader(
            anchor.checkpoint.block.header,
            certify(anchor.checkpoint.block.header, chain.genesis.validators, (1, 2, 3)),
        ),
    )
    later = "votes that were not there when it was stamped"
    yield Case("4-other-votes", later, replace(anchor, checkpoint=revoted))
    yield Case("5-other-chain", "of another chain", anchor, trust=OTHER_CHAIN)
    end_ms = chain.blocks[LAST_OF_EPOCH_0 - 1].header.time_ms
    after_ms = end_ms - anchor.checkpoint.block.header.time_ms
    late = replace(joined, token=anchor_of(anchor.checkpoint, after_ms=after_ms).token)
    yield Case("5-retired", "stamped when its keys may be retired", late, first, trust=PINNED_8)
    # Who has the keys of a validator has that of its time-stamping too.
    insider = replace(joined, token=ISSUERS[INSIDER].stamp(anchor.checkpoint, end_ms - 2_000))
    about = "its keys are retired, and what stamped it is of the chain"
    yield Case("5-insider-retired", about, insider, first, trust=PINNED_8, authority=INSIDER)


def _unsigned(chain: Chain, anchor: Anchor) -> Iterator[Case]:
    checkpoint, header = anchor.checkpoint, anchor.checkpoint.block.header
    forged = replace(
        checkpoint, block=replace(checkpoint.block, certificate=_forged(checkpoint.block))
    )
    yield Case("6-forgers", "signed by others", anchor_of(forged))
    fork = chain.fork()
    fork.blocks, fork.tip = fork.blocks[: PINNED - 2], fork.blocks[PINNED - 3].header
    fork.leaves = fork.leaves[: fork.tip.log_size]
    fork.append(record_of(b"fork"))
    fork.append()
    yield Case(
        "7-fork",
        "contradicts the pinned header",
        anchor_of(checkpoint_of(fork, PINNED)),
        trust=PINNED_8,
    )
    early = anchor_of(checkpoint, after_ms=-ACCURACY_MS - 1_001)
    yield Case("8-early", f"stamped before height {header.height}", early)


def _unjoined(chain: Chain, anchor: Anchor, joined: Anchor, first: Receipt) -> Iterator[Case]:
    yield Case("9-document", "another document", joined, first, document=b"another licence")
    bent = replace(first, log_path=(seed("another"), *first.log_path[1:]))
    yield Case("9-receipt", "the receipt's path leads elsewhere", joined, bent)
    yield Case("9-later", "the record came later", anchor, chain.receipt(LATER))
    other = Chain.found("another chain")
    other.append(record_of(DOCUMENT))
    yield Case("9-other-chain", "the receipt of another chain", joined, other.receipt(1))
    yield Case("10-no-path", "no path", anchor, first)
    short = joined.joined((joined.header_path or ())[:-1])
    yield Case("10-short", "a hash too few", short, first)
    bent_path = joined.joined((seed("another"), *(joined.header_path or ())[1:]))
    yield Case("10-path", "another path", bent_path, first)
    yield Case("10-path-within", "a path within one block", joined, chain.receipt(ANCHORED))
    fork = Chain.found()
    fork.append(record_of(DOCUMENT), record_of(b"not on this chain"))
    yield Case("10-fork", "a header that is not in the log", joined, fork.receipt(RECORDED))
    within = Chain.found()
    within.append(record_of(DOCUMENT))
    within.append()
    within.append(record_of(DOCUMENT))
    yield Case("10-fork-within", "another header of that height", anchor, within.receipt(ANCHORED))
    withdrawal = chain.receipt(WITHDRAWN)
    path = join(chain, anchor, WITHDRAWN)
    yield Case("11-withdrawal", "a withdrawal", path, withdrawal, document=b"decision")


def _forged(block: CertifiedHeader) -> QuorumCertificate:
    return certify(block.header, FORGERS)


def files() -> dict[str, bytes]:
    """Return every generated file of this folder by its relative path."""
    chain = build_chain()
    trust = {
        GENESIS: chain.trust().encode(),
        PINNED_8: chain.trust(PINNED).encode(),
        OTHER_CHAIN: Chain.found("another chain").trust().encode(),
    }
    made = {f"trust/{name}.json": text for name, text in trust.items()}
    for name, issuer in ISSUERS.items():
        made[f"authority/{name}.pem"] = encode_pem(issuer.root)
    for case in anchor_cases(chain):
        made[f"anchor/{case.name}.json"] = _to_json(case, trust[case.trust])
    return made


def _to_json(case: Case, trust: bytes) -> bytes:
    """Return the file of a case; its name has to say at which step it fails."""
    document = NamedDigest(SHA_256, SHA_256.new_hash(case.document).digest())
    receipt = None if case.receipt is None else case.receipt.encode()
    verdict = verify_anchor(
        case.data,
        load_trust(trust),
        OutsideAuthority(roots=(ISSUERS[case.authority].root,)),
        None if receipt is None else AnchoredRecord(receipt, document),
    )
    failure, found = verdict.failure, verdict.attestation
    step = None if failure is None else AnchorStep(failure.step)
    if case.name.partition("-")[0] != ("good" if step is None else f"{step}"):
        raise ValueError(f"{case.name}: {verdict.outcome.value}: {verdict.steps[-1]}")
    fields = {
        "about": case.about,
        "trust": f"{case.trust}.json",
        "authority": f"{case.authority}.pem",
        "receipt": None if receipt is None else _base64(receipt),
        "document": str(document),
        "outcome": verdict.outcome.value,
        "step": step,
        "reason": "" if failure is None else failure.detail.partition(":")[0],
        "attested": None
        if found is None
        else {"height": found.header.height, "stamped_ms": found.stamp.time_ms},
        "anchor": _base64(case.data),
    }
    return (json.dumps(fields, indent=2, ensure_ascii=False) + "\n").encode()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def main() -> None:
    """Write the files, and remove those that are no longer made."""
    write_generated(FOLDER, files(), "*/*.json")


if __name__ == "__main__":
    main()
