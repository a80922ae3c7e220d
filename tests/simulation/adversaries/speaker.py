"""The voice of a liar: it signs under one key whatever it is given, in the epoch it speaks in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from node.chain.block import CertifiedHeader
from node.chain.certificate import Phase, Subject, Vote
from node.consensus.core import Core
from node.consensus.messages import NewView, Reason, ViewChange
from node.service.engine import Engine
from node.service.term import Term
from node.storage.ledger import LedgerStore
from tests.simulation.node import SimulatedValidator


class Speaker:
    """Speaks for a running validator, and for one that was removed as what it last was."""

    def __init__(self, validator: SimulatedValidator) -> None:
        self.validator, self.random = validator, validator.world.random
        self.past: list[Term] = []
        """Epochs in which it was a member, the newest last."""

    @property
    def engine(self) -> Engine:
        """The real thing; only a running validator says anything."""
        engine = self.validator.engine
        if engine is None:
            raise LookupError("a validator that is down says nothing")
        return engine

    @property
    def core(self) -> Core:
        return self.engine.core

    @property
    def ledger(self) -> LedgerStore:
        return self.validator.ledger

    @property
    def term(self) -> Term:
        """The epoch it is a member in, or the last one that it was a member in."""
        term = self.engine.term
        if term.is_member and (not self.past or self.past[-1] is not term):
            self.past.append(term)
        return self.past[-1] if self.past else term

    @property
    def index(self) -> int:
        """Its own, in that epoch."""
        return max(self.term.me, 0)

    def is_primary(self, view: int) -> bool:
        """Whether it is the primary of a view of that epoch."""
        term = self.term
        return term.is_member and term.epoch.validators.primary(view) == term.me

    # ------------------------------------------------------------------ signed

    def vote(self, subject: Subject, term: Term | None = None) -> Vote:
        """Return its vote for `subject`."""
        term = self.term if term is None else term
        validators = term.epoch.validators
        time_ms = self.validator.now().utc_ms
        message = subject.sign_bytes(term.epoch.chain_id, validators, time_ms)
        signature = self.validator.signer.sign(message)
        return Vote(subject, max(term.me, 0), time_ms, signature, validators.epoch)

    def intruding(self) -> Vote:
        """Return a vote in an epoch of which it is no member, under the index it had before."""
        term, header = self.engine.term, self.ledger.header
        subject = Subject(
            self.random.choice(list(Phase)),
            self.core.view,
            header.height + self.random.randrange(2),
            self.ledger.header_digest,
        )
        return self.vote(subject, replace(term, me=self.index))

    def view_change(self, unsigned: ViewChange) -> ViewChange:
        """Return a VIEW-CHANGE with its signature, whoever it names."""
        plain = replace(unsigned, signature=b"")
        signature = self.validator.signer.sign(plain.sign_bytes(self.term.epoch.chain_id))
        return replace(plain, signature=signature)

    def leaving_for(
        self,
        view: int,
        *,
        committed: tuple[CertifiedHeader, ...] = (),
        clock_ms: int = 0,
        reason: Reason = Reason.TIMEOUT,
    ) -> ViewChange:
        """Return a VIEW-CHANGE of its own that shows no prepared certificate."""
        return self.view_change(
            ViewChange(
                epoch=self.term.epoch.number,
                view=view,
                validator=self.index,
                committed=committed,
                prepared=(),
                clock_bit=False,
                clock_ms=clock_ms,
                reason=reason,
            )
        )

    def new_view(self, view: int, view_changes: Sequence[ViewChange]) -> NewView:
        """Return a NEW-VIEW from `view_changes`, whether they suffice or not."""
        plain = NewView(epoch=self.term.epoch.number, view=view, view_changes=tuple(view_changes))
        signature = self.validator.signer.sign(plain.sign_bytes(self.term.epoch.chain_id))
        return replace(plain, signature=signature)
