"""Engines from epoch to epoch: who decides when, who follows, and what a restart remembers."""

from __future__ import annotations

from dataclasses import replace

from node.chain.block import ResultCode
from node.chain.certificate import Vote
from node.chain.governance import Operation, RemoveValidator, SetParameters
from node.consensus.events import Now
from node.consensus.messages import Proposal, Status, ViewChange
from node.crypto.suite import SHA_256
from node.service.queries import Queries
from node.service.wire import Message, encode_message
from node.timestamp.receipt import Receipt
from node.timestamp.trust import TrustFile
from node.timestamp.verify import NamedDigest, Outcome, verify_receipt
from tests.unit.execution.governed_chain import (
    GOVERNED,
    adding,
    governed,
    governed_tx,
    statement,
)
from tests.unit.execution.small_chain import payload, tx
from tests.unit.service.chatting import Chat, CountingStore, govern, notarize

FOUNDERS = ("validator-1", "validator-2", "validator-3", "validator-4")
FIFTH = "validator-5"


def epochs(chat: Chat) -> list[int]:
    return [node.engine.term.epoch.number for node in chat.nodes.values()]


def voters(chat: Chat, height: int) -> list[str]:
    """Return who signed the commit certificate of a height, as the first node has it."""
    ledger = chat.nodes["validator-1"].ledger
    found = ledger.header_at(height)
    assert found is not None
    header, certificate = found
    assert certificate is not None
    members = chat.nodes["validator-1"].engine.term.epoch.validators.validators
    assert header.epoch == chat.nodes["validator-1"].engine.term.epoch.number
    return [members[vote.validator].validator_id for vote in certificate.votes]


def test_a_learner_follows_and_votes_from_the_block_after_the_barrier_on() -> None:
    chat = Chat(*FOUNDERS, FIFTH)
    learner = chat.nodes[FIFTH].engine
    assert not learner.term.is_member
    notarize(chat, "first")
    chat.pass_time(3_000)
    assert chat.heights() == [1] * 5
    assert not any(name == FIFTH and isinstance(m, Vote | Proposal) for name, m in chat.said)
    assert govern(chat, adding(FIFTH), members=(*FOUNDERS[:3], FIFTH)) is ResultCode.OK
    chat.pass_time(3_000)
    assert chat.heights() == [2] * 5
    assert epochs(chat) == [1] * 5
    assert (learner.term.me, learner.term.anchor.height, learner.core.view) == (4, 2, 0)
    chat.away = ["validator-4"]  # now q is 4 of 5: the fifth is needed
    notarize(chat, "second")
    chat.pass_time(1_000)
    assert chat.heights() == [3, 3, 3, 2, 3]
    assert voters(chat, 3) == ["validator-1", "validator-2", "validator-3", FIFTH]


def test_a_removed_validator_follows_and_no_vote_of_it_counts() -> None:
    chat = Chat(*FOUNDERS)
    notarize(chat, "first")
    assert govern(chat, RemoveValidator("validator-4"), members=FOUNDERS[:3]) is ResultCode.OK
    removed = chat.nodes["validator-4"].engine
    assert not removed.term.is_member
    told = [(name, each.rule) for name, output in chat.outputs for each in output.traces]
    assert sorted(name for name, rule in told if rule == "epoch-begun") == list(FOUNDERS[:3])
    assert [name for name, rule in told if rule == "epoch-followed"] == ["validator-4"]
    chat.said.clear()
    notarize(chat, "second")
    chat.pass_time(3_000)
    assert chat.heights() == [3] * 4
    said = [m for name, m in chat.said if name == "validator-4"]
    assert not any(isinstance(m, Vote | Proposal | ViewChange) for m in said)
    assert set(voters(chat, 3)) <= set(FOUNDERS[:3])
    chat.away = ["validator-2", "validator-3"]
    notarize(chat, "third")  # q is 2 of 3, and the removed one cannot help
    chat.pass_time(5_000)
    assert chat.heights()[0] == 3
    chat.away = []
    chat.pass_time(5_000)
    assert chat.heights() == [4] * 4


def test_a_key_is_rotated_without_a_stop() -> None:
    fresh = "validator-2b"
    chat = Chat(*FOUNDERS, fresh)
    notarize(chat, "first")
    chat.pass_time(2_000)
    change = (RemoveValidator("validator-2"), adding(fresh, "org-2"))
    members = ("validator-1", "validator-3", fresh)
    assert govern(chat, *change, members=members) is ResultCode.OK
    chat.away = ["validator-2", "validator-4"]
    chat.pass_time(2_000)
    notarize(chat, "second")
    chat.pass_time(2_000)
    assert voters(chat, 3) == ["validator-1", "validator-3", fresh]


def test_every_view_of_an_epoch_starts_anew() -> None:
    chat = Chat(*FOUNDERS)
    chat.away = ["validator-1"]
    notarize(chat, "first", at="validator-2")
    chat.pass_time(8_000)
    chat.away = []
    chat.pass_time(4_000)
    assert chat.heights() == [1] * 4
    assert chat.nodes["validator-2"].engine.core.view == 1
    slower = replace(GOVERNED.parameters, view_timeout_ms=2_000)
    at = "validator-2"
    assert govern(chat, SetParameters(slower), members=FOUNDERS, at=at) is ResultCode.OK
    for node in chat.nodes.values():
        assert node.engine.core.view == 0
        assert node.engine.core.parameters == slower
    notarize(chat, "second")
    assert chat.heights() == [3] * 4


def test_who_missed_the_barrier_is_told_and_goes_on() -> None:
    chat = Chat(*FOUNDERS)
    notarize(chat, "first")
    chat.away = ["validator-4"]
    slower = replace(GOVERNED.parameters, view_timeout_ms=500)
    assert govern(chat, SetParameters(slower), members=FOUNDERS) is ResultCode.OK
    chat.away = []
    chat.pass_time(2_000)
    assert chat.heights() == [2] * 4
    assert epochs(chat) == [1] * 4


def test_who_was_away_for_epochs_follows_from_barrier_to_barrier() -> None:
    chat = Chat(*FOUNDERS)
    chat.away = ["validator-4"]
    notarize(chat, "first")
    for epoch in range(3):
        changed = replace(GOVERNED.parameters, view_timeout_ms=900 - epoch)
        assert govern(chat, SetParameters(changed), members=FOUNDERS[:3]) is ResultCode.OK
        for number in range(3):
            notarize(chat, f"{epoch} {number}")
    chat.away = []
    chat.pass_time(10_000)
    assert chat.heights() == [13] * 4
    assert epochs(chat) == [3] * 4


def test_a_restart_finds_its_epoch_and_votes_in_it() -> None:
    chat = Chat(*FOUNDERS, FIFTH)
    notarize(chat, "first")
    chat.pass_time(2_000)
    assert govern(chat, adding(FIFTH), members=(*FOUNDERS[:3], FIFTH)) is ResultCode.OK
    chat.pass_time(2_000)
    for name in (FIFTH, "validator-1", "validator-2"):
        chat.restart(name)
        engine = chat.nodes[name].engine
        assert (engine.term.epoch.number, engine.term.anchor.height) == (1, 2)
        assert engine.term.is_member
    chat.away = ["validator-4"]
    notarize(chat, "second")
    chat.pass_time(3_000)
    assert voters(chat, 3) == ["validator-1", "validator-2", "validator-3", FIFTH]


def test_a_restart_with_an_empty_ledger_keeps_what_it_signed_in_later_epochs() -> None:
    chat = Chat(*FOUNDERS)
    notarize(chat, "first")
    slower = replace(GOVERNED.parameters, view_timeout_ms=900)
    assert govern(chat, SetParameters(slower), members=FOUNDERS) is ResultCode.OK
    chat.away = ["validator-2", "validator-3"]
    notarize(chat, "second")  # voted for by two, not decided
    node = chat.nodes["validator-4"]
    signed = [vote for (_, height), vote in node.engine.core._own_durable.items() if height == 3]  # noqa: SLF001 - what it is bound by
    assert [vote.epoch for vote in signed] == [1]
    node.log.records[:] = node.engine.snapshot()
    node.store = type(node.store)()
    chat.away = []
    chat.restart("validator-4")
    assert node.engine.height in (0, 2, 3)
    chat.pass_time(10_000)
    assert chat.heights() == [3] * 4
    assert epochs(chat) == [1] * 4


def test_an_auditor_follows_the_handovers_of_a_receipt_from_genesis_offline() -> None:
    fresh = "validator-2b"
    chat = Chat(*FOUNDERS, FIFTH, fresh)
    changes: list[tuple[list[Operation], list[str]]] = [
        ([adding(FIFTH)], [*FOUNDERS, FIFTH]),
        ([RemoveValidator("validator-2"), adding(fresh, "org-2")], ["validator-1", "validator-3"]),
        ([RemoveValidator("validator-1")], ["validator-3", FIFTH, fresh]),
    ]
    changes[1][1].extend((FIFTH, fresh))
    node = chat.nodes["validator-3"]
    queries = Queries(node.ledger, GOVERNED)
    anchor = TrustFile(chain_id=GOVERNED.chain_id, genesis=GOVERNED).establish()
    kept: list[tuple[bytes, str]] = []
    for epoch in range(4):
        text = f"document of epoch {epoch}"
        transaction = tx(payload(text), chain_id=GOVERNED.chain_id)
        chat.submit("validator-3", transaction)
        chat.pass_time(2_000)
        (receipt,) = queries.receipts(transaction.transaction.tx_id, 0, 1) or []
        assert len(receipt.handovers) == receipt.block.header.epoch == epoch
        kept.append((receipt.encode(), text))
        if epoch < len(changes):
            operations, members = changes[epoch]
            outcome = govern(chat, *operations, members=members, at="validator-3")
            assert outcome is ResultCode.OK
            chat.pass_time(2_000)
    for encoded, text in kept:
        digest = NamedDigest(SHA_256, payload(text).digests)
        assert verify_receipt(encoded, anchor, digest).outcome is Outcome.VERIFIED
    last = Receipt.decode(kept[-1][0])
    digest = NamedDigest(SHA_256, payload(kept[-1][1]).digests)
    gap = replace(last, handovers=last.handovers[1:])
    assert verify_receipt(gap.encode(), anchor, digest).outcome is Outcome.NOT_ROOTED
    removed = [m.validator_id for m in node.engine.term.epoch.validators.validators]
    assert removed == ["validator-3", "validator-4", FIFTH, fresh]


def test_what_no_block_can_hold_any_more_is_let_go_of() -> None:
    chat = Chat(*FOUNDERS)
    notarize(chat, "first")
    documents = [f"document {number}" for number in range(100)]
    large = tx(payload(*documents), chain_id=GOVERNED.chain_id)
    assert len(large.transaction.encoded) > 2_048
    small = replace(GOVERNED.parameters, block_bytes_max=6_000, block_txs_max=1)
    evidence = [statement(name, chat.nodes[name].ledger.header) for name in FOUNDERS[:3]]
    change = governed_tx(governed(SetParameters(small), evidence=evidence))
    assert len(change.transaction.encoded) < 6_000
    tiny = replace(small, block_bytes_max=2_048)
    assert govern(chat, SetParameters(small), members=FOUNDERS[:3]) is ResultCode.OK
    chat.away = ["validator-1"]  # the primary: both wait at the others until the view changes
    smaller = governed(
        SetParameters(tiny),
        epoch=1,
        evidence=[statement(n, chat.nodes[n].ledger.header) for n in FOUNDERS[1:]],
    )
    chat.submit("validator-2", governed_tx(smaller, nonce=7))
    chat.submit("validator-2", large)
    chat.pass_time(8_000)
    engine = chat.nodes["validator-2"].engine
    assert engine.term.epoch.number == 2
    assert engine.mempool.pending_count == 0
    expired = [
        tx_id for name, output in chat.outputs if name == "validator-2" for tx_id in output.expired
    ]
    assert expired == [large.transaction.tx_id]
    notarize(chat, "second", at="validator-2")
    chat.pass_time(4_000)
    assert engine.height == 4


def test_who_speaks_of_an_ended_epoch_is_answered_with_its_barrier() -> None:
    chat = Chat(*FOUNDERS)
    notarize(chat, "first")
    slower = replace(GOVERNED.parameters, view_timeout_ms=900)
    assert govern(chat, SetParameters(slower), members=FOUNDERS) is ResultCode.OK
    engine = chat.nodes["validator-1"].engine
    engine.drain()
    engine.receive(3, [encode_message(Status(0, 0, True, 1))], chat.now)  # noqa: FBT003
    answer, _ = engine.drain().messages
    barrier = chat.nodes["validator-1"].ledger.header_at(2)
    assert barrier is not None
    assert barrier[0].encode() in answer.data


def test_what_a_faster_peer_says_of_the_next_epoch_is_kept_until_it_begins() -> None:
    chat = Chat(*FOUNDERS)
    notarize(chat, "first")
    chat.away = ["validator-4"]
    slower = replace(GOVERNED.parameters, view_timeout_ms=900)
    assert govern(chat, SetParameters(slower), members=FOUNDERS) is ResultCode.OK
    chat.said.clear()
    notarize(chat, "second")
    node = chat.nodes["validator-4"]
    early = [(n, m) for n, m in chat.said if isinstance(m, Proposal | Vote)]
    for name, message in early:
        number = node.engine.roster.number(name)
        node.engine.receive(number, [encode_message(message)], chat.now)
    assert node.engine.counters.messages_refused == 0
    assert node.engine.height == 1
    chat.away = []
    chat.pass_time(1_200)
    assert node.engine.term.epoch.number == 1
    assert chat.heights() == [3] * 4


def test_a_proposal_of_the_next_epoch_is_taken_up_as_soon_as_that_begins() -> None:
    chat = Chat(*FOUNDERS)
    notarize(chat, "first")
    chat.away = ["validator-4"]
    slower = replace(GOVERNED.parameters, view_timeout_ms=5_000)
    assert govern(chat, SetParameters(slower), members=FOUNDERS) is ResultCode.OK
    chat.away = ["validator-3", "validator-4"]  # two do not decide the next block
    notarize(chat, "second")
    node = chat.nodes["validator-4"]
    votes = [m for _, m in chat.said if isinstance(m, Vote) and m.epoch == 1]
    forged = replace(votes[0], signature=bytes(64))
    proposals = [m for m in chat.proposals() if m.header.epoch == 1]
    early: list[Message] = [forged, *proposals, *votes]
    number = node.engine.roster.number("validator-1")
    node.engine.receive(number, [encode_message(message) for message in early], chat.now)
    assert (node.engine.height, node.engine.counters.messages_refused) == (1, 0)
    chat.away = ["validator-3"]
    while node.engine.term.epoch.number == 0:
        chat.pass_time(50)
    assert node.engine.counters.messages_refused == 1
    chat.pass_time(1_000)
    assert node.engine.height == 3, "its vote was the third, long before anything is repeated"


def test_what_only_members_say_is_refused_from_anybody_else() -> None:
    chat = Chat(*FOUNDERS, FIFTH)
    notarize(chat, "first")
    chat.pass_time(3_000)
    told = [m for name, m in chat.said if name == "validator-2" and isinstance(m, Vote)]
    node = chat.nodes["validator-1"]
    stranger = node.engine.roster.number(FIFTH)
    node.engine.receive(stranger, [encode_message(told[-1])], chat.now)
    refusals = [each for each in node.engine.drain().traces if each.rule == "no-member"]
    assert [each.detail for each in refusals] == [
        f"from {FIFTH}: no-member: Vote from outside the set in force"
    ]


def test_what_clients_of_a_node_hand_in_that_does_not_decide_becomes_final() -> None:
    chat = Chat(*FOUNDERS, FIFTH)
    notarize(chat, "first")
    chat.pass_time(3_000)
    notarize(chat, "second", at=FIFTH)
    chat.pass_time(3_000)
    assert chat.heights() == [2] * 5
    assert all(node.engine.counters.messages_refused == 0 for node in chat.nodes.values())
    assert chat.nodes[FIFTH].engine.mempool.pending_count == 0


def decides(chat: Chat, name: str) -> bool:
    return chat.nodes[name].engine.term.is_member


def rotated(chat: Chat, name: str) -> None:
    """Have a node's log restated, as a rotation does."""
    node = chat.nodes[name]
    node.log.records[:] = node.engine.snapshot()


def test_who_lost_its_database_casts_nothing_before_it_is_where_its_log_says_it_was() -> None:
    """Votes for what is final are left out of a rotated log, so none may be cast there again."""
    chat = Chat(*FOUNDERS)
    for text in ("first", "second", "third"):
        notarize(chat, text)
        chat.pass_time(1_000)
    loser = chat.nodes["validator-4"]
    rotated(chat, "validator-4")
    loser.store = CountingStore()
    chat.away = ["validator-1", "validator-2", "validator-3"]
    chat.said.clear()
    chat.restart("validator-4")
    assert (loser.engine.height, decides(chat, loser.name)) == (0, False)
    view = loser.engine.core.view
    notarize(chat, "another first", at="validator-4")
    chat.pass_time(10_000)
    assert loser.engine.core.view == view
    said = [m for name, m in chat.said if name == "validator-4"]
    assert not any(isinstance(m, Vote | Proposal | ViewChange) for m in said)
    # It stays so over rotations and restarts,
    rotated(chat, "validator-4")
    chat.restart("validator-4")
    assert not decides(chat, loser.name)
    # and ends when all that it once had is final here again.
    chat.away = []
    chat.pass_time(3_000)
    assert loser.engine.height >= 3
    assert decides(chat, loser.name)
    rules = [
        each.rule for name, output in chat.outputs for each in output.traces if name == loser.name
    ]
    assert rules.count("log-ahead") == 2
    chat.away = ["validator-3"]
    notarize(chat, "fourth")
    chat.pass_time(2_000)
    assert "validator-4" in voters(chat, 4)


def test_who_lost_its_database_shows_what_is_final_as_soon_as_it_casts_again() -> None:
    """All that its log says was final may become so in one turn, in which the silence ends."""
    chat = Chat(*FOUNDERS)
    for text in ("first", "second", "third"):
        notarize(chat, text)
        chat.pass_time(1_000)
    loser = chat.nodes["validator-4"]
    loser.store = CountingStore()
    rotated(chat, loser.name)
    chat.restart(loser.name)
    assert not decides(chat, loser.name)
    chat.pass_time(3_000)
    assert (loser.engine.height, decides(chat, loser.name)) == (3, True)
    window = GOVERNED.parameters.window_slots
    shown = [item.header.height for item in loser.engine.core.recent]
    assert shown == [1, 2, 3][-window:], "in its VIEW-CHANGE"


def test_who_lost_its_database_remembers_in_an_epoch_what_it_signed_in_the_next() -> None:
    chat = Chat(*FOUNDERS)
    notarize(chat, "first")
    chat.pass_time(1_000)
    slower = replace(GOVERNED.parameters, view_timeout_ms=2_000)
    assert govern(chat, SetParameters(slower), members=FOUNDERS) is ResultCode.OK
    notarize(chat, "second")
    chat.pass_time(1_000)
    assert epochs(chat) == [1] * 4
    loser = chat.nodes["validator-4"]
    rotated(chat, "validator-4")
    loser.store = CountingStore()
    chat.away = ["validator-1", "validator-2", "validator-3"]
    chat.restart("validator-4")
    assert (loser.engine.term.epoch.number, decides(chat, loser.name)) == (0, False)
    chat.away = []
    chat.pass_time(3_000)
    assert (loser.engine.term.epoch.number, decides(chat, loser.name)) == (1, True)
    chat.away = ["validator-3"]
    notarize(chat, "third")
    chat.pass_time(3_000)
    assert "validator-4" in voters(chat, 4)


def test_the_parameters_of_a_header_are_found_however_often_they_changed_since() -> None:
    chat = Chat(*FOUNDERS)
    node = chat.nodes["validator-1"]
    for accuracy_ms in (2_000, 3_000):
        changed = replace(GOVERNED.parameters, accuracy_ms=accuracy_ms)
        assert govern(chat, SetParameters(changed), members=FOUNDERS) is ResultCode.OK
        chat.pass_time(2_000)
        notarize(chat, f"at {accuracy_ms}")
        chat.pass_time(2_000)
    queries = Queries(node.ledger, GOVERNED)
    found = [queries.header(height) for height in range(node.ledger.tip_height + 1)]
    accuracies = [queries.parameters_at(each[0]).accuracy_ms for each in found if each is not None]
    assert accuracies == sorted(accuracies)
    assert set(accuracies) == {1_000, 2_000, 3_000}


def test_a_governed_transaction_changes_what_is_promised_of_time() -> None:
    chat = Chat(*FOUNDERS)
    changed = replace(
        GOVERNED.parameters,
        precision_ms=200,
        message_delay_ms=700,
        clock_error_ms=80,
        accuracy_ms=2_000,
    )
    assert govern(chat, SetParameters(changed), members=FOUNDERS) is ResultCode.OK
    chat.pass_time(2_000)
    for node in chat.nodes.values():
        assert node.engine.core.parameters == changed
        assert node.ledger.header.next_set_digest == node.engine.term.epoch.validators.digest
        fitness = node.engine.clock_fitness
        fitness.observe(Now(1_000, 50_000))
        fitness.observe(Now(1_010, 50_090))
        assert fitness.judge().is_fit, "80 ms are allowed now"
        fitness.observe(Now(1_020, 50_181))
        assert not fitness.judge().is_fit
