"""`policy test` of transactions, by the state after a block of a chain that is served."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from node.chain.block import CertifiedBlock, ResultCode
from node.chain.identity import ChangeStatus, Status, Subject
from node.chain.transaction import Payload, TransactionBody, TransactionKind, sign_transaction
from node.cli.exit_codes import ExitCode
from node.storage.past import Pruned
from tests.unit.cli.command import run
from tests.unit.cli.served import ServedNode, prepare_home, served
from tests.unit.execution.governed_chain import GOVERNED, governed
from tests.unit.execution.small_chain import payload, signer
from tests.unit.service.chatting import Chat, govern, notarize

FOUNDERS = ("validator-1", "validator-2", "validator-3", "validator-4")
FREEZE = ChangeStatus(Subject.IDENTITY, "agency-1", Status.FROZEN, "")
FROZEN_AT = 2


@pytest.fixture(scope="module")
def node() -> ServedNode:
    """Return a node whose chain freezes agency-1 in its second block."""
    chat = Chat(*FOUNDERS)
    notarize(chat, "first")
    assert govern(chat, FREEZE, members=()) is ResultCode.OK
    return ServedNode(chat.nodes["validator-1"])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, node: ServedNode) -> Iterator[Path]:
    folder = prepare_home(tmp_path_factory.mktemp("served") / "net")
    with served(node, folder):
        yield folder


def body(wanted: Payload, sender: str = "agency-1") -> TransactionBody:
    governs = TransactionKind.GOVERN if wanted.count == 0 else TransactionKind.NOTARIZE
    return TransactionBody(
        chain_id=GOVERNED.chain_id,
        sender=sender,
        nonce=bytes(16),
        not_after_ms=1,
        kind=governs,
        payload=wanted,
    )


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_a_body_is_tried_by_the_state_before_and_after_its_sender_was_frozen(
    home: Path, tmp_path: Path
) -> None:
    asked = written(tmp_path / "body.cbor", body(payload("a", "b")).encode())
    words = ("policy", "test", asked, "--home", home, "--scratch", tmp_path)
    before = run(*words, "--at-height", FROZEN_AT - 1, "--json")
    assert before.code == ExitCode.DONE, before.out
    passing = {"outcome": "OK", "rules": ["notarize"]}
    assert before.json["operations"] == [passing, passing]
    assert (before.json["outcome"], before.json["is_signed"]) == ("OK", False)
    assert before.json["admission"] == "ACCEPTED"
    assert before.json["rules"]["notarize"]["is_default"]
    after = run(*words, "--at-height", FROZEN_AT, "--json")
    frozen = {"outcome": "IDENTITY_FROZEN", "rules": ["notarize"]}
    assert after.json["operations"] == [frozen, frozen]
    assert (after.json["outcome"], after.json["height"]) == ("IDENTITY_FROZEN", FROZEN_AT)
    told = run(*words, "--at-height", FROZEN_AT)
    assert "0-1: IDENTITY_FROZEN" in told.out
    assert "decided by notarize" in told.out
    assert [path.name for path in tmp_path.iterdir()] == ["body.cbor"], "scratch is gone"


def test_each_governed_operation_is_told_with_the_rules_that_decide_it(
    home: Path, tmp_path: Path
) -> None:
    asked = governed(FREEZE, replace(FREEZE, name="nobody"))
    content = body(asked, "admin-1").encode()
    words = ("policy", "test", "-", "--home", home, "--scratch", tmp_path)
    ran = run(*words, "--at-height", FROZEN_AT - 1, "--json", stdin=content)
    assert ran.code == ExitCode.DONE, ran.out
    rules = ["govern", "freeze-identity"]
    assert ran.json["operations"] == [
        {"outcome": "OK", "rules": rules},
        {"outcome": "IDENTITY_UNKNOWN", "rules": rules},
    ]
    assert (ran.json["outcome"], ran.json["operation"]) == ("IDENTITY_UNKNOWN", 1)


def test_a_signature_that_does_not_verify_is_told(home: Path, tmp_path: Path) -> None:
    asked = body(payload("a"))
    for key, admission in (("agency-1", "ACCEPTED"), ("agency-2", "BAD_SIGNATURE")):
        signed = sign_transaction(asked, signer(key), GOVERNED.suite)
        path = written(tmp_path / key, signed.encoded)
        words = ("policy", "test", path, "--home", home, "--scratch", tmp_path)
        ran = run(*words, "--at-height", 1, "--json")
        assert (ran.json["admission"], ran.json["is_signed"]) == (admission, True)
        assert ran.json["outcome"] == "OK", "the rules would let it pass"


def test_strangers_and_other_chains_are_told(home: Path, tmp_path: Path) -> None:
    words = ("--home", home, "--scratch", tmp_path, "--at-height", 0, "--json")
    stranger = written(tmp_path / "stranger", body(payload("a"), "nobody").encode())
    ran = run("policy", "test", stranger, *words)
    assert (ran.json["admission"], ran.json["outcome"]) == ("UNKNOWN_SENDER", None)
    elsewhere = replace_chain(body(payload("a")))
    ran = run("policy", "test", written(tmp_path / "else", elsewhere.encode()), *words)
    assert (ran.json["admission"], ran.json["outcome"]) == ("WRONG_CHAIN", "OK")


def replace_chain(asked: TransactionBody) -> TransactionBody:
    return TransactionBody(
        chain_id=bytes(32),
        sender=asked.sender,
        nonce=asked.nonce,
        not_after_ms=asked.not_after_ms,
        kind=asked.kind,
        payload=asked.payload,
    )


def test_a_state_that_nobody_can_make_again_is_said_to_be_gone(
    home: Path, tmp_path: Path, node: ServedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pruned(height: int) -> CertifiedBlock | None:
        raise Pruned(height + 1)

    path = written(tmp_path / "body", body(payload("a")).encode())
    words = ("policy", "test", path, "--home", home, "--scratch", tmp_path, "--json")
    unheard = run(*words, "--at-height", FROZEN_AT + 1)
    assert unheard.json["error"]["code"] == "GC-2203"
    monkeypatch.setattr(node.queries, "block", pruned)
    gone = run(*words, "--at-height", 1)
    assert gone.json["error"]["code"] == "GC-2210"
    assert "not kept any more" in gone.json["error"]["message"]
    genesis = run(*words, "--at-height", 0)
    assert genesis.json["outcome"] == "OK", "that of genesis is in the profile's folder"


@pytest.mark.parametrize("content", [b"", b"\x82\x00", b"\x87\x00", b"{}"])
def test_what_is_no_transaction_is_refused(home: Path, tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path / "wrong", content)
    words = ("policy", "test", path, "--home", home, "--at-height", 0, "--json")
    ran = run(*words)
    assert ran.json["error"]["code"] == "GC-1001"
