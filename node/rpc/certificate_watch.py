"""The TLS certificate of a running process: taken up when its files change, told before it ends.

Whoever renews writes the key, then the certificate. What is between the two, and whatever else does
not fit, is not taken up: the process goes on with what it has, and says why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from node.crypto.certificate import encode_pem
from node.crypto.keystore import KeySecret, load_tls_key_pem
from node.crypto.member_certificate import read_identity
from node.errors import ConfigError, NodeError
from node.rpc.identity import TlsIdentity

LOOK_EVERY_MS: Final = 1_000
ALARM_DAYS: Final = (30, 7, 1)
"""Told when so many days are left, and fewer."""
_MS_PER_DAY: Final = 86_400_000

_Signs = tuple[tuple[int, int, int], ...]


class Renewable(Protocol):
    """What shows a TLS identity, and can show another."""

    def now(self) -> TlsIdentity:
        """Return what it shows on the next connection."""

    def renew(self, identity: TlsIdentity) -> None:
        """Show this from the next connection on."""


class RenewalLog(Protocol):
    """Who learns what becomes of a certificate."""

    def renewed(self, ends_ms: int) -> None:
        """Learn that another is shown from now on, which ends then (UTC, ms)."""

    def not_taken_up(self, error: NodeError | OSError) -> None:
        """Learn that what the files hold could not be shown, and why."""

    def ends(self, days_left: int) -> None:
        """Learn that it ends in so many days, or has ended where that is below zero."""


def load_tls(certificate: Path, key: Path, secret: KeySecret) -> TlsIdentity:
    """Read what is to be shown; raises `ConfigError` where a certificate is not of its key."""
    try:
        shown = certificate.read_bytes()
    except OSError as error:
        raise ConfigError(f"{certificate}: {error.strerror}", fix="restore the file") from error
    private_key_pem = load_tls_key_pem(key, secret)
    public_key = load_pem_private_key(private_key_pem, None).public_key()
    encoded = public_key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    if read_identity(shown).public_key_encoded != encoded:
        raise ConfigError(
            f"{certificate}: is not of the key {key.name}",
            fix="put the certificate there that was issued for this key",
        )
    return TlsIdentity(encode_pem(shown), private_key_pem)  # a CA may give DER: TLS takes none


class CertificateWatch:
    """Looks at the files of a TLS identity, and has it renewed by what they hold."""

    def __init__(
        self,
        tls: Renewable,
        files: tuple[Path, ...],
        reload: Callable[[], TlsIdentity],
        now_ms: Callable[[], int],
        log: RenewalLog,
    ) -> None:
        """`reload` reads the files, or raises `NodeError` for what could not be shown."""
        self._tls, self._files, self._reload, self._now_ms = tls, files, reload, now_ms
        self._log = log
        self._seen = self._signs()
        self._told_days: int | None = None

    @property
    def ends_ms(self) -> int:
        """When the certificate that is shown ends (UTC)."""
        return read_identity(self._tls.now().certificate_pem).not_after_ms

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            self.tell_end()
            await asyncio.sleep(LOOK_EVERY_MS / 1_000)
            await self.look()

    async def look(self) -> None:
        """Take up what the files hold, if they changed since the last look."""
        signs = self._signs()
        if signs == self._seen:
            return
        try:
            renewed = await asyncio.to_thread(self._reload)  # to open a key takes its time
        except (NodeError, OSError) as error:
            self._log.not_taken_up(error)
        else:
            self._tls.renew(renewed)
            self._told_days = None
            self._log.renewed(self.ends_ms)
        self._seen = signs

    def tell_end(self) -> None:
        """Say how long the certificate is valid, once at each alarm."""
        days = (self.ends_ms - self._now_ms()) // _MS_PER_DAY
        due = [each for each in ALARM_DAYS if days < each]
        if due and self._told_days != due[-1]:
            self._told_days = due[-1]
            self._log.ends(days)

    def _signs(self) -> _Signs:
        """Return what differs once a file was replaced; nothing for one that is not there."""
        found = []
        for path in self._files:
            try:
                status = path.stat()
            except OSError:
                continue
            found.append((status.st_ino, status.st_mtime_ns, status.st_size))
        return tuple(found)
