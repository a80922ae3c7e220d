"""One validator on the stage: the real core, and the least of a driver that obeys it.

The driver keeps the contract of node/consensus/events.py: what is signed is written first, and
leaves, and comes back as an event, only once it is durable. Its disk can be stopped and what is not
durable lost; bodies can be withheld from it; its clock can be wrong.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import assert_never

from node.chain.block import CertifiedHeader
from node.chain.certificate import Phase, Subject, Vote
from node.chain.time_rules import degraded_time, proposal_time
from node.consensus import events as ev
from node.consensus.messages import NewView, Proposal, Status, ViewChange
from node.consensus.state import Recovered
from node.errors import PeerError
from tests.scenario.cast import STARTED_UTC_MS, Block, Cast
from tests.scenario.words import describe, listed

Message = Proposal | Vote | ViewChange | NewView | CertifiedHeader | Status
Record = Block | Vote | ViewChange | NewView | CertifiedHeader
"""What a validator writes: blocks it votes for, its votes, prepared certificates, its views."""


@dataclass(frozen=True, slots=True)
class Written:
    """What waits for the disk: records, and what follows once they are durable."""

    records: tuple[Record, ...]
    event: ev.Event | None
    message: Message | None


@dataclass(slots=True)
class Disk:
    """Survives crashes: the log, and the final blocks with their certificates."""

    log: list[Record] = field(default_factory=list)
    ledger: list[tuple[Block, CertifiedHeader]] = field(default_factory=list)


class Actor:
    """A validator that follows the protocol."""

    def __init__(
        self,
        cast: Cast,
        index: int,
        say: Callable[[int, str], None],
        post: Callable[[int, int | None, Message], None],
    ) -> None:
        self.index = index
        self._cast, self._say, self._post = cast, say, post
        self.disk = Disk()
        self.disk_stalled = False
        self.clock_error_ms = 0
        self.clock_is_fit = True
        self.pool: dict[str, None] = {}
        self._came_ms: dict[str, int] = {}
        """When each transaction came from a client."""
        self.withheld: dict[str, None] = {}
        """Blocks whose bodies nobody gives to this validator."""
        self.misexecuted: dict[str, None] = {}
        """Blocks whose execution goes wrong at this validator."""
        self.votes_checked = 0
        self.refusals: list[tuple[str, int]] = []
        """Rules broken by what came, and who sent it (-1 where the core found out)."""
        self.accused: list[int] = []
        self.halted = ""
        self.running = True
        self._begin()

    def _begin(self) -> None:
        self._verifier = self._cast.verifier()
        self.core = self._cast.core(self.index, self._recovered())
        self._events: deque[ev.Event] = deque()
        self._waiting: list[Written] = []
        self._pursued: dict[bytes, None] = {}
        """Blocks the core asked to validate, not executed yet."""
        self._executed: dict[bytes, None] = {}
        self._pinned: dict[str, None] = {}
        """Undecided blocks whose transactions do not wait in the pool."""
        self._pool_reported = False
        self._judged_view, self._judged_since_ms = -1, 0
        self._now_ms = 0
        self._leaving: dict[int, int] = {}
        """The highest view each other validator is known to leave for."""

    # ------------------------------------------------------------------ what happens to it

    @property
    def tip(self) -> Block:
        """Return the newest final block."""
        return self.disk.ledger[-1][0] if self.disk.ledger else self._cast.genesis

    @property
    def waiting(self) -> list[str]:
        """Return the transactions that wait to be proposed."""
        pinned = {tx for name in self._pinned for tx in self._cast.block(name).transactions}
        return [tx for tx in self.pool if tx not in pinned]

    def feed(self, event: ev.Event, now_ms: int) -> None:
        """Run one turn: this event, what follows from it, then the disk."""
        self._now_ms = now_ms
        self._events.append(event)
        self._turn()

    def submit(self, transaction: str, now_ms: int) -> None:
        """Put a transaction into the pool."""
        final = [tx for block, _ in self.disk.ledger for tx in block.transactions]
        if transaction not in final:
            self.pool[transaction] = None
            self._came_ms.setdefault(transaction, now_ms)
        self._now_ms = now_ms
        self._turn()

    def give_bodies(self, block: Block, now_ms: int) -> None:
        """End the withholding of a block's bodies."""
        self.withheld.pop(block.name, None)
        self._now_ms = now_ms
        self._try_pursued()
        self._turn()

    def sync_disk(self, now_ms: int) -> None:
        """Make durable what was written, and go on."""
        self.disk_stalled = False
        self._now_ms = now_ms
        self._turn()

    def crash(self) -> None:
        """Stop, and lose what is not durable; `disk_stalled` says whether something was not."""
        self.running = False
        self._waiting.clear()
        self.disk_stalled = False

    def restart(self, now_ms: int) -> None:
        """Begin anew from the disk alone; the pool is filled again by gossip."""
        self.running = True
        self._begin()
        self._now_ms = now_ms
        self._say(self.index, f"starts at {self.tip.name}, {self.standing}")
        self.feed(ev.Tick(), now_ms)

    @property
    def standing(self) -> str:
        """Return the view and whether it is active, in words."""
        return f"{'in' if self.core.view_active else 'leaving for'} view {self.core.view}"

    # ------------------------------------------------------------------ the gateway

    def receive(self, sender: int, message: Message, now_ms: int, *, outspoken: bool) -> None:
        """Check a message as the real driver does, and hand it to the core.

        `outspoken` says when the message is not wanted: what a scripted peer sent matters.
        """
        self._now_ms = now_ms
        try:
            event = self._screened(sender, message)
        except PeerError as error:
            self._refuse(error.rule, sender, describe(message, self._cast))
            return
        if event is not None:
            self.feed(event, now_ms)
        elif outspoken:
            self._say(self.index, f"ignores {describe(message, self._cast)} from {sender}")

    def _screened(self, sender: int, message: Message) -> ev.Event | None:  # noqa: C901, PLR0911, PLR0912 - one case per kind
        core, verifier = self.core, self._verifier
        match message:
            case Vote():
                if not core.wants_vote(message):
                    return None
                self.votes_checked += 1
                if not message.verify(self._cast.chain_id, self._cast.validators):
                    raise PeerError("vote-signature", "does not verify")
                return ev.VoteReceived(message)
            case Proposal():
                if not core.wants_proposal(message):
                    return None
                self.votes_checked += 1
                verifier.check_proposal(message)
                return ev.ProposalReceived(message, self._utc_ms)
            case ViewChange():
                if message.view < core.view or message.validator == self.index:
                    return None
                verifier.check_view_change(message)
                self._note_leaving(message)
                return ev.ViewChangeReceived(message)
            case NewView():
                if message.view < core.view or (message.view == core.view and core.view_active):
                    return None
                verifier.check_new_view(message)
                for view_change in message.view_changes:
                    self._note_leaving(view_change)
                return ev.NewViewReceived(message)
            case CertifiedHeader():
                if message.header.height <= core.tip.height:
                    return None
                verifier.check_decided(message)
                return ev.DecidedReceived(message)
            case Status():
                return ev.StatusReceived(sender, message)
            case _:
                assert_never(message)

    def _note_leaving(self, message: ViewChange) -> None:
        known = self._leaving.get(message.validator, 0)
        self._leaving[message.validator] = max(known, message.view)

    def _refuse(self, rule: str, sender: int, what: str) -> None:
        self.refusals.append((rule, sender))
        whose = "" if sender < 0 else f" from {sender}"
        self._say(self.index, f"refuses {what}{whose}: {rule}")

    # ------------------------------------------------------------------ the turn

    @property
    def _utc_ms(self) -> int:
        return STARTED_UTC_MS + self._now_ms + self.clock_error_ms

    @property
    def _now(self) -> ev.Now:
        return ev.Now(self._now_ms, self._utc_ms, self.clock_is_fit)

    def _turn(self) -> None:
        """Run the core until it is at rest, then let the disk finish."""
        while True:
            self._report_pool()
            if not self._events or self.halted:
                break
            event = self._events.popleft()
            if (
                isinstance(event, ev.Validated)
                and event.matches
                and event.header_digest not in self._executed
            ):
                continue  # released since it was executed: the core will ask again if need be
            for action in self.core.step(event, self._now):
                self._obey(action)
        while self._waiting and not self.disk_stalled:
            written = self._waiting.pop(0)
            self.disk.log += written.records
            if written.message is not None:
                self._post(self.index, None, written.message)
            if written.event is not None:
                self.feed(written.event, self._now_ms)

    def _report_pool(self) -> None:
        if bool(self.waiting) != self._pool_reported:
            self._pool_reported = not self._pool_reported
            self._events.append(ev.PoolChanged(self._pool_reported))

    def _write(
        self, *records: Record, event: ev.Event | None = None, message: Message | None = None
    ) -> None:
        self._waiting.append(Written(records, event, message))
        if self.disk_stalled and message is not None:
            self._say(self.index, f"writes {describe(message, self._cast)}; not durable yet")

    def _obey(self, action: ev.Action) -> None:  # noqa: C901, PLR0912 - one case per action
        cast = self._cast
        match action:
            case ev.BuildProposal():
                self._build(action)
            case ev.Validate():
                self._pin(cast.block_of(action.header_digest))
                self._pursued[action.header_digest] = None
                self._try_pursued()
            case ev.CastProposal():
                subject = Subject(
                    Phase.PREPARE, action.view, action.header.height, action.header_digest
                )
                vote = cast.sign_vote(subject, self.index, self._utc_ms)
                proposal = Proposal(action.header, action.tx_hashes, vote)
                block = cast.block_of(action.header_digest)
                self._write(block, vote, event=ev.OwnVoteDurable(vote), message=proposal)
            case ev.CastVote():
                vote = cast.sign_vote(action.subject, self.index, self._utc_ms)
                first: Record = action.evidence or cast.block_of(action.subject.header_digest)
                self._write(first, vote, event=ev.OwnVoteDurable(vote), message=vote)
            case ev.CastViewChange():
                leaving = cast.sign_view_change(action.view_change)
                self._write(leaving, event=ev.OwnViewChangeDurable(leaving), message=leaving)
            case ev.AnnounceNewView():
                start = cast.sign_new_view(action.new_view)
                self._write(start, event=ev.OwnNewViewDurable(start), message=start)
            case ev.AdoptNewView():
                self._write(action.new_view)
            case ev.Commit():
                self._commit(action)
            case ev.Retain():
                self._retain(action.header_digests)
            case ev.Send():
                self._post(self.index, action.to, action.message)
            case ev.ReportEvidence():
                accused = action.second.validator
                self.accused.append(accused)
                first_name, second_name = (
                    cast.block_of(vote.subject.header_digest).name
                    for vote in (action.first, action.second)
                )
                phase = action.second.subject.phase.name
                self._say(
                    self.index, f"accuses {accused}: {phase} for {first_name} and {second_name}"
                )
            case ev.Trace():
                self._narrate(action)
            case ev.Halt():
                self.halted = action.reason
                self._say(self.index, f"halts: {action.reason.split(':')[0]}")
            case _:
                assert_never(action)

    def _narrate(self, trace: ev.Trace) -> None:
        match trace.rule:
            case "view-left" | "view-rotating":
                why = self._why_left(trace.detail.partition(":")[0], trace.view)
                self._say(self.index, f"leaves for view {trace.view}: {why}")
            case "passed-over":
                passed_over = bytes.fromhex(trace.detail.split()[0]).decode()
                self._say(self.index, f"finds {passed_over} passed over")
            case "view-entered" | "view-rotated":
                self._say(self.index, f"enters view {trace.view}")
            case "view-degraded":
                self._say(self.index, f"may see degraded blocks: {trace.detail}")
            case "proposal-followed":
                self._say(self.index, f"follows the proposal at height {trace.height}, no more")
            case "proposal-invalid":
                name = self._cast.block_of(bytes.fromhex(trace.detail)).name
                self._refuse(trace.rule, -1, name)
            case _:
                self._refuse(trace.rule, -1, f"the proposal at height {trace.height}")

    def _why_left(self, reason: str, target: int) -> str:
        validators = self._cast.validators
        if reason == "timeout":
            return "its timer ran out"
        if reason == "clock":
            return "its clock is unfit"
        if reason == "fairness":
            return "its primary prefers others"
        if sum(1 for view in self._leaving.values() if view >= target) > validators.faults:
            return "f + 1 others do"
        if self._leaving.get(validators.primary(target - 1), 0) >= target:
            return "its primary does"
        return "it has lasted long enough"

    # ------------------------------------------------------------------ blocks

    def _build(self, action: ev.BuildProposal) -> None:
        cast = self._cast
        parent = cast.block_of(action.parent_digest)
        transactions = tuple(self.waiting)
        if not transactions:
            self._pool_reported = False
            built = ev.ProposalBuilt(action.view, action.height, None, ())
        else:
            block = cast.make_block(
                parent,
                transactions,
                view=action.view,
                time_ms=self._stamp(parent.header.time_ms, action.degraded_to_ms),
                degraded=action.degraded_to_ms is not None,
            )
            self._pin(block)
            self._executed[block.digest] = None
            built = ev.ProposalBuilt(action.view, action.height, block.header, block.tx_hashes)
        self._events.appendleft(built)

    def _stamp(self, parent_time_ms: int, degraded_to_ms: int | None) -> int:
        if degraded_to_ms is None:
            return proposal_time(parent_time_ms, self._utc_ms)
        return degraded_time(parent_time_ms, degraded_to_ms, self._utc_ms)

    def _pin(self, block: Block) -> None:
        self._pinned[block.name] = None

    def _try_pursued(self) -> None:
        """Execute every block asked for whose bodies and parent are here, parents first."""
        for digest in list(self._pursued):
            block = self._cast.block_of(digest)
            parent_known = block.parent == self.tip.name or (
                self._cast.block(block.parent).digest in self._executed
            )
            if block.name in self.withheld or not (parent_known or digest in self._executed):
                continue
            del self._pursued[digest]
            self.pool |= dict.fromkeys(block.transactions)
            matches = block.sound and block.name not in self.misexecuted
            if matches:
                self._executed[digest] = None
            self._events.append(ev.Validated(digest, matches))
            self._try_pursued()
            return

    def _commit(self, action: ev.Commit) -> None:
        block = self._cast.block_of(action.header_digest)
        certificate = action.certificate
        self.disk.ledger.append((block, CertifiedHeader(action.header, certificate)))
        self._pinned.pop(block.name, None)
        for transaction in block.transactions:
            self.pool.pop(transaction, None)
        voters = listed(vote.validator for vote in certificate.votes)
        view = certificate.subject.view
        self._say(self.index, f"commits {block.name}, decided in view {view} by {voters}")
        self._judge(block)
        self._try_pursued()

    def _judge(self, block: Block) -> None:
        """Tell the core when one that waits came a whole deadline before one that is final."""
        if self.core.view != self._judged_view:
            self._judged_view, self._judged_since_ms = self.core.view, self._now_ms
        if block.header.view != self.core.view or not self.waiting:
            return
        first_ms, first = min((self._came_ms.get(tx, self._now_ms), tx) for tx in self.waiting)
        due_ms = max(first_ms, self._judged_since_ms) + self._cast.parameters.fairness_ms
        last_ms = max(self._came_ms.get(tx, 0) for tx in block.transactions)
        if last_ms > due_ms:
            name = first.encode()
            self._events.append(ev.PassedOver(self.core.view, name, last_ms - first_ms))

    def _retain(self, digests: tuple[bytes, ...]) -> None:
        for name in [n for n in self._pinned if self._cast.block(n).digest not in digests]:
            block = self._cast.block(name)
            del self._pinned[name]
            self._pursued.pop(block.digest, None)
            self._executed.pop(block.digest, None)
            for transaction in block.transactions:
                if any(transaction in final.transactions for final, _ in self.disk.ledger):
                    self.pool.pop(transaction, None)
            self._say(self.index, f"drops {name}")

    # ------------------------------------------------------------------ restart

    def _recovered(self) -> Recovered:
        """Return what the disk says, as node/service/recovery.py reads it from the real log."""
        ledger, height = self.disk.ledger, self.tip.header.height
        votes: dict[tuple[Phase, int], Vote] = {}
        blocks: dict[str, Block] = {}
        prepared: dict[int, CertifiedHeader] = {}
        new_view: NewView | None = None
        leaving: ViewChange | None = None
        for record in self.disk.log:
            match record:
                case Vote() if record.subject.height > height:
                    votes[record.subject.phase, record.subject.height] = record
                case Block() if record.header.height > height:
                    blocks[record.name] = record
                case CertifiedHeader() if record.header.height > height:
                    prepared[record.header.height] = record
                case NewView():
                    new_view = record
                case ViewChange():
                    leaving = record
                case _:
                    pass  # final since
        view, active = (0, True) if new_view is None else (new_view.view, True)
        if leaving is not None and leaving.view > view:
            view, active = leaving.view, False
        return Recovered(
            tip=self.tip.header,
            tip_digest=self.tip.digest,
            recent=tuple(item for _, item in ledger[-self._cast.parameters.window_slots :]),
            view=view,
            view_active=active,
            new_view=new_view,
            view_change=None if active else leaving,
            blocks=tuple((block.header, block.tx_hashes) for block in blocks.values()),
            votes=tuple(vote for _, vote in sorted(votes.items())),
            prepared=tuple(item for _, item in sorted(prepared.items())),
        )
