"""Who is on the other end of a connection: TLS credentials, and certificates judged.

Only authentication lives here. What an identity may do is judged on the transactions it signed.
gRPC's TLS accepts any authority it was given for any name, and TLS 1.2 besides, so both are judged
again on every call, from the properties of the connection that the handshake established.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

import grpc

from node.crypto.certificate_profile import CertificateIdentity
from node.crypto.member_certificate import encode_authority_pem, read_identity, verify_identity
from node.errors import ClientError, CryptoError

VERDICT_MS: Final = 60_000
"""How long a verdict on a certificate is believed before it is judged again."""

_VERDICTS_MAX: Final = 1_024
_TLS_VERSION: Final = b"TLSv1.3"

_DISTRUST: Final = {
    "CERTIFICATE_VERIFY_FAILED": "its certificate is of none of the authorities, or not valid now",
    "Hostname Verification Check failed": "its certificate bears another name",
}
"""What the words of the TLS library mean, when it does not believe who was dialled."""

AuthContext = Mapping[str, Iterable[bytes]]
"""What gRPC knows of a connection, by property name."""


class AccessError(ClientError):
    """The connection's certificate does not entitle it to what it asks for."""

    code = "GC-2201"


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """What this process shows of itself."""

    certificate_pem: bytes
    private_key_pem: bytes = field(repr=False)

    def now(self) -> TlsIdentity:
        """Return itself: it never changes."""
        return self


class TlsSource(Protocol):
    """Who knows what this process shows of itself."""

    def now(self) -> TlsIdentity:
        """Return what it shows on the next connection."""


class RenewableTls:
    """What this process shows of itself, while that may be renewed: new connections show it."""

    def __init__(self, identity: TlsIdentity) -> None:
        self._identity = identity

    def now(self) -> TlsIdentity:
        """Return what it shows on the next connection."""
        return self._identity

    def renew(self, identity: TlsIdentity) -> None:
        """Show this from the next connection on."""
        self._identity = identity


Authorities = Mapping[str, tuple[bytes, ...]]
"""Certificates of authorities (PEM or DER), by the id of the organisation they certify for."""


def bar_nobody(shown: CertificateIdentity, now_ms: int) -> str | None:  # noqa: ARG001 - of the port
    """Take everybody for having its rights."""
    return None


class Gatekeeper:
    """Says who is on the other end, by the authorities of the member organisations.

    `now_ms` reads the clock (UTC). `why_barred` returns why the state lets somebody in no more, or
    None; it is asked anew after `admit`, and each `VERDICT_MS`.
    """

    def __init__(
        self,
        authorities: Authorities,
        now_ms: Callable[[], int],
        why_barred: Callable[[CertificateIdentity, int], str | None] = bar_nobody,
    ) -> None:
        self._now_ms, self._why_barred = now_ms, why_barred
        self._verdicts: dict[bytes, tuple[int, CertificateIdentity]] = {}
        self._authorities: Authorities = {}
        self._admissions = 0
        self.roots_pem = b""
        """All authorities in the form TLS libraries take."""
        self.admit(authorities)

    def admit(self, authorities: Authorities) -> None:
        """Go by these authorities from now on, and by the rights that the state gives by now.

        An authority that is none in truth certifies nobody.
        """
        usable = {}
        for organisation, named in authorities.items():
            found = []
            for authority in named:
                with suppress(CryptoError):
                    found.append(encode_authority_pem(authority))
            if found:
                usable[organisation] = tuple(found)
        self._admissions += 1
        self._verdicts.clear()
        if usable != self._authorities:
            self._authorities = usable
            self.roots_pem = b"".join(each for found in usable.values() for each in found)

    @property
    def verdicts_of(self) -> tuple[int, int]:
        """What a verdict was made in: another value, and who is let in already is judged again."""
        return self._admissions, self._now_ms() // VERDICT_MS

    def root_pem(self, organisation: str) -> bytes:
        """Return the authorities of one organisation, empty if it has none that is usable."""
        return b"".join(self._authorities.get(organisation, ()))

    def identify(self, context: AuthContext) -> CertificateIdentity:
        """Return who showed the certificate of a connection.

        Raises `AccessError` unless: (1) the connection is of TLS 1.3; (2) one certificate was shown
        that keeps the profile of this chain; (3) the organisation it names is a member; (4) an
        authority of that organisation, and no other, issued it, and both are valid now; (5) neither
        is frozen or revoked by the state, and the certificate is the one registered there, if any.
        """
        if list(context.get("ssl_tls_version", ())) != [_TLS_VERSION]:  # (1)
            raise AccessError("expected a connection of TLS 1.3")
        shown = list(context.get("x509_pem_cert", ()))
        if len(shown) != 1:  # (2)
            raise AccessError(f"expected one client certificate, got {len(shown)}")
        now_ms = self._now_ms()
        judged_ms, identity = self._verdicts.get(shown[0], (None, None))
        if identity is None or judged_ms is None or abs(now_ms - judged_ms) > VERDICT_MS:
            identity = self._judge(shown[0], now_ms)
            if len(self._verdicts) >= _VERDICTS_MAX:
                self._verdicts.clear()
            self._verdicts[shown[0]] = (now_ms, identity)
        return identity

    def _judge(self, certificate: bytes, now_ms: int) -> CertificateIdentity:
        try:
            organisation = read_identity(certificate).organisation  # (2)
            authorities = self._authorities.get(organisation)
            if authorities is None:  # (3)
                raise AccessError(f"organisation {organisation!r} is not a member of this chain")
            shown = _verify_by_any(certificate, organisation, authorities, now_ms)  # (4)
        except CryptoError as error:
            raise AccessError(str(error)) from error
        barred = self._why_barred(shown, now_ms)
        if barred is not None:  # (5)
            raise AccessError(barred)
        return shown


def _verify_by_any(
    certificate: bytes, organisation: str, authorities: tuple[bytes, ...], now_ms: int
) -> CertificateIdentity:
    """Return what a certificate says that one of these issued; raises what the last one says.

    They are the authorities of its organisation: external ones name themselves.
    """
    verify = partial(verify_identity, certificate, at_ms=now_ms, organisation=organisation)
    *others, last = authorities
    for authority in others:
        with suppress(CryptoError):
            return verify(authority)
    return verify(last)


def server_credentials(tls: TlsSource, gatekeeper: Gatekeeper) -> grpc.ServerCredentials:
    """Return credentials that show `tls` and ask every client for a member's certificate.

    They follow the gatekeeper's authorities, and what is shown. Make them anew for each port.
    """
    in_use = (gatekeeper.roots_pem, tls.now())

    def describe() -> grpc.ServerCertificateConfiguration:
        roots_pem, shown = in_use
        return grpc.ssl_server_certificate_configuration(
            [(shown.private_key_pem, shown.certificate_pem)], root_certificates=roots_pem
        )

    def describe_if_changed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal in_use
        current = (gatekeeper.roots_pem, tls.now())
        if in_use[0] is current[0] and in_use[1] is current[1]:
            return None
        in_use = current
        return describe()

    return grpc.dynamic_ssl_server_credentials(
        describe(),
        describe_if_changed,  # type: ignore[arg-type]  # None keeps what is in use
        require_client_authentication=True,
    )


def channel_credentials(tls: TlsSource, roots_pem: bytes) -> grpc.ChannelCredentials:
    """Return credentials that show `tls` and believe servers certified under `roots_pem`."""
    shown = tls.now()
    return grpc.ssl_channel_credentials(roots_pem, shown.private_key_pem, shown.certificate_pem)


def read_distrust(details: str) -> str | None:
    """Return why whoever was dialled was not believed, if that is what gRPC's words say."""
    meanings = (meaning for words, meaning in _DISTRUST.items() if words in details)
    return next(meanings, None)
