"""Receipts with a compact certificate, good ones and such as fail at step 7."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from node.chain.compact import CompactCertificate
from node.timestamp.receipt import Receipt
from node.timestamp.verify import Outcome, Step
from tests.vectors.receipt.case import KEYED, Case, fails
from tests.vectors.receipt.chain import Chain, seed
from tests.vectors.receipt.keyed import KEYED_HEIGHT, certificate_at, with_compact
from tests.vectors.receipt.story import PLAIN
from tests.vectors.receipt.verified import good

_AGGREGATE_ALONE = tuple(
    f"7-compact-{name}"
    for name in ("posing", "more", "infinity", "header-digest", "state-root", "chain")
)
"""What is wrong with these is the aggregate signature, and nothing else."""
_INFINITY = b"\xc0" + bytes(95)


def compact_cases(chain: Chain) -> Iterator[Case]:
    """Yield receipts of the chain with BLS keys, with what is said of them without BLS12-381."""
    for case in _cases(chain):
        rests_on_it = case.step is None or case.name in _AGGREGATE_ALONE
        yield replace(case, without_bls=Outcome.VERIFIED) if rests_on_it else case


def _cases(chain: Chain) -> Iterator[Case]:
    plain = chain.receipt(PLAIN, 1)
    sound = certificate_at(chain, KEYED_HEIGHT)
    receipt = with_compact(chain, plain, sound)
    yield good("compact", "signed three blocks later", receipt, height=PLAIN, trust=KEYED)
    own = with_compact(chain, plain, certificate_at(chain, PLAIN, (0, 1, 2, 3)))
    yield good("compact-own", "signed at its block, by all four", own, height=PLAIN, trust=KEYED)
    two = certificate_at(chain, KEYED_HEIGHT, (0, 2))
    yield _fails("few", "two signers", with_compact(chain, plain, two), "compact-quorum")
    posing = replace(sound, signers=0b1011)
    yield _of(receipt, posing, "posing", "the fourth for the third", "compact-signature")
    beyond = replace(sound, signers=0b10111)
    yield _of(receipt, beyond, "beyond", "a fifth of four", "compact-signer")
    more = replace(sound, signers=0b1111)
    yield _of(receipt, more, "more", "a fourth that did not sign", "compact-signature")
    infinity = replace(sound, aggregate=_INFINITY)
    yield _of(receipt, infinity, "infinity", "infinity for a signature", "compact-signature")
    at, wrong = sound.checkpoint, seed("other")
    for name, about, other in (
        ("header-digest", "another header", replace(at, header_digest=wrong)),
        ("state-root", "another state", replace(at, state_root=wrong)),
        ("log-root", "another log", replace(at, log_root=wrong)),
    ):
        changed = replace(sound, checkpoint=other)
        yield _of(receipt, changed, name, about, "compact-signature")
    at = replace(sound.checkpoint, epoch=1)
    later = certificate_at(chain, KEYED_HEIGHT, checkpoint=at)
    yield _of(receipt, later, "epoch", "of the epoch after", "compact-epoch")
    elsewhere = certificate_at(chain, KEYED_HEIGHT, chain_id=seed("chain"))
    yield _of(receipt, elsewhere, "chain", "signed for another chain", "compact-signature")
    for name, about, height, reason in (
        ("below", "below the record's block", PLAIN - 1, "compact-height"),
        ("fork", "another header at its height", PLAIN, "compact-fork"),
    ):
        at = replace(sound.checkpoint, height=height)
        signed = certificate_at(chain, KEYED_HEIGHT, checkpoint=at)
        yield _of(receipt, signed, name, about, reason)
    path = with_compact(chain, plain, certificate_at(chain, PLAIN)).compact
    assert path is not None and receipt.compact is not None  # noqa: PT018 - made above
    short = replace(receipt.compact, log_path=path.log_path)
    yield _fails("path", "the path in another tree", replace(receipt, compact=short), "proof-")


def _of(
    receipt: Receipt, certificate: CompactCertificate, name: str, about: str, reason: str
) -> Case:
    assert receipt.compact is not None
    proof = replace(receipt.compact, certificate=certificate)
    return _fails(name, about, replace(receipt, compact=proof), reason)


def _fails(name: str, about: str, receipt: Receipt, reason: str) -> Case:
    return fails(Step.SIGNATURES, f"compact-{name}", about, receipt, reason, trust=KEYED)
