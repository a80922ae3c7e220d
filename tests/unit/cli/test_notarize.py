"""What is told of documents that may be on the chain, but have no receipt here."""

from __future__ import annotations

import gettext
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from node.chain.record import Notarization, RecordAction
from node.chain.transaction import Transaction
from node.cli.exit_codes import ExitCode
from node.cli.inputs import Document
from node.cli.recording import Item, tell_trouble
from node.cli.screen import Fault, Screen
from node.client.recording import Learn, Recorded, Sending
from node.rpc.client import NotFinal
from tests.unit.cli.command import run
from tests.unit.execution.small_chain import tx


def signed(digests: Sequence[bytes]) -> Transaction:
    """Return a transaction that records these digests, of whatever chain."""
    batch = Notarization(
        digest_algorithm=1,
        type_code="document",
        action=RecordAction.RECORD,
        digests=b"".join(digests),
    )
    return tx(batch).transaction


ERROR = NotFinal("not final in time")
FAULT = Fault("GC-2207", "not final in time", "govchain receipt fetch tx:aa:0")


def test_how_to_get_its_receipt_is_told_of_a_document_that_was_sent(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sent, unread = Document("sent", Path("sent")), Document("unread", Path("unread"))
    screen = Screen("notarize", as_json=False)
    tell_trouble(screen, Item(sent, Recorded(b"\xaa", 0, error=ERROR), fault=FAULT))
    tell_trouble(screen, Item(unread, fault=Fault("GC-2301", "no such file", "check the path")))
    assert capsys.readouterr().out.splitlines() == [
        "NOT FINAL YET  sent: GC-2207 accepted, but not final yet: not final in time",
        "  fix: govchain receipt fetch tx:aa:0",
        "FAILED  unread: GC-2301 input cannot be read: no such file",
    ]


def test_what_is_not_recorded_is_no_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(
        _network: object, digests: Sequence[bytes], _outlook: object, learn: Learn, sending: Sending
    ) -> None:
        sent = signed(digests)
        sending(0, sent)
        learn(0, [Recorded(sent.tx_id, 0, error=ERROR)])

    monkeypatch.setattr("node.cli.recording.record_digests", refuse)
    monkeypatch.setattr("node.cli.recording.await_service", lambda *_arguments: None)
    monkeypatch.setattr("node.cli.screen._PLAIN_PROGRESS_S", 0)
    home, file = tmp_path / "net", tmp_path / "file"
    file.write_bytes(b"content")
    assert run("testnet", "init", "--home", home, "-n", 1).code == 0
    ran = run("notarize", file, "--home", home, "--out", tmp_path / "out")
    assert ran.code == ExitCode.NOT_FINAL
    assert "hashing: 100 %" in ran.err
    assert "recording: 100 %" not in ran.err


def test_of_many_documents_each_is_told_by_the_few_messages_it_needs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up = 0
    translate = gettext.dgettext

    def count(domain: str, message: str) -> str:
        nonlocal looked_up
        looked_up += 1
        return translate(domain, message)

    monkeypatch.setattr(gettext, "dgettext", count)
    screen, number = Screen("notarize", as_json=False), 10_000
    for place in range(number):
        document = Document(f"{place}", Path(f"{place}"))
        item = Item(document, Recorded(b"\xaa", place, error=ERROR), fault=FAULT)
        item.to_json()
        tell_trouble(screen, item)
    assert capsys.readouterr().out.count("NOT FINAL YET") == number
    assert looked_up <= 5 * number


def test_an_interrupted_run_tells_what_was_sent_and_what_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transactions: list[Transaction] = []

    def interrupt(
        _network: object, digests: Sequence[bytes], _outlook: object, learn: Learn, sending: Sending
    ) -> None:
        assert len(digests) == 3
        transactions.append(signed(digests[:2]))
        sending(0, transactions[0])
        tx_id = transactions[0].tx_id
        learn(0, [Recorded(tx_id, 0, error=ERROR), Recorded(tx_id, 1)])
        raise KeyboardInterrupt

    monkeypatch.setattr("node.cli.recording.record_digests", interrupt)
    monkeypatch.setattr("node.cli.recording.await_service", lambda *_arguments: None)
    home, files = tmp_path / "net", [tmp_path / name for name in "abc"]
    for file in files:
        file.touch()
    assert run("testnet", "init", "--home", home, "-n", 1).code == 0
    ran = run("notarize", *files, "--home", home, "--out", tmp_path / "out", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.INTERRUPTED, "GC-2313")
    assert "--resume" in ran.json["error"]["fix"]
    settled, sent, unsent = ran.json["items"]
    assert settled["error"]["code"] == FAULT.code
    tx_id = transactions[0].tx_id.hex()
    assert (sent["error"]["code"], sent["transaction"]) == ("GC-2313", tx_id)
    assert f"receipt fetch tx:{tx_id}:1" in sent["error"]["fix"]
    assert unsent["error"]["message"] == "not sent: interrupted: stopped before it was done"
    assert "transaction" not in unsent


def test_nothing_is_recorded_whose_receipt_could_not_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[object] = []
    monkeypatch.setattr("node.cli.recording.record_digests", called.append)
    home, file = tmp_path / "net", tmp_path / "file"
    file.touch()
    assert run("testnet", "init", "--home", home, "-n", 1).code == 0
    ran = run("notarize", file, "--home", home, "--out", file / "out", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2306")
    assert called == []


@pytest.mark.parametrize("option", ["--type", "--ref"])
@pytest.mark.parametrize("text", ["", "a\nb", "a\x1b[31m", "x" * 300, "\udcff"])
def test_a_text_that_no_record_can_hold_is_wrong_usage(
    tmp_path: Path, option: str, text: str
) -> None:
    ran = run("notarize", tmp_path, option, text, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2303")
    assert "printable" in ran.json["error"]["message"]


@pytest.mark.parametrize("words", [("notarize", "x"), ("record", "list"), ("block", "show")])
def test_an_empty_identity_is_wrong_usage(words: tuple[str, ...]) -> None:
    ran = run(*words, "--as", "", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2303")
    assert "--as" in ran.json["error"]["message"]


def test_a_network_that_nobody_runs_is_waited_for_no_longer_than_told(tmp_path: Path) -> None:
    home, file = tmp_path / "net", tmp_path / "file"
    file.touch()
    assert run("testnet", "init", "--home", home, "-n", 1).code == 0
    for patience_s in (0, 1):
        began_s = time.monotonic()
        ran = run("notarize", file, "--home", home, "--out", tmp_path, "--wait", patience_s)
        assert ran.code == ExitCode.UNAVAILABLE
        assert "GC-2205" in ran.err
        assert ("waiting up to 1 s" in ran.err) == bool(patience_s)
        assert patience_s <= time.monotonic() - began_s < patience_s + 5
