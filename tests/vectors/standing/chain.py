"""The chain of the receipt vectors with a real state tree below it: what references stand for.

Statuses are moved by the product's own rules of notarization, so that nothing here can disagree.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import Any, Self

from node.chain.record import Notarization, Record, RecordAction
from node.chain.reference import ReferenceName, ReferenceStatus, reference_key
from node.chain.state_tree import EMPTY_TREE, Bucket, StateTree, prove, root_of, update
from node.crypto.suite import Suite
from node.execution.notary import Failure, Position, notarize
from node.timestamp.consistency import ConsistencyProof
from node.timestamp.receipt import Receipt
from node.timestamp.standing import StandingProof
from node.timestamp.trust import TrustFile
from tests.vectors.receipt.chain import AGENCY, SUITE, Chain, record_of, seed

TYPE = "certificate"


def name_of(reference: str, type_code: str = TYPE, issuer: str = AGENCY) -> ReferenceName:
    """Return the name of a reference of the agency's."""
    return ReferenceName(issuer, type_code, reference)


def record_under(
    reference: str | None, document: bytes, action: RecordAction = RecordAction.RECORD
) -> Record:
    """Return a record of a document under a reference."""
    return record_of(document, reference=reference, action=action)


@dataclass(frozen=True, slots=True)
class State:
    """The state after one block."""

    values: dict[bytes, bytes]
    tree: StateTree
    buckets: dict[bytes, Bucket | None]

    @property
    def root(self) -> bytes:
        """The state root."""
        return root_of(self.tree)


@dataclass
class StandingChain:
    """A growing chain; position in `states` is the height."""

    chain: Chain
    states: list[State] = field(default_factory=list)

    @classmethod
    def found(cls, neighbours: int = 5, suite: Suite = SUITE) -> Self:
        """Return a chain at height 0, whose state holds values under other keys already."""
        made = cls(Chain.found(suite=suite))
        others = {
            reference_key("agency-2", TYPE, f"{number}"): seed(f"status {number}")
            for number in range(neighbours)
        }
        no_buckets: dict[bytes, Bucket | None] = {}
        done = update(EMPTY_TREE, others, no_buckets.get, suite)
        made.states.append(State(others, done.tree, done.buckets))
        return made

    @property
    def height(self) -> int:
        """Height of the tip."""
        return self.chain.tip.height

    def fork(self) -> Self:
        """Return a copy that grows on its own."""
        return type(self)(self.chain.fork(), list(self.states))

    def append(self, *records: Record, **options: Any) -> int:  # noqa: ANN401 - those of `Chain.append`
        """Commit one transaction per record; each has to be acceptable. Return the height."""
        before, tip = self.states[-1], self.chain.tip
        values = dict(before.values)
        changes: dict[bytes, bytes | None] = {}
        time_ms = tip.time_ms + options.get("after_ms", 1_000)
        for at, record in enumerate(records):
            position = Position(tip.height + 1, time_ms, len(self.chain.leaves) + 1 + at)
            moved = notarize(payload_of(record), AGENCY, position, values.get)
            assert not isinstance(moved, Failure), f"not acceptable: {record}: {moved}"
            values |= moved
            changes |= moved
        done = update(before.tree, changes, before.buckets.get, self.chain.suite)
        self.states.append(State(values, done.tree, before.buckets | done.buckets))
        return self.chain.append(*records, state_root=done.root, **options)

    def status(self, name: ReferenceName, height: int) -> ReferenceStatus | None:
        """Return what the state after a block holds under a reference."""
        value = self.states[height].values.get(name.key)
        return None if value is None else ReferenceStatus.decode(value)

    def proof(self, name: ReferenceName, height: int) -> StandingProof:
        """Return the proof of it, with every handover up to the block's epoch."""
        state, block = self.states[height], self.chain.blocks[height - 1]
        return StandingProof(
            suite=self.chain.suite,
            name=name,
            status=self.status(name, height),
            proof=prove(state.tree, name.key, state.buckets.get, self.chain.suite),
            block=block,
            handovers=tuple(self.chain.handovers[: block.header.epoch]),
        )

    def consistency(self, old_height: int, new_height: int) -> ConsistencyProof:
        """Return the proof that joins two heights."""
        return self.chain.consistency(old_height, new_height)

    def receipt(self, height: int, operation: int = 0) -> Receipt:
        """Return the receipt of a block's record."""
        return self.chain.receipt(height, operation)

    def trust(self, pinned_height: int | None = None) -> TrustFile:
        """Return a trust file that pins the genesis, or a height as well."""
        return self.chain.trust(pinned_height)


def absent_beside_another(chain: StandingChain, height: int) -> ReferenceName:
    """Return a name that nothing stands under, whose proof shows another leaf in its place."""
    names = (name_of(f"absent-{number}") for number in count())
    return next(name for name in names if chain.proof(name, height).proof.other_leaf)


def absent_beside_nothing(chain: StandingChain, height: int) -> ReferenceName:
    """Return a name that nothing stands under, whose proof ends at an empty subtree."""
    names = (name_of(f"absent-{number}") for number in count())
    return next(name for name in names if not chain.proof(name, height).proof.other_leaf)


def payload_of(record: Record) -> Notarization:
    """Return the payload that writes one record."""
    return Notarization(
        digest_algorithm=record.digest_algorithm,
        type_code=record.type_code,
        action=record.action,
        digests=record.digest,
        references=None if record.reference is None else (record.reference,),
    )
