"""What a node's log says of its TLS certificate, which `node/rpc/certificate_watch.py` watches."""

from __future__ import annotations

import structlog

from node.errors import NodeError

log = structlog.get_logger()


class LoggedRenewal:
    """Writes the log of the node."""

    def renewed(self, ends_ms: int) -> None:
        """Say that another is shown, which ends then (UTC, ms)."""
        log.info("certificate-renewed", ends_ms=ends_ms)

    def not_taken_up(self, error: NodeError | OSError) -> None:
        """Say that what the files hold could not be shown, and why."""
        log.warning("certificate-not-taken-up", detail=str(error))

    def ends(self, days_left: int) -> None:
        """Say that it ends soon, or has ended."""
        log.warning("certificate-ends", days_left=days_left, fix="govchain node renew")
