"""Anchors made once a day: which checkpoint is due, a stamp by each authority, its record on chain.

One step at a time is on disk before the next: the anchor once it is stamped and verified, then the
receipt of its record. So whoever takes over after a crash goes on where it stopped, and nothing is
asked for twice. What the chain and the authorities say is believed as far as it is proved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Final, Protocol

from node.errors import NodeError
from node.operations.anchor_home import AnchorHome, KeptAnchor, PinnedAuthority
from node.operations.stamp_client import new_nonce
from node.timestamp.outside.anchor import TOKEN_BYTES_MAX, Anchor, AnchoredCheckpoint
from node.timestamp.outside.anchor_verify import verify_anchor
from node.timestamp.receipt import iso_time
from node.timestamp.tokens.issuing import without_unsigned_attributes
from node.timestamp.tokens.reading import token_of_answer
from node.timestamp.tokens.refusal import read_refusal
from node.timestamp.tokens.request import Imprint, TimeStampRequest
from node.timestamp.trust import TrustAnchor

RECORD_TYPE: Final = "checkpoint-anchor"
"""Type code of the records of anchors."""
SETTLE_MS: Final = 600_000
"""How long after a day its last block counts as known."""
RETRY_MIN_MS: Final = 60_000
RETRY_MAX_MS: Final = 3_600_000
OVERDUE_MS: Final = 93_600_000
"""How old the newest anchor may be before something may be wrong: 26 hours, as one is due daily."""
STALE_MS: Final = 172_800_000
"""How old the newest anchor may be before something must be wrong: two days."""

_DAY_MS: Final = 86_400_000


class StampError(NodeError):
    """What an authority answers is no stamp by it over what was asked."""

    code = "GC-2371"


class AnchoredChain(Protocol):
    """The chain, as whoever makes anchors reaches it. Every method raises `NodeError`."""

    @property
    def trust(self) -> TrustAnchor:
        """What is believed of it."""

    def checkpoint_before(self, time_ms: int | None) -> AnchoredCheckpoint | None:
        """Return the last block whose T is before a time, or the newest; checked but for its stamp.

        Where the keys of its epoch are retired by now, the newest. None if there is none.
        """

    def find_record(self, digest: bytes) -> bytes | None:
        """Return the receipt of a record of this digest that we made, verified."""

    def record(self, digest: bytes, type_code: str, reference: str) -> bytes:
        """Record a digest (`ANCHOR_DIGEST`) and return the receipt, verified."""


class Progress(Enum):
    """What came of a look at what is due of one authority."""

    ANCHORED = "anchored"
    RECORDED = "recorded"
    """An anchor that was there had its record still to come."""
    UP_TO_DATE = "up to date"


@dataclass(frozen=True, slots=True)
class Sight:
    """One look. `kept` is the anchor that was made or recorded, else the newest one, if any."""

    progress: Progress
    kept: KeptAnchor | None


@dataclass(frozen=True, slots=True)
class Failing:
    """An authority, or the chain, that does not do its part: since when, and when it is retried."""

    error: NodeError
    times: int
    retry_ms: int
    """By the caller's clock."""


Tell = Callable[[PinnedAuthority, Sight | Failing], None]
"""Hears what became of what was due; nothing where nothing was."""


def due_before_ms(now_ms: int) -> int:
    """Return the end of the last day (UTC) whose checkpoint is settled, in ms since 1970."""
    return (now_ms - SETTLE_MS) // _DAY_MS * _DAY_MS


def date_of(time_ms: int) -> str:
    """Return the day (UTC) of a time, as YYYY-MM-DD."""
    return datetime.fromtimestamp(time_ms // 1_000, UTC).date().isoformat()


def covering(kept: Sequence[KeptAnchor], height: int) -> tuple[KeptAnchor, ...]:
    """Return the anchors that cover a block, the first ones first: they say most."""
    return tuple(each for each in kept if each.height >= height)


class Anchoring:
    """Makes what is due of every authority of a home, each apart from the others."""

    def __init__(
        self,
        home: AnchorHome,
        reach: Callable[[], AnchoredChain],
        ask: Callable[[str, bytes], bytes],
        utc_ms: Callable[[], int],
    ) -> None:
        """`reach` opens the chain anew for each look, and `ask` sends a request to a URL.

        `utc_ms` is the clock.
        """
        self._home, self._reach, self._ask, self._utc_ms = home, reach, ask, utc_ms
        self._failing: dict[str, Failing] = {}

    def look_around(self, tell: Tell, *, newest: bool = False) -> bool:
        """Make what is due, or with `newest` an anchor of the newest block; tell whether all went.

        An authority that failed is left alone until its time to be retried has come. One that has
        stamped since the day that is due ended is not asked again, whatever the clocks of chain and
        machine say: an anchor makes a block by its record, and must not call for the next anchor.
        """
        for authority in self._home.authorities():
            failing = self._failing.get(authority.name)
            if failing is not None and self._utc_ms() < failing.retry_ms:
                continue
            try:
                sight = self._advance(authority, newest=newest)
            except NodeError as error:
                self._failing[authority.name] = again = self._note(error, failing)
                tell(authority, again)
                continue
            self._failing.pop(authority.name, None)
            tell(authority, sight)
        return not self._failing

    def _note(self, error: NodeError, before: Failing | None) -> Failing:
        times = 1 if before is None else before.times + 1
        wait_ms = min(RETRY_MAX_MS, RETRY_MIN_MS << min(times - 1, 10))
        return Failing(error, times, self._utc_ms() + wait_ms)

    def _advance(self, authority: PinnedAuthority, *, newest: bool) -> Sight:
        chain, kept = self._reach(), self._home.anchors(authority.name)
        progress = Progress.UP_TO_DATE
        for each in kept:
            if each.receipt is None:
                self._record(chain, each)
                progress = Progress.RECORDED
        due_ms = None if newest else due_before_ms(self._utc_ms())
        if due_ms is not None and kept and kept[-1].stamped_ms() >= due_ms:
            return Sight(progress, self._newest(authority))
        checkpoint = chain.checkpoint_before(due_ms)
        if checkpoint is None or (kept and checkpoint.block.header.height <= kept[-1].height):
            return Sight(progress, self._newest(authority))
        anchor, stamped_ms = self._stamp(chain.trust, authority, checkpoint)
        if due_ms is not None and stamped_ms < due_ms:
            day, told = date_of(due_ms - 1), iso_time(stamped_ms)
            raise StampError(f"{authority.name}: by its time, {told}, {day} is not over yet")
        date = date_of(checkpoint.block.header.time_ms)
        self._record(chain, self._home.keep(authority.name, date, anchor))
        return Sight(Progress.ANCHORED, self._newest(authority))

    def _newest(self, authority: PinnedAuthority) -> KeptAnchor | None:
        kept = self._home.anchors(authority.name)
        return kept[-1] if kept else None

    def _stamp(
        self, trust: TrustAnchor, authority: PinnedAuthority, checkpoint: AnchoredCheckpoint
    ) -> tuple[Anchor, int]:
        """Return the anchor, verified, and genTime."""
        request = TimeStampRequest(
            imprint=Imprint.of(*checkpoint.document),
            policy=authority.policy,
            nonce=new_nonce(),
            wants_certificates=True,
        )
        answer = self._ask(authority.url, request.encode())
        try:
            refusal = read_refusal(answer)
            token = b"" if refusal else without_unsigned_attributes(token_of_answer(answer))
        except NodeError as error:
            raise StampError(f"{authority.name}: {error}") from error
        if refusal is not None:
            raise StampError(f"{authority.name}: {refusal.failure.name}: {refusal}")
        if len(token) > TOKEN_BYTES_MAX:
            raise StampError(f"{authority.name}: expected at most {TOKEN_BYTES_MAX} bytes")
        anchor = Anchor(checkpoint=checkpoint, token=token)
        verdict = verify_anchor(
            anchor.encode(),
            trust,
            authority.outside,
            now_ms=self._utc_ms(),
            request=request,
        )
        if verdict.attestation is None:
            last = verdict.steps[-1]
            raise StampError(f"{authority.name}: step {int(last.step)}: {last.detail}")
        return anchor, verdict.attestation.stamp.time_ms

    def _record(self, chain: AnchoredChain, kept: KeptAnchor) -> None:
        digest = kept.read().recorded_digest
        receipt = chain.find_record(digest)
        if receipt is None:
            reference = f"{kept.date}/{kept.height}/{kept.authority}"
            receipt = chain.record(digest, RECORD_TYPE, reference)
        self._home.keep_receipt(kept, receipt)
