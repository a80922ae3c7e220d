"""Liars that speak for others, or rest what they say on less than it has to rest on."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from node.chain.block import CertifiedHeader
from node.chain.certificate import QuorumCertificate, Vote
from node.consensus.messages import NewView, Proposal, ViewChange
from node.limits import VALIDATORS_MAX
from node.service.wire import Message
from tests.simulation.adversaries.speaker import Speaker

FAR_VIEWS = 1_000


class Forger:
    """Makes false messages out of true ones; None where there is nothing to falsify."""

    def __init__(self, speaker: Speaker) -> None:
        self._speaker, self._random = speaker, speaker.random

    def forged(self, message: Message) -> Message | None:
        """Return a message in another's name, or one that rests on less than it has to."""
        random = self._random
        size = self._speaker.term.epoch.validators.size
        another = random.choice((*range(size), *range(size), size, VALIDATORS_MAX - 1))
        match message:
            case Vote():
                return replace(message, validator=another)
            case Proposal():
                return replace(message, tx_hashes=message.tx_hashes[1:])
            case ViewChange(prepared=prepared) if prepared and random.randrange(2):
                votes = prepared[-1].certificate.votes
                fewer = replace(prepared[-1].certificate, votes=votes[1:])
                unsound = replace(prepared[-1], certificate=fewer)
                return self._speaker.view_change(replace(message, prepared=(unsound,)))
            case ViewChange() if random.randrange(2):
                ahead = message.view + random.choice((1, 2, FAR_VIEWS))
                return self._speaker.view_change(replace(message, view=ahead))
            case ViewChange():
                return self._speaker.view_change(replace(message, validator=another))
            case NewView(view_changes=view_changes):
                chosen = random.choice((view_changes[1:], view_changes[:1] * len(view_changes)))
                return self._speaker.new_view(message.view, chosen)
            case _:
                return None

    def stuffed(self, message: Message) -> Message | None:
        """Return the same message with certificates in which one vote makes up the quorum."""
        match message:
            case CertifiedHeader(certificate=certificate):
                return replace(message, certificate=stuffed(certificate, self._random))
            case ViewChange(committed=committed, prepared=prepared) if committed or prepared:
                return self._speaker.view_change(
                    replace(
                        message,
                        committed=tuple(self._stuffed_item(item) for item in committed),
                        prepared=tuple(self._stuffed_item(item) for item in prepared),
                    )
                )
            case _:
                return None

    def _stuffed_item(self, item: CertifiedHeader) -> CertifiedHeader:
        return replace(item, certificate=stuffed(item.certificate, self._random))

    def altered(self, message: Message) -> Proposal | None:
        """Return a proposal of another header under the vote for the one that was proposed."""
        if not isinstance(message, Proposal):
            return None
        header, random = message.header, self._random
        match random.randrange(3):
            case 0:
                other = replace(header, time_ms=header.time_ms + 1)
            case 1:
                other = replace(header, state_root=random.randbytes(32))
            case _:
                other = replace(header, parent=random.randbytes(32))
        return replace(message, header=other)


def stuffed(certificate: QuorumCertificate, random: Random) -> QuorumCertificate:
    """Return a certificate of as many votes, all of them one and the same."""
    votes = certificate.votes
    return replace(certificate, votes=(random.choice(votes),) * len(votes))
