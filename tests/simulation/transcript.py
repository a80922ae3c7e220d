"""What happened, one line per event, for a reader who hunts a failing seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from node.chain.block import CertifiedHeader
from node.chain.certificate import QuorumCertificate, Vote
from node.consensus.events import Trace
from node.consensus.messages import NewView, Proposal, Status, ViewChange
from node.errors import NodeError
from node.service.wire import (
    Blocks,
    Bodies,
    Transactions,
    WantBlocks,
    WantBodies,
    decode_message,
)

_DIGEST_DIGITS = 6


class Transcript:
    """Writes lines through `write`; `signature_size` is the suite's, for decoding."""

    def __init__(self, write: Callable[[str], None], signature_size: int) -> None:
        self._write, self._signature_size = write, signature_size

    def note(self, now_us: int, who: str, what: str) -> None:
        """Write that something happened at a place."""
        self._write(f"{now_us / 1_000:10.3f} {who:>4} {what}")

    def received(self, now_us: int, who: str, peer: int, frame: Sequence[bytes]) -> None:
        """Write which messages came in."""
        for data in frame:
            self.note(now_us, who, f"<- {peer} {self._described(data)}")

    def traced(self, now_us: int, who: str, traces: Sequence[Trace]) -> None:
        """Write what a validator says about its own turn."""
        for trace in traces:
            self.note(now_us, who, f"-- {trace.rule} v{trace.view} h{trace.height} {trace.detail}")

    def _described(self, data: bytes) -> str:
        try:
            return describe(decode_message(data, self._signature_size))
        except NodeError as error:
            return f"undecodable: {error}"


def describe(message: object) -> str:  # noqa: PLR0911 - one line per kind
    """Return a message in one line."""
    match message:
        case Vote():
            s = message.subject
            phase = s.phase.name.lower()
            return f"{phase} of {message.validator} v{s.view} h{s.height} {_short(s.header_digest)}"
        case Proposal():
            header, digest = message.header, message.vote.subject.header_digest
            return (
                f"proposal v{header.view} h{header.height} {_short(digest)} on "
                f"{_short(header.parent)}, {len(message.tx_hashes)} transactions"
            )
        case ViewChange():
            committed = " ".join(_certified(item) for item in message.committed)
            prepared = " ".join(_certified(item) for item in message.prepared)
            return (
                f"view-change of {message.validator} to v{message.view}, "
                f"committed [{committed}], prepared [{prepared}]"
            )
        case NewView():
            senders = [view_change.validator for view_change in message.view_changes]
            return f"new-view v{message.view} from {senders}"
        case CertifiedHeader():
            return f"decided {_certified(message)}"
        case Status():
            active = "" if message.view_active else " (leaving)"
            return f"status e{message.epoch} v{message.view}{active} h{message.height}"
        case WantBodies():
            count = len(message.tx_hashes) or "all"
            return f"want-bodies {_short(message.header_digest)}: {count}"
        case Bodies():
            return f"bodies {_short(message.header_digest)}: {len(message.transactions)}"
        case WantBlocks():
            return f"want-blocks from {message.from_height}"
        case Blocks():
            return f"blocks: {len(message.blocks)}"
        case Transactions():
            return f"transactions: {len(message.transactions)}"
        case _:
            return type(message).__name__.lower()


def _certified(item: CertifiedHeader) -> str:
    certificate: QuorumCertificate = item.certificate
    subject = certificate.subject
    voters = ",".join(str(vote.validator) for vote in certificate.votes)
    phase = subject.phase.name[0]
    return f"{phase} v{subject.view} h{subject.height} {_short(subject.header_digest)} by {voters};"


def _short(digest: bytes) -> str:
    return digest.hex()[:_DIGEST_DIGITS]
