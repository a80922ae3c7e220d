"""A time-stamp token of any authority (RFC 3161), verified offline against given certificates.

The steps are those of `node.timestamp.tokens.check`, but for its last: whoever names an authority
here believes it, so its word is enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from node.crypto import der
from node.crypto.suite import DocumentDigest
from node.timestamp.steps import Judgement, Outcome, take_steps
from node.timestamp.tokens.check import Expectation, TokenCheck, TokenStep
from node.timestamp.tokens.request import TimeStampRequest

_MILLISECOND_US: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideAuthority:
    """An authority as its believer pins it. Certificates are PEM or DER, one each."""

    roots: Sequence[bytes]
    """Those believed: a token's path has to end in one. What cannot be read vouches for nobody."""
    certificates: Sequence[bytes] = ()
    """Others at hand, for tokens that do not bring all of theirs; believed no more than those."""
    policies: Sequence[str] = ()
    """Policies (dotted) of which a token has to be under one; empty if any will do."""
    allows_ed25519: bool = False
    """Whether to take Ed25519 (RFC 8419), which `openssl ts` does not."""

    @property
    def known(self) -> tuple[bytes, ...]:
        """Return every certificate named here."""
        return (*self.roots, *self.certificates)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideStamp:
    """What a verified token says. `valid_until_ms`: until when its path can be judged valid."""

    token: bytes
    """The DER of the TimeStampToken, without the answer around it."""
    time_ms: int
    """genTime, ms since 1970 UTC; a finer fraction is cut off."""
    accuracy_ms: int | None
    """As the token states it, rounded up; None where it states none."""
    serial_number: int
    policy: str
    """Dotted, as are the algorithms of the signature and of the digest that it signs."""
    signature_algorithm: str
    digest_algorithm: str
    path: tuple[bytes, ...]
    """DER, from the signer's certificate to the root that is believed."""
    authority: str
    """The subject of the signer's certificate, in the text form of RFC 4514."""
    valid_until_ms: int
    """The first end of validity on the path, ms since 1970 UTC."""

    @property
    def latest_ms(self) -> int:
        """The latest true time at which the token can have been made, as it states itself."""
        return self.time_ms + (self.accuracy_ms or 0)


StampVerdict = Judgement[OutsideStamp]
"""What is attested is there if all eight steps have passed."""


def verify_stamp(
    data: bytes,
    document: tuple[DocumentDigest, bytes],
    authority: OutsideAuthority,
    *,
    judged_at_ms: int | None = None,
    request: TimeStampRequest | None = None,
    now_ms: int | None = None,
) -> StampVerdict:
    """Verify a token, or an answer that grants one, over a document's digest. Never raises.

    Takes steps 1 to 8 of `node.timestamp.tokens.check.verify_token`, which says what each asks for.
    Certificates have to be valid at genTime; with `judged_at_ms` at that time too, which must not
    be before genTime. With the `request` it answers, its nonce and policy are compared. `now_ms` is
    a time that no true token is after. The outcome is `NOT_ROOTED` where all is sound, but no path
    leads to one of the authority's roots.
    """
    expected = Expectation(
        document=document,
        roots=authority.roots,
        certificates=authority.certificates,
        request=request,
        now_ms=now_ms,
        policies=authority.policies,
        judged_at_ms=judged_at_ms,
        allows_ed25519=authority.allows_ed25519,
        by_trust_file=False,
    )
    check = TokenCheck(data, expected)
    steps = (each for each in check.steps() if each[0] is not TokenStep.CHAIN)
    outcome, reports = take_steps(steps)
    attestation = _stamp_of(check) if outcome is Outcome.VERIFIED else None
    return Judgement(outcome, reports, attestation)


def _stamp_of(check: TokenCheck) -> OutsideStamp:
    token, path = check.token, check.path or (check.leaf,)
    info = token.info
    accuracy_us = info.accuracy_us
    return OutsideStamp(
        token=token.encoded,
        time_ms=info.time_ms,
        accuracy_ms=None if accuracy_us is None else -(-accuracy_us // _MILLISECOND_US),
        serial_number=info.serial_number,
        policy=der.Reader(info.policy, "token info policy").read_oid(),
        signature_algorithm=token.signature_algorithm,
        digest_algorithm=token.digest_algorithm,
        path=tuple(each.encoded for each in path),
        authority=check.leaf.subject,
        valid_until_ms=min(each.not_after_ms for each in path),
    )
