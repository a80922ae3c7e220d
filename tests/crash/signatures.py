"""The judge of signatures: everything validators ever signed, held side by side.

It reads logs as they lie on disk and messages as peers received them, and knows nothing of how a
validator decides. Two statements of one validator for one place, however far apart, are a crime; so
is a vote in a view that the log, at an earlier death, says was left. And a log has to hold what
others heard of its validator: else that was sent before it was durable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from node.chain.block import CertifiedHeader
from node.chain.certificate import Vote
from node.consensus.messages import NewView, Proposal, ViewChange
from node.crypto.suite import Suite
from node.service.log_records import (
    CommittedRecord,
    NewViewRecord,
    PreparedRecord,
    ViewChangeRecord,
    VoteRecord,
    decode_log_record,
)
from node.service.wire import decode_message
from node.storage.segment import parse_segment
from tests.crash.cells import is_barrier

PRIMARY: Final = -1
"""Signs a NEW-VIEW, whoever that is in its view."""

Place = tuple[int, str, int, int, int]
"""Epoch, phase or kind of message, view, height (0 for what is of none), validator."""


@dataclass(slots=True)
class Signatures:
    """What was signed, and the contradictions found."""

    suite: Suite
    contradictions: list[str] = field(default_factory=list)
    _statements: dict[Place, bytes] = field(default_factory=dict)
    """Digest of all that was signed, votes' times included: what is sent again is the same."""
    _left_for: dict[tuple[int, int], int] = field(default_factory=dict)
    """Per epoch and validator: the view it had gone to, by its log at its last death."""
    _sent: dict[int, dict[Place, None]] = field(default_factory=dict)
    """Per validator: votes that others have of it, and that its log may have to hold."""

    def __len__(self) -> int:
        return len(self._statements)

    def take_log(self, home: Path, validator: int) -> None:
        """Take what a validator that does not run has in its log: its own words, and others'."""
        gone_to: dict[tuple[int, int], int] = {}
        own: dict[Place, None] = {}
        final = (0, 0)
        for segment in sorted((home / "wal").glob("*.wal")):
            for kind, payload in parse_segment(segment.read_bytes()).records:
                match decode_log_record(kind, payload, self.suite.signature_size):
                    case VoteRecord(vote=vote):
                        self._take_own_vote(vote)
                        own[_place(vote)] = None
                    case ViewChangeRecord(message=message) | NewViewRecord(message=message):
                        self._take_view(message)
                        place = (message.epoch, validator)
                        gone_to[place] = max(message.view, gone_to.get(place, 0))
                    case PreparedRecord(item=item):
                        self._take_certified(item)
                    case CommittedRecord(item=item):
                        self._take_certified(item)
                        header = item.header
                        has_ended = is_barrier(header, item.certificate)
                        final = max(final, (header.epoch + has_ended, header.height))
        self._left_for |= gone_to
        self._require_sent(validator, own, final, gone_to)

    def _require_sent(
        self,
        validator: int,
        own: Mapping[Place, None],
        final: tuple[int, int],
        gone_to: Mapping[tuple[int, int], int],
    ) -> None:
        """Require a log to hold what its validator has sent.

        Left out may be what binds no more: up to the block that is final by this log, of an epoch
        before the one after it (`final`: epoch and height), of a view before the one it is in.
        """
        for place in self._sent.pop(validator, {}):
            epoch, _, view, height, _ = place
            is_binding = epoch >= final[0] and height > final[1]
            if is_binding and view >= gone_to.get((epoch, validator), 0) and place not in own:
                self.contradictions.append(f"{place} was sent, and its log does not hold it")

    def take_message(self, data: bytes) -> None:
        """Take a message as a peer received it."""
        match decode_message(data, self.suite.signature_size):
            case Vote() as vote:
                self._take_vote(vote)
            case Proposal(vote=vote):
                self._take_vote(vote)
            case (ViewChange() | NewView()) as message:
                self._take_view(message)
            case CertifiedHeader() as item:
                self._take_certified(item)

    def _take_own_vote(self, vote: Vote) -> None:
        left_for = self._left_for.get((vote.epoch, vote.validator), 0)
        if _place(vote) not in self._statements and vote.subject.view < left_for:
            self.contradictions.append(f"{_place(vote)} after it had gone to view {left_for}")
        self._note_vote(vote)

    def _take_vote(self, vote: Vote) -> None:
        self._sent.setdefault(vote.validator, {})[_place(vote)] = None
        self._note_vote(vote)

    def _note_vote(self, vote: Vote) -> None:
        statement = vote.subject.header_digest + vote.time_ms.to_bytes(8, "big") + vote.signature
        self._note(_place(vote), statement)

    def _take_certified(self, item: CertifiedHeader) -> None:
        for vote in item.certificate.expand():
            self._take_vote(vote)

    def _take_view(self, message: ViewChange | NewView) -> None:
        if isinstance(message, NewView):
            place: Place = (message.epoch, "new-view", message.view, 0, PRIMARY)
            for change in message.view_changes:
                self._take_view(change)
        else:
            place = (message.epoch, "view-change", message.view, 0, message.validator)
            for item in (*message.committed, *message.prepared):
                self._take_certified(item)
        self._note(place, message.sign_bytes(bytes(32)) + message.signature)

    def _note(self, place: Place, statement: bytes) -> None:
        digest = hashlib.sha256(statement).digest()
        if self._statements.setdefault(place, digest) != digest:
            self.contradictions.append(f"{place} was signed twice")


def _place(vote: Vote) -> Place:
    subject = vote.subject
    return (vote.epoch, subject.phase.name, subject.view, subject.height, vote.validator)
