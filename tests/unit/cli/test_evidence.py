"""`evidence create|renew|verify|show`: one token for many files, years by the clock of others."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from node.cli import evidence_options
from node.cli.evidence_files import Folders, hash_subjects
from node.cli.evidence_options import Beliefs
from node.cli.exit_codes import ExitCode
from node.cli.inputs import Document
from node.cli.receipt_files import name_receipts
from node.cli.screen import Screen
from node.crypto.certificate import encode_pem
from node.crypto.suite import SHA_256
from node.timestamp.evidence.hash_tree import data_object
from node.timestamp.evidence.record import EvidenceRecord
from node.timestamp.evidence.renewal import plan_creation
from node.timestamp.receipt import Receipt, iso_time
from node.timestamp.refreshed import RefreshedReceipt
from node.timestamp.tokens.issuing import (
    POLICY,
    Coordinates,
    Stamp,
    TokenIssuer,
    encode_refused,
)
from node.timestamp.tokens.request import Failure, TimeStampRefused
from tests.unit.cli.command import CHINESE, run
from tests.unit.cli.stamping import StampingServer
from tests.unit.timestamp.reference_token import certificate_of
from tests.vectors.evidence.authorities import FIRST, SECOND, STRANGER, year
from tests.vectors.evidence.generate import FOLDER as EVIDENCE
from tests.vectors.receipt.chain import CREATED_MS, signer
from tests.vectors.receipt.generate import FOLDER as RECEIPTS
from tests.vectors.receipt.story import DEGRADED, FIRST_OF_EPOCH_2, PLAIN, build_chain
from tests.vectors.receipt.tokens import authority_of, issuer_of

DOCUMENT = RECEIPTS / "document.txt"
TRUST = RECEIPTS / "trust" / "genesis.json"


class Years:
    """The clock of both the authority and the command."""

    ms = year(2026.5)

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Years:
    years = Years()
    for module in ("evidence", "evidence_options"):
        monkeypatch.setattr(f"node.cli.{module}.now_ms", years)
    return years


@pytest.fixture
def server(clock: Years) -> StampingServer:
    return StampingServer(FIRST, clock)


@pytest.fixture
def url(server: StampingServer) -> Iterator[str]:
    with server.serving() as found:
        yield found


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    path = tmp_path / "roots.pem"
    path.write_bytes(encode_pem(FIRST.root) + encode_pem(SECOND.root))
    return path


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Return a folder with the document, its receipt, and two other files in folders."""
    folder = tmp_path / "files"
    (folder / "deeper").mkdir(parents=True)
    for name in ("document.txt", "document.txt.receipt"):
        (folder / name).write_bytes((RECEIPTS / name).read_bytes())
    (folder / "one").write_bytes(b"one")
    (folder / "deeper" / "two").write_bytes(b"two")
    return folder


def json_of(*words: object, code: int = 0) -> dict[str, Any]:
    ran = run(*words, "--json")
    assert ran.code == code, ran.out + ran.err
    return ran.json


def test_one_token_makes_the_records_of_a_folder(
    files: Path, url: str, roots: Path, server: StampingServer
) -> None:
    made = json_of("evidence", "create", files, "--url", url, "--ca", roots)["records"]
    assert server.asked == 1
    assert sorted((each["record"], len(each["files"])) for each in made) == [
        (str(files / "deeper" / "two.ers"), 1),
        (str(files / "document.txt.ers"), 2),
        (str(files / "one.ers"), 1),
    ]
    tokens = {
        EvidenceRecord.decode(Path(each["record"]).read_bytes()).chains[0][0].token for each in made
    }
    assert len(tokens) == 1
    verified = json_of("evidence", "verify", files, "--ca", roots)["evidence"]
    assert [each["attestation"]["time_ms"] for each in verified] == [year(2026.5) + 1_000] * 3
    assert json_of("evidence", "create", files, "--url", url, "--ca", roots)["records"] == []
    again = run("evidence", "create", files, "--url", url, "--ca", roots)
    assert "has a record already" in again.out
    assert server.asked == 1, "nothing new, nothing asked"
    (files / "three").write_bytes(b"three")
    more = json_of("evidence", "create", files, "--url", url, "--ca", roots)["records"]
    assert [each["record"] for each in more] == [str(files / "three.ers")]


def test_records_are_renewed_and_outlive_the_first_certificate(
    files: Path, url: str, roots: Path, server: StampingServer, clock: Years
) -> None:
    words = ("--url", url, "--ca", roots)
    json_of("evidence", "create", files, *words)
    clock.ms = year(2028.5)
    server.tsa = SECOND
    renewed = json_of("evidence", "renew", files, *words)["records"]
    assert server.asked == 2, "again one token for all"
    assert {len(each["attestation"]["time_stamps"]) for each in renewed} == {2}
    clock.ms = year(2032)
    rehashed = json_of("evidence", "renew", files, "--rehash", "sha-512", *words)["records"]
    assert {tuple(each["attestation"]["algorithms"]) for each in rehashed} == {
        ("sha-256", "sha-512")
    }
    verified = run("evidence", "verify", files / "document.txt", "--ca", roots)
    assert verified.code == 0
    assert "existed no later than 2026-07-02T15:00:01.000Z" in verified.out
    assert "renew it before 2033-12-31" in verified.out
    assert "about these files together" in verified.out


def test_a_nightly_run_renews_what_is_due_alone(
    files: Path, url: str, roots: Path, server: StampingServer, clock: Years
) -> None:
    words = ("--url", url, "--ca", roots)
    json_of("evidence", "create", files / "one", *words)
    clock.ms = year(2029.5)
    server.tsa = SECOND
    json_of("evidence", "create", files / "deeper", *words)
    due = ("evidence", "renew", files, "--within", "90d", *words)
    assert json_of(*due)["records"] == []
    clock.ms = year(2029.9)
    assert [each["record"] for each in json_of(*due)["records"]] == [str(files / "one.ers")]
    assert "nothing has to be renewed yet" in run(*due).out


def test_what_is_too_late_is_not_renewed(
    files: Path, url: str, roots: Path, server: StampingServer, clock: Years
) -> None:
    words = ("--url", url, "--ca", roots)
    json_of("evidence", "create", files / "one", *words)
    server.tsa, clock.ms = SECOND, year(2030.5)
    before = (files / "one.ers").read_bytes()
    late = json_of("evidence", "renew", files / "one", *words, code=ExitCode.NOT_VERIFIED)
    assert "certificate-expired" in late["error"]["message"]
    assert "too late" in late["error"]["fix"]
    assert server.asked == 1, "nobody is asked for it"
    assert (files / "one.ers").read_bytes() == before
    json_of("evidence", "create", files / "deeper", *words)
    some = json_of("evidence", "renew", files, *words, code=ExitCode.SOME_FAILED)
    assert [each["record"] for each in some["records"]] == [str(files / "deeper" / "two.ers")]


def test_the_receipt_beside_is_verified_with_a_trust_file(
    files: Path, url: str, roots: Path
) -> None:
    json_of("evidence", "create", files / "document.txt", "--url", url, "--ca", roots)
    words = ("evidence", "verify", files / "document.txt", "--ca", roots, "--trust", TRUST)
    (told,) = json_of(*words)["evidence"]
    assert told["receipt"]["verdict"] == "verified"
    receipt = files / "document.txt.receipt"
    receipt.write_bytes(receipt.read_bytes()[:-1] + b"\0")
    ran = json_of(*words, code=ExitCode.NOT_VERIFIED)
    assert "step 3 failed: file-digest" in ran["error"]["message"]
    receipt.unlink()
    (alone,) = json_of(*words)["evidence"]
    assert alone["attestation"]["is_whole"] is False, "it was about a receipt as well"


def stamp_by_the_chain(
    files: Path, name: str, stamped_ms: int, *, accuracy_ms: int = 1_000
) -> None:
    """Write the record of a file, and of a receipt beside it, by a validator's (stolen) key."""
    names = [files / name, files / f"{name}.receipt"]
    group = [data_object(each.read_bytes()) for each in names if each.exists()]
    plan = plan_creation([group], SHA_256)
    where = Coordinates(bytes(7), height=1, log_index=len(name))
    stamp = Stamp(imprint=plan.imprint, coordinates=where, time_ms=stamped_ms)
    issuer = issuer_of(authority_of(build_chain()), accuracy_ms=accuracy_ms)
    (record,) = plan.finish(issuer.issue(stamp))
    (files / f"{name}.ers").write_bytes(record.encode())


def test_a_stamp_of_the_chain_without_a_receipt_is_the_word_of_one_key(files: Path) -> None:
    """By a validator's stolen time-stamping key: the file is on no chain."""
    root = files.parent / "org-1.pem"
    root.write_bytes(encode_pem(authority_of(build_chain()).certificate))
    for name in ("one", "document.txt"):
        stamp_by_the_chain(files, name, CREATED_MS + 6_000)
    at = ("--at", iso_time(CREATED_MS + 60_000))
    verify = ("evidence", "verify", *at, "--trust", TRUST)
    alone = json_of(*verify, files / "one", code=ExitCode.NOT_ROOTED)
    assert alone["evidence"][0]["verdict"] == "not rooted"
    assert "the word of one key" in alone["error"]["fix"]
    json_of(*verify, files / "one", "--ca", root)
    (told,) = json_of(*verify, files / "document.txt")["evidence"]
    assert told["verdict"] == told["receipt"]["verdict"] == "verified"
    (files / "document.txt.receipt").unlink()
    json_of(*verify, files / "document.txt", code=ExitCode.NOT_ROOTED)


@pytest.mark.parametrize("height", [PLAIN, DEGRADED])
@pytest.mark.parametrize(("early_ms", "code"), [(1_500, 0), (1_501, ExitCode.NOT_VERIFIED)])
def test_no_stamp_of_a_receipt_is_from_before_its_record(
    files: Path, height: int, early_ms: int, code: int
) -> None:
    """By more than both may err: whoever stole a key dates as they like."""
    receipt = build_chain().receipt(height, 1)
    (files / "document.txt.receipt").write_bytes(receipt.encode())
    recorded_ms = receipt.leaf.time_ms
    stamp_by_the_chain(files, "document.txt", recorded_ms - early_ms, accuracy_ms=500)
    words = ("evidence", "verify", files / "document.txt", "--at", iso_time(CREATED_MS + 60_000))
    ran = json_of(*words, "--trust", TRUST, code=code)
    assert ran["evidence"][0]["receipt"]["verdict"] == "verified"
    if code:
        expected = f"step 7 failed: receipt-time: expected {iso_time(recorded_ms)} or later, got "
        assert expected + iso_time(recorded_ms - 1_001) in ran["error"]["message"]


@pytest.mark.parametrize("height", [PLAIN, DEGRADED])
def test_a_time_that_nobody_vouches_for_holds_no_outsider_to_it(
    files: Path, url: str, roots: Path, clock: Years, height: int
) -> None:
    receipt = build_chain().receipt(height, 1)
    (files / "document.txt.receipt").write_bytes(receipt.encode())
    clock.ms = receipt.leaf.time_ms - 5_000
    document = files / "document.txt"
    json_of("evidence", "create", document, "--url", url, "--ca", roots)
    clock.ms += 10_000
    json_of("evidence", "verify", document, "--ca", roots)
    code = 0 if height == DEGRADED else ExitCode.NOT_VERIFIED
    ran = json_of("evidence", "verify", document, "--ca", roots, "--trust", TRUST, code=code)
    assert ran["evidence"][0]["receipt"]["verdict"] == "verified"
    assert code == 0 or "receipt-time" in ran["error"]["message"]


def test_years_later_a_receipt_of_retired_keys_is_verified_with_its_evidence(
    files: Path, url: str, roots: Path, server: StampingServer, clock: Years
) -> None:
    """The certificate has ended, the validators changed twice: renewed, and refreshed."""
    document, chain = files / "document.txt", build_chain()
    receipt = chain.receipt(PLAIN, 1)
    (files / "document.txt.receipt").write_bytes(receipt.encode())
    words = ("--ca", roots)
    json_of("evidence", "create", document, "--url", url, *words)
    server.tsa, clock.ms = SECOND, year(2029.5)
    json_of("evidence", "renew", document, "--url", url, *words)
    clock.ms = year(2033.5)
    trust = files.parent / "later.json"
    trust.write_bytes(chain.trust(FIRST_OF_EPOCH_2).encode())
    verify = ("evidence", "verify", document, *words, "--trust", trust)
    unrooted = json_of(*verify, code=ExitCode.NOT_ROOTED)
    assert "govchain receipt refresh" in unrooted["error"]["fix"]
    refreshed = files / "document.txt.refreshed"
    joined = chain.consistency(PLAIN, FIRST_OF_EPOCH_2)
    refreshed.write_bytes(RefreshedReceipt(receipt, joined).encode())
    (told,) = json_of(*verify)["evidence"]
    assert told["receipt"]["path"] == str(refreshed)
    assert told["receipt"]["attestation"]["joined_height"] == FIRST_OF_EPOCH_2
    other = RefreshedReceipt(chain.receipt(PLAIN + 2, 1), joined)
    for content in (other.encode(), b"nothing"):  # of another receipt, and of none
        refreshed.write_bytes(content)
        json_of(*verify, code=ExitCode.NOT_ROOTED)


def test_whom_to_believe_has_to_be_said(
    files: Path, url: str, roots: Path, server: StampingServer, tmp_path: Path
) -> None:
    one = files / "one"
    ran = json_of("evidence", "create", one, "--url", url, code=ExitCode.USAGE)
    assert "--trust or --ca" in ran["error"]["message"]
    server.tsa = STRANGER
    ran = json_of(
        "evidence", "create", one, "--url", url, "--ca", roots, code=ExitCode.NOT_VERIFIED
    )
    assert ran["error"]["code"] == "GC-2305"
    assert not (files / "one.ers").exists()
    stranger = tmp_path / "stranger.pem"
    stranger.write_bytes(encode_pem(STRANGER.root))
    json_of("evidence", "create", one, "--url", url, "--ca", stranger)
    ran = json_of("evidence", "verify", one, "--ca", roots, code=ExitCode.NOT_ROOTED)
    assert "--ca" in ran["error"]["fix"]
    json_of("evidence", "verify", one, "--ca", roots, "--ca", stranger)


def test_a_certificate_that_tokens_lack_is_kept_beside_them(
    files: Path, url: str, server: StampingServer, tmp_path: Path
) -> None:
    keys = [signer(f"{name} of three") for name in ("root", "middle", "leaf")]
    root, middle = (
        certificate_of(
            key.private_key,
            name=name,
            issuer=("root", keys[0].private_key),
            is_authority=True,
            path_length=length,
        )
        for key, name, length in zip(keys, ("root", "middle"), (1, 0), strict=False)
    )
    leaf = certificate_of(keys[2].private_key, name="leaf", issuer=("middle", keys[1].private_key))
    issuer = TokenIssuer([leaf], keys[2], policy=POLICY, accuracy_ms=1_000)
    server.issue = issuer.issue
    paths = [tmp_path / "root.pem", tmp_path / "middle.pem"]
    paths[0].write_bytes(encode_pem(root))
    paths[1].write_bytes(encode_pem(middle) + encode_pem(SECOND.certificate))
    words = ("evidence", "create", files / "one", "--url", url, "--ca", paths[0])
    assert "GC-2305" in str(json_of(*words, code=ExitCode.NOT_VERIFIED)["error"])
    json_of(*words, "--certificates", paths[1])
    record = EvidenceRecord.decode((files / "one.ers").read_bytes())
    assert record.certificates == (middle,), "that which is needed, and no other"
    json_of("evidence", "verify", files / "one", "--ca", paths[0])


def test_what_an_auditor_knows_of_keys_and_algorithms_counts(
    files: Path, url: str, roots: Path, tmp_path: Path
) -> None:
    json_of("evidence", "create", files / "one", "--url", url, "--ca", roots)
    words = ("evidence", "verify", files / "one", "--ca", roots)
    stolen = tmp_path / "stolen.crl"
    stolen.write_bytes(FIRST.revoke(year(2026.4)).encoded)
    ran = json_of(*words, "--crl", stolen, code=ExitCode.NOT_VERIFIED)
    assert [each["concerns"] for each in ran["revocation_lists"]] == [True]
    foreign = tmp_path / "foreign.crl"
    foreign.write_bytes(SECOND.revoke(year(2026.4)).encoded)
    told = json_of(*words, "--crl", foreign)
    assert [each["concerns"] for each in told["revocation_lists"]] == [False]
    assert f"{foreign} says nothing of this" in run(*words, "--crl", foreign).out
    assert "certificate-revoked" in ran["error"]["message"]
    ran = json_of(*words, "--weak", "sha-256@2026-05-01", code=ExitCode.NOT_VERIFIED)
    assert "sha-256 is weak since 2026-05-01" in ran["error"]["message"]
    json_of(*words, "--weak", "sha-256@2027-05-01")
    json_of(*words, "--at", "2031-01-01", code=ExitCode.NOT_VERIFIED)
    stolen.write_bytes(b"none")
    assert json_of(*words, "--crl", stolen, code=ExitCode.USAGE)["error"]["code"] == "GC-1001"
    ran = json_of(*words, "--weak", "md5@2020-01-01", code=ExitCode.USAGE)
    assert "expected one of" in ran["error"]["message"]


def test_lists_are_told_of_whoever_is_believed() -> None:
    """Where a network is asked, its founders are, and no option names them."""
    record = (EVIDENCE / "document.txt.ers").read_bytes()
    assert Beliefs(None, (), (), ()).tell_lists(Screen("x", as_json=True), [record]) == {}


def test_a_refusal_is_told(files: Path, url: str, roots: Path, server: StampingServer) -> None:
    refusal = TimeStampRefused(Failure.TIME_NOT_AVAILABLE, "the clock is unfit")
    server.answers = encode_refused(refusal)
    words = ("evidence", "create", files / "one", "--url", url, "--ca", roots)
    ran = run(*words, "--json")
    assert (ran.code != 0, ran.json["error"]["code"]) == (True, "GC-2020")
    assert "the clock is unfit" in ran.json["error"]["message"]
    server.answers = b"nothing"
    assert json_of(*words, code=ExitCode.NOT_VERIFIED)["error"]["code"] == "GC-2305"
    assert [path.name for path in files.glob("*.ers")] == []


def test_records_may_lie_in_a_folder_of_their_own(
    files: Path, url: str, roots: Path, tmp_path: Path
) -> None:
    kept, receipts = tmp_path / "kept", tmp_path / "receipts"
    receipts.mkdir()
    (files / "document.txt.receipt").rename(receipts / "document.txt.receipt")
    words = ("--receipts", receipts, "--records", kept, "--ca", roots)
    made = json_of("evidence", "create", files, "--url", url, *words)["records"]
    assert len(made) == 3
    assert sorted(path.name for path in kept.iterdir()) == [
        "document.txt.ers",
        "one.ers",
        "two.ers",
    ]
    (told,) = json_of("evidence", "verify", files / "document.txt", *words)["evidence"]
    assert len(told["files"]) == 2
    (files / "deeper" / "one").write_bytes(b"another")
    ran = json_of("evidence", "verify", files, *words, code=ExitCode.USAGE)
    assert "would have one record" in ran["error"]["message"]


def test_of_receipts_that_bear_one_name_it_takes_that_of_the_document(
    files: Path, url: str, roots: Path, tmp_path: Path
) -> None:
    receipts, other = tmp_path / "receipts", files / "deeper" / "document.txt"
    receipts.mkdir()
    own = receipts / "files-document.txt.receipt"
    (files / "document.txt.receipt").rename(own)
    receipt = Receipt.decode(own.read_bytes())
    record = msgspec.structs.replace(receipt.leaf.record, digest=bytes(32))
    foreign = replace(receipt, leaf=msgspec.structs.replace(receipt.leaf, record=record))
    (receipts / "document.txt.receipt").write_bytes(foreign.encode())
    other.write_bytes(b"another")
    words = ("--receipts", receipts, "--ca", roots)
    refused = json_of("evidence", "create", other, "--url", url, *words, code=ExitCode.USAGE)
    assert "is no receipt of" in refused["error"]["message"]
    assert not other.with_name("document.txt.ers").exists()
    (made,) = json_of("evidence", "create", files / "document.txt", "--url", url, *words)["records"]
    assert made["files"] == [str(files / "document.txt"), str(own)]
    verify = ("evidence", "verify", files / "document.txt", *words, "--trust", TRUST)
    assert json_of(*verify)["evidence"][0]["receipt"]["verdict"] == "verified"


def test_a_name_that_notarize_shortens_is_found(files: Path, url: str, roots: Path) -> None:
    document = files / ("x" * 244)
    (files / "document.txt").rename(document)
    (name,) = name_receipts([Document(str(document), document)])
    (files / "document.txt.receipt").rename(files / name)
    (made,) = json_of("evidence", "create", document, "--url", url, "--ca", roots)["records"]
    assert made["files"] == [str(document), str(files / name)]
    said = run("evidence", "create", files / "one", "--url", url, "--ca", roots).out
    assert "(one, without a receipt)" in said


@pytest.mark.parametrize("name", ["x" * 251, "x" * 252, "照" * 85])
def test_the_record_of_a_long_name_is_found_by_either(
    name: str, files: Path, url: str, roots: Path
) -> None:
    """Each of two documents that are alike up to their last character has one of its own."""
    long, other = files / name, files / f"{name[:-1]}y"
    for path in (long, other):
        path.write_bytes(path.name.encode())
    made = json_of("evidence", "create", files, "--url", url, "--ca", roots)["records"]
    records = {each["files"][0]: each["record"] for each in made}
    assert records[str(long)] != records[str(other)]
    for path in (long, other):
        for named in (path, records[str(path)]):
            (told,) = json_of("evidence", "verify", named, "--ca", roots)["evidence"]
            assert (told["verdict"], told["files"]) == ("verified", [str(path)])
    assert json_of("evidence", "create", files, "--url", url, "--ca", roots)["records"] == []


def test_show_tells_what_a_record_says(files: Path, url: str, roots: Path) -> None:
    json_of("evidence", "create", files, "--url", url, "--ca", roots)
    (stamp,) = json_of("evidence", "show", files / "one.ers")["time_stamps"]
    assert stamp["authority"] == "CN=first tsa,O=first"
    assert (stamp["algorithm"], stamp["time_ms"]) == ("sha-256", year(2026.5))
    said = run("evidence", "show", files / "one.ers").out
    assert "2029-12-31T23:59:59.000Z" in said
    assert json_of("evidence", "show", DOCUMENT, code=ExitCode.USAGE)["error"]["code"] == "GC-1001"


def test_what_is_not_there_is_told(files: Path, url: str, roots: Path) -> None:
    for verb in ("create", "renew"):
        words = ("evidence", verb, files / "none", "--url", url, "--ca", roots)
        assert json_of(*words, code=ExitCode.USAGE)["error"]["code"] == "GC-2301"
    ran = json_of("evidence", "verify", files, "--ca", roots, code=ExitCode.USAGE)
    assert "govchain evidence create" in ran["error"]["message"]
    (files / "deeper" / "two.receipt").mkdir()  # no receipt, and no matter
    some = json_of(
        *("evidence", "create", files / "one", files / "none", "--url", url, "--ca", roots),
        code=ExitCode.SOME_FAILED,
    )
    assert [each["record"] for each in some["records"]] == [str(files / "one.ers")]


def test_files_that_cannot_be_read_are_told_apart_from_those_that_can(files: Path) -> None:
    there, gone = (Folders().subject(files / name) for name in ("one", "gone"))
    readable, faults = hash_subjects([gone, there], SHA_256)
    assert readable == [there]
    assert [fault.code for fault in faults] == ["GC-2301"]


def test_verification_opens_no_socket_and_speaks_chinese(
    files: Path, url: str, roots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    json_of("evidence", "create", files / "document.txt", "--url", url, "--ca", roots)

    def refuse(*_arguments: object, **_options: object) -> None:
        pytest.fail("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    ran = run("evidence", "verify", files / "document.txt", "--ca", roots, env=CHINESE)
    assert ran.code == 0
    assert "govchain evidence renew" in ran.out
    assert "证据记录格式正确" in ran.out


def test_the_clock_is_that_of_the_machine_unless_a_test_says() -> None:
    assert abs(evidence_options.now_ms() - year(2026)) < 50 * 31_557_600_000
