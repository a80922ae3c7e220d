"""Undecided blocks on their way to being validated."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.chain.certificate import Phase, Vote
from node.chain.genesis import Role
from node.chain.governance import RegisterIdentity
from node.chain.identity import RotateIdentity, SetAuthorities
from node.chain.merkle import leaf_hash, merkle_root
from node.chain.transaction import VerifiedTransaction
from node.consensus.events import Validated
from node.consensus.state import Stage
from node.errors import PeerError
from node.execution.apply import ExecutedBlock
from node.service.admission import check_signatures
from node.service.log_records import BlockRecord, RecordType
from node.service.output import Output, Purpose
from node.service.pursuit import FETCH_AFTER_MS
from node.service.wire import Bodies, MessageKind, Transactions, WantBodies
from tests.unit.consensus.signing import (
    QUORUM,
    certified,
    chain_of_blocks,
    new_view,
    view_change,
    vote,
)
from tests.unit.execution.governed_chain import GOVERNED, GovernedChain, governed, governed_tx
from tests.unit.execution.small_chain import (
    CREATED_MS,
    GENESIS,
    SmallChain,
    identity,
    payload,
    signer,
    tx,
)
from tests.unit.execution.test_identity import OWN, certificate
from tests.unit.service.lone import Lone, certified_block, prepared_and_left, proposal_of
from tests.unit.service.pursuing import Pursuing, encodings, hashes, want


def gossip_of(block: ExecutedBlock) -> Transactions:
    return Transactions(tuple(verified.transaction.encoded for verified in block.transactions))


def asked(output: Output) -> list[int | None]:
    return [each.to for each in output.messages if each.kind == MessageKind.WANT_BODIES]


def have_checked(node: Lone, output: Output, elapsed_ms: int) -> None:
    for job in output.jobs:
        node.engine.checked(job, check_signatures(job.candidates), node.at(elapsed_ms))


def test_bodies_that_do_not_come_are_asked_of_each_holder_in_turn_ever_later() -> None:
    block = chain_of_blocks(1)[1]
    node = Lone(3)
    node.hear(0, proposal_of(block), 1)
    node.hear(1, vote(Phase.PREPARE, 0, block.header, 1), 2)
    node.engine.drain()
    asked_at_ms = []
    holders = []
    for elapsed_ms in range(1, 20 * FETCH_AFTER_MS):
        node.engine.tick(node.at(elapsed_ms))
        for holder in asked(node.engine.drain()):
            asked_at_ms.append(elapsed_ms)
            holders.append(holder)
    assert asked_at_ms == [1 + FETCH_AFTER_MS * pauses for pauses in (1, 3, 7, 15)]
    assert holders == [0, 1, 0, 1]


def test_a_block_whose_bodies_came_late_is_as_good_as_any() -> None:
    block = chain_of_blocks(1)[1]
    node = Lone(3)
    node.hear(0, proposal_of(block), 1)
    late_ms = 1 + FETCH_AFTER_MS
    node.engine.tick(node.at(late_ms))
    assert asked(node.engine.drain()) == [0]
    encoded = tuple(verified.transaction.encoded for verified in block.transactions)
    node.hear(0, Bodies(block.digest, False, encoded), late_ms)  # noqa: FBT003
    have_checked(node, node.engine.drain(), late_ms)
    assert node.logged(RecordType.VOTE) == 1


def test_nobody_is_asked_for_a_body_while_its_signature_is_checked() -> None:
    block = chain_of_blocks(1)[1]
    node = Lone(3)
    node.hear(1, gossip_of(block), 1)
    gossiped = node.engine.drain()
    node.hear(0, proposal_of(block), 2)
    node.engine.tick(node.at(2 * FETCH_AFTER_MS))
    assert asked(node.engine.drain()) == []
    have_checked(node, gossiped, 2 * FETCH_AFTER_MS)
    assert node.logged(RecordType.VOTE) == 1


def test_a_block_waits_for_the_state_after_its_parent() -> None:
    first, second = chain_of_blocks(2)[1:]
    node = Lone(3)
    node.hear(0, proposal_of(first), 1)
    node.admit(second.transactions[0], 2)
    node.hear(0, proposal_of(second), 950)  # its T is a second later
    assert node.logged(RecordType.VOTE) == 0
    node.admit(first.transactions[0], 951)
    assert node.logged(RecordType.VOTE) == 2


def invalidated(block: ExecutedBlock) -> list[str]:
    """Return the rules that a validator names when it was sent a block with all its bodies."""
    node = Lone(3)
    node.hear(0, proposal_of(block), 1)
    encoded = tuple(verified.transaction.encoded for verified in block.transactions)
    node.hear(0, Bodies(block.digest, False, encoded), 2)  # noqa: FBT003
    output = node.engine.drain()
    have_checked(node, output, 3)
    assert node.logged(RecordType.VOTE) == 0
    return [trace.rule for trace in (*output.traces, *node.engine.drain().traces)]


def test_a_block_with_a_forged_transaction_is_invalid() -> None:
    forged = tx(payload("forged"), key_of="agency-2")
    claimed = VerifiedTransaction(forged.transaction, signer("agency-1").public_key.encoded)
    assert invalidated(SmallChain().execute(claimed)) == ["proposal-invalid"]


def test_a_block_of_an_unknown_sender_is_invalid() -> None:
    known = SmallChain().execute(tx(payload("known")))
    nobodys = tx(payload("whose?"), sender="agency-9", key_of="agency-1")
    suite = GENESIS.suite
    root = merkle_root([leaf_hash(nobodys.transaction.tx_hash, suite.hash)], suite.hash)
    header = replace(known.header, tx_root=root)
    unknown = replace(known, header=header, digest=header.digest(suite), transactions=(nobodys,))
    assert invalidated(unknown) == ["proposal-invalid"]


def test_a_header_that_execution_does_not_give_is_invalid() -> None:
    block = SmallChain().execute(tx(payload("a")))
    header = replace(block.header, state_root=bytes(32))
    other = replace(block, header=header, digest=header.digest(GENESIS.suite))
    assert invalidated(other) == ["execution-differs", "proposal-invalid"]


def test_a_block_once_prepared_is_validated_from_the_own_log_however_late_it_comes_back() -> None:
    block = chain_of_blocks(1)[1]
    node = prepared_and_left(block)
    node.engine.mempool.discard(block.tx_ids)  # as expiry would, if the chain stalled for so long
    showing = certified(block.header, Phase.PREPARE)
    carrying = new_view(2, [view_change(validator, 2, prepared=[showing]) for validator in QUORUM])
    node.hear(2, carrying, 4)
    assert not any(isinstance(message, WantBodies) for message in node.said())
    assert node.engine.counters.votes_signed == 2


def prepared_above_what_is_not() -> tuple[Lone, ExecutedBlock, ExecutedBlock]:
    """Return who has a certificate for the second of two blocks, and the first is not prepared."""
    first, second = chain_of_blocks(2)[1:]
    node = Lone(3)
    for block, arrival_ms in ((first, 1), (second, 950)):  # their T are a second apart
        node.admit(block.transactions[0], arrival_ms)
        node.hear(0, proposal_of(block), arrival_ms)
    node.make_durable(951)
    for voter in (1, 2):
        node.hear(voter, vote(Phase.PREPARE, 0, second.header, voter), 952)
    assert node.engine.core.stage(second.header.height) is Stage.PREPARED
    return node, first, second


def waiting(node: Lone) -> list[bytes]:
    taken = node.engine.mempool.take(
        time_ms=CREATED_MS + 1_000, txs_max=9, bytes_max=1 << 40, records_max=9
    )
    return [each.transaction.tx_id for each in taken]


def test_what_is_prepared_above_a_gap_and_not_carried_over_waits_again() -> None:
    node, first, second = prepared_above_what_is_not()
    showing = [certified(second.header, Phase.PREPARE)]
    leaving = [view_change(validator, 1, prepared=showing) for validator in QUORUM]
    node.hear(1, new_view(1, leaving), 960)
    dropped = [block.transactions[0].transaction.tx_id for block in (first, second)]
    assert waiting(node) == dropped, "or it would wait for another to propose, as all may"
    node.hear(2, new_view(2, [view_change(each, 2, prepared=showing) for each in QUORUM]), 970)
    assert waiting(node) == dropped


def test_what_was_prepared_is_validated_anew_when_a_later_view_carries_it_over_after_all() -> None:
    node, first, second = prepared_above_what_is_not()
    node.hear(1, new_view(1, [view_change(validator, 1) for validator in QUORUM]), 960)
    assert len(waiting(node)) == len((first, second))
    both = [certified(block.header, Phase.PREPARE) for block in (first, second)]
    node.said()
    node.hear(2, new_view(2, [view_change(each, 2, prepared=both) for each in QUORUM]), 970)
    node.make_durable(971)
    votes = [message for message in node.said() if isinstance(message, Vote)]
    assert [(each.subject.view, each.subject.height) for each in votes] == [(2, 1), (2, 2)]
    assert waiting(node) == []


def test_what_the_log_holds_and_no_view_goes_on_with_waits_after_a_restart() -> None:
    node, first, second = prepared_above_what_is_not()
    node.hear(1, new_view(1, [view_change(validator, 1) for validator in QUORUM]), 960)
    node.make_durable(961)
    again = Lone(3, records=node.log.records)
    listed = [block.transactions[0].transaction.tx_id for block in (first, second)]
    assert sorted(waiting(again)) == sorted(listed)
    still = Lone(3, records=prepared_above_what_is_not()[0].log.records)
    assert waiting(still) == [], "in their own view they are voted for still"


# ---------------------------------------------------------------------- without an engine around


def block_of(count: int) -> ExecutedBlock:
    return SmallChain().execute(*(tx(payload(f"{n}")) for n in range(count)))


def confirmed(*blocks: ExecutedBlock) -> list[Validated]:
    return [Validated(block.digest, matches=True) for block in blocks]


def refused(*blocks: ExecutedBlock) -> list[Validated]:
    return [Validated(block.digest, matches=False) for block in blocks]


def logged(block: ExecutedBlock) -> BlockRecord:
    return BlockRecord(block.header, encodings(block))


def test_a_block_that_was_executed_is_confirmed_whenever_it_is_asked_about() -> None:
    block = block_of(1)
    node = Pursuing().pursue(block)
    node.check(*node.give(block, 0))
    assert node.settled == confirmed(block)
    node.pursue(block, lists=False)
    assert node.settled == confirmed(block, block)
    assert node.pursuits.due_ms() == []


def test_what_is_missing_is_asked_for_in_order_and_counted() -> None:
    block = block_of(9)
    node = Pursuing().pursue(block)
    held = node.give(block, 4)
    assert node.chase(FETCH_AFTER_MS - 1) == []
    others = [tx_hash for n, tx_hash in enumerate(hashes(block)) if n != 4]
    assert node.chase(FETCH_AFTER_MS) == [(1, want(block, *others))]
    assert node.outlet.counters.bodies_asked == 1
    node.check(*held, *node.give(block, *range(9)))
    assert node.settled == confirmed(block)
    assert node.pursuits.due_ms() == []


def test_where_the_list_is_unknown_the_whole_of_it_is_asked_for_at_once() -> None:
    block = block_of(2)
    node = Pursuing().pursue(block, lists=False)
    assert node.requests() == [(1, want(block))]
    assert node.pursuits.due_ms() == [2 * FETCH_AFTER_MS]
    assert node.give(block, 0) == []  # some of an unknown list: nobody asked for that
    with pytest.raises(PeerError, match="tx-root"):
        node.give(block, 1, 0, whole=True)
    node.check(*node.give(block, 0, 1, whole=True))
    assert node.settled == confirmed(block)


def test_what_nobody_waits_for_is_not_even_read() -> None:
    first, second = chain_of_blocks(2)[1:]
    node = Pursuing().pursue(second)
    node.check(*node.give(second, 0))
    for digest in (first.digest, second.digest):  # not pursued; complete, but for its parent
        node.pursuits.take(Bodies(digest, False, (b"no transaction",)))  # noqa: FBT003
    assert node.outlet.drain().jobs == []


def test_a_list_that_comes_for_bodies_that_are_here_completes_the_block() -> None:
    block = block_of(2)
    node = Pursuing()
    for transaction in block.transactions:
        node.mempool.add(transaction)
    node.pursue(block, lists=False)
    assert node.give(block, 0, 1, whole=True) == []
    assert node.settled == confirmed(block)


def test_of_what_claims_to_be_the_whole_of_a_known_list_the_missing_bodies_are_taken() -> None:
    block = block_of(2)
    node = Pursuing().pursue(block)
    node.check(*node.give(block, 0, whole=True))
    node.check(*node.give(block_like(block, block_of(1)), 0))
    assert node.give(block, 0) == []
    node.check(*node.give(block, 1))
    assert node.settled == confirmed(block)


def block_like(block: ExecutedBlock, other: ExecutedBlock) -> ExecutedBlock:
    """Return a block that goes by the digest of `block` and has the transactions of `other`."""
    return replace(other, digest=block.digest)


def test_what_is_being_checked_is_asked_for_when_its_signature_was_false() -> None:
    block = block_of(1)
    node = Pursuing().pursue(block)
    (given,) = Pursuing().pursue(block).give(block, 0)
    gossiped = replace(given, purpose=Purpose.GOSSIP)
    node.pursuits.have_checked(gossiped)
    assert node.outlet.drain().jobs == [gossiped]
    assert node.chase(FETCH_AFTER_MS) == []
    assert node.pursuits.due_ms() == [2 * FETCH_AFTER_MS]
    node.pursuits.checked(gossiped, [None])
    assert node.settled == [], "who gossips something false says nothing about the block"
    assert node.chase(2 * FETCH_AFTER_MS) == [(1, want(block, *hashes(block)))]


def test_what_was_gossiped_is_left_to_the_pool() -> None:
    block = block_of(1)
    node = Pursuing().pursue(block)
    (job,) = node.give(block, 0)
    node.check(replace(job, purpose=Purpose.GOSSIP))
    assert node.mempool.get(hashes(block)[0]) is None


def test_a_forged_body_makes_its_block_invalid_unless_that_was_given_up_meanwhile() -> None:
    block = block_of(2)
    for given_up in (False, True):
        node = Pursuing().pursue(block)
        (job,) = node.give(block, 0, 1)
        if given_up:
            node.pursuits.retain([])
        node.pursuits.checked(job, [None, block.transactions[1]])
        assert node.settled == ([] if given_up else refused(block))
        assert node.pursuits.due_ms() == []


def test_other_holders_are_asked_when_more_are_known_and_the_old_ones_if_none_is_named() -> None:
    block = block_of(1)
    node = Pursuing().pursue(block, holders=(1,)).pursue(block, holders=(2, 3))
    asked_at_ms = (FETCH_AFTER_MS, 3 * FETCH_AFTER_MS, 7 * FETCH_AFTER_MS)
    told = [to for elapsed_ms in asked_at_ms[:2] for to, _ in node.chase(elapsed_ms)]
    node.pursue(block, holders=())
    told += [to for to, _ in node.chase(asked_at_ms[2])]
    assert told == [2, 3, 2]


def test_where_nobody_is_known_to_hold_a_block_nobody_is_asked_and_nothing_is_due() -> None:
    """Else whoever re-arms a timer by what is due would do nothing else."""
    block = block_of(1)
    node = Pursuing().pursue(block, holders=())
    assert node.pursuits.due_ms() == []
    assert node.chase(FETCH_AFTER_MS) == []
    node.pursue(block, holders=(1,))
    assert node.pursuits.due_ms() == [FETCH_AFTER_MS]


def test_requests_become_rare_but_never_stop() -> None:
    node = Pursuing().pursue(block_of(1))
    now_ms, pauses = 0, []
    for _ in range(8):
        (due_ms,) = node.pursuits.due_ms()
        pauses.append((due_ms - now_ms) // FETCH_AFTER_MS)
        now_ms = due_ms
        assert len(node.chase(now_ms)) == 1
    assert pauses == [1, 2, 4, 8, 16, 32, 32, 32]


def test_a_block_that_came_whole_with_its_certificate_needs_nothing_more() -> None:
    block = block_of(2)
    for lists in (True, False):
        node = Pursuing().pursue(block, lists=lists, synced=certified_block(block))
        assert node.settled == confirmed(block)
        late = Pursuing().pursue(block, lists=lists)
        late.pursuits.take_certified(certified_block(block_of(1)))
        assert late.settled == []
        late.pursuits.take_certified(certified_block(block))
        assert late.settled == confirmed(block)


def test_another_block_that_came_whole_is_not_taken_for_the_one_in_question() -> None:
    block, other = block_of(1), block_of(1)
    node = Pursuing().pursue(block, synced=certified_block(other))
    assert node.settled == []
    assert node.chase(FETCH_AFTER_MS) == [(1, want(block, *hashes(block)))]


def test_a_block_of_the_own_log_needs_nobody_else() -> None:
    block = block_of(2)
    for lists in (True, False):
        node = Pursuing(GENESIS, logged(block)).pursue(block, lists=lists)
        assert node.settled == confirmed(block)
        assert node.requests() == []


def test_the_bodies_of_a_logged_block_are_held_for_as_long_as_it_is_pinned() -> None:
    block = block_of(2)
    node = Pursuing()
    node.pursuits.hold_logged(logged(block))
    assert node.mempool.missing(hashes(block)) == []
    assert not node.mempool.is_waiting
    node.undecided.retain([])
    assert node.mempool.is_waiting


def test_a_block_that_may_not_be_is_refused_with_the_rule_it_breaks() -> None:
    block = SmallChain().execute(tx(payload("a")))
    twice = block.transactions * 2
    list_of_two = tuple(verified.transaction.tx_hash for verified in twice)
    root = merkle_root(
        [leaf_hash(each, GENESIS.suite.hash) for each in list_of_two], GENESIS.suite.hash
    )
    header = replace(block.header, tx_root=root)
    invalid = replace(block, header=header, digest=header.digest(GENESIS.suite), transactions=twice)
    node = Pursuing().pursue(invalid)
    (job,) = node.give(invalid, 0)
    node.check(job)
    assert node.settled == refused(invalid)
    assert [trace.rule for trace in node.outlet.drain().traces] == ["tx-repeated"]


def test_children_go_on_when_their_parent_is_confirmed_and_not_when_it_is_refused() -> None:
    first, second = chain_of_blocks(2)[1:]
    node = Pursuing().pursue(first).pursue(second)
    node.check(*node.give(second, 0))
    assert node.settled == []
    node.check(*node.give(first, 0))
    assert node.settled == confirmed(first, second)
    false = replace(first, header=replace(first.header, state_root=bytes(32)))
    orphaned = Pursuing().pursue(false).pursue(second)
    orphaned.check(*orphaned.give(second, 0), *orphaned.give(first, 0))
    assert orphaned.settled == refused(first)


def test_a_body_of_two_blocks_serves_both_unless_the_first_makes_an_end_of_the_second() -> None:
    block = block_of(1)
    other = SmallChain().execute(*block.transactions, step_ms=2_000)
    node = Pursuing().pursue(block).pursue(other)
    node.check(*node.give(block, 0))
    assert node.settled == confirmed(block, other)
    decisive = Pursuing().pursue(block).pursue(other)
    decisive.ends_with_the_first = True
    decisive.check(*decisive.give(block, 0))
    assert decisive.settled == confirmed(block)


def test_a_sender_that_the_parent_block_registers_is_known_above_it() -> None:
    chain = GovernedChain()
    newcomer = identity("agency-9", Role.AGENCY)
    parent = chain.execute(governed_tx(governed(RegisterIdentity(newcomer))))
    chain.state.commit(parent)
    child = chain.execute(
        tx(payload("first of a newcomer"), sender="agency-9", chain_id=GOVERNED.chain_id)
    )
    early = Pursuing(GOVERNED).pursue(parent).pursue(child)
    assert early.give(child, 0) == [], "who sent it is not known before the parent is executed"
    assert early.settled == []
    early.check(*early.give(parent, 0))
    early.check(*early.give(child, 0))
    assert early.settled == confirmed(parent, child)


def blocks_around_a_rotation() -> tuple[ExecutedBlock, ExecutedBlock]:
    """Return a block that rotates the key of an agency, and one on it with what that signs then."""
    chain = GovernedChain()
    fresh = signer("new key").public_key.encoded
    rotation = RotateIdentity("agency-1", certificate(OWN, "agency-1"), fresh, 0, "")
    authorities = SetAuthorities("org-1", (OWN.certificate,), "")
    parent = chain.execute(governed_tx(governed(authorities, rotation)))
    chain.state.commit(parent)
    first = tx(payload("first under it"), key_of="new key", chain_id=GOVERNED.chain_id)
    return parent, chain.execute(first)


def test_a_key_that_the_parent_block_rotates_is_the_one_to_verify_under_above_it() -> None:
    parent, child = blocks_around_a_rotation()
    node = Pursuing(GOVERNED).pursue(parent).pursue(child)
    node.check(*node.give(parent, 0))
    node.check(*node.give(child, 0))
    assert node.settled == confirmed(parent, child)


@pytest.mark.parametrize("answers_late", [False, True])
def test_a_signature_that_is_false_under_an_older_key_says_nothing_about_a_block(
    answers_late: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    parent, child = blocks_around_a_rotation()
    node = Pursuing(GOVERNED).pursue(parent).pursue(child)
    early = node.give(child, 0)  # before its parent is executed: only the old key is known
    if not answers_late:
        node.check(*early)
    assert node.settled == []
    node.check(*node.give(parent, 0))
    if answers_late:
        node.check(*early)
    assert node.settled == confirmed(parent)
    assert node.chase(FETCH_AFTER_MS) == [(1, want(child, *hashes(child)))]
    node.check(*node.give(child, 0))
    assert node.settled == confirmed(parent, child)


def test_what_is_signed_under_a_key_that_the_parent_block_took_away_is_void() -> None:
    parent, child = blocks_around_a_rotation()
    outdated = tx(payload("under the old key"), chain_id=GOVERNED.chain_id)
    root = merkle_root(
        [leaf_hash(outdated.transaction.tx_hash, GOVERNED.suite.hash)], GOVERNED.suite.hash
    )
    header = replace(child.header, tx_root=root)
    void = replace(
        child, header=header, digest=header.digest(GOVERNED.suite), transactions=(outdated,)
    )
    for is_early in (False, True):
        node = Pursuing(GOVERNED).pursue(parent).pursue(void)
        held = node.give(void, 0) if is_early else []
        node.check(*held, *node.give(parent, 0))
        node.check(*node.give(void, 0))
        assert node.settled == [*confirmed(parent), *refused(void)]
