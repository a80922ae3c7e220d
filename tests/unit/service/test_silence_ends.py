"""What a validator that lost its database was about when it begins to vote again."""

from __future__ import annotations

from node.chain.certificate import Phase
from node.execution.apply import ExecutedBlock
from node.service.admission import check_signatures
from node.service.log_records import CommittedRecord, encode_log_record
from node.service.wire import Blocks, Bodies
from tests.unit.consensus.signing import certified
from tests.unit.execution.small_chain import CREATED_MS, SmallChain, payload, tx
from tests.unit.service.lone import Lone, certified_block
from tests.unit.service.pursuing import encodings

LAPSED_MS = 10_000


def fetching_a_block_as_its_silence_ends() -> tuple[Lone, ExecutedBlock]:
    """Return who holds one of the two bodies of a block when that below becomes final again."""
    chain = SmallChain()
    first = chain.commit(tx(payload("first")))
    lapsing = tx(payload("lapses"), not_after_ms=CREATED_MS + LAPSED_MS // 2)
    second = chain.execute(lapsing, tx(payload("lasts")))
    known = encode_log_record(CommittedRecord(certified(first.header, Phase.COMMIT)))
    node = Lone(3, records=[known])
    assert not node.engine.term.is_member
    node.admit(second.transactions[0], 0)
    node.hear(0, certified(second.header, Phase.COMMIT), 1)
    node.hear(0, bodies(second), 2)
    node.hear(node.ask_for_blocks(3), Blocks(1, (certified_block(first).encode(),)), 3)
    assert (node.engine.height, node.engine.term.is_member) == (1, True)
    node.hear(0, certified(second.header, Phase.COMMIT), 4)
    return node, second


def bodies(block: ExecutedBlock) -> Bodies:
    return Bodies(block.digest, True, encodings(block))  # noqa: FBT003


def test_the_block_above_is_made_final_by_its_bodies() -> None:
    node, second = fetching_a_block_as_its_silence_ends()
    node.engine.drain()
    node.hear(0, bodies(second), 5)
    for job in node.engine.drain().jobs:
        node.engine.checked(job, check_signatures(job.candidates), node.at(6))
    assert node.engine.height == second.header.height


def test_nothing_is_executed_without_a_body_that_lapsed_meanwhile() -> None:
    """Executed without, a certified block gives another header, for which a validator halts."""
    node, second = fetching_a_block_as_its_silence_ends()
    node.engine.tick(node.at(LAPSED_MS))
    assert node.engine.mempool.pending_count == 0
    node.admit(second.transactions[1], LAPSED_MS + 1)
    assert node.engine.halted == ""
