"""What could be certified with the signatures in existence, whoever holds them.

- A2 certificates: among all signatures in existence, two headers of one height are never both
  certifiable by COMMITs, nor two of one (epoch, view, height) by PREPAREs.
"""

from __future__ import annotations

from node.chain.certificate import Phase
from tests.simulation.guard import Ballot, Electorate
from tests.simulation.violation import Violation


class Certifiable:
    """Counts who signed for what."""

    def __init__(self) -> None:
        """Begin without a vote."""
        self._signers: dict[tuple[int, int, int, int], dict[bytes, dict[int, None]]] = {}
        self._by_height: dict[int, dict[tuple[int, int, bytes], None]] = {}
        """Height to each (epoch, view, digest) that a quorum of COMMITs exists for."""

    def count(self, validator: int, ballot: Ballot, electorate: Electorate) -> bool:
        """Count a vote; return whether a quorum signed the same. Raises `Violation`."""
        if validator not in electorate.members:
            return False
        by_digest = self._signers.setdefault(ballot.place, {})
        signers = by_digest.setdefault(ballot.digest, {})
        signers[validator] = None
        if len(signers) < electorate.quorum:
            return False
        quorums = [d for d, who in by_digest.items() if len(who) >= electorate.quorum]
        if len(quorums) > 1:
            raise Violation(f"A2: two certifiable headers for {ballot.place}")
        if ballot.phase == Phase.COMMIT:
            certifiable = self._by_height.setdefault(ballot.height, {})
            certifiable[ballot.epoch, ballot.view, ballot.digest] = None
            if any(digest != ballot.digest for *_, digest in certifiable):
                raise Violation(f"A2: two certifiable blocks at height {ballot.height}")
        return True

    def uncount(self, validator: int, ballot: Ballot, electorate: Electorate) -> None:
        """Forget a vote that nobody but its dead voter ever had."""
        signers = self._signers[ballot.place][ballot.digest]
        del signers[validator]
        if ballot.phase == Phase.COMMIT and len(signers) < electorate.quorum:
            certifiable = self._by_height.get(ballot.height, {})
            certifiable.pop((ballot.epoch, ballot.view, ballot.digest), None)
