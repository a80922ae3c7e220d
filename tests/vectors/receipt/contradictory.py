"""Certified headers that contradict others, as only more than f faulty sign: step 8."""

from __future__ import annotations

from collections.abc import Iterator

from node.timestamp.receipt import Receipt
from node.timestamp.verify import Step
from tests.vectors.receipt.case import GENESIS, PINNED_3, Case, fails
from tests.vectors.receipt.chain import CREATED_MS, Chain, record_of, validator_set
from tests.vectors.receipt.story import (
    DOCUMENT,
    FORGED,
    SET_0,
    SET_1,
    Fields,
    forked,
    hand_over,
    receipt_alone,
)

PINNED_MS = CREATED_MS + 3_000
PINNED_LOG_SIZE = 12


def contradictory_cases(chain: Chain) -> Iterator[Case]:
    """Yield certified headers that contradict others."""
    yield from _forks(chain)
    yield from _since_genesis(chain)
    yield from _two_heights_apart(chain)
    yield from _past_uint64(chain)


def history(name: str, about: str, receipt: Receipt, reason: str, trust: str = PINNED_3) -> Case:
    """Return a case that contradicts the trust file or itself."""
    return fails(Step.HISTORY, name, about, receipt, reason, trust=trust)


def _forks(chain: Chain) -> Iterator[Case]:
    def instead_of(height: int, *more: bytes, after_ms: int = 1_000) -> Receipt:
        fork = forked(chain, height)
        records = [record_of(item) for item in (b"fork", DOCUMENT, *more)]
        return fork.receipt(fork.append(*records, after_ms=after_ms), 1)

    yield history(
        "fork-at-pinned", "another header at the pinned height", instead_of(3), "history-fork"
    )
    yield history(
        "fork-below-pinned", "not the parent of the pinned one", instead_of(2), "history-parent"
    )
    above = receipt_alone(chain, header={"height": 4})
    yield history("fork-above-pinned", "the pinned one is not its parent", above, "history-parent")
    late = instead_of(2, after_ms=5_000)
    yield history("time-above-pinned", "T after that of a later height", late, "history-time")
    many = instead_of(2, *(b"%d" % number for number in range(20)))
    yield history(
        "log-above-pinned", "more leaves than at a later height", many, "history-log-size"
    )
    fork = forked(chain, 3)
    fork.append(record_of(b"fork"), next_set=SET_1)
    handed_over = fork.receipt(fork.append(record_of(b"fork"), record_of(DOCUMENT)), 1)
    yield history(
        "handover-at-pinned",
        "handed over at the pinned height, which did not",
        handed_over,
        "history-fork",
    )


def _since_genesis(chain: Chain) -> Iterator[Case]:
    def since(name: str, about: str, header: Fields, reason: str) -> Case:
        return history(name, about, receipt_alone(chain, header=header), reason, GENESIS)

    yield since(
        "time-of-genesis",
        "T not after the genesis",
        {"height": 1, "time_ms": CREATED_MS},
        "history-time",
    )
    yield since(
        "time-since-genesis",
        "4 ms after the genesis at height 5",
        {"time_ms": CREATED_MS + 4},
        "history-time",
    )
    yield since("time-zero", "T is 0", {"time_ms": 0}, "history-time")
    yield since("log-since-genesis", "four leaves at height 5", {"log_size": 4}, "history-log-size")


def _two_heights_apart(chain: Chain) -> Iterator[Case]:
    """Yield each rule broken alone: no header is the other's parent."""

    def apart(name: str, about: str, header: Fields, reason: str) -> Case:
        return history(name, about, receipt_alone(chain, header=header), reason)

    for name, about, header, reason in (
        ("time-falls", "T below a lower height's", {"time_ms": PINNED_MS - 1}, "history-time"),
        ("time-stands", "T of a lower height", {"time_ms": PINNED_MS}, "history-time"),
        ("time-risen-by-1", "1 ms in two heights", {"time_ms": PINNED_MS + 1}, "history-time"),
        ("log-falls", "fewer leaves", {"log_size": PINNED_LOG_SIZE - 1}, "history-log-size"),
        ("log-stands", "no more leaves", {"log_size": PINNED_LOG_SIZE}, "history-log-size"),
        ("log-risen-by-1", "1 leaf more", {"log_size": PINNED_LOG_SIZE + 1}, "history-log-size"),
    ):
        yield apart(name, f"two heights above the pinned header: {about}", header, reason)
    ends: Fields = {"next_set_digest": validator_set(1, FORGED).digest}
    for name, about, below, reason in (
        ("time-below-1", "1 ms earlier", {"time_ms": PINNED_MS - 1}, "history-time"),
        ("log-below-1", "1 leaf less", {"log_size": PINNED_LOG_SIZE - 1}, "history-log-size"),
        ("epoch-ends-early", "it ends an epoch that went on", ends, "history-set"),
    ):
        text = f"two heights below the pinned header: {about}"
        yield apart(name, text, {"height": 1, **below}, reason)
    falling = receipt_alone(
        chain,
        SET_1,
        header={"next_set_digest": SET_0.digest},
        handovers=[hand_over(chain, SET_1, {"height": 7})],
    )
    yield history(
        "epoch-falls",
        "epoch 1 two heights below the end of epoch 0",
        falling,
        "history-epoch",
        GENESIS,
    )


def _past_uint64(chain: Chain) -> Iterator[Case]:
    """Yield sums past 2^64, which must not wrap."""
    top = 2**64 - 1

    def after_handover(handover: Fields, header: Fields) -> Receipt:
        first = hand_over(chain, SET_1, handover, {"delays_ms": (-3, -2, -1)})
        votes = {"delays_ms": (-4, -3, -2, -1)}
        return receipt_alone(chain, SET_1, header=header, votes=votes, handovers=[first])

    highest = receipt_alone(chain, header={"height": top, "time_ms": CREATED_MS, "log_size": top})
    yield history(
        "height-top", "height 2^64 - 1, T of the genesis", highest, "history-time", GENESIS
    )
    latest = after_handover({"time_ms": top - 1}, {"time_ms": top})
    yield history(
        "time-top", "T rises by 1 ms to 2^64 - 1 in three heights", latest, "history-time", GENESIS
    )
    largest = after_handover({"log_size": top - 1}, {"log_size": top})
    yield history(
        "log-size-top",
        "the log grows by 1 to 2^64 - 1 in three heights",
        largest,
        "history-log-size",
        GENESIS,
    )
