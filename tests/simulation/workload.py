"""Clients: they sign transactions and hand them in, and come back or not, as their habit is.

What must become final: the request of a client who comes back to others, or to one correct
validator; and whatever a correct validator holds. A client who hands in once has lost its request
when every validator that held it dies, and only then.

But one that asks nobody else is promised nothing while the clock of whom it asks says that the
lifetime of the request is over, or too far ahead, and nothing that validator can know says
otherwise: it has started since its clock was set, or a step of the clock is a minute ago, and no
votes came. It answers then as who is right would, and "one node's opinion" is all an admission
says: another validator takes the request. Who knows its clock to be unfit refuses nothing by it.

And when it must be final is counted from when somebody correct was asked who is not so misled. Who
comes back to anybody may by chance come back to the same liar, again and again.

A client's key may be rotated while it asks (registrar.py). It signs most of what it asks for under
the key in force, and some under the next one too early, or under one before it too late. What is
not signed under the key in force is promised nothing: a block may not hold it. Half of the clients
sign the same request anew when they come back; of the others it lapses. A client that is frozen is
refused, and promised nothing either until it has its rights again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial

from node.chain.genesis import Genesis
from node.chain.record import DIGEST_BYTES, Notarization, RecordAction
from node.chain.transaction import (
    Transaction,
    TransactionBody,
    TransactionKind,
    sign_transaction,
)
from node.limits import TX_LIFETIME_MS_MAX
from tests.simulation.history import Account, History
from tests.simulation.keys import RingSigner
from tests.simulation.node import SimulatedValidator
from tests.simulation.world import MS, SECOND, World

LIFETIME_MS = 540_000
OTHER_KEY_PERMILLE = 300
"""How much a client that has several keys asks for under another than the one in force."""
NEWS_US = 20 * MS
"""How soon after a rotation is final somewhere its client asks there under the new key."""


class Habit(Enum):
    """What a client does about a request that is not final yet."""

    ELSEWHERE = "comes back after a while, to any validator"
    FAITHFUL = "comes back after a while, to the one it asked first"
    ONCE = "never comes back"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadProfile:
    """What the clients of a run do; chances in permille, per request."""

    requests: int = 40
    asking_permille: int = 1_000
    """Requests come in this part of the time in which faults happen, its beginning."""
    habits: tuple[Habit, ...] = (Habit.ELSEWHERE,)
    """Each request draws one of these."""
    retry_us: int = 1 * SECOND
    burst_max: int = 4
    """How many requests may come at one moment."""
    to_all_permille: int = 200
    """Handed in at every validator at once instead of one."""
    resigned_permille: int = 0
    """Handed in elsewhere under another valid signature of the same sender."""
    short_lived_permille: int = 0
    """Void after at most three seconds, so that it may never become final."""
    referenced_permille: int = 200
    """About one of a few references, so that some requests fail inside a valid block."""


@dataclass(slots=True)
class Request:
    """A transaction with what its client does about it."""

    tx_id: bytes
    body: TransactionBody
    key: bytes
    """That it is signed under, encoded."""
    forms: tuple[bytes, ...]
    """Its encodings: one, or two under different signatures."""
    is_signed_anew: bool
    """Whether its client, when it comes back, has it signed under the key then in force."""
    is_lasting: bool
    """Whether it can be included whenever it comes; else it may lapse."""
    habit: Habit
    first_asked: int
    """Index among the validators of the one that is asked first."""
    attempts: int = 0
    askings: list[tuple[int, int]] = field(default_factory=list)
    """When (us) it was handed in at which place, but for those that refuse it by what they know."""

    @property
    def not_after_ms(self) -> int:
        """The end of its lifetime."""
        return self.body.not_after_ms


class Clients:
    """All clients of one run."""

    def __init__(
        self,
        *,
        world: World,
        profile: WorkloadProfile,
        genesis: Genesis,
        signers: dict[str, RingSigner],
        validators: Sequence[SimulatedValidator],
        history: History,
    ) -> None:
        """Prepare to ask; `history` learns when what was signed."""
        self._world, self._profile, self._genesis = world, profile, genesis
        self._signers = {name: [signer] for name, signer in signers.items()}
        """All keys that each client has."""
        self._validators, self._history = validators, history
        self._nonce = 0
        self.lasting: dict[bytes, Request] = {}
        """Requests that do not lapse and are not final yet, by tx_id."""
        self._are_away = False

    def schedule(self, from_us: int, until_us: int, count: int) -> None:
        """Spread `count` requests over a stretch of time, some in bursts."""
        random = self._world.random
        self._are_away = False
        while count > 0:
            burst = min(random.randrange(1, self._profile.burst_max + 1), count)
            delay_us = random.randrange(from_us, until_us) - self._world.now_us
            self._world.after(delay_us, partial(self._ask, burst))
            count -= burst

    def leave(self) -> None:
        """Ask no more, and come back for nothing, until new requests are scheduled."""
        self._are_away = True
        for request in self.lasting.values():
            request.habit = Habit.ONCE

    def hand_over(self, sender: str, signer: RingSigner) -> None:
        """Give a client another key, which is in force once a block says so."""
        own = self._signers[sender]
        if all(each.public_key.encoded != signer.public_key.encoded for each in own):
            own.append(signer)

    def ask_under_new_key(self, sender: str, validator: int) -> None:
        """Have a client ask who was the first to tell it that its new key is in force."""
        random = self._world.random
        for _ in range(random.randrange(4)):
            self._world.after(random.randrange(NEWS_US), partial(self._ask_one, sender, validator))

    def settle(self, tx_id: bytes) -> None:
        """Take note that a request is final."""
        self.lasting.pop(tx_id, None)

    def overdue(self, correct: Sequence[SimulatedValidator]) -> Iterator[bytes]:
        """Yield the ids of what must still become final, `correct` being up and connected."""
        if not self.lasting:
            return
        by_place = {validator.place: validator for validator in correct}
        engines = [validator.engine for validator in correct if validator.engine is not None]
        account = self._history.account
        for tx_id, request in self.lasting.items():
            if request.key != account.keys[request.body.sender]:
                continue
            comes_back = request.habit is Habit.ELSEWHERE or (
                request.habit is Habit.FAITHFUL
                and request.first_asked in by_place
                and not _is_misled_about(request, by_place[request.first_asked])
            )
            if (comes_back and request.body.sender not in account.frozen) or any(
                engine.mempool.is_pending(tx_id) for engine in engines
            ):
                yield tx_id

    def was_heard(
        self, correct: Sequence[SimulatedValidator], from_us: int, before_us: int
    ) -> bool:
        """Say whether somebody correct holds, or was asked then for, what is overdue.

        Or it comes too late for that: its time is over.
        """
        places = {validator.place for validator in correct}
        engines = [validator.engine for validator in correct if validator.engine is not None]
        return any(
            self.lasting[tx_id].not_after_ms < self._world.utc_ms
            or any(engine.mempool.is_pending(tx_id) for engine in engines)
            or any(
                from_us <= asked_us < before_us and place in places
                for asked_us, place in self.lasting[tx_id].askings
            )
            for tx_id in self.overdue(correct)
        )

    def _ask(self, count: int) -> None:
        if self._are_away:
            return
        for _ in range(count):
            self._ask_for(self._new_request())

    def _ask_one(self, sender: str, validator: int) -> None:
        """Ask for one thing more, of a validator first."""
        if self._are_away:
            return
        request = self._new_request(sender)
        request.first_asked = validator
        self._ask_for(request)

    def _ask_for(self, request: Request) -> None:
        if request.is_lasting:
            self.lasting[request.tx_id] = request
        self._try(request)

    def _new_request(self, sender: str = "") -> Request:
        """Return a request of a client, of any unless one is named."""
        world, random, profile = self._world, self._world.random, self._profile
        self._nonce += 1
        is_of_any = not sender
        sender = sender or random.choice(sorted(self._signers))
        short_lived = world.chance(profile.short_lived_permille)
        lifetime_ms = (
            random.randrange(1, random.choice((10, 3_000))) if short_lived else LIFETIME_MS
        )
        count = random.randrange(1, 4)
        references: tuple[str | None, ...] | None = None
        action = RecordAction.RECORD
        if world.chance(profile.referenced_permille):
            references = tuple(f"reference-{random.randrange(8)}" for _ in range(count))
            action = random.choice(list(RecordAction))
        body = TransactionBody(
            chain_id=self._genesis.chain_id,
            sender=sender,
            nonce=self._nonce.to_bytes(16, "big"),
            not_after_ms=world.utc_ms + lifetime_ms,
            kind=TransactionKind.NOTARIZE,
            payload=Notarization(
                digest_algorithm=1,
                type_code="licence",
                action=action,
                digests=random.randbytes(count * DIGEST_BYTES),
                references=references,
            ),
        )
        signer = self._signer_in_force(sender)
        if is_of_any and len(self._signers[sender]) > 1 and world.chance(OTHER_KEY_PERMILLE):
            signer = random.choice(self._signers[sender])
        forms = [self._sign(body, signer)]
        if world.chance(profile.resigned_permille):
            forms.append(self._sign(body, signer.salted(self._nonce)))
        return Request(
            tx_id=forms[0].tx_id,
            body=body,
            key=signer.public_key.encoded,
            forms=tuple(each.encoded for each in forms),
            is_signed_anew=self._nonce % 2 == 0,
            is_lasting=not short_lived,
            habit=random.choice(profile.habits),
            first_asked=random.randrange(len(self._validators)),
        )

    def _signer_in_force(self, sender: str) -> RingSigner:
        key = self._history.account.keys[sender]
        return next(each for each in self._signers[sender] if each.public_key.encoded == key)

    def _sign(self, body: TransactionBody, signer: RingSigner) -> Transaction:
        transaction = sign_transaction(body, signer, self._genesis.suite)
        self._history.note_signed(transaction, signer.public_key.encoded)
        return transaction

    def _sign_anew(self, request: Request) -> None:
        """Have a request signed under the key in force, if it is not."""
        signer = self._signer_in_force(request.body.sender)
        if request.key != signer.public_key.encoded:
            request.key = signer.public_key.encoded
            request.forms = (self._sign(request.body, signer).encoded,)

    def _try(self, request: Request) -> None:
        """Hand it in at one validator or at all, and come back unless it is final by then."""
        is_final = request.tx_id in self._history.executed
        if is_final or (request.attempts and request.habit is Habit.ONCE):
            return
        if request.attempts and request.is_signed_anew:
            self._sign_anew(request)
        random, validators = self._world.random, self._validators
        which = request.first_asked
        if request.attempts and request.habit is Habit.ELSEWHERE:
            which = random.randrange(len(validators))
        chosen: Sequence[SimulatedValidator] = (validators[which],)
        if self._world.chance(self._profile.to_all_permille):
            chosen = validators
        for validator in chosen:
            form = request.forms[request.attempts % len(request.forms)]
            request.attempts += 1
            if not self._is_refused(request, validator):
                request.askings.append((self._world.now_us, validator.place))
            validator.submit([form])
        if request.is_lasting and request.habit is not Habit.ONCE:
            delay_us = self._profile.retry_us + random.randrange(100 * MS)
            self._world.after(delay_us, partial(self._try, request))

    def _is_refused(self, request: Request, validator: SimulatedValidator) -> bool:
        """Say whether what a validator knows of the time, or of who asks, is against a request."""
        if _is_misled_about(request, validator):
            return True
        known = min(validator.ledger.tip_height, len(self._history.headers) - 1)  # liars know more
        return not _may_ask(request, self._history.account_above(known))


def _may_ask(request: Request, account: Account) -> bool:
    """Say whether a request is signed under the right key, by somebody who has its rights."""
    sender = request.body.sender
    return request.key == account.keys[sender] and sender not in account.frozen


def _is_misled_about(request: Request, validator: SimulatedValidator) -> bool:
    """Say whether a validator believes a clock by which no block can hold a lasting request."""
    engine, clock_ms = validator.engine, validator.utc_ms
    return (
        engine is not None
        and not clock_ms <= request.not_after_ms <= clock_ms + TX_LIFETIME_MS_MAX
        and engine.clock_fitness.judge().is_fit
    )
