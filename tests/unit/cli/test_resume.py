"""Recording that was stopped, and gone on with: nothing is recorded twice, no receipt is lost."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.chain.transaction import Transaction
from node.cli.exit_codes import ExitCode
from node.crypto.signature import PublicKey
from node.errors import ClientError
from node.timestamp.receipt import Receipt
from tests.suites import SUITE, signer_from
from tests.unit.cli.command import CHINESE, ENGLISH, run
from tests.unit.cli.instant import Office
from tests.unit.cli.served import served

OUR_TAGS = b"govchain/"


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    found = Office(tmp_path)
    with served(found.node, found.home, found.node.chain.chain_id):
        yield found


def test_what_was_recorded_is_not_recorded_again(office: Office) -> None:
    office.write("a", "b")
    assert office.notarize().json["recorded_before"] == 0
    office.write("c")
    ran = office.notarize("--resume")
    assert [item["status"] for item in ran.json["items"]] == [
        "recorded_before",
        "recorded_before",
        "recorded",
    ]
    assert (ran.json["recorded"], ran.json["recorded_before"]) == (3, 2)
    office.expect_all_once()


def test_a_document_is_known_by_its_content_whatever_it_is_called(office: Office) -> None:
    office.write("a", "b")
    assert office.notarize().code == ExitCode.DONE
    (office.documents / "a").rename(office.documents / "z")
    (office.documents / "b").write_text("another content of b")
    ran = office.notarize("--resume")
    assert [item["status"] for item in ran.json["items"]] == ["recorded", "recorded_before"]
    assert ran.json["items"][1]["receipt"] == str(office.out / "a.receipt")


@pytest.mark.parametrize("option", [("--type", "seal"), ("--ref", "No. 1")])
def test_another_record_of_the_same_content_is_another_matter(
    office: Office, option: tuple[str, str]
) -> None:
    office.write("a")
    assert office.notarize().code == ExitCode.DONE
    for status in ("recorded", "recorded_before"):
        assert office.notarize("--resume", *option).json["items"][0]["status"] == status
    assert sum(office.node.documents.values()) == 2


def test_a_receipt_that_does_not_verify_does_not_count(office: Office) -> None:
    office.write("a")
    assert office.notarize().code == ExitCode.DONE
    path = office.out / "a.receipt"
    path.write_bytes(path.read_bytes()[:-200] + bytes(200))
    assert office.notarize("--resume").json["items"][0]["status"] == "recorded"


@pytest.mark.parametrize("committed", [False, True])
def test_what_had_no_answer_is_sent_again_as_it_was(office: Office, *, committed: bool) -> None:
    office.write(*"abcde")
    sent: list[Transaction] = []

    def lose(transaction: Transaction) -> None:
        sent.append(transaction)
        if len(sent) >= 2:
            raise ClientError("lost")

    hook = "after_commit" if committed else "before_commit"
    setattr(office.node, hook, lose)
    assert office.notarize("--batch", 2).code != ExitCode.DONE
    assert office.under_way
    setattr(office.node, hook, lambda _transaction: None)
    ran = office.notarize("--resume")
    assert ran.code == ExitCode.DONE, ran.out
    office.expect_all_once()


def test_receipts_that_are_missing_are_fetched(office: Office) -> None:
    office.write(*"abc")
    office.node.receipts_max = 0
    assert office.notarize().code != ExitCode.DONE
    assert len(office.under_way) == 1
    assert not [*office.out.glob("*.receipt")]
    refused = office.notarize("--resume")
    assert refused.code != ExitCode.DONE
    assert "items" not in refused.json  # nothing is recorded while it is not known what was
    office.node.receipts_max = None
    assert office.notarize("--resume").json["recorded_before"] == 3
    office.expect_all_once()


@pytest.mark.parametrize("strike", ["before_commit", "after_commit"])
def test_killed_in_the_middle_it_goes_on(office: Office, strike: str) -> None:
    names = [f"document {number}" for number in range(12)]
    office.write(*names)
    command = [sys.executable, "-m", "node"]
    arguments = [*map(str, office.arguments(office.documents, "--batch", 5))]
    process = subprocess.Popen([*command, *arguments], env=os.environ | ENGLISH)
    seen: list[bytes] = []

    def kill(transaction: Transaction) -> None:
        if transaction.tx_id not in seen:
            seen.append(transaction.tx_id)
        if len(seen) == 2:
            process.send_signal(signal.SIGKILL)
            process.wait()

    setattr(office.node, strike, kill)
    assert process.wait(60) == -signal.SIGKILL
    assert office.under_way
    ran = office.notarize("--resume")
    assert ran.code == ExitCode.DONE, ran.out
    office.expect_all_once()


def test_an_earlier_run_is_told_of(office: Office) -> None:
    office.write("a")
    office.node.receipts_max = 0
    assert office.notarize().code != ExitCode.DONE
    office.node.receipts_max = None
    assert "--resume" in run(*office.arguments(office.documents)).err
    said = run(*office.arguments(office.documents), env=CHINESE).err
    assert "--resume" in said
    assert "an earlier run" not in said


def test_a_table_is_recorded_and_gone_on_with(office: Office, tmp_path: Path) -> None:
    office.write("a", "b")
    digest = hashlib.sha256(b"elsewhere").hexdigest()
    files, digests = tmp_path / "files.csv", tmp_path / "digests.csv"
    files.write_text("file,name,reference\ndocuments/a,A,No. 1\ndocuments/b,,\ndocuments/c,,\n")
    digests.write_text(f"digest,name\n{digest},照片\n")
    for status in ("recorded", "recorded_before"):
        ran = run(*office.arguments("--csv", files, "--resume", "--json"))
        assert ran.code == ExitCode.SOME_FAILED
        assert [each["status"] for each in ran.json["items"]] == [status, status, "failed"]
        ran = run(*office.arguments("--csv", digests, "--resume", "--json"))
        assert [(each["path"], each["status"]) for each in ran.json["items"]] == [("照片", status)]
    receipt = Receipt.decode((office.out / "A.receipt").read_bytes())
    assert receipt.leaf.record.reference == "No. 1"
    assert (office.out / "照片.receipt").exists()
    assert sorted(office.node.documents.values()) == [1, 1, 1]


def test_a_thousand_documents_are_one_transaction_and_a_thousand_receipts(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[bytes] = []
    kind: Any = type(signer_from(bytes(range(32))).public_key)
    verify = kind.verify

    def note(key: PublicKey, message: bytes, signature: bytes) -> bool:
        if message.startswith(OUR_TAGS):  # certificates are signed otherwise
            checked.append(signature)
        return bool(verify(key, message, signature))

    monkeypatch.setattr(kind, "verify", note)
    digests = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(1_000)]
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["digest", *digests]))
    ran = run(*office.arguments("--csv", table, "--json"))
    assert ran.code == ExitCode.DONE, ran.err
    rows = ran.json["items"]
    assert {row["transaction"] for row in rows} == {rows[0]["transaction"]}
    assert [row["operation"] for row in rows] == [*range(1_000)]
    assert [row["digest"] for row in rows] == [
        f"{SUITE.document_digest.name}:{digest}" for digest in digests
    ]
    kept = [Receipt.decode(Path(row["receipt"]).read_bytes()) for row in rows]
    assert [receipt.leaf.record.digest.hex() for receipt in kept] == digests
    assert len({receipt.log_index for receipt in kept}) == 1_000
    assert len(checked) == 2  # the transaction's, and the vote for the block of all receipts
    assert office.under_way == []


def test_one_bad_record_fails_its_transaction_and_is_named(office: Office, tmp_path: Path) -> None:
    office.write("a", "b", "c")
    table = tmp_path / "table.csv"
    table.write_text("file,reference\ndocuments/a,R\ndocuments/b,\ndocuments/c,R\n")
    ran = run(*office.arguments("--csv", table, "--json"))
    assert ran.code == ExitCode.REFUSED
    messages = [each["error"]["message"] for each in ran.json["items"]]
    assert [message.partition(": ")[0] for message in messages] == [
        "record 3 of its transaction",
        "record 3 of its transaction",
        "REFERENCE_IN_FORCE",
    ]
    assert not office.node.documents
    assert office.under_way == []  # it has no effect, and never will


@pytest.mark.parametrize(
    "content",
    [b"", b"\x83", b"\x83\x6fgovchain-sent-9\x40\x80", b"\x83\x6fgovchain-sent-1\x40\x80"],
)
def test_what_is_not_ours_is_under_way_is_refused(office: Office, content: bytes) -> None:
    office.write("a")
    office.out.mkdir()
    (office.out / "x.sent").write_bytes(content)
    ran = office.notarize("--resume")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-1001")
    assert "x.sent" in ran.json["error"]["message"]
    assert not office.node.documents
