"""Metrics of whoever makes anchors, for Prometheus: read from the folder when asked for."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Container, Iterator
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from node.errors import ConfigError
from node.operations.anchor_home import AnchorHome, PinnedAuthority
from node.operations.anchoring import Failing, Sight

_MS_PER_S: Final = 1_000


class AnchorMetrics(Collector):
    """The figures of one folder, and the failures since the start. Asked on any thread."""

    def __init__(
        self, home: AnchorHome, insiders: Container[str], utc_ms: Callable[[], int]
    ) -> None:
        """Read `home` by the clock `utc_ms`; authorities named as `insiders` are not outside."""
        self._home, self._insiders, self._utc_ms = home, insiders, utc_ms
        self._failures: Counter[str] = Counter()
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def note(self, authority: PinnedAuthority, seen: Sight | Failing) -> None:
        """Count a look that failed."""
        if isinstance(seen, Failing):
            self._failures[authority.name] += 1

    def describe(self) -> Iterator[Metric]:
        """Say nothing in advance."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield every figure, by authority; none where the folder names no authority any more."""
        age = GaugeMetricFamily(
            "govchain_anchor_age_seconds",
            "Since an authority outside stamped last; +Inf if it never did.",
            labels=["authority"],
        )
        made = GaugeMetricFamily("govchain_anchors", "Anchors kept.", labels=["authority"])
        waiting = GaugeMetricFamily(
            "govchain_anchors_unrecorded",
            "Of these, those whose record on the chain is still to come.",
            labels=["authority"],
        )
        failures = CounterMetricFamily(
            "govchain_anchor_failures",
            "Looks in which an authority, or the chain, did not do its part.",
            labels=["authority"],
        )
        outside = GaugeMetricFamily(
            "govchain_anchor_outside",
            "1 where certificates show nobody of the chain behind it, else 0.",
            labels=["authority"],
        )
        try:
            last_ms, kept = self._home.last_stamped_ms(), self._home.anchors()
        except ConfigError:
            last_ms, kept = {}, ()
        now_ms = self._utc_ms()
        for name, stamped_ms in last_ms.items():
            own = [each for each in kept if each.authority == name]
            age.add_metric([name], (now_ms - stamped_ms) / _MS_PER_S if stamped_ms else math.inf)
            made.add_metric([name], len(own))
            waiting.add_metric([name], sum(each.receipt is None for each in own))
            failures.add_metric([name], self._failures[name])
            outside.add_metric([name], int(name not in self._insiders))
        yield from (age, made, waiting, failures, outside)
