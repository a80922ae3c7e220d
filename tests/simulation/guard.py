"""A second, short specification of voting: what a validator may sign, given what it was sent.

It follows the paper's predicates (OSDI'99 sections 4.2 and 4.4) with the changes README.md of
node/consensus names, on plain CBOR values, and shares no code with the core. Whatever a correct
validator signs must be permitted by what was delivered to it, so a deviation is caught even where
no fork comes of it.

- G1 PREPARE: for what the view carries over at that height, or else the proposal of its primary.
- G2 COMMIT: a quorum of PREPAREs of the view is known, for it and for every slot above the tip, and
  each slot names the one below it.
- G3 NEW-VIEW: from a quorum of VIEW-CHANGEs for that view.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import cbor2

from node.chain.certificate import Phase
from node.chain.genesis import Genesis
from node.crypto.domains import HEADER, NEW_VIEW, VIEW_CHANGE, VOTE, tagged
from node.service.wire import MessageKind

_VOTE = tagged(VOTE, b"")
_VIEW_CHANGE = tagged(VIEW_CHANGE, b"")
_HEARD = tuple(bytes((k,)) for k in (MessageKind.VOTE, MessageKind.PROPOSAL, MessageKind.NEW_VIEW))
K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Hashable)

_HEADER_HEIGHT, _HEADER_PARENT = 3, 7
_CERTIFICATE_VIEW, _CERTIFICATE_DIGEST = 4, 6


class Ballot(NamedTuple):
    """A signed vote, as its bytes say."""

    phase: int
    view: int
    height: int
    digest: bytes

    @property
    def place(self) -> tuple[int, int, int]:
        """What may be voted for once."""
        return self[:3]


class Leaving(NamedTuple):
    """A signed VIEW-CHANGE, as its bytes say."""

    view: int
    tip: int
    shown: tuple[tuple[int, int], ...]
    """(height, view) of each prepared certificate."""


Statement = Ballot | Leaving


class Start(NamedTuple):
    """What a view starts from."""

    view: int
    base: int
    """Height of the newest decided block shown."""
    carried: dict[int, bytes]
    """Height to digest of what must be decided again."""


class Prepare(NamedTuple):
    """A PREPARE that was sent."""

    view: int
    height: int
    digest: bytes
    voter: int


class Offer(NamedTuple):
    """What the primary of a view proposed."""

    view: int
    height: int
    digest: bytes


Fact = Prepare | Offer | Start


@dataclass(slots=True)
class Knowledge:
    """What was delivered to one validator."""

    prepares: dict[tuple[int, int, bytes], dict[int, None]] = field(default_factory=dict)
    """(view, height, digest) to those who sent PREPARE."""
    offers: dict[tuple[int, int], dict[bytes, None]] = field(default_factory=dict)
    """(view, height) to what the primary proposed."""
    starts: dict[int, list[Start]] = field(default_factory=dict)
    """View to what each of its NEW-VIEWs gives; a Byzantine primary can send several."""


class Guard:
    """Knows what each correct validator knows. Objections are returned as text, empty for none."""

    def __init__(self, genesis: Genesis, genesis_digest: bytes, quorum: int) -> None:
        """Judge validators of `genesis`, whose first block has `genesis_digest`."""
        self._genesis, self._genesis_digest, self._quorum = genesis, genesis_digest, quorum
        self._size = genesis.validators.size
        self._signed: dict[bytes, tuple[int, bytes]] = {}
        """Every signature in existence, whose it is and over what: no other counts."""
        self._ballots: dict[bytes, tuple[int, Ballot, int]] = {}
        """The votes among them: voter, vote, vote time in ms."""
        self._genuine: dict[bytes, tuple[Fact, ...]] = {}
        """What a message teaches, whoever hears it, if all signatures in it exist."""
        self._parents: dict[bytes, bytes] = {}
        self._known: dict[int, Knowledge] = {}

    def watch(self, validator: int) -> None:
        """Expect to be told what a validator hears and signs."""
        self._known[validator] = Knowledge()

    def exists(self, validator: int, message: bytes, signature: bytes) -> Statement | None:
        """Take note of a signature; return what it says, if it is a vote or a VIEW-CHANGE."""
        self._signed[signature] = (validator, message)
        if message.startswith(_VOTE):
            _, _, _, phase, view, height, digest, time_ms = cbor2.loads(message[len(_VOTE) :])
            ballot = Ballot(phase, view, height, digest)
            self._ballots[signature] = (validator, ballot, time_ms)
            return ballot
        if message.startswith(_VIEW_CHANGE):
            _, body = cbor2.loads(message[len(_VIEW_CHANGE) :])
            committed: list[Any] = body[4]
            tip = committed[-1][0][3] if committed else 0
            return Leaving(body[2], tip, tuple((item[0][3], item[1][4]) for item in body[5]))
        return None

    def signed_ballot(self, signature: bytes) -> tuple[int, Ballot, int] | None:
        """Return voter, vote and vote time (ms) of a signature, if it is one in existence."""
        return self._ballots.get(signature)

    # ------------------------------------------------------------------ what is delivered

    def heard(self, validator: int, data: bytes) -> None:
        """Take note of a message delivered to a validator."""
        if data[1:2] not in _HEARD:
            return
        facts = self._genuine.get(data)
        if facts is None:
            facts = ()
            with suppress(LookupError, TypeError, ValueError, cbor2.CBORDecodeError):  # damaged
                facts = tuple(self._read(*cbor2.loads(data)))
            if facts:
                self._genuine[data] = facts
        known = self._known[validator]
        for fact in facts:
            match fact:
                case Prepare():
                    _note(known.prepares, (fact.view, fact.height, fact.digest), fact.voter)
                case Offer():
                    _note(known.offers, (fact.view, fact.height), fact.digest)
                case _:
                    known.starts.setdefault(fact.view, []).append(fact)

    def _read(self, kind: int, value: list[Any]) -> Iterator[Fact]:
        if kind == MessageKind.VOTE:
            yield from self._read_prepare(value)
        elif kind == MessageKind.PROPOSAL:
            header, vote = value[1], value[3]
            for prepare in self._read_prepare(vote):
                yield prepare
                is_about = self._learn_header(header) == prepare.digest
                if is_about and prepare.voter == prepare.view % self._size:
                    yield Offer(prepare.view, prepare.height, prepare.digest)
        elif kind == MessageKind.NEW_VIEW:
            view, view_changes = value[2], value[3]
            signed = [self._is_genuine(vc[3], VIEW_CHANGE, vc) for vc in view_changes]
            if self._is_genuine(view % self._size, NEW_VIEW, value) and all(signed):
                yield self._start_from(view, view_changes)

    def _read_prepare(self, vote: list[Any]) -> Iterator[Prepare]:
        phase, view, height, digest, voter, time_ms, signature, _ = vote
        stated = (voter, Ballot(phase, view, height, digest), time_ms)
        if phase == Phase.PREPARE and self._ballots.get(signature) == stated:
            yield Prepare(view, height, digest, voter)

    def _is_genuine(self, validator: int, tag: bytes, value: list[Any]) -> bool:
        """Whether an array whose last item is the signature over the others was signed so."""
        message = tagged(tag, cbor2.dumps([self._genesis.chain_id, value[:-1]]))
        return self._signed.get(value[-1]) == (validator, message)

    def _learn_header(self, header: list[Any]) -> bytes:
        digest = self._genesis.suite.tagged_hash(HEADER, cbor2.dumps(header))
        self._parents[digest] = header[_HEADER_PARENT]
        return digest

    def _start_from(self, view: int, view_changes: list[Any]) -> Start:
        """Work out what a NEW-VIEW gives: the highest tip, then on it the latest prepared chain."""
        base, parent = 0, self._genesis_digest
        prepared: dict[int, list[tuple[int, bytes]]] = {}
        for view_change in view_changes:
            committed, shown = view_change[4], view_change[5]
            for header, certificate in shown:
                self._learn_header(header)
                certified = (certificate[_CERTIFICATE_VIEW], certificate[_CERTIFICATE_DIGEST])
                prepared.setdefault(header[_HEADER_HEIGHT], []).append(certified)
            if committed and committed[-1][0][_HEADER_HEIGHT] > base:
                base = committed[-1][0][_HEADER_HEIGHT]
                parent = committed[-1][1][_CERTIFICATE_DIGEST]
        carried: dict[int, bytes] = {}
        height = base + 1
        while on_parent := [c for c in prepared.get(height, ()) if self._parents[c[1]] == parent]:
            _, parent = max(on_parent)
            carried[height] = parent
            height += 1
        return Start(view, base, carried)

    # ------------------------------------------------------------------ what is signed

    def object_to(self, validator: int, ballot: Ballot, tip: int) -> str:
        """Judge a vote of a validator whose newest block is `tip`; take note of it."""
        known = self._known[validator]
        if ballot.phase == Phase.COMMIT:
            return self._object_to_commit(known, ballot, tip)
        key = (ballot.view, ballot.height, ballot.digest)
        known.prepares.setdefault(key, {})[validator] = None
        proposed = ballot.digest in known.offers.get(ballot.place[1:], {})
        if ballot.view % self._size == validator:
            proposed = True  # by itself
        return self._object_to_prepare(known, ballot, proposed=proposed)

    def object_to_new_view(self, validator: int, view: int, view_changes: list[Any]) -> str:
        """Judge a NEW-VIEW that a validator signs as primary; take note of it."""
        start = self._start_from(view, view_changes)
        self._known[validator].starts.setdefault(view, []).append(start)
        senders = frozenset(vc[3] for vc in view_changes if vc[2] == view)
        if len(senders) < self._quorum or view % self._size != validator:
            return f"G3: a NEW-VIEW for {view} from {sorted(senders)}"
        return ""

    def _object_to_prepare(self, known: Knowledge, ballot: Ballot, *, proposed: bool) -> str:
        if ballot.view == 0:
            return "" if proposed else "G1: not proposed"
        for start in known.starts.get(ballot.view, ()):
            if ballot.height <= start.base:
                continue
            carried = start.carried.get(ballot.height)
            if carried == ballot.digest or (carried is None and proposed):
                return ""
        return "G1: neither carried over nor proposed above what is"

    def _object_to_commit(self, known: Knowledge, ballot: Ballot, tip: int) -> str:
        digest = ballot.digest
        for height in range(ballot.height, tip, -1):
            voters = known.prepares.get((ballot.view, height, digest), {})
            if len(voters) < self._quorum:
                return f"G2: {height} is not prepared, only by {sorted(voters)}"
            digest = self._parents.get(digest, b"")
        return ""


def _note(known: dict[K, dict[V, None]], key: K, value: V) -> None:
    known.setdefault(key, {})[value] = None
