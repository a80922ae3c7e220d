"""One churn run from beginning to end, and its report."""

from __future__ import annotations

import asyncio
import os
import random
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from node.rpc.client import LedgerClient
from tests.churn.fault import Striker, Struck, draw
from tests.churn.load import BATCH, Acknowledgements, Loader
from tests.churn.proof import Ledgers, ReceiptCheck, examine_ledgers
from tests.churn.watch import Watch
from tests.network.local_network import LocalNetwork, until

STALL_S_MAX: Final = 10.0
"""The longest time without a new block that is no failure."""

_TELL_EVERY_S: Final = 10.0
_END_S_MAX: Final = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do."""

    seconds: float
    every_s: float
    """How often a fault begins, if all is as before by then."""
    seed: int
    transactions_per_s: float


@dataclass(slots=True)
class Report:
    """What was seen."""

    plan: Plan
    load_average: list[float] = field(default_factory=list)
    """Of the last minute, at the beginning and at the end."""
    seconds: float = 0.0
    blocks: int = 0
    transactions: int = 0
    acknowledged: int = 0
    receipts_verified: int = 0
    without_effect: dict[str, int] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    forks: list[str] = field(default_factory=list)
    ledgers: Ledgers | None = None
    evidence: list[str] = field(default_factory=list)
    """Validators of which another holds proof of equivocation."""
    unasked_ends: list[str] = field(default_factory=list)
    faults: list[Struck] = field(default_factory=list)
    longest_wait: dict[str, Any] = field(default_factory=dict)
    stalls: list[dict[str, Any]] = field(default_factory=list)
    """Waits of over `STALL_S_MAX`, with what doctor said."""
    observer_lag_s: float = 0.0

    def failures(self) -> list[str]:
        """Return what was not as it must be, for a person."""
        found = [f"lost: {what}" for what in self.lost]
        found += [f"fork: {what}" for what in self.forks]
        found += [f"stall: {stall}" for stall in self.stalls]
        found += [f"ended by itself: {what}" for what in self.unasked_ends]
        found += [f"equivocated: {name}" for name in self.evidence]
        found += [f"did not recover: {each}" for each in self.faults if not each.has_recovered]
        found += self.ledgers.faults if self.ledgers is not None else ["ledgers: not examined"]
        if self.receipts_verified != self.acknowledged:
            counts = f"{self.receipts_verified} of {self.acknowledged}"
            found.append(f"receipts that verify: {counts}")
        if not self.acknowledged or not self.faults:
            found.append("nothing was tried: no record acknowledged, or no fault made")
        return found

    def by_kind(self) -> dict[str, dict[str, Any]]:
        """Return median and maximum of what faults of each kind cost, in seconds."""
        kinds: dict[str, list[Struck]] = {}
        for each in self.faults:
            name = f"{each.kind} {'the primary' if each.was_primary else 'another'}"
            kinds.setdefault(name, []).append(each)
        return {
            name: {
                "count": len(struck),
                "longest_wait": _middle_and_most([each.longest_wait_s for each in struck]),
                "ready": _middle_and_most([each.ready_s for each in struck]),
                "voting": _middle_and_most([each.voting_s for each in struck]),
            }
            for name, struck in sorted(kinds.items())
        }

    def to_json(self) -> dict[str, Any]:
        """Return everything, as members of a JSON object."""
        failures = self.failures()
        facts = asdict(self)
        return {
            "passed": not failures,
            "failures": failures,
            "by_kind": self.by_kind(),
            **facts,
        }


async def churn(network: LocalNetwork, plan: Plan, say: Callable[[str], None]) -> Report:
    """Run against a network that is up; it is down afterwards. `say` is told how it goes."""
    report = Report(plan, [os.getloadavg()[0]])
    with Acknowledgements(network.home / "acknowledged") as acknowledgements:
        await _Run(network, plan, acknowledgements, report, say).run()
        await asyncio.to_thread(network.supervisor.down)
        say("auditing every ledger")
        report.ledgers = await asyncio.to_thread(examine_ledgers, network, acknowledgements)
    report.load_average.append(os.getloadavg()[0])
    return report


class _Run:
    """The part of it in which the network is up."""

    def __init__(
        self,
        network: LocalNetwork,
        plan: Plan,
        acknowledgements: Acknowledgements,
        report: Report,
        say: Callable[[str], None],
    ) -> None:
        self._network, self._plan, self._report, self._say = network, plan, report, say
        self._acknowledgements = acknowledgements

    async def run(self) -> None:
        """Load, disturb, wait until all is quiet, and fill in the report."""
        network, report = self._network, self._report
        await network.until_ready(network.ids)
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
            clients = {
                name: await stack.enter_async_context(network.client(name)) for name in network.ids
            }
            self._watch = watch = Watch(network, clients)
            self._receipts = ReceiptCheck(network, clients, self._acknowledgements)
            batches_per_s = self._plan.transactions_per_s / BATCH / len(clients)
            loaders = [
                Loader(network, name, clients, self._acknowledgements, batches_per_s)
                for name in network.ids
            ]
            background = [tasks.create_task(watch.follow(name)) for name in network.ids]
            background += [tasks.create_task(each()) for each in (watch.beat, self._tell)]
            load = [tasks.create_task(loader.run()) for loader in loaders]
            check = tasks.create_task(self._receipts.run())
            striker = Striker(network, clients, watch)
            watch.begin()
            await self._strike(striker)
            for loader in loaders:
                loader.stop()
            async with asyncio.timeout(_END_S_MAX):
                await asyncio.gather(*load)
            seconds = watch.elapsed_s
            self._receipts.stop()
            await check
            await until(self._is_together, "every validator has told of every block")
            striker.look_for_ends()
            for task in background:
                task.cancel()
            report.evidence = await self._evidence(clients)
        self._fill_in(loaders, seconds)
        report.unasked_ends = striker.unasked_ends

    async def _strike(self, striker: Striker) -> None:
        """Make faults until the time is over; one that is not recovered from is the last."""
        plan, watch = self._plan, self._watch
        randomness = random.Random(plan.seed)
        next_s = min(plan.every_s, 2.0)
        while next_s < plan.seconds:
            await asyncio.sleep(max(next_s - watch.elapsed_s, 0))
            await until(striker.all_are_ready, "nobody is down, paused or behind")
            next_s = watch.elapsed_s + plan.every_s
            fault = draw(randomness, self._network.ids, plan.every_s)
            self._say(f"{watch.elapsed_s:7.1f} s  {fault.kind} {fault.victim}, {fault.lasts_s} s")
            struck = await striker.strike(fault)
            self._report.faults.append(struck)
            if not struck.has_recovered:
                return

    async def _tell(self) -> None:
        """Say every now and then how it goes."""
        watch = self._watch
        while True:
            await asyncio.sleep(_TELL_EVERY_S)
            self._say(
                f"{watch.elapsed_s:7.1f} s  height {watch.height}, "
                f"{self._acknowledgements.count} acknowledged, "
                f"{self._receipts.verified} receipts verified, {len(self._report.faults)} faults, "
                f"longest wait {watch.longest.lasted_s:.1f} s"
            )

    async def _is_together(self) -> bool | None:
        """Return whether every validator has told of every block, None if not."""
        return len(set(self._watch.heights.values())) == 1 or None

    async def _evidence(self, clients: dict[str, LedgerClient]) -> list[str]:
        """Return which validators hold proof that one equivocated."""
        answers = await asyncio.gather(*(client.evidence() for client in clients.values()))
        return [name for each in answers for name, proofs in each.items() if proofs != ()]

    def _fill_in(self, loaders: Sequence[Loader], seconds: float) -> None:
        report, watch = self._report, self._watch
        report.seconds = round(seconds, 1)
        report.blocks, report.transactions = watch.height, watch.transactions
        report.acknowledged = self._acknowledgements.count
        report.receipts_verified, report.lost = self._receipts.verified, self._receipts.lost
        without_effect = sum((loader.without_effect for loader in loaders), Counter[str]())
        report.without_effect = dict(without_effect)
        report.forks = watch.forks
        report.longest_wait = asdict(watch.longest)
        report.stalls = [asdict(each) for each in watch.long_waits if each.lasted_s > STALL_S_MAX]
        report.observer_lag_s = round(watch.own_lag_s, 2)


def _middle_and_most(values: Sequence[float | None]) -> dict[str, float | None]:
    known = [value for value in values if value is not None]
    if not known:
        return {"median": None, "most": None}
    return {"median": round(statistics.median(known), 2), "most": max(known)}
