"""Anchors made day by day: what is due, what survives a crash, and who fails alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from msgspec import structs

from node.chain.block import Header
from node.crypto.suite import SHA_256
from node.errors import ConfigError, DecodeError, NodeError
from node.operations.anchor_home import AnchorHome, PinnedAuthority
from node.operations.anchoring import (
    RECORD_TYPE,
    RETRY_MAX_MS,
    RETRY_MIN_MS,
    SETTLE_MS,
    Anchoring,
    Failing,
    Progress,
    Sight,
    StampError,
    covering,
    date_of,
    due_before_ms,
)
from node.operations.stamp_client import AuthorityError
from node.timestamp.outside.anchor import AnchoredCheckpoint
from node.timestamp.outside.anchor_verify import AnchoredRecord, check_checkpoint, verify_anchor
from node.timestamp.receipt import Receipt
from node.timestamp.steps import NotRootedError, Outcome
from node.timestamp.tokens.issuing import (
    Coordinates,
    Stamp,
    add_chain_proof,
    encode_granted,
    encode_refused,
)
from node.timestamp.tokens.reading import token_of_answer
from node.timestamp.tokens.request import Failure, TimeStampRefused, TimeStampRequest
from node.timestamp.trust import TrustAnchor, load_trust
from node.timestamp.verify import NamedDigest, verify_receipt
from tests.vectors.anchor.generate import ISSUERS, OTHER, OUTSIDE, checkpoint_of, join
from tests.vectors.receipt.chain import Chain, record_of, validator_set

DAY_MS = 86_400_000


@dataclass
class GrowingChain:
    """A chain that records what it is asked to, with real receipts. `AnchoredChain`."""

    chain: Chain = field(default_factory=Chain.found)
    recorded: dict[bytes, int] = field(default_factory=dict)
    references: list[str] = field(default_factory=list)
    is_down: bool = False
    after_ms: int = 1_000

    @property
    def trust(self) -> TrustAnchor:
        return load_trust(self.chain.trust().encode())

    def checkpoint_before(self, time_ms: int | None) -> AnchoredCheckpoint | None:
        headers = [block.header for block in self.chain.blocks]
        due = [each for each in headers if time_ms is None or each.time_ms < time_ms]
        if not due:
            return None
        checkpoint = checkpoint_of(self.chain, due[-1].height)
        check_checkpoint(checkpoint, self.trust)
        return checkpoint

    def find_record(self, digest: bytes) -> bytes | None:
        height = self.recorded.get(digest)
        return None if height is None else self.chain.receipt(height).encode()

    def record(self, digest: bytes, type_code: str, reference: str) -> bytes:
        if self.is_down:
            raise NodeError("no validator answers", code="GC-2205")
        record = structs.replace(
            record_of(b""), digest=digest, type_code=type_code, reference=reference
        )
        self.recorded[digest] = height = self.chain.append(record, after_ms=self.after_ms)
        self.references.append(reference)
        return self.chain.receipt(height).encode()


@dataclass
class World:
    """A chain, an authority per name, a clock, and what was told."""

    home: AnchorHome
    chain: GrowingChain = field(default_factory=GrowingChain)
    now_ms: int = 0
    asked: list[TimeStampRequest] = field(default_factory=list)
    told: list[tuple[str, Sight | Failing]] = field(default_factory=list)
    answer: Callable[[str, TimeStampRequest], bytes] | None = None

    def __post_init__(self) -> None:
        self.making = self.anew()

    def anew(self) -> Anchoring:
        """Return what a program knows that has just been started."""
        return Anchoring(self.home, lambda: self.chain, self.ask, lambda: self.now_ms)

    def ask(self, url: str, request: bytes) -> bytes:
        read = TimeStampRequest.decode(request)
        self.asked.append(read)
        name = url.rsplit("/", 1)[1]
        return self.stamp(name, read) if self.answer is None else self.answer(name, read)

    def stamp(self, name: str, request: TimeStampRequest, time_ms: int | None = None) -> bytes:
        where = Coordinates(bytes(7), height=1, log_index=len(self.asked))
        stamp = Stamp(
            imprint=request.imprint,
            coordinates=where,
            time_ms=time_ms or self.now_ms,
            nonce=request.nonce,
        )
        return encode_granted(ISSUERS[name].issuer.issue(stamp))

    def look(self, *, newest: bool = False) -> list[Sight | Failing]:
        self.told.clear()
        self.making.look_around(lambda who, seen: self.told.append((who.name, seen)), newest=newest)
        return [seen for _, seen in self.told]

    def one(self, *, newest: bool = False) -> Sight:
        (seen,) = self.look(newest=newest)
        assert isinstance(seen, Sight), seen
        return seen

    def failing(self) -> Failing:
        (seen,) = self.look()
        assert isinstance(seen, Failing), seen
        return seen


def end_of_day(header: Header) -> int:
    return (header.time_ms // DAY_MS + 1) * DAY_MS


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a chain of two blocks today, one authority, and a time a while after midnight."""
    home = AnchorHome(tmp_path / "anchors")
    home.add(OUTSIDE, f"https://tsa.example/{OUTSIDE}", [ISSUERS[OUTSIDE].root])
    world = World(home)
    world.chain.chain.append(record_of(b"one"))
    world.chain.chain.append(record_of(b"two"))
    world.now_ms = end_of_day(world.chain.chain.tip) + SETTLE_MS
    world.chain.after_ms = world.now_ms - world.chain.chain.tip.time_ms
    return world


def test_a_day_is_due_once_it_is_over_for_a_while() -> None:
    midnight_ms = 20_000 * DAY_MS
    assert due_before_ms(midnight_ms + SETTLE_MS) == midnight_ms
    assert due_before_ms(midnight_ms + SETTLE_MS - 1) == midnight_ms - DAY_MS
    assert (date_of(midnight_ms), date_of(midnight_ms - 1)) == ("2024-10-04", "2024-10-03")


def test_the_last_block_of_the_day_is_stamped_and_recorded_once(world: World) -> None:
    sight = world.one()
    kept = sight.kept
    assert (sight.progress, kept and kept.height) == (Progress.ANCHORED, 2)
    assert kept is not None
    assert kept.path.name == "2025-10-09.2.outside.anchor"
    assert kept.receipt is not None
    anchor = kept.read()
    digest = hashlib.sha256(kept.path.read_bytes()).digest()
    named = NamedDigest(SHA_256, digest)
    verdict = verify_receipt(kept.receipt.read_bytes(), world.chain.trust, named)
    assert verdict.outcome is Outcome.VERIFIED
    record = Receipt.decode(kept.receipt.read_bytes()).leaf.record
    assert (record.type_code, record.reference) == (RECORD_TYPE, "2025-10-09/2/outside")
    outside = world.home.authorities()[0].outside
    joined = join(world.chain.chain, anchor, 1).encode()
    first = world.chain.chain.receipt(1)
    asked = AnchoredRecord(first.encode(), NamedDigest(SHA_256, first.leaf.record.digest))
    assert verify_anchor(joined, world.chain.trust, outside, asked).outcome is Outcome.VERIFIED
    for making in (world.making, world.anew()):
        world.making = making
        assert world.one() == Sight(Progress.UP_TO_DATE, kept)
    assert len(world.asked) == len(world.chain.references) == 1


def test_each_day_has_its_own_and_missed_days_none(world: World) -> None:
    heights = []
    for days in (0, 1, 1, 5):
        world.now_ms += days * DAY_MS
        world.chain.after_ms = max(1, world.now_ms - world.chain.chain.tip.time_ms)
        kept = world.one().kept
        heights.append(kept and kept.height)
    assert heights == [2, 3, 4, 5]  # each record of an anchor is a block of the next day
    assert len(world.home.anchors()) == 4
    assert [each.height for each in covering(world.home.anchors(), 4)] == [4, 5]


def test_an_anchor_never_calls_for_the_next_whatever_the_clocks_say(world: World) -> None:
    world.chain.after_ms = 1  # as blocks of a chain whose clocks are unfit: T stands still
    assert world.one().progress is Progress.ANCHORED
    for _ in range(3):
        world.now_ms += 60_000
        assert world.one().progress is Progress.UP_TO_DATE
    true_ms = world.now_ms
    world.now_ms += 3 * DAY_MS  # the clock here is set wrong, the authority's is not
    world.answer = lambda name, request: world.stamp(name, request, true_ms)
    failing = world.failing()
    assert "2025-10-12 is not over yet" in str(failing.error)
    assert len(world.home.anchors()) == 1


def test_before_any_day_is_over_nothing_is_due_but_the_newest_block_may_be_asked_for(
    world: World,
) -> None:
    world.now_ms = world.chain.chain.tip.time_ms + 1_000
    world.chain.after_ms = 1_000
    assert world.one() == Sight(Progress.UP_TO_DATE, None)
    assert world.asked == []
    sight = world.one(newest=True)
    assert (sight.progress, sight.kept and sight.kept.height) == (Progress.ANCHORED, 2)


def test_after_a_crash_the_same_anchor_is_recorded_and_once_only(world: World) -> None:
    world.chain.is_down = True
    assert world.failing().error.code == "GC-2205"
    (kept,) = world.home.anchors()
    assert kept.receipt is None
    world.chain.is_down = False
    world.making = world.anew()
    assert world.one().progress is Progress.RECORDED
    assert len(world.asked) == 1
    (kept,) = world.home.anchors()
    assert kept.receipt is not None
    kept.receipt.unlink()  # as if it crashed once the record was there, before its receipt was
    world.making = world.anew()
    assert world.one().progress is Progress.RECORDED
    assert (len(world.asked), len(world.chain.references)) == (1, 1)


def test_an_authority_that_is_down_is_asked_ever_less_often_and_others_go_on(world: World) -> None:
    def half_down(name: str, request: TimeStampRequest) -> bytes:
        if name == OUTSIDE:
            raise AuthorityError("down")
        return world.stamp(name, request)

    world.home.add(OTHER, f"https://tsa.example/{OTHER}", [ISSUERS[OTHER].root])
    world.answer = half_down
    seen = world.look()
    assert [type(each) for each in seen] == [Sight, Failing]
    waits = []
    for times in range(1, 10):
        failing = dict(world.told)[OUTSIDE]
        assert isinstance(failing, Failing)
        assert failing.times == times
        waits.append(failing.retry_ms - world.now_ms)
        world.now_ms = failing.retry_ms - 1
        world.look()
        assert OUTSIDE not in dict(world.told)  # not before its time
        world.now_ms = failing.retry_ms
        world.look()
    assert waits[:3] == [RETRY_MIN_MS, 2 * RETRY_MIN_MS, 4 * RETRY_MIN_MS]
    assert waits[-1] == max(waits) == RETRY_MAX_MS
    world.answer = None
    world.now_ms += RETRY_MAX_MS
    assert [type(each) for each in world.look()] == [Sight, Sight]
    assert {each.authority for each in world.home.anchors()} == {OUTSIDE, OTHER}


def test_what_is_no_stamp_of_what_was_asked_is_kept_nowhere(world: World) -> None:
    def other_imprint(name: str, _request: TimeStampRequest) -> bytes:
        other = checkpoint_of(world.chain.chain, 1)
        return encode_granted(ISSUERS[name].stamp(other, world.now_ms))

    def no_nonce(name: str, _request: TimeStampRequest) -> bytes:
        checkpoint = checkpoint_of(world.chain.chain, 2)
        return encode_granted(ISSUERS[name].stamp(checkpoint, world.now_ms))

    def refused(_name: str, _request: TimeStampRequest) -> bytes:
        return encode_refused(TimeStampRefused(Failure.TIME_NOT_AVAILABLE, "its clock is unfit"))

    for answer, reason in (
        (other_imprint, "imprint"),
        (no_nonce, "nonce"),
        (lambda _name, request: world.stamp(OTHER, request), "leads to no authority"),
        (refused, "TIME_NOT_AVAILABLE: its clock is unfit"),
        (lambda _name, _request: b"<html>", "outside: answer"),
        (lambda _name, _request: b"", "outside: answer"),
    ):
        world.making, world.answer = world.anew(), answer
        failing = world.failing()
        assert isinstance(failing.error, StampError)
        assert reason in str(failing.error)
    assert world.home.anchors() == ()
    assert world.chain.references == []


def test_what_nobody_signed_is_left_out_of_an_anchor(world: World) -> None:
    def with_proof(name: str, request: TimeStampRequest) -> bytes:
        token = token_of_answer(world.stamp(name, request))
        return encode_granted(add_chain_proof(token, bytes(100_000)))

    world.answer = with_proof
    kept = world.one().kept
    assert kept is not None
    assert len(kept.path.read_bytes()) < 10_000


def test_a_damaged_anchor_is_named(world: World) -> None:
    world.chain.is_down = True
    world.failing()
    (kept,) = world.home.anchors()
    kept.path.write_bytes(b"damaged")
    world.making = world.anew()
    failing = world.failing()
    assert isinstance(failing.error, DecodeError)
    assert str(kept.path) in str(failing.error)


def test_an_epoch_that_ended_leaves_a_checkpoint_that_no_stamp_of_now_helps(world: World) -> None:
    chain = world.chain.chain
    chain.append(next_set=validator_set(1, (1, 2, 3, 4, 5)))
    retired = checkpoint_of(chain, 2)
    chain.append()
    pinned = load_trust(chain.trust(4).encode())
    with pytest.raises(NotRootedError, match="its keys are retired"):
        check_checkpoint(retired, pinned)
    check_checkpoint(checkpoint_of(chain, 4), pinned)


def test_a_home_says_what_cannot_be(tmp_path: Path) -> None:
    home, root = AnchorHome(tmp_path / "home"), ISSUERS[OUTSIDE].root
    with pytest.raises(ConfigError, match="knows no authority"):
        home.authorities()
    home.add("one", "https://tsa.example/", [root], others=[root], policy="1.2.3")
    for name, url, roots, policy, reason in (
        ("one", "https://tsa.example/", [root], None, "is there already"),
        ("Two", "https://tsa.example/", [root], None, "as a name"),
        ("../two", "https://tsa.example/", [root], None, "as a name"),
        ("two", "ftp://tsa.example/", [root], None, "expected a URL"),
        ("two", "https://tsa.example/", [], None, "at least one certificate"),
        ("two", "https://tsa.example/", [root], "1.2.x", "numbers between dots"),
    ):
        with pytest.raises(ConfigError, match=reason):
            home.add(name, url, roots, policy=policy)
    (found,) = home.authorities()
    assert isinstance(found, PinnedAuthority)
    assert (found.name, found.policy, found.outside.policies) == ("one", "1.2.3", ("1.2.3",))
    assert found.outside.roots == found.outside.certificates == (root,)
    settings = tmp_path / "home" / "authorities" / "one" / "authority.toml"
    for text in ("url = 1", "", "url = 'https://tsa.example/'\nelse = 1", "url ="):
        settings.write_text(text)
        with pytest.raises(ConfigError):
            home.authorities()
