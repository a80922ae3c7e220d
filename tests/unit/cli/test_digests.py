"""`--digest`: documents are recorded, found, proved and withdrawn by any hash that records know."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.cli.choice import DIGEST_NAMES
from node.cli.exit_codes import ExitCode
from node.crypto.suite import DOCUMENT_DIGESTS
from node.timestamp.trust import TrustFile
from tests.suites import digest_by_hand
from tests.unit.cli.command import run
from tests.unit.cli.instant import Office
from tests.unit.cli.served import served

HASHLIB = {"sha-256": "sha256", "sha-384": "sha384", "sha-512": "sha512", "sm3": "sm3"}


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    found = Office(tmp_path)
    with served(found.node, found.home, found.node.chain.chain_id):
        found.write("a")
        yield found


def digest_of(path: Path, name: str) -> str:
    return f"{name}:{hashlib.new(HASHLIB[name], path.read_bytes()).hexdigest()}"


def test_each_hash_of_records_can_be_named() -> None:
    assert sorted(DIGEST_NAMES) == sorted(each.name for each in DOCUMENT_DIGESTS)


@pytest.mark.parametrize("name", DIGEST_NAMES)
def test_a_document_is_recorded_proved_and_withdrawn_by_it(office: Office, name: str) -> None:
    path, home = office.documents / "a", ("--home", office.home)
    recorded = office.notarize("--ref", "LIC-1", "--digest", name)
    assert recorded.code == ExitCode.DONE, recorded.out
    (item,) = recorded.json["items"]
    assert item["digest"] == digest_of(path, name)
    again = office.notarize("--ref", "LIC-1", "--digest", name, "--resume")
    assert [each["status"] for each in again.json["items"]] == ["recorded_before"]

    trust, chain = office.out / "trust.json", office.node.chain
    trust.write_bytes(TrustFile(chain_id=chain.chain_id, genesis=chain).encode())
    proof = ("--receipt", item["receipt"], "--trust", trust, "--offline", "--json")
    for document in (path, item["digest"], item["digest"].partition(":")[2]):
        verified = run("verify", document, *proof)
        assert verified.code == ExitCode.DONE, verified.out

    fetched = run(
        *("receipt", "fetch", path, "--digest", name, "--out", office.out / name, *home, "--json")
    )
    assert fetched.code == ExitCode.DONE, fetched.out
    assert Path(fetched.json["receipt"]).read_bytes() == Path(item["receipt"]).read_bytes()

    withdrawn = run("withdraw", "LIC-1", "--out", office.out, *home, "--json")
    assert withdrawn.code == ExitCode.DONE, withdrawn.out
    assert withdrawn.json["items"][0]["digest"] == item["digest"]


def test_unless_it_is_named_the_chain_decides(office: Office) -> None:
    path, home = office.documents / "a", ("--home", office.home)
    known = digest_by_hand(path.read_bytes())
    assert office.notarize().json["items"][0]["digest"] == known
    for verb in (("record", "show"), ("receipt", "fetch")):
        out = ("--out", office.out / "more") if verb == ("receipt", "fetch") else ()
        assert run(*verb, path, *out, *home, "--json").json["digest"] == known


def test_digests_of_a_table_are_of_the_hash_that_is_named(office: Office) -> None:
    path, table = office.documents / "a", office.home / "table.csv"
    bare = digest_of(path, "sm3").partition(":")[2]
    table.write_text(f"digest,name\n{bare},a\nsm3:{bare},b\n")
    words = ("notarize", "--csv", table, "--out", office.out, "--home", office.home, "--json")
    recorded = run(*words, "--digest", "sm3")
    assert [each["digest"] for each in recorded.json["items"]] == [f"sm3:{bare}"] * 2
    refused = run(*words, "--digest", "sha-256")
    assert refused.code == ExitCode.USAGE
    assert "line 3: expected a digest of sha-256" in refused.json["error"]["message"]


def test_a_hash_that_no_record_knows_is_wrong_usage(office: Office) -> None:
    assert office.notarize("--digest", "md5").code == ExitCode.USAGE
