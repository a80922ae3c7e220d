"""Blocks read with what their transactions share remembered: as `CertifiedBlock.decode` does."""

from __future__ import annotations

import pytest

from node.chain.block import CertifiedBlock
from node.chain.block_reader import BlockReader
from node.chain.encoding import encode
from node.errors import DecodeError
from tests.suites import SUITE
from tests.unit.execution.small_chain import SmallChain, certify, next_inputs, payload, tx


@pytest.fixture(scope="module")
def blocks() -> list[bytes]:
    """Return two blocks, of transactions that are alike and of others."""
    chain = SmallChain()
    encoded = []
    for name in ("first", "second"):
        transactions = [
            tx(payload(f"{name} {number}", references=[f"{name} {number}"])) for number in range(4)
        ]
        transactions.append(tx(payload(name, f"{name} too")))
        executed = chain.executor.execute(chain.state, next_inputs(chain.state), transactions)
        chain.state.commit(executed)
        bodies = tuple(each.transaction for each in transactions)
        encoded.append(CertifiedBlock(executed.header, bodies, certify(executed)).encode())
    return encoded


def outcome(read: object, data: bytes) -> object:
    try:
        return read(data)  # type: ignore[operator]
    except DecodeError as error:
        return str(error)


def decoded(data: bytes) -> CertifiedBlock:
    return CertifiedBlock.decode(data, SUITE)


def test_each_block_is_as_it_is_decoded(blocks: list[bytes]) -> None:
    reader = BlockReader(SUITE)
    assert [reader.read(each) for each in blocks * 2] == [decoded(each) for each in blocks * 2]


def test_what_is_refused_is_what_decoding_refuses(blocks: list[bytes]) -> None:
    """Whatever was read before: every byte changed in turn, and every end cut off."""
    reader = BlockReader(SUITE)
    reader.read(blocks[0])
    block = blocks[1]
    broken = [block[:at] + bytes((block[at] ^ 1,)) + block[at + 1 :] for at in range(len(block))]
    broken += [block[:at] for at in range(0, len(block), 7)] + [block + b"\0", encode([2, 3])]
    refused = 0
    for each in broken:
        told = outcome(reader.read, each)
        assert told == outcome(decoded, each)
        refused += isinstance(told, str)
    assert len(block) // 7 < refused < len(broken)
