"""The state instead of blocks: fetched in pieces from anybody, each believed for its hash alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from node.chain.block import CertifiedHeader, ResultCode
from node.chain.certificate import QuorumCertificate
from node.chain.genesis import Parameters
from node.chain.governance import SetParameters
from node.chain.state_bucket import key_path
from node.chain.state_page import Page
from node.consensus.messages import Status
from node.errors import PeerError, ProofError
from node.execution.apply import Executor
from node.service.archived import blocks_of, take_in
from node.service.catch_up import block_sync, filling, snapshot_serving
from node.service.catch_up.backfill import RANGE_BLOCKS
from node.service.catch_up.block_sync import ANSWER_WITHIN_MS, DISTRUST_MS
from node.service.catch_up.lineage import Lineage
from node.service.catch_up.snapshot_sync import REST_MS, STALLED_MS
from node.service.queries import Queries
from node.service.recovery import recover
from node.service.wire import (
    Blocks,
    Message,
    PastBlocks,
    Snapshots,
    StatePart,
    StateParts,
    WantPast,
    WantSnapshots,
    WantState,
)
from node.storage.ledger import LedgerStore, RecordQuery
from node.storage.ledger_check import verify_store
from node.storage.memory import MemoryStore
from node.storage.past import NotHeldYet
from node.storage.stored_block import StoredBlock, encode_header_value
from node.timestamp.history import Handover
from tests.suites import SUITE
from tests.unit.execution.governed_chain import GOVERNED
from tests.unit.execution.small_chain import build_genesis
from tests.unit.service.catch_up.catching import FETCHER, Catching, MemoryDrafts, long_chain
from tests.unit.service.chatting import Chat, govern, notarize

GENESIS = build_genesis(parameters=Parameters(checkpoint_blocks=2))
FOUNDERS = ("validator-1", "validator-2", "validator-3", "validator-4")
OLD, HEIGHT = 30, 60
RANGE, RANGES_AHEAD = 8, 3
PRUNED_BELOW = OLD - RANGE * RANGES_AHEAD
CHAIN = long_chain(HEIGHT, old=OLD, genesis=GENESIS)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a state of some sixty keys take many pieces."""
    monkeypatch.setattr(snapshot_serving, "SUBTREE_BYTES_MAX", 600)
    monkeypatch.setattr(filling, "PLACES_PER_REQUEST", 4)
    monkeypatch.setattr(filling, "PAST_RANGE_BLOCKS", RANGE)
    monkeypatch.setattr(filling, "PAST_RANGES_AHEAD", RANGES_AHEAD)


def far_behind(chain: Sequence[Any] = CHAIN) -> Catching:
    net = Catching(chain, GENESIS)
    net.greet()
    return net


def fetch(net: Catching) -> None:
    """Let the state be fetched, and begin with it."""
    net.run(lambda: net.fetcher.engine.is_superseded)
    net.fetcher.start()
    net.greet()


def far_behind_with_state() -> Catching:
    net = far_behind()
    fetch(net)
    return net


def given(net: Catching, kind: type[Message]) -> list[int]:
    """Return who gave the fetcher messages of a kind."""
    return [peer for peer, to, said in net.said if to == FETCHER and isinstance(said, kind)]


def is_whole(net: Catching) -> Callable[[], object]:
    return lambda: net.fetcher.ledger.is_whole


def contents(net: Catching, me: int) -> dict[bytes, bytes]:
    return dict(net.nodes[me].store.scan(b""))


# ---------------------------------------------------------------------- the whole of it


def test_far_behind_the_state_is_fetched_then_the_past_and_all_is_as_with_the_others() -> None:
    net = far_behind()
    fetch(net)
    engine = net.fetcher.engine
    assert engine.height == HEIGHT
    assert engine.missing_blocks == OLD - 1, "the last of the old ones shows how old it is"
    assert not given(net, Blocks)
    assert len(given(net, StateParts)) > 3
    assert frozenset(given(net, StateParts)) == {0, 1, 2}, "any piece from anybody"
    net.run(is_whole(net))
    assert contents(net, FETCHER) == contents(net, 0)
    verify_store(net.fetcher.store, net.fetcher.ledger, GENESIS.suite)


def test_from_pruned_peers_the_state_is_fetched_and_the_past_from_whoever_has_it() -> None:
    net = far_behind()
    for peer in (0, 1, 2):
        net.nodes[peer].ledger.prune(PRUNED_BELOW)
    fetch(net)
    assert net.fetcher.engine.height == HEIGHT
    net.run(lambda: len(given(net, PastBlocks)) > 9)
    assert net.fetcher.engine.missing_blocks == OLD - 1, "all pruned it: it works without"
    whole = LedgerStore.open(MemoryStore(), GENESIS.suite, Executor(GENESIS).genesis_block())
    whole.commit(CHAIN, sync=False)
    for first, last in ((1, 10), (9, HEIGHT)):
        kept = [StoredBlock(*values, GENESIS.suite) for values in blocks_of(whole, first, last)]
        taken = take_in(net.fetcher.ledger, kept, GENESIS.suite)
        assert taken == (10 if first == 1 else OLD - 11)
    with pytest.raises(ProofError, match="archive-gap"):
        take_in(far_behind_with_state().fetcher.ledger, kept, GENESIS.suite)
    net.run(is_whole(net))
    verify_store(net.fetcher.store, net.fetcher.ledger, GENESIS.suite)


def test_an_archive_of_another_past_is_not_taken_in() -> None:
    net = far_behind_with_state()
    other = LedgerStore.open(MemoryStore(), GENESIS.suite, Executor(GENESIS).genesis_block())
    other.commit(long_chain(HEIGHT, old=OLD, genesis=GENESIS), sync=False)
    kept = [StoredBlock(*values, GENESIS.suite) for values in blocks_of(other, 1, OLD - 1)]
    assert other.digest_at(OLD) != net.fetcher.ledger.digest_at(OLD)
    with pytest.raises(ProofError, match="archive-block"):
        take_in(net.fetcher.ledger, kept, GENESIS.suite)


def test_what_is_pruned_here_and_there_comes_from_the_one_that_kept_it() -> None:
    net = far_behind()
    for peer in (0, 2):
        net.nodes[peer].ledger.prune(PRUNED_BELOW)
    fetch(net)
    net.run(is_whole(net))
    assert contents(net, FETCHER) == contents(net, 1)


def test_what_lived_in_the_last_lifetime_is_known_before_the_past_is_here() -> None:
    net = far_behind()
    fetch(net)
    for executed, _ in CHAIN[OLD:]:
        for tx_id in executed.tx_ids:
            assert net.fetcher.ledger.has_transaction(tx_id)
    for height in range(OLD, HEIGHT + 1):
        assert net.fetcher.ledger.digest_at(height) == CHAIN[height - 1][0].digest


def test_who_is_less_far_behind_fetches_blocks_and_leaves_no_draft() -> None:
    net = Catching(CHAIN[:20], GENESIS)
    net.fetcher.drafts.open()
    net.greet()
    net.run(lambda: net.fetcher.engine.height == 20)
    net.run(lambda: net.fetcher.drafts.discarded)
    assert not given(net, Snapshots)
    assert net.fetcher.drafts.store is None


def test_one_peer_alone_is_not_believed_to_be_far_ahead() -> None:
    net = Catching(CHAIN, GENESIS)
    for peers, expected in ((1, 0), (2, 2)):
        for peer in range(peers):
            net.deliver(peer, FETCHER, Status(0, 0, True, HEIGHT))  # noqa: FBT003
        net.step()
        asked = [said for peer, _, said in net.said if peer == FETCHER]
        assert sum(isinstance(said, WantSnapshots) for said in asked) == expected


# ---------------------------------------------------------------------- false pieces


def in_state(change: Callable[[StatePart], StatePart]) -> Callable[[Message], Message]:
    """Return what changes the first piece of an answer that it can change."""

    def meddle(said: Message) -> Message:
        if not isinstance(said, StateParts):
            return said
        parts = list(said.parts)
        for at, part in enumerate(parts):
            changed = change(part)
            if changed != part:
                parts[at] = changed
                break
        return replace(said, parts=tuple(parts))

    return meddle


def flip(data: bytes, at: int = -1) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def other_page(part: StatePart) -> StatePart:
    if part.page is None:
        return part
    page = Page.decode(part.page, "", GENESIS.suite)
    held = [slot for slot in page.subtrees[16:] if slot]
    slots = [slot if slot in held[-2:] else b"" for slot in page.subtrees[16:]]
    return StatePart(Page.of_slots(slots, GENESIS.suite).encode(), ())


def other_values(
    change: Callable[[list[tuple[bytes, bytes]]], object],
) -> Callable[[StatePart], StatePart]:
    def changed(part: StatePart) -> StatePart:
        values = list(part.values)
        if values:
            change(values)
        return replace(part, values=tuple(values))

    return changed


def add_from_elsewhere(values: list[tuple[bytes, bytes]]) -> None:
    """Add a value of which the key's path begins with another digit than that of those here."""
    here = key_path(values[0][0], SUITE)[0] >> 4
    keys = (b"another %d" % number for number in count())
    values.append((next(k for k in keys if key_path(k, SUITE)[0] >> 4 != here), b"value"))


def of_head(change: Callable[[Any], Any]) -> Callable[[Message], Message]:
    def meddle(said: Message) -> Message:
        if not isinstance(said, Snapshots):
            return said
        return replace(said, heads=tuple(map(change, said.heads)))

    return meddle


def few_votes(certificate: QuorumCertificate) -> QuorumCertificate:
    return replace(certificate, votes=certificate.votes[:-1])


def of_past(change: Callable[[list[tuple[bytes, bytes]]], object]) -> Callable[[Message], Message]:
    def meddle(said: Message) -> Message:
        if not isinstance(said, PastBlocks) or not said.blocks:
            return said
        blocks = list(said.blocks)
        change(blocks)
        return replace(said, blocks=tuple(blocks))

    return meddle


def other_certificate(blocks: list[tuple[bytes, bytes]]) -> None:
    stored = StoredBlock(*blocks[0], GENESIS.suite)
    assert stored.certificate is not None
    value = encode_header_value(stored.header, few_votes(stored.certificate))
    blocks[0] = (value, blocks[0][1])


def no_certificate(blocks: list[tuple[bytes, bytes]]) -> None:
    stored = StoredBlock(*blocks[0], GENESIS.suite)
    blocks[0] = (encode_header_value(stored.header, None), blocks[0][1])


def swap(blocks: list[tuple[bytes, bytes]]) -> None:
    blocks[0] = blocks[-1]


def other_bodies(blocks: list[tuple[bytes, bytes]]) -> None:
    blocks[0] = (blocks[0][0], blocks[-1][1])


LIES = {
    "state-page": in_state(other_page),
    "state-page malformed": in_state(
        lambda part: part if part.page is None else StatePart(part.page + b"\0", ())
    ),
    "state-subtree a value": in_state(
        other_values(lambda values: values.append((values[0][0], flip(values.pop(0)[1]))))
    ),
    "state-subtree one less": in_state(other_values(lambda values: values.pop())),
    "state-place": in_state(other_values(add_from_elsewhere)),
    "state-unasked": lambda said: (
        replace(said, parts=(StatePart(None, ()),) * 17) if isinstance(said, StateParts) else said
    ),
    "snapshot-log": of_head(
        lambda head: replace(head, log_edge=(flip(head.log_edge[0]), *head.log_edge[1:]))
    ),
    "log-edge": of_head(lambda head: replace(head, log_edge=head.log_edge[1:])),
    "certificate-digest": of_head(
        lambda head: replace(
            head,
            block=replace(head.block, header=replace(head.block.header, state_root=bytes(32))),
        )
    ),
    "certificate-quorum": of_head(
        lambda head: replace(
            head, block=replace(head.block, certificate=few_votes(head.block.certificate))
        )
    ),
    "past-height": of_past(swap),
    "past-transactions": of_past(other_bodies),
    "past-certificate": of_past(no_certificate),
    "certificate-quorum of a block": of_past(other_certificate),
}


@pytest.mark.parametrize("name", LIES)
def test_who_gives_something_false_is_refused_by_its_rule_and_left_alone(name: str) -> None:
    net = far_behind()
    lies: list[tuple[int, int]] = []

    def meddle(peer: int, said: Message) -> Sequence[Message]:
        """Have the first that could lie in this way do so, whenever it can."""
        changed = LIES[name](said) if peer in [liar for liar, _ in lies[:1]] or not lies else said
        if changed != said:
            lies.append((peer, net.now_ms))
        return (changed,)

    net.meddle = meddle
    rules = net.watch_rules()
    net.run(lambda: net.fetcher.engine.is_superseded)
    ((liar, lied_at_ms),) = lies  # nothing more was asked of it
    assert rules == [name.split(maxsplit=1)[0]]
    assert net.now_ms < lied_at_ms + DISTRUST_MS
    net.meddle = lambda _peer, said: (said,)
    net.fetcher.start()
    net.greet()
    net.run(is_whole(net))
    assert contents(net, FETCHER) == contents(net, liar)


@pytest.mark.parametrize("name", [name for name in LIES if "past" in name or "block" in name])
def test_a_false_block_of_the_past_is_refused_while_the_node_works(name: str) -> None:
    net = far_behind()
    fetch(net)
    lied: list[int] = []

    def meddle(peer: int, said: Message) -> Sequence[Message]:
        changed = LIES[name](said) if not lied else said
        if changed != said:
            lied.append(peer)
        return (changed,)

    net.meddle = meddle
    rules = net.watch_rules()
    net.run(is_whole(net))
    assert len(lied) == 1
    assert "past-false" in rules
    assert contents(net, FETCHER) == contents(net, 0)


# ---------------------------------------------------------------------- silence, loss, change


@pytest.mark.parametrize("frozen", [0, 1, 2])
@pytest.mark.parametrize("after_steps", [1, 2, 4, 6])
def test_a_frozen_peer_costs_a_short_wait(frozen: int, after_steps: int) -> None:
    net = far_behind()
    for _ in range(after_steps):
        net.step()
    net.frozen = {frozen}
    net.run(lambda: net.fetcher.engine.is_superseded, most_ms=3 * ANSWER_WITHIN_MS)
    net.fetcher.start()
    assert net.fetcher.engine.height == HEIGHT


@pytest.mark.parametrize("lives", [1, 2, 3, 5, 8])
def test_killed_at_any_moment_it_goes_on_with_what_it_has(lives: int) -> None:
    net = far_behind()
    pieces = 0
    for _ in range(12):
        for _ in range(lives):
            net.step()
        pieces += net.fetcher.engine.counters.snapshot_pieces
        if net.fetcher.engine.is_superseded:
            break
        draft = net.fetcher.drafts.store
        if draft is not None:
            net.fetcher.drafts.store = draft.crash(keep=draft.unsynced_batches)
        net.fetcher.start()
        net.greet()
    net.run(lambda: net.fetcher.engine.is_superseded)
    net.fetcher.start()
    net.greet()
    net.run(is_whole(net))
    assert contents(net, FETCHER) == contents(net, 0)


def test_blocks_above_a_state_that_were_fetched_for_another_are_not_in_the_ledger() -> None:
    lower = HEIGHT - 10
    net = Catching(CHAIN[:lower], GENESIS)
    for peer in (0, 1, 2):
        node = net.nodes[peer]
        if peer != 2:
            node.ledger.hold()
        node.ledger.commit(CHAIN[lower:], sync=True)
    net.greet()
    net.frozen = {0, 1}  # so the one state that is offered is that of the tip
    net.run(lambda: given(net, PastBlocks))
    assert not net.fetcher.engine.is_superseded
    net.frozen = {2}
    net.meddle = lambda _peer, said: () if isinstance(said, Blocks) else (said,)
    net.fetcher.start()
    net.greet()
    net.run(lambda: net.fetcher.engine.is_superseded)
    net.fetcher.start()
    ledger = net.fetcher.ledger
    assert ledger.tip_height == lower
    for executed, _ in CHAIN[lower:]:
        assert ledger.header_at(executed.header.height) is None
        assert not any(map(ledger.has_transaction, executed.tx_ids))
    net.frozen, net.meddle = set(), lambda _peer, said: (said,)
    net.greet()
    net.run(lambda: ledger.is_whole and net.fetcher.engine.height == HEIGHT)
    assert contents(net, FETCHER) == contents(net, 0)


def test_a_draft_that_was_finished_and_did_not_become_the_ledger_is_made_anew() -> None:
    chain = long_chain(HEIGHT + 20, old=OLD, genesis=GENESIS)
    net = Catching(chain[:HEIGHT], GENESIS)
    net.greet()
    drafts = net.fetcher.drafts
    finished: list[None] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drafts, "complete", lambda: finished.append(None))  # dies right before
        net.run(lambda: finished)
    for node in net.nodes[:FETCHER]:
        for height in (HEIGHT + 10, HEIGHT + 20):
            node.ledger.commit(chain[node.ledger.tip_height : height], sync=True)
            node.ledger.hold()
    net.fetcher.start()
    net.meddle = lambda _peer, said: () if isinstance(said, Blocks) else (said,)
    net.greet()
    fetch(net)
    assert drafts.discarded == 1
    assert net.fetcher.ledger.tip_height == HEIGHT + 20
    net.run(is_whole(net))
    assert contents(net, FETCHER) == contents(net, 0)


def test_a_late_word_of_a_peer_that_was_not_asked_again_ends_nothing() -> None:
    net = far_behind()
    net.meddle = lambda _peer, said: () if isinstance(said, Blocks) else (said,)
    net.run(lambda: net.fetcher.engine.counters.snapshot_pieces)
    net.frozen = {0, 1, 2}
    begun_ms = net.now_ms
    net.run(lambda: net.now_ms > begun_ms + STALLED_MS + REST_MS // 2)
    assert net.fetcher.engine.snapshot_progress is None, "given up"
    net.deliver(0, FETCHER, Status(0, 0, True, 0))  # noqa: FBT003 - so it is not asked what it holds
    net.frozen = {0}
    net.run(lambda: net.fetcher.engine.snapshot_progress, most_ms=2 * REST_MS)
    net.deliver(0, FETCHER, StateParts(HEIGHT, ()))
    net.run(lambda: net.fetcher.engine.is_superseded)


def test_a_state_that_nobody_holds_any_more_is_given_up_for_the_next() -> None:
    chain = long_chain(HEIGHT + 20, old=OLD, genesis=GENESIS)
    net = Catching(chain[:HEIGHT], GENESIS)
    net.greet()
    while net.fetcher.engine.counters.snapshot_pieces < 2:
        net.step()
    for node in net.nodes[:FETCHER]:
        for height in (HEIGHT + 10, HEIGHT + 20):
            node.ledger.commit(chain[node.ledger.tip_height : height], sync=True)
            node.ledger.hold()
        assert HEIGHT not in node.ledger.held
    net.greet()
    before = net.fetcher.engine.counters.snapshot_pieces
    net.run(lambda: net.fetcher.engine.is_superseded)
    assert before
    net.fetcher.start()
    assert net.fetcher.engine.height > HEIGHT
    net.greet()
    net.run(lambda: net.fetcher.ledger.is_whole and net.fetcher.engine.height == HEIGHT + 20)
    assert contents(net, FETCHER) == contents(net, 0)


def test_where_nobody_answers_about_states_blocks_are_fetched() -> None:
    net = far_behind()
    net.meddle = lambda _peer, said: () if isinstance(said, Snapshots) else (said,)
    net.run(lambda: net.fetcher.engine.height == HEIGHT, most_ms=REST_MS)
    assert given(net, Blocks)


def test_where_no_piece_comes_blocks_are_fetched() -> None:
    net = far_behind()
    net.meddle = lambda _peer, said: () if isinstance(said, StateParts) else (said,)
    net.run(lambda: net.fetcher.engine.height == HEIGHT, most_ms=STALLED_MS + REST_MS)


def test_a_state_of_another_height_that_one_peer_alone_offers_is_not_chosen() -> None:
    net = Catching(CHAIN[: HEIGHT - 5], GENESIS)
    for node in net.nodes[:FETCHER]:
        node.ledger.hold()
    net.nodes[1].commit(CHAIN[HEIGHT - 5 :])
    net.greet()
    fetch(net)
    assert net.fetcher.ledger.header.height >= HEIGHT - 5
    begun = [said.height for peer, _, said in net.said if isinstance(said, WantState)]
    assert frozenset(begun) == {HEIGHT - 5}


def test_answers_to_nothing_are_refused() -> None:
    net = far_behind()
    rules = net.watch_rules()
    net.deliver(0, FETCHER, Snapshots((), ()))
    net.deliver(0, FETCHER, StateParts(1, ()))
    net.deliver(0, FETCHER, PastBlocks(1, ()))
    net.step()
    assert rules[:3] == ["snapshots-unasked", "state-unasked", "past-unasked"]


# ---------------------------------------------------------------------- giving


def test_what_is_given_is_bounded_and_costs_the_allowance_what_was_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = far_behind()
    net.step()
    monkeypatch.setattr(snapshot_serving, "SYNC_BYTES_AIM", 2_000)
    places = tuple(f"{n:x}" for n in range(16))
    net.deliver(FETCHER, 0, WantState(HEIGHT, places))
    net.deliver(FETCHER, 0, WantPast(1, 60))
    net.deliver(FETCHER, 0, WantPast(HEIGHT + 1, 60))
    net.deliver(FETCHER, 0, WantState(HEIGHT - 1, places))
    answers = [said for said in net.outgoing(0) if isinstance(said, StateParts | PastBlocks)]
    state, past, nothing, not_held = answers
    assert isinstance(state, StateParts)
    assert 0 < len(state.parts) < 16
    assert isinstance(past, PastBlocks)
    assert 0 < len(past.blocks) < RANGE_BLOCKS
    assert nothing == PastBlocks(HEIGHT + 1, ())
    assert not_held == StateParts(HEIGHT - 1, ())


def test_a_draft_holds_no_more_in_memory_than_what_is_asked_for() -> None:
    net = far_behind()
    net.run(lambda: net.fetcher.engine.is_superseded)
    assert isinstance(net.fetcher.drafts.store, MemoryStore)
    asked = [said for peer, _, said in net.said if isinstance(said, WantState)]
    assert max(len(want.places) for want in asked) <= 16


# ---------------------------------------------------------------------- asking it meanwhile


def test_queries_about_what_is_missing_are_refused_and_others_answered() -> None:
    net = far_behind()
    fetch(net)
    queries = Queries(net.fetcher.ledger, GENESIS)
    old, recent = CHAIN[3][0], CHAIN[-1][0]
    refused: tuple[Callable[[bytes], object], ...] = (
        lambda _: queries.block(4),
        lambda _: queries.header(4),
        queries.transaction,
        lambda tx_id: queries.receipts(tx_id, 0, 1),
        lambda _: queries.records(RecordQuery(), limit=1, start=0),
        lambda _: queries.receipt_of_digest(bytes(32)),
    )
    (tx_id, *_), (recent_id, *_) = sorted(old.tx_ids), sorted(recent.tx_ids)
    for question in refused:
        with pytest.raises(NotHeldYet, match=f"blocks 1 to {OLD - 1} are being fetched"):
            question(tx_id)
    assert queries.final_result(tx_id) is None
    found = queries.transaction(recent_id)
    assert found is not None
    assert found.height == HEIGHT
    net.run(is_whole(net))
    whole = Queries(net.nodes[0].ledger, GENESIS)
    assert queries.transaction(tx_id) == whole.transaction(tx_id)
    assert queries.receipts(tx_id, 0, 9) == whole.receipts(tx_id, 0, 9)


# ---------------------------------------------------------------------- from epoch to epoch


def test_a_state_of_a_later_epoch_is_believed_by_the_handovers_that_lead_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(block_sync, "RANGE_BLOCKS", 1)  # so that the first to answer is not enough
    chat = Chat(*FOUNDERS)
    drafts = {name: MemoryDrafts() for name in FOUNDERS}
    for name, node in chat.nodes.items():
        node.engine.allow_snapshots(drafts[name], 3)
    notarize(chat, "first")
    chat.away = [FOUNDERS[3]]
    for timeout_ms in (2_000, 3_000):
        slower = SetParameters(replace(GOVERNED.parameters, view_timeout_ms=timeout_ms))
        assert govern(chat, slower, members=FOUNDERS[:3]) is ResultCode.OK
    for n in range(6):
        notarize(chat, f"{n}")
        chat.pass_time(100)
    chat.away = []
    chat.pass_time(5_000)
    behind = chat.nodes[FOUNDERS[3]]
    assert behind.engine.is_superseded
    store = drafts[FOUNDERS[3]].store
    assert store is not None
    executor = Executor(GOVERNED)
    ledger = LedgerStore.open(store, GOVERNED.suite, executor.genesis_block())
    records = behind.log.records
    recovery = recover(GOVERNED, executor, ledger, records, validator_id=FOUNDERS[3])
    assert (recovery.epoch.number, recovery.anchor.height) == (2, 3)
    assert ledger.tip_height > recovery.anchor.height
    whole = Queries(chat.nodes[FOUNDERS[0]].ledger, GOVERNED)
    first, second = whole.handovers(2)
    assert Queries(ledger, GOVERNED).handovers(2) == (first, second)
    # Who knows no more than genesis gets there by the handovers alone, in their order.
    empty = LedgerStore.open(MemoryStore(), GOVERNED.suite, executor.genesis_block())
    lineage = Lineage(GOVERNED, empty)
    header, certificate = ledger.header_at(ledger.tip_height) or (None, None)
    assert header is not None
    assert certificate is not None
    for too_early in (lambda: lineage.learn(second), lambda: lineage.set_of(2)):
        with pytest.raises(PeerError):
            too_early()
    for handover in (first, first, second):
        lineage.learn(handover)
    lineage.check(CertifiedHeader(header, certificate))
    assert lineage.newest == 2
    assert list(lineage.barriers()) == [first.block, second.block]
    assert list(Lineage(GOVERNED, ledger).barriers()) == [first.block, second.block]


def test_handovers_that_the_set_before_did_not_certify_are_refused() -> None:
    net = far_behind()
    rules = net.watch_rules()
    stranger = Handover(net.head(), replace(GENESIS.validators, epoch=1))

    def meddle(_peer: int, said: Message) -> Sequence[Message]:
        if not isinstance(said, Snapshots):
            return (said,)
        return (replace(said, handovers=(stranger.encode(),)),)

    net.meddle = meddle
    net.run(lambda: net.fetcher.engine.height == HEIGHT)
    assert rules[:3] == ["handover-set"] * 3
    assert given(net, Blocks), "where all lie about it, blocks are left"
