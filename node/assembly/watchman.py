"""Who was refused at this node, in its security log: at TLS, for another chain, at admission.

Written and synced on a thread of its own, so that no disk keeps the votes waiting. What comes
faster than that thread writes is counted.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from node.service import clock
from node.storage.security_log import SecurityLog

SECURITY_FOLDER: Final = "security"
SYNC_S: Final = 1.0
WAITING_MAX: Final = 256


class Watchman:
    """Notes refusals. Open once `run` runs; to be used on one event loop."""

    def __init__(self, folder: Path, node_id: str) -> None:
        """Go on with the log of `folder`; raises as `SecurityLog` does."""
        self._log = SecurityLog(folder, node_id, clock.utc_ms)
        self._log.write("node.started", "allowed")
        self._worker = ThreadPoolExecutor(1, "security-log")
        self._waiting, self._dropped = 0, 0

    def note_refusal(self, who: str, what: str, why: str) -> None:
        """Note who was refused what."""
        if self._waiting >= WAITING_MAX:
            self._dropped += 1
            return
        about: dict[str, str | int | bool] = {"why": why}
        if self._dropped:
            about["dropped"], self._dropped = self._dropped, 0
        self._waiting += 1
        loop = asyncio.get_running_loop()
        written = loop.run_in_executor(
            self._worker, lambda: self._log.write(what, "refused", who, **about)
        )
        written.add_done_callback(self._count_written)

    async def run(self) -> None:
        """Sync now and then until cancelled; raises where the disk refuses."""
        while True:
            await asyncio.sleep(SYNC_S)
            await self.sync()

    async def sync(self) -> None:
        """Make all that was noted durable."""
        await asyncio.get_running_loop().run_in_executor(self._worker, self._log.sync)

    async def close(self) -> None:
        """Write what waits, and close."""
        loop = asyncio.get_running_loop()

        def end() -> None:
            self._log.write("node.stopped", "allowed")
            self._log.close()

        await loop.run_in_executor(self._worker, end)
        self._worker.shutdown()

    def _count_written(self, written: asyncio.Future[None]) -> None:
        self._waiting -= 1
        if not written.cancelled():
            written.exception()  # the next sync meets what the disk says, and stops the node
