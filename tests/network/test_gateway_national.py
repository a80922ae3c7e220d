"""A gateway before four validators of the national suite: each verb of the API, none left out."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.chain.record import Notarization, RecordAction
from node.client.chain import Chain
from node.client.signing import sign_records
from node.crypto.application_key import ApplicationKey
from node.crypto.suite import NATIONAL
from node.gateway.endpoints import ENDPOINTS
from node.timestamp.receipt import Receipt
from tests.network.local_network import national_testnet
from tests.unit.cli.command import run
from tests.unit.gateway.rig import DEADLINE_S, App, GatewayRig, Reply, digest_of
from tests.unit.gateway.test_gateway import read_events
from tests.unit.gateway.test_webhooks import Receiver, receiving

PROFILE = "clients/agency-1/profile.toml"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with national_testnet(tmp_path_factory.mktemp("national") / "net") as home:
        yield home


class Asking:
    """Asks as one application, and knows which rows of the table it asked."""

    def __init__(self, app: App) -> None:
        self.app, self.asked = app, set[str]()

    def __call__(
        self, name: str, method: str, target: str, value: object = None, **fields: str
    ) -> Reply:
        self.asked.add(name)
        reply = self.app.ask(method, target, value, **fields)
        assert reply.status in (200, 201), reply
        return reply


def expect_brought(receiver: Receiver, public_pem: str, transactions: set[str]) -> None:
    """Take deliveries until all transactions were told of, each signed by Ed25519."""
    key = ApplicationKey.read(public_pem.encode())
    while transactions:
        head, body = receiver.taken.get(timeout=DEADLINE_S)
        signed = f"{head['webhook-id']}.{head['webhook-timestamp']}.".encode() + body
        _version, _, signature = head["webhook-signature"].partition(",")
        assert key.verify(signed, base64.b64decode(signature))
        transactions = transactions - {json.loads(body)["transaction"]}


def expect_international_tls(app: App) -> None:
    with app.connected() as connection:
        connection.connect()
        assert isinstance(connection.sock, ssl.SSLSocket)
        cipher = connection.sock.cipher()
        assert connection.sock.version() == "TLSv1.3"
    assert cipher is not None
    assert cipher[0].startswith("TLS_AES")


def test_every_verb_works_on_a_national_chain(home: Path, tmp_path: Path) -> None:
    rig = GatewayRig(tmp_path, home / PROFILE)
    assert "govchain-key/2" in (rig.home / "tls.key").read_text()  # encrypted by SM4
    app = rig.app("licences")
    ask = Asking(app)
    chain = Chain.load(home / PROFILE)
    with receiving() as (receiver, url):
        hook = ("gateway", "webhook", "add", rig.home, "archive", url, "--allow-private", "--json")
        added = run(*hook, "--type", "transaction")
        assert added.code == 0, added.err
        with rig.gateway():
            status = ask("get_status", "GET", "/v1/status").json
            assert (status["chain"], status["is_ready"]) == (chain.profile.chain_id.hex(), True)
            value = {"records": [{"digest": digest_of(n), "reference": f"L-{n}"} for n in (1, 2)]}
            made = ask("create_records", "POST", "/v1/records", value, idempotency_key="one").json
            again = ask("create_records", "POST", "/v1/records", value, idempotency_key="one")
            assert again.json == made
            listed = ask("list_records", "GET", "/v1/records?reference=L-2").json["records"]
            assert [each["digest"] for each in listed] == [f"sha-256:{digest_of(2)}"]
            receipt = ask("get_receipt", "GET", made["records"][1]["receipt"]).body
            opened = Receipt.decode(receipt)
            assert opened.suite is NATIONAL
            found = ask("find_receipt", "GET", f"/v1/receipts?digest={digest_of(2)}").body
            assert Receipt.decode(found).leaf == opened.leaf
            shown = {"receipt": base64.b64encode(receipt).decode(), "digest": digest_of(2)}
            verdict = ask("verify_receipt", "POST", "/v1/verifications", shown).json
            assert (verdict["outcome"], len(verdict["signers"]) >= 3) == ("VERIFIED", True)
            # What the application signed itself, by SM2, with a key of its own.
            notarization = Notarization(
                digest_algorithm=1,
                type_code="licence",
                action=RecordAction.RECORD,
                digests=bytes.fromhex(digest_of(3)),
            )
            transaction = sign_records(chain, notarization, 0)
            ask.asked.add("submit_transaction")
            named = {"content-type": "application/cbor"}
            fields = app.signed("POST", "/v1/transactions", transaction.encoded, named)
            sent = app.send("POST", "/v1/transactions", transaction.encoded, fields)
            assert (sent.status, sent.json["result"]) == (200, "OK")
            name = transaction.tx_id.hex()
            assert ask("get_transaction", "GET", f"/v1/transactions/{name}").json == sent.json
            block = ask("get_block", "GET", f"/v1/blocks/{sent.json['height']}").json
            assert name in block["transactions"]
            ask.asked.add("follow_events")
            events = f"/v1/events?after={made['height']}.0&types=transaction"
            told: list[str] = []
            while name not in told:  # others' too: the gateway records the head of its log
                told += [
                    json.loads(each["data"])["transaction"]
                    for each in read_events(app, events, len(told) + 1)[len(told) :]
                ]
            assert told[0] == made["transaction"]
            expect_brought(receiver, added.json["public_key"], {made["transaction"], name})
            expect_international_tls(app)
    assert ask.asked == {each.name for each in ENDPOINTS}
    assert [line for line in rig.errors if not line.startswith("listens on port ")] == []
    (tmp_path / "a.receipt").write_bytes(receipt)
    expect_proved_offline(home, tmp_path, rig.home / "security")


def expect_proved_offline(home: Path, folder: Path, log_folder: Path) -> None:
    """Check the receipt in `folder` and a security log by a trust file alone."""
    trust = folder / "trust.json"
    assert run("trust", "export", "--home", home, "--out", trust).code == 0
    arguments = ("--receipt", folder / "a.receipt", "--trust", trust, "--offline", "--json")
    assert run("verify", f"sha-256:{digest_of(2)}", *arguments).code == 0
    log = run("security-log", "verify", log_folder, "--trust", trust, "--json")
    assert log.code == 0, log.out
    assert log.json["notarized"]


def test_what_stays_international_is_said_when_a_gateway_is_made(
    home: Path, tmp_path: Path
) -> None:
    made = run("gateway", "init", tmp_path / "gateway", "--profile", home / PROFILE)
    assert made.code == 0, made.err
    assert "TLS, signed requests and webhooks go by P-256, Ed25519 and SHA-256" in made.out
    for verb in (("app", "list"), ("webhook", "list"), ("renew",)):
        assert run("gateway", *verb, tmp_path / "gateway", "--json").code == 0
