"""Verified transactions waiting for a block: a pure object without IO or clock. No rules here.

Its words. A *body* is one signed transaction, named by its tx_hash. A *request* is what a body asks
for, named by its tx_id: bodies under several signatures can stand for one request, and a chain
takes a request once. A *slot* is an undecided proposal, named by its header digest; it *pins* the
bodies it lists until it is decided or dropped.

Who is served first. A sender's transactions are served in order of arrival, and organisations, then
their senders, in turn: on arrival a transaction is given a *round* (turns.py). Rounds are served
one after another, each in order of arrival. So whoever has little to ask for waits for one round at
most, however much others ask for; and nothing that comes after a transaction whose round is being
served goes before it.

Who is refused. An organisation has a quota of what may wait here, if the chain set one. And it, and
a sender of it, may hold so many times the room that is left: a sender that floods the pool leaves a
fifth of it, ten of as many organisations leave a 41st, and others still find room. What was
accepted is never pushed out.

Invariants, each checked by the stateful test:

- M1 one request waits at most once: the first body to come stands for it. Another body of it (a
  twin) is held only while a slot pins it.
- M2 a request waits in a queue exactly while none of its bodies is pinned. So `take` never gives
  out what an undecided slot already carries, under whichever signature.
- M3 the order is by round, then by arrival, and a request that a dropped slot lets go is back at
  its place.
- M4 count and bytes stay within the bounds, but for the bodies that slots pin. Those are bounded by
  the window and the block limits.

Every operation costs O(1) per transaction it names; one that takes up several rounds, O(1) for each
of them. Besides, `take` looks past what can not be included at its T (admission keeps that out,
`expire` removes it), `expire` at each second of lifetime, and `unpin` at the rounds to which what
it lets go returns.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import chain
from operator import attrgetter
from typing import Final

from msgspec import Struct

from node.chain.transaction import VerifiedTransaction
from node.execution.lifetime import is_within_lifetime
from node.limits import MEMPOOL_BYTES_MAX, MEMPOOL_TXS_MAX
from node.service.turns import Drain, Organisation, Served, Turns

_EXPIRY_BUCKET_MS: Final = 1_000


class AddOutcome(Enum):
    """What became of an offered transaction."""

    ADDED = auto()
    DUPLICATE = auto()
    """Its request waits already, under this signature or another."""
    FULL = auto()
    """No room; `retry_after_ms` says when to come back."""
    OVER_QUOTA = auto()
    """As much of its organisation waits as may; `quota_retry_after_ms` says when to come back."""


class _Request(Struct, eq=False, gc=False):
    """A tx_id with the bodies held for it."""

    body: VerifiedTransaction
    sequence: int
    """Order of arrival."""
    round: int
    twins: dict[bytes, VerifiedTransaction]
    """Bodies of the same request under other signatures, by tx_hash; each is pinned."""
    is_waiting: bool
    """Whether it is in the queue of its round; not while one of its bodies is pinned."""
    came_ms: int
    """When it first waited here; 0 if it came for a slot that pins it, and has not since."""
    told_ms: int
    """Since when the others can be expected to know it."""
    is_own: bool = False
    """Whether a client handed it in here, so that this validator is the one to tell the others."""
    is_repeated: bool = False
    has_waited: bool = False
    """Whether it found room here, and is kept: else it came for a slot alone."""


_Queue = OrderedDict[bytes, _Request]
_by_arrival = attrgetter("sequence")


@dataclass(frozen=True, slots=True)
class FirstInTurn:
    """What nothing that comes later is served before."""

    tx_id: bytes
    since_ms: int
    """Since when it is so, and the others can be expected to know it."""
    sender_served_ms: int
    """When another request of its sender became final; 0 if none did while this one was here."""
    sender_came_ms: int
    """When the last to come of those came."""
    organisation_served_ms: int
    """The same of its organisation where that asks for more than its share, else of its sender."""
    organisation_came_ms: int
    """When the last to come of its organisation's came."""


class Mempool:
    """Senders take turns. `txs_max` bounds the requests, `bytes_max` the encoded bodies."""

    def __init__(
        self, *, txs_max: int = MEMPOOL_TXS_MAX, bytes_max: int = MEMPOOL_BYTES_MAX
    ) -> None:
        self._txs_max = txs_max
        self._bytes_max = bytes_max
        self._requests: dict[bytes, _Request] = {}  # by tx_id
        self._bodies: dict[bytes, VerifiedTransaction] = {}  # by tx_hash, twins included
        self._encoded: set[bytes] = set()  # the bytes these bodies came in
        self._bytes = 0
        self._arrivals = 0
        self._waiting_count = 0
        self._rounds: dict[int, _Queue] = {}  # what waits, by round; none is empty
        self._lowest = 0  # of these rounds; 0 while there are none
        self._lowest_since_ms = 0
        self._now_ms = 0
        self.turns = Turns()
        self._slots: dict[bytes, Sequence[bytes]] = {}
        self._pins: dict[bytes, int] = {}  # by tx_hash, whether its body is here or not
        self._expiry: dict[int, dict[bytes, _Request]] = {}  # by not-after // bucket, then tx_id
        self._drain = Drain()

    def note_time(self, now_ms: int) -> None:
        """Say what the monotonic clock shows: all that follows happens then."""
        self._now_ms = now_ms

    @property
    def pending_count(self) -> int:
        """Return the number of requests held, pinned ones included."""
        return len(self._requests)

    @property
    def pending_bytes(self) -> int:
        """Return the encoded size of all bodies held, pinned ones included."""
        return self._bytes

    @property
    def is_waiting(self) -> bool:
        """Say whether any request waits for a block, pinned ones left out."""
        return bool(self._rounds)

    @property
    def waiting_count(self) -> int:
        """Return the number of requests that wait for a block, pinned ones left out."""
        return self._waiting_count

    @property
    def slots(self) -> Collection[bytes]:
        """Return the undecided proposals whose bodies are pinned."""
        return self._slots.keys()

    def is_pending(self, tx_id: bytes) -> bool:
        """Say whether the request is held, pinned or not."""
        return tx_id in self._requests

    def add(self, tx: VerifiedTransaction, *, is_own: bool = False) -> AddOutcome:
        """Queue a transaction whose admission the caller has checked; `is_own` from a client.

        The caller checks: signature under the key in state, lifetime, not on the chain yet, and
        small enough for a block. A body that a slot pins is kept whatever the bounds.
        """
        is_known = tx.transaction.tx_id in self._requests
        if self.hold_body(tx):
            return AddOutcome.DUPLICATE if is_known else AddOutcome.ADDED
        if is_known:
            return AddOutcome.DUPLICATE
        sender = tx.transaction.body.sender
        organisation = self.turns.organisation_of(sender)
        if organisation is not None and organisation.is_over_quota:
            return AddOutcome.OVER_QUOTA
        if not self._has_room_for(tx, organisation):
            return AddOutcome.FULL
        self._insert(tx, is_waiting=True, is_own=is_own)
        return AddOutcome.ADDED

    def hold_body(self, tx: VerifiedTransaction) -> bool:
        """Keep a body that an undecided slot names; say whether it is held now.

        For bodies fetched for a proposal: `pin` the slot first, then hand in what was `missing`.
        Such a body is held even if the pool is full, and even if its request waits under another
        signature. A body that no slot pins is refused: it has to come through `add`.
        """
        tx_id, tx_hash = tx.transaction.tx_id, tx.transaction.tx_hash
        if tx_hash in self._bodies:
            return True
        if tx_hash not in self._pins:
            return False
        request = self._requests.get(tx_id)
        if request is None:
            self._insert(tx, is_waiting=False)
        else:
            self._keep_body(tx)
            request.twins[tx_hash] = tx
            self._dequeue(request)
        return True

    def get(self, tx_hash: bytes) -> VerifiedTransaction | None:
        """Return the body with this hash, pending or pinned."""
        return self._bodies.get(tx_hash)

    def body_of(self, tx_id: bytes) -> VerifiedTransaction | None:
        """Return the body that stands for a request, if that is held."""
        request = self._requests.get(tx_id)
        return None if request is None else request.body

    def holds(self, encoded: bytes) -> bool:
        """Tell whether a body of just these bytes is here."""
        return encoded in self._encoded

    def missing(self, tx_hashes: Iterable[bytes]) -> list[bytes]:
        """Return those hashes whose bodies are not held, in the given order."""
        return [tx_hash for tx_hash in tx_hashes if tx_hash not in self._bodies]

    def take(
        self,
        *,
        time_ms: int,
        txs_max: int,
        bytes_max: int,
        records_max: int,
        is_own: bool = False,
    ) -> list[VerifiedTransaction]:
        """Return what to propose at T = `time_ms`, in turn; nothing is removed or pinned.

        With `is_own` only what clients handed in here. Left out are pinned requests and those whose
        lifetime does not include T. The batch ends at the first transaction that does not fit, so
        that no later one overtakes it; the first is taken even if it exceeds `bytes_max` or
        `records_max` alone, so that a caller who shrinks his batches can not starve it (admission
        refuses what exceeds the limits of a block).
        """
        taken: list[VerifiedTransaction] = []
        bytes_left, records_left = bytes_max, records_max
        for request in self._waiting():
            if len(taken) == txs_max:
                break
            transaction = request.body.transaction
            if is_own and not request.is_own:
                continue
            if not is_within_lifetime(transaction.body.not_after_ms, time_ms):
                continue
            bytes_left -= len(transaction.encoded)
            records_left -= transaction.body.payload.count
            if taken and (bytes_left < 0 or records_left < 0):
                break
            taken.append(request.body)
        return taken

    def waiting(self) -> Iterator[VerifiedTransaction]:
        """Yield what waits for a block, in turn, includable now or not; pinned ones left out."""
        return (request.body for request in self._waiting())

    @property
    def first_in_turn(self) -> FirstInTurn | None:
        """Return what is to be served before all that is to come; None while nothing waits."""
        queue = self._rounds.get(self._lowest)
        if queue is None:
            return None
        request = next(iter(queue.values()))
        transaction = request.body.transaction
        sender = self.turns.sender(transaction.body.sender)
        organisation = sender.organisation
        claimant = organisation if organisation.is_overdrawn else sender
        return FirstInTurn(
            tx_id=transaction.tx_id,
            since_ms=max(request.told_ms, self._lowest_since_ms),
            sender_served_ms=sender.served_ms,
            sender_came_ms=sender.served_came_ms,
            organisation_served_ms=claimant.served_ms,
            organisation_came_ms=organisation.served_came_ms,
        )

    def note_repeated(self, transactions: Iterable[VerifiedTransaction]) -> None:
        """Note that these were told to all others once more, in case the first time was lost."""
        for tx in transactions:
            request = self._requests[tx.transaction.tx_id]
            if not request.is_repeated:
                request.told_ms, request.is_repeated = self._now_ms, True

    def pin(self, slot: bytes, tx_hashes: Sequence[bytes]) -> None:
        """Keep the bodies that the undecided proposal `slot` lists, those still to come included.

        They survive expiry and are not taken. Slots may overlap: a body is let go with the last
        slot that lists it. Pinning a slot again changes nothing, as its digest fixes its list.
        """
        if slot in self._slots:
            return
        self._slots[slot] = tx_hashes
        for tx_hash in tx_hashes:
            self._pins[tx_hash] = self._pins.get(tx_hash, 0) + 1
            body = self._bodies.get(tx_hash)
            if body is not None:
                self._dequeue(self._requests[body.transaction.tx_id])

    def unpin(self, slot: bytes) -> list[bytes]:
        """Forget a decided or dropped slot; what it alone held waits again at its old place.

        What came over the bounds, as a pinned body, goes while the pool is still over them; what
        has waited here stays. After a commit, call `remove_committed` first. An unknown slot is no
        error.

        Returns the ids of what waits again: a body that came for the slot alone was not admitted,
        so the caller looks whether the chain holds it under another block, and then discards it.
        """
        let_go: dict[bytes, _Request] = {}
        for tx_hash in self._slots.pop(slot, ()):
            pins = self._pins.pop(tx_hash)
            if pins > 1:
                self._pins[tx_hash] = pins - 1
            elif tx_hash in self._bodies:
                tx_id = self._bodies[tx_hash].transaction.tx_id
                request = let_go[tx_id] = self._requests[tx_id]
                twin = request.twins.pop(tx_hash, None)
                if twin is not None:
                    self._forget_body(twin)
        waiting = [request for request in let_go.values() if not self._is_pinned(request)]
        return [request.body.transaction.tx_id for request in self._requeue(waiting)]

    def discard(self, tx_ids: Iterable[bytes]) -> None:
        """Forget requests, in every signature; ids that are not here are no error."""
        for tx_id in tx_ids:
            request = self._requests.get(tx_id)
            if request is not None:
                self._drop(request)

    def remove_committed(self, tx_ids: Iterable[bytes], *, time_ms: int) -> int:
        """Forget the requests of a committed block with T = `time_ms`, in every signature.

        Ids that are not here count too: together they are the drain rate. Returns when the last to
        come of these requests came (monotonic ms), 0 if that is not known of any.
        """
        listed = list(tx_ids)
        served: dict[str, Served] = {}
        for tx_id in listed:
            request = self._requests.get(tx_id)
            if request is None:
                continue
            self._let_go(request)
            transaction = request.body.transaction
            of_sender = served.get(transaction.body.sender)
            if of_sender is None:
                of_sender = served[transaction.body.sender] = Served()
            of_sender.count += 1
            of_sender.size_bytes += len(transaction.encoded)
            of_sender.came_ms = max(of_sender.came_ms, request.came_ms)
        for sender, of_sender in served.items():
            self.turns.note_served(sender, of_sender, self._now_ms)
        self.turns.note_block(time_ms)
        self._drain.note(time_ms, len(listed))
        return max((of_sender.came_ms for of_sender in served.values()), default=0)

    def expire(self, time_ms: int) -> list[bytes]:
        """Drop what no block at T >= `time_ms` can include; return the tx ids, pinned ones spared.

        A pinned one whose slot is dropped goes with the next call.
        """
        last_bucket = time_ms // _EXPIRY_BUCKET_MS
        expired = [
            request
            for bucket, requests in self._expiry.items()
            if bucket <= last_bucket
            for request in requests.values()
            if request.is_waiting and request.body.transaction.body.not_after_ms < time_ms
        ]
        for request in expired:
            self._drop(request)
        return [request.body.transaction.tx_id for request in expired]

    def retry_after_ms(self) -> int:
        """Return how long a client refused with FULL should wait, from the recent drain rate."""
        return self._drain.retry_after_ms(self._txs_max)

    def quota_retry_after_ms(self, sender: str) -> int:
        """Return how long a client refused with OVER_QUOTA should wait, as its own drain."""
        return self.turns.retry_after_ms(sender)

    def _waiting(self) -> Iterator[_Request]:
        return chain.from_iterable(queue.values() for queue in self._queues())

    def _queues(self) -> Iterator[_Queue]:
        left, number = len(self._rounds), self._lowest
        while left:
            queue = self._rounds.get(number)
            if queue is not None:
                left -= 1
                yield queue
            number += 1

    def _has_room_for(self, tx: VerifiedTransaction, organisation: Organisation | None) -> bool:
        room = self._txs_max - len(self._requests)
        room_bytes = self._bytes_max - self._bytes
        if room < 1 or room_bytes < len(tx.transaction.encoded):
            return False
        if organisation is None:  # nothing of it is held
            return True
        return self.turns.has_room(tx.transaction.body.sender, organisation, room, room_bytes)

    def _is_over_bounds(self) -> bool:
        return len(self._requests) > self._txs_max or self._bytes > self._bytes_max

    def _insert(self, tx: VerifiedTransaction, *, is_waiting: bool, is_own: bool = False) -> None:
        transaction = tx.transaction
        body, tx_id = transaction.body, transaction.tx_id
        self._arrivals += 1
        place = self.turns.place(body.sender, len(transaction.encoded), self._lowest)
        request = _Request(tx, self._arrivals, place, {}, False, 0, self._now_ms, is_own)  # noqa: FBT003 - in order, for speed
        self._requests[tx_id] = request
        self._keep_body(tx)
        second = body.not_after_ms // _EXPIRY_BUCKET_MS
        bucket = self._expiry.get(second)
        if bucket is None:
            bucket = self._expiry[second] = {}
        bucket[tx_id] = request
        if is_waiting:
            self._enqueue(request)

    def _drop(self, request: _Request) -> None:
        transaction = request.body.transaction
        self._let_go(request)
        self.turns.leave(transaction.body.sender, 1, len(transaction.encoded))

    def _let_go(self, request: _Request) -> None:
        """Forget a request that still counts as its sender's."""
        if request.is_waiting:
            self._dequeue(request)
        transaction = request.body.transaction
        del self._requests[transaction.tx_id]
        self._forget_body(request.body)
        for twin in request.twins.values():
            self._forget_body(twin)
        second = transaction.body.not_after_ms // _EXPIRY_BUCKET_MS
        bucket = self._expiry[second]
        del bucket[transaction.tx_id]
        if not bucket:
            del self._expiry[second]

    def _keep_body(self, tx: VerifiedTransaction) -> None:
        transaction = tx.transaction
        encoded = transaction.encoded
        self._bodies[transaction.tx_hash] = tx
        self._encoded.add(encoded)
        self._bytes += len(encoded)

    def _forget_body(self, tx: VerifiedTransaction) -> None:
        transaction = tx.transaction
        encoded = transaction.encoded
        del self._bodies[transaction.tx_hash]
        self._encoded.remove(encoded)
        self._bytes -= len(encoded)

    def _enqueue(self, request: _Request) -> None:
        """Put a request at the end of its round."""
        if not self._rounds or request.round < self._lowest:
            self._lowest, self._lowest_since_ms = request.round, self._now_ms
        if not request.came_ms:
            request.came_ms = self._now_ms
        queue = self._rounds.get(request.round)
        if queue is None:
            queue = self._rounds[request.round] = OrderedDict()
        queue[request.body.transaction.tx_id] = request
        request.is_waiting = request.has_waited = True
        self._waiting_count += 1

    def _dequeue(self, request: _Request) -> None:
        if not request.is_waiting:
            return
        queue = self._rounds[request.round]
        del queue[request.body.transaction.tx_id]
        request.is_waiting = False
        self._waiting_count -= 1
        if not queue:
            del self._rounds[request.round]
            if not self._rounds:
                self._lowest = 0
            while self._rounds and self._lowest not in self._rounds:
                self._lowest += 1
                self._lowest_since_ms = self._now_ms

    def _is_pinned(self, request: _Request) -> bool:
        return bool(request.twins) or request.body.transaction.tx_hash in self._pins

    def _requeue(self, requests: list[_Request]) -> list[_Request]:
        """Put back what no slot pins any more, and return it.

        Over the bounds, what never waited here goes instead, the youngest first.
        """
        requests.sort(key=_by_arrival, reverse=True)
        kept: list[_Request] = []
        for request in requests:
            if self._is_over_bounds() and not request.has_waited:
                self._drop(request)
            else:
                kept.append(request)
        kept.reverse()
        for request in kept:
            self._enqueue(request)
        for number in dict.fromkeys(request.round for request in kept):
            in_order = sorted(self._rounds[number].values(), key=_by_arrival)
            self._rounds[number] = OrderedDict((r.body.transaction.tx_id, r) for r in in_order)
        return kept
