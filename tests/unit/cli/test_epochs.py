"""Verbs that verify follow the handovers from set to set; offline a trust file tells them all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from node.chain.block import CertifiedHeader, Header, ResultCode
from node.chain.certificate import Phase, QuorumCertificate, Subject, Vote, build_certificate
from node.chain.governance import RemoveValidator
from node.chain.merkle import leaf_hash, root_from_inclusion
from node.cli.exit_codes import ExitCode
from node.timestamp.receipt import Receipt
from node.timestamp.trust import TrustFile
from tests.unit.cli.command import CHINESE, run
from tests.unit.cli.served import ServedNode, prepare_home, served
from tests.unit.execution.governed_chain import GOVERNED, adding
from tests.unit.execution.small_chain import signer
from tests.unit.service.chatting import Chat, govern, notarize

FOUNDERS = ("validator-1", "validator-2", "validator-3", "validator-4")
FIFTH = "validator-5"


def grown_chat() -> Chat:
    """Return a chain of three epochs: the fifth joins at block 2, the second leaves at block 4."""
    chat = Chat(*FOUNDERS, FIFTH)
    notarize(chat, "first")
    chat.pass_time(2_000)
    assert govern(chat, adding(FIFTH), members=(*FOUNDERS, FIFTH)) is ResultCode.OK
    chat.pass_time(2_000)
    notarize(chat, "second")
    left = tuple(name for name in (*FOUNDERS, FIFTH) if name != "validator-2")
    assert govern(chat, RemoveValidator("validator-2"), members=left) is ResultCode.OK
    notarize(chat, "third")
    chat.pass_time(2_000)
    assert chat.nodes["validator-1"].engine.height == 5
    return chat


@pytest.fixture(scope="module")
def node() -> ServedNode:
    return ServedNode(grown_chat().nodes["validator-1"])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, node: ServedNode) -> Iterator[Path]:
    folder = prepare_home(tmp_path_factory.mktemp("served") / "net")
    with served(node, folder):
        yield folder


@pytest.fixture
def honest(node: ServedNode) -> Iterator[ServedNode]:
    kept = list(node.handed_over)
    yield node
    node.handed_over = kept


@pytest.mark.parametrize(
    ("height", "epoch", "size", "ends"),
    [(1, 0, 4, False), (2, 0, 4, True), (3, 1, 5, False), (4, 1, 5, True), (5, 2, 4, False)],
)
def test_a_block_is_shown_by_the_validators_of_its_epoch(
    home: Path, height: int, epoch: int, size: int, *, ends: bool
) -> None:
    shown = run("block", "show", height, "--home", home, "--json").json["block"]
    assert (shown["epoch"], shown["validators"], shown["ends_epoch"]) == (epoch, size, ends)
    gone = {0: FIFTH, 1: "nobody", 2: "validator-2"}[epoch]
    assert gone not in shown["signers"]
    assert shown["proposer"] in shown["signers"]


def twisted(node: ServedNode, how: str) -> None:
    first, second = node.handed_over
    node.handed_over = {
        "missing": [],
        "short": [first],
        "first missing": [second],
        "reversed": [second, first],
        "replayed": [first, first],
        "tampered": [first[:-2] + bytes([first[-2] ^ 1, first[-1]]), second],
        "malformed": [b"none"],
    }[how]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("missing", "nothing leads from epoch 0 to epoch 2"),
        ("short", "nothing leads from epoch 1 to epoch 2"),
        ("first missing", "certificate-set"),
        ("reversed", "certificate-set"),
        ("replayed", "certificate-set"),
        ("tampered", "handover-set"),
        ("malformed", "handover"),
    ],
)
def test_handovers_that_do_not_hold_are_told_and_nothing_is_believed(
    home: Path, honest: ServedNode, tmp_path: Path, how: str, said: str
) -> None:
    twisted(honest, how)
    for words in (("block", "show", "5"), ("trust", "export", "--out", tmp_path / "trust")):
        ran = run(*words, "--home", home, "--json")
        assert (ran.code, ran.json["error"]["code"]) == (ExitCode.NOT_VERIFIED, "GC-2305")
        assert said in ran.json["error"]["message"]
    assert not (tmp_path / "trust").exists()
    assert run("block", "show", "1", "--home", home).code == 0


def test_a_trust_file_is_exported_and_walked_through_offline(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "trust"
    made = run("trust", "export", "--out", path, "--home", home, "--json").json
    assert (made["height"], made["epoch"], made["ends_epoch"]) == (5, 2, False)
    ran = run("trust", "show", path, "--json")
    assert ran.code == 0
    assert [each["first_height"] for each in ran.json["epochs"]] == [1, 3, 5]
    assert [each["joined"] for each in ran.json["epochs"]] == [[], [FIFTH], []]
    assert [each["left"] for each in ran.json["epochs"]] == [[], [], ["validator-2"]]
    barriers = [each["handover"] for each in ran.json["epochs"]]
    assert [each and each["height"] for each in barriers] == [2, 4, None]
    assert all(FIFTH not in each["signers"] for each in barriers[:1])
    told = run("trust", "show", path)
    assert "followed from the genesis over 2 handovers to block 5" in told.out
    assert "从创世块" in run("trust", "show", path, env=CHINESE).out


def test_a_later_trust_file_must_go_on_from_the_one_at_hand(
    home: Path, honest: ServedNode, tmp_path: Path
) -> None:
    early, late = tmp_path / "early", tmp_path / "late"
    chat = Chat(*FOUNDERS)
    notarize(chat, "of another history")
    forked = ServedNode(chat.nodes["validator-1"])
    whole, honest.queries = honest.queries, forked.queries
    engine, honest.engine = honest.engine, forked.engine
    try:
        run("trust", "export", "--out", early, "--home", home, "--json")
    finally:
        honest.queries, honest.engine = whole, engine
    run("trust", "export", "--out", late, "--home", home, "--json")
    ran = run("trust", "show", late, "--since", early, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2308")
    assert "history-" in ran.json["error"]["message"]
    assert run("trust", "show", late, "--since", late).code == 0


def test_what_is_pinned_beside_the_profile_is_never_given_up(
    home: Path, honest: ServedNode
) -> None:
    path = home / "trust.json"
    try:
        assert run("trust", "export", "--home", home, "--json").json["height"] == 5
        honest.handed_over = []  # nothing is asked any more
        assert run("block", "show", "5", "--home", home).code == 0
        chat = Chat(*FOUNDERS)
        for number in range(7):
            notarize(chat, f"of another history {number}")
        forked = ServedNode(chat.nodes["validator-1"])
        whole, honest.queries = honest.queries, forked.queries
        engine, honest.engine = honest.engine, forked.engine
        try:
            for words in (("trust", "export"), ("block", "show", "3")):
                ran = run(*words, "--home", home, "--json")
                assert (ran.code, ran.json["error"]["code"]) == (ExitCode.NOT_VERIFIED, "GC-2305")
        finally:
            honest.queries, honest.engine = whole, engine
        path.write_bytes(b"damaged")
        ran = run("block", "show", "5", "--home", home, "--json")
        assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2308")
    finally:
        path.unlink()


def first_receipt(node: ServedNode, folder: Path) -> Path:
    """Write the receipt of the document that was recorded in epoch 0."""
    return receipt_of_block(1, node, folder / "first.receipt")


def receipt_of_block(height: int, node: ServedNode, path: Path) -> Path:
    """Write the receipt of the first operation of a block."""
    block = node.queries.block(height)
    assert block is not None
    found = node.queries.receipts(block.transaction(0).tx_id, 0, 1)
    assert found
    path.write_bytes(found[0].encode())
    return path


def test_a_receipt_of_a_retired_epoch_is_joined_to_a_later_block(
    home: Path, node: ServedNode, tmp_path: Path
) -> None:
    receipt, trust = first_receipt(node, tmp_path), tmp_path / "trust"
    assert run("trust", "export", "--out", trust, "--home", home).code == 0
    record = Receipt.decode(receipt.read_bytes()).leaf.record
    words = ("verify", record.digest.hex(), "--trust", trust, "--offline", "--json", "--receipt")
    refused = run(*words, receipt)
    assert refused.code == ExitCode.NOT_ROOTED
    assert "govchain receipt refresh" in refused.json["error"]["fix"]
    made = run("receipt", "refresh", receipt, "--home", home, "--json").json["refreshed"]
    assert [each["path"] for each in made] == [str(tmp_path / "first.refreshed")]
    verified = run(*words, tmp_path / "first.refreshed")
    attested = verified.json["attestation"]
    assert (verified.code, attested["height"], attested["joined_height"]) == (0, 1, 5)
    assert "validator-2" not in attested["signers"], "it left before the block that it is joined to"
    refreshed = tmp_path / "first.refreshed"
    shown = run("receipt", "show", refreshed, "--json").json
    assert (shown["receipt"]["height"], shown["joined_height"]) == (1, 5)
    again = run("receipt", "refresh", refreshed, "--home", home, "--trust", trust)
    assert again.code == 0, "what is refreshed can be refreshed again"
    assert "joined to block 5 of epoch 2" in again.out
    assert "ends epoch" not in again.err
    assert made[0]["ends_epoch"] is False
    said = run(*words[:5], "--receipt", refreshed).out
    assert "the signers are those of block 5" in said


def test_one_bad_receipt_of_many_does_not_keep_the_others(
    home: Path, node: ServedNode, tmp_path: Path
) -> None:
    receipt, bad, taken = first_receipt(node, tmp_path), tmp_path / "bad", tmp_path / "taken"
    bad.write_bytes(b"nothing")
    taken.mkdir()
    (taken / "first.refreshed").write_bytes(b"something else")
    words = ("receipt", "refresh", bad, receipt, "--home", home, "--json")
    ran = run(*words)
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-1001")
    assert [each["path"] for each in ran.json["refreshed"]] == [str(tmp_path / "first.refreshed")]
    ran = run(*words[:2], receipt, "--out", taken, "--home", home, "--json")
    assert ran.json["error"]["code"] == "GC-2306"
    assert (taken / "first.refreshed").read_bytes() == b"something else"


def test_a_receipt_of_the_newest_block_is_told_and_does_not_keep_the_others(
    home: Path, node: ServedNode, tmp_path: Path
) -> None:
    newest = receipt_of_block(5, node, tmp_path / "newest.receipt")
    words = ("receipt", "refresh", newest, first_receipt(node, tmp_path), "--home", home)
    ran = run(*words, "--json")
    assert ran.code == 0
    paths = [each["path"] for each in ran.json["refreshed"]]
    assert paths == [None, str(tmp_path / "first.refreshed")]
    assert not (tmp_path / "newest.refreshed").exists()
    assert f"{newest}: nothing to join yet" in run(*words).out
    assert "暂无可连接" in run(*words, env=CHINESE).out
    forged = newest.read_bytes()
    newest.write_bytes(forged[:-70] + bytes([forged[-70] ^ 1]) + forged[-69:])
    ran = run(*words, "--json")
    assert ran.code != 0, "nothing newer makes no forged receipt sound"
    assert ran.json["refreshed"][-1]["path"] == str(tmp_path / "first.refreshed")


def test_what_a_validator_refuses_of_one_receipt_does_not_keep_the_others(
    home: Path, node: ServedNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = first_receipt(node, tmp_path)
    later = receipt_of_block(3, node, tmp_path / "later.receipt")
    whole = node.queries

    async def lagging(old_height: int, _new_height: int | None) -> bytes | None:
        proof = whole.consistency_proof(old_height, 5 if old_height == 1 else old_height)
        return None if proof is None else proof.encode()

    monkeypatch.setattr(node, "consistency_proof", lagging)
    ran = run("receipt", "refresh", later, first, "--home", home, "--json")
    assert ran.code != 0
    assert "two that rise" in ran.json["error"]["message"]
    assert [each["path"] for each in ran.json["refreshed"]] == [str(tmp_path / "first.refreshed")]


def test_a_block_that_ends_its_epoch_is_pinned_and_joined_to_with_a_warning(
    home: Path, honest: ServedNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = Chat(*FOUNDERS, FIFTH)
    notarize(chat, "first")
    chat.pass_time(2_000)
    assert govern(chat, adding(FIFTH), members=(*FOUNDERS, FIFTH)) is ResultCode.OK
    rotated = ServedNode(chat.nodes["validator-1"])
    for name in ("queries", "engine", "handed_over"):
        monkeypatch.setattr(honest, name, getattr(rotated, name))
    export = ("trust", "export", "--home", home, "--out")
    ran = run(*export, tmp_path / "trust")
    assert ran.code == 0
    assert "block 2 ends epoch 0: the keys that it retires still count" in ran.err
    assert "请再次导出" in run(*export, tmp_path / "zh", env=CHINESE).err
    assert run(*export, tmp_path / "json", "--json").json["ends_epoch"] is True
    refresh = ("receipt", "refresh", first_receipt(honest, tmp_path), "--home", home)
    ran = run(*refresh)
    assert ran.code == 0
    assert "joined to block 2 of epoch 0" in ran.out
    assert "block 2 ends epoch 0: trust files of the next one will not take it" in ran.err
    assert "请再次刷新" in run(*refresh, env=CHINESE).err
    assert run(*refresh, "--json").json["refreshed"][0]["ends_epoch"] is True


def signed_by_the_founders(header: Header) -> QuorumCertificate:
    """Return a certificate by the keys of epoch 0."""
    founders = GOVERNED.validators
    subject = Subject(Phase.COMMIT, header.view, header.height, header.digest(founders.suite))
    message = subject.sign_bytes(GOVERNED.chain_id, founders, header.time_ms)
    votes = [
        Vote(subject, index, header.time_ms, signer(member.validator_id).sign(message), 0)
        for index, member in enumerate(founders.validators)
    ]
    return build_certificate(votes, founders)


def test_what_is_not_on_the_chain_is_not_refreshed(
    home: Path, node: ServedNode, tmp_path: Path
) -> None:
    receipt = first_receipt(node, tmp_path)
    forged = Receipt.decode(receipt.read_bytes())
    header = replace(forged.block.header, time_ms=forged.block.header.time_ms - 1)
    vouched = structs.replace(forged.leaf, time_ms=header.time_ms)
    leaf = leaf_hash(vouched.encode(), forged.suite.hash)
    size = header.log_size
    root = root_from_inclusion(leaf, forged.log_index, size, forged.log_path, forged.suite.hash)
    header = replace(header, log_roots=(root,))
    block = CertifiedHeader(header, signed_by_the_founders(header))
    receipt.write_bytes(replace(forged, leaf=vouched, block=block, cose=None).encode())
    record = vouched.record
    genesis = tmp_path / "genesis"
    genesis.write_bytes(TrustFile(chain_id=GOVERNED.chain_id, genesis=GOVERNED).encode())
    words = ("verify", record.digest.hex(), "--receipt", receipt, "--trust", genesis, "--offline")
    assert run(*words).code == 0, "those who hold the keys of epoch 0 sign what they like"
    ran = run("receipt", "refresh", receipt, "--home", home, "--json")
    assert ran.code == ExitCode.NOT_VERIFIED
    assert "refreshed-header" in ran.json["error"]["message"]
    assert not (tmp_path / "first.refreshed").exists()
