"""Faults on purpose, where genesis allows them: put between the node, its links and its clock."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import structlog

from node.consensus.events import Now
from node.errors import ConfigError
from node.rpc.peer import PeerTransport
from node.service import clock
from node.service.chaos import CHAOS_FILE, Chaos, DisturbedLinks, Links, read_chaos
from node.service.term import Roster

CHAOS_INTERVAL_MS: Final = 100

log = structlog.get_logger()


class Trial:
    """What a control file in the validator's folder asks for; on a real chain, nothing ever."""

    def __init__(
        self, home: Path, transport: PeerTransport, roster: Roster, *, is_allowed: bool
    ) -> None:
        """Stand between the node and `transport`, on the running event loop."""
        self.is_allowed = is_allowed
        self._path = home / CHAOS_FILE
        loop = asyncio.get_running_loop()
        self._disturbed = DisturbedLinks(
            transport,
            name_of=roster.name,
            assigned=lambda: transport.assigned,
            now_ms=clock.monotonic_ms,
            call_later=lambda delay_ms, release: loop.call_later(delay_ms / 1_000, release),
        )
        self.links: Links = self._disturbed if is_allowed else transport

    @property
    def chaos(self) -> Chaos | None:
        """What is in force now."""
        return self._disturbed.chaos

    def now(self) -> Now:
        """Read the clocks, as this validator is to see them."""
        now = clock.now()
        return self._disturbed.put_wrong(now) if self.is_allowed else now

    def hears(self, peer: int) -> bool:
        """Whether what comes from a peer is to be taken."""
        return not self.is_allowed or self._disturbed.hears(peer)

    async def watch(self) -> None:
        """Do what the control file says, and say so; what does not count is told once."""
        told = ""
        while True:
            now_ms = clock.monotonic_ms()
            try:
                chaos = read_chaos(self._path, now_ms)
                said = "" if chaos is None else f"until {chaos.until_ms}"
            except ConfigError as error:
                chaos, said = None, str(error)
            self._disturbed.disturb(chaos)
            if said != told:
                detail = said if chaos is None else chaos.describe(now_ms)
                log.warning("chaos", detail=detail or "over")
                told = said
            await asyncio.sleep(CHAOS_INTERVAL_MS / 1_000)
