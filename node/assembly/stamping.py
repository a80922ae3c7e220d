"""Time-stamping as this node does it: its key, its ledger and its health, joined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from node.assembly.health import Health
from node.assembly.keys import StampingKeys
from node.assembly.reader import Reader
from node.chain.genesis import Genesis
from node.config import NodeConfig
from node.crypto.authority import AuthorityCertificate, read_timestamp_certificate
from node.errors import CryptoError, InvariantViolation
from node.execution.registry import read_identity
from node.rpc import port
from node.service.queries import Queries
from node.service.runner import Runner
from node.service.stamping.figures import StampTerms
from node.service.stamping.quota import Quota
from node.service.stamping.requests import StampDesk, Submitter
from node.service.stamping.stamper import Stamper
from node.service.tickets import Ticket
from node.timestamp.receipt import Receipt
from node.timestamp.tokens.request import TimeStampRefused, TimeStampRequest


@dataclass(frozen=True, slots=True)
class Stamping:
    """What a node with a time-stamping key has."""

    stamper: Stamper
    is_rooted: bool
    """Whether a founding organisation vouches for its key: else no auditor could check a token by
    the trust file alone, and a receipt is better without."""
    desk: StampDesk | None
    """Takes requests, where the settings name an identity to record them under."""
    identity: str = ""
    """That identity."""

    def terms(self, read: Callable[[bytes], bytes | None]) -> StampTerms:
        """Return until when it can be done, by a state that is read key by key."""
        known = read_identity(read, self.identity) if self.identity else None
        ends_ms = 0 if known is None else known.not_after_ms
        return StampTerms(self.stamper.ends_ms, self.identity, ends_ms)

    def stamp(self, receipt: Receipt) -> Receipt:
        """Return a receipt with the token of its record, where there is one."""
        return replace(receipt, token=self.stamper.token_of(receipt)) if self.is_rooted else receipt


def make_stamping(
    config: NodeConfig, genesis: Genesis, keys: StampingKeys, queries: Queries, chain: NodeParts
) -> Stamping:
    """Wire what issues tokens by `keys`, and what takes requests for them."""
    stamper = Stamper(keys.certificates, keys.signer, queries.parameters_at)
    has_roots = all(is_rooted(each, genesis) for each in keys.certificates)
    if config.timestamp_identity is None or keys.submitter is None:
        return Stamping(stamper, has_roots, None)
    submitter = Submitter(
        genesis.chain_id, genesis.suite, config.timestamp_identity, keys.submitter
    )
    recorder = _Recorder(chain, queries, stamper)
    quota = Quota(config.timestamps_per_minute)
    desk = StampDesk(recorder, submitter, quota, stamper.check)
    return Stamping(stamper, has_roots, desk, submitter.identity_id)


def is_rooted(certificate: bytes, genesis: Genesis) -> bool:
    """Tell whether a founding organisation issued a time-stamping certificate (PEM or DER).

    Raises `CryptoError` for what is none.
    """
    leaf = read_timestamp_certificate(certificate)
    for organisation in genesis.organisations:
        with suppress(CryptoError):  # a certificate that is none in truth certifies nobody
            if leaf.is_issued_by(AuthorityCertificate.read(organisation.ca_certificate)):
                return True
    return False


@dataclass(frozen=True, slots=True)
class NodeParts:
    """The running parts that recording takes."""

    runner: Runner
    health: Health
    reader: Reader


class _Recorder:
    """The node as the desk sees it: a `Chain`."""

    def __init__(self, parts: NodeParts, queries: Queries, stamper: Stamper) -> None:
        self._parts, self._queries, self._stamper = parts, queries, stamper

    def unfit(self) -> str:
        health, engine = self._parts.health, self._parts.runner.engine
        if health.known is not port.Health.READY:
            return f"this node is not ready: {health.detail or health.known.name}"
        verdict = engine.clock_fitness.judge()
        if not verdict.is_fit:
            return f"the clock of this node is unfit: {verdict.detail}"
        if engine.core.is_degraded:
            return "blocks are degraded: their time is not vouched for"
        return ""

    def time_ms(self) -> int:
        runner = self._parts.runner
        return runner.engine.time_ms(runner.now())

    async def submit(self, transactions: Sequence[bytes]) -> Ticket:
        return await self._parts.runner.submit(transactions)

    async def receipts(self, tx_id: bytes, count: int) -> Sequence[Receipt]:
        found = await self._parts.reader.read(partial(self._queries.receipts, tx_id, 0, count))
        if found is None or len(found) != count:
            raise InvariantViolation("a final transaction of records has no receipts")
        return found

    async def answer(
        self, recorded: Sequence[tuple[Receipt, TimeStampRequest]]
    ) -> Sequence[bytes | TimeStampRefused]:
        return await self._parts.reader.read(partial(self._answer, recorded))

    def _answer(
        self, recorded: Sequence[tuple[Receipt, TimeStampRequest]]
    ) -> Sequence[bytes | TimeStampRefused]:
        return [self._answer_one(receipt, request) for receipt, request in recorded]

    def _answer_one(self, receipt: Receipt, request: TimeStampRequest) -> bytes | TimeStampRefused:
        try:
            return self._stamper.answer(receipt, request)
        except TimeStampRefused as refusal:
            return refusal
