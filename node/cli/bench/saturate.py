"""`govchain bench`: put load on a network of its own, and tell what it did and what it cost."""

from __future__ import annotations

import asyncio
import multiprocessing
import multiprocessing.connection
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from node.cli.screen import Answer, Screen
from node.cli.testnet import NODES_DEFAULT, bring_up
from node.cli.verb import CommandError, VerbGroup, verb

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from node.cli.bench.client import LoadPlan, LoadReady, LoadResult
    from node.cli.bench.report import Reading

WARM_UP_S_MAX: Final = 5
IDLE_RUNS: Final = 50

_SIGNED_IN_ADVANCE_PER_S: Final = 4_000
"""For each second of load; a faster network has the rest signed while the load runs."""
_LOAD_AFTER_S: Final = 0.5
"""Load goes on past the window, so that its end is like its beginning."""
_ANSWER_TIMEOUT_S: Final = 120.0
_STATUS_MS: Final = 2_000
_POLL_S: Final = 0.2

_T = TypeVar("_T")


@click.group("bench", cls=VerbGroup, help=_("What this machine can do."))
def bench() -> None:
    """Hold the verbs."""


@bench.command(
    "saturate",
    help=_(
        "Make a throw-away network, load it as far as it goes, and tell what it did: signed "
        "transactions of 256 bytes with one record each, everything durable, TLS on."
    ),
)
@click.option(
    "-n",
    "--nodes",
    type=click.IntRange(1, 64),
    default=NODES_DEFAULT,
    show_default=True,
    help=_("Validators."),
)
@click.option(
    "--seconds",
    type=click.IntRange(1, 500),
    default=30,
    show_default=True,
    help=_("How long is measured, once warmed up."),
)
@click.option(
    "--batch",
    type=click.IntRange(1, 1_000),
    default=100,
    show_default=True,
    help=_("Transactions per batch."),
)
@click.option(
    "--outstanding",
    type=click.IntRange(1, 32),
    default=5,
    show_default=True,
    help=_("Batches under way per stream."),
)
@click.option(
    "--clients",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help=_("Processes that generate load."),
)
@click.option(
    "--to",
    type=click.Choice(["all", "primary"]),
    default="primary",
    show_default=True,
    help=_("Where each of them has a stream to."),
)
@click.option(
    "--kill",
    type=click.IntRange(0, 21),
    default=0,
    show_default=True,
    help=_("Compare with the throughput while so many validators are dead, in turns."),
)
@click.option(
    "--rounds",
    type=click.IntRange(1, 20),
    default=3,
    show_default=True,
    help=_("How many times each is measured then; the medians are compared."),
)
@click.option(
    "--home",
    type=click.Path(path_type=Path),
    help=_("Make the network here, and keep it afterwards."),
)
@verb("bench saturate")
def saturate(screen: Screen, *, nodes: int, home: Path | None, **load: Any) -> Answer:  # noqa: ANN401 - click's
    """Load a network and report."""
    from node.chain.membership import faults_tolerated

    if load["kill"] > faults_tolerated(nodes):
        message = _("{nodes} validators tolerate at most {count} dead")
        raise click.UsageError(message.format(nodes=nodes, count=faults_tolerated(nodes)))
    warm_up_s = min(WARM_UP_S_MAX, load["seconds"])
    parameters = {"validators": nodes, "warm_up_s": warm_up_s, "idle_runs": IDLE_RUNS, **load}
    with _folder(home) as folder:
        came_up = bring_up(screen, folder, nodes, None, wait=True)
        if came_up.fault is not None:
            return came_up
        facts = _Run(screen, folder, parameters).measure()
    _show(screen, facts)
    return Answer(facts)


@contextmanager
def _folder(home: Path | None) -> Iterator[Path]:
    """Yield a folder for a network: `home`, which must hold nothing yet, else one that is removed.

    Whatever happens, nothing runs there in the end.
    """
    from node.operations.supervisor import Supervisor
    from node.operations.topology import is_network, is_vacant

    if home is not None and not is_vacant(home):
        fix = _("name a folder that is not there yet")
        raise CommandError("GC-2102", _("{home}: is not empty").format(home=home), fix)
    folder = home or Path(tempfile.mkdtemp(prefix="govchain-bench-"))
    try:
        yield folder
    finally:
        if is_network(folder):
            Supervisor(folder, lambda _step, _node: None).down()
        if home is None:
            shutil.rmtree(folder, ignore_errors=True)


class _Run:
    """One measurement of a network that serves."""

    def __init__(self, screen: Screen, folder: Path, parameters: Mapping[str, Any]) -> None:
        from node.cli.network import Network
        from node.operations.supervisor import Supervisor

        self._screen, self._folder, self._parameters = screen, folder, parameters
        self._network = Network.open(folder, None, None)
        self._supervisor = Supervisor(folder, lambda _step, _node: None)
        self._entries = self._supervisor.topology.nodes

    def measure(self) -> dict[str, Any]:
        """Return the facts of the report."""
        from node.cli.bench.client import TRANSACTION_BYTES, measure_idle
        from node.cli.bench.machine import describe_machine
        from node.cli.bench.report import latencies

        machine = describe_machine(self._folder)
        self._screen.note(_("measuring single transactions on the idle chain"))
        idle_ms = asyncio.run(measure_idle(self._network, self._parameters["idle_runs"]))
        return {
            "parameters": {**self._parameters, "transaction_bytes": TRANSACTION_BYTES},
            "machine": machine,
            "idle": latencies(idle_ms),
            **self._load(),
        }

    def _load(self) -> dict[str, Any]:
        """Put on load, and return what came of it."""
        from node.cli.bench.report import compare
        from node.operations.chaos import killed

        dead = [entry.id for entry in self._entries][
            len(self._entries) - self._parameters["kill"] :
        ]
        whole: list[dict[str, Any]] = []
        reduced: list[dict[str, Any]] = []
        signed: list[LoadReady] = []
        results: list[LoadResult] = []
        with _generators(self._plans()) as generators:
            for _round in range(self._parameters["rounds"] if dead else 1):
                signed += self._await_ready(generators)
                whole.append(self._load_once(generators, results))
                if not dead:
                    break
                signed += self._await_ready(generators)
                with killed(self._supervisor, dead):
                    reduced.append(self._load_once(generators, results, dead))
                self._until_all_caught_up()
        return {
            "load": whole[0],
            **({"dead": compare(dead, whole, reduced)} if dead else {}),
            "signing": {
                "in_advance": sum(each.signed for each in signed),
                "us_per_transaction": _us_per_transaction(signed),
                "during_load": sum(each.signed for each in results),
                "during_load_cpu_s": round(sum(each.signing_s for each in results), 2),
            },
            "disk": self._measure_disk(),
        }

    def _load_once(
        self,
        generators: Sequence[_Generator],
        results: list[LoadResult],
        dead: Collection[str] = (),
    ) -> dict[str, Any]:
        """Put on load once, and return the figures; some validators are dead meanwhile."""
        from node.cli.bench.report import summarise

        seconds = self._parameters["seconds"]
        alive = tuple(entry.id for entry in self._entries if entry.id not in dead)
        begin_s = time.monotonic() + self._parameters["warm_up_s"]
        for generator in generators:
            generator.begin(
                until_s=begin_s + seconds + _LOAD_AFTER_S,
                # Else the primary of view 0, which is never among the dead.
                validators=alive if self._parameters["to"] == "all" else alive[:1],
            )
        _wait_until(begin_s, generators)
        begin = self._read(generators, alive)
        with self._screen.progress(_("under load"), seconds) as advance:
            for second in range(1, seconds + 1):
                _wait_until(begin_s + second, generators)
                advance(1)
        end = self._read(generators, alive)
        answers = [generator.result() for generator in generators]
        results += answers
        return summarise([each for answer in answers for each in answer.samples], begin, end)

    def _until_all_caught_up(self) -> None:
        """Wait until every validator is ready, and has every block."""
        from node.rpc.port import Health, NodeStatus

        deadline_s = time.monotonic() + _ANSWER_TIMEOUT_S
        while time.monotonic() < deadline_s:
            statuses = self._network.ask(lambda client: client.statuses(_STATUS_MS)).values()
            known = [each for each in statuses if isinstance(each, NodeStatus)]
            ready = all(each.health is Health.READY for each in known)
            if ready and len(known) == len(self._entries) and len({e.height for e in known}) == 1:
                return
            time.sleep(_POLL_S)
        raise CommandError("GC-2106", _("the validators that were dead do not catch up"))

    def _plans(self) -> list[LoadPlan]:
        from node.cli.bench.client import LoadPlan

        parameters = self._parameters
        clients = parameters["clients"]
        load_s = parameters["warm_up_s"] + parameters["seconds"]
        return [
            LoadPlan(
                home=self._folder,
                loads=2 * parameters["rounds"] if parameters["kill"] else 1,
                batch=parameters["batch"],
                outstanding=parameters["outstanding"],
                transactions=int(_SIGNED_IN_ADVANCE_PER_S * load_s / clients),
            )
            for _number in range(clients)
        ]

    def _await_ready(self, generators: Sequence[_Generator]) -> list[LoadReady]:
        with self._screen.progress(_("signing transactions"), len(generators)) as advance:
            ready = []
            for generator in generators:
                ready.append(generator.ready())
                advance(1)
        return ready

    def _read(self, generators: Sequence[_Generator], alive: Collection[str]) -> Reading:
        from node.cli.bench.machine import take_reading

        pids = {
            each.entry.id: each.process.pid
            for each in self._supervisor.inspect()
            if each.process is not None and each.entry.id in alive
        }
        pids |= {f"client-{n}": generator.pid for n, generator in enumerate(generators, 1)}
        addresses = self._metrics_addresses()
        return take_reading(pids, {name: addresses[name] for name in alive})

    def _metrics_addresses(self) -> dict[str, str]:
        return {entry.id: f"{entry.host}:{entry.metrics_port}" for entry in self._entries}

    def _measure_disk(self) -> dict[str, Any]:
        """Stop the network, and return what its records take up on the disk of each validator."""
        from node.cli.bench.machine import bytes_on_disk, take_reading
        from node.cli.bench.report import COMMITTED

        metrics = take_reading({}, self._metrics_addresses()).metrics.values()
        records = max(each[COMMITTED] for each in metrics)
        self._supervisor.down()
        homes = [self._folder / entry.home for entry in self._entries]
        ledger_bytes = max(bytes_on_disk(home / "data") for home in homes)
        return {
            "records": int(records),
            "ledger_bytes_per_record": round(ledger_bytes / records, 1) if records else None,
            "log_bytes": max(bytes_on_disk(home / "wal") for home in homes),
        }


class _Generator:
    """A process that generates load, seen from here. Every answer is waited for with a limit."""

    def __init__(self, plan: LoadPlan) -> None:
        from node.cli.bench.client import generate_load

        spawn = multiprocessing.get_context("spawn")
        self._ours, theirs = spawn.Pipe()
        self._process = spawn.Process(target=generate_load, args=(plan, theirs), daemon=True)
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._process.pid or 0

    @property
    def connection(self) -> Connection:
        """Return what becomes readable when it answers or ends."""
        return self._ours

    def ready(self) -> LoadReady:
        """Wait until it is ready; raises `CommandError` if it fails instead."""
        from node.cli.bench.client import LoadReady

        return self._receive(LoadReady)

    def begin(self, *, until_s: float, validators: tuple[str, ...]) -> None:
        """Make it submit to these validators until `until_s` on the monotonic clock."""
        from node.cli.bench.client import Go

        self._ours.send(Go(until_s, validators))

    def result(self) -> LoadResult:
        """Wait for what it saw; raises `CommandError` if it failed instead."""
        from node.cli.bench.client import LoadResult

        return self._receive(LoadResult)

    def end(self) -> None:
        """Make sure that it has ended."""
        self._process.kill()
        self._process.join()
        self._ours.close()

    def _receive(self, expected: type[_T]) -> _T:
        from node.cli.bench.client import LoadFailed

        try:
            answer = self._ours.recv() if self._ours.poll(_ANSWER_TIMEOUT_S) else None
        except EOFError:
            answer = None
        if isinstance(answer, LoadFailed):
            raise CommandError(answer.code, answer.message)
        if not isinstance(answer, expected):
            raise CommandError("GC-2205", _("the load generator gave no answer"))
        return answer


@contextmanager
def _generators(plans: Sequence[LoadPlan]) -> Iterator[list[_Generator]]:
    with ExitStack() as stack:
        generators = [_Generator(plan) for plan in plans]
        for generator in generators:
            stack.callback(generator.end)
        yield generators


def _wait_until(time_s: float, generators: Sequence[_Generator]) -> None:
    """Wait for a moment; raises `CommandError` if a generator gives up before."""
    connections = [generator.connection for generator in generators]
    if multiprocessing.connection.wait(connections, max(time_s - time.monotonic(), 0)):
        for generator in generators:
            generator.result()


def _us_per_transaction(signed: Sequence[LoadReady]) -> float | None:
    count = sum(each.signed for each in signed)
    return round(sum(each.signing_s for each in signed) / count * 1e6, 1) if count else None


def _show(screen: Screen, facts: Mapping[str, Any]) -> None:
    """Say the facts to a person."""
    load, idle, machine = facts["load"], facts["idle"], facts["machine"]
    cpu = load["cpu_us_per_transaction"]
    rows = [
        (_("transactions final per second"), load["transactions_per_s"]),
        (_("submit to final, p50 / p95 / p99 ms"), _three(load["latency"])),
        (_("single one on the idle chain, p50 / p95 / p99 ms"), _three(idle)),
        *((_("CPU us per transaction, {name}").format(name=name), us) for name, us in cpu.items()),
        (_("blocks per second"), load["blocks_per_s"]),
        (_("transactions per block"), load["transactions_per_block"]),
        (_("messages between validators per block"), load["messages_per_block"]),
        (_("frames they came in"), load["frames_per_block"]),
        (_("signatures of validators per block"), load["signatures_per_block"]),
        (_("vote checks per block"), load["vote_checks_per_block"]),
        (
            _("CPU ms per block of core, messages and votes, all validators"),
            load["consensus_cpu_ms_per_block"],
        ),
        (_("syncs of the logs per block"), load["log_fsyncs_per_block"]),
        (_("bytes on disk per record and validator"), facts["disk"]["ledger_bytes_per_record"]),
        (
            _("CPU us per transaction to sign it, in advance"),
            facts["signing"]["us_per_transaction"],
        ),
        (
            _("cores used by it / by others"),
            f"{load['cpu_cores_used']} / {load['cpu_cores_used_by_others']}",
        ),
        (_("machine"), f"{machine['cores']} x {machine['cpu']}"),
        (_("disk"), f"{machine['file_system']}, fdatasync {machine['fdatasync_ms']} ms"),
        (_("versions"), f"govchain {machine['govchain']}, Python {machine['python']}"),
    ]
    if load["view_changes"]:
        rows.insert(1, (_("view changes, which no quiet machine has"), load["view_changes"]))
    if "dead" in facts:
        dead = facts["dead"]
        rows.insert(
            1,
            (
                _("the same, medians of {count} turns: all / {dead} dead / ratio").format(
                    count=len(dead["transactions_per_s"]), dead=len(dead["validators"])
                ),
                f"{dead['median_of_all']} / {dead['median']} / {dead['ratio']}",
            ),
        )
    if load["failures"]:
        rows.insert(1, (_("not accepted or not final"), load["failures"]))
    screen.table((_("figure"), _("value")), rows)


def _three(percentiles: Mapping[str, Any]) -> str:
    return " / ".join("-" if value is None else str(value) for value in percentiles.values())
