"""A second, short specification of voting: what a validator may sign, given what it was sent.

It follows the paper's predicates (OSDI'99 sections 4.2 and 4.4) with the changes README.md of
node/consensus names, on plain CBOR values, and shares no code with the core. Whatever a correct
validator signs must be permitted by what was delivered to it, so a deviation is caught even where
no fork comes of it.

- G1 PREPARE: for what the view carries over at that height, or else the proposal of its primary, on
  what is newest here, or on what the view carries over or its primary proposed below.
- G2 COMMIT: a quorum of PREPAREs of the view is known, for it and for every slot above the tip, and
  each slot names the one below it.
- G3 NEW-VIEW: from a quorum of VIEW-CHANGEs for that view, which their senders signed and which
  rest on quorums too, with f + 1 clock bits if it held them.
- G4 VIEW-CHANGE: for the view after the own one or after one that has a certificate; between views
  only where a quorum left too; or for a view that f + 1 others left for.
- G5 PREPARE for a degraded block: only where the NEW-VIEW has f + 1 clock bits, and only for the
  least T after the parent's or one that a quorum of the clocks in it had reached.

What a primary proposes itself is judged once its block is durable, which tells its header. Votes
carry the index of a member of an epoch's set; here everybody goes by number, which is for good.
What is heard of an epoch before its set is known here waits until it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import cbor2

from node.chain.certificate import Phase
from node.chain.genesis import Genesis
from node.crypto.domains import HEADER, NEW_VIEW, VIEW_CHANGE, VOTE, tagged
from node.service.wire import MessageKind

_VOTE = tagged(VOTE, b"")
_VIEW_CHANGE = tagged(VIEW_CHANGE, b"")
_NEW_VIEW = tagged(NEW_VIEW, b"")
_COMMIT = bytes((0x82, MessageKind.VOTE, 0x88, Phase.COMMIT))
"""How each COMMIT begins, from which nobody learns what it may sign."""
_HEARD = tuple(
    bytes((kind,))
    for kind in (
        MessageKind.VOTE,
        MessageKind.PROPOSAL,
        MessageKind.VIEW_CHANGE,
        MessageKind.NEW_VIEW,
        MessageKind.DECIDED,
    )
)

_HEADER_HEIGHT, _HEADER_PARENT = 3, 7
_HEADER_TIME, _HEADER_DEGRADED = 5, 6
_CLOCK_BIT, _CLOCK, _REASON = 6, 7, 8
"""Of a VIEW-CHANGE."""
_ROTATION = 2
"""A reason for one."""


class Ballot(NamedTuple):
    """A signed vote, as its bytes say."""

    epoch: int
    phase: int
    view: int
    height: int
    digest: bytes

    @property
    def place(self) -> tuple[int, int, int, int]:
        """What may be voted for once."""
        return self[:4]


class Leaving(NamedTuple):
    """A signed VIEW-CHANGE, as its bytes say."""

    epoch: int
    view: int
    tip: int
    shown: tuple[tuple[int, int], ...]
    """(height, view) of each prepared certificate."""

    @property
    def place(self) -> tuple[str, int, int]:
        """What may be said once."""
        return ("VIEW-CHANGE", self.epoch, self.view)


class Beginning(NamedTuple):
    """A signed NEW-VIEW, as its bytes say."""

    epoch: int
    view: int

    @property
    def place(self) -> tuple[str, int, int]:
        """What may be said once."""
        return ("NEW-VIEW", self.epoch, self.view)


Statement = Ballot | Leaving | Beginning


class Start(NamedTuple):
    """What a view starts from."""

    epoch: int
    view: int
    base: int
    """Height of the newest decided block shown."""
    decided: tuple[tuple[int, bytes], ...]
    """Height and digest of that block, and of those below that are shown with it."""
    carried: dict[int, bytes]
    """Height to digest of what must be decided again."""
    left: tuple[int, ...]
    """Who left earlier views for it."""
    reached_ms: int | None
    """What a quorum of the clocks shown had reached, where blocks may be degraded."""
    on_schedule: bool
    """Whether somebody correct left the view before as its time was over."""


class Stamp(NamedTuple):
    """What a header says of time."""

    time_ms: int
    degraded: bool


class Prepare(NamedTuple):
    """A PREPARE that was sent."""

    ballot: Ballot
    voter: int


class Offer(NamedTuple):
    """What the primary of a view proposed."""

    ballot: Ballot


class Left(NamedTuple):
    """A VIEW-CHANGE that was sent."""

    epoch: int
    view: int
    sender: int


class Decided(NamedTuple):
    """A header with its commit certificate was sent."""

    epoch: int
    height: int
    digest: bytes


Fact = Prepare | Offer | Start | Left | Decided


class Doubt(NamedTuple):
    """What a VIEW-CHANGE says of its sender's clock."""

    epoch: int
    view: int
    sender: int
    clock_bit: bool


@dataclass(frozen=True, slots=True)
class Electorate:
    """Who decides in an epoch."""

    members: tuple[int, ...]
    """Their numbers, by index."""
    height: int
    """Of the block that the epoch stands on."""
    digest: bytes
    """Of that block's header."""

    @property
    def faults(self) -> int:
        """How many of them may be faulty."""
        return (len(self.members) - 1) // 3

    @property
    def quorum(self) -> int:
        """The least that makes two quorums share one more than may be faulty."""
        return (len(self.members) + self.faults) // 2 + 1

    def primary(self, view: int) -> int:
        """Return who proposes in a view."""
        return self.members[view % len(self.members)]


@dataclass(slots=True)
class Knowledge:
    """What was delivered to one validator."""

    prepares: dict[Ballot, dict[int, None]] = field(default_factory=dict)
    """Who sent each PREPARE."""
    offers: dict[Ballot, None] = field(default_factory=dict)
    """What the primaries of views proposed, itself too, as the PREPARE for it."""
    unseen: dict[bytes, tuple[Ballot, int]] = field(default_factory=dict)
    """Its own proposals of which nobody has seen the header, by digest, and its tip at each."""
    starts: dict[tuple[int, int], list[Start]] = field(default_factory=dict)
    """(epoch, view) to what each of its NEW-VIEWs gives; a Byzantine primary can send several."""
    entered: dict[int, int] = field(default_factory=dict)
    """Epoch to the highest view of which there is a NEW-VIEW."""
    left: dict[int, dict[int, int]] = field(default_factory=dict)
    """Epoch to the highest view that each one left others for."""
    epoch: int = 0
    """The one it is in."""
    hears_members: bool = True
    """Whether the frame that is being delivered is of a member of that."""
    doubts: dict[int, tuple[int, bool]] = field(default_factory=dict)
    """The newest VIEW-CHANGE of each correct sender in that epoch: its view, and whether it has the
    clock bit."""
    coming: dict[int, tuple[int, bool]] = field(default_factory=dict)
    """The same of the frame that is being delivered: it may sign before it has read all of it."""
    learned: dict[bytes, None] = field(default_factory=dict)
    """Messages whose facts were added."""

    def note(self, fact: Fact) -> None:
        """Add a fact."""
        match fact:
            case Prepare(ballot, voter):
                self.prepares.setdefault(ballot, {})[voter] = None
            case Offer(ballot):
                self.offers[ballot] = None
            case Left(epoch, view, sender):
                left = self.left.setdefault(epoch, {})
                left[sender] = max(view, left.get(sender, 0))
            case Start(epoch, view):
                self.starts.setdefault((epoch, view), []).append(fact)
                self.entered[epoch] = max(view, self.entered.get(epoch, 0))
                for sender in fact.left:
                    self.note(Left(epoch, view, sender))


class Guard:
    """Knows what each correct validator knows. Objections are returned as text, empty for none."""

    def __init__(self, genesis: Genesis) -> None:
        """Judge validators of the chain of `genesis`; `begin` tells who they are."""
        self._genesis = genesis
        self.electorates: dict[int, Electorate] = {}
        """By epoch."""
        self._certified: dict[int, int] = {}
        """Epoch to the highest view in which anything is certified."""
        self._final: dict[tuple[int, bytes], None] = {}
        """Height and digest of blocks that a quorum signed COMMIT for, or that epochs stand on."""
        self._ballots: dict[bytes, tuple[int, Ballot, int]] = {}
        """Every signature of a vote in existence: voter, vote, vote time in ms. No other counts."""
        self._bodies: dict[bytes, tuple[int, bytes, list[Any]]] = {}
        """Every signature of a VIEW-CHANGE or NEW-VIEW in existence: signer, kind by its tag, and
        what is signed: chain id and fields. No other counts."""
        self._genuine: dict[bytes, tuple[Fact, ...]] = {}
        """What a message teaches, whoever hears it, if all signatures in it exist."""
        self._doubts: dict[bytes, Doubt] = {}
        """What genuine VIEW-CHANGEs say, by their bytes."""
        self._parents: dict[bytes, bytes] = {}
        self._stamps: dict[bytes, Stamp] = {}
        self._known: dict[int, Knowledge] = {}
        self._early: dict[int, list[tuple[int, bytes]]] = {}
        """By epoch, who heard what of it before its set was known here."""

    def watch(self, validator: int) -> None:
        """Expect to be told what a validator hears and signs."""
        self._known[validator] = Knowledge()

    def starts_over(self, validator: int) -> None:
        """Take note that a validator has forgotten which VIEW-CHANGEs it held."""
        known = self._known[validator]
        known.doubts, known.coming = {}, {}

    def begin(self, epoch: int, electorate: Electorate) -> None:
        """Take note of who decides from now on."""
        self.electorates[epoch] = electorate
        self._final[electorate.height, electorate.digest] = None
        for validator, data in self._early.pop(epoch, ()):
            self.heard(validator, data)

    def exists(self, validator: int, message: bytes, signature: bytes) -> Statement | None:
        """Take note of a signature; return what it says, if that is of consensus."""
        if message.startswith(_VOTE):
            _, epoch, _, phase, view, height, digest, time_ms = cbor2.loads(message[len(_VOTE) :])
            ballot = Ballot(epoch, phase, view, height, digest)
            self._ballots[signature] = (validator, ballot, time_ms)
            return ballot
        for tag in (_VIEW_CHANGE, _NEW_VIEW):
            if message.startswith(tag):
                signed = cbor2.loads(message[len(tag) :])
                self._bodies[signature] = (validator, tag, signed)
                body = signed[1]
                return _leaving(body) if tag == _VIEW_CHANGE else Beginning(body[1], body[2])
        return None

    def body_of(self, signature: bytes) -> list[Any]:
        """Return the signed fields of a VIEW-CHANGE or NEW-VIEW that exists."""
        body: list[Any] = self._bodies[signature][2][1]
        return body

    def certified(self, ballot: Ballot) -> None:
        """Take note that a quorum signed one vote."""
        view = self._certified.get(ballot.epoch, 0)
        self._certified[ballot.epoch] = max(view, ballot.view)
        if ballot.phase == Phase.COMMIT:
            self._final[ballot.height, ballot.digest] = None

    def crashed(self, validator: int, lost: Iterable[Statement]) -> None:
        """Take note that what a validator had signed, but was not durable, died with it."""
        known = self._known[validator]
        known.unseen.clear()
        for statement in lost:
            if isinstance(statement, Ballot) and statement.phase == Phase.PREPARE:
                known.prepares[statement].pop(validator, None)
                if self.electorates[statement.epoch].primary(statement.view) == validator:
                    known.offers.pop(statement, None)

    def signed_ballot(self, signature: bytes) -> tuple[int, Ballot, int] | None:
        """Return voter, vote and vote time (ms) of a signature, if it is one in existence."""
        return self._ballots.get(signature)

    # ------------------------------------------------------------------ what is delivered

    def hearing(self, validator: int, peer: int, epoch: int) -> None:
        """Take note that a validator, in an epoch, has read all that was delivered before."""
        known = self._known[validator]
        known.doubts |= known.coming
        known.coming = {}
        known.epoch, known.hears_members = epoch, peer in self.electorates[epoch].members

    def heard(self, validator: int, data: bytes) -> int | None:
        """Take note of a message delivered to a validator.

        Returns its epoch, if it is kept until the set of that epoch is known.
        """
        if not data.startswith(_HEARD, 1) or data.startswith(_COMMIT):
            return None
        known = self._known[validator]
        facts = self._genuine.get(data)
        if facts is None:
            facts = ()
            with suppress(LookupError, TypeError, ValueError, cbor2.CBORDecodeError):  # damaged
                kind, value = cbor2.loads(data)
                epoch = _epoch_of(kind, value)
                if epoch not in self.electorates:
                    self._early.setdefault(epoch, []).append((validator, data))
                    return epoch
                facts = tuple(self._read(kind, value))
            if facts:
                self._genuine[data] = facts
        if not facts:
            return None
        if data not in known.learned:  # what it knows already, it does not know better now
            known.learned[data] = None
            for fact in facts:
                known.note(fact)
        if data[1] == MessageKind.VIEW_CHANGE:
            self._note_doubt(known, data)
        return None

    def _note_doubt(self, known: Knowledge, data: bytes) -> None:
        """Take note of a clock bit; of one that tells of an epoch to come nothing is kept."""
        doubt = self._doubts.get(data)
        if doubt is None:
            value = cbor2.loads(data)[1]
            sender = self._member(value[1], value[3])
            doubt = self._doubts[data] = Doubt(value[1], value[2], sender, value[_CLOCK_BIT])
        is_read = doubt.epoch == known.epoch and known.hears_members
        if is_read and doubt.sender in self._known:  # what others show may be refused
            newest = known.coming.get(doubt.sender, known.doubts.get(doubt.sender, (0, False)))
            if doubt.view > newest[0]:
                known.coming[doubt.sender] = (doubt.view, doubt.clock_bit)

    def facts_in(self, data: bytes) -> tuple[Fact, ...]:
        """Return what a delivered message teaches."""
        return self._genuine.get(data, ())

    def stamp_of_new(self, validator: int, ballot: Ballot) -> Stamp | None:
        """Return what the header says of time, if its view does not carry it over."""
        is_carried = self.is_carried(validator, ballot)
        return None if is_carried else self._stamps.get(ballot.digest)

    def is_carried(self, validator: int, ballot: Ballot) -> bool:
        """Whether a view that a validator was told of carries over what a vote is for."""
        starts = self.starts(validator, ballot.epoch, ballot.view)
        return any(start.carried.get(ballot.height) == ballot.digest for start in starts)

    def parent_of(self, digest: bytes) -> bytes:
        """Return the digest of what a block stands on, whose header somebody correct has seen."""
        return self._parents[digest]

    def starts(self, validator: int, epoch: int, view: int) -> Sequence[Start]:
        """Return what a validator was told, or told others, that a view starts from."""
        return self._known[validator].starts.get((epoch, view), ())

    def is_on_schedule(self, validator: int, epoch: int, view: int) -> bool:
        """Whether a view began on schedule, whichever of its NEW-VIEWs a validator went by."""
        starts = self.starts(validator, epoch, view)
        return bool(starts) and all(start.on_schedule for start in starts)

    def _read(self, kind: int, value: list[Any]) -> Iterator[Fact]:
        if kind == MessageKind.VOTE:
            yield from self._read_prepare(value)
        elif kind == MessageKind.PROPOSAL:
            header, vote = value[1], value[3]
            for prepare in self._read_prepare(vote):
                yield prepare
                ballot, voter = prepare
                is_about = self.learn_header(header) == ballot.digest
                if is_about and voter == self.electorates[ballot.epoch].primary(ballot.view):
                    yield Offer(ballot)
        elif kind == MessageKind.VIEW_CHANGE:
            epoch, view, sender = value[1], value[2], self._member(value[1], value[3])
            if self._is_genuine(sender, _VIEW_CHANGE, value):
                yield Left(epoch, view, sender)
        elif kind == MessageKind.DECIDED:
            header, certificate = value
            _, epoch, _, phase, _, height, digest, _ = certificate
            is_about = (header[_HEADER_HEIGHT], self.learn_header(header)) == (height, digest)
            if is_about and phase == Phase.COMMIT and self._is_certified(certificate):
                yield Decided(epoch, height, digest)
        else:
            epoch, view, view_changes = value[1], value[2], value[3]
            is_genuine = self._is_genuine(self.electorates[epoch].primary(view), _NEW_VIEW, value)
            if is_genuine and self._is_founded(epoch, view, view_changes):
                yield self._start_from(value)

    def _member(self, epoch: int, index: int) -> int:
        return self.electorates[epoch].members[index]

    def _read_prepare(self, vote: list[Any]) -> Iterator[Prepare]:
        phase, view, height, digest, index, time_ms, signature, epoch = vote
        voter, ballot = self._member(epoch, index), Ballot(epoch, phase, view, height, digest)
        is_signed = self._ballots.get(signature) == (voter, ballot, time_ms)
        if phase == Phase.PREPARE and is_signed:
            yield Prepare(ballot, voter)

    def _is_genuine(self, validator: int, tag: bytes, value: list[Any]) -> bool:
        """Whether an array whose last item is the signature over the others was signed so."""
        signed = [self._genesis.chain_id, value[:-1]]
        return self._bodies.get(value[-1]) == (validator, tag, signed)

    def _is_founded(self, epoch: int, view: int, view_changes: list[Any]) -> bool:
        """Whether a NEW-VIEW rests on a quorum, and what its VIEW-CHANGEs show on quorums too."""
        senders = dict.fromkeys(vc[3] for vc in view_changes if (vc[1], vc[2]) == (epoch, view))
        return (
            len(senders) == len(view_changes) >= self.electorates[epoch].quorum
            and all(
                self._is_genuine(self._member(epoch, each[3]), _VIEW_CHANGE, each)
                for each in view_changes
            )
            and all(self._is_certified(item[1]) for vc in view_changes for item in vc[4] + vc[5])
        )

    def _is_certified(self, certificate: list[Any]) -> bool:
        """Whether distinct members, a quorum of them, signed what a certificate says."""
        _, epoch, _, phase, view, height, digest, votes = certificate
        ballot = Ballot(epoch, phase, view, height, digest)
        voters = dict.fromkeys(
            index
            for index, time_ms, signature in votes
            if self._ballots.get(signature) == (self._member(epoch, index), ballot, time_ms)
        )
        return len(voters) == len(votes) >= self.electorates[epoch].quorum

    def learn_header(self, header: list[Any]) -> bytes:
        """Take note of what a header says; return its digest."""
        digest = self._genesis.suite.tagged_hash(HEADER, cbor2.dumps(header))
        self._parents[digest] = header[_HEADER_PARENT]
        self._stamps[digest] = Stamp(header[_HEADER_TIME], header[_HEADER_DEGRADED])
        return digest

    def _start_from(self, new_view: list[Any]) -> Start:
        """Work out what a NEW-VIEW gives: the highest tip, then on it the latest prepared chain."""
        epoch, view, view_changes = new_view[1:4]
        electorate = self.electorates[epoch]
        base, parent = electorate.height, electorate.digest
        decided: tuple[tuple[int, bytes], ...] = ()
        prepared: dict[int, list[tuple[int, bytes]]] = {}
        for view_change in view_changes:
            committed, shown = view_change[4], view_change[5]
            for header, certificate in shown:
                self.learn_header(header)
                certified = (certificate[4], certificate[6])
                prepared.setdefault(header[_HEADER_HEIGHT], []).append(certified)
            if committed and committed[-1][0][_HEADER_HEIGHT] > base:
                decided = tuple((item[0][_HEADER_HEIGHT], item[1][6]) for item in committed)
                base, parent = decided[-1]
        carried: dict[int, bytes] = {}
        height = base + 1
        while on_parent := [c for c in prepared.get(height, ()) if self._parents[c[1]] == parent]:
            _, parent = max(on_parent)
            carried[height] = parent
            height += 1
        left = tuple(self._member(epoch, vc[3]) for vc in view_changes)
        doubts = sum(1 for vc in view_changes if vc[_CLOCK_BIT])
        reached_ms = None
        if doubts > electorate.faults:
            clocks_ms = sorted(vc[_CLOCK] for vc in view_changes)
            reached_ms = clocks_ms[len(clocks_ms) - electorate.quorum]
        rotations = sum(1 for vc in view_changes if vc[_REASON] == _ROTATION)
        on_schedule = rotations > electorate.faults
        return Start(epoch, view, base, decided, carried, left, reached_ms, on_schedule)

    # ------------------------------------------------------------------ what is signed

    def object_to(self, validator: int, ballot: Ballot, tip: int) -> str:
        """Judge a vote of a validator whose newest block is `tip`; take note of it."""
        known = self._known[validator]
        if ballot.phase == Phase.COMMIT:
            return self._object_to_commit(known, ballot, tip)
        known.note(Prepare(ballot, validator))
        if self.electorates[ballot.epoch].primary(ballot.view) == validator:
            known.note(Offer(ballot))
            if ballot.digest not in self._stamps:
                known.unseen[ballot.digest] = (ballot, tip)
                return ""
        return self._object_to_prepare(known, ballot, tip)

    def object_to_block(self, validator: int, digest: bytes) -> str:
        """Judge a validator's own proposal, if it is one, as its block has become durable."""
        known = self._known[validator]
        unseen = known.unseen.pop(digest, None)
        return "" if unseen is None else self._object_to_prepare(known, *unseen)

    def object_to_new_view(self, validator: int, new_view: list[Any]) -> str:
        """Judge a NEW-VIEW, unsigned, that a validator signs as primary; take note of it."""
        _, epoch, view, view_changes = new_view
        self._known[validator].note(self._start_from(new_view))
        senders = frozenset(vc[3] for vc in view_changes if vc[1:3] == [epoch, view])
        electorate = self.electorates[epoch]
        if len(senders) < electorate.quorum or electorate.primary(view) != validator:
            return f"G3: a NEW-VIEW for {view} from {sorted(senders)}"
        if not self._is_founded(epoch, view, view_changes):
            return f"G3: a NEW-VIEW for {view} rests on what nobody signed"
        shown = [self._member(epoch, vc[3]) for vc in view_changes if vc[_CLOCK_BIT]]
        known = self._known[validator]
        held = [sender for sender, doubt in known.doubts.items() if doubt == (view, True)]
        if len(shown) <= electorate.faults < len(frozenset(held + shown)):
            return f"G3: a NEW-VIEW for {view} leaves out the clock bits of {held}"
        return ""

    def object_to_leaving(self, validator: int, leaving: Leaving, own: int) -> str:
        """Judge a VIEW-CHANGE of a validator that has left all views below `own` already."""
        epoch, view = leaving.epoch, leaving.view
        known, electorate = self._known[validator], self.electorates[epoch]
        left = known.left.get(epoch, {})
        others = [left[sender] for sender in left if sender != validator]
        if sum(1 for each in others if each >= view) > electorate.faults:
            return ""
        entered = known.entered.get(epoch, 0)
        reached = max(own, entered, self._certified.get(epoch, 0))
        if view > reached + 1:
            return f"G4: leaves for view {view} with no more than {reached} behind it"
        supporters = sum(1 for each in others if each >= own) + 1
        if entered < own and supporters < electorate.quorum:
            return f"G4: leaves for view {view} although only {supporters} have left for {own}"
        return ""

    def _object_to_prepare(self, known: Knowledge, ballot: Ballot, tip: int) -> str:
        stamp = self._stamps.get(ballot.digest)
        is_degraded = stamp is not None and stamp.degraded
        is_proposed = ballot in known.offers
        if ballot.view == 0:
            if is_degraded:
                return "G5: degraded in a view that nobody left another for"
            if not is_proposed:
                return "G1: not proposed"
            return self._object_to_parent(known, ballot, tip, {})
        objection = ""
        for start in known.starts.get((ballot.epoch, ballot.view), ()):
            if ballot.height <= start.base:
                continue
            carried = start.carried.get(ballot.height)
            if carried == ballot.digest:
                return ""
            if carried is None and is_proposed and self._may_be_stamped(ballot.digest, start):
                objection = self._object_to_parent(known, ballot, tip, start.carried)
                if not objection:
                    return ""
        if objection:
            return objection
        if is_degraded:
            return "G5: degraded, and nothing allows it, or its T"
        return "G1: neither carried over nor proposed above what is"

    def _object_to_parent(
        self, known: Knowledge, ballot: Ballot, tip: int, carried: dict[int, bytes]
    ) -> str:
        parent, below = self._parents[ballot.digest], ballot.height - 1
        is_newest = below == tip and (below, parent) in self._final
        is_decided_about = ballot._replace(height=below, digest=parent) in known.offers
        if is_newest or is_decided_about or carried.get(below) == parent:
            return ""
        return "G1: stands on what is neither final here nor decided about in its view"

    def _may_be_stamped(self, digest: bytes, start: Start) -> bool:
        """Whether a block of a view may have its T; those of whose parent nobody told may."""
        stamp = self._stamps.get(digest)
        if stamp is None or not stamp.degraded:
            return True
        parent = self._stamps.get(self._parents[digest])
        if start.reached_ms is None:
            return False
        return (
            parent is None
            or stamp.time_ms == parent.time_ms + 1
            or stamp.time_ms <= start.reached_ms
        )

    def _object_to_commit(self, known: Knowledge, ballot: Ballot, tip: int) -> str:
        quorum, digest = self.electorates[ballot.epoch].quorum, ballot.digest
        for height in range(ballot.height, tip, -1):
            prepare = Ballot(ballot.epoch, Phase.PREPARE, ballot.view, height, digest)
            voters = known.prepares.get(prepare, {})
            if len(voters) < quorum:
                return f"G2: {height} is not prepared, only by {sorted(voters)}"
            digest = self._parents.get(digest, b"")
        return ""


def _leaving(body: list[Any]) -> Leaving:
    """Return what the signed fields of a VIEW-CHANGE say."""
    committed: list[Any] = body[4]
    tip = committed[-1][0][_HEADER_HEIGHT] if committed else 0
    shown = tuple((item[0][_HEADER_HEIGHT], item[1][4]) for item in body[5])
    return Leaving(body[1], body[2], tip, shown)


def _epoch_of(kind: int, value: list[Any]) -> int:
    """Return the epoch a message of the kinds that are read is of."""
    if kind == MessageKind.VOTE:
        epoch = value[7]
    elif kind == MessageKind.DECIDED:
        epoch = value[1][1]
    elif kind == MessageKind.PROPOSAL:
        epoch = value[3][7]
    else:
        epoch = value[1]
    if not isinstance(epoch, int):
        raise TypeError(f"an epoch is a number, not {epoch!r}")
    return epoch
