"""When a header is certified, how trust passes from set to set, and what one chain allows.

A handover is the last header of an epoch, certified by that epoch's set, with the set it names for
the next height. Receipts and trust files carry lists of them; nothing is trusted until checked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any, Final

from node.chain.block import CertifiedHeader
from node.chain.certificate import Phase, check_certificate
from node.chain.encoding import decode, encode, expect_array, expect_list
from node.chain.genesis import Genesis
from node.chain.membership import ValidatorSet
from node.crypto.suite import Suite
from node.errors import ProofError

HANDOVERS_MAX: Final = 1_024
"""Of one proof, as readers bound it."""
HISTORY_HANDOVERS_MAX: Final = 16_384
"""Of a whole history, in a trust file or an archive: 80 years of 200 a year."""
HANDOVER_BYTES_MAX: Final = 65_536

CARRIED_HANDOVERS_MAX: Final = 64
CARRIED_HANDOVERS_BYTES_MAX: Final = 131_072
"""How much of the history a node puts into a proof: what leads to the proof's epoch from a while
before it, for trust files of that while. 128 KiB beside a certificate of a citizen go into a mail
or onto a card, and a batch has one receipt for each record. Older trust files are brought up to
date instead: all handovers are in them, however many those are. See ADR 0040."""


@dataclass(frozen=True, slots=True)
class Handover:
    """The last header of an epoch, certified, and the set of the next. Untrusted until checked."""

    block: CertifiedHeader
    next_set: ValidatorSet

    def check(self, chain_id: bytes, validators: ValidatorSet) -> None:
        """Check that `validators`, the set of the epoch that ends, handed over to `next_set`.

        Raises what `check_certified` raises.
        """
        check_certified(self.block, chain_id, validators)
        expect_equal("handover-epoch", validators.epoch + 1, self.next_set.epoch)
        expect_equal(
            "handover-set", self.block.header.next_set_digest.hex(), self.next_set.digest.hex()
        )

    def to_value(self) -> list[Any]:
        """Return the CBOR array `handover`."""
        return [*self.block.to_value(), self.next_set.to_value()]

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode(self.to_value())

    @classmethod
    def from_value(cls, value: object, suite: Suite) -> Handover:
        """Read the CBOR array `handover`; raises `DecodeError`."""
        *certified, next_set = expect_array(value, 3, "handover")
        return cls(
            CertifiedHeader.from_value(certified, suite.signature_size),
            ValidatorSet.from_value(next_set, suite),
        )

    @classmethod
    def decode(cls, data: bytes, suite: Suite) -> Handover:
        """Read a handover from its canonical bytes; raises `DecodeError`."""
        return cls.from_value(decode(data, what="handover", size_max=HANDOVER_BYTES_MAX), suite)


def read_handovers(value: object, suite: Suite, what: str) -> tuple[Handover, ...]:
    """Read a list of `handover` arrays; raises `DecodeError` naming `what`."""
    return tuple(
        Handover.from_value(item, suite) for item in expect_list(value, HANDOVERS_MAX, what)
    )


def carry_newest(newest_first: Iterable[Handover]) -> tuple[Handover, ...]:
    """Return what a proof carries of the handovers to its epoch, oldest first: the newest that fit.

    No more of the iterable is taken than that and one.
    """
    carried: list[Handover] = []
    room_bytes = CARRIED_HANDOVERS_BYTES_MAX
    for handover in islice(newest_first, CARRIED_HANDOVERS_MAX):
        room_bytes -= len(handover.encode())
        if room_bytes < 0:
            break
        carried.append(handover)
    return tuple(reversed(carried))


def follow_handovers(
    chain_id: bytes, first: ValidatorSet, handovers: Iterable[Handover]
) -> tuple[ValidatorSet, ...]:
    """Walk from a set over the handovers that follow it; return every set, the first included.

    Each handover must be certified by the set that the one before it, or `first`, handed over to.
    Raises what `Handover.check` raises.
    """
    sets = [first]
    for handover in handovers:
        handover.check(chain_id, sets[-1])
        sets.append(handover.next_set)
    return tuple(sets)


def check_about(block: CertifiedHeader, suite: Suite) -> None:
    """Check that the certificate speaks of this header; raises `ProofError`.

    That needs no keys: COMMIT, the header's epoch, height and digest, and a view not before the one
    in which the header was first proposed (a view change carries it into later ones).
    """
    header, certificate = block.header, block.certificate
    subject = certificate.subject
    expect_equal("certificate-phase", Phase.COMMIT.name, subject.phase.name)
    expect_equal("certificate-epoch", header.epoch, certificate.epoch)
    expect_equal("certificate-height", header.height, subject.height)
    expect_equal("certificate-digest", header.digest(suite).hex(), subject.header_digest.hex())
    if subject.view < header.view:
        raise ProofError(
            "certificate-view", f"expected at least view {header.view}, got {subject.view}"
        )


def is_barrier(block: CertifiedHeader) -> bool:
    """Tell whether a block ends its epoch: another set decides the next one."""
    return block.header.next_set_digest != block.certificate.set_digest


def check_certified(block: CertifiedHeader, chain_id: bytes, validators: ValidatorSet) -> None:
    """Check that `validators` certified this header of this chain.

    Raises `ProofError`, `PeerError` or, where the set holds a malformed key, `CryptoError`.
    """
    expect_equal("header-chain", chain_id.hex(), block.header.chain_id.hex())
    check_about(block, validators.suite)
    check_certificate(block.certificate, chain_id, validators, Phase.COMMIT)


def check_one_chain(genesis: Genesis, blocks: Iterable[CertifiedHeader]) -> None:
    """Check that certified headers can all stand on the chain of `genesis`; raises `ProofError`.

    Where they span epochs, the handovers between are to be among them. Each height has one header.
    From one height to a later one: T rises by a millisecond or more per block, the log grows by a
    leaf or more per block, epochs never fall, and the set changes only by a handover, so that the
    set one header names next has certified the other. A header names its parent.
    """
    ordered = sorted(blocks, key=lambda block: block.header.height)
    for block in ordered:
        header = block.header
        expect_rise("history-time", genesis.created_ms, header.time_ms, header.height)
        expect_rise("history-log-size", 0, header.log_size, header.height)
    for lower, higher in pairwise(ordered):
        _check_successive(lower, higher, genesis.suite)


def _check_successive(lower: CertifiedHeader, higher: CertifiedHeader, suite: Suite) -> None:
    old, new = lower.header, higher.header
    digest = old.digest(suite)
    blocks = new.height - old.height
    if not blocks:
        expect_equal("history-fork", digest.hex(), new.digest(suite).hex())
        return
    expect_rise("history-time", old.time_ms, new.time_ms, blocks)
    expect_rise("history-log-size", old.log_size, new.log_size, blocks)
    if new.epoch < old.epoch:
        raise ProofError("history-epoch", f"expected at least {old.epoch}, got {new.epoch}")
    if blocks == 1:
        expect_equal("history-parent", digest.hex(), new.parent.hex())
    set_digest = higher.certificate.set_digest
    expect_equal("history-set", old.next_set_digest.hex(), set_digest.hex())


def expect_rise(rule: str, old: int, new: int, blocks: int) -> None:
    """Expect a quantity to have risen by one or more per block."""
    if new < old + blocks:
        raise ProofError(rule, f"expected at least {old + blocks}, got {new}")


def expect_equal(rule: str, expected: object, got: object) -> None:
    """Raise `ProofError` of `rule`, with both values, unless they are equal."""
    if expected != got:
        raise ProofError(rule, f"expected {expected}, got {got}")
