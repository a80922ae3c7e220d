"""What must hold at every step, said independently of the code under test.

The oracles see every signature when it is made, every log record when it becomes durable, every
frame when it leaves and every block when it becomes final. They do their own quorum arithmetic and
read signed bytes with the plain CBOR library. A broken rule raises `Violation` at once.

- A2 what could be certified: certifiable.py.
- A3 every commit certificate is signed by a quorum of the set that decides its height.
- A4 validators commit height after height.
- A1, A3 to A5, E1 and T of each block that becomes final: history.py.
- A6, B, E3 and P of validators at rest: at_rest.py.
- D1 no correct validator signs twice for one (epoch, phase, view, height), nor two VIEW-CHANGEs or
  NEW-VIEWs for one (epoch, view), across crashes.
- D2 nothing leaves with a signature of a correct validator that its disk may still lose.
- D3 no PREPARE leaves before the block it is about is durable.
- D4 a VIEW-CHANGE shows every slot its sender ever sent COMMIT for, and ends voting below it.
- E2 a correct validator votes in epochs of which it is a member, for the set of the epoch.
- G1 to G5 what a correct validator signs is permitted by what was delivered to it: guard.py.
- G6 no PREPARE for a proposal that came too late, or too early: timeliness.py.
- N nobody is cut off for what it sends who follows the protocol.
- R a validator notices that its log is damaged.
- V peers accept a VIEW-CHANGE of a correct validator. Here what they run judges: whoever makes one
  must agree with it.
- W while nothing is lost or late, who was sent a certificate for the next block is given its bodies
  soon, as at most f of those that have them keep them back.
- X a correct validator neither halts nor raises.
- C and L, of a whole run: cluster.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import cbor2

from node.chain.certificate import Phase, QuorumCertificate
from node.consensus.messages import ViewChange
from node.consensus.verification import Verifier
from node.errors import DecodeError, PeerError
from node.service.engine import CommittedBlock, Output
from node.service.log_records import RecordType
from node.service.wire import MessageKind, decode_message
from node.storage.segment import parse_segment
from tests.simulation.certifiable import Certifiable
from tests.simulation.conduct import Conduct
from tests.simulation.guard import (
    Ballot,
    Beginning,
    Decided,
    Guard,
    Leaving,
    Offer,
    Start,
    Statement,
)
from tests.simulation.history import Account, History
from tests.simulation.node import LogRecords, SimulatedValidator
from tests.simulation.timeliness import Arrival, Timeliness
from tests.simulation.violation import Violation
from tests.simulation.world import MS, World

_BLOCK = RecordType.BLOCK
_OF_VIEWS = (RecordType.VIEW_CHANGE, RecordType.NEW_VIEW)
_PROPOSAL = bytes((MessageKind.PROPOSAL,))
_STARTS_OR_ENDS = (bytes((MessageKind.NEW_VIEW,)), bytes((MessageKind.DECIDED,)))
"""What starts a view, and what decides a height."""


class Oracles:
    """The judge of one run."""

    def __init__(self, world: World, history: History) -> None:
        """`history` is what they work out of what becomes final."""
        self._world, self._history = world, history
        self._genesis = history.genesis
        self._guard = Guard(self._genesis)
        self._timeliness = Timeliness(self._guard)
        self._certifiable = Certifiable()
        self._verifiers: dict[int, Verifier] = {}
        """What its members accept of each other, by epoch."""
        self._early: dict[int, list[Callable[[], None]]] = {}
        """By epoch, what was signed in it, and which proposals of it came, before its set was known
        here."""
        self._begin(history.account)
        self.conduct: dict[int, Conduct] = {}
        """Of the correct validators alone."""
        self._logged: dict[bytes, bytes] = {}
        """Digests of the blocks in log records, by the record's payload."""
        self.messages: Counter[int] = Counter()
        """Sent by correct validators, by kind, each addressee counted."""
        self.view_max = 0
        self.wait_max_us: int | None = None
        """How long bodies of a decided block may take at present; None: for ever."""
        self.carries_damage = False
        """Whether links alter what correct validators send, so that they may seem to be liars."""

    def _begin(self, account: Account) -> None:
        """Begin an epoch, and judge what was signed in it already."""
        electorate = self._history.electorates[account.epoch]
        self._verifiers[account.epoch] = Verifier(
            self._genesis.chain_id,
            self._history.sets[account.epoch],
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
        self._history.correct[validator] = None
        self._guard.watch(validator)
        self._timeliness.started(validator)

    # ------------------------------------------------------------------ signatures

    def signed(self, validator: int, message: bytes, signature: bytes) -> None:
        """Take note of a signature the moment it comes into existence."""
        statement = self._guard.exists(validator, message, signature)
        conduct = self.conduct.get(validator)
        if statement is None:
            return
        if conduct is not None:
            conduct.volatile[signature] = statement
        tip = 0 if conduct is None else conduct.final_height()
        signed = (message, signature)
        judge = partial(self._judge_signed, validator, statement, signed, tip)
        if statement.epoch in self._verifiers:
            judge()
        else:
            self._early.setdefault(statement.epoch, []).append(judge)

    def _judge_signed(
        self,
        validator: int,
        statement: Statement,
        signed: tuple[bytes, bytes],
        tip: int,
    ) -> None:
        """Judge what was signed when `tip` was the signer's newest block."""
        conduct = self.conduct.get(validator)
        if isinstance(statement, Ballot):
            electorate = self._guard.electorates[statement.epoch]
            if self._certifiable.count(validator, statement, electorate):
                self._guard.certified(statement)
        if conduct is None:
            return
        if statement.place in conduct.places:
            raise Violation(f"D1: validator {validator} signs twice for {statement.place}")
        conduct.places[statement.place] = None
        objection = ""
        if isinstance(statement, Beginning):
            body = self._guard.body_of(signed[1])
            objection = self._guard.object_to_new_view(validator, body)
        elif isinstance(statement, Ballot):
            self._judge_membership(validator, statement, signed[0])
            objection = self._judge_ballot(validator, conduct, statement, tip)
        elif isinstance(statement, Leaving):
            objection = self._judge_leaving(validator, conduct, statement)
            objection = objection or self._object_to_form(statement, signed[1])
        if objection:
            raise Violation(f"{objection}: validator {validator} signs {statement}")

    def _judge_membership(self, validator: int, ballot: Ballot, message: bytes) -> None:
        """E2."""
        members = self._guard.electorates[ballot.epoch].members
        if validator not in members or self._history.sets[ballot.epoch].digest not in message:
            raise Violation(f"E2: validator {validator} votes {ballot}, members are {members}")

    def _judge_ballot(self, validator: int, conduct: Conduct, ballot: Ballot, tip: int) -> str:
        if ballot.view < conduct.highest_left(ballot.epoch):
            raise Violation(f"D4: validator {validator} votes in {ballot.place} after leaving it")
        if self._guard.is_on_schedule(validator, ballot.epoch, ballot.view):
            self._timeliness.was_in_on_schedule(validator, ballot.epoch, ballot.view)
        if ballot.phase == Phase.PREPARE:
            conduct.prepares.append((ballot, tip))
        return self._guard.object_to(validator, ballot, tip)

    def _judge_leaving(self, validator: int, conduct: Conduct, leaving: Leaving) -> str:
        hidden = conduct.hidden_by(leaving, self._guard.electorates[leaving.epoch].height)
        if hidden:
            height, view = hidden
            raise Violation(
                f"D4: validator {validator} hides its COMMIT at {height} in view {view} "
                f"when leaving for {leaving.view}: tip {leaving.tip}, shown {leaving.shown}"
            )
        own = conduct.highest_left(leaving.epoch, but=leaving)
        return self._guard.object_to_leaving(validator, leaving, own)

    def _object_to_form(self, leaving: Leaving, signature: bytes) -> str:
        """V."""
        body = self._guard.body_of(signature)
        sent = cbor2.dumps([int(MessageKind.VIEW_CHANGE), [*body, signature]])
        try:
            heard = cast("ViewChange", decode_message(sent, len(signature)))
            self._verifiers[leaving.epoch].check_view_change(heard)
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
                conduct.bind(statement)
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
        now_in = self._history.account_above(tip).epoch
        for signature, statement in list(conduct.volatile.items()):
            if isinstance(statement, Ballot):
                is_kept = statement.height <= tip or statement.view < views.get(statement.epoch, 0)
            else:
                is_over = statement.epoch < now_in
                is_kept = is_over or statement.view <= views.get(statement.epoch, 0)
            if is_kept or any(signature in payload for _, payload in records):
                del conduct.volatile[signature]
                conduct.bind(statement)

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
                conduct.bind(statement)
                continue
            lost.append(statement)
            conduct.places.pop(statement.place, None)
            if isinstance(statement, Ballot):
                electorate = self._guard.electorates[statement.epoch]
                self._certifiable.uncount(validator.index, statement, electorate)
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
        tip, digests = ledger.tip_height, self._history.digests
        if tip >= len(digests) or ledger.header_digest != digests[tip]:
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
        account = self._history.account_above(conduct.tip)
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
                        window_slots = account.parameters.window_slots
                        conduct.note_decided(fact.height, fact.digest, window_slots)

    def _note_arrival(
        self, validator: SimulatedValidator, peer: int, data: bytes, early_of: int | None
    ) -> None:
        """Take note of when a proposal came; whose it is may be known only as its epoch begins.

        A liar can be the first to have the block that ends an epoch, and to propose in the next.
        """
        true_ms = None if validator.index in self._history.misled else self._world.utc_ms
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
        account = self._history.account_above(arrival.tip)
        for fact in self._guard.facts_in(data):
            if not isinstance(fact, Offer):
                continue
            epoch, _, view, height, digest = fact.ballot
            if arrival.true_ms is not None:
                self._history.arrivals.setdefault(digest, []).append(arrival.true_ms)
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

    def sending(self, validator: SimulatedValidator, peer: int, frame: Sequence[bytes]) -> None:
        """D2."""
        del peer
        conduct = self.conduct[validator.index]
        for data in frame:
            self.messages[data[1]] += 1
            for signature, statement in conduct.volatile.items():
                if signature in data:
                    raise Violation(f"D2: validator {validator.index} sends {statement} unsynced")

    def _enter_views(self, validator: int, conduct: Conduct) -> None:
        """Take note of the views that a validator has surely entered in a turn."""
        entering, conduct.entering = conduct.entering, []
        for start in entering:
            if conduct.highest_left(start.epoch) > start.view:
                continue  # perhaps before it came to that
            if start.on_schedule:
                self._timeliness.was_in_on_schedule(validator, start.epoch, start.view)
            account = self._history.account_above(conduct.tip)
            if start.epoch == account.epoch:
                for height, digest in start.decided:
                    conduct.note_decided(height, digest, account.parameters.window_slots)

    def _starts_over(self, validator: int, conduct: Conduct) -> None:
        """Take note that a validator begins an epoch, or a life: what was only heard is void."""
        self._guard.starts_over(validator)
        self._timeliness.starts_over(validator)
        conduct.starts_over()

    # ------------------------------------------------------------------ blocks

    def turned(self, validator: SimulatedValidator, output: Output) -> None:
        """Judge the blocks that became final in a turn."""
        conduct = self.conduct[validator.index]
        for block in output.committed:
            self._judge_block(validator, block)
        if conduct.entering:
            self._enter_views(validator.index, conduct)
        if conduct.prepares:
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
        """W."""
        waited_us = conduct.waits_us(self._world.now_us)
        if waited_us > max_us:
            waited_ms, height = waited_us // MS, conduct.tip + 1
            raise Violation(f"W: validator {validator} waits {waited_ms} ms for {height}")

    def _judge_cut_off(self, validator: SimulatedValidator, peers: Sequence[int]) -> None:
        """N."""
        engine = validator.engine
        if engine is None or self.carries_damage:
            return
        for peer in peers:
            number = self._history.numbers[engine.roster.name(peer)]
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
        epoch = self._history.account.epoch
        self._history.commit(validator.index, block, digest)
        if self._history.account.epoch != epoch:
            self._begin(self._history.account)

    def _judge_certificate(
        self, certificate: QuorumCertificate, height: int, digest: bytes
    ) -> None:
        """A3."""
        subject = certificate.subject
        account = self._history.accounts[height]
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
