"""Clients: they sign transactions and hand them in, again and elsewhere, until they are final."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from node.chain.genesis import Genesis
from node.chain.record import DIGEST_BYTES, Notarization, RecordAction
from node.chain.transaction import TransactionBody, TransactionKind, sign_transaction
from tests.simulation.keys import RingSigner
from tests.simulation.node import SimulatedValidator
from tests.simulation.world import MS, SECOND, World

LIFETIME_MS = 540_000
RETRY_US = 1 * SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadProfile:
    """What the clients of a run do; chances in permille, per request."""

    requests: int = 40
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
    forms: tuple[bytes, ...]
    """Its encodings: one, or two under different signatures."""
    must_become_final: bool
    attempts: int = 0


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
        submitted: dict[bytes, int],
        is_final: Callable[[bytes], bool],
    ) -> None:
        """Prepare to ask; `submitted` learns when (true UTC, ms) which tx_id was signed."""
        self._world, self._profile, self._genesis = world, profile, genesis
        self._signers, self._validators = signers, validators
        self._submitted, self._is_final = submitted, is_final
        self._nonce = 0
        self.pending: dict[bytes, Request] = {}
        """Requests that must become final and are not yet known to be."""

    def schedule(self, from_us: int, until_us: int, count: int) -> None:
        """Spread `count` requests over a stretch of time, some in bursts."""
        random = self._world.random
        while count > 0:
            burst = min(random.randrange(1, self._profile.burst_max + 1), count)
            delay_us = random.randrange(from_us, until_us) - self._world.now_us
            self._world.after(delay_us, partial(self._ask, burst))
            count -= burst

    def settle(self, tx_id: bytes) -> None:
        """Take note that a request is final."""
        self.pending.pop(tx_id, None)

    def _ask(self, count: int) -> None:
        for _ in range(count):
            request = self._new_request()
            self._submitted[request.tx_id] = self._world.utc_ms
            if request.must_become_final:
                self.pending[request.tx_id] = request
            self._try(request)

    def _new_request(self) -> Request:
        world, random, profile = self._world, self._world.random, self._profile
        self._nonce += 1
        sender = random.choice(sorted(self._signers))
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
        signer = self._signers[sender]
        transaction = sign_transaction(body, signer, self._genesis.suite)
        forms = [transaction.encoded]
        if world.chance(profile.resigned_permille):
            again = sign_transaction(body, signer.salted(self._nonce), self._genesis.suite)
            forms.append(again.encoded)
        return Request(transaction.tx_id, tuple(forms), must_become_final=not short_lived)

    def _try(self, request: Request) -> None:
        """Hand it in at one validator or at all, and come back unless it is final by then."""
        if self._is_final(request.tx_id):
            self.settle(request.tx_id)
            return
        random, validators = self._world.random, self._validators
        chosen: Sequence[SimulatedValidator] = (random.choice(validators),)
        if self._world.chance(self._profile.to_all_permille):
            chosen = validators
        for validator in chosen:
            form = request.forms[request.attempts % len(request.forms)]
            request.attempts += 1
            validator.submit([form])
        if request.must_become_final:
            delay_us = RETRY_US + random.randrange(100 * MS)
            self._world.after(delay_us, partial(self._try, request))
