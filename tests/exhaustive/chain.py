"""The chain that is explored: its genesis, headers made to order, and every signed message once.

Messages get numbers, so that a state of the whole system is a handful of integers. Two messages
that differ in nothing a validator acts on get one number: see `canonical`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from node.chain.block import CertifiedHeader, Header
from node.chain.certificate import Phase, QuorumCertificate, Subject, Vote, build_certificate
from node.chain.epoch import Anchor
from node.chain.membership import ValidatorSet
from node.chain.merkle import leaf_hash, merkle_root
from node.chain.validation import HeaderContext
from node.consensus.events import Now
from node.consensus.messages import NewView, Proposal, ViewChange
from node.consensus.new_view import ViewStart
from node.crypto.signature import SoftwareSigner
from node.execution.apply import Executor
from tests.unit.execution.small_chain import CREATED_MS, GENESIS, signer

Message = Proposal | ViewChange | NewView | CertifiedHeader
NewViewRule = Callable[
    [Sequence[ViewChange], Anchor, Callable[[Header], bytes], ValidatorSet], ViewStart
]

VALIDATORS = GENESIS.validators
SIZE = VALIDATORS.size
CONTEXT = HeaderContext.of_genesis(GENESIS)
GENESIS_HEADER = Executor(GENESIS).genesis_block().header
NOW = Now(monotonic_ms=0, utc_ms=CREATED_MS)
"""Time stands still: that a timer runs out is an event like any other."""


@cache
def digest_of(header: Header) -> bytes:
    """Return a header's digest."""
    return header.digest(GENESIS.suite)


ANCHOR = Anchor(0, digest_of(GENESIS_HEADER))


@cache
def vote_key(validator: int) -> SoftwareSigner:
    """Return the key a validator signs with."""
    return signer(f"validator-{validator + 1}")


@dataclass(slots=True)
class Chain:
    """Every header, vote and message of one exploration, each made and signed once."""

    new_view: NewViewRule
    subjects: list[Subject] = field(default_factory=list)
    """What votes can be about; a set of votes of one validator is a bit mask over this list."""
    messages: list[Message] = field(default_factory=list)
    headers: dict[bytes, Header] = field(default_factory=dict)
    names: dict[bytes, str] = field(default_factory=dict)
    """What transcripts call a header, by digest."""
    conflicts: list[int] = field(default_factory=list)
    """For each subject the mask of those that may not be certifiable beside it."""
    of_phase: dict[Phase, int] = field(default_factory=lambda: dict.fromkeys(Phase, 0))
    of_view: dict[int, int] = field(default_factory=dict)
    _bits: dict[Subject, int] = field(default_factory=dict)
    _numbers: dict[Hashable, int] = field(default_factory=dict)
    _known: dict[int, int] = field(default_factory=dict)
    """The same by address, of the messages listed."""
    _votes: dict[tuple[int, int], Vote] = field(default_factory=dict)
    _certified: dict[int, CertifiedHeader] = field(default_factory=dict)

    # ------------------------------------------------------------------ headers and votes

    def header(self, view: int, height: int, parent: bytes, maker: str) -> Header:
        """Return the block that `maker` makes on `parent`, which is well-formed."""
        below = self.headers.get(parent, GENESIS_HEADER)
        hash_bytes = GENESIS.suite.hash
        header = replace(
            GENESIS_HEADER,
            height=height,
            view=view,
            time_ms=below.time_ms + 1,
            parent=parent,
            proposer=VALIDATORS.primary(view),
            tx_root=merkle_root([leaf_hash(self.tx_hashes(maker)[0], hash_bytes)], hash_bytes),
            log_size=below.log_size + 2,
        )
        digest = digest_of(header)
        if digest not in self.headers:
            self.headers[digest] = header
            on = self.names.get(parent, "")
            self.names[digest] = f"{on}{'-' if on else ''}{maker}{height}v{view}"
        return header

    @staticmethod
    def tx_hashes(maker: str) -> tuple[bytes, ...]:
        """Return the one transaction of the blocks that `maker` makes."""
        return (GENESIS.suite.hash(maker.encode()),)

    def proposal(self, header: Header, maker: str) -> Proposal:
        """Return the proposal of a header by the primary of its view."""
        subject = Subject(Phase.PREPARE, header.view, header.height, digest_of(header))
        return Proposal(
            header, self.tx_hashes(maker), self.vote(self.bit(subject), header.proposer)
        )

    def bit(self, subject: Subject) -> int:
        """Return the number of what a vote is about."""
        known = self._bits.get(subject)
        if known is not None:
            return known
        bit = self._bits[subject] = len(self.subjects)
        against = 0
        for other_bit, other in enumerate(self.subjects):
            # Only what differs in the header alone conflicts; COMMITs conflict across views too.
            if (
                other.phase is subject.phase
                and other.height == subject.height
                and other.header_digest != subject.header_digest
                and (subject.phase is Phase.COMMIT or other.view == subject.view)
            ):
                against |= 1 << other_bit
                self.conflicts[other_bit] |= 1 << bit
        self.subjects.append(subject)
        self.conflicts.append(against)
        self.of_phase[subject.phase] |= 1 << bit
        self.of_view[subject.view] = self.of_view.get(subject.view, 0) | 1 << bit
        return bit

    def vote(self, bit: int, validator: int) -> Vote:
        """Return a validator's vote."""
        made = self._votes.get((bit, validator))
        if made is None:
            subject = self.subjects[bit]
            signed = subject.sign_bytes(GENESIS.chain_id, VALIDATORS, CREATED_MS)
            made = Vote(subject, validator, CREATED_MS, vote_key(validator).sign(signed), 0)
            self._votes[bit, validator] = made
        return made

    def certified(self, bit: int) -> CertifiedHeader:
        """Return a header with a certificate, which stands for every one about that."""
        made = self._certified.get(bit)
        if made is None:
            votes = [self.vote(bit, voter) for voter in range(SIZE)]
            header = self.headers[self.subjects[bit].header_digest]
            made = CertifiedHeader(header, build_certificate(votes, VALIDATORS))
            self._certified[bit] = made
        return made

    # ------------------------------------------------------------------ what is one and the same

    def number(self, message: Message) -> int:
        """Return the number of a message."""
        known = self._known.get(id(message))
        if known is not None:
            return known
        key = self.canonical(message)
        known = self._numbers.get(key)
        if known is None:
            known = self._numbers[key] = self._known[id(message)] = len(self.messages)
            self.messages.append(message)
        return known

    def sign_view_change(self, message: ViewChange) -> ViewChange:
        """Return a VIEW-CHANGE with its sender's signature; equal ones get the same."""
        known = self._numbers.get(self.canonical(message))
        if known is not None and isinstance(made := self.messages[known], ViewChange):
            return made
        signature = vote_key(message.validator).sign(message.sign_bytes(GENESIS.chain_id))
        return replace(message, signature=signature)

    def sign_new_view(self, message: NewView) -> NewView:
        """Return a NEW-VIEW with its primary's signature; equal ones get the same."""
        known = self._numbers.get(self.canonical(message))
        if known is not None and isinstance(made := self.messages[known], NewView):
            return made
        key = vote_key(VALIDATORS.primary(message.view))
        return replace(message, signature=key.sign(message.sign_bytes(GENESIS.chain_id)))

    def start_of(self, view_changes: Sequence[ViewChange]) -> ViewStart:
        """Return what a view starts from, by the rule of the core under test."""
        return self.new_view(view_changes, ANCHOR, digest_of, VALIDATORS)

    def canonical(self, value: Any) -> Hashable:  # noqa: ANN401 - anything a core may hold
        """Return a key equal for values that no validator treats differently.

        A certificate is what it is about: nothing reads the votes in one that was checked. A
        NEW-VIEW is what it starts from: nothing else in it is used.
        """
        key: Hashable = value
        match value:
            case CertifiedHeader():
                key = self.bit(value.certificate.subject)
            case QuorumCertificate():
                key = self.bit(value.subject)
            case Vote():
                key = (self.bit(value.subject), value.validator)
            case Proposal():
                key = ("proposal", value.vote.subject.header_digest)
            case ViewChange():
                held = (self.canonical(value.committed), self.canonical(value.prepared))
                key = ("view-change", value.view, value.validator, *held)
            case NewView():
                start = self.start_of(value.view_changes)
                key = ("new-view", value.view, self.canonical(start))
            case ViewStart():
                key = (
                    self.canonical(value.base),
                    self.canonical(value.carried),
                    value.degraded_to_ms,
                )
            case Header():
                key = digest_of(value)
            case dict():
                key = tuple((name, self.canonical(item)) for name, item in sorted(value.items()))
            case tuple() | list():
                key = tuple(self.canonical(item) for item in value)
        return key
