"""The trust file that a verb is told to believe: what it pins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.cli.verb import CommandError

if TYPE_CHECKING:
    from pathlib import Path

    from node.timestamp.trust import TrustAnchor


def load_anchor(path: Path) -> TrustAnchor:
    """Return what a trust file pins; raises `CommandError` where it is missing or does not hold."""
    from node.cli.kinds import TRUST, read_kind
    from node.errors import DecodeError, ProofError
    from node.timestamp.trust import load_trust

    data = read_kind(path, TRUST, code="GC-2308")
    try:
        return load_trust(data)
    except (DecodeError, ProofError) as error:
        raise CommandError("GC-2308", f"{path}: {error}") from error
