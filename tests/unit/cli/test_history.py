"""Histories and standings asked of a validator that tells the truth, and of one that does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from node.chain.block import ResultCode
from node.chain.record import RecordAction
from node.chain.reference import ReferenceName
from node.cli.exit_codes import ExitCode
from tests.unit.cli.command import run
from tests.unit.cli.served import ServedNode, prepare_home, served
from tests.unit.execution.governed_chain import GOVERNED, adding
from tests.unit.execution.small_chain import CREATED_MS, payload, tx
from tests.unit.service.chatting import Chat, govern

FOUNDERS = ("validator-1", "validator-2", "validator-3", "validator-4")
NAME = ReferenceName("agency-1", "licence", "R")
LICENCE = ("R", "--type", "licence")


def record(chat: Chat, text: str, action: RecordAction) -> None:
    """Record a text under the reference R."""
    notarization = payload(text, references=["R"], action=action)
    until_ms = CREATED_MS + 600_000
    chat.submit("validator-1", tx(notarization, chain_id=GOVERNED.chain_id, not_after_ms=until_ms))


@pytest.fixture(scope="module")
def early() -> list[bytes]:
    """Return proofs that were true once: of the first epoch, and of the second."""
    return []


@pytest.fixture(scope="module")
def node(early: list[bytes]) -> ServedNode:
    """Return a node whose chain has two epochs and three records under R, two of them in the first.

    The third withdraws it.
    """
    chat = Chat(*FOUNDERS, "validator-5")
    record(chat, "one", RecordAction.RECORD)
    record(chat, "two", RecordAction.SUPERSEDE)
    early.append(proof_by(chat))
    chat.pass_time(2_000)
    members = (*FOUNDERS, "validator-5")
    assert govern(chat, adding("validator-5"), members=members) is ResultCode.OK
    early.append(proof_by(chat))
    record(chat, "end", RecordAction.WITHDRAW)
    return ServedNode(chat.nodes["validator-1"])


def proof_by(chat: Chat) -> bytes:
    proof = ServedNode(chat.nodes["validator-1"]).queries.standing_proof(NAME)
    assert proof is not None
    return proof.encode()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, node: ServedNode) -> Iterator[Path]:
    folder = prepare_home(tmp_path_factory.mktemp("served") / "net")
    with served(node, folder):
        yield folder


@pytest.fixture
def liar(node: ServedNode) -> Iterator[ServedNode]:
    yield node
    node.hidden, node.shown = set(), None


def test_a_history_over_epochs_is_proved_whole(home: Path) -> None:
    ran = run("history", "R", "--home", home, "--json")
    assert ran.code == ExitCode.DONE
    (only,) = ran.json["histories"]
    assert (only["issuer"], only["type"], only["complete"]) == ("agency-1", "licence", True)
    assert [row["action"] for row in only["records"]] == ["record", "supersede", "withdraw"]
    plain = run("history", "R", "--home", home)
    assert "these are all the records under it, proved" in plain.out
    for wanted in (("--type", "seal"), ("--issuer", "agency-2")):
        assert run("history", "R", *wanted, "--home", home).code == ExitCode.NO_SUCH_RECORD


def test_a_record_left_out_is_noticed(home: Path, liar: ServedNode) -> None:
    rows = run("history", "R", "--home", home, "--json").json["histories"][0]["records"]
    for row in rows:
        liar.hidden = {row["log_index"]}
        ran = run("history", "R", "--home", home, "--json")
        assert (ran.code, ran.json["error"]["code"]) == (ExitCode.NOT_VERIFIED, "GC-2305")
        assert ran.json["histories"][0]["complete"] is False
    assert "NOT PROVED to be all" in run("history", "R", "--home", home).out


def test_a_proof_that_does_not_hold_is_no_answer(
    home: Path, liar: ServedNode, early: list[bytes]
) -> None:
    true = liar.queries.standing_proof(NAME)
    assert true is not None
    other = liar.queries.standing_proof(ReferenceName("agency-1", "licence", "S"))
    assert other is not None
    for shown in (b"", other.encode(), replace(true, status=None).encode(), early[0][:-1]):
        liar.shown = shown
        ran = run("record", "status", *LICENCE, "--home", home, "--json")
        assert (ran.code, ran.json["error"]["code"]) == (ExitCode.NOT_VERIFIED, "GC-2305")


def test_an_old_state_passes_with_its_date_until_a_later_epoch_is_pinned(
    home: Path, liar: ServedNode, early: list[bytes]
) -> None:
    assert run("record", "status", *LICENCE, "--home", home).code == ExitCode.NOT_VERIFIED
    liar.shown = early[0]
    ran = run("record", "status", *LICENCE, "--home", home, "--json")
    assert (ran.code, ran.json["attestation"]["standing"]) == (ExitCode.DONE, "in_force")
    assert run("trust", "export", "--home", home).code == ExitCode.DONE
    ran = run("record", "status", *LICENCE, "--home", home, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.NOT_VERIFIED, "GC-2305")
    assert "its keys are retired" in ran.json["error"]["message"]


def test_growth_is_proved_over_epochs_and_from_what_is_pinned(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "grown.consistency"
    made = run("audit", "proof", "--between", 1, "tip", "--out", out, "--home", home, "--json")
    assert (made.code, made.json["attestation"]["old"]["epoch"]) == (ExitCode.DONE, 0)
    assert made.json["attestation"]["new"]["epoch"] == 1
    assert run("trust", "export", "--home", home).code == ExitCode.DONE
    ran = run("verify", out, "--trust", home / "trust.json", "--offline")
    assert ran.code == ExitCode.DONE
    assert "none was removed, changed or moved" in ran.out
    words = ("audit", "proof", "--between", 1, "tip", "--out", out / "below a file")
    kept = run(*words, "--home", home)
    assert (kept.code, kept.out) == (ExitCode.USAGE, ""), (
        "what is not written is not called verified"
    )
    assert "GC-2306" in kept.err
