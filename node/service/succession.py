"""From epoch to epoch at one node: the term that is served, and the core that serves it.

One core lives as long as an epoch. When the barrier is final here, the next epoch's core is built
from the state after it; what the old one was about is void. A node whose log is ahead of its ledger
serves no term before the ledger is where the log says it was: until then it is silent.
"""

from __future__ import annotations

from node.chain.block import TransactionRoots
from node.chain.genesis import Genesis
from node.consensus.core import Core
from node.service.output import Outlet
from node.service.recovery import FinalChain, Recovery, resume
from node.service.term import Roster, Term


class Succession:
    """The term in force, what comes after it, and who the members of all terms are to this node."""

    def __init__(
        self,
        genesis: Genesis,
        validator_id: str,
        ledger: FinalChain,
        recovery: Recovery,
        tx_roots: TransactionRoots,
    ) -> None:
        """Begin where `recovery` found this node."""
        self._tx_roots = tx_roots
        self._suite, self.validator_id, self._ledger = genesis.suite, validator_id, ledger
        self.roster = Roster(genesis.validators)
        self._enter(recovery)

    def _enter(self, recovery: Recovery) -> None:
        self._later, self._silent_up_to = recovery.later, recovery.silent_up_to
        self.term = term = Term.of(
            recovery.epoch,
            recovery.anchor,
            self.validator_id,
            self.roster,
            tx_roots=self._tx_roots,
            is_silent=recovery.silent_up_to > 0,
        )
        epoch = term.epoch
        self.core = Core(
            validators=epoch.validators,
            me=term.me,
            parameters=epoch.parameters,
            context=epoch.context,
            anchor=term.anchor,
            digest_of=term.verifier.digest_of,
            recovered=recovery.consensus,
        )

    @property
    def height(self) -> int:
        """Height of the newest final block here."""
        return self._ledger.tip_height

    @property
    def is_due(self) -> bool:
        """Whether the newest final block was a barrier, or that up to which this node is silent."""
        return self.core.has_ended or 0 < self._silent_up_to <= self.height

    def advance(self) -> Recovery:
        """Go on under the rules that the state after the newest final block holds."""
        recovery = resume(self._ledger, self._later, self._suite)
        self._enter(recovery)
        return recovery

    def tell(self, outlet: Outlet) -> None:
        """Say what this node is in the epoch that begins."""
        epoch, height = self.term.epoch, self.height
        detail = f"epoch {epoch.number}, {epoch.validators.size} validators"
        if self._silent_up_to:
            detail += f"; by its log, block {self._silent_up_to} was final here: none is cast below"
            outlet.trace("log-ahead", height, detail)
        elif self.term.is_member:
            outlet.trace("epoch-begun", height, detail)
        else:
            detail += f", {self.validator_id} is none of them: it follows, and casts no vote"
            outlet.trace("epoch-followed", height, detail)
