"""One network, many deaths: each cell of the matrix is died by a validator, which then comes back.

After each: no contradiction among all signatures, the same chain everywhere, a certificate with the
dead one's vote, and, from it, a receipt that verifies for everything that was acknowledged. In the
end the four ledgers, at rest, have to hold all of that (`judge_at_rest`).
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

from node.assembly import open_ledger_at_rest
from node.assembly.engines import open_database
from node.chain.admission import FinalResult
from node.chain.block import Header, ResultCode
from node.chain.certificate import Phase, QuorumCertificate, Subject, Vote
from node.chain.encoding import decode
from node.chain.evidence import Evidence
from node.config import NodeConfig
from node.crypto.keystore import KeyPurpose, load_signer
from node.crypto.suite import SHA_256
from node.errors import ClientError
from node.execution.apply import Executor
from node.limits import CERTIFICATE_BYTES_MAX
from node.operations.process import ProcessRecord, paused_processes
from node.rpc.client import LedgerClient
from node.service.home import VOTE_KEY_FILE
from node.service.log_records import BlockRecord, CommittedRecord, decode_log_record
from node.storage.ledger import LedgerStore
from node.storage.segment import parse_segment
from node.timestamp.receipt import Receipt
from node.timestamp.verify import NamedDigest, Outcome, verify_receipt
from tests.crash.cells import (
    BARRIER,
    BARRIER_BATCH,
    BLOCKS_BATCH,
    DRAFT_BATCH,
    DRAFT_END,
    EVIDENCE_BATCH,
    GENESIS_BATCH,
    LOGGED_BATCH,
    PAST_BATCH,
    PAST_END,
    START_UP,
    SWITCH,
    Cell,
    Point,
)
from tests.crash.network import TrappedNetwork
from tests.network.local_network import Load, until

REACH_S: Final = 60.0
"""How long a validator may take to come to its cell."""
PAUSE_MS: Final = 30
"""Between two transactions: a machine that is full takes longer to come to anything."""
BLOCKS_BEHIND: Final = 30
"""So many, a validator catches up with several in a turn."""
BLOCKS_LOGGED: Final = 3
"""How far the ledger is put back, for the log to bring it forward."""

FROM_SNAPSHOT: Final = (DRAFT_BATCH, DRAFT_END, SWITCH, PAST_BATCH, PAST_END)
"""Kinds that a validator comes to without its data, from genesis to a snapshot and its past."""
ORDER: Final = {
    **dict.fromkeys((GENESIS_BATCH, *FROM_SNAPSHOT), 0),
    EVIDENCE_BATCH: 1,
    BARRIER: 3,
    BARRIER_BATCH: 3,
}
"""Kinds that go before or after the rest (2): those that fetch the past while it is short, evidence
while the first epoch lasts, which ends with the first barrier."""


@dataclass(slots=True)
class Death:
    """What became of a cell."""

    cell: Cell
    victim: str
    is_killed: bool = False
    reached_s: float = 0.0
    back_s: float = 0.0
    """From the start after the death until it had voted."""
    certified_at: int = 0
    """Height of a later block in whose certificate its vote is."""
    receipts: int = 0
    findings: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether it was died, and cost nothing."""
        return self.is_killed and not self.findings


class Trial:
    """Deaths on one network, under load."""

    def __init__(self, network: TrappedNetwork) -> None:
        self._network = network
        self._load = Load(network, batch=1, pause_ms=PAUSE_MS)
        self._receipts = 0
        self._accused: list[str] = []

    @property
    def receipts(self) -> int:
        """How many of them had their receipts verified."""
        return self._receipts

    @property
    def results(self) -> Mapping[bytes, FinalResult]:
        """What a client was told is final, by tx_id."""
        return self._load.results

    async def run(self, cells: Sequence[Cell], told: Callable[[Death], None]) -> None:
        """Try every cell; at the end the network runs."""
        network = self._network
        await network.until_ready(network.ids)
        loading = asyncio.create_task(self._load.run())
        is_sound = True
        try:
            for number, cell in enumerate(sorted(cells, key=lambda c: ORDER.get(c.kind, 2))):
                victim = network.ids[number % len(network.ids)]
                death = Death(cell, victim)
                try:
                    await self._die(death)
                except (AssertionError, ClientError) as error:
                    death.findings.append(str(error))
                    await self._start_again(victim)
                told(death)
                is_sound &= death.is_sound
        finally:
            self._load.stop()
            await loading
        if is_sound:
            await self._have_receipts(network.ids[0])

    # --- to death ---

    async def _die(self, death: Death) -> None:
        cell, victim, network = death.cell, death.victim, self._network
        others = [name for name in network.ids if name != victim]
        cause = await self._lead(cell, victim, others)
        started_s = time.monotonic()
        death.is_killed = await self._ends(victim) and network.death_of(victim) == str(cell)
        death.reached_s = time.monotonic() - started_s
        if cell.point is Point.NO_SPACE and death.is_killed:
            *_, headline, where, _fix = network.log(victim)
            assert headline.startswith("error GC-3004: "), headline
            assert str(network.folder(victim) / "wal") in where, where
        if not death.is_killed:
            network.disarm(victim)
            if network.is_alive(victim):
                return
        known = len(network.signatures.contradictions)
        network.collect(victim)
        found = network.signatures.contradictions[known:]
        assert not found, "; ".join(found)
        height = await network.height()
        restarted_s = time.monotonic()
        await self._start_again(victim)
        death.certified_at = await self._certifies(victim, others, height)
        death.back_s = time.monotonic() - restarted_s
        await cause
        await self._same_chain()
        await network.until_past(victim)
        if cell.kind in FROM_SNAPSHOT and cell.kind != PAST_END:  # at which all has been fetched
            fetched = await asyncio.to_thread(network.metric, victim, "past_blocks_total")
            assert fetched, "its ledger is not made from a snapshot"
        death.receipts = await self._have_receipts(victim)
        network.collect()
        death.findings += network.signatures.contradictions[known:]

    async def _lead(self, cell: Cell, victim: str, others: list[str]) -> Awaitable[object]:
        """Bring about what the cell is about; return what is to be waited for after the death."""
        network = self._network
        none: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        none.set_result(None)
        match cell.kind:
            case kind if kind in (BARRIER, BARRIER_BATCH):
                network.arm(victim, cell)
                return asyncio.create_task(network.end_epoch(*others))
            case kind if kind == EVIDENCE_BATCH:
                network.arm(victim, cell)
                await self._accuse(next(name for name in others if name not in self._accused))
                return none
            case kind if kind == START_UP:
                network.stop(victim)
            case kind if kind == GENESIS_BATCH or kind in FROM_SNAPSHOT:
                network.stop(victim)
                shutil.rmtree(network.folder(victim) / "data")
            case kind if kind == BLOCKS_BATCH:
                network.end(victim, signal.SIGKILL)
                await network.until_height(others[0], await network.height() + BLOCKS_BEHIND)
            case kind if kind == LOGGED_BATCH:
                await self._put_ledger_back(victim)
            case _:
                network.arm(victim, cell)
                return none
        network.arm(victim, cell)
        await asyncio.to_thread(network.start, victim)
        return none

    async def _put_ledger_back(self, victim: str) -> None:
        """Restore an older copy of the database beside a log that knows what followed."""
        network = self._network
        data = network.folder(victim) / "data"
        copy = data.with_name("data.copy")
        while True:
            process = network.process(victim)
            with paused_processes([process]):  # as a crash would leave it
                shutil.copytree(data, copy)
            await network.until_height(victim, await network.height() + BLOCKS_LOGGED)
            network.end(victim, signal.SIGKILL)
            if self._log_continues(victim, copy):
                break
            shutil.rmtree(copy)  # it fetched the next block, which its log has no bodies of
            await asyncio.to_thread(network.start, victim)
            await network.until_voting(victim)
        shutil.rmtree(data)
        copy.rename(data)

    def _log_continues(self, victim: str, data: Path) -> bool:
        """Whether the log of a validator holds the block above the tip of a database."""
        genesis = self._network.genesis
        with closing(open_database(data, create=False)) as store:
            ledger = LedgerStore.open(store, genesis.suite, Executor(genesis).genesis_block())
            height = ledger.tip_height + 1
        segment = max((self._network.folder(victim) / "wal").glob("*.wal"))
        records = [
            decode_log_record(kind, payload, genesis.suite.signature_size)
            for kind, payload in parse_segment(segment.read_bytes()).records
        ]
        bodies = [r.header.height for r in records if isinstance(r, BlockRecord)]
        final = [r.item.header.height for r in records if isinstance(r, CommittedRecord)]
        return height in bodies and height in final

    async def _accuse(self, holder: str) -> None:
        """Give a validator the proof of an offence of its own, which it tells the others.

        One for each validator: a second proof of the same charge is not kept.
        """
        network = self._network
        self._accused.append(holder)
        network.stop(holder)
        config, genesis = NodeConfig.load(network.folder(holder)), network.genesis
        key = network.folder(holder) / VOTE_KEY_FILE
        signer, index = load_signer(key, network.secret, KeyPurpose.VOTE), network.index_of(holder)
        votes = []
        for digest in (bytes(32), bytes([1] * 32)):
            subject = Subject(Phase.COMMIT, 1_000_000, 1, digest)
            message = subject.sign_bytes(genesis.chain_id, genesis.validators, 5)
            votes.append(Vote(subject, index, 5, signer.sign(message), 0))
        evidence = Evidence.of(votes[0], votes[1], genesis.validators)
        with closing(open_database(config.data, create=False)) as store:
            ledger = LedgerStore.open(store, genesis.suite, Executor(genesis).genesis_block())
            ledger.keep_evidence(evidence)
        await asyncio.to_thread(network.start, holder)

    async def _ends(self, victim: str) -> bool:
        """Whether a process comes to its end in time."""
        deadline_s = time.monotonic() + REACH_S
        process = self._process(victim)
        while process is not None and process.is_alive:
            if time.monotonic() > deadline_s:
                return False
            await asyncio.sleep(0.02)
        return True

    def _process(self, victim: str) -> ProcessRecord | None:
        return next(
            each.process for each in self._network.supervisor.inspect() if each.entry.id == victim
        )

    # --- and back ---

    async def _start_again(self, victim: str) -> None:
        if not self._network.is_alive(victim):
            await asyncio.to_thread(self._network.start, victim)

    async def _certifies(self, victim: str, others: list[str], above: int) -> int:
        """Return a height above one, in whose certificate, held by others, its vote is."""
        network, index, height = self._network, self._network.index_of(victim), above + 1

        async def find() -> int | None:
            nonlocal height
            async with network.client(*others) as client:
                tip = (await client.status()).height
                while height <= tip:
                    height += 1
                    encoded = (await client.certified_header(height - 1)).certificate
                    value = decode(encoded, what="certificate", size_max=CERTIFICATE_BYTES_MAX)
                    size = network.genesis.suite.signature_size
                    votes = QuorumCertificate.from_value(value, size).votes
                    if any(vote.validator == index for vote in votes):
                        return height - 1
            return None

        return await until(find, f"a certificate with a vote of {victim}")

    async def _same_chain(self) -> None:
        statuses = await self._network.until_ready(self._network.ids)
        height = min(status.height for status in statuses.values())
        headers = await self._network.headers(height)
        assert len(set(headers.values())) == 1, f"a fork at or below {height}"

    async def _have_receipts(self, victim: str) -> int:
        """Verify, from this validator, the receipt of all that was acknowledged since the last."""
        network = self._network
        new = dict(islice(self._load.results.items(), self._receipts, None))
        if not new:
            return 0
        await network.until_height(victim, max(result.height for result in new.values()))
        async with network.client(victim) as client:
            for tx_id, result in new.items():
                assert result.code is ResultCode.OK, f"{tx_id.hex()}: {result}"
                receipts = await until(partial(_receipts_of, client, tx_id), "a receipt")
                assert len(receipts) == 1, f"{tx_id.hex()} has {len(receipts)} receipts"
                leaf = Receipt.decode(receipts[0]).leaf
                assert leaf.tx_id == tx_id, f"{tx_id.hex()} has the receipt of another"
                document = NamedDigest(SHA_256, leaf.record.digest)
                verdict = verify_receipt(receipts[0], network.anchor, document)
                assert verdict.outcome is Outcome.VERIFIED, f"{tx_id.hex()}: {verdict}"
        self._receipts += len(new)
        return len(new)


async def _receipts_of(client: LedgerClient, tx_id: bytes) -> list[bytes]:
    return [receipt async for receipt in client.receipts(tx_id)]


def judge_at_rest(network: TrappedNetwork, results: Mapping[bytes, FinalResult]) -> list[str]:
    """Stop everybody; hold ledgers and logs against what was acknowledged, and one another."""
    network.supervisor.down()
    for name in network.ids:
        network.collect(name)
    findings = list(network.signatures.contradictions)
    chains = []
    for name in network.ids:
        config = NodeConfig.load(network.folder(name))
        with open_ledger_at_rest(config, network.genesis) as (_, ledger):
            for tx_id, result in results.items():
                found = ledger.find_transaction(tx_id)
                if found is None or found[0] != result.height:
                    findings.append(f"{name}: {tx_id.hex()} of block {result.height}: {found}")
            chains.append(list(_headers(ledger)))
    for headers in zip(*chains, strict=False):
        if len(set(headers)) != 1:
            findings.append(f"a fork at height {headers[0].height}")
            break
    return findings


def _headers(ledger: LedgerStore) -> Iterator[Header]:
    for height in range(ledger.tip_height + 1):
        held = ledger.header_at(height)
        assert held is not None
        yield held[0]
