"""A network of its own under load: made for a round, loaded, read, and gone when that is over.

Whatever ends a round, Ctrl-C and SIGTERM too, nothing that it started runs afterwards. It listens
and calls on loopback alone. Every wait ends: a round that takes longer than its limit is given up.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from functools import partial
from gettext import gettext as _
from pathlib import Path
from types import FrameType
from typing import Any, Final

from node.chain.block import CertifiedBlock
from node.chain.state_columns import load_kernels
from node.cli.bench.client import Go, LoadReady, LoadResult, Prepare, measure_idle
from node.cli.bench.figures import BENCH, COMMITTED, Reading, Tick, Window, latencies, summarise
from node.cli.bench.generators import Generator, generators, wait_until
from node.cli.bench.machine import bytes_on_disk, take_reading, take_tick
from node.cli.chaos import current_primary
from node.cli.network import Network
from node.cli.screen import Screen
from node.cli.testnet import bring_up, make_network
from node.cli.verb import CommandError
from node.crypto.suite import Suite, document_digest_by_id
from node.errors import ClientError
from node.operations.chaos import killed
from node.operations.supervisor import Supervisor
from node.operations.topology import is_network, is_vacant
from node.rpc.client import LedgerClient
from node.rpc.port import Block, Health, NodeStatus
from node.timestamp.verify import NamedDigest

IDLE_RUNS: Final = 50
BEFORE_S: Final = 0.5
AFTER_S: Final = 0.5
"""Load goes on past the window, so that its end is like its beginning."""

_SIGNED_IN_ADVANCE_PER_S: Final = 4_000
"""For each second of a closed loop; a faster network has the rest signed while the load runs."""
_RECORDS_IN_ADVANCE_PER_S: Final = 200_000
"""The same where transactions have many."""
_SIGNED_IN_ADVANCE_MAX: Final = 240_000
"""Signing more takes so long that they would be old when they are sent."""
_OPENING_S: Final = 1.0
"""Room for when a load begins: its first batches are due once its connections are open."""
_CATCH_UP_S: Final = 120.0
_STATUS_MS: Final = 2_000
_POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How a network is loaded once."""

    seconds: int
    warm_up_s: int
    batch: int = 100
    outstanding: int = 5
    """Batches under way per validator and generator."""
    rate_per_s: float = 0.0
    """Transactions due per second from all generators; 0: as many as go."""
    to_all: bool = False
    """Whether every validator is submitted to, or the first primary alone."""
    unary: bool = False
    """Whether each batch is a call of its own, in place of a message on a stream."""
    records: int = 1
    """Of each transaction."""

    @property
    def signed_in_advance_per_s(self) -> float:
        """Return how many transactions are signed for each second of it."""
        if self.rate_per_s or self.records == 1:
            return self.rate_per_s or _SIGNED_IN_ADVANCE_PER_S
        return max(_RECORDS_IN_ADVANCE_PER_S / self.records, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One load: what was seen, and what it comes to."""

    window: Window
    figures: dict[str, Any]


class Limit:
    """Until when a round may take."""

    def __init__(self, minutes: float) -> None:
        self._minutes = minutes
        self._end_s = time.monotonic() + minutes * 60

    def check(self, more_s: float = 0.0) -> None:
        """Raise `CommandError` where the time is over, or would be `more_s` from now."""
        if time.monotonic() + more_s > self._end_s:
            message = _("the round takes longer than {minutes:g} minutes")
            fix = _("allow more, or measure less: --limit-minutes, --seconds, --runs")
            raise CommandError("GC-2380", message.format(minutes=self._minutes), fix)


class Rig:
    """A network that serves, and those who load it."""

    def __init__(
        self, screen: Screen, folder: Path, started: Sequence[Generator], seed: int, limit: Limit
    ) -> None:
        self._screen, self._folder, self._generators = screen, folder, started
        self._seed, self._limit = seed, limit
        self._network = Network.open(folder, None, None)
        self._supervisor = Supervisor(folder, lambda _step, _node: None)
        self._entries = self._supervisor.topology.nodes
        self._loads = 0
        self._signed: list[LoadReady] = []
        self._results: list[LoadResult] = []

    @property
    def validators(self) -> tuple[str, ...]:
        """Return their ids, the primary of view 0 first."""
        return tuple(entry.id for entry in self._entries)

    @property
    def primary(self) -> str:
        """Return who is primary now."""
        return current_primary(self._network)

    def measure_idle(self) -> dict[str, Any]:
        """Return how long single transactions take on the idle chain."""
        self._screen.note(_("measuring single transactions on the idle chain"))
        return latencies(asyncio.run(measure_idle(self._network, IDLE_RUNS, f"{self._seed}/idle")))

    def load(
        self,
        load: Load,
        *,
        without: Collection[str] = (),
        dead: Collection[str] = (),
        at_second: Callable[[int], None] = lambda _second: None,
    ) -> Seen:
        """Put on load once.

        `without` whom nothing is submitted to, and who is not asked for metrics; the `dead` among
        them have no process. `at_second` is called after each second of the window.
        """
        self._limit.check(load.warm_up_s + load.seconds)
        self._prepare(load)
        asked = tuple(each for each in self.validators if each not in {*without, *dead})
        pids = self._pids(dead)
        addresses = {name: self._metrics_addresses()[name] for name in asked}
        begin_s = time.monotonic() + load.warm_up_s + BEFORE_S
        go = Go(
            until_s=begin_s + load.seconds + AFTER_S,
            validators=asked if load.to_all else asked[:1],
            rate_per_s=load.rate_per_s / len(self._generators),
        )
        for generator in self._generators:
            generator.begin(go)
        wait_until(begin_s, self._generators)
        begin, ticks = take_reading(addresses), [take_tick(pids)]
        with self._screen.progress(_("under load"), load.seconds) as advance:
            for second in range(1, load.seconds + 1):
                wait_until(begin_s + second, self._generators)
                ticks.append(take_tick(pids))
                at_second(second)
                advance(1)
        end = take_reading(addresses)
        answers = [generator.result() for generator in self._generators]
        self._results += answers
        seen = _see(answers, ticks, begin, end)
        seen.figures["records_per_s"] = round(seen.figures["transactions_per_s"] * load.records, 1)
        return seen

    @contextmanager
    def dead(self, validator_ids: Sequence[str]) -> Iterator[None]:
        """Have validators killed meanwhile; afterwards all of them run and have every block."""
        with killed(self._supervisor, validator_ids):
            yield
        self.await_all()

    def await_all(self) -> None:
        """Wait until every validator is ready, and has every block."""
        deadline_s = time.monotonic() + _CATCH_UP_S
        statuses: dict[str, NodeStatus | ClientError] = {}
        while time.monotonic() < deadline_s:
            self._limit.check()
            statuses = self._network.ask(lambda client: client.statuses(_STATUS_MS))
            known = [each for each in statuses.values() if isinstance(each, NodeStatus)]
            ready = all(each.health is Health.READY for each in known)
            if ready and len(known) == len(self._entries) and len({e.height for e in known}) == 1:
                return
            time.sleep(_POLL_S)
        raise _behind("; ".join(map(_told, statuses, statuses.values())))

    def time_catch_up(self, name: str) -> dict[str, Any]:
        """Return how fast a validator, dead so far, gets what the others have: they are idle.

        The rate is from its first sign of life on, so that its start does not count; null where it
        had everything by then.
        """
        others = {each: at for each, at in self._metrics_addresses().items() if each != name}
        whole = max(each["govchain_height"] for each in take_reading(others).metrics.values())
        own = {name: self._metrics_addresses()[name]}
        began_s, deadline_s = time.monotonic(), time.monotonic() + _CATCH_UP_S
        self._supervisor.start(name)
        first: Reading | None = None
        first_tick: Tick | None = None
        reached = 0
        while time.monotonic() < deadline_s:
            self._limit.check()
            try:
                reading = take_reading(own)
            except ClientError:  # it does not listen yet
                time.sleep(_POLL_S)
                continue
            if first is None or first_tick is None:
                first, first_tick = reading, take_tick(self._pids())
            reached = int(reading.metrics[name]["govchain_height"])
            if reached >= whole:
                return _caught_up(
                    name, began_s, first, first_tick, reading, take_tick(self._pids())
                )
            time.sleep(_POLL_S)
        raise _behind(f"{name}: {reached} < {int(whole)}")

    def verify_receipts(self, count: int) -> dict[str, Any]:
        """Fetch receipts of a transaction in the newest block, `count` at most, and verify each.

        Returns what that took, in all of this process. Raises `CommandError` for one that fails.
        """
        self._limit.check()
        block = self._network.ask(_newest_block)
        transaction = CertifiedBlock.decode(block.block, self._network.suite).transactions[-1]
        began_s, began_cpu_s = time.monotonic(), time.process_time()
        receipts = self._network.ask(partial(_receipts, transaction.tx_id, count))
        fetched_s = time.monotonic()
        for receipt, record in zip(receipts, transaction.body.payload.records(), strict=False):
            digest = NamedDigest(document_digest_by_id(record.digest_algorithm), record.digest)
            verdict = self._network.verify_receipt(receipt, digest)
            if verdict.failure is not None:
                raise CommandError("GC-2305", verdict.failure.detail)
        return {
            "count": len(receipts),
            "fetching_ms": round((fetched_s - began_s) * 1_000),
            "verifying_ms": round((time.monotonic() - fetched_s) * 1_000),
            "cpu_us_each": round((time.process_time() - began_cpu_s) / len(receipts) * 1e6, 1),
        }

    def tell_signing(self) -> dict[str, Any]:
        """Return what signing the transactions cost, in advance and while they were sent."""
        count = sum(each.signed for each in self._signed)
        in_advance_s = sum(each.signing_s for each in self._signed)
        return {
            "in_advance": count,
            "us_per_transaction": round(in_advance_s / count * 1e6, 1) if count else None,
            "during_load": sum(each.signed for each in self._results),
            "during_load_cpu_s": round(sum(each.signing_s for each in self._results), 2),
        }

    def measure_disk(self) -> dict[str, Any]:
        """Stop the network, and return what its records take up on the disk of each validator."""
        metrics = take_reading(self._metrics_addresses()).metrics.values()
        records = max(each[COMMITTED] for each in metrics)
        self._supervisor.down()
        homes = [self._folder / entry.home for entry in self._entries]
        ledger_bytes = max(bytes_on_disk(home / "data") for home in homes)
        return {
            "records": int(records),
            "ledger_bytes_per_record": round(ledger_bytes / records, 1) if records else None,
            "log_bytes": max(bytes_on_disk(home / "wal") for home in homes),
        }

    def _prepare(self, load: Load) -> None:
        count = len(self._generators)
        per_s = load.signed_in_advance_per_s
        load_s = load.warm_up_s + load.seconds + _OPENING_S + BEFORE_S + AFTER_S
        self._loads += 1
        for number, generator in enumerate(self._generators, 1):
            how = Prepare(
                name=f"{self._seed}/{self._loads}/{number}",
                batch=load.batch,
                outstanding=load.outstanding,
                transactions=int(min(per_s * load_s, _SIGNED_IN_ADVANCE_MAX) / count) + load.batch,
                unary=load.unary,
                records=load.records,
            )
            generator.prepare(how)
        with self._screen.progress(_("signing transactions"), count) as advance:
            for generator in self._generators:
                self._signed.append(generator.ready())
                advance(1)

    def _pids(self, dead: Collection[str] = ()) -> dict[str, int]:
        pids = {
            each.entry.id: each.process.pid
            for each in self._supervisor.inspect()
            if each.process is not None and each.entry.id not in dead
        }
        pids |= {f"client-{n}": each.pid for n, each in enumerate(self._generators, 1)}
        return pids | {BENCH: os.getpid()}

    def _metrics_addresses(self) -> dict[str, str]:
        return {entry.id: f"{entry.host}:{entry.metrics_port}" for entry in self._entries}


class Field:
    """Where rigs are put up: `home`, which must hold nothing yet, else a folder that is removed."""

    def __init__(
        self,
        screen: Screen,
        home: Path | None,
        *,
        suite: Suite,
        hashing: str,
        clients: int,
        seed: int,
        limit_minutes: float,
    ) -> None:
        """Have networks of a suite, that hash as `NodeConfig` has it."""
        self.screen = screen
        self._suite = suite
        self.hashing = hashing
        """From the first network on, what that comes to here."""
        self._home, self._clients, self._seed = home, clients, seed
        self._limit = Limit(limit_minutes)

    @contextmanager
    def rig(self, nodes: int, *, alone: bool = True) -> Iterator[Rig]:
        """Yield a network of so many validators; `alone`: it is the only one of its round."""
        with _folder(self._home, "" if alone else f"{nodes}-validators") as folder:
            self.hashing = self._prepare_hashing()
            make_network(self.screen, folder, nodes, self._suite.name, hashing=self.hashing)
            came_up = bring_up(self.screen, folder, None, None, wait=True)
            if came_up.fault is not None:
                fault = came_up.fault
                raise CommandError(fault.code, fault.message, fault.fix)
            with generators(folder, self._clients) as started:
                yield Rig(self.screen, folder, started, self._seed, self._limit)

    def _prepare_hashing(self) -> str:
        """Say how validators will hash; kernels are compiled here first, not by each of them."""
        if self.hashing == "hashlib":
            return self.hashing
        self.screen.note(_("loading hash kernels; the first time that takes half a minute"))
        if load_kernels(self._suite):
            return "kernels"
        if self.hashing == "kernels":
            message, fix = (
                _("there are no hash kernels here"),
                _("in govchain's folder: .venv/bin/pip install -e '.[kernels]'"),
            )
            raise CommandError("GC-2384", message, fix)
        return "hashlib"


@contextmanager
def _folder(home: Path | None, part: str) -> Iterator[Path]:
    """Yield a folder for a network; nothing runs there in the end, whatever happens."""
    if home is not None and not is_vacant(home / part):
        fix = _("name a folder that is not there yet")
        raise CommandError("GC-2102", _("{home}: is not empty").format(home=home / part), fix)
    folder = Path(tempfile.mkdtemp(prefix="govchain-bench-")) if home is None else home / part
    with told_to_end_as_by_a_key():
        try:
            yield folder
        finally:
            if is_network(folder):
                Supervisor(folder, lambda _step, _node: None).down()
            if home is None:
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def told_to_end_as_by_a_key() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does, so that it leaves nothing behind either."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


async def _newest_block(client: LedgerClient) -> Block:
    return await client.block((await client.status()).height)


async def _receipts(tx_id: bytes, count: int, client: LedgerClient) -> list[bytes]:
    found: list[bytes] = []
    async with aclosing(client.receipts(tx_id)) as receipts:
        async for receipt in receipts:
            found.append(receipt)
            if len(found) == count:
                break
    return found


def _see(
    answers: Sequence[LoadResult], ticks: Sequence[Tick], begin: Reading, end: Reading
) -> Seen:
    window = Window(
        samples=[each for answer in answers for each in answer.samples],
        ticks=ticks,
        begin=begin,
        end=end,
        clients=frozenset(f"client-{n}" for n in range(1, len(answers) + 1)),
    )
    return Seen(window=window, figures=summarise(window))


def _caught_up(  # noqa: PLR0917 - two moments, and what was seen at each
    name: str, began_s: float, first: Reading, first_tick: Tick, last: Reading, last_tick: Tick
) -> dict[str, Any]:
    fetched = last.metrics[name][COMMITTED] - first.metrics[name][COMMITTED]
    took_s = last.time_s - first.time_s
    cpu_s = last_tick.cpu_s[name] - first_tick.cpu_s[name]
    return {
        "whole_after_ms": round((last.time_s - began_s) * 1_000),
        "transactions": int(last.metrics[name][COMMITTED]),
        "transactions_per_s": round(fetched / took_s, 1) if fetched else None,
        "cpu_us_per_transaction": round(cpu_s * 1e6 / fetched, 1) if fetched else None,
    }


def _behind(how_far: str) -> CommandError:
    message = _("the validators that were dead do not catch up: {how_far}")
    return CommandError("GC-2106", message.format(how_far=how_far))


def _told(name: str, status: NodeStatus | ClientError) -> str:
    if isinstance(status, ClientError):
        return f"{name}: {status}"
    return f"{name}: {status.height} {status.health.name} {status.health_detail}".rstrip()
