"""Shares of compact certificates: what one validator knows of them, and how they add up. No IO.

Each validator signs the header of a checkpoint with its BLS key and tells the others. Once a quorum
of shares is about the header signed here, they are added up and the sum is checked, once; only if
it does not verify is each share looked at. All this costs milliseconds: it is for a thread
(`count`), off the path of consensus, which waits for none of it.

Bounded: of each validator the newest share alone is held, and one for each height.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from node.chain.compact import Checkpoint, CompactCertificate, Share
from node.chain.membership import ValidatorSet
from node.crypto.bls import verify_aggregate
from node.errors import CryptoError, ProofError


@dataclass(frozen=True, slots=True)
class Tally:
    """A quorum of unchecked shares of one checkpoint, by validator index."""

    chain_id: bytes
    checkpoint: Checkpoint
    validators: ValidatorSet
    shares: Mapping[int, bytes]


@dataclass(frozen=True, slots=True)
class Count:
    """What a tally comes to: a certificate that was checked, or whose shares are not sound."""

    certificate: CompactCertificate | None
    unsound: tuple[int, ...]


def count(tally: Tally) -> Count:
    """Add the shares up and check the sum: some milliseconds, for a thread."""
    try:
        certificate = CompactCertificate.of(tally.checkpoint, tally.shares)
        certificate.check(tally.chain_id, tally.validators)
    except (CryptoError, ProofError):
        return Count(None, tuple(index for index in tally.shares if not _is_sound(tally, index)))
    return Count(certificate, ())


def _is_sound(tally: Tally, index: int) -> bool:
    registered = tally.validators.validators[index].aggregate_key
    if registered is None:
        return False
    message = tally.checkpoint.share_bytes(tally.chain_id)
    try:
        return verify_aggregate([registered.parse()], message, tally.shares[index])
    except CryptoError:
        return False


class Shares:
    """The shares one validator holds, and the newest checkpoint it signed itself."""

    def __init__(
        self,
        validator_id: str,
        chain_id: bytes,
        set_of: Callable[[int], ValidatorSet | None],
    ) -> None:
        """`set_of` gives the validators of an epoch, None of those to come."""
        self._me, self._chain_id, self._set_of = validator_id, chain_id, set_of
        self._heard: dict[str, Share] = {}
        self._unsound: dict[str, int] = {}
        """Up to which height nothing of a validator counts."""
        self._answered: dict[str, int] = {}
        self._own: tuple[Checkpoint, Share] | None = None
        self._is_open = False
        """Whether the newest checkpoint still lacks its certificate."""

    @property
    def own(self) -> Share | None:
        """The newest share of this validator."""
        return None if self._own is None else self._own[1]

    def may_sign(self, checkpoint: Checkpoint) -> bool:
        """Tell whether this validator decided that block, and signed nothing above it."""
        validators = self._set_of(checkpoint.epoch)
        is_member = validators is not None and validators.index_of(self._me) is not None
        return is_member and (self._own is None or self._own[1].height < checkpoint.height)

    def sign(self, checkpoint: Checkpoint, signature: bytes) -> Share:
        """Take note of what this validator signed; return it for the others."""
        share = Share(checkpoint.epoch, checkpoint.height, checkpoint.header_digest, signature)
        self._own, self._is_open = (checkpoint, share), True
        self._heard[self._me] = share
        return share

    def hear(self, sender: str, share: Share) -> Share | None:
        """Take a validator's share; return this one's own where the sender may have missed it."""
        validators = self._set_of(share.epoch)
        if validators is None or validators.index_of(sender) is None or sender == self._me:
            return None
        held = self._heard.get(sender)
        if held is not None and share.height <= held.height:
            return None
        self._heard[sender] = share
        own = self.own
        if own is None or own.height != share.height or self._is_open:
            return None
        if self._answered.get(sender) == own.height:
            return None
        self._answered[sender] = own.height
        return own

    def due(self) -> Tally | None:
        """Return the shares of the newest checkpoint if they are a quorum and not yet counted."""
        if self._own is None or not self._is_open:
            return None
        checkpoint, own = self._own
        validators = self._set_of(checkpoint.epoch)
        if validators is None:
            return None
        subject = (own.epoch, own.height, own.header_digest)
        shares = {}
        for index, member in enumerate(validators.validators):
            share = self._heard.get(member.validator_id)
            if share is None or (share.epoch, share.height, share.header_digest) != subject:
                continue
            if self._unsound.get(member.validator_id) != share.height:
                shares[index] = share.signature
        if len(shares) < validators.quorum:
            return None
        return Tally(self._chain_id, checkpoint, validators, shares)

    def settle(self, tally: Tally, counted: Count) -> None:
        """Take note of what a tally came to; shares that are not sound no longer count."""
        for index in counted.unsound:
            name = tally.validators.validators[index].validator_id
            self._unsound[name] = tally.checkpoint.height
        is_newest = self._own is not None and self._own[0] == tally.checkpoint
        if is_newest and counted.certificate is not None:
            self._is_open = False
