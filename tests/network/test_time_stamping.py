"""Time stamps from real validators, asked for and verified by the programs of others alone."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from rfc3161_client import (
    TimestampRequestBuilder,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from node.chain.record import RecordAction
from node.cli.anchor_chain import ReachedChain
from node.cli.network import Network
from node.crypto.suite import INTERNATIONAL, SHA_256
from node.operations.anchoring import RECORD_TYPE
from node.operations.provision import update_toml
from node.operations.topology import find_free_ports
from node.rpc.port import RecordFilter
from node.timestamp.receipt import Receipt
from node.timestamp.tokens.issuing import take_chain_proof
from node.timestamp.tokens.reading import ReadToken, TokenInfo, token_of_answer
from node.timestamp.verify import NamedDigest, Outcome, verify_receipt
from tests.network.local_network import LocalNetwork, running_network
from tests.network.test_node_health import until_alone
from tests.outside.environments import PROGRAMS, RUN_TIMEOUT_S, python_with
from tests.suites import SUITE
from tests.unit.cli.command import run
from tests.unit.operations.loopback_authority import granting, serving
from tests.unit.timestamp.outside.openssl_authority import Habits, OpenSslAuthority

LIMITED = "validator-2"
PER_MINUTE = 3


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    with running_network(tmp_path_factory.mktemp("tsa") / "net", nodes=2) as network:
        network.supervisor.down()
        update_toml(network.folder(LIMITED) / "node.toml", {"timestamps_per_minute": PER_MINUTE})
        network.supervisor.up()
        asyncio.run(network.until_ready(network.ids))
        yield network


def openssl(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = ["openssl", "ts", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@dataclass(frozen=True)
class Asked:
    """A document, and a request for its time stamp that openssl made."""

    document: Path
    request: Path

    @classmethod
    def make(cls, folder: Path, text: str, *options: str) -> Asked:
        document, request = folder / "document", folder / "request.tsq"
        document.write_text(text)
        made = openssl("-query", "-data", document, "-out", request, *options)
        assert made.returncode == 0, made.stderr
        return cls(document, request)


def url_of(network: LocalNetwork, validator_id: str) -> str:
    (entry,) = (entry for entry in network.entries if entry.id == validator_id)
    return f"http://{entry.host}:{entry.http_port}/tsa"


def post(network: LocalNetwork, validator_id: str, request: bytes) -> tuple[int, bytes]:
    asked = urllib.request.Request(
        url_of(network, validator_id),
        data=request,
        headers={"Content-Type": "application/timestamp-query"},
    )
    try:
        with urllib.request.urlopen(asked, timeout=40) as reply:
            assert reply.headers["Content-Type"] == "application/timestamp-reply"
            return reply.status, reply.read()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read()


def authority_of(network: LocalNetwork, validator_id: str) -> Path:
    (entry,) = (entry for entry in network.entries if entry.id == validator_id)
    return network.home / "organisations" / entry.organisation / "ca.pem"


@pytest.mark.parametrize("digest", ["-sha256", "-sha512"])
def test_openssl_asks_and_is_satisfied(network: LocalNetwork, tmp_path: Path, digest: str) -> None:
    asked = Asked.make(tmp_path, f"a paper for {digest}", digest, "-cert")
    status, reply = post(network, "validator-1", asked.request.read_bytes())
    assert status == 200
    answer = tmp_path / "answer.tsr"
    answer.write_bytes(reply)
    token = tmp_path / "token.der"
    assert openssl("-reply", "-in", answer, "-token_out", "-out", token).returncode == 0
    for check in (
        ("-data", asked.document, "-in", answer),
        ("-queryfile", asked.request, "-in", answer),
        ("-data", asked.document, "-in", token, "-token_in"),
    ):
        verified = openssl("-verify", *check, "-CAfile", authority_of(network, "validator-1"))
        assert "Verification: OK" in verified.stdout + verified.stderr, (check, verified.stderr)
    asked.document.write_text("another paper")
    wrong = openssl(
        "-verify", "-data", asked.document, "-in", answer,
        "-CAfile", authority_of(network, "validator-1"),
    )  # fmt: skip
    assert wrong.returncode != 0


def test_rfc3161_client_asks_and_is_satisfied(network: LocalNetwork) -> None:
    document = b"a paper for rfc3161-client"
    request = TimestampRequestBuilder().data(document).nonce(nonce=True).build()
    status, reply = post(network, "validator-1", request.as_bytes())
    assert status == 200
    root = x509.load_pem_x509_certificate(authority_of(network, "validator-1").read_bytes())
    verifier = VerifierBuilder.from_request(request).add_root_certificate(root).build()
    answer = decode_timestamp_response(reply)
    assert verifier.verify_message(answer, document)
    with pytest.raises(VerificationError, match="messages"):
        verifier.verify_message(answer, b"another paper")


def test_pyhanko_signs_a_pdf_and_has_it_stamped(network: LocalNetwork, tmp_path: Path) -> None:
    program, out = PROGRAMS / "sign_with_pyhanko.py", tmp_path / "signed.pdf"
    url = url_of(network, "validator-1")
    for authority, is_trusted in (("validator-1", True), (LIMITED, False)):
        roots = authority_of(network, authority)
        done = subprocess.run(
            [python_with("pyhanko"), "-I", program, url, roots, out],
            capture_output=True,
            text=True,
            check=False,
            timeout=RUN_TIMEOUT_S,
        )
        assert (done.returncode == 0) is is_trusted, done.stderr
        assert ("refused" in done.stderr) is not is_trusted, done.stderr
    assert b"/adbe.pkcs7.detached" in out.read_bytes()


def test_what_is_granted_was_recorded_and_carries_its_proof(
    network: LocalNetwork, tmp_path: Path
) -> None:
    asked = Asked.make(tmp_path, "a paper with a proof", "-sha256", "-cert")

    async def ask() -> bytes:
        async with network.client("validator-1") as client:
            return await client.time_stamp(asked.request.read_bytes())

    answer = tmp_path / "answer.tsr"
    answer.write_bytes(asyncio.run(ask()))
    token = tmp_path / "token.der"
    openssl("-reply", "-in", answer, "-token_out", "-out", token)
    _, proof = take_chain_proof(token.read_bytes())
    assert proof is not None
    digest = NamedDigest(SHA_256, SHA_256.new_hash(asked.document.read_bytes()).digest())
    verdict = verify_receipt(proof, network.anchor, digest)
    assert verdict.outcome is Outcome.VERIFIED
    leaf = Receipt.decode(proof).leaf
    assert (leaf.sender, leaf.record.type_code) == ("org-1-tsa", "time-stamp")
    text = openssl("-reply", "-in", answer, "-text").stdout
    assert "Accuracy: 0x01 seconds" in text

    async def count() -> int:
        async with network.client() as client:
            page = await client.records(RecordFilter(digest=digest.value))
            return len(page.records)

    assert asyncio.run(count()) == 1


def test_the_command_writes_what_openssl_and_verify_accept(
    network: LocalNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = Asked.make(tmp_path, "a paper for the command", "-sha512")  # without certificates
    url = url_of(network, "validator-1")
    home = ("--home", network.home)
    by_grpc = run("timestamp", asked.document, *home, "--json")
    assert by_grpc.code == 0, by_grpc.out
    assert by_grpc.json["token"] == "document.tsr"
    by_http = run("timestamp", asked.document, *home, "--url", url, "--out", "http.tsr")
    assert by_http.code == 0, by_http.out
    roots = tmp_path / "roots.pem"
    roots.write_bytes(b"".join(authority_of(network, each).read_bytes() for each in network.ids))
    trust = tmp_path / "trust.json"
    assert run("trust", "export", *home, "--out", trust).code == 0
    for name in ("document.tsr", "http.tsr"):
        verified = openssl("-verify", "-data", asked.document, "-in", name, "-CAfile", roots)
        assert "Verification: OK" in verified.stdout + verified.stderr
        ours = run(
            "verify", asked.document, "--receipt", name, "--trust", trust, "--offline", "--json"
        )
        assert ours.code == 0, ours.out
    with urllib.request.urlopen(f"{url}/certificates", timeout=40) as reply:
        Path("tsa.pem").write_bytes(reply.read())
    by_query = run(
        "timestamp", "-q", asked.request, *home, "--url", url,
        "--certificate", "tsa.pem", "--out", "query.tsr",
    )  # fmt: skip
    assert by_query.code == 0, by_query.out
    query = ("--query", asked.request, "--certificate", "tsa.pem")
    for options, code in (((), 1), (query, 0)):
        ours = run(
            "verify", asked.document, "--receipt", "query.tsr", "--trust", trust, *options
        )  # fmt: skip
        assert ours.code == code, ours.out
    verified = openssl(
        "-verify", "-queryfile", asked.request, "-in", "query.tsr", "-CAfile", roots,
        "-untrusted", "tsa.pem",
    )  # fmt: skip
    assert "Verification: OK" in verified.stdout + verified.stderr
    again = run("timestamp", asked.document, *home)
    assert (
        again.code,
        "document.tsr: something else is there already" in again.err + again.out,
    ) == (2, True)
    wrong = run("timestamp", asked.document, *home, "--url", url[:-4] + "/healthz", "--out", "x")
    assert wrong.code == 6
    assert not (tmp_path / "x").exists()


def test_evidence_of_a_document_and_its_receipt_is_made_and_renewed(
    network: LocalNetwork, tmp_path: Path
) -> None:
    document, receipts, home = tmp_path / "archived", tmp_path / "receipts", network.home
    document.write_text("a paper for the archive")
    assert run("notarize", document, "--out", receipts, "--home", home).code == 0
    trust = tmp_path / "trust.json"
    assert run("trust", "export", "--home", home, "--out", trust).code == 0
    files = (document, "--receipts", receipts)
    made = run("evidence", "create", *files, "--home", home, "--json")
    assert made.code == 0, made.out
    again = run("evidence", "renew", *files, "--home", home, "--json")
    assert again.code == 0, again.out
    anew = run("evidence", "renew", *files, "--rehash", "sha-512", "--home", home, "--json")
    assert anew.code == 0, anew.out
    ours = run("evidence", "verify", *files, "--trust", trust, "--json")
    assert ours.code == 0, ours.out
    (told,) = ours.json["evidence"]
    assert told["receipt"]["verdict"] == "verified"
    attested = told["attestation"]
    assert (len(attested["time_stamps"]), attested["is_whole"]) == (3, True)
    assert attested["time_stamps"][0]["time_ms"] >= told["receipt"]["attestation"]["time_ms"]


def test_a_receipt_holds_the_same_token_after_a_restart(
    network: LocalNetwork, tmp_path: Path
) -> None:
    document = tmp_path / "paper"
    document.write_text("a paper to be asked for again")
    assert run("notarize", document, "--home", network.home, "--out", tmp_path).code == 0
    digest = SHA_256.new_hash(document.read_bytes()).digest()

    async def ask() -> bytes:
        async with network.client("validator-1") as client:
            return await client.receipt_of_digest(digest)

    first = Receipt.decode(asyncio.run(ask()))
    assert first.token is not None
    verdict = verify_receipt(first.encode(), network.anchor, NamedDigest(SHA_256, digest))
    assert verdict.outcome is Outcome.VERIFIED
    network.end("validator-1", signal.SIGKILL)
    network.supervisor.up()
    asyncio.run(network.until_ready(network.ids))
    again = Receipt.decode(asyncio.run(ask()))
    assert again.token is not None
    assert stated(again.token) == stated(first.token)
    if SUITE is INTERNATIONAL:  # SM2 signs the same statement otherwise each time
        assert again.token == first.token


def stated(token: bytes) -> tuple[TokenInfo, tuple[bytes, ...], bytes]:
    """Return what a token says, and what it shows of who signed it."""
    read = ReadToken.decode(token)
    return read.info, read.certificates, read.signed_attributes


def test_who_asks_too_often_is_told_so(network: LocalNetwork, tmp_path: Path) -> None:
    asked = Asked.make(tmp_path, "a paper asked for often", "-sha256").request.read_bytes()
    granted = network.metric(LIMITED, "timestamp_granted_total")
    for what in ("certificate", "identity"):
        ends_s = network.metric(LIMITED, f'timestamp_ends_seconds{{what="{what}"}}')
        assert ends_s > time.time() + 600 * 86_400
    statuses = [post(network, LIMITED, asked)[0] for _ in range(PER_MINUTE)]
    assert statuses == [200] * PER_MINUTE
    status, reply = post(network, LIMITED, asked)
    assert status == 429
    assert network.metric(LIMITED, "timestamp_granted_total") == granted + PER_MINUTE
    assert network.metric(LIMITED, 'timestamp_refused_total{reason="quota"}') == 1
    answer = tmp_path / "answer.tsr"
    answer.write_bytes(reply)
    text = openssl("-reply", "-in", answer, "-text").stdout
    assert "Status: Rejected." in text
    assert f"more than {PER_MINUTE} requests a minute" in text
    assert "system failure" in text.lower()


def test_a_node_gets_another_identity_to_record_under(
    network: LocalNetwork, tmp_path: Path
) -> None:
    registered = run("node", "stamping", "validator-1", "--home", network.home, "--json")
    assert registered.code == 0, registered.out
    assert registered.json["identity"] == "org-1-tsa.2"
    network.end("validator-1", signal.SIGTERM)
    network.supervisor.up()
    asyncio.run(network.until_ready(network.ids))
    asked = Asked.make(tmp_path, "a paper under another name", "-sha256").request.read_bytes()
    status, reply = post(network, "validator-1", asked)
    assert status == 200
    _, proof = take_chain_proof(token_of_answer(reply))
    assert proof is not None
    assert Receipt.decode(proof).leaf.sender == "org-1-tsa.2"


def test_a_node_without_its_peers_gives_no_time(network: LocalNetwork, tmp_path: Path) -> None:
    network.end(LIMITED, signal.SIGTERM)
    asyncio.run(until_alone(network, "validator-1"))
    asked = Asked.make(tmp_path, "a paper in bad times", "-sha256").request.read_bytes()
    status, reply = post(network, "validator-1", asked)
    assert status == 200
    answer = tmp_path / "answer.tsr"
    answer.write_bytes(reply)
    text = openssl("-reply", "-in", answer, "-text").stdout
    assert "Status: Rejected." in text
    assert "not ready" in text
    assert "timeNotAvailable" in text or "not available" in text.lower()
    network.supervisor.up()
    asyncio.run(network.until_ready(network.ids))


def run_as_a_service(anchors: Path, *home: str) -> None:
    """Have anchors made until told to stop, and read the metrics meanwhile."""
    (port,) = find_free_ports("127.0.0.1", 1)
    command = [sys.executable, "-m", "node", "anchor", "run", str(anchors), *home]
    with subprocess.Popen(
        [*command, "--metrics", f"127.0.0.1:{port}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stderr is not None
        assert "outside, own" in running.stderr.readline()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as reply:
            assert b'govchain_anchors{authority="own"} 1.0' in reply.read()
        running.send_signal(signal.SIGTERM)
        told, _ = running.communicate(timeout=20)
        assert running.returncode == 0
        assert told.startswith("NOT OUTSIDE: own is of org-1")


def test_anchors_by_openssl_and_by_a_validator_cover_a_record(
    network: LocalNetwork, tmp_path: Path
) -> None:
    """Stamped over HTTP by an authority outside and by a node's own; recorded; verified offline."""
    document, anchors = tmp_path / "licence", tmp_path / "anchors"
    document.write_text("a licence to be anchored")
    home = ("--home", network.home)
    assert run("notarize", document, *home, "--out", tmp_path).code == 0
    receipt = tmp_path / "licence.receipt"
    assert run("notarize", receipt, *home, "--out", tmp_path / "later").code == 0
    outside = OpenSslAuthority(tmp_path / "outside", habits=Habits(has_intermediate=True))
    (entry,) = (entry for entry in network.entries if entry.id == "validator-1")
    with serving(granting(outside.answer)) as server:
        roots = {"outside": outside.root_file, "own": authority_of(network, "validator-1")}
        urls = {"outside": server.url, "own": f"http://{entry.host}:{entry.http_port}/tsa"}
        for name, url in urls.items():
            added = run("anchor", "add", anchors, name, url, "--ca", roots[name], *home, "--json")
            assert (added.code, added.json["outside"]) == (0, name == "outside")
        made = run("anchor", "run", anchors, *home, "--once", "--newest", "--json")
        assert made.code == 0, made.out + made.err
        assert [look["progress"] for look in made.json["looks"]] == ["anchored", "anchored"]
        assert len(server.asked) == 1
        again = run("anchor", "run", anchors, *home, "--once", "--json")
        assert [look["progress"] for look in again.json["looks"]] == ["up to date", "up to date"]
        run_as_a_service(anchors, *map(str, home))
        assert len(server.asked) == 1
    down = run("anchor", "run", anchors, *home, "--once", "--newest", "--json")
    assert (down.code, down.json["error"]["code"]) == (6, "GC-2370")
    assert down.json["looks"][0]["progress"] == "failing"
    listed = run("anchor", "list", anchors, "--json").json["anchors"]
    assert all(each["recorded"] for each in listed)
    trust = tmp_path / "trust.json"
    assert run("trust", "export", *home, "--out", trust).code == 0
    for name in urls:
        (kept,) = [each for each in listed if each["authority"] == name][:1]
        proved = run(
            "verify", kept["path"], "--receipt", f"{kept['path']}.receipt", "--trust", trust
        )
        assert proved.code == 0, proved.out
        joined = tmp_path / f"{name}.anchor"
        told = run("anchor", "export", anchors, receipt, *home, "--by", name, "--out", joined)
        assert told.code == 0, told.out + told.err
        options = ("--trust", trust, "--receipt", receipt, "--document", document, "--json")
        verified = run("anchor", "verify", joined, "--authority", roots[name], *options)
        assert verified.code == 0, verified.out
        attestation = verified.json["attestation"]
        assert attestation["insider"] == (None if name == "outside" else "org-1")
        assert attestation["record"]["height"] < attestation["height"] == kept["height"]
        other = roots["own" if name == "outside" else "outside"]
        unrooted = run("anchor", "verify", joined, "--authority", other, *options)
        assert unrooted.code == 5, unrooted.out
    told = run("audit", "run", "--out", tmp_path / "audit.json", "--anchors", anchors, *home)
    assert told.code == 0, told.out + told.err
    assert "NOT OUTSIDE, it is of org-1: block" in told.out


def test_the_chain_is_reached_for_anchors_and_what_was_lost_is_superseded(
    network: LocalNetwork,
) -> None:
    chain = ReachedChain(Network.open(network.home, None, None))
    digests = [SHA_256.new_hash(text).digest() for text in (b"one", b"other", b"unknown")]
    leaves = [
        Receipt.decode(chain.record(digest, RECORD_TYPE, "2026-11-21/1/lost")).leaf
        for digest in digests[:2]
    ]
    actions = [leaf.record.action for leaf in leaves]
    assert actions == [RecordAction.RECORD, RecordAction.SUPERSEDE]
    assert [chain.find_record(digest) is not None for digest in digests] == [True, True, False]
    newest = chain.checkpoint_before(None)
    assert newest is not None
    assert newest.block.header.height >= leaves[1].height > leaves[0].height
    for leaf in leaves:
        found = chain.checkpoint_before(leaf.time_ms)
        assert (found.block.header.height if found else 0) == leaf.height - 1
        found = chain.checkpoint_before(leaf.time_ms + 1)
        assert found is not None
        assert found.block.header.height == leaf.height
    assert chain.checkpoint_before(0) is None
