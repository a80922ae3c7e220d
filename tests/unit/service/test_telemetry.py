"""Metrics as Prometheus reads them over HTTP, and the log lines operators read."""

from __future__ import annotations

import asyncio
import json
import select
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from node.consensus.events import Trace
from node.errors import ConfigError
from node.rpc.peer import PeerState
from node.service import clock
from node.service import telemetry as telemetry_module
from node.service.engine import Engine, Output
from node.service.stamping.figures import OVER_QUOTA, StampFigures, StampTerms
from node.service.telemetry import LOOP_LAG_INTERVAL_MS, PeerFigures, Telemetry
from node.service.vault.keeper import VaultFigures
from tests.unit.execution.small_chain import payload, tx
from tests.unit.service.lone import Lone


@dataclass
class Running:
    """The parts that telemetry reads."""

    lone: Lone = field(default_factory=lambda: Lone(0))
    fsyncs: int = 5
    held_up_ms: int = 1_500
    batches_waiting: int = 2
    health: int = 3
    peers: Mapping[str, PeerFigures] = field(
        default_factory=lambda: {
            "validator-2": PeerState(is_connected=True, frames_sent=7, bytes_received=900),
            "validator-3": PeerState(messages_dropped=4),
        }
    )
    stamping: StampFigures | None = None
    certificate_ends_ms: Callable[[], int] | None = None
    stamp_terms: Callable[[], StampTerms] | None = None
    vault: VaultFigures | None = None

    @property
    def engine(self) -> Engine:
        return self.lone.engine


def new_telemetry() -> Telemetry:
    return Telemetry(validator_id="validator-1", chain_id=bytes(32), version="1.2.3")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def served(telemetry: Telemetry, running: Running) -> Iterator[str]:
    """Serve, and yield the URL."""
    port = free_port()
    stop = telemetry.serve("127.0.0.1", port, running)
    try:
        yield f"http://127.0.0.1:{port}/metrics"
    finally:
        stop()


def scrape(url: str) -> list[str]:
    with urllib.request.urlopen(url, timeout=10) as reply:
        content: bytes = reply.read()
    return content.decode().splitlines()


def test_a_scrape_tells_what_the_parts_counted() -> None:
    running = Running()
    running.lone.admit(tx(payload("a")), 0)
    with served(new_telemetry(), running) as url:
        lines = scrape(url)
    for line in (
        "govchain_height 0.0",
        "govchain_view_active 1.0",
        "govchain_health 3.0",
        "govchain_pool_transactions 1.0",
        "govchain_peers_connected 1.0",
        "govchain_proposals_built_total 1.0",
        "govchain_votes_signed_total 1.0",
        "govchain_fsyncs_total 5.0",
        "govchain_held_up_seconds_total 1.5",
        "govchain_consensus_cpu_seconds_total 0.0",
        "govchain_screening_cpu_seconds_total 0.0",
        "govchain_signature_checks_cpu_seconds_total 0.0",
        "govchain_execution_cpu_seconds_total 0.0",
        "govchain_ledger_cpu_seconds_total 0.0",
        'govchain_peer_frames_sent_total{peer="validator-2"} 7.0',
        'govchain_peer_bytes_received_total{peer="validator-2"} 900.0',
        'govchain_peer_messages_dropped_total{peer="validator-3"} 4.0',
    ):
        assert line in lines
    (info,) = (line for line in lines if line.startswith("govchain_node_info{"))
    assert 'validator="validator-1"' in info
    assert 'version="1.2.3"' in info


def test_a_scrape_tells_what_the_stamp_desk_counted_where_there_is_one() -> None:
    running = Running()
    with served(new_telemetry(), running) as url:
        assert not any("timestamp" in line for line in scrape(url))
        running.stamping = figures = StampFigures(requests=9, waiting=2, transactions=3)
        figures.grant(80)
        figures.grant(40_000)
        figures.refuse(OVER_QUOTA)
        lines = scrape(url)
    for line in (
        "govchain_timestamp_requests_total 9.0",
        "govchain_timestamp_granted_total 2.0",
        "govchain_timestamp_transactions_total 3.0",
        "govchain_timestamp_waiting 2.0",
        'govchain_timestamp_refused_total{reason="quota"} 1.0',
        'govchain_timestamp_refused_total{reason="time-not-available"} 0.0',
        'govchain_timestamp_seconds_bucket{le="0.075"} 0.0',
        'govchain_timestamp_seconds_bucket{le="0.1"} 1.0',
        'govchain_timestamp_seconds_bucket{le="30.0"} 1.0',
        'govchain_timestamp_seconds_bucket{le="+Inf"} 2.0',
        "govchain_timestamp_seconds_count 2.0",
        "govchain_timestamp_seconds_sum 40.08",
    ):
        assert line in lines


def test_a_scrape_tells_what_the_vault_keeps() -> None:
    running = Running()
    with served(new_telemetry(), running) as url:
        assert not any("vault" in line for line in scrape(url))
        running.vault = VaultFigures(documents=3, incomplete=1, objects_damaged=2)
        told = scrape(url)
    assert "govchain_vault_documents 3.0" in told
    assert "govchain_vault_incomplete 1.0" in told
    assert "govchain_vault_objects_damaged_total 2.0" in told


def test_a_scrape_tells_until_when_time_can_be_stamped() -> None:
    running = Running(stamp_terms=lambda: StampTerms(1_800_000_000_500))
    name = "govchain_timestamp_ends_seconds"
    with served(new_telemetry(), running) as url:
        told = [line for line in scrape(url) if line.startswith(name)]
        assert told == [f'{name}{{what="certificate"}} 1.8000000005e+09']
        running.stamp_terms = lambda: StampTerms(1_000, "org-1-tsa", 0)
        told = [line for line in scrape(url) if line.startswith(name)]
    assert told == [f'{name}{{what="certificate"}} 1.0', f'{name}{{what="identity"}} 0.0']


def test_latencies_and_traces_are_counted() -> None:
    telemetry = new_telemetry()
    telemetry.became_final(clock.monotonic_ms() - 80)
    telemetry.turned(Output(traces=[Trace("header-timely", 0, 1), Trace("header-timely", 0, 2)]))
    with served(telemetry, Running()) as url:
        lines = scrape(url)
    assert 'govchain_submit_to_final_seconds_bucket{le="0.075"} 0.0' in lines
    assert 'govchain_submit_to_final_seconds_bucket{le="10.0"} 1.0' in lines
    assert 'govchain_traces_total{rule="header-timely"} 2.0' in lines


async def test_a_blocked_loop_shows_as_lag_until_it_was_read() -> None:
    telemetry, running = new_telemetry(), Running()
    telemetry.watch_loop()

    def lag_s(url: str) -> float:
        (line,) = (line for line in scrape(url) if line.startswith("govchain_loop_lag_seconds "))
        return float(line.split()[1])

    with served(telemetry, running) as url:
        blocked = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.call_later(2 * LOOP_LAG_INTERVAL_MS / 1_000, blocked.set)
        assert lag_s(url) == 0  # on this very loop: while it is asked, nothing else runs
        until_s = loop.time() + 3 * LOOP_LAG_INTERVAL_MS / 1_000
        while loop.time() < until_s:
            pass
        await blocked.wait()
        assert lag_s(url) >= LOOP_LAG_INTERVAL_MS / 1_000


def test_a_port_in_use_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port}") as caught:
            new_telemetry().serve("127.0.0.1", port, Running())
    assert caught.value.code == "GC-2204"
    assert caught.value.fix


SPEAKER = """
import logging, sys
from node.consensus.events import Trace
from node.service.engine import Output
from node.service.logs import configure_logs
from node.service.telemetry import Telemetry

configure_logs(sys.argv[1], validator="validator-7")
telemetry = Telemetry(validator_id="validator-7", chain_id=bytes(32), version="1")
telemetry.turned(Output(traces=[Trace("view-left", 1, 9, "timeout: towards view 2")]))
telemetry.turned(Output(traces=[Trace("view-rotating", 2, 9, "rotation: towards view 3")]))
telemetry.turned(Output(traces=[Trace("header-timely", 1, 9, "too late")]))
logging.getLogger("library").warning("of %s", "a library")
logging.getLogger("library").info("too quiet")
try:
    raise ValueError("broken")
except ValueError:
    logging.getLogger("library").exception("with a cause")
"""


def spoken(level: str) -> list[dict[str, Any]]:
    """Return the log lines of a process that configured its logs."""
    ended = subprocess.run(
        [sys.executable, "-c", SPEAKER, level], capture_output=True, text=True, check=True
    )
    assert not ended.stdout
    return [json.loads(line) for line in ended.stderr.splitlines()]


def test_log_lines_are_json_and_begin_alike() -> None:
    lines = spoken("info")
    assert [(line["level"], line["event"]) for line in lines] == [
        ("warning", "view-left"),
        ("info", "view-rotating"),
        ("warning", "of a library"),
        ("error", "with a cause"),
    ]
    for line in lines:
        assert list(line)[:4] == ["timestamp", "level", "validator", "event"]
        assert line["validator"] == "validator-7"
    assert (lines[0]["view"], lines[0]["height"]) == (1, 9)
    assert lines[0]["detail"] == "timeout: towards view 2"
    assert "ValueError: broken" in lines[3]["exception"]


def test_traces_of_no_consequence_are_for_debugging() -> None:
    assert ("debug", "header-timely") in [
        (line["level"], line["event"]) for line in spoken("debug")
    ]


def test_who_says_nothing_holds_few_threads_and_not_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(telemetry_module, "SCRAPES_MAX", 2)
    monkeypatch.setattr(telemetry_module, "SCRAPE_WAIT_S", 1.0)
    port = free_port()
    stop = new_telemetry().serve("127.0.0.1", port, Running())
    try:
        with ExitStack() as stack:
            silent = [
                stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
                for _ in range(5)
            ]
            assert len(first_to_end(silent, 3)) == 3  # at once: the others have the places
            for each in silent:
                assert each.recv(1) == b""
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
            assert b"govchain_height" in reply.read()
    finally:
        stop()


def first_to_end(connections: list[socket.socket], count: int) -> list[socket.socket]:
    """Wait until so many have something to tell; return who has, at that moment."""
    poll = select.poll()
    found: list[socket.socket] = []
    for each in connections:
        poll.register(each, select.POLLIN)
    while len(found) < count:
        ready = {number for number, _ in poll.poll(10_000)}
        assert ready
        found = [each for each in connections if each.fileno() in ready]
    return found
