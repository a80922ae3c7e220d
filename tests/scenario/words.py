"""How messages are written in a trace, and therefore in scripts and expectations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from node.chain.block import CertifiedHeader
from node.chain.certificate import Vote
from node.consensus.messages import NewView, Proposal, Status, ViewChange
from tests.scenario.cast import STARTED_UTC_MS, Cast

KINDS = ("PROPOSAL", "PREPARE", "COMMIT", "VIEW-CHANGE", "NEW-VIEW", "DECIDED", "STATUS")


def kind_of(message: object) -> str:
    """Return the kind of a message, one of `KINDS`."""
    match message:
        case Vote():
            return message.subject.phase.name
        case Proposal():
            return "PROPOSAL"
        case ViewChange():
            return "VIEW-CHANGE"
        case NewView():
            return "NEW-VIEW"
        case CertifiedHeader():
            return "DECIDED"
        case _:
            return "STATUS"


def describe(
    message: Proposal | Vote | ViewChange | NewView | CertifiedHeader | Status, cast: Cast
) -> str:
    """Return a message in words; the first three say what it is."""
    kind = kind_of(message)
    match message:
        case Vote():
            subject = message.subject
            return f"{kind} {cast.block_of(subject.header_digest).name} v{subject.view}"
        case Proposal():
            block = cast.block_of(message.vote.subject.header_digest)
            time = f"T{block.header.time_ms - STARTED_UTC_MS:+d}"
            return (
                f"{kind} {block.name} v{block.header.view} on {block.parent}: "
                f"{' '.join(block.transactions)}, {time}"
                f"{', degraded' if block.header.time_degraded else ''}"
            )
        case ViewChange():
            return f"{kind} v{message.view} {_shown(message, cast)}"
        case NewView():
            senders = [view_change.validator for view_change in message.view_changes]
            return f"{kind} v{message.view} from {listed(senders)}"
        case CertifiedHeader():
            return f"{kind} {certified(message, cast)}"
        case Status():
            leaving = "" if message.view_active else " leaving"
            return f"{kind} v{message.view}{leaving} h{message.height}"
        case _:
            assert_never(message)


def listed(validators: Iterable[int]) -> str:
    """Return validators in words."""
    return ",".join(str(validator) for validator in validators)


def certified(item: CertifiedHeader, cast: Cast) -> str:
    """Return a certificate in words."""
    subject = item.certificate.subject
    voters = listed(vote.validator for vote in item.certificate.votes)
    return f"{cast.block_of(subject.header_digest).name} v{subject.view} by {voters}"


def _shown(message: ViewChange, cast: Cast) -> str:
    """Return what a VIEW-CHANGE shows: its tip, and what is certified above it."""
    tip = cast.genesis.name
    if message.committed:
        tip = cast.block_of(message.committed[-1].certificate.subject.header_digest).name
    items = [
        f"{item.certificate.subject.phase.name.lower()} {certified(item, cast)}"
        for item in message.prepared
    ]
    clock = ["clock bit"] if message.clock_bit else []
    return ", ".join([f"tip {tip}", *items, *clock])
