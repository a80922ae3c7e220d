"""Validators cosign one log: what they sign when, whom they believe, and what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from node.chain.block import Header
from node.chain.membership import ValidatorSet
from node.chain.merkle import TreeHead
from node.service.public_log import cosigning as module
from node.service.public_log.cosigning import Cosigning
from node.service.wire import CheckpointLines, Message
from node.storage.checkpoints import CheckpointStore
from node.storage.cosigned_file import CosignedFile
from node.storage.memory import MemoryStore
from node.timestamp.log.checkpoint import check_collected, origin_of
from node.timestamp.log.note import Note
from tests.vectors.receipt.chain import Chain, record_of, validator_set
from tests.vectors.receipt.cosigned import cosigner_of

TIME_MS = 1_760_000_500_999
EVERY_BLOCKS = 2
NEVER_MS = 3_600_000


@dataclass
class Headers:
    """The ledger of one validator: the first blocks of a chain."""

    chain: Chain
    height: int = 0

    @property
    def header(self) -> Header:
        if not self.height:
            return replace(self.chain.blocks[0].header, height=0, log_size=0)
        return self.chain.blocks[self.height - 1].header

    def header_of_size(self, size: int) -> Header | None:
        for block in self.chain.blocks[: self.height]:
            if block.header.log_size == size:
                return block.header
        return None


@dataclass
class Node:
    """A validator, as far as it cosigns."""

    name: str
    group: Group
    folder: Path
    height: int = 0
    is_behind: bool = False
    clock_is_fit: bool = True
    checkpoint_blocks: int = EVERY_BLOCKS
    sent: list[CheckpointLines] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        genesis = self.group.chain.genesis
        self.headers = Headers(self.group.chain, self.height)
        self.checkpoints = CheckpointStore(MemoryStore())
        path, origin = self.folder / f"{self.name}.cosigned", origin_of(genesis.chain_id)
        self.cosigning = Cosigning(
            genesis,
            self.name,
            cosigner_of(self.name),
            ledger=self.headers,
            find_set=self.group.find_set,
            checkpoints=self.checkpoints,
            cosigned=CosignedFile(path, origin),
            network=self,
            on_failure=self.failures.append,
        )

    def send(self, peer: int | None, message: Message) -> None:
        assert isinstance(message, CheckpointLines)
        self.sent.append(message)
        self.group.changed.set()
        if peer is None:
            for node in self.group.nodes:
                if node is not self:
                    node.cosigning.note_lines(self.group.names.index(self.name), message)

    def name_of(self, peer: int) -> str:
        return self.group.names[peer]

    def utc_ms(self) -> int:
        return TIME_MS

    def commit(self) -> None:
        """Learn of the next block."""
        self.headers.height += 1
        self.cosigning.note_committed(self.headers.header)

    @property
    def sizes(self) -> list[int]:
        return [lines.size for lines in self.sent]


@dataclass
class Group:
    """Nodes that hear each other."""

    chain: Chain
    names: Sequence[str]
    nodes: list[Node] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def find_set(self, epoch: int) -> ValidatorSet | None:
        handed_over = [handover.next_set for handover in self.chain.handovers]
        return handed_over[epoch - 1] if epoch <= len(handed_over) else None

    async def until_sent(self, count: int) -> None:
        """Wait until so many lines were sent in all."""
        while sum(len(node.sent) for node in self.nodes) < count:
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), 10)

    def commit(self) -> None:
        for node in self.nodes:
            node.commit()


def build_chain(blocks: int, next_set: ValidatorSet | None = None) -> Chain:
    chain = Chain.found()
    for height in range(1, blocks + 1):
        ends = next_set if height == blocks else None
        chain.append(record_of(f"{height}".encode()), next_set=ends)
    return chain


@pytest.fixture(autouse=True)
def never_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_MS", NEVER_MS)


@asynccontextmanager
async def running(
    chain: Chain, folder: Path, names: Sequence[str] = ("validator-1", "validator-2", "validator-3")
) -> AsyncIterator[Group]:
    group = Group(chain, [f"validator-{at}" for at in range(1, 10)])
    group.nodes = [Node(name, group, folder) for name in names]
    try:
        yield group
    finally:
        for node in group.nodes:
            await node.cosigning.stop()
            assert not node.failures


def kept(node: Node, size: int, validators: ValidatorSet) -> tuple[str, ...]:
    """Return who cosigned what a node keeps of a size, checked."""
    found = node.checkpoints.at(size)
    assert found is not None
    assert found.epoch == validators.epoch
    note = Note.decode(found.note)
    collected = check_collected(note, node.group.chain.genesis.chain_id, validators)
    assert {line.time_s for line in collected.cosignatures} == {TIME_MS // 1_000}
    return collected.cosigners


async def test_a_quorum_signs_each_multiple_and_everybody_keeps_the_same(tmp_path: Path) -> None:
    chain = build_chain(4)
    async with running(chain, tmp_path) as group:
        for sent in (0, 3, 3, 6):
            group.commit()
            await group.until_sent(sent)
        for node in group.nodes:
            assert node.sizes == [4, 8]
            for size in (4, 8):
                assert kept(node, size, chain.validators) == (
                    "validator-1",
                    "validator-2",
                    "validator-3",
                )
            assert node.checkpoints.at(2) is None


async def test_the_last_block_of_an_epoch_is_signed_by_the_set_that_ends(tmp_path: Path) -> None:
    next_set = validator_set(1, (2, 3, 4, 5))
    chain = build_chain(3, next_set)
    ended = validator_set(0, (1, 2, 3, 4))
    chain.append(record_of(b"in the next"))
    names = tuple(f"validator-{at}" for at in range(1, 6))
    async with running(chain, tmp_path, names) as group:
        for sent in (0, 4, 8, 12):
            group.commit()
            await group.until_sent(sent)
        by_name = {node.name: node.sizes for node in group.nodes}
        assert by_name["validator-1"] == [4, 6]  # height 2, and the barrier; no member after it
        assert by_name["validator-5"] == [8]
        for node in group.nodes:
            assert len(kept(node, 6, ended)) == ended.quorum
            assert len(kept(node, 8, next_set)) == next_set.quorum


async def test_the_tip_is_signed_once_the_chain_is_idle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE_MS", 1)
    chain = build_chain(1)
    async with running(chain, tmp_path) as group:
        group.commit()
        await group.until_sent(3)
        for node in group.nodes:
            assert kept(node, 2, chain.validators)


async def test_what_comes_early_is_kept_until_the_block_is_here(tmp_path: Path) -> None:
    chain = build_chain(2)
    async with running(chain, tmp_path) as group:
        late = group.nodes[2]
        for node in group.nodes[:2]:
            node.commit()
            node.commit()
        await group.until_sent(2)
        late.commit()
        late.commit()
        await group.until_sent(3)
        for node in group.nodes:
            assert kept(node, 4, chain.validators)


async def test_a_node_that_is_behind_signs_nothing_and_a_follower_never_does(
    tmp_path: Path,
) -> None:
    chain = build_chain(2)
    names = ("validator-1", "validator-2", "validator-3", "validator-4", "validator-9")
    async with running(chain, tmp_path, names) as group:
        group.nodes[3].is_behind = True
        group.commit()
        group.commit()
        await group.until_sent(3)
        assert not group.nodes[3].sent
        assert not group.nodes[4].sent
        for node in group.nodes:
            assert kept(node, 4, chain.validators)


@pytest.mark.parametrize("field_name", ["root", "log_signature", "cosignature", "time_s"])
async def test_false_lines_do_not_count_and_their_maker_is_not_heard_for_a_while(
    tmp_path: Path, field_name: str
) -> None:
    chain = build_chain(4)
    async with running(chain, tmp_path) as group:
        one, two, three = group.nodes
        group.nodes = [one, two]
        group.commit()
        group.commit()
        await group.until_sent(2)
        three.commit()
        three.commit()
        group.nodes = [three]
        await group.until_sent(1)
        (lines,) = three.sent
        value = getattr(lines, field_name)
        false = value + 1 if isinstance(value, int) else bytes((value[0] ^ 1,)) + value[1:]
        changes: dict[str, Any] = {field_name: false}
        one.cosigning.note_lines(2, replace(lines, **changes))
        assert one.checkpoints.at(4) is None
        one.cosigning.note_lines(2, lines)  # too late: it lied about this one
        assert one.checkpoints.at(4) is None
        one.cosigning.note_lines(3, lines)  # nobody speaks for another
        assert one.checkpoints.at(4) is None
        two.cosigning.note_lines(2, lines)
        assert kept(two, 4, chain.validators)
        group.nodes = [one, two, three]


async def test_nothing_smaller_is_ever_signed_again_whatever_the_ledger_lost(
    tmp_path: Path,
) -> None:
    chain = build_chain(4)
    path = tmp_path / "validator-1.cosigned"
    origin = origin_of(chain.genesis.chain_id)
    head = TreeHead(6, chain.blocks[2].header.log_roots[0])
    assert CosignedFile(path, origin).permit(head)
    async with running(chain, tmp_path) as group:
        group.commit()
        group.commit()
        await group.until_sent(2)  # of two: the first said more before
        group.commit()
        group.commit()
        await group.until_sent(5)
        assert group.nodes[0].sizes == [8]
        assert kept(group.nodes[0], 8, chain.validators)
        assert group.nodes[0].checkpoints.at(4) is None


async def test_whose_clock_is_unfit_states_no_time(tmp_path: Path) -> None:
    chain = build_chain(2)
    names = tuple(f"validator-{at}" for at in range(1, 5))
    async with running(chain, tmp_path, names) as group:
        group.nodes[0].clock_is_fit = False
        group.commit()
        group.commit()
        await group.until_sent(3)
        assert not group.nodes[0].sent
        assert kept(group.nodes[0], 4, chain.validators) == names[1:]


async def test_who_connects_is_told_what_was_signed_last(tmp_path: Path) -> None:
    chain = build_chain(2)
    async with running(chain, tmp_path) as group:
        node = group.nodes[0]
        node.cosigning.greet(1)
        assert not node.sent
        group.commit()
        group.commit()
        await group.until_sent(3)
        node.cosigning.greet(1)
        assert node.sizes == [4, 4]
        assert node.sent[0] == node.sent[1]


async def test_what_waits_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AHEAD_MAX", 3)
    chain = build_chain(2)
    async with running(chain, tmp_path, ("validator-1",)) as group:
        (node,) = group.nodes
        node.headers.height = 1
        lines = CheckpointLines(10**9, bytes(32), bytes(64), 0, bytes(64))
        for peer in range(8):
            for size in (10**9, 10**9 + 1):
                node.cosigning.note_lines(peer, replace(lines, size=size))
        assert len(node.cosigning._ahead) == 3  # noqa: SLF001 - the bound is what is tested
