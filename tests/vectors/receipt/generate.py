"""Makes every file of this folder from fixed keys: `python -m tests.vectors.receipt.generate`.

A case is one receipt with the trust file and digest to verify it against, the outcome, the step at
which it fails, and the reason: how our own verifier's report of that step begins. A case that fails
differs from a good one in one thing.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from node.chain.block import CertifiedHeader
from node.chain.certificate import CertificateVote, Phase, QuorumCertificate
from node.chain.encoding import decode, encode
from node.chain.membership import ValidatorSet
from node.chain.merkle import inclusion_path, leaf_hash
from node.chain.record import RecordAction
from node.crypto.signature import P256_ORDER
from node.crypto.suite import SM3
from node.limits import RECEIPT_BYTES_MAX
from node.timestamp.history import Handover
from node.timestamp.receipt import Receipt, build_receipt
from node.timestamp.trust import TrustFile
from node.timestamp.verify import NamedDigest, Outcome, Step
from tests.vectors.receipt.chain import SUITE, Chain, certify, record_of, seed, validator_set

FOLDER: Final = Path(__file__).parent
DOCUMENT: Final = "This certificate is a test document. 本证照仅供测试。\n".encode()
DIGEST: Final = f"sha-256:{hashlib.sha256(DOCUMENT).hexdigest()}"
SM3_DIGEST: Final = str(NamedDigest(SM3, SM3.new_hash(DOCUMENT).digest()))
OTHER_DIGEST: Final = f"sha-256:{seed('another document').hex()}"

SET_0: Final = (1, 2, 3, 4)
SET_1: Final = (1, 2, 3, 4, 5)
SET_2: Final = (2, 3, 4, 5)
FORGED_SET: Final = (6, 7, 8, 9)

# Heights of the chain below, named by what the record of the document there is like.
PLAIN, WITHDRAWN, DEGRADED, SM3_DIGESTED, LAST_OF_EPOCH_0 = 2, 3, 4, 5, 6
FIRST_OF_EPOCH_1, LAST_OF_EPOCH_1, FIRST_OF_EPOCH_2 = 7, 8, 9

GENESIS, PINNED_3, PINNED_7, OTHER_CHAIN = "genesis", "pinned-3", "pinned-7", "other-chain"


@dataclass(frozen=True, slots=True)
class Case:
    """One receipt and what must come of it."""

    name: str
    about: str
    receipt: bytes
    trust: str = GENESIS
    digest: str = DIGEST
    outcome: Outcome = Outcome.VERIFIED
    step: Step | None = None
    reason: str = ""

    def to_json(self) -> bytes:
        """Return the content of the case's file."""
        fields = {
            "about": self.about,
            "trust": f"{self.trust}.json",
            "digest": self.digest,
            "outcome": self.outcome.value,
            "step": self.step,
            "reason": self.reason,
            "receipt": base64.b64encode(self.receipt).decode(),
        }
        return (json.dumps(fields, indent=2, ensure_ascii=False) + "\n").encode()


def build_chain() -> Chain:
    """Return nine blocks of three epochs; the document is the middle record of each block."""
    chain = Chain.found()

    def append(**options: Any) -> int:  # noqa: ANN401 - those of `Chain.append`
        document = options.pop("document", record_of(DOCUMENT))
        neighbours = [record_of(f"neighbour {side} {chain.tip.height}".encode()) for side in (0, 1)]
        return chain.append(neighbours[0], document, neighbours[1], **options)

    append()
    append(voters=(0, 1, 2, 3))
    append(document=record_of(DOCUMENT, action=RecordAction.WITHDRAW))
    append(degraded=True, view=1, voters=(0, 2, 3))
    digest = SM3.new_hash(DOCUMENT).digest()
    append(view=1, document=record_of(DOCUMENT, digest_algorithm=SM3.digest_id, digest=digest))
    append(view=1, next_set=validator_set(1, SET_1))
    append(view=1, document=record_of(DOCUMENT, reference=None))
    append(view=1, next_set=validator_set(2, SET_2))
    append(view=2)
    return chain


def trust_files(chain: Chain) -> dict[str, TrustFile]:
    """Return the trust files by name: of the genesis, of two heights, of another chain."""
    return {
        GENESIS: chain.trust(),
        PINNED_3: chain.trust(3),
        PINNED_7: chain.trust(7),
        OTHER_CHAIN: Chain.found("another chain").trust(),
    }


def files() -> dict[str, bytes]:
    """Return every generated file of this folder by its relative path."""
    chain = build_chain()
    good = chain.receipt(PLAIN, 1).encode()
    made = {"document.txt": DOCUMENT, "document.txt.receipt": good}
    for name, trust in trust_files(chain).items():
        made[f"trust/{name}.json"] = trust.encode()
    for case in cases(chain):
        path = f"cases/{case.name}.json"
        if path in made:
            raise ValueError(f"two cases are named {case.name}")
        made[path] = case.to_json()
    return made


def cases(chain: Chain) -> Iterator[Case]:
    """Yield every case, good ones first, then by the step that fails."""
    yield from good_cases(chain)
    yield from malformed_cases(chain)
    yield from mismatch_cases(chain)
    yield from certificate_cases(chain)
    yield from root_cases(chain)
    yield from signature_cases(chain)
    yield from history_cases(chain)


def good_cases(chain: Chain) -> Iterator[Case]:
    """Yield the receipts that verify."""

    def good(
        name: str, about: str, height: int, trust: str = GENESIS, digest: str = DIGEST
    ) -> Case:
        return Case(f"good-{name}", about, chain.receipt(height, 1).encode(), trust, digest)

    yield good("all-signed", "all four validators signed; trust in the genesis alone", PLAIN)
    yield good("below-pinned", "the trust file pins a later height of the epoch", PLAIN, PINNED_3)
    yield good("above-pinned", "it pins an earlier height of the epoch", LAST_OF_EPOCH_0, PINNED_3)
    yield good("degraded", "the validators do not vouch for T", DEGRADED, PINNED_3)
    yield good("sm3", "the digest is SM3", SM3_DIGESTED, digest=SM3_DIGEST)
    yield good("epoch-1", "one handover from the genesis", FIRST_OF_EPOCH_1)
    yield good("at-pinned", "it pins this very height, in epoch 1", FIRST_OF_EPOCH_1, PINNED_7)
    yield good("epoch-2", "two handovers from the genesis", FIRST_OF_EPOCH_2)
    yield good("epoch-2-pinned", "of two handovers, one is known", FIRST_OF_EPOCH_2, PINNED_7)
    later = chain.receipt(FIRST_OF_EPOCH_2, 1)
    yield Case(
        "good-handovers-since-pinned",
        "only the handover since the pinned epoch",
        replace(later, handovers=later.handovers[1:]).encode(),
        PINNED_7,
    )
    quorum = chain.receipt(PLAIN, 1)
    yield Case(
        "good-bare-quorum",
        "three of four signed",
        with_votes(quorum, quorum.block.certificate.votes[1:]).encode(),
    )


def malformed_cases(chain: Chain) -> Iterator[Case]:
    """Yield what is no receipt: step 1."""
    receipt = chain.receipt(PLAIN, 1)
    data = receipt.encode()
    later = chain.receipt(FIRST_OF_EPOCH_1, 1).encode()

    def malformed(name: str, about: str, changed: bytes, reason: str) -> Case:
        return fails(Step.RECEIPT, name, about, changed, reason)

    def edited(edit: Callable[[list[Any]], None], source: bytes = data) -> bytes:
        value = decode(source, what="receipt", size_max=RECEIPT_BYTES_MAX)
        edit(value)
        return encode(value)

    def put(position: int, item: object) -> bytes:
        return edited(lambda value: value.__setitem__(position, item))

    yield malformed("empty", "no bytes", b"", "receipt: expected more bytes")
    yield malformed("truncated", "the last byte is missing", data[:-1], "receipt: expected more")
    yield malformed("trailing-byte", "one byte follows", data + b"\x00", "receipt: expected ")
    longer = b"\x8a\x18\x01" + data[2:]
    yield malformed("long-integer", "1 in two bytes", longer, "receipt: not the canonical")
    streamed = b"\x9f" + data[1:] + b"\xff"
    yield malformed("indefinite-array", "no length is given", streamed, "receipt: item head 0x9f")
    yield malformed("version-2", "an unknown version", put(0, 2), "receipt: expected version 1")
    yield malformed("version-true", "true for 1", put(0, True), "receipt: expected version 1")  # noqa: FBT003 - the item
    yield malformed("suite-unknown", "suite 99", put(2, 99), "receipt: suite: expected")
    yield malformed("chain-id-short", "31 bytes", put(1, receipt.chain_id[:-1]), "receipt chain id")
    header_leaf = chain.leaves[0]
    yield malformed("header-leaf", "it proves no record", put(3, header_leaf), "record leaf: ")
    yield malformed("leaf-empty", "no bytes", put(3, b""), "record leaf: expected more bytes")
    yield malformed("log-index-negative", "-1", put(4, -1), "receipt log index: expected")
    path = [bytes(32)] * 65
    yield malformed("log-path-65", "more hashes than any log needs", put(5, path), "receipt log pa")
    short = [receipt.log_path[0][:-1], *receipt.log_path[1:]]
    yield malformed("log-path-short-hash", "31 bytes", put(5, short), "receipt log path: expected")
    yield malformed("token", "a token where null is due", put(9, b"token"), "receipt token: expec")
    more = edited(lambda value: value.append(None))
    yield malformed("field-more", "an eleventh field", more, "receipt: expected an array of 10")
    less = edited(lambda value: value.pop())
    yield malformed("field-missing", "nine fields", less, "receipt: expected an array of 10 items")
    yield malformed(
        "header-field-more",
        "a field after the last one of the header",
        edited(lambda value: value[6].append(0)),
        "header: expected an array of 16",
    )
    twice = edited(lambda value: value[7][7].__setitem__(1, value[7][7][0]))
    yield malformed("voter-twice", "one vote stands there twice", twice, "certificate: expected vo")
    swapped = edited(lambda value: value[7][7].reverse())
    yield malformed("voters-descending", "the order is reversed", swapped, "certificate: expected ")
    cut = edited(lambda value: value[7][7][0].__setitem__(2, bytes(63)))
    yield malformed("signature-short", "63 bytes", cut, "certificate signature: expected 64 bytes")
    phase = edited(lambda value: value[7].__setitem__(3, 3))
    yield malformed("phase-unknown", "phase 3", phase, "vote phase: expected")
    members = edited(lambda value: value[8][0][2][2].__setitem__(1, value[8][0][2][2][0]), later)
    yield malformed("member-twice", "a set names one validator twice", members, "validator set: an")


def mismatch_cases(chain: Chain) -> Iterator[Case]:
    """Yield receipts whose parts do not fit the document or each other: steps 2 to 4, and 9."""
    receipt = chain.receipt(PLAIN, 1)
    data, header = receipt.encode(), receipt.block.header
    yield fails(
        Step.DOCUMENT, "document", "another document", data, "document-digest", digest=OTHER_DIGEST
    )
    as_sm3 = DIGEST.replace("sha-256", "sm3")
    yield fails(
        Step.DOCUMENT, "algorithm", "the same bytes as SM3", data, "document-digest", digest=as_sm3
    )
    unknown = replace(receipt.leaf, record=replace(receipt.leaf.record, digest_algorithm=3))
    yield fails(
        Step.DOCUMENT,
        "algorithm-unknown",
        "algorithm 3",
        replace(receipt, leaf=unknown),
        "document-digest",
    )
    relabelled = replace(receipt, chain_id=Chain.found("another chain").genesis.chain_id)
    yield fails(Step.BLOCK, "chain-id", "not the header's", relabelled, "receipt-chain")
    for name, leaf in {
        "leaf-height": replace(receipt.leaf, height=header.height + 1),
        "leaf-time": replace(receipt.leaf, time_ms=header.time_ms - 1),
    }.items():
        yield fails(Step.BLOCK, name, "not the header's", replace(receipt, leaf=leaf), name)
    submitter = replace(receipt.leaf, sender="agency-2")
    yield fails(
        Step.LOG, "sender", "another submitter", replace(receipt, leaf=submitter), "proof-root"
    )
    path = receipt.log_path
    for name, index, hashes, reason in (
        ("log-index-next", receipt.log_index + 1, path, "proof-root"),
        ("log-index-size", header.log_size, path, "proof-index"),
        ("log-index-huge", 2**64 - 1, path, "proof-index"),
        ("log-path-shorter", receipt.log_index, path[:-1], "proof-path-length"),
        ("log-path-longer", receipt.log_index, (*path, bytes(32)), "proof-path-length"),
        ("log-path-empty", receipt.log_index, (), "proof-path-length"),
        ("log-path-reversed", receipt.log_index, path[::-1], "proof-root"),
        ("log-path-hash", receipt.log_index, (seed("a hash"), *path[1:]), "proof-root"),
    ):
        changed = replace(receipt, log_index=index, log_path=hashes)
        yield fails(Step.LOG, name, f"index {index}, path of {len(hashes)}", changed, reason)
    withdrawal = chain.receipt(WITHDRAWN, 1)
    yield fails(Step.RECORD, "withdrawal", "sound, but it withdraws", withdrawal, "record-action")


def certificate_cases(chain: Chain) -> Iterator[Case]:
    """Yield certificates of something else than the header: step 5."""
    receipt, validators = chain.receipt(PLAIN, 1), validator_set(0, SET_0)
    header = receipt.block.header
    later = chain.blocks[WITHDRAWN - 1].certificate
    carried = replace(chain.receipt(DEGRADED, 1).block.header, view=2)

    def subject(name: str, about: str, changed: Receipt, reason: str) -> Case:
        return fails(Step.CERTIFICATE, name, about, changed, reason)

    prepared = certify(header, validators, phase=Phase.PREPARE)
    yield subject(
        "prepared", "a quorum of PREPARE", with_certificate(receipt, prepared), "certificate-phase"
    )
    yield subject(
        "next-height", "of the next block", with_certificate(receipt, later), "certificate-height"
    )
    tip = replace(receipt.block.certificate, epoch=1)
    yield subject(
        "certificate-epoch", "another epoch", with_certificate(receipt, tip), "certificate-epoch"
    )
    for name, changed in {
        "state-root": replace(header, state_root=seed("another state")),
        "degraded-hidden": replace(header, time_degraded=not header.time_degraded),
        "proposer": replace(header, proposer=1),
    }.items():
        block = CertifiedHeader(changed, receipt.block.certificate)
        yield subject(
            f"header-{name}",
            "not what was signed",
            replace(receipt, block=block),
            "certificate-digest",
        )
    early = CertifiedHeader(carried, certify(carried, validators, view=1))
    yield subject(
        "view-early",
        "signed in a view before the first proposal",
        replace(chain.receipt(DEGRADED, 1), block=early),
        "certificate-view",
    )


def root_cases(chain: Chain) -> Iterator[Case]:
    """Yield what the trust file does not lead to, and handovers that do not hold: step 6."""
    plain = chain.receipt(PLAIN, 1)
    first, second = chain.receipt(FIRST_OF_EPOCH_1, 1), chain.receipt(FIRST_OF_EPOCH_2, 1)
    handover, following = second.handovers
    set_0 = validator_set(0, SET_0)

    def unrooted(name: str, about: str, changed: Receipt, trust: str, reason: str) -> Case:
        case = fails(Step.ROOT, name, about, changed, reason, trust=trust)
        return replace(case, outcome=Outcome.NOT_ROOTED)

    def broken(
        name: str, about: str, handovers: Sequence[Handover], reason: str, trust: str = GENESIS
    ) -> Case:
        return fails(
            Step.ROOT, name, about, replace(second, handovers=tuple(handovers)), reason, trust=trust
        )

    yield unrooted("other-chain", "trust in another chain", plain, OTHER_CHAIN, "expected chain")
    yield unrooted(
        "retired-epoch", "epoch 0, but epoch 1 is pinned", plain, PINNED_7, "expected epoch 1 or"
    )
    yield unrooted(
        "handovers-none",
        "epoch 1 without a handover",
        replace(first, handovers=()),
        GENESIS,
        "expected handovers from",
    )
    yield unrooted(
        "handover-first-missing",
        "from epoch 1 only",
        replace(second, handovers=(following,)),
        GENESIS,
        "expected handovers from",
    )
    yield broken("handover-last-missing", "not as far as epoch 2", [handover], "handover-last")
    yield broken(
        "handover-repeated",
        "the first one twice",
        [handover, handover, following],
        "certificate-set",
    )
    yield broken(
        "handover-middle-missing",
        "epochs 0 and 2",
        [handover, Handover(following.block, validator_set(3, SET_2))],
        "handover-epoch",
    )
    extra = replace(first, handovers=second.handovers)
    yield fails(
        Step.ROOT, "handover-beyond", "further than the receipt's epoch", extra, "handover-last"
    )
    other = Handover(handover.block, validator_set(1, FORGED_SET))
    yield broken(
        "handover-set", "to a set that the header does not name", [other, following], "handover-set"
    )
    votes = handover.block.certificate.votes[:2]
    few = Handover(
        CertifiedHeader(handover.block.header, replace(handover.block.certificate, votes=votes)),
        handover.next_set,
    )
    yield broken("handover-few", "two of four signed", [few, following], "certificate-quorum")
    forged_signature = with_signature(
        handover.block.certificate, 0, bytes(31) + b"\x01" + bytes(31) + b"\x01"
    )
    forged = Handover(CertifiedHeader(handover.block.header, forged_signature), handover.next_set)
    yield broken(
        "handover-signature", "one signature is wrong", [forged, following], "certificate-signature"
    )
    header = replace(handover.block.header, next_set_digest=validator_set(1, FORGED_SET).digest)
    retired = Handover(
        CertifiedHeader(header, certify(header, set_0)), validator_set(1, FORGED_SET)
    )
    yield broken(
        "handover-retired-keys",
        "keys of epoch 0 sign another epoch 1",
        [retired, following],
        "handover-known",
        PINNED_7,
    )


def signature_cases(chain: Chain) -> Iterator[Case]:
    """Yield certificates that no quorum signed, or not everyone listed: step 7."""
    receipt = chain.receipt(PLAIN, 1)
    certificate = receipt.block.certificate
    votes = certificate.votes
    r, s = votes[0].signature[:32], int.from_bytes(votes[0].signature[32:], "big")

    def signatures(name: str, about: str, changed: QuorumCertificate, reason: str) -> Case:
        return fails(Step.SIGNATURES, name, about, with_certificate(receipt, changed), reason)

    def with_vote(vote: CertificateVote) -> QuorumCertificate:
        return replace(certificate, votes=(*votes[:3], vote))

    wrong = "certificate-signature"
    yield signatures(
        "quorum", "two of four", replace(certificate, votes=votes[:2]), "certificate-quorum"
    )
    yield signatures("votes-none", "no votes", replace(certificate, votes=()), "certificate-quorum")
    outsider = certify(receipt.block.header, validator_set(0, FORGED_SET))
    yield signatures("set", "signed by another set", outsider, "certificate-set")
    relabelled = replace(outsider, set_digest=certificate.set_digest)
    yield signatures("set-relabelled", "and given this set's hash", relabelled, wrong)
    stranger = replace(votes[3], validator=4)
    yield signatures(
        "voter-outside", "voter 4 of 0..3, above the quorum", with_vote(stranger), wrong
    )
    borrowed = replace(votes[3], signature=votes[2].signature)
    yield signatures(
        "borrowed",
        "voter 3 with the signature of voter 2, above the quorum",
        with_vote(borrowed),
        wrong,
    )
    earlier = replace(votes[3], time_ms=votes[3].time_ms - 1)
    yield signatures(
        "vote-time", "not the time that was signed, above the quorum", with_vote(earlier), wrong
    )
    zero = with_signature(certificate, 0, bytes(64))
    yield signatures("signature-zero", "r and s are zero", zero, wrong)
    high_s = with_signature(certificate, 0, r + (P256_ORDER - s).to_bytes(32, "big"))
    yield signatures("high-s", "the other s for the same r", high_s, wrong)
    view = replace(certificate, subject=replace(certificate.subject, view=1))
    yield signatures("view", "signed in view 0, given out as of view 1", view, wrong)
    keyless = replace(
        validator_set(1, SET_1),
        validators=(
            *validator_set(1, SET_1).validators[:4],
            replace(validator_set(1, (5,)).validators[0], vote_key=b"\x05" + bytes(32)),
        ),
    )
    yield fails(
        Step.SIGNATURES,
        "key-malformed",
        "the fifth key, which did not sign, is no point",
        handed_to(chain, keyless),
        "public key: expected",
    )


def history_cases(chain: Chain) -> Iterator[Case]:
    """Yield certified headers that contradict others, as only more than f faulty make: step 8."""

    def history(
        name: str, about: str, changed: Receipt, reason: str, trust: str = PINNED_3
    ) -> Case:
        return fails(Step.HISTORY, name, about, changed, reason, trust=trust)

    def instead_of(
        height: int, *more: bytes, after_ms: int = 1_000, next_set: ValidatorSet | None = None
    ) -> Receipt:
        fork = forked(chain, height)
        records = [record_of(item) for item in (b"fork", DOCUMENT, *more)]
        return fork.receipt(fork.append(*records, after_ms=after_ms, next_set=next_set), 1)

    yield history(
        "fork-at-pinned", "another header at the pinned height", instead_of(3), "history-fork"
    )
    yield history(
        "fork-below-pinned", "not the parent of the pinned one", instead_of(2), "history-parent"
    )
    late = instead_of(2, after_ms=5_000)
    yield history("time-above-pinned", "T after that of a later height", late, "history-time")
    many = instead_of(2, *(b"%d" % number for number in range(20)))
    yield history(
        "log-above-pinned", "more leaves than at a later height", many, "history-log-size"
    )
    ends = instead_of(1, next_set=validator_set(1, FORGED_SET))
    yield history("epoch-ends-early", "it ends an epoch that went on", ends, "history-set")
    early = instead_of(1, after_ms=0)
    yield history("time-of-genesis", "T not after the genesis", early, "history-time", GENESIS)
    fork = forked(chain, 4)
    fork.leaves = []
    height = fork.append(record_of(DOCUMENT))
    leaves = [leaf_hash(leaf, SUITE.hash) for leaf in fork.leaves]
    path = inclusion_path(leaves, 1, SUITE.hash)
    emptied = build_receipt(SUITE, fork.leaves[1], 1, path, block=fork.blocks[-1])
    yield history(
        "log-of-genesis", f"two leaves at height {height}", emptied, "history-log-size", GENESIS
    )
    fork = forked(chain, 2)
    fork.validators, fork.handovers = validator_set(1, SET_1), chain.handovers[:1]
    early = fork.receipt(fork.append(record_of(b"fork"), record_of(DOCUMENT)), 1)
    yield history(
        "epoch-falls", "epoch 1 below the end of epoch 0", early, "history-epoch", GENESIS
    )
    fork = forked(chain, 3)
    fork.append(record_of(b"fork"), next_set=validator_set(1, SET_1))
    late_handover = fork.receipt(fork.append(record_of(b"fork"), record_of(DOCUMENT)), 1)
    yield history(
        "handover-at-pinned",
        "handed over at the pinned height, which did not",
        late_handover,
        "history-fork",
    )


# --- Making a changed thing ---


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
    data = receipt if isinstance(receipt, bytes) else receipt.encode()
    name = f"{step.value}-{name}"
    return Case(name, about, data, trust, digest, Outcome.NOT_VERIFIED, step, reason)


def with_certificate(receipt: Receipt, certificate: QuorumCertificate) -> Receipt:
    """Return the receipt with another certificate for its header."""
    return replace(receipt, block=CertifiedHeader(receipt.block.header, certificate))


def with_votes(receipt: Receipt, votes: Sequence[CertificateVote]) -> Receipt:
    """Return the receipt with these votes in its certificate."""
    return with_certificate(receipt, replace(receipt.block.certificate, votes=tuple(votes)))


def with_signature(certificate: QuorumCertificate, at: int, signature: bytes) -> QuorumCertificate:
    """Return the certificate with one signature replaced."""
    votes = list(certificate.votes)
    votes[at] = replace(votes[at], signature=signature)
    return replace(certificate, votes=tuple(votes))


def forked(chain: Chain, height: int) -> Chain:
    """Return the chain of epoch 0 as it was before `height`, to be continued otherwise."""
    fork = Chain.found()
    fork.blocks = chain.blocks[: height - 1]
    if fork.blocks:
        fork.tip = fork.blocks[-1].header
    fork.leaves = chain.leaves[: fork.tip.log_size]
    return fork


def handed_to(chain: Chain, next_set: ValidatorSet) -> Receipt:
    """Return a receipt of epoch 1 where epoch 0 handed over to `next_set` at height 2."""
    fork = forked(chain, 2)
    fork.append(record_of(b"last of the epoch"), next_set=next_set)
    return fork.receipt(fork.append(record_of(b"first"), record_of(DOCUMENT)), 1)


def main() -> None:
    """Write the files, and remove cases that are no longer made."""
    made = files()
    for path in FOLDER.glob("cases/*.json"):
        if str(path.relative_to(FOLDER)) not in made:
            path.unlink()
    for name, content in made.items():
        path = FOLDER / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)


if __name__ == "__main__":
    main()
