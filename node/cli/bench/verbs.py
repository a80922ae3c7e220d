"""`govchain bench`: its verbs and their options. What a round does is for rounds.py."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from node.cli.choice import choose_suite, suite_option
from node.cli.outputs import OutputFile, write_anew
from node.cli.screen import Answer, Screen
from node.cli.verb import CommandError, VerbGroup, verb
from node.config import HASHING
from node.limits import TX_RECORDS_MAX

if TYPE_CHECKING:
    from node.cli.bench.result import Result
    from node.cli.bench.rounds import Plan

WARM_UP_S_MAX: Final = 5
NODES_MAX: Final = 64
STREAM_OUTSTANDING_MAX: Final = 32
SATURATE_OUTSTANDING: Final = 10
"""1,000 transactions under way, as the orderers had that are compared with (bench/README.md)."""
FAILOVER_S: Final = 15
FAILOVER_S_MIN: Final = 8
FAILOVER_RATE_PER_S: Final = 200.0
RESULT_BYTES_MAX: Final = 256 * 2**20

_F = TypeVar("_F", bound=Callable[..., Any])


class _Numbers(click.ParamType[tuple[int, ...]]):
    """Whole numbers between commas, none of them twice."""

    name = "numbers"

    def __init__(self, most: int) -> None:
        self._most = most

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Read them."""
        if isinstance(value, tuple):
            return value
        words = [word.strip() for word in str(value).split(",")]
        numbers = tuple(int(word) for word in words if word.isascii() and word.isdecimal())
        distinct = len({*numbers}) == len(words)
        if not distinct or not all(1 <= number <= self._most for number in numbers):
            message = _("{text}: expected numbers from 1 to {most}, such as 4 or 4,7")
            self.fail(message.format(text=value, most=self._most), param, ctx)
        return numbers


@click.group("bench", cls=VerbGroup, help=_("What this machine can do."))
def bench() -> None:
    """Hold the verbs."""


def _options(
    *,
    nodes: str = "4",
    seconds: int = 30,
    runs: int = 3,
    batch: int = 100,
    outstanding: int = 5,
    shortest_s: int = 1,
) -> Callable[[_F], _F]:
    """Add what all rounds can be told."""

    def decorate(function: _F) -> _F:
        for option in reversed(
            (
                click.option(
                    "-n",
                    "--nodes",
                    type=_Numbers(NODES_MAX),
                    default=nodes,
                    show_default=True,
                    help=_("Validators; where there are several numbers, a network of each."),
                ),
                suite_option,
                click.option(
                    "--hashing",
                    type=click.Choice(HASHING),
                    default="auto",
                    show_default=True,
                    help=_("How validators hash many things at once; auto: kernels if installed."),
                ),
                click.option(
                    "--seconds",
                    type=click.IntRange(shortest_s, 500),
                    default=seconds,
                    show_default=True,
                    help=_("How long is measured, once warmed up."),
                ),
                click.option(
                    "--runs",
                    type=click.IntRange(1, 20),
                    default=runs,
                    show_default=True,
                    help=_("How many times; the medians are told."),
                ),
                click.option(
                    "--batch",
                    type=click.IntRange(1, 1_000),
                    default=batch,
                    show_default=True,
                    help=_("Transactions per batch."),
                ),
                click.option(
                    "--outstanding",
                    type=click.IntRange(1, STREAM_OUTSTANDING_MAX),
                    default=outstanding,
                    show_default=True,
                    help=_("Batches under way per stream."),
                ),
                click.option(
                    "--clients",
                    type=click.IntRange(1, 64),
                    default=1,
                    show_default=True,
                    help=_("Processes that generate load."),
                ),
                click.option(
                    "--to",
                    type=click.Choice(["all", "primary"]),
                    default="primary",
                    show_default=True,
                    help=_("Where each of them has a stream to."),
                ),
                click.option(
                    "--seed",
                    type=click.IntRange(0, 2**32),
                    default=1,
                    show_default=True,
                    help=_("What is submitted depends on it."),
                ),
                click.option(
                    "--limit-minutes",
                    type=click.IntRange(1, 24 * 60),
                    default=60,
                    show_default=True,
                    help=_("Give the round up if it takes longer."),
                ),
                click.option(
                    "--home",
                    type=click.Path(path_type=Path),
                    help=_("Make the network here, and keep it afterwards."),
                ),
                click.option(
                    "--report",
                    type=OutputFile(),
                    help=_("Write a page with plots here: one HTML file that needs nothing else."),
                ),
            )
        ):
            function = option(function)
        return function

    return decorate


def _rate_option(default: float | None, said: str) -> Callable[[_F], _F]:
    return click.option(
        "--rate",
        type=click.FloatRange(0.1, 1_000_000),
        default=default,
        show_default=default is not None,
        help=said,
    )


@bench.command(
    "saturate",
    help=_(
        "Make a throw-away network, load it as far as it goes, and tell what it did: signed "
        "transactions of 256 bytes with one record each, everything durable, TLS on."
    ),
)
@_options(outstanding=SATURATE_OUTSTANDING)
@click.option(
    "--unary",
    type=click.IntRange(1, 1_000),
    help=_("In place of batches, submit single transactions in so many calls at a time."),
)
@click.option(
    "--kill",
    type=click.IntRange(0, 21),
    default=0,
    show_default=True,
    help=_("Compare with the throughput while so many validators are dead, in turns."),
)
@verb("bench saturate")
def saturate(screen: Screen, *, unary: int | None, kill: int, **options: Any) -> Answer:  # noqa: ANN401 - click's
    """Load a network and report."""
    _expect_tolerated(options["nodes"], kill)
    plan = _plan(options, dead=kill)
    if unary is not None:
        plan = _with(plan, batch=1, outstanding=unary, unary=True)
    return _measure(screen, "saturate", plan, options)


@bench.command(
    "latency",
    help=_(
        "Load a network at a rate, whatever becomes of what was sent before, and tell how long "
        "it takes from when a transaction is due until it is final."
    ),
)
@_options(batch=20)
@_rate_option(None, _("Transactions per second. Default: by --share."))
@click.option(
    "--share",
    type=click.IntRange(1, 200),
    default=70,
    show_default=True,
    help=_("Percent of what the network does when saturated, which is then measured first."),
)
@verb("bench latency")
def latency(screen: Screen, *, rate: float | None, share: int, **options: Any) -> Answer:  # noqa: ANN401 - click's
    """Load at a rate and report."""
    plan = _plan(options, rate_per_s=rate, share=share / 100)
    return _measure(screen, "latency", plan, options)


@bench.command(
    "batch",
    help=_(
        "Load a network as far as it goes with batches of several sizes on a stream, then with "
        "transactions of many records, of which receipts are fetched and verified."
    ),
)
@_options()
@click.option(
    "--sizes",
    type=_Numbers(1_000),
    default="1,20,100,500",
    show_default=True,
    help=_("Transactions per batch, one size after the other; --batch does not count."),
)
@click.option(
    "--records",
    type=_Numbers(TX_RECORDS_MAX),
    default="1000,10000",
    show_default=True,
    help=_("Records per transaction, one number after the other; --batch does not count."),
)
@verb("bench batch")
def batch(screen: Screen, **options: Any) -> Answer:  # noqa: ANN401 - click's
    """Load with batches of several sizes and report."""
    plan = _plan(options, sizes=options["sizes"], records=options["records"])
    return _measure(screen, "batch", plan, options)


@bench.command(
    "catch-up",
    help=_(
        "Load a network while its last validator is dead, and tell how fast that one gets what it "
        "missed, against how fast it was made."
    ),
)
@_options(seconds=20)
@verb("bench catch-up")
def catch_up(screen: Screen, **options: Any) -> Answer:  # noqa: ANN401 - click's
    """Let a validator catch up and report."""
    _expect_tolerated(options["nodes"], 1)
    return _measure(screen, "catch-up", _plan(options), options)


@bench.command(
    "failover",
    help=_(
        "Kill the primary of a network under load, and tell for how long nothing becomes final."
    ),
)
@_options(seconds=FAILOVER_S, batch=10, shortest_s=FAILOVER_S_MIN)
@_rate_option(FAILOVER_RATE_PER_S, _("Transactions per second."))
@verb("bench failover")
def failover(screen: Screen, *, rate: float, **options: Any) -> Answer:  # noqa: ANN401 - click's
    """Kill the primary and report."""
    _expect_tolerated(options["nodes"], 1)
    return _measure(screen, "failover", _plan(options, rate_per_s=rate), options)


@bench.command("scale", help=_("Load networks of several sizes as far as they go, one by one."))
@_options(nodes="4,7,10,16")
@verb("bench scale")
def scale(screen: Screen, **options: Any) -> Answer:  # noqa: ANN401 - click's
    """Load networks of several sizes and report."""
    return _measure(screen, "scale", _plan(options), options)


@bench.command(
    "stability", help=_("Load a network at a rate for long, and tell what grows: memory above all.")
)
@_options(runs=1)
@_rate_option(None, _("Transactions per second. Default: by --share."))
@click.option(
    "--share",
    type=click.IntRange(1, 200),
    default=20,
    show_default=True,
    help=_("Percent of what the network does when saturated, which is then measured first."),
)
@click.option(
    "--minutes",
    type=click.IntRange(1, 24 * 60),
    default=30,
    show_default=True,
    help=_("How long is measured; --seconds is for the saturation before."),
)
@verb("bench stability")
def stability(
    screen: Screen,
    *,
    rate: float | None,
    share: int,
    minutes: int,
    **options: Any,  # noqa: ANN401 - click's
) -> Answer:
    """Load for long and report."""
    plan = _plan(options, rate_per_s=rate, share=share / 100, long_s=60 * minutes)
    return _measure(screen, "stability", plan, options)


@bench.command(
    "caict",
    help=_(
        "The three runs of CAICT's performance tests: pressure, a spike of twice the rate that was "
        "committed then, and a fifth of it for long."
    ),
)
@_options(nodes="4,16")
@click.option(
    "--minutes",
    type=click.IntRange(1, 24 * 60),
    default=10,
    show_default=True,
    help=_("How long the stable load is measured; --seconds is for the others."),
)
@verb("bench caict")
def caict(screen: Screen, *, minutes: int, **options: Any) -> Answer:  # noqa: ANN401 - click's
    """Load under pressure, by a spike and for long, and report."""
    return _measure(screen, "caict", _plan(options, long_s=60 * minutes), options)


@bench.command(
    "compare",
    help=_("Print the ratio of every figure of two results, as --json printed them."),
)
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@verb("bench compare")
def compare(screen: Screen, *, before: Path, after: Path) -> Answer:
    """Compare two results."""
    from node.cli.bench import result as results
    from node.cli.bench.telling import label

    earlier, later = _read(before), _read(after)
    ratios = results.compare(earlier, later)
    if not ratios:
        raise CommandError("GC-2381", _("the two have no figure of the same case in common"))
    different = results.differences(earlier, later)
    if different:
        said = _("they differ in {names}: ratios tell of that, too")
        screen.note(said.format(names=", ".join(different)))
    for name, result in ((before, earlier), (after, later)):
        for case in result.cases:
            if not case.load.get("is_quiet"):
                said = _("{path}: {case} was measured while other programs ran")
                screen.note(said.format(path=name, case=label(case)))
    labels = {case.name: label(case) for case in later.cases}
    rows = [
        (labels[each.case], each.figure, each.before, each.after,
         "-" if each.ratio is None else each.ratio)
        for each in ratios
    ]  # fmt: skip
    screen.table((_("case"), _("figure"), _("before"), _("after"), _("ratio")), rows)
    return Answer(
        {
            "differences": different,
            "ratios": [
                {
                    "case": each.case,
                    "figure": each.figure,
                    "before": each.before,
                    "after": each.after,
                    "ratio": each.ratio,
                }
                for each in ratios
            ],
        }
    )


@bench.command(
    "report",
    help=_("Write one page with plots of the given results, as --json printed them."),
)
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=OutputFile(), help=_("HTML file to write."))
@verb("bench report")
def report(screen: Screen, *, results: tuple[Path, ...], out: Path) -> Answer:
    """Write a page of results."""
    return Answer({"report": _write_report(screen, out, [_read(each) for each in results])})


def _expect_tolerated(nodes: Sequence[int], dead: int) -> None:
    from node.chain.membership import faults_tolerated

    for each in nodes:
        if dead > faults_tolerated(each):
            message = _("{nodes} validators tolerate at most {count} dead")
            raise click.UsageError(message.format(nodes=each, count=faults_tolerated(each)))


def _plan(options: dict[str, Any], **more: Any) -> Plan:  # noqa: ANN401 - of the round
    from node.cli.bench.rig import Load
    from node.cli.bench.rounds import Plan

    load = Load(
        seconds=options["seconds"],
        warm_up_s=min(WARM_UP_S_MAX, options["seconds"]),
        batch=options["batch"],
        outstanding=options["outstanding"],
        to_all=options["to"] == "all",
    )
    return Plan(nodes=options["nodes"], runs=options["runs"], load=load, **more)


def _with(plan: Plan, **load: Any) -> Plan:  # noqa: ANN401 - fields of Load
    from dataclasses import replace

    return replace(plan, load=replace(plan.load, **load))


def _measure(screen: Screen, name: str, plan: Plan, options: dict[str, Any]) -> Answer:
    """Run a round, tell what it found, and write its report."""
    from node.cli.bench.client import TRANSACTION_BYTES
    from node.cli.bench.machine import describe_machine
    from node.cli.bench.result import Result
    from node.cli.bench.rig import Field
    from node.cli.bench.rounds import ROUNDS
    from node.cli.bench.telling import tell

    suite = choose_suite(options["suite"])
    field = Field(
        screen,
        options["home"],
        suite=suite,
        hashing=options["hashing"],
        clients=options["clients"],
        seed=options["seed"],
        limit_minutes=options["limit_minutes"],
    )
    began_ms = time.time_ns() // 1_000_000
    machine = describe_machine(_standing(options["home"] or Path(tempfile.gettempdir())))
    machine["began_ms"] = began_ms
    cases = list(ROUNDS[name](field, plan))
    result = Result(
        round=name,
        machine=machine,
        settings={
            "suite": suite.name,
            "hashing": field.hashing,
            "seed": options["seed"],
            "clients": options["clients"],
            "runs": options["runs"],
            "transaction_bytes": TRANSACTION_BYTES,
        },
        cases=cases,
    )
    tell(screen, result)
    written = options["report"]
    facts = result.to_json()
    if written is not None:
        facts["report"] = _write_report(screen, written, [result])
    return Answer(facts)


def _standing(folder: Path) -> Path:
    """Return the folder, else the nearest one above it that is there."""
    return next(each for each in (folder, *folder.absolute().parents) if each.is_dir())


def _write_report(screen: Screen, out: Path, results: Sequence[Result]) -> str:
    from node.cli.bench.page.bundle import bundle

    page = bundle(results)
    write_anew(out, page)
    screen.line(_("written to {path} ({size} bytes)").format(path=out, size=len(page)))
    return str(out)


def _read(path: Path) -> Result:
    from node.cli.bench.result import NotAResultError, Result
    from node.cli.inputs import open_file
    from node.cli.kinds import MARKED, kind_of

    try:
        with open_file(path) as file:
            text = file.read(RESULT_BYTES_MAX)
        if kind_of(text) is MARKED:
            message = _("{path} is {kind}").format(path=path, kind=MARKED.name)
            raise CommandError("GC-2381", message, MARKED.fix(path))
        return Result.from_json(text)
    except OSError as error:
        raise CommandError("GC-2301", f"{path}: {error.strerror}") from error
    except NotAResultError as error:
        raise CommandError("GC-2381", f"{path}: {error}") from error
