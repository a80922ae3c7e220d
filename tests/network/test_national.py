"""A chain founded on the national algorithms: SM2 votes and transactions, SM3 everywhere."""

from __future__ import annotations

import secrets
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.crypto.authority import AuthorityCertificate
from node.crypto.suite import NATIONAL, SM3
from node.operations.topology import Topology
from node.timestamp.receipt import Receipt
from node.timestamp.tokens.reading import ReadToken, token_of_answer
from tests.network.local_network import national_testnet
from tests.unit.cli.command import run


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with national_testnet(tmp_path_factory.mktemp("national") / "net") as home:
        yield home


def test_documents_are_recorded_proven_and_withdrawn(home: Path, tmp_path: Path) -> None:
    document, out, trust = tmp_path / "certificate.txt", tmp_path / "receipts", home / "trust.json"
    document.write_bytes(secrets.token_bytes(16))
    made = run("notarize", document, "--ref", "LIC-1", "--home", home, "--out", out, "--json")
    assert made.code == 0, made.out
    receipt = Path(made.json["items"][0]["receipt"])
    read = Receipt.decode(receipt.read_bytes())
    assert (read.suite, read.cose, read.checkpoint) == (NATIONAL, None, None)
    assert run("trust", "export", "--home", home).code == 0
    args = ("--receipt", receipt, "--trust", trust, "--offline", "--json")
    assert run("verify", document, *args).code == 0
    other = tmp_path / "other.txt"
    other.write_bytes(b"other")
    assert run("verify", other, *args).code == 1
    assert run("withdraw", "LIC-1", "--home", home, "--json").code == 0
    standing = tmp_path / "today.standing"
    asked = ("record", "status", "LIC-1", "--prove", standing, "--home", home, "--json")
    assert run(*asked).code == 1  # withdrawn, proved by SM3
    withdrawn = run("verify", document, *args, "--standing", standing)
    assert withdrawn.code == 1, withdrawn.out
    assert "withdrawn" in withdrawn.out


def test_content_is_sealed_by_sm4_and_its_key_wrapped_by_sm2(home: Path, tmp_path: Path) -> None:
    document, got = tmp_path / "决定.txt", tmp_path / "got"
    document.write_bytes(secrets.token_bytes(2_000_000))
    at = ("--home", home, "--json")
    assert run("vault", "key", "--as", "admin-2", *at).code == 0
    put = run("vault", "put", document, "--to", "org-2", *at)
    assert put.code == 0, put.out
    assert put.json["content"]["envelope"] == NATIONAL.suite_id
    opened = run("vault", "get", put.json["document"], "--out", got, "--as", "admin-2", *at)
    assert opened.code == 0, opened.out
    assert got.read_bytes() == document.read_bytes()
    rotated = run("vault", "rotate", put.json["document"], "--without", "org-2", *at)
    assert rotated.code == 0, rotated.out
    refused = run("vault", "get", put.json["document"], "--out", got, "--as", "admin-2", *at)
    assert refused.code != 0


def test_a_validator_killed_comes_back_and_signs_on(home: Path, tmp_path: Path) -> None:
    assert run("testnet", "chaos", "kill", "1", "--home", home, "--json").code == 0
    document = tmp_path / "after.txt"
    document.write_bytes(secrets.token_bytes(16))
    assert run("notarize", document, "--home", home, "--out", tmp_path, "--json").code == 0


@pytest.mark.parametrize("wanted", ["tlog", "cose"])
def test_forms_that_prescribe_other_algorithms_are_refused_by_name(
    home: Path, tmp_path: Path, wanted: str
) -> None:
    document = tmp_path / "document.txt"
    document.write_bytes(secrets.token_bytes(16))
    made = run("notarize", document, "--home", home, "--out", tmp_path, "--json")
    receipt = made.json["items"][0]["receipt"]
    refused = run("receipt", "export", receipt, "--format", wanted, "--json")
    assert refused.json["error"]["code"] == "GC-2340"
    assert "the chain is of the suite national" in refused.json["error"]["message"]


def test_time_stamps_are_signed_by_sm2_and_lead_to_the_trust_file(
    home: Path, tmp_path: Path
) -> None:
    document = tmp_path / "document.txt"
    document.write_bytes(secrets.token_bytes(16))
    made = run("notarize", document, "--home", home, "--out", tmp_path, "--json")
    receipt = made.json["items"][0]["receipt"]
    exported = run("receipt", "export", receipt, "--format", "tsr", "--json")
    assert exported.code == 0, exported.out
    (answer,) = tmp_path.glob("*.tsr")
    token = ReadToken.decode(token_of_answer(answer.read_bytes()))
    assert token.digest_algorithm == SM3.oid
    assert AuthorityCertificate.read(token.certificates[0]).key_algorithm == "sm2"
    trust = home / "trust.json"
    if not trust.exists():
        assert run("trust", "export", "--home", home).code == 0
    arguments = ("--receipt", answer, "--trust", trust, "--offline", "--json")
    verified = run("verify", document, *arguments)
    assert verified.code == 0, verified.out
    stamp = tmp_path / "stamp.tsr"
    asked = run("timestamp", document, "--home", home, "--out", stamp, "--json")
    assert asked.code == 0, asked.out


def test_the_log_is_not_served_in_public_form(home: Path) -> None:
    node = Topology.load(home).nodes[0]
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"http://127.0.0.1:{node.http_port}/checkpoint", timeout=5)


def test_a_stopped_ledger_is_checked_from_genesis_on(home: Path) -> None:
    assert run("testnet", "down", "--home", home).code == 0
    audited = run("audit", "ledger", "--home", home / "nodes" / "validator-1", "--json")
    assert audited.code == 0, audited.out
    assert audited.json["records"] > 0
    assert audited.json["votes"] >= 3 * audited.json["blocks"]
