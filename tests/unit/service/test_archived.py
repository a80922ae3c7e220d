"""Archives: written, read, checked by a trust file alone, and refused whatever was changed."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from node.chain.block import CertifiedHeader, ResultCode
from node.chain.encoding import decode, encode
from node.chain.governance import SetParameters
from node.errors import DecodeError, NodeError, ProofError
from node.execution.apply import Executor
from node.service.archived import ArchiveCheck, anchor_of, blocks_of, head_of, take_in
from node.service.queries import Queries
from node.storage import archive
from node.storage.archive import MAGIC, ArchiveHead, ArchiveReader, BlockValues, write_archive
from node.storage.kv import WriteBatch
from node.storage.ledger import LedgerStore
from node.storage.ledger_check import verify_store
from node.storage.memory import MemoryStore
from node.storage.packing import unpack
from node.storage.past import Pruned
from node.storage.stored_block import StoredBlock
from node.timestamp.trust import TrustAnchor, TrustFile, load_trust
from tests.unit.execution.governed_chain import GOVERNED
from tests.unit.execution.small_chain import build_genesis
from tests.unit.service.chatting import Chat, Node, govern, notarize
from tests.unit.timestamp.cddl import Schema
from tests.vectors.archive import generate
from tests.vectors.archive.generate import ARCHIVE, TRUST

SUITE = GOVERNED.suite
GENESIS_BLOCK = Executor(GOVERNED).genesis_block()
FOUNDERS = ("validator-1", "validator-2", "validator-3", "validator-4")
GENESIS_ALONE = TrustFile(chain_id=GOVERNED.chain_id, genesis=GOVERNED).establish()


@pytest.fixture(scope="module")
def grown() -> Node:
    """Return a validator of a chain of two epochs and some blocks."""
    chat = Chat(*FOUNDERS)
    for number in range(3):
        notarize(chat, f"first epoch {number}")
    change = SetParameters(replace(GOVERNED.parameters, view_timeout_ms=900))
    assert govern(chat, change, members=FOUNDERS) is ResultCode.OK
    for number in range(2):
        notarize(chat, f"second epoch {number}")
    return chat.nodes["validator-1"]


@pytest.fixture(scope="module")
def ledger(grown: Node) -> LedgerStore:
    return grown.ledger


def copy_of(node: Node) -> MemoryStore:
    store, batch = MemoryStore(), WriteBatch()
    for key, value in node.store.scan(b""):
        batch.put(key, value)
    store.write(batch, sync=True)
    return store


def contents(store: MemoryStore) -> dict[bytes, bytes]:
    return dict(store.scan(b""))


def barrier(ledger: LedgerStore) -> int:
    """Return the height at which the first epoch ended."""
    (handover,) = Queries(ledger, GOVERNED).handovers(1)
    return handover.block.header.height


def archived(ledger: LedgerStore, first: int, last: int) -> bytes:
    return written(head_of(ledger, GOVERNED, first, last), list(blocks_of(ledger, first, last)))


def written(head: ArchiveHead, blocks: list[BlockValues]) -> bytes:
    file = io.BytesIO()
    write_archive(file, head, blocks, SUITE)
    return file.getvalue()


def check(data: bytes, trust: TrustAnchor = GENESIS_ALONE) -> ArchiveCheck:
    reader = ArchiveReader(io.BytesIO(data), SUITE)
    checked = ArchiveCheck(reader.head, trust)
    for block in reader.blocks():
        checked.take(block)
    return checked


def test_any_blocks_are_verified_by_genesis_alone(
    ledger: LedgerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "FRAME_BYTES_AIM", 2_000)
    tip = ledger.tip_height
    for first in range(1, tip + 1):
        for last in (first, tip):
            checked = check(archived(ledger, first, last))
            assert checked.is_rooted
            assert checked.first == first
            assert checked.digest == ledger.digest_at(last)
            assert checked.transactions == last - first + 1
    assert check(archived(ledger, 1, tip)).records == tip - 1  # one governs


def test_blocks_of_retired_keys_count_up_to_what_is_pinned(ledger: LedgerStore) -> None:
    pinned = anchor_of(ledger, GOVERNED)
    end = barrier(ledger)
    assert pinned.epoch == 1
    assert check(archived(ledger, 1, end), pinned).is_rooted
    assert check(archived(ledger, 1, end + 1), pinned).is_rooted
    assert not check(archived(ledger, 1, end - 1), pinned).is_rooted
    other = ledger.require_header(ledger.tip_height - 1)[0]
    certified = CertifiedHeader(other, pinned.blocks[-1].certificate)
    forked = replace(pinned, pinned=renamed(certified))
    with pytest.raises(ProofError) as caught:
        check(archived(ledger, 1, other.height), forked)
    assert caught.value.rule == "archive-pinned"


def renamed(block: CertifiedHeader) -> CertifiedHeader:
    """Return a header of that height that is another one."""
    return replace(block, header=replace(block.header, proposer=3 - block.header.proposer))


def swap_body(blocks: list[BlockValues]) -> list[BlockValues]:
    return [(blocks[0][0], blocks[1][1]), *blocks[1:]]


def drop_votes(blocks: list[BlockValues]) -> list[BlockValues]:
    block = StoredBlock(*blocks[0], SUITE)
    assert block.certificate is not None
    fewer = replace(block.certificate, votes=block.certificate.votes[:2])
    return [
        (encode([block.header.to_value(), fewer.to_value()]), blocks[0][1]),
        *blocks[1:],
    ]


def drop_certificate(blocks: list[BlockValues]) -> list[BlockValues]:
    header = StoredBlock(*blocks[0], SUITE).header
    return [(encode([header.to_value(), None]), blocks[0][1]), *blocks[1:]]


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (swap_body, "past-transactions"),
        (drop_votes, "certificate-quorum"),
        (drop_certificate, "archive-certificate"),
        (lambda blocks: [blocks[1], blocks[0], *blocks[2:]], "archive-height"),
    ],
)
def test_changed_blocks_are_refused_by_a_rule(
    ledger: LedgerStore, change: Callable[[list[BlockValues]], list[BlockValues]], rule: str
) -> None:
    blocks = change(list(blocks_of(ledger, 1, 3)))
    with pytest.raises(ProofError) as caught:
        check(written(head_of(ledger, GOVERNED, 1, 3), blocks))
    assert caught.value.rule == rule


def test_changed_heads_are_refused_by_a_rule(ledger: LedgerStore) -> None:
    tip = ledger.tip_height
    head, other = head_of(ledger, GOVERNED, 3, tip), head_of(ledger, GOVERNED, 2, tip)
    blocks = list(blocks_of(ledger, 3, tip))
    for changed, rule in (
        (replace(head, chain_id=bytes(32)), "archive-chain"),
        (replace(head, before=other.before), "archive-before"),
        (replace(head, frontier=other.frontier), "archive-log"),
        (replace(head, handovers=()), "archive-epoch"),
        (replace(head, handovers=head.handovers * 2), "trust-certificate"),
    ):
        with pytest.raises(ProofError) as caught:
            check(written(changed, blocks))
        assert caught.value.rule == rule
    another = build_genesis(name="another")
    with pytest.raises(ProofError):
        check(
            archived(ledger, 1, 2),
            TrustFile(chain_id=another.chain_id, genesis=another).establish(),
        )


def test_no_byte_can_change_and_none_be_missing_or_added(ledger: LedgerStore) -> None:
    whole = archived(ledger, 2, 3)
    assert check(whole).is_rooted
    for at in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[at] ^= 0x10
        with pytest.raises(NodeError):
            check(bytes(changed))
        with pytest.raises(DecodeError):
            check(whole[:at])
    with pytest.raises(DecodeError, match="goes on"):
        check(whole + b"\x00")


@pytest.mark.parametrize(
    "data",
    [b"", b"govchain-archive-2\n", MAGIC + b"\xff\xff\xff\xff", MAGIC + b"\x00\x00\x00\x01\x80"],
)
def test_what_is_no_archive_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        ArchiveReader(io.BytesIO(data), SUITE)


def test_what_was_pruned_is_put_back_from_above(grown: Node) -> None:
    store = copy_of(grown)
    ledger = LedgerStore.open(store, SUITE, GENESIS_BLOCK)
    whole = contents(store)
    lower, upper = archived(ledger, 1, 2), archived(ledger, 2, 5)
    ledger.prune(4)
    with pytest.raises(Pruned):
        head_of(ledger, GOVERNED, 3, 4)
    with pytest.raises(ProofError, match="archive-gap"):
        taken_in(ledger, lower)
    assert ledger.pruned_below == 4
    assert taken_in(ledger, upper) == 2
    assert ledger.pruned_below == 2
    verify_store(store, ledger, SUITE)
    assert taken_in(ledger, lower) == 1
    assert ledger.pruned_below == 0
    assert contents(store) == whole
    assert taken_in(ledger, lower) == 0


def test_another_block_is_not_put_back(grown: Node) -> None:
    store = copy_of(grown)
    ledger = LedgerStore.open(store, SUITE, GENESIS_BLOCK)
    ledger.prune(4)
    chat = Chat(*FOUNDERS)
    for number in range(4):
        notarize(chat, f"elsewhere {number}")
    other = archived(chat.nodes["validator-1"].ledger, 1, 3)
    with pytest.raises(ProofError, match="archive-block"):
        taken_in(ledger, other)
    verify_store(store, ledger, SUITE)


def taken_in(ledger: LedgerStore, data: bytes) -> int:
    return take_in(ledger, ArchiveReader(io.BytesIO(data), SUITE).blocks(), SUITE)


# --- The vector, and the description for others ---


def frames(data: bytes) -> list[bytes]:
    """Split a file as proto/ARCHIVE.md says."""
    found, at = [], len(MAGIC)
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        found.append(data[at + 4 : end])
        at = end
    return found


def test_the_vector_verifies_by_its_trust_file_and_is_made_again() -> None:
    data, trust = ((generate.FOLDER / name).read_bytes() for name in (ARCHIVE, TRUST))
    checked = check(data, load_trust(trust))
    blocks = generate.BLOCKS - generate.FIRST + 1
    assert checked.is_rooted
    assert (checked.first, checked.transactions) == (generate.FIRST, 2 * blocks)
    assert checked.records == generate.RECORDS * blocks
    made = generate.files()
    assert made[TRUST] == trust
    assert unpacked(made[ARCHIVE])[:-1] == unpacked(data)[:-1]  # the hash is of packed bytes


def unpacked(data: bytes) -> list[bytes]:
    head, *packed, end = frames(data)
    return [head, *(unpack(each, 1 << 24) for each in packed), end]


def test_the_description_for_others_is_of_what_is_written() -> None:
    data = (generate.FOLDER / ARCHIVE).read_bytes()
    head, blocks, end = unpacked(data)
    schema = Schema((Path(__file__).parents[3] / "proto" / "govchain.cddl").read_text())
    for rule, content in (("archive-head", head), ("archive-blocks", blocks), ("archive-end", end)):
        assert schema.matches(rule, content)
        assert not schema.matches(rule, content[:1])
    closing = len(frames(data)[-1]) + 4
    assert decode(end, what="end", size_max=99)[1] == SUITE.hash(data[:-closing])
