"""What the turns of an engine produce, and the outlet through which its parts produce it.

No rules: values that the shell carries out, figures that telemetry reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from node.chain.certificate import QuorumCertificate
from node.chain.compact import Share
from node.consensus.events import Trace
from node.execution.apply import ExecutedBlock
from node.service.admission import Candidate
from node.service.effort import Efforts
from node.service.term import Term
from node.service.wire import (
    LAST_OF_CONSENSUS,
    CheckpointLines,
    Message,
    encode_message,
    kind_of,
)


class Purpose(IntEnum):
    """Why signatures are checked."""

    GOSSIP = 1
    BODIES = 2


@dataclass(frozen=True, slots=True, eq=False)
class CheckJob:
    """Candidates whose signatures somebody (a thread, the simulator) must check for the engine.

    Each is one of its own: the answer comes with the very object that asked.
    """

    purpose: Purpose
    candidates: tuple[Candidate, ...]
    header_digest: bytes = b""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to a peer by number, or to all other members of the set in force."""

    to: int | None
    kind: int
    data: bytes


@dataclass(frozen=True, slots=True)
class CommittedBlock:
    """A block that just became final here."""

    executed: ExecutedBlock
    certificate: QuorumCertificate


@dataclass(slots=True)
class Output:
    """What a turn produced; taken by `Engine.drain`."""

    messages: list[Outgoing] = field(default_factory=list)
    jobs: list[CheckJob] = field(default_factory=list)
    committed: list[CommittedBlock] = field(default_factory=list)
    expired: list[bytes] = field(default_factory=list)
    """Ids of pooled transactions that no later block can include."""
    traces: list[Trace] = field(default_factory=list)
    cut_off: list[int] = field(default_factory=list)
    """Peers not to listen to for a while: too many of their messages were refused."""
    stated: list[tuple[int, CheckpointLines | Share]] = field(default_factory=list)
    """What peers, by number, sign at checkpoints; nothing of it is checked."""
    term: Term | None = None
    """The epoch that began in this turn."""

    @property
    def is_empty(self) -> bool:
        """Whether the turn produced nothing."""
        return not (
            self.messages
            or self.jobs
            or self.committed
            or self.expired
            or self.traces
            or self.cut_off
            or self.stated
            or self.term
        )


@dataclass(slots=True)
class Counters:
    """What this validator did since its start: the figures behind the metrics."""

    votes_signed: int = 0
    votes_checked: int = 0
    proposals_built: int = 0
    blocks_committed: int = 0
    txs_committed: int = 0
    messages_refused: int = 0
    bodies_asked: int = 0
    txs_passed_over: int = 0
    """Transactions that peers passed on while this validator was behind, not looked at."""
    blocks_synced: int = 0
    snapshot_pieces: int = 0
    past_blocks: int = 0
    efforts: Efforts = field(default_factory=Efforts)
    """What parts of its work cost; the shell gives them a clock."""


class Outlet:
    """Where every part of an engine puts what leaves it, in order."""

    def __init__(self, view: Callable[[], int]) -> None:
        """Start with nothing produced; `view` is the one this validator is in, for traces."""
        self._view = view
        self._output = Output()
        self.counters = Counters()

    def send(self, to: int | None, message: Message) -> None:
        """Send a message to a peer by number, or to all other members of the set in force."""
        kind, effort = kind_of(message), self.counters.efforts.consensus
        began_ns = effort.begin()
        data = encode_message(message)
        if kind <= LAST_OF_CONSENSUS:
            effort.end(began_ns)
        self._output.messages.append(Outgoing(to, int(kind), data))

    @property
    def messages(self) -> Sequence[Outgoing]:
        """What was sent since the last `drain`."""
        return self._output.messages

    def have_checked(self, job: CheckJob) -> None:
        """Have signatures checked."""
        self._output.jobs.append(job)

    def note_committed(self, block: CommittedBlock) -> None:
        """Tell of a block that became final, and count it."""
        self._output.committed.append(block)
        self.counters.blocks_committed += 1
        self.counters.txs_committed += len(block.executed.transactions)

    def note_expired(self, tx_ids: Iterable[bytes]) -> None:
        """Tell of pooled transactions that no later block can include."""
        self._output.expired += tx_ids

    def trace(self, rule: str, height: int, detail: str) -> None:
        """Tell of a refusal in the current view."""
        self.note_trace(Trace(rule, self._view(), height, detail))

    def note_trace(self, trace: Trace) -> None:
        """Tell of a transition or a refusal."""
        self._output.traces.append(trace)

    def cut_off(self, peer: int) -> None:
        """Advise not to listen to a peer for a while."""
        self._output.cut_off.append(peer)

    def note_stated(self, peer: int, stated: CheckpointLines | Share) -> None:
        """Tell of what a peer signs at a checkpoint."""
        self._output.stated.append((peer, stated))

    def note_term(self, term: Term) -> None:
        """Tell of an epoch that began."""
        self._output.term = term

    def drain(self) -> Output:
        """Return and forget what was produced since the last call."""
        output = self._output
        if output.is_empty:
            return _NOTHING
        self._output = Output()
        return output


_NOTHING: Final = Output()
"""What most turns produce; for nobody to add to."""
