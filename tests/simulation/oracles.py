"""What must hold at every step, said independently of the code under test.

The oracles see every signature when it is made, every log record when it becomes durable, every
frame when it leaves and every block when it becomes final. They do their own quorum arithmetic and
read signed bytes with the plain CBOR library. A broken rule raises `Violation` at once.

- A1 agreement: one header per height at all correct validators.
- A2 certificates: among all signatures in existence, two headers of one height are never both
  certifiable by COMMITs, nor two of one (epoch, view, height) by PREPAREs.
- A3 validity: every transaction was signed by a client, every commit certificate by a quorum of the
  set that decides its height.
- A4 parents: blocks follow each other, T strictly increases.
- A5 once: no transaction is executed twice.
- A6 roots: validators of equal height hold equal stores.
- P no pool gives out what is final.
- R a validator notices that its log is damaged.
- B memory stays bounded, whatever a peer sends.
- W while nothing is lost or late, who was sent a certificate for the next block is given its bodies
  soon, as at most f of those that have them keep them back.
- T agreed time, while at most f clocks or their validators are wrong: T is at most PRECISION and
  the clock error ahead of when somebody correct received the block, and, unless it is degraded, not
  further behind that, or the signing of a transaction in it, than promised. The seal time S is at
  most the clock error before the signing of any.
- E1 one set per height: a header is of the epoch, and names the next set, that the effects of the
  governed transactions so far say; nobody is a member again who once was not.
- E2 a correct validator votes in epochs of which it is a member, for the set of the epoch.
- E3 evidence of misbehaviour verifies, and names nobody who is correct.
- D1 no correct validator signs twice for one (epoch, phase, view, height), nor two VIEW-CHANGEs or
  NEW-VIEWs for one (epoch, view), across crashes.
- D2 nothing leaves with a signature of a correct validator that its disk may still lose.
- D3 no PREPARE leaves before the block it is about is durable.
- D4 a VIEW-CHANGE shows every slot its sender ever sent COMMIT for, and ends voting below it.
- G1 to G5 what a correct validator signs is permitted by what was delivered to it: guard.py.
- G6 no PREPARE for a proposal that came too late, or too early: timeliness.py.
- N nobody is cut off for what it sends who follows the protocol.
- V peers accept a VIEW-CHANGE of a correct validator. Here what they run judges: whoever makes one
  must agree with it.
- X a correct validator neither halts nor raises.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import cbor2

from node.chain.block import Header, ResultCode
from node.chain.certificate import Phase, QuorumCertificate
from node.chain.genesis import Genesis, Parameters
from node.chain.governance import AddValidator, Governance, RemoveValidator, SetParameters
from node.chain.membership import Validator, ValidatorSet
from node.consensus.messages import ViewChange
from node.consensus.verification import Verifier
from node.crypto import domains
from node.errors import DecodeError, PeerError
from node.service.engine import CommittedBlock, Output
from node.service.log_records import RecordType
from node.service.wire import MessageKind
from node.storage import keys
from node.storage.segment import parse_segment
from tests.simulation.guard import (
    Ballot,
    Beginning,
    Decided,
    Electorate,
    Guard,
    Leaving,
    Offer,
    Start,
    Statement,
)
from tests.simulation.memory import held_bytes
from tests.simulation.node import LogRecords, SimulatedValidator
from tests.simulation.timeliness import Arrival, Timeliness
from tests.simulation.world import MS, World

HELD_BYTES_MAX = 600_000
"""What a validator may hold in memory besides its pool and ledger."""
POOLED_BYTES_MAX = 8_000
"""And for each request in its pool."""
_ANY = 1 << 40
_BLOCK = RecordType.BLOCK
_OF_VIEWS = (RecordType.VIEW_CHANGE, RecordType.NEW_VIEW)
_PROPOSAL = bytes((MessageKind.PROPOSAL,))
_STARTS_OR_ENDS = (bytes((MessageKind.NEW_VIEW,)), bytes((MessageKind.DECIDED,)))
"""What starts a view, and what decides a height."""
_NEW_VIEW = domains.tagged(domains.NEW_VIEW, b"")
_VIEW_CHANGE = domains.tagged(domains.VIEW_CHANGE, b"")


class Violation(AssertionError):  # noqa: N818 - an oracle's verdict, not an error of the program
    """A rule is broken; the message begins with its name."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who decides and by which parameters, as the oracles have worked it out."""

    epoch: int
    members: tuple[int, ...]
    """By index, their numbers."""
    parameters: Parameters


@dataclass(slots=True)
class Conduct:
    """What one correct validator is bound by."""

    volatile: dict[bytes, Statement] = field(default_factory=dict)
    """Signed and not known to be durable: may not have left. By signature."""
    places: dict[tuple[int | str, ...], None] = field(default_factory=dict)
    """Of everything signed that exists for good or may yet."""
    commits: dict[tuple[int, int], int] = field(default_factory=dict)
    """Epoch and height to the highest view of a durable COMMIT.

    An epoch may end below one: its barrier is another block than the voter had committed to.
    """
    left_for: dict[int, int] = field(default_factory=dict)
    """Epoch to the highest view of a durable VIEW-CHANGE."""
    entered: dict[int, int] = field(default_factory=dict)
    """Epoch to the highest view that it may have entered."""
    entering: list[Start] = field(default_factory=list)
    """What it enters in the turn under way, unless it leaves for a later view before."""
    prepares: list[tuple[Ballot, int]] = field(default_factory=list)
    """Its PREPAREs of the turn under way, and the height of its newest block at each."""
    blocks: dict[bytes, None] = field(default_factory=dict)
    """Digests of the blocks whose bodies its disk holds."""
    tip: int = 0
    """Height of the newest block it committed, as of its last whole turn."""
    final_height: Callable[[], int] = lambda: 0
    """The same, in the middle of a turn too."""
    decided: dict[int, bytes] = field(default_factory=dict)
    """Blocks above its newest that it was sent certificates for, by height, in this epoch and
    life."""
    awaited: tuple[bytes, int] = (b"", 0)
    """The next block, where that is among them, and since when (us)."""


class Oracles:
    """The judge of one run. `correct` lists the validators that follow the protocol."""

    def __init__(
        self,
        world: World,
        genesis: Genesis,
        genesis_header: Header,
        spares: Sequence[Validator] = (),
    ) -> None:
        """`spares` may become validators; their numbers follow those of the founders."""
        self._world, self._genesis = world, genesis
        self.headers: list[Header] = [genesis_header]
        self.digests: list[bytes] = [genesis_header.digest(genesis.suite)]
        founders = genesis.validators.validators
        self._roster = (*founders, *spares)
        self._numbers = {each.validator_id: n for n, each in enumerate(self._roster)}
        self._guard = Guard(genesis)
        self._timeliness = Timeliness(self._guard)
        first = Account(0, tuple(range(len(founders))), genesis.parameters)
        self.accounts: list[Account] = [first, first]
        """By height: what is in force for it; one more than there are headers."""
        self._removed: dict[int, None] = {}
        self._sets: dict[int, ValidatorSet] = {}
        """By epoch."""
        self._verifiers: dict[int, Verifier] = {}
        """What its members accept of each other, by epoch."""
        self._early: dict[int, list[Callable[[], None]]] = {}
        """By epoch, what was signed in it, and which proposals of it came, before its set was known
        here."""
        self._begin(first)
        self.codes: Counter[ResultCode] = Counter()
        """Outcomes of governed transactions."""
        self.executed: dict[bytes, int] = {}
        """tx_id to height."""
        self.submitted: dict[bytes, int] = {}
        """tx_ids that clients signed, and when: true UTC, ms."""
        self.conduct: dict[int, Conduct] = {}
        """Of the correct validators alone."""
        self._signers: dict[tuple[int, int, int, int], dict[bytes, dict[int, None]]] = {}
        self._certifiable: dict[int, dict[tuple[int, int, bytes], None]] = {}
        """Height to each (epoch, view, digest) that a quorum of COMMITs exists for."""
        self._logged: dict[bytes, bytes] = {}
        """Digests of the blocks in log records, by the record's payload."""
        self.messages: Counter[MessageKind] = Counter()
        """Sent by correct validators, each addressee counted."""
        self.misled: dict[int, None] = {}
        """Validators whose clocks were set wrong; with the liars among them, T is as good as ever
        while they are at most f."""
        self.arrivals: dict[bytes, list[int]] = {}
        """When (true UTC, ms) the proposal of a header was delivered to a validator whose clock is
        right."""
        self.view_max = 0
        self.on_final: Callable[[bytes], None] = lambda _: None
        """Told each tx_id when the first correct validator commits it."""
        self.wait_max_us: int | None = None
        """How long bodies of a decided block may take at present; None: for ever."""
        self.carries_damage = False
        """Whether links alter what correct validators send, so that they may seem to be liars."""

    @property
    def account(self) -> Account:
        """What is in force for the next block, which nobody has yet."""
        return self.accounts[-1]

    def _begin(self, account: Account) -> None:
        """Begin an epoch, and judge what was signed in it already."""
        members = tuple(self._roster[number] for number in account.members)
        self._sets[account.epoch] = ValidatorSet(account.epoch, members, self._genesis.suite)
        electorate = Electorate(account.members, len(self.headers) - 1, self.digests[-1])
        self._verifiers[account.epoch] = Verifier(
            self._genesis.chain_id,
            self._sets[account.epoch],
            self._genesis.suite,
            account.parameters.window_slots,
            electorate.height,
        )
        self._timeliness.begin(account.epoch, account.parameters)
        self._guard.begin(account.epoch, electorate)
        for judge in self._early.pop(account.epoch, ()):
            judge()

    def judge(self, validator: int) -> None:
        """Hold a validator to the rules from now on."""
        self.conduct[validator] = Conduct()
        self._guard.watch(validator)
        self._timeliness.started(validator)

    # ------------------------------------------------------------------ signatures

    def signed(self, validator: int, message: bytes, signature: bytes) -> None:
        """Take note of a signature the moment it comes into existence."""
        statement = self._guard.exists(validator, message, signature)
        conduct = self.conduct.get(validator)
        new_view: list[Any] | None = None
        if message.startswith(_NEW_VIEW):
            new_view = cbor2.loads(message[len(_NEW_VIEW) :])[1]
            statement = Beginning(new_view[1], new_view[2])
        if statement is None:
            return
        if conduct is not None:
            conduct.volatile[signature] = statement
        tip = 0 if conduct is None else conduct.final_height()
        signed = (message, signature)
        judge = partial(self._judge_signed, validator, statement, new_view, signed, tip)
        if statement.epoch in self._sets:
            judge()
        else:
            self._early.setdefault(statement.epoch, []).append(judge)

    def _judge_signed(
        self,
        validator: int,
        statement: Statement,
        new_view: list[Any] | None,
        signed: tuple[bytes, bytes],
        tip: int,
    ) -> None:
        """Judge what was signed when `tip` was the signer's newest block."""
        conduct = self.conduct.get(validator)
        if isinstance(statement, Ballot):
            self._count(validator, statement)
        if conduct is None:
            return
        if statement.place in conduct.places:
            raise Violation(f"D1: validator {validator} signs twice for {statement.place}")
        conduct.places[statement.place] = None
        objection = ""
        if new_view is not None:
            objection = self._guard.object_to_new_view(validator, new_view)
        elif isinstance(statement, Ballot):
            self._judge_membership(validator, statement, signed[0])
            objection = self._judge_ballot(validator, conduct, statement, tip)
        elif isinstance(statement, Leaving):
            objection = self._judge_leaving(validator, conduct, statement)
            objection = objection or self._object_to_form(statement, *signed)
        if objection:
            raise Violation(f"{objection}: validator {validator} signs {statement}")

    def _judge_membership(self, validator: int, ballot: Ballot, message: bytes) -> None:
        """E2."""
        members = self._guard.electorates[ballot.epoch].members
        if validator not in members or self._sets[ballot.epoch].digest not in message:
            raise Violation(f"E2: validator {validator} votes {ballot}, members are {members}")

    def _count(self, validator: int, ballot: Ballot) -> None:
        """A2."""
        electorate = self._guard.electorates[ballot.epoch]
        if validator not in electorate.members:
            return
        by_digest = self._signers.setdefault(ballot.place, {})
        signers = by_digest.setdefault(ballot.digest, {})
        signers[validator] = None
        if len(signers) < electorate.quorum:
            return
        self._guard.certified(ballot)
        quorums = [d for d, who in by_digest.items() if len(who) >= electorate.quorum]
        if len(quorums) > 1:
            raise Violation(f"A2: two certifiable headers for {ballot.place}")
        if ballot.phase == Phase.COMMIT:
            certifiable = self._certifiable.setdefault(ballot.height, {})
            certifiable[ballot.epoch, ballot.view, ballot.digest] = None
            if any(digest != ballot.digest for *_, digest in certifiable):
                raise Violation(f"A2: two certifiable blocks at height {ballot.height}")

    def _uncount(self, validator: int, ballot: Ballot) -> None:
        """Forget a vote that nobody but its dead voter ever had."""
        signers = self._signers[ballot.place][ballot.digest]
        del signers[validator]
        quorum = self._guard.electorates[ballot.epoch].quorum
        if ballot.phase == Phase.COMMIT and len(signers) < quorum:
            certifiable = self._certifiable.get(ballot.height, {})
            certifiable.pop((ballot.epoch, ballot.view, ballot.digest), None)

    def _judge_ballot(self, validator: int, conduct: Conduct, ballot: Ballot, tip: int) -> str:
        if ballot.view < _left_for(conduct, ballot.epoch):
            raise Violation(f"D4: validator {validator} votes in {ballot.place} after leaving it")
        if self._guard.is_on_schedule(validator, ballot.epoch, ballot.view):
            self._timeliness.was_in_on_schedule(validator, ballot.epoch, ballot.view)
        if ballot.phase == Phase.PREPARE:
            conduct.prepares.append((ballot, tip))
        return self._guard.object_to(validator, ballot, tip)

    def _judge_leaving(self, validator: int, conduct: Conduct, leaving: Leaving) -> str:
        shown = dict(leaving.shown)
        tip = max(leaving.tip, self._guard.electorates[leaving.epoch].height)
        for (epoch, height), view in conduct.commits.items():
            if epoch == leaving.epoch and height > tip and shown.get(height, -1) < view:
                raise Violation(
                    f"D4: validator {validator} hides its COMMIT at {height} in view {view} "
                    f"when leaving for {leaving.view}: tip {tip}, shown {leaving.shown}"
                )
        own = _left_for(conduct, leaving.epoch, but=leaving)
        return self._guard.object_to_leaving(validator, leaving, own)

    def _object_to_form(self, leaving: Leaving, message: bytes, signature: bytes) -> str:
        """V."""
        _, unsigned = cbor2.loads(message[len(_VIEW_CHANGE) :])
        try:
            sent = ViewChange.from_value([*unsigned, signature], len(signature))
            self._verifiers[leaving.epoch].check_view_change(sent)
        except (DecodeError, PeerError) as error:
            return f"V: {error}"
        return ""

    # ------------------------------------------------------------------ the disk

    def synced(self, validator: SimulatedValidator, records: LogRecords) -> None:
        """Take note, in order, of what can no longer be lost; D3."""
        conduct = self.conduct[validator.index]
        for kind, payload in records:
            if kind == _BLOCK:
                self._keep_block(validator.index, conduct, payload)
            for signature in [s for s in conduct.volatile if s in payload]:
                statement = conduct.volatile.pop(signature)
                self._bind(conduct, statement)
                if isinstance(statement, Beginning):
                    begun = self._guard.starts(validator.index, statement.epoch, statement.view)
                    self._note_beginning(conduct, begun[-1])
                if (
                    isinstance(statement, Ballot)
                    and statement.phase == Phase.PREPARE
                    and statement.digest not in conduct.blocks
                ):
                    raise Violation(f"D3: validator {validator.index} logs {statement} before it")

    def rotated(self, validator: SimulatedValidator, records: LogRecords) -> None:
        """Take note of a log that states less, as the ledger and a later view say the rest."""
        conduct = self.conduct[validator.index]
        self.synced(validator, [r for r in records if r[0] == _BLOCK])
        of_views = [cbor2.loads(data) for kind, data in records if kind in _OF_VIEWS]
        views: dict[int, int] = {}
        for _, epoch, view, *_ in of_views:
            views[epoch] = max(view, views.get(epoch, 0))
        tip = validator.ledger.tip_height
        now_in = self._account_above(tip).epoch
        for signature, statement in list(conduct.volatile.items()):
            if isinstance(statement, Ballot):
                is_kept = statement.height <= tip or statement.view < views.get(statement.epoch, 0)
            else:
                is_over = statement.epoch < now_in
                is_kept = is_over or statement.view <= views.get(statement.epoch, 0)
            if is_kept or any(signature in payload for _, payload in records):
                del conduct.volatile[signature]
                self._bind(conduct, statement)

    def _bind(self, conduct: Conduct, statement: Statement) -> None:
        """Hold a validator to what it signed, for ever."""
        if isinstance(statement, Leaving):
            left_for = conduct.left_for.get(statement.epoch, 0)
            conduct.left_for[statement.epoch] = max(left_for, statement.view)
        elif isinstance(statement, Ballot) and statement.phase == Phase.COMMIT:
            place = (statement.epoch, statement.height)
            conduct.commits[place] = max(conduct.commits.get(place, -1), statement.view)

    def _keep_block(self, validator: int, conduct: Conduct, block_record: bytes) -> None:
        """Take note of a durable block; G1 and G5, if its validator proposed it."""
        digest = self._logged.get(block_record)
        if digest is None:
            digest = self._guard.learn_header(cbor2.loads(block_record)[0])
            self._logged[block_record] = digest
        conduct.blocks[digest] = None
        objection = self._guard.object_to_block(validator, digest)
        if objection:
            raise Violation(f"{objection}: validator {validator} proposes {digest.hex()}")

    def crashed(self, validator: SimulatedValidator) -> None:
        """Forget the signatures that died with the process: they never left it (D2)."""
        conduct = self.conduct[validator.index]
        kept = bytes(validator.log.durable_bytes)
        lost = []
        for signature, statement in conduct.volatile.items():
            if signature in kept:
                self._bind(conduct, statement)
                continue
            lost.append(statement)
            conduct.places.pop(statement.place, None)
            if isinstance(statement, Ballot):
                self._uncount(validator.index, statement)
        conduct.volatile.clear()
        conduct.prepares.clear()
        conduct.entering.clear()
        conduct.blocks.clear()
        for record in parse_segment(kept).records:
            if record.kind == _BLOCK:
                self._keep_block(validator.index, conduct, record.payload)
        self._guard.crashed(validator.index, lost)

    def started(self, validator: SimulatedValidator) -> None:
        """A1 for what a restarted validator still holds."""
        ledger = validator.ledger
        tip = ledger.tip_height
        if tip >= len(self.digests) or ledger.header_digest != self.digests[tip]:
            raise Violation(f"A1: validator {validator.index} restarts on a foreign block {tip}")
        self._timeliness.started(validator.index)
        conduct, engine = self.conduct[validator.index], validator.engine
        self._starts_over(validator.index, conduct)
        conduct.tip = tip
        if engine is not None:  # what the turn under way made final is not in the ledger yet
            conduct.final_height = lambda: engine.height

    # ------------------------------------------------------------------ the network

    def hearing(self, validator: SimulatedValidator, peer: int, frame: Sequence[bytes]) -> None:
        """Take note of what a validator is about to know."""
        number, conduct = validator.index, self.conduct[validator.index]
        account = self._account_above(conduct.tip)
        self._guard.hearing(number, peer, account.epoch)
        for data in frame:
            early_of = self._guard.heard(number, data)
            if data[1:2] == _PROPOSAL:
                self._note_arrival(validator, peer, data, early_of)
            elif early_of is None and data[1:2] in _STARTS_OR_ENDS:
                for fact in self._guard.facts_in(data):
                    if isinstance(fact, Start):
                        self._timeliness.may_enter_view(number)
                        if peer in account.members and fact.epoch == account.epoch:
                            self._note_beginning(conduct, fact)
                    elif isinstance(fact, Decided) and fact.epoch == account.epoch:
                        self._note_decided(conduct, fact.height, fact.digest)

    def _note_arrival(
        self, validator: SimulatedValidator, peer: int, data: bytes, early_of: int | None
    ) -> None:
        """Take note of when a proposal came; whose it is may be known only as its epoch begins.

        A liar can be the first to have the block that ends an epoch, and to propose in the next.
        """
        true_ms = None if validator.index in self.misled else self._world.utc_ms
        tip = self.conduct[validator.index].tip
        arrival = Arrival(peer, validator.utc_ms, true_ms, tip)
        note = partial(self._came, validator, validator.life, data, arrival)
        if early_of is None:
            note()
        else:
            self._early.setdefault(early_of, []).append(note)

    def _came(
        self, validator: SimulatedValidator, life: int, data: bytes, arrival: Arrival
    ) -> None:
        """Keep when a proposal came, in which life.

        Who is in a view of an epoch takes what is within its window. Of the next epoch it keeps
        some, for its first view; of other epochs and views it keeps nothing.
        """
        account = self._account_above(arrival.tip)
        for fact in self._guard.facts_in(data):
            if not isinstance(fact, Offer):
                continue
            epoch, _, view, height, digest = fact.ballot
            if arrival.true_ms is not None:
                self.arrivals.setdefault(digest, []).append(arrival.true_ms)
            is_begun = view == 0 or bool(self._guard.starts(validator.index, epoch, view))
            is_current = epoch == account.epoch and is_begun
            is_next = epoch == account.epoch + 1 and view == 0
            if validator.life == life and (is_current or is_next):  # else it knows nothing of it
                in_window = height <= arrival.tip + account.parameters.window_slots
                is_taken = is_current and in_window and arrival.peer in account.members
                self._timeliness.came(
                    validator.index, fact.ballot, data, arrival, is_taken=is_taken
                )

    def _note_beginning(self, conduct: Conduct, start: Start) -> None:
        """Take note of a NEW-VIEW, which its validator surely adopts if it is newer than all.

        And if somebody correct made it: of others it may not like what they made it of.
        """
        is_new = start.view > conduct.entered.get(start.epoch, 0)
        conduct.entered[start.epoch] = max(start.view, conduct.entered.get(start.epoch, 0))
        primary = self._guard.electorates[start.epoch].primary(start.view)
        if is_new and primary in self.conduct:
            conduct.entering.append(start)

    def _note_decided(self, conduct: Conduct, height: int, digest: bytes) -> None:
        """Take note of a certificate that its validator keeps, as it is not far ahead."""
        window_slots = self._account_above(conduct.tip).parameters.window_slots
        if conduct.tip < height <= conduct.tip + window_slots:
            conduct.decided[height] = digest

    def sending(self, validator: SimulatedValidator, peer: int, frame: Sequence[bytes]) -> None:
        """D2."""
        del peer
        conduct = self.conduct[validator.index]
        for data in frame:
            self.messages[MessageKind(data[1])] += 1
            for signature, statement in conduct.volatile.items():
                if signature in data:
                    raise Violation(f"D2: validator {validator.index} sends {statement} unsynced")

    def _enter_views(self, validator: int, conduct: Conduct) -> None:
        """Take note of the views that a validator has surely entered in a turn."""
        entering, conduct.entering = conduct.entering, []
        for start in entering:
            if _left_for(conduct, start.epoch) > start.view:
                continue  # perhaps before it came to that
            if start.on_schedule:
                self._timeliness.was_in_on_schedule(validator, start.epoch, start.view)
            if start.epoch == self._account_above(conduct.tip).epoch:
                for height, digest in start.decided:
                    self._note_decided(conduct, height, digest)

    def _starts_over(self, validator: int, conduct: Conduct) -> None:
        """Take note that a validator begins an epoch, or a life: what was only heard is void."""
        self._guard.starts_over(validator)
        self._timeliness.starts_over(validator)
        conduct.decided, conduct.awaited = {}, (b"", 0)

    # ------------------------------------------------------------------ blocks

    def turned(self, validator: SimulatedValidator, output: Output) -> None:
        """Judge the blocks that became final in a turn."""
        conduct = self.conduct[validator.index]
        for block in output.committed:
            self._judge_block(validator, block)
        if conduct.entering:
            self._enter_views(validator.index, conduct)
        self._judge_timeliness(validator)
        if output.term is not None:
            self._starts_over(validator.index, conduct)
        if output.cut_off:
            self._judge_cut_off(validator, output.cut_off)
        if validator.engine is not None:
            self.view_max = max(self.view_max, validator.engine.core.view)
        if self.wait_max_us is not None:
            self._judge_wait(validator.index, conduct, self.wait_max_us)

    def _judge_timeliness(self, validator: SimulatedValidator) -> None:
        """G6, once it is known what the turn made final."""
        conduct, number = self.conduct[validator.index], validator.index
        prepares, conduct.prepares = conduct.prepares, []
        for ballot, tip in prepares:
            self._timeliness.prepared(number, ballot)
            stamp = self._guard.stamp_of_new(number, ballot)
            is_own = self._guard.electorates[ballot.epoch].primary(ballot.view) == number
            if stamp is None or stamp.degraded or is_own:
                continue
            objection = self._timeliness.object_to(number, ballot, stamp.time_ms, tip)
            if objection:
                raise Violation(f"{objection}: validator {number} signs {ballot}")

    def _judge_wait(self, validator: int, conduct: Conduct, max_us: int) -> None:
        """W. COMMITs alone make nobody wait: they count where the block is held and executed."""
        height, now_us = conduct.tip + 1, self._world.now_us
        digest = conduct.decided.get(height, b"")
        awaited, since_us = conduct.awaited
        if not digest or awaited != digest:
            conduct.awaited = (digest, now_us)
        elif now_us > since_us + max_us:
            waited_ms = (now_us - since_us) // MS
            raise Violation(f"W: validator {validator} waits {waited_ms} ms for {height}")

    def _judge_cut_off(self, validator: SimulatedValidator, peers: Sequence[int]) -> None:
        """N."""
        engine = validator.engine
        if engine is None or self.carries_damage:
            return
        for peer in peers:
            number = self._numbers[engine.roster.name(peer)]
            if number in self.conduct:
                raise Violation(f"N: validator {validator.index} cuts off {number}")

    def overlooked(self, validator: SimulatedValidator) -> None:
        """R."""
        raise Violation(f"R: validator {validator.index} starts from a damaged log")

    def halted(self, validator: SimulatedValidator, reason: str) -> None:
        """X."""
        raise Violation(f"X: validator {validator.index} halted: {reason}")

    def _judge_block(self, validator: SimulatedValidator, block: CommittedBlock) -> None:
        conduct = self.conduct[validator.index]
        header = block.executed.header
        height, digest = header.height, header.digest(self._genesis.suite)
        if height != conduct.tip + 1:
            raise Violation(
                f"A4: validator {validator.index} commits {height} on top of {conduct.tip}"
            )
        conduct.tip = height
        conduct.decided.pop(height, None)
        decided_in = block.certificate.subject.view
        self._timeliness.committed(validator.index, height, header.epoch, decided_in)
        self._judge_certificate(block.certificate, height, digest)
        if height < len(self.digests):
            if digest != self.digests[height]:
                raise Violation(f"A1: validator {validator.index} has another block {height}")
            return
        parent = self.headers[height - 1]
        if header.parent != self.digests[height - 1] or header.time_ms <= parent.time_ms:
            raise Violation(f"A4: block {height} does not follow its parent")
        account = self.accounts[height]
        parameters = account.parameters
        self.judge_time(block, digest, parameters)
        for verified in block.executed.transactions:
            tx_id = verified.transaction.tx_id
            if tx_id not in self.submitted:
                raise Violation(f"A3: block {height} holds a transaction nobody signed")
            if tx_id in self.executed:
                raise Violation(f"A5: {tx_id.hex()} in {self.executed[tx_id]} and {height}")
            self.executed[tx_id] = height
            self.on_final(tx_id)
        following = self._account_after(block, account)
        self._judge_epoch(header, account, following)
        self.headers.append(header)
        self.digests.append(digest)
        self.accounts.append(following)
        self._world.note("block", height, digest)
        if following.epoch != account.epoch:
            self._begin(following)

    # ------------------------------------------------------------------ time

    def judge_time(self, block: CommittedBlock, digest: bytes, parameters: Parameters) -> None:
        """T and S."""
        header = block.executed.header
        electorate = self._guard.electorates[self.accounts[header.height].epoch]
        wrong = [m for m in electorate.members if m in self.misled or m not in self.conduct]
        if len(wrong) > electorate.faults:
            return  # nothing is promised then
        error_ms, slack_ms = parameters.clock_error_ms, parameters.precision_ms
        signed_ms = [
            self.submitted.get(verified.transaction.tx_id, 0)
            for verified in block.executed.transactions
        ]
        sealed_ms = block.certificate.seal_time_ms()
        if sealed_ms + error_ms < max(signed_ms, default=0):
            raise Violation(
                f"T: block {header.height} was sealed at {sealed_ms}, before it existed"
            )
        if header.time_ms > self._world.utc_ms + slack_ms + error_ms:
            raise Violation(f"T: block {header.height} is stamped {header.time_ms}, ahead of time")
        if header.time_degraded:
            return
        if header.time_ms + parameters.accuracy_ms < max(signed_ms, default=0):
            raise Violation(f"T: block {header.height} is stamped {header.time_ms}, in the past")
        earliest_ms = header.time_ms - slack_ms - error_ms
        latest_ms = header.time_ms + parameters.accuracy_ms
        arrivals_ms = self.arrivals.get(digest, [])
        if not any(earliest_ms <= each <= latest_ms for each in arrivals_ms):
            raise Violation(
                f"T: block {header.height} is stamped {header.time_ms}, and came to who is "
                f"correct at {arrivals_ms}"
            )

    # ------------------------------------------------------------------ epochs

    def _account_above(self, height: int) -> Account:
        return self.accounts[height + 1]

    def _account_after(self, block: CommittedBlock, account: Account) -> Account:
        """Replay the governed operations that had their effect, and know nothing else of epochs."""
        members, parameters = list(account.members), account.parameters
        executed = block.executed
        for verified, result in zip(executed.transactions, executed.results, strict=True):
            payload = verified.transaction.body.payload
            if not isinstance(payload, Governance):
                continue
            self.codes[result.code] += 1
            for operation in payload.operations if result.code is ResultCode.OK else ():
                match operation:
                    case AddValidator():
                        members.append(self._numbers[operation.validator.validator_id])
                    case RemoveValidator():
                        members.remove(self._numbers[operation.validator_id])
                        self._removed[self._numbers[operation.validator_id]] = None
                    case SetParameters():
                        parameters = operation.parameters
        if (tuple(members), parameters) == (account.members, account.parameters):
            return account
        if len(dict.fromkeys(members)) != len(members) or any(m in self._removed for m in members):
            raise Violation(f"E1: members {members} after {list(self._removed)} were removed")
        return Account(account.epoch + 1, tuple(members), parameters)

    def _judge_epoch(self, header: Header, account: Account, following: Account) -> None:
        """E1."""
        height, suite = header.height, self._genesis.suite
        if header.epoch != account.epoch:
            raise Violation(f"E1: block {height} is of epoch {header.epoch}, not {account.epoch}")
        validators = tuple(self._roster[number] for number in following.members)
        expected = ValidatorSet(following.epoch, validators, suite).digest
        if header.next_set_digest != expected:
            raise Violation(f"E1: block {height} names another set than {following.members}")
        if header.parameters_digest != account.parameters.digest(suite):
            raise Violation(f"E1: block {height} is judged by other parameters")

    def _judge_certificate(
        self, certificate: QuorumCertificate, height: int, digest: bytes
    ) -> None:
        """A3."""
        subject = certificate.subject
        account = self.accounts[height]
        electorate = self._guard.electorates[account.epoch]
        voters = {vote.validator: vote for vote in certificate.votes}
        if (
            subject.phase is not Phase.COMMIT
            or certificate.epoch != account.epoch
            or (subject.height, subject.header_digest) != (height, digest)
            or not electorate.quorum <= len(voters) == len(certificate.votes)
        ):
            raise Violation(f"A3: the certificate of block {height} is of {subject}, by {voters}")
        ballot = Ballot(account.epoch, Phase.COMMIT, subject.view, height, digest)
        for index, vote in voters.items():
            number = electorate.members[index]
            if self._guard.signed_ballot(vote.signature) != (number, ballot, vote.time_ms):
                raise Violation(f"A3: a false signature certifies block {height}")

    def judge_pools(self, validators: Iterable[SimulatedValidator]) -> None:
        """P, for validators at rest."""
        for validator in validators:
            if validator.engine is None:
                continue
            waiting = validator.engine.mempool.take(
                time_ms=self._world.utc_ms, txs_max=_ANY, bytes_max=_ANY, records_max=_ANY
            )
            for verified in waiting:
                if verified.transaction.tx_id in self.executed:
                    raise Violation(f"P: validator {validator.index} wants a final transaction")

    def judge_memory(self, validator: SimulatedValidator) -> None:
        """B, whatever a flooder has sent."""
        engine = validator.engine
        if engine is None:
            return
        apart = (validator.ledger, validator.executor, validator.log, self._genesis, self._world)
        held = held_bytes(engine, (*apart, validator.signer))
        if held > HELD_BYTES_MAX + POOLED_BYTES_MAX * engine.mempool.pending_count:
            raise Violation(f"B: validator {validator.index} holds {held} bytes")

    def judge_evidence(self, validators: Iterable[SimulatedValidator]) -> None:
        """E3, for what any correct validator keeps."""
        for validator in validators:
            for evidence in validator.ledger.evidence():
                try:
                    evidence.check(self._genesis.chain_id, self._sets[evidence.epoch])
                except PeerError as error:
                    raise Violation(f"E3: validator {validator.index} keeps {error}") from error
                accused = self._guard.electorates[evidence.epoch].members[evidence.validator]
                if accused in self.conduct:
                    raise Violation(
                        f"E3: validator {validator.index} accuses {accused}, which is correct, "
                        f"of {evidence.offence.name}"
                    )

    def judge_stores(self, validators: Iterable[SimulatedValidator]) -> None:
        """A6, for validators at rest: equal but for certificates, which stand with headers.

        And but for evidence of misbehaviour, which is no part of the chain.
        """
        first: dict[int, tuple[int, dict[bytes, bytes]]] = {}
        for validator in validators:
            rows = validator.store.scan(b"")
            own = (keys.HEADER, keys.EVIDENCE)
            content = {k: v for k, v in rows if not k.startswith(own)}
            height = validator.ledger.tip_height
            other, expected = first.setdefault(height, (validator.index, content))
            if content != expected:
                raise Violation(
                    f"A6: validators {other} and {validator.index} differ at height {height}"
                )


def _left_for(conduct: Conduct, epoch: int, but: Leaving | None = None) -> int:
    """Return the highest view of an epoch that a validator has left all others for."""
    leaving = [
        statement.view
        for statement in conduct.volatile.values()
        if isinstance(statement, Leaving) and statement.epoch == epoch and statement is not but
    ]
    return max([conduct.left_for.get(epoch, 0), *leaving])
