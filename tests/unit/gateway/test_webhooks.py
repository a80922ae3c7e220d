"""Webhooks: signed, at least once and in order whatever ends the gateway, to judged addresses."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue

import pytest

from node.client.events import EventId
from node.crypto.application_key import ApplicationKey
from node.errors import ConfigError
from node.gateway import outgoing
from node.gateway.outgoing import Sender, is_public
from node.gateway.webhooks import DeliveryError, Webhook, read_webhooks, write_webhooks
from tests.unit.cli.command import run
from tests.unit.gateway.rig import DEADLINE_S, Rig


class Receiver:
    """A web server that takes deliveries, once it wants to."""

    def __init__(self) -> None:
        self.taken: Queue[tuple[dict[str, str], bytes]] = Queue()
        self.answers: list[int] = []
        """Statuses of the next answers; 204 afterwards."""
        self.location = ""


@contextmanager
def receiving() -> Iterator[tuple[Receiver, str]]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status = receiver.answers.pop(0) if receiver.answers else 204
            self.send_response(status)
            if receiver.location:
                self.send_header("Location", receiver.location)
            self.end_headers()
            if status == 204:
                fields = {name.lower(): value for name, value in self.headers.items()}
                receiver.taken.put((fields, body))

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield receiver, f"http://127.0.0.1:{server.server_port}/hook"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_each_event_is_brought_signed_across_restarts(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    app = rig.app("licences")
    with receiving() as (receiver, url):
        added = run(
            "gateway",
            "webhook",
            "add",
            rig.home,
            "archive",
            url,
            "--type",
            "transaction",
            "--allow-private",
            "--json",
        )
        assert added.code == 0, added.err
        key = ApplicationKey.read(added.json["public_key"].encode())
        made: list[str] = []
        told: list[str] = []

        def expect(transaction: str) -> None:
            """Take deliveries until that of a transaction."""
            while transaction not in told:
                fields, body = receiver.taken.get(timeout=DEADLINE_S)
                signed = ".".join([fields["webhook-id"], fields["webhook-timestamp"], ""])
                version, _, signature = fields["webhook-signature"].partition(",")
                assert version == "v1a"
                assert key.verify(signed.encode() + body, base64.b64decode(signature))
                event = json.loads(body)
                assert fields["webhook-id"] == f"evt_{event['id']}"
                assert event["type"] == "transaction"
                told.append(event["transaction"])

        with rig.chain():
            with rig.gateway():
                made.append(app.record("1", 1).json["transaction"])
                expect(made[0])
                receiver.answers = [500, 503]
                made.append(app.record("2", 2).json["transaction"])
                expect(made[1])
                receiver.answers = [500] * 1_000  # until the gateway is gone
                made.append(app.record("3", 3).json["transaction"])
            receiver.answers = []
            with rig.gateway():
                expect(made[2])  # what was not taken, by the gateway's next run
                made.append(app.record("4", 4).json["transaction"])
                expect(made[3])
    assert [each for each in told if each in made] == made  # in order
    refused = [line for line in rig.log() if line["what"] == "webhook.delivered"]
    assert {line["outcome"] for line in refused} == {"allowed", "refused"}


def webhook(url: str, *, allow_private: bool = False) -> Webhook:
    return Webhook(name="hook", url=url, allow_private=allow_private)


def deliver(found: Webhook, addresses: list[str] | None = None) -> None:
    look_up = (lambda _host, _port: addresses) if addresses is not None else outgoing.resolve
    Sender(ssl.create_default_context(), look_up)(found, {"x": "y"}, b"{}")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "0.0.0.0",
        "100.64.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "fec0::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:db8::1",
        "not an address",
    ],
)
def test_no_private_address_is_public(address: str) -> None:
    assert not is_public(address)
    with pytest.raises(DeliveryError, match="no public address") as error:
        deliver(webhook("https://innocent.example/"), [address])
    assert "--allow-private" in error.value.fix


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:4700::1111", "64:ff9b::5db8:d70e"])
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


def test_one_private_address_of_several_is_enough_to_refuse() -> None:
    with pytest.raises(DeliveryError, match="no public address"):
        deliver(webhook("https://both.example/"), ["93.184.215.14", "127.0.0.1"])


def test_the_address_that_was_judged_is_connected_to() -> None:
    with receiving() as (receiver, url):
        named = url.replace("127.0.0.1", "no-such-host.invalid")
        deliver(webhook(named, allow_private=True), ["127.0.0.1"])
        fields, _ = receiver.taken.get(timeout=DEADLINE_S)
        assert fields["host"].startswith("no-such-host.invalid:")


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 500])
def test_only_2xx_takes_and_no_redirection_is_followed(status: int) -> None:
    with receiving() as (other, elsewhere), receiving() as (receiver, url):
        receiver.answers, receiver.location = [status], elsewhere
        with pytest.raises(DeliveryError, match=str(status)):
            deliver(webhook(url, allow_private=True))
        assert other.taken.empty()


def test_a_receiver_that_drips_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "TIMEOUT_S", 0.5)
    stopping = threading.Event()

    class Dripping(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            try:
                while not stopping.wait(0.1):
                    self.wfile.write(b"X")
                    self.wfile.flush()
            except OSError:
                pass

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Dripping)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/"
        with pytest.raises(DeliveryError):
            deliver(webhook(url, allow_private=True))
    finally:
        stopping.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    "url",
    [
        "http://public.example/",
        "ftp://public.example/",
        "https://",
        "https://user@x.example/",
        "https://user:pw@x.example/",
        "https://x.example/#part",
        "https://x.example:0/",
        "https://x.example:99999/",
        "https://x example/",
        "https://é.example/",
        "https://x.example/" + "a" * 2_100,
        "//x.example/",
        "x",
    ],
)
def test_urls_are_checked_when_they_are_registered(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError) as error:
        write_webhooks(tmp_path, (webhook(url),))
    assert error.value.code == "GC-2707"
    assert read_webhooks(tmp_path) == ()


def test_webhooks_are_kept_and_removed(tmp_path: Path) -> None:
    good = webhook("https://x.example/hook?token=1")
    write_webhooks(tmp_path, (good,))
    assert read_webhooks(tmp_path) == (good,)
    with pytest.raises(ConfigError, match="each name once"):
        write_webhooks(tmp_path, (good, good))
    (tmp_path / "webhooks.json").write_text('{"version":1,"webhooks":[],"x":1}')
    with pytest.raises(ConfigError, match=r"webhooks\.json"):
        read_webhooks(tmp_path)
    assert EventId.parse(str(EventId(3, 2**31 - 1))) == EventId(3, 2**31 - 1)
