"""What a request costs a gateway: signatures, syncs of its store, calls to the validators.

The gateway is a process of its own, before a chain of one validator whose blocks are committed at
once; one application listens to events all the while, so that what a block costs is within.
"""

from __future__ import annotations

import http.client
import json
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import cast

import pytest

from node.gateway.applications import REQUESTS_PER_MINUTE_MAX
from node.rpc.port import NodeApi
from tests.compiled import build_library
from tests.unit.cli.served import served
from tests.unit.gateway.rig import DEADLINE_S, App, Reply, Rig, digest_of
from tests.unit.rpc.fake_node import FakeNode

REPEATS = 100
SUBSCRIBERS = 5
CALLS = frozenset(name for name in vars(NodeApi) if not name.startswith("_"))


class CountedNode:
    """The validators, the calls of whose clients are counted."""

    def __init__(self, node: FakeNode) -> None:
        self._node, self.calls = node, Counter[str]()

    def __getattr__(self, name: str) -> object:
        if name in CALLS:
            self.calls[name] += 1
        return getattr(self._node, name)


@dataclass(frozen=True)
class Cost:
    """What something cost."""

    signed: int
    verified: int
    store_syncs: int
    calls: dict[str, int]


class Meter:
    """Reads the counts of a gateway that runs."""

    def __init__(self, folder: Path, node: FakeNode) -> None:
        self.node = CountedNode(node)
        self.signatures, self.syncs = folder / "signatures", folder / "syncs"
        for path in (self.signatures, self.syncs):
            path.write_bytes(bytes(16))

    def read(self) -> Cost:
        signed, verified = struct.unpack("=QQ", self.signatures.read_bytes())
        store_syncs, _others = struct.unpack("=QQ", self.syncs.read_bytes())
        return Cost(signed, verified, store_syncs, dict(self.node.calls))

    def since(self, before: Cost) -> Cost:
        now = self.read()
        return Cost(
            now.signed - before.signed,
            now.verified - before.verified,
            now.store_syncs - before.store_syncs,
            dict(Counter(now.calls) - Counter(before.calls)),
        )


class Listener:
    """An application that is told of transactions, as long as the gateway runs."""

    def __init__(self, app: App) -> None:
        self.told: Queue[str] = Queue()
        self._opened = threading.Event()
        self._thread = threading.Thread(target=self._listen, args=(app,))
        self._thread.start()
        assert self._opened.wait(DEADLINE_S)

    def _listen(self, app: App) -> None:
        target = "/v1/events?types=transaction"
        with app.connected() as connection:
            connection.request("GET", target, headers=app.signed("GET", target))
            reply = connection.getresponse()
            assert reply.status == 200, reply.read()
            assert reply.readline() == b": govchain\n"
            self._opened.set()
            try:
                while line := reply.readline():
                    if line.startswith(b"id: "):
                        self.told.put(line.decode())
            except (OSError, http.client.HTTPException):
                pass  # the gateway is stopped

    def until_told(self) -> None:
        self.told.get(timeout=DEADLINE_S)

    def join(self) -> None:
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()


@dataclass
class Measured:
    """A gateway that runs, and who asks it."""

    meter: Meter
    signing: App
    shown: App
    listener: Listener
    listeners: list[Listener]


@contextmanager
def measured_gateway(folder: Path) -> Iterator[Measured]:
    rig = Rig(folder)
    settings = rig.home / "gateway.toml"  # the log is recorded by a transaction of its own
    settings.write_text(settings.read_text().replace("log_minutes = 60", "log_minutes = 0"))
    signing = rig.app("licences", per_minute=REQUESTS_PER_MINUTE_MAX)
    shown = rig.app("portal", seed=2, p256=True, per_minute=REQUESTS_PER_MINUTE_MAX)
    shown.tls = shown.shown
    meter = Meter(folder, rig.node)
    source = Path(__file__).with_name("sync_counter.c")
    library = build_library(source, folder / "sync_counter.so", "-ldl")
    rig.program = ("tests.unit.gateway.counted", str(meter.signatures))
    rig.environment = {
        "LD_PRELOAD": str(library),
        "COUNTED_SYNCS": str(meter.syncs),
        "PYTHONPATH": str(Path(__file__).parents[3]),
    }
    listeners: list[Listener] = []
    node = cast("FakeNode", meter.node)
    with served(node, rig.net, rig.node.chain.chain_id), rig.gateway():
        listeners.append(Listener(signing))
        assert signing.record("warm", 0).status == 201  # connections are made, keys opened
        listeners[0].until_told()
        yield Measured(meter, signing, shown, listeners[0], listeners)
    for each in listeners:
        each.join()


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measured]:
    with measured_gateway(tmp_path_factory.mktemp("counted")) as made:
        yield made


NOTARIZED = {"status": 1, "submit_call": 1, "receipts": 1, "block": 1}
"""Calls: the clock, the transaction, its receipts; its block, proved for all who listen."""


def record(app: App, key: str, numbers: range) -> Reply:
    """Record documents, signed, or by the certificate of the connection."""
    if app.tls is not app.shown:
        return app.record(key, *numbers)
    body = json.dumps({"records": [{"digest": digest_of(number)} for number in numbers]}).encode()
    named = {"content-type": "application/json", "idempotency-key": key}
    return app.send("POST", "/v1/records", body, named)


@pytest.mark.parametrize("count", [1, 50])
@pytest.mark.parametrize("is_signed", [True, False], ids=["signed", "certificate"])
def test_documents_cost_one_transaction_however_many_they_are(
    measured: Measured, count: int, *, is_signed: bool
) -> None:
    app = measured.signing if is_signed else measured.shown
    before = measured.meter.read()
    assert record(app, f"{count}-once", range(count)).status == 201
    measured.listener.until_told()
    # Signed: the transaction. Checked: who asks, and two votes, of the receipt and of the block.
    # Synced: the nonce of who signed, the key, the transaction, the answer.
    expected = Cost(signed=1, verified=3, store_syncs=3 + is_signed, calls=NOTARIZED)
    assert measured.meter.since(before) == expected


@pytest.mark.parametrize("is_signed", [True, False], ids=["signed", "certificate"])
def test_repeats_cost_the_validators_nothing(measured: Measured, *, is_signed: bool) -> None:
    app, numbers = measured.signing if is_signed else measured.shown, range(100, 110)
    assert record(app, "repeated", numbers).status == 201
    measured.listener.until_told()
    before = measured.meter.read()
    for _ in range(REPEATS):
        reply = record(app, "repeated", numbers)
        assert (reply.status, reply.headers["idempotent-replayed"]) == (201, "true")
    expected = Cost(signed=0, verified=REPEATS, store_syncs=REPEATS * is_signed, calls={})
    assert measured.meter.since(before) == expected


def test_listeners_cost_what_asking_does_and_a_block_what_it_costs_for_one(
    measured: Measured,
) -> None:
    before = measured.meter.read()
    more = [Listener(measured.signing) for _ in range(SUBSCRIBERS)]
    measured.listeners += more
    asking = Cost(signed=0, verified=SUBSCRIBERS, store_syncs=SUBSCRIBERS, calls={})
    assert measured.meter.since(before) == asking
    before = measured.meter.read()
    assert record(measured.signing, "told to all", range(200, 201)).status == 201
    for each in (measured.listener, *more):
        each.until_told()
    assert measured.meter.since(before) == Cost(1, 3, 4, NOTARIZED)


def test_a_question_costs_one_call(measured: Measured) -> None:
    for app, syncs in ((measured.signing, 1), (measured.shown, 0)):
        fields = {} if app is measured.shown else app.signed("GET", "/v1/status")
        before = measured.meter.read()
        assert app.send("GET", "/v1/status", b"", fields).status == 200
        assert measured.meter.since(before) == Cost(0, 1, syncs, {"status": 1})
