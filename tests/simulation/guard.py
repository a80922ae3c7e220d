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

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import cbor2

from node.chain.certificate import Phase
from node.chain.genesis import Genesis
from node.crypto.domains import HEADER, NEW_VIEW, VIEW_CHANGE, VOTE, tagged
from node.service.wire import MessageKind

_HEARD = tuple(bytes((k,)) for k in (MessageKind.VOTE, MessageKind.PROPOSAL, MessageKind.NEW_VIEW))
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


class Start(NamedTuple):
    """What a view starts from."""

    base: int
    """Height of the newest decided block shown."""
    carried: dict[int, bytes]
    """Height to digest of what must be decided again."""


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
        self._parents: dict[bytes, bytes] = {}
        self._known: dict[int, Knowledge] = {}

    def watch(self, validator: int) -> None:
        """Expect to be told what a validator hears and signs."""
        self._known[validator] = Knowledge()

    def exists(self, validator: int, message: bytes, signature: bytes) -> None:
        """Take note of a signature."""
        self._signed[signature] = (validator, message)

    # ------------------------------------------------------------------ what is delivered

    def heard(self, validator: int, data: bytes) -> None:
        """Take note of a message delivered to a validator."""
        if data[1:2] not in _HEARD:
            return
        known = self._known[validator]
        with suppress(LookupError, TypeError, ValueError, cbor2.CBORDecodeError):  # damaged ones
            kind, value = cbor2.loads(data)
            if kind == MessageKind.VOTE:
                self._heard_vote(known, value)
            elif kind == MessageKind.PROPOSAL:
                self._heard_proposal(known, value)
            elif kind == MessageKind.NEW_VIEW:
                self._heard_new_view(known, value)

    def _heard_vote(self, known: Knowledge, vote: list[Any]) -> bool:
        phase, view, height, digest, voter, time_ms, signature = vote
        validators = self._genesis.validators
        chain = [self._genesis.chain_id, validators.epoch, validators.digest]
        message = tagged(VOTE, cbor2.dumps([*chain, phase, view, height, digest, time_ms]))
        if self._signed.get(signature) != (voter, message):
            return False
        if phase == Phase.PREPARE:
            known.prepares.setdefault((view, height, digest), {})[voter] = None
        return True

    def _heard_proposal(self, known: Knowledge, proposal: list[Any]) -> None:
        header, vote = proposal[1], proposal[3]
        _, view, height, digest, voter, _, _ = vote
        is_about = self._learn_header(header) == digest
        if self._heard_vote(known, vote) and is_about and voter == view % self._size:
            known.offers.setdefault((view, height), {})[digest] = None

    def _heard_new_view(self, known: Knowledge, new_view: list[Any]) -> None:
        view, view_changes = new_view[2], new_view[3]
        if not self._is_genuine(view % self._size, NEW_VIEW, new_view):
            return
        if all(self._is_genuine(vc[3], VIEW_CHANGE, vc) for vc in view_changes):
            self._learn_start(known, view, view_changes)

    def _is_genuine(self, validator: int, tag: bytes, value: list[Any]) -> bool:
        """Whether an array whose last item is the signature over the others was signed so."""
        message = tagged(tag, cbor2.dumps([self._genesis.chain_id, value[:-1]]))
        return self._signed.get(value[-1]) == (validator, message)

    def _learn_header(self, header: list[Any]) -> bytes:
        digest = self._genesis.suite.tagged_hash(HEADER, cbor2.dumps(header))
        self._parents[digest] = header[_HEADER_PARENT]
        return digest

    def _learn_start(self, known: Knowledge, view: int, view_changes: list[Any]) -> None:
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
        known.starts.setdefault(view, []).append(Start(base, carried))

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
        self._learn_start(self._known[validator], view, view_changes)
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
