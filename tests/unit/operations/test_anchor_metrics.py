"""Metrics of anchors: read from the folder each time, failures counted."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from node.errors import ConfigError, NodeError
from node.operations.anchor_home import AnchorHome
from node.operations.anchor_metrics import AnchorMetrics
from node.operations.anchoring import Failing, Progress, Sight
from node.operations.topology import find_free_ports
from node.service.telemetry import serve_metrics
from tests.vectors.anchor.generate import (
    ISSUERS,
    OTHER,
    OUTSIDE,
    anchor_of,
    build_chain,
    checkpoint_of,
)


def lines(metrics: AnchorMetrics) -> list[str]:
    return generate_latest(metrics.registry).decode().splitlines()


def test_age_count_and_failures_are_told_of_each_authority(tmp_path: Path) -> None:
    home = AnchorHome(tmp_path)
    old = anchor_of(checkpoint_of(build_chain(), 3))
    now_ms = [0]
    metrics = AnchorMetrics(home, {OTHER}, lambda: now_ms[0])
    assert not any(line.startswith("govchain") for line in lines(metrics))
    for name in (OUTSIDE, OTHER):
        home.add(name, "https://tsa.example/tsr", [ISSUERS[name].root])
    kept = home.keep(OUTSIDE, "2025-10-09", old)
    now_ms[0] = kept.stamped_ms() + 90_500
    outside, other = (each for each in home.authorities()[::-1])
    metrics.note(outside, Failing(NodeError("down"), 1, 0))
    metrics.note(outside, Failing(NodeError("down"), 2, 0))
    metrics.note(other, Sight(Progress.UP_TO_DATE, None))
    for line in (
        'govchain_anchor_age_seconds{authority="outside"} 90.5',
        'govchain_anchor_age_seconds{authority="other"} +Inf',
        'govchain_anchors{authority="outside"} 1.0',
        'govchain_anchors{authority="other"} 0.0',
        'govchain_anchors_unrecorded{authority="outside"} 1.0',
        'govchain_anchor_failures_total{authority="outside"} 2.0',
        'govchain_anchor_failures_total{authority="other"} 0.0',
        'govchain_anchor_outside{authority="outside"} 1.0',
        'govchain_anchor_outside{authority="other"} 0.0',
    ):
        assert line in lines(metrics)
    home.keep_receipt(kept, b"a receipt")
    (tmp_path / "anchors" / "2025-10-10.4.outside.anchor").write_bytes(b"damaged")
    found = lines(metrics)
    assert 'govchain_anchors_unrecorded{authority="outside"} 1.0' in found
    assert 'govchain_anchor_age_seconds{authority="outside"} 90.5' in found, "the last sound one"


def test_they_are_served_until_it_is_ended(tmp_path: Path) -> None:
    metrics = AnchorMetrics(AnchorHome(tmp_path), (), lambda: 0)
    (port,) = find_free_ports("127.0.0.1", 1)
    stop = serve_metrics(metrics.registry, "127.0.0.1", port)
    with pytest.raises(ConfigError, match="cannot listen") as caught:
        serve_metrics(metrics.registry, "127.0.0.1", port)
    assert caught.value.code == "GC-2204"
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
        assert reply.status == 200
    stop()
    serve_metrics(metrics.registry, "127.0.0.1", port)()
