"""The TLS certificate of the running node: taken up when its files change, told before it ends.

Whoever renews writes the key, then the certificate. What is between the two, and whatever else does
not fit, is not taken up: the node goes on with what it has, and says why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from node.crypto.member_certificate import read_identity
from node.errors import NodeError
from node.rpc.identity import RenewableTls, TlsIdentity

LOOK_EVERY_MS: Final = 1_000
ALARM_DAYS: Final = (30, 7, 1)
"""Told when so many days are left, and fewer."""
_MS_PER_DAY: Final = 86_400_000

_Signs = tuple[tuple[int, int, int], ...]
log = structlog.get_logger()


class CertificateWatch:
    """Looks at the files of a node's TLS identity, and has it renewed by what they hold."""

    def __init__(
        self,
        tls: RenewableTls,
        files: tuple[Path, ...],
        reload: Callable[[], TlsIdentity],
        now_ms: Callable[[], int],
    ) -> None:
        """`reload` reads the files, or raises `NodeError` for what the node could not show."""
        self._tls, self._files, self._reload, self._now_ms = tls, files, reload, now_ms
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
            log.warning("certificate-not-taken-up", detail=str(error))
        else:
            self._tls.renew(renewed)
            self._told_days = None
            log.info("certificate-renewed", ends_ms=self.ends_ms)
        self._seen = signs

    def tell_end(self) -> None:
        """Say how long the certificate is valid, once at each alarm."""
        days = (self.ends_ms - self._now_ms()) // _MS_PER_DAY
        due = [each for each in ALARM_DAYS if days < each]
        if due and self._told_days != due[-1]:
            self._told_days = due[-1]
            log.warning("certificate-ends", days_left=days, fix="govchain node renew")

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
