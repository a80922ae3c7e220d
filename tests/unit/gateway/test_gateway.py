"""The gateway as its own process: who is let in, what is done once, what is told and noted."""

from __future__ import annotations

import base64
import json
import secrets
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.chain.transaction import Transaction
from node.gateway.http_signature import content_digest
from node.operations.topology import find_free_ports
from node.timestamp.trust import TrustFile
from tests.unit.cli.command import CHINESE, run
from tests.unit.gateway.rig import App, Reply, Rig, digest_of


class Running:
    """A gateway that runs, and three applications."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.app = rig.app("licences")
        self.portal = rig.app("portal", seed=2, p256=True)
        self.reader = rig.app("reader", "read", seed=3)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    rig = Rig(tmp_path_factory.mktemp("rig"))
    made = Running(rig)
    with rig.running():
        yield made
    assert rig.process is not None
    assert rig.process.returncode == 0


def fresh() -> str:
    return secrets.token_hex(8)


def expect(reply: Reply, status: int, code: str) -> None:
    assert (reply.status, reply.json["code"]) == (status, code), reply
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json["status"] == status
    assert reply.json["type"] == f"urn:govchain:error:{code}"
    assert reply.json["title"]
    assert reply.json["fix"]


# --- Who is let in ---


def test_a_signature_or_a_certificate_lets_an_application_in(running: Running) -> None:
    for app in (running.app, running.portal):
        assert app.ask("GET", "/v1/status").status == 200
    portal = running.portal
    assert portal.send("GET", "/v1/status", b"", {}, portal.shown).status == 200


def test_nobody_else_is_let_in(running: Running) -> None:
    app = running.app
    expect(app.send("GET", "/v1/status", b"", {}), 401, "GC-2701")
    stranger = App("licences", type(app.signer).from_secret(bytes([9]) * 32), port=app.port)
    stranger.tls = app.tls
    reply = stranger.ask("GET", "/v1/status")
    expect(reply, 401, "GC-2701")
    assert reply.headers["www-authenticate"].startswith("Signature")


def test_a_signature_counts_once(running: Running) -> None:
    fields = running.app.signed("GET", "/v1/status")
    assert running.app.send("GET", "/v1/status", b"", fields).status == 200
    expect(running.app.send("GET", "/v1/status", b"", fields), 401, "GC-2701")


@pytest.mark.parametrize("seconds", [-75, 75])
def test_a_signature_of_another_time_does_not_count(running: Running, seconds: int) -> None:
    fields = running.app.signed("GET", "/v1/status", created_s=int(time.time()) + seconds)
    reply = running.app.send("GET", "/v1/status", b"", fields)
    expect(reply, 401, "GC-2701")
    assert "within 60 s" in reply.json["detail"]


def test_what_was_signed_is_what_counts(running: Running) -> None:
    app = running.app
    body = json.dumps({"records": [{"digest": digest_of(1)}]}).encode()
    named = {"content-type": "application/json", "idempotency-key": fresh()}
    fields = app.signed("POST", "/v1/records", body, named)
    other = body.replace(b"a", b"b", 1)
    expect(app.send("POST", "/v1/records", other, fields), 401, "GC-2701")
    lying = fields | {"content-digest": content_digest(other)}
    expect(app.send("POST", "/v1/records", other, lying), 401, "GC-2701")
    renamed = fields | {"idempotency-key": fresh()}
    expect(app.send("POST", "/v1/records", body, renamed), 401, "GC-2701")
    query = app.signed("GET", "/v1/records?limit=1")
    expect(app.send("GET", "/v1/records?limit=2", b"", query), 401, "GC-2701")
    elsewhere = app.signed("GET", "/v1/status") | {"host": "other.example"}
    expect(app.send("GET", "/v1/status", b"", elsewhere), 421, "GC-2001")


def test_an_application_does_what_it_was_given(running: Running) -> None:
    reader = running.reader
    assert reader.ask("GET", "/v1/status").status == 200
    expect(reader.record(fresh(), 1), 403, "GC-2702")
    expect(reader.ask("GET", "/v1/events"), 403, "GC-2702")


def test_who_is_removed_is_refused_from_the_next_request_on(running: Running) -> None:
    guest = running.rig.app("guest", seed=4, p256=True)
    guest.port = running.app.port
    assert guest.ask("GET", "/v1/status").status == 200
    assert guest.send("GET", "/v1/status", b"", {}, guest.shown).status == 200
    assert run("gateway", "app", "remove", running.rig.home, "guest").code == 0
    expect(guest.ask("GET", "/v1/status"), 401, "GC-2701")
    expect(guest.send("GET", "/v1/status", b"", {}, guest.shown), 401, "GC-2701")


def test_who_asks_too_often_is_told_when_to_come_back(running: Running) -> None:
    busy = running.rig.app("busy", seed=5)
    busy.port = running.app.port
    assert run("gateway", "app", "add", running.rig.home, "busy", "--per-minute", 1).code == 0
    assert busy.ask("GET", "/v1/status").status == 200
    reply = busy.ask("GET", "/v1/status")
    expect(reply, 429, "GC-2703")
    assert 1 <= int(reply.headers["retry-after"]) <= 60


# --- Recording ---


def test_a_request_is_carried_out_once(running: Running) -> None:
    app, key = running.app, fresh()
    first = app.record(key, 11, 12, type="licence")
    assert first.status == 201
    again = app.record(key, 11, 12, type="licence")
    assert (again.status, again.body) == (201, first.body)
    assert again.headers["idempotent-replayed"] == "true"
    assert running.rig.node.documents[bytes.fromhex(digest_of(11))] == 1
    expect(app.record(key, 11), 422, "GC-2704")
    assert running.portal.record(key, 13).status == 201  # another's key is another key


@pytest.mark.parametrize("key", [None, "", "x" * 129, 'a"b'])
def test_an_idempotency_key_is_needed_and_bounded(running: Running, key: str | None) -> None:
    fields = {} if key is None else {"idempotency_key": key}
    value = {"records": [{"digest": digest_of(1)}]}
    expect(running.app.ask("POST", "/v1/records", value, **fields), 400, "GC-2704")


def test_receipts_are_given_and_verified(running: Running) -> None:
    app = running.app
    made = app.record(fresh(), 21, 22).json
    receipt = app.ask("GET", made["records"][1]["receipt"])
    assert (receipt.status, receipt.headers["content-type"]) == (200, "application/cbor")
    assert app.ask("GET", f"/v1/receipts?digest={digest_of(22)}").body == receipt.body
    encoded = base64.b64encode(receipt.body).decode()
    for number, outcome in ((22, "VERIFIED"), (23, "NOT_VERIFIED")):
        asked = {"receipt": encoded, "digest": digest_of(number)}
        verdict = app.ask("POST", "/v1/verifications", asked)
        assert (verdict.status, verdict.json["outcome"]) == (200, outcome)
    expect(app.ask("GET", f"/v1/receipts?digest={'0' * 64}"), 404, "GC-2203")


def test_what_the_chain_refuses_is_told_by_its_code(running: Running) -> None:
    app = running.app
    value = {
        "records": [{"digest": digest_of(31), "reference": "never-recorded"}],
        "action": "withdraw",
    }
    reply = app.ask("POST", "/v1/records", value, idempotency_key=fresh())
    expect(reply, 422, "GC-2307")
    assert "REFERENCE_NOT_IN_FORCE" in reply.json["detail"]


def test_a_transaction_that_the_application_signed_is_handed_in(running: Running) -> None:
    app, sent = running.app, list[Transaction]()
    running.rig.node.after_commit = sent.append
    app.record(fresh(), 41)
    running.rig.node.after_commit = lambda _transaction: None
    named = {"content-type": "application/cbor"}
    fields = app.signed("POST", "/v1/transactions", sent[0].encoded, named)
    reply = app.send("POST", "/v1/transactions", sent[0].encoded, fields)
    assert (reply.status, reply.json["transaction"]) == (200, sent[0].tx_id.hex())
    fields = app.signed("POST", "/v1/transactions", b"\x80", named)
    expect(app.send("POST", "/v1/transactions", b"\x80", fields), 400, "GC-1001")


def test_numbers_of_people_in_references_are_masked_where_records_are_listed(
    running: Running,
) -> None:
    app = running.app
    record = {"digest": digest_of(61), "reference": "case of 13800138000"}
    value = {"records": [record], "type": "masked"}
    made = app.ask("POST", "/v1/records", value, idempotency_key=fresh())
    assert made.status == 201, made
    (listed,) = app.ask("GET", "/v1/records?type=masked").json["records"]
    assert listed["reference"] == "case of 138****8000"
    receipt = app.ask("GET", made.json["records"][0]["receipt"])
    assert b"13800138000" in receipt.body, "what is verified is not masked"


def test_pages_are_bounded_and_follow_each_other(running: Running) -> None:
    app = running.app
    app.record(fresh(), *range(51, 56), type="paged")
    seen, target = [], "/v1/records?type=paged&limit=2"
    page: str | None = ""
    while page is not None:
        reply = app.ask("GET", target + (f"&page={page}" if page else ""))
        assert len(reply.json["records"]) <= 2
        seen += [each["digest"] for each in reply.json["records"]]
        page = reply.json["next"]
    assert seen == [f"sha-256:{digest_of(number)}" for number in range(51, 56)]
    for wrong in (
        "limit=0",
        "limit=1001",
        "limit=x",
        "limit=1&limit=2",
        "other=1",
        "page=%20",
        "to_ms=null",
        "limit=01",
    ):
        expect(app.ask("GET", f"/v1/records?{wrong}"), 400, "GC-2001")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"records":[]}',
        b'{"records":[{"digest":"00"}]}',
        b'{"records":[{"digest":"%b","x":1}]}' % (b"0" * 64),
        b'{"records":[{"digest":"%b","reference":"\\u0000"}]}' % (b"0" * 64),
        b'{"records":[{"digest":"%b"}],"action":"withdraw"}' % (b"0" * 64),
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_bodies_are_read_strictly(running: Running, body: bytes) -> None:
    named = {"content-type": "application/json", "idempotency-key": fresh()}
    fields = running.app.signed("POST", "/v1/records", body, named)
    reply = running.app.send("POST", "/v1/records", body, fields)
    assert (reply.status, reply.json["status"]) == (400, 400), reply


def test_bodies_are_bounded_and_of_the_right_type(running: Running) -> None:
    app, body = running.app, b" " * 2_097_153
    named = {"content-type": "application/json", "idempotency-key": fresh()}
    reply = app.send("POST", "/v1/records", body, app.signed("POST", "/v1/records", body, named))
    expect(reply, 413, "GC-2001")
    named["content-type"] = "text/plain"
    reply = app.send("POST", "/v1/records", b"x", app.signed("POST", "/v1/records", b"x", named))
    expect(reply, 415, "GC-2001")
    fields = app.signed("GET", "/v1/status", b"x")
    expect(app.send("GET", "/v1/status", b"x", fields), 413, "GC-2001")
    expect(app.ask("DELETE", "/v1/records"), 405, "GC-2001")
    expect(app.ask("GET", "/v2/records"), 404, "GC-2001")


def test_the_page_of_the_api_is_given_to_anybody(running: Running) -> None:
    reply = running.app.send("GET", "/v1/openapi.json", b"", {})
    assert reply.body == Path("proto/openapi.json").read_bytes()
    assert running.app.send("GET", "/healthz", b"", {}).status == 200


def test_a_gateway_is_asked_whether_it_serves(running: Running, tmp_path: Path) -> None:
    asked = run("gateway", "health", running.rig.home, "--json")
    assert (asked.code, asked.json["home"]) == (0, str(running.rig.home))
    profile = running.rig.net / "clients/agency-1/profile.toml"
    (port,) = find_free_ports("127.0.0.1", 1)
    listen = ("--listen", f"127.0.0.1:{port}")
    assert run("gateway", "init", tmp_path / "other", "--profile", profile, *listen).code == 0
    silent = run("gateway", "health", tmp_path / "other", "--json")
    assert silent.json["error"]["code"] == "GC-2315"
    # What listens there must prove to be this gateway.
    settings = tmp_path / "other/gateway.toml"
    theirs = f"127.0.0.1:{running.app.port}"
    settings.write_text(settings.read_text().replace(f"127.0.0.1:{port}", theirs))
    another = run("gateway", "health", tmp_path / "other", "--json")
    assert another.json["error"]["code"] == "GC-2315"
    assert "CERTIFICATE_VERIFY_FAILED" in another.json["error"]["message"]


# --- What happens ---


def read_events(app: App, target: str, count: int, last: str | None = None) -> list[dict[str, str]]:
    fields = app.signed("GET", target, fields={} if last is None else {"last-event-id": last})
    found: list[dict[str, str]] = []
    with app.connected() as connection:
        connection.request("GET", target, headers=fields)
        reply = connection.getresponse()
        assert reply.status == 200, reply.read()
        assert reply.headers["content-type"].startswith("text/event-stream")
        event: dict[str, str] = {}
        while len(found) < count:
            line = reply.readline().decode().rstrip("\n")
            if line.startswith(":"):
                continue
            if line:
                name, _, value = line.partition(": ")
                event[name] = value
            elif event:
                found.append(event)
                event = {}
    return found


def test_events_go_on_from_the_last_that_was_seen(running: Running) -> None:
    app = running.app
    made = [app.record(fresh(), number).json for number in (61, 62, 63)]
    start = f"/v1/events?after={made[0]['height'] - 1}.9"
    events = read_events(app, start, 6)
    assert [event["id"] for event in events] == [
        f"{each['height']}.{place}" for each in made for place in (0, 1)
    ]
    assert [event["event"] for event in events] == ["block", "transaction"] * 3
    told = [json.loads(event["data"]) for event in events]
    assert [each.get("transaction") for each in told[1::2]] == [m["transaction"] for m in made]
    assert read_events(app, start, 3, last=events[2]["id"]) == events[3:]
    only = read_events(app, start + "&types=transaction", 3)
    assert only == events[1::2]


@pytest.mark.parametrize("left", [(), ("read",)])
def test_a_stream_ends_once_its_application_is_removed_or_loses_the_right(
    running: Running, left: tuple[str, ...]
) -> None:
    name = f"listener-{len(left)}"
    listener = running.rig.app(name, "events", seed=6 + len(left))
    listener.port = running.app.port
    fields = listener.signed("GET", "/v1/events")
    with listener.connected() as connection:
        connection.request("GET", "/v1/events", headers=fields)
        reply = connection.getresponse()
        last = reply.readline()
        assert (reply.status, last) == (200, b": govchain\n")
        assert running.app.record(fresh(), 71).status == 201
        while not reply.readline().startswith(b"event: transaction"):
            pass
        assert run("gateway", "app", "remove", running.rig.home, name).code == 0
        if left:
            running.rig.app(name, *left, seed=6 + len(left))
        assert running.app.record(fresh(), 72).status == 201
        for line in iter(reply.readline, b""):
            assert not line.startswith((b"event: ", b": still here")), line
            last = line if line.startswith(b":") else last
    assert last == b": ended: GC-2701\n"


def test_events_are_asked_for_strictly(running: Running) -> None:
    for wrong in ("types=nonsense", "types=", "after=x", "after=1"):
        expect(running.app.ask("GET", f"/v1/events?{wrong}"), 400, "GC-2001")
    expect(running.app.ask("GET", "/v1/events", last_event_id="x.y"), 400, "GC-1001")


# --- The security log ---


def test_who_did_what_is_noted_without_secrets(running: Running) -> None:
    rig, app = running.rig, running.app
    key = fresh()
    fields = app.signed("GET", "/v1/status?secret=hunter2")
    app.send("GET", "/v1/status?secret=hunter2", b"", fields)
    app.record(key, 71)
    reply = app.send("GET", "/v1/status", b"", {})
    while reply.status == 429:  # other tests were refused in the same second, from the same address
        time.sleep(int(reply.headers["retry-after"]))
        reply = app.send("GET", "/v1/status", b"", {})
    expect(reply, 401, "GC-2701")
    text = json.dumps(rig.log())
    assert '"what": "create_records"' in text
    assert '"what": "applications.read"' in text
    assert '"code": "GC-2701"' in text
    signature = fields["signature"].partition(":")[2].rstrip(":")
    nonce = fields["signature-input"].partition('nonce="')[2].partition('"')[0]
    secret = (rig.home / "secret.key").read_bytes().hex()
    for hidden in (signature, nonce, key, "hunter2", app.signer.export_secret().hex(), secret):
        assert hidden not in text


# --- Whatever ends it ---


def test_a_gateway_that_is_killed_records_nothing_twice(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    app = rig.app("licences")
    killed: list[int] = []

    def kill(_transaction: Transaction) -> None:
        if rig.process is not None and not killed and armed:
            killed.append(rig.process.pid)
            rig.process.send_signal(signal.SIGKILL)

    armed: list[bool] = []
    rig.node.after_commit = kill
    with rig.running():
        assert app.record("before", 0).status == 201
        armed.append(True)
        with pytest.raises(OSError):  # noqa: PT011 - whichever way the connection broke
            app.record("once", 1)
        with rig.gateway():
            reply = app.record("once", 1)
            assert reply.status == 201
            assert app.record("once", 1).body == reply.body
    assert rig.node.documents[bytes.fromhex(digest_of(1))] == 1
    trust = tmp_path / "trust.json"
    made = TrustFile(chain_id=rig.node.chain.chain_id, genesis=rig.node.chain)
    trust.write_bytes(made.encode())
    verified = run("security-log", "verify", rig.home / "security", "--trust", trust, "--json")
    assert verified.code == 0
    assert verified.json["lines"] == len(rig.log())
    assert verified.json["notarized"]
    told = run("security-log", "verify", rig.home / "security", "--trust", trust, env=CHINESE)
    assert "行" in told.out
    (path,) = (rig.home / "security").glob("*.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"licences"', b'"forged!!"', 1))
    forged = run("security-log", "verify", rig.home / "security", "--trust", trust, "--json")
    assert (forged.code, forged.json["error"]["code"]) == (1, "GC-2708")
    assert all("Traceback" not in line for line in rig.errors)
