"""The door: who asks, by a certificate of the connection or by a signature, and whether they may.

Nobody is believed for an address or a header. A signature counts once, within `WINDOW_S` of the
clock here: its nonce is on disk before the request is served.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Final

from node.crypto.member_certificate import verify_identity
from node.errors import CryptoError, DecodeError
from node.gateway.applications import Application, Applications, KnownKey
from node.gateway.http_signature import (
    RequestSignature,
    SignedHead,
    canonical_authority,
    check_content_digest,
)
from node.gateway.problems import NOT_GIVEN, TOO_OFTEN, UNKNOWN_CALLER, Refusal
from node.gateway.rates import Rates

WINDOW_S: Final = 60
"""How far the clock of an application may be from ours."""
STRANGERS_PER_MINUTE: Final = 60
"""Requests of one address that nobody known signed."""
ROLE: Final = "application"
"""Of the certificates that the gateway's authority gives to applications."""

_MISDIRECTED: Final = 421
_CHALLENGE: Final = {"WWW-Authenticate": 'Signature realm="govchain"'}


UseNonce = Callable[[str, str, int, int], Awaitable[bool]]
"""Notes a nonce of an application, now, until a time (ms UTC); says whether it was not used yet."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and how they showed it."""

    application: Application
    key_id: str
    means: str
    """`tls` or `signature`."""


class Door:
    """Lets requests in."""

    def __init__(
        self,
        applications: Applications,
        authority: bytes,
        use_nonce: UseNonce,
        now_ms: Callable[[], int],
        *,
        scheme: str,
        names: Callable[[], Collection[str]],
    ) -> None:
        """Believe `authority` of applications; `names` gives those this gateway goes by."""
        self._applications, self._authority, self._use_nonce = applications, authority, use_nonce
        self._now_ms = now_ms
        self._scheme, self._names = scheme, names
        self._rates, self._strangers = Rates(), Rates()

    async def identify(
        self, head: SignedHead, certificate: bytes | None, address: str, *, has_body: bool
    ) -> Caller:
        """Return who asks; raises `Refusal`. `certificate` is that of the connection, DER."""
        try:
            if "signature" in head.fields or "signature-input" in head.fields:
                return await self._by_signature(head, has_body=has_body)
            if certificate is not None:
                return self._by_certificate(certificate)
            raise _unknown(
                "expected a signed request, or a connection with a certificate of this gateway"
            )
        except Refusal as refusal:
            if refusal.code == UNKNOWN_CALLER:
                self._count_stranger(address)
            raise

    def admit(self, caller: Caller, right: str) -> None:
        """Check that a caller was given a right and does not ask too often; raises `Refusal`."""
        application = caller.application
        wait_ms = self._rates.wait_ms(
            application.name, application.requests_per_minute, self._now_ms()
        )
        if wait_ms:
            raise _too_often(f"{application.requests_per_minute} a minute", wait_ms)
        if right not in application.rights:
            raise Refusal(
                403,
                f"{application.name} was not given {right}",
                code=NOT_GIVEN,
                fix="ask the operator of the gateway",
            )

    def may_go_on(self, caller: Caller, right: str) -> bool:
        """Tell whether who was let in has its key and a right still; counts nothing."""
        known = self._applications.find(caller.key_id)
        application = caller.application.name
        return (
            known is not None
            and known.application.name == application
            and right in known.application.rights
        )

    def _by_certificate(self, certificate: bytes) -> Caller:
        try:
            shown = verify_identity(certificate, self._authority, self._now_ms())
        except CryptoError as error:
            raise _unknown(str(error)) from error
        known = self._applications.find_public(shown.public_key_encoded)
        if shown.role != ROLE or known is None or known.application.name != shown.identity_id:
            raise _unknown("the certificate is of no application known here")
        return Caller(known.application, known.key.key_id, "tls")

    async def _by_signature(self, head: SignedHead, *, has_body: bool) -> Caller:
        named = canonical_authority(self._scheme, head.authority)
        if named not in [canonical_authority(self._scheme, each) for each in self._names()]:
            raise Refusal(_MISDIRECTED, f"this gateway does not go by the name {named!r:.100}")
        try:
            signature = RequestSignature.read(head.fields)
            signature.expect_coverage(head, has_body=has_body)
            known = self._applications.find(signature.key_id)
            holds = known is not None and signature.is_by(known.key, head)
        except DecodeError as error:
            raise _unknown(str(error)) from error
        if known is None or not holds:  # which of the two is nobody's business
            raise _unknown(f"the signature is not by a key {signature.key_id!r:.80} known here")
        await self._expect_fresh(known, signature)
        return Caller(known.application, known.key.key_id, "signature")

    async def _expect_fresh(self, known: KnownKey, signature: RequestSignature) -> None:
        now_ms = self._now_ms()
        now_s = now_ms // 1_000
        ends_s = signature.created_s + WINDOW_S
        if signature.expires_s is not None:
            ends_s = min(ends_s, signature.expires_s)
        if not signature.created_s - WINDOW_S <= now_s <= ends_s:
            raise _unknown(
                f"created: expected a time within {WINDOW_S} s of {now_s}, got "
                f"{signature.created_s}",
                fix="set the clock of the application by NTP",
            )
        until_ms = (signature.created_s + 2 * WINDOW_S) * 1_000
        name = known.application.name
        if not await self._use_nonce(name, signature.nonce, now_ms, until_ms):
            raise _unknown("the nonce was used before", fix="sign each request anew")

    def _count_stranger(self, address: str) -> None:
        wait_ms = self._strangers.wait_ms(address, STRANGERS_PER_MINUTE, self._now_ms())
        if wait_ms:
            raise _too_often(f"{STRANGERS_PER_MINUTE} a minute of nobody known", wait_ms)


def expect_body(head: SignedHead, body: bytes, caller: Caller) -> None:
    """Check that a body is the one that was signed; raises `Refusal`."""
    if caller.means == "signature" and body:
        try:
            check_content_digest(head.fields.get("content-digest", ""), body)
        except DecodeError as error:
            raise _unknown(str(error)) from error


def _unknown(message: str, fix: str = "") -> Refusal:
    return Refusal(401, message, code=UNKNOWN_CALLER, fix=fix, headers=_CHALLENGE)


def _too_often(allowed: str, wait_ms: int) -> Refusal:
    return Refusal(
        429, f"too many requests: expected at most {allowed}", code=TOO_OFTEN, retry_ms=wait_ms
    )
