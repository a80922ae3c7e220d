"""What a validator tells those who watch it: metrics for Prometheus, traces for the log.

Nothing is counted twice: a scrape reads the counters that the running parts keep anyway, so the hot
path pays for one histogram alone. No rules may live here.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import Any, Final, Protocol

import structlog
from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from node.errors import ConfigError
from node.service import clock
from node.service.engine import Engine, Output
from node.service.stamping.figures import LATENCY_S, StampFigures, StampTerms
from node.service.vault.keeper import VaultFigures

LOOP_LAG_INTERVAL_MS: Final = 100
RULES_TO_WARN_OF: Final = frozenset(
    {
        "view-left",
        "passed-over",
        "view-entered",
        "epoch-begun",
        "epoch-followed",
        "log-ahead",
        "clock-unfit",
        "clock-fit",
        "view-degraded",
        "equivocation",
        "proposal-invalid",
        "execution-differs",
        "peer-cut-off",
        "snapshot-given-up",
        "past-false",
    }
)
"""Traces worth an operator's attention."""
RULES_TO_TELL_OF: Final = frozenset(
    {"view-rotating", "view-rotated", "snapshot-begun", "snapshot-complete", "past-whole"}
)
"""What is worth knowing and means no fault; all others are for debugging."""

SCRAPES_MAX: Final = 32
"""Connections for metrics served at once, a thread each; one more is closed as it comes."""
SCRAPE_WAIT_S: Final = 10.0
"""How long such a connection may keep its thread waiting, to ask or to take the answer."""

_NS_PER_S: Final = 1_000_000_000
_MS_PER_S: Final = 1_000


class PeerFigures(Protocol):
    """What passed between this validator and one peer since the start."""

    is_connected: bool
    frames_sent: int
    messages_sent: int
    bytes_sent: int
    frames_received: int
    messages_received: int
    bytes_received: int
    messages_dropped: int
    bytes_dropped: int


class Figures(Protocol):
    """What telemetry asks of the running parts at a scrape."""

    @property
    def engine(self) -> Engine:
        """The validator."""

    @property
    def fsyncs(self) -> int:
        """Syncs of the write-ahead log since the start."""

    @property
    def held_up_ms(self) -> int:
        """For how long this process did not run since the start."""

    @property
    def batches_waiting(self) -> int:
        """Transactions somebody waits for."""

    @property
    def health(self) -> int:
        """Number of the validator's health on the wire."""

    @property
    def peers(self) -> Mapping[str, PeerFigures]:
        """Figures of every peer by validator id."""

    @property
    def stamping(self) -> StampFigures | None:
        """What the stamp desk counted; None where the node has none."""

    @property
    def vault(self) -> VaultFigures | None:
        """What the keeper of the vault counted; None where the node has none."""

    @property
    def certificate_ends_ms(self) -> Callable[[], int] | None:
        """Tells when the certificate that the node shows ends (UTC); None where it shows none."""

    @property
    def stamp_terms(self) -> Callable[[], StampTerms] | None:
        """What tells until when the node can stamp time; None where it cannot."""


_CPU_OF: Final = {
    "consensus": "CPU time of core, codec, vote checks and signatures.",
    "screening": "CPU time of decoding transactions, and of judging them but for signatures.",
    "signature_checks": "CPU time of checking the signatures of transactions.",
    "execution": "CPU time of executing blocks.",
    "ledger": "CPU time of writing what became final.",
}


class Telemetry:
    """The figures of one validator; also the runner's `Observer`."""

    def __init__(self, *, validator_id: str, chain_id: bytes, version: str) -> None:
        self.registry = CollectorRegistry()
        self._identity = {
            "validator": validator_id, "chain_id": chain_id.hex(), "version": version
        }  # fmt: skip
        self._log = structlog.get_logger()
        self._traces_by_rule: dict[str, int] = {}
        self._lag = _LoopLag()
        self._final_latency = Histogram(
            "govchain_submit_to_final_seconds",
            "From the submission of a batch to the finality of its last transaction here.",
            buckets=LATENCY_S,
            registry=self.registry,
        )
        ProcessCollector(registry=self.registry)

    def serve(self, host: str, port: int, figures: Figures) -> Callable[[], None]:
        """Serve metrics over HTTP, on a thread of its own; return what ends that.

        Raises `ConfigError` where the address is not to be had.
        """
        self.registry.register(_Scrape(self._identity, figures, self._traces_by_rule, self._lag))
        return serve_metrics(self.registry, host, port)

    def watch_loop(self) -> None:
        """Begin to measure how late the running event loop gets to what is due."""
        self._lag.start(asyncio.get_running_loop())

    def turned(self, output: Output) -> None:
        """Log the traces of a turn."""
        for trace in output.traces:
            rule = trace.rule
            self._traces_by_rule[rule] = self._traces_by_rule.get(rule, 0) + 1
            if rule in RULES_TO_WARN_OF:
                say = self._log.warning
            else:
                say = self._log.info if rule in RULES_TO_TELL_OF else self._log.debug
            say(rule, view=trace.view, height=trace.height, detail=trace.detail)

    def became_final(self, submitted_ms: int) -> None:
        """Note that a whole batch submitted at monotonic `submitted_ms` is final."""
        self._final_latency.observe((clock.monotonic_ms() - submitted_ms) / 1_000)


def serve_metrics(registry: CollectorRegistry, host: str, port: int) -> Callable[[], None]:
    """Serve what is registered over HTTP, on a thread of its own; return what ends that.

    Raises `ConfigError` where the address is not to be had.
    """
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}:{port}: {error.strerror}",
            code="GC-2204",
            fix="stop the program that uses the port, or have metrics at another address",
        ) from error

    server.RequestHandlerClass = _bounded(server.RequestHandlerClass)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop


def _bounded(handler: Any) -> Any:  # noqa: ANN401 - a class that the library makes
    """Return a handler of requests that serves `SCRAPES_MAX` at once, and waits for nobody long."""
    places = threading.BoundedSemaphore(SCRAPES_MAX)

    class Bounded(handler):  # type: ignore[misc]  # as above
        timeout = SCRAPE_WAIT_S

        def handle(self) -> None:
            if places.acquire(blocking=False):
                try:
                    super().handle()
                finally:
                    places.release()

    return Bounded


class _LoopLag:
    """The worst delay of the event loop since it was last asked for."""

    def __init__(self) -> None:
        self._worst_s = 0.0

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        due_s = loop.time() + LOOP_LAG_INTERVAL_MS / 1_000

        def wake() -> None:
            self._worst_s = max(self._worst_s, loop.time() - due_s)
            self.start(loop)

        loop.call_at(due_s, wake)

    def take_worst_s(self) -> float:
        worst_s, self._worst_s = self._worst_s, 0.0
        return worst_s


class _Scrape(Collector):
    """Reads the counters of the running parts when Prometheus asks, on its thread."""

    def __init__(
        self,
        identity: dict[str, str],
        figures: Figures,
        traces_by_rule: dict[str, int],
        lag: _LoopLag,
    ) -> None:
        self._identity, self._figures = identity, figures
        self._traces_by_rule, self._lag = traces_by_rule, lag

    def describe(self) -> Iterator[Metric]:
        """Say nothing in advance: what there is to say depends on the parts running."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield every figure."""
        yield InfoMetricFamily("govchain_node", "Who this validator is.", self._identity)
        yield from self._gauges()
        yield from self._counters()
        yield from self._peers()
        if self._figures.certificate_ends_ms is not None:
            yield GaugeMetricFamily(
                "govchain_certificate_ends_seconds",
                "When the node's TLS certificate ends, in seconds since 1970 UTC: alarm 30, 7 and "
                "1 days before that.",
                self._figures.certificate_ends_ms() / _MS_PER_S,
            )
        if self._figures.stamping is not None:
            yield from _stamping(self._figures.stamping)
        if self._figures.stamp_terms is not None:
            yield _stamping_ends(self._figures.stamp_terms())
        if self._figures.vault is not None:
            yield from _vault(self._figures.vault)
        traces = CounterMetricFamily(
            "govchain_traces", "Transitions and refusals of consensus.", labels=["rule"]
        )
        for rule, count in tuple(self._traces_by_rule.items()):
            traces.add_metric([rule], count)
        yield traces

    def _gauges(self) -> Iterator[Metric]:
        figures, engine = self._figures, self._figures.engine
        progress, verdict = engine.snapshot_progress, engine.clock_fitness.judge()
        for name, text, value in (
            ("height", "Height of the newest final block.", engine.height),
            ("epoch", "The epoch in force.", engine.term.epoch.number),
            ("is_member", "1 where it decides, 0 where it follows.", int(engine.term.is_member)),
            ("view", "The view this validator is in.", engine.core.view),
            ("view_active", "1 in a view, 0 between views.", int(engine.core.view_active)),
            ("health", "1 starting, 2 catching up, 3 ready, 4 halted.", figures.health),
            ("pool_transactions", "Transactions held.", engine.mempool.pending_count),
            ("pool_bytes", "Their encoded size.", engine.mempool.pending_bytes),
            ("missing_blocks", "Blocks of the past not here yet.", engine.missing_blocks),
            (
                "snapshot_percent",
                "How far the state is that is fetched instead of blocks; 100 if none is.",
                100 if progress is None else progress.state_percent,
            ),
            ("clock_fit", "1 where the clock may vouch for T.", int(verdict.is_fit)),
            ("clock_unfit_cause", "Why not: see UnfitCause.", int(verdict.cause)),
            ("time_degraded", "1 while no T is vouched for.", int(engine.core.is_degraded)),
            ("evidence", "Proofs of misbehaviour held.", len(engine.evidence)),
            ("waited_for_transactions", "Transactions clients wait for.", figures.batches_waiting),
            (
                "peers_connected",
                "Peers that messages go out to.",
                sum(peer.is_connected for peer in figures.peers.values()),
            ),
            (
                "loop_lag_seconds",
                "Worst delay of the event loop since the last scrape.",
                self._lag.take_worst_s(),
            ),
        ):
            yield GaugeMetricFamily(f"govchain_{name}", text, value)

    def _counters(self) -> Iterator[Metric]:
        counters = self._figures.engine.counters
        for name, text, value in (
            ("blocks_committed", "Blocks made final.", counters.blocks_committed),
            ("transactions_committed", "Transactions made final.", counters.txs_committed),
            ("proposals_built", "Blocks proposed as primary.", counters.proposals_built),
            ("votes_signed", "Votes cast.", counters.votes_signed),
            (
                "votes_checked",
                "Votes of others that were checked.",
                counters.votes_checked,
            ),
            ("messages_refused", "Peer messages that broke a rule.", counters.messages_refused),
            ("bodies_asked", "Requests for missing transactions.", counters.bodies_asked),
            (
                "transactions_passed_over",
                "Transactions passed on by peers while this node was behind, not looked at.",
                counters.txs_passed_over,
            ),
            ("blocks_synced", "Blocks fetched instead of voted on.", counters.blocks_synced),
            *(
                (f"{name}_cpu_seconds", _CPU_OF[name], effort.spent_ns / _NS_PER_S)
                for name, effort in counters.efforts.named()
            ),
            (
                "held_up_seconds",
                "Time in which this process did not run; no wait for others counts it.",
                self._figures.held_up_ms / 1_000,
            ),
            ("snapshot_pieces", "Pieces of a snapshot received.", counters.snapshot_pieces),
            ("past_blocks", "Blocks fetched after a snapshot.", counters.past_blocks),
            ("fsyncs", "Syncs of the write-ahead log.", self._figures.fsyncs),
        ):
            yield CounterMetricFamily(f"govchain_{name}", text, value)

    def _peers(self) -> Iterator[Metric]:
        peers = self._figures.peers
        for name, text in (
            ("frames_sent", "Frames sent to a peer."),
            ("messages_sent", "Messages in them."),
            ("bytes_sent", "Bytes of these messages."),
            ("frames_received", "Frames received from a peer."),
            ("messages_received", "Messages in them."),
            ("bytes_received", "Bytes of these messages."),
            ("messages_dropped", "Messages to a peer that were not sent."),
            ("bytes_dropped", "Bytes of these messages."),
        ):
            family = CounterMetricFamily(f"govchain_peer_{name}", text, labels=["peer"])
            for validator_id, figures in peers.items():
                family.add_metric([validator_id], getattr(figures, name))
            yield family


def _stamping(figures: StampFigures) -> Iterator[Metric]:
    for name, text, value in (
        ("requests", "Requests for time stamps.", figures.requests),
        ("granted", "Tokens that left.", figures.granted),
        ("transactions", "Transactions that recorded requests.", figures.transactions),
    ):
        yield CounterMetricFamily(f"govchain_timestamp_{name}", text, value)
    refused = CounterMetricFamily(
        "govchain_timestamp_refused", "Requests that got no token.", labels=["reason"]
    )
    for reason, count in figures.refused.items():
        refused.add_metric([reason], count)
    yield refused
    waiting = "Requests whose records are not final yet."
    yield GaugeMetricFamily("govchain_timestamp_waiting", waiting, figures.waiting)
    ends = [*map(str, LATENCY_S), "+Inf"]
    yield HistogramMetricFamily(
        "govchain_timestamp_seconds",
        "From a request to its token.",
        buckets=list(zip(ends, accumulate(figures.latency_counts), strict=True)),
        sum_value=figures.latency_ms / _MS_PER_S,
    )


def _vault(figures: VaultFigures) -> Iterator[Metric]:
    for name, text, value in (
        ("documents", "Documents kept here.", figures.documents),
        ("incomplete", "Of these, documents of which something is missing.", figures.incomplete),
    ):
        yield GaugeMetricFamily(f"govchain_vault_{name}", text, value)
    for name, text, value in (
        ("objects_fetched", "Objects fetched from other nodes.", figures.objects_fetched),
        ("bytes_fetched", "Their bytes.", figures.bytes_fetched),
        ("objects_damaged", "Objects found damaged: alarm at any.", figures.objects_damaged),
        ("documents_destroyed", "Documents destroyed here.", figures.documents_destroyed),
    ):
        yield CounterMetricFamily(f"govchain_vault_{name}", text, value)


def _stamping_ends(terms: StampTerms) -> Metric:
    ends = GaugeMetricFamily(
        "govchain_timestamp_ends_seconds",
        "When what the node stamps time by ends, in seconds since 1970 UTC: alarm before that.",
        labels=["what"],
    )
    ends.add_metric(["certificate"], terms.certificate_ends_ms / _MS_PER_S)
    if terms.identity:
        ends.add_metric(["identity"], terms.identity_ends_ms / _MS_PER_S)
    return ends
