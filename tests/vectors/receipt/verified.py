"""Receipts that verify: every form and limit that must be accepted, and what each attests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from node.chain.membership import AggregateKey
from node.chain.record import RecordAction
from node.crypto.suite import SHA_384, SHA_512
from node.timestamp.receipt import Receipt
from node.timestamp.verify import NamedDigest
from tests.vectors.receipt.case import (
    DIGEST,
    GENESIS,
    PINNED_3,
    PINNED_7,
    SM3_DIGEST,
    Attested,
    Case,
)
from tests.vectors.receipt.chain import CREATED_MS, Chain, record_of, seed, validator_set
from tests.vectors.receipt.story import (
    DEGRADED,
    DOCUMENT,
    FIRST_OF_EPOCH_1,
    FIRST_OF_EPOCH_2,
    LAST_OF_EPOCH_0,
    PLAIN,
    SET_0,
    SM3_DIGESTED,
    hand_over,
    receipt_alone,
    with_member,
    with_votes,
)


def verified_cases(chain: Chain) -> Iterator[Case]:
    """Yield the receipts that verify."""
    yield from _of_the_chain(chain)
    yield from _of_blocks_alone(chain)
    yield from _of_other_sets(chain)


def good(  # noqa: PLR0913 - the parts of a case
    name: str,
    about: str,
    receipt: Receipt,
    *,
    height: int,
    seal_after_ms: int = 47,
    time_ms: int | None = None,
    accuracy_ms: int | None = 1_000,
    sender: str = "agency-1",
    trust: str = GENESIS,
    digest: str = DIGEST,
) -> Case:
    """Return a case that verifies. T is a second per height unless given; S is so long after T.

    Votes are cast 40, 47, 54, 61 ms after T: the lower median of three or four is 47.
    """
    agreed_time_ms = CREATED_MS + 1_000 * height if time_ms is None else time_ms
    attested = Attested(
        sender=sender,
        height=height,
        agreed_time_ms=agreed_time_ms,
        time_degraded=receipt.block.header.time_degraded,
        accuracy_ms=accuracy_ms,
        seal_time_ms=agreed_time_ms + seal_after_ms,
    )
    return Case(f"good-{name}", about, receipt, trust, digest, attested=attested)


def _of_the_chain(chain: Chain) -> Iterator[Case]:
    plain = chain.receipt(PLAIN, 1)
    yield good(
        "all-signed", "all four validators signed; trust in the genesis alone", plain, height=2
    )
    unsigned = replace(plain, cose=None)
    yield good("no-cose", "without a COSE signature", unsigned, height=2)
    bare = with_votes(plain, plain.block.certificate.votes[1:])
    yield good("bare-quorum", "three of four signed", bare, height=2, seal_after_ms=54)
    yield good(
        "below-pinned",
        "the trust file pins a later height of the epoch",
        plain,
        height=2,
        trust=PINNED_3,
    )
    above = chain.receipt(LAST_OF_EPOCH_0, 1)
    yield good(
        "above-pinned", "it pins an earlier height of the epoch", above, height=6, trust=PINNED_3
    )
    degraded = chain.receipt(DEGRADED, 1)
    yield good(
        "degraded",
        "the validators do not vouch for T",
        degraded,
        height=4,
        accuracy_ms=None,
        trust=PINNED_3,
    )
    sm3 = chain.receipt(SM3_DIGESTED, 1)
    yield good("sm3", "the digest is SM3", sm3, height=5, digest=SM3_DIGEST)
    first, second = chain.receipt(FIRST_OF_EPOCH_1, 1), chain.receipt(FIRST_OF_EPOCH_2, 1)
    yield good("epoch-1", "one handover from the genesis", first, height=7)
    yield good("at-pinned", "it pins this very height, in epoch 1", first, height=7, trust=PINNED_7)
    yield good("epoch-2", "two handovers from the genesis", second, height=9)
    yield good("epoch-2-pinned", "of two handovers, one is known", second, height=9, trust=PINNED_7)
    since = replace(second, handovers=second.handovers[1:])
    yield good(
        "handovers-since-pinned",
        "only the handover since the pinned epoch",
        since,
        height=9,
        trust=PINNED_7,
    )


def _of_blocks_alone(chain: Chain) -> Iterator[Case]:
    created = CREATED_MS
    yield good(
        "superseding",
        "action 1, and no reference",
        receipt_alone(
            chain,
            leaf={"record": record_of(DOCUMENT, action=RecordAction.SUPERSEDE, reference=None)},
        ),
        height=5,
    )
    for algorithm in (SHA_384, SHA_512):
        digest = algorithm.new_hash(DOCUMENT).digest()
        named = record_of(DOCUMENT, digest_algorithm=algorithm.digest_id, digest=digest)
        yield good(
            algorithm.name,
            f"a digest of {algorithm.size} bytes",
            receipt_alone(chain, leaf={"record": named}),
            height=5,
            digest=str(NamedDigest(algorithm, digest)),
        )
    sender = "局" * 21 + "x"
    record = record_of(DOCUMENT, type_code="证照" * 5 + "xx", reference="粤" * 42 + "xx")
    yield good(
        "texts-longest",
        "texts of 64, 32 and 128 bytes, operation 9999",
        receipt_alone(chain, leaf={"sender": sender, "record": record, "operation_index": 9_999}),
        height=5,
        sender=sender,
    )
    yield good(
        "log-path-empty",
        "the only leaf of its log",
        receipt_alone(chain, header={"height": 1, "log_size": 1}),
        height=1,
    )
    yield good(
        "log-right-edge",
        "leaf 8 of 9: one hash, and no sibling on the way to it",
        receipt_alone(chain, header={"log_size": 9}),
        height=5,
    )
    yield good(
        "log-path-64",
        "leaf 0 of 2^64 - 1: 64 hashes",
        receipt_alone(chain, header={"log_size": 2**64 - 1}, log_index=0),
        height=5,
    )
    yield good(
        "votes-unordered",
        "vote times do not ascend with the voters",
        receipt_alone(chain, votes={"voters": (0, 1, 2, 3), "delays_ms": (90, 10, 50, 30)}),
        height=5,
        seal_after_ms=30,
    )
    yield good(
        "votes-early",
        "the voters' clocks are behind T",
        receipt_alone(chain, votes={"delays_ms": (-30, -20, -10)}),
        height=5,
        seal_after_ms=-20,
    )
    yield good(
        "later-view",
        "proposed in view 1, committed in view 3",
        receipt_alone(chain, header={"view": 1}, votes={"view": 3}),
        height=5,
    )
    yield good(
        "parameters-changed",
        "not the parameters of the genesis: the accuracy is unknown",
        receipt_alone(chain, header={"parameters_digest": seed("other parameters")}),
        height=5,
        accuracy_ms=None,
    )
    yield good(
        "earliest",
        "a millisecond and a leaf per height since the genesis",
        receipt_alone(chain, header={"time_ms": created + 5, "log_size": 5}),
        height=5,
        time_ms=created + 5,
    )
    yield good(
        "close-above-pinned",
        "two heights, 2 ms and 2 leaves above the pinned header",
        receipt_alone(chain, header={"time_ms": created + 3_002, "log_size": 14}),
        height=5,
        time_ms=created + 3_002,
        trust=PINNED_3,
    )
    yield good(
        "close-below-pinned",
        "two heights, 2 ms and 2 leaves below the pinned header",
        receipt_alone(chain, header={"height": 1, "time_ms": created + 2_998, "log_size": 10}),
        height=1,
        time_ms=created + 2_998,
        trust=PINNED_3,
    )


def _of_other_sets(chain: Chain) -> Iterator[Case]:
    one = with_member(validator_set(1, (1,)), 0, aggregate_key=AggregateKey(bytes(48), bytes(96)))
    yield good(
        "one-validator",
        "one of one signed; it has a BLS key",
        receipt_alone(chain, one, handovers=[hand_over(chain, one)]),
        height=5,
        seal_after_ms=40,
    )
    six = validator_set(1, range(1, 7))
    yield good(
        "four-of-six",
        "six validators, a quorum of four",
        receipt_alone(chain, six, handovers=[hand_over(chain, six)]),
        height=5,
    )
    most = validator_set(1, range(1, 65))
    yield good(
        "43-of-64",
        "64 validators, the last 43 signed",
        receipt_alone(
            chain, most, votes={"voters": range(21, 64)}, handovers=[hand_over(chain, most)]
        ),
        height=5,
        seal_after_ms=40 + 7 * 21,
    )
    named = with_member(validator_set(1, (1, 2, 3, 4)), 2, organisation="局" * 21 + "x")
    yield good(
        "organisation-longest",
        "an organisation's id of 64 bytes",
        receipt_alone(chain, named, handovers=[hand_over(chain, named)]),
        height=5,
    )
    unordered = replace(SET_0, epoch=1, validators=SET_0.validators[::-1])
    yield good(
        "members-unordered",
        "a set whose ids do not ascend",
        receipt_alone(chain, unordered, handovers=[hand_over(chain, unordered)]),
        height=5,
    )
