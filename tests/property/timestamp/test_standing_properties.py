"""Random histories of references against an obvious model, and proofs changed at random."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cbor2
from hypothesis import given, settings
from hypothesis import strategies as st

from node.chain.encoding import encode
from node.chain.record import RecordAction
from node.timestamp.consistency import verify_consistency_proof
from node.timestamp.standing import Fate, verify_standing
from node.timestamp.steps import Outcome
from node.timestamp.trust import load_trust
from tests.unit.timestamp import independent_proofs
from tests.unit.timestamp.independent_verifier import Trust
from tests.vectors.receipt.chain import validator_set
from tests.vectors.standing.chain import StandingChain, name_of, record_under

REFERENCES = ("a", "b", "c")
RECORD, SUPERSEDE, WITHDRAW = RecordAction
Move = tuple[str, bool]
"""A reference, and whether it is withdrawn where it is in force, or superseded."""

moves = st.lists(
    st.lists(st.tuples(st.sampled_from(REFERENCES), st.booleans()), max_size=3),
    min_size=1,
    max_size=7,
)


def play(blocks: Sequence[Sequence[Move]]) -> tuple[StandingChain, list[dict[str, list[int]]]]:
    """Return a chain of these moves, and after each block the model: heights of the records.

    A withdrawal is in the model as a negative height.
    """
    chain = StandingChain.found(neighbours=3)
    after: list[dict[str, list[int]]] = [{reference: [] for reference in REFERENCES}]
    for number, block in enumerate(blocks):
        model = {reference: list(heights) for reference, heights in after[-1].items()}
        records = []
        for at, (reference, withdraws) in enumerate(block):
            heights = model[reference]
            action = RECORD
            if heights and heights[-1] > 0:
                action = WITHDRAW if withdraws else SUPERSEDE
            records.append(record_under(reference, b"%d %d" % (number, at), action))
            heights.append(-(number + 1) if action is WITHDRAW else number + 1)
        ends = {"next_set": validator_set(1, (1, 2, 3, 4, 5))} if number == 3 else {}
        chain.append(*records, **ends)
        after.append(model)
    return chain, after


@settings(max_examples=40)
@given(moves)
def test_proofs_say_what_the_model_says_at_every_height(blocks: list[list[Move]]) -> None:
    chain, after = play(blocks)
    anchor = load_trust(chain.trust().encode())
    for height in range(1, chain.height + 1):
        for reference in REFERENCES:
            name = name_of(reference)
            found = verify_standing(chain.proof(name, height).encode(), anchor, name).attestation
            assert found is not None
            heights = after[height][reference]
            fate = Fate.ABSENT
            if heights:
                fate = Fate.IN_FORCE if heights[-1] > 0 else Fate.WITHDRAWN
            assert found.fate is fate
            assert (found.status.version if found.status else 0) == len(heights)
            assert (found.status.height if found.status else 0) == abs((heights or [0])[-1])


@settings(max_examples=20)  # each looks at every record at every height
@given(moves)
def test_the_fate_of_every_record_is_told_at_every_later_height(blocks: list[list[Move]]) -> None:
    chain, after = play(blocks)
    anchor = load_trust(chain.trust().encode())
    counts = dict.fromkeys(REFERENCES, 0)
    for height, block in enumerate(blocks, start=1):
        for operation, (reference, _) in enumerate(block):
            counts[reference] += 1
            receipt = chain.receipt(height, operation)
            for later in range(1, chain.height + 1):
                proof = chain.proof(name_of(reference), later).encode()
                verdict = verify_standing(proof, anchor, receipt=receipt)
                if later < height:
                    assert verdict.outcome is Outcome.NOT_VERIFIED
                    continue
                assert verdict.attestation is not None
                itself, *since = after[later][reference][counts[reference] - 1 :]
                fate = Fate.SUPERSEDED if since else Fate.IN_FORCE
                if any(moved < 0 for moved in (itself, *since)):
                    fate = Fate.WITHDRAWN
                assert verdict.attestation.fate is fate


CHAIN, _ = play(
    [
        [("a", False)],
        [("a", False), ("b", False)],
        [("a", True)],
        [],
        [("c", False)],
        [("a", False)],
    ]
)
TRUST_BYTES = CHAIN.trust().encode()
ANCHOR, THEIR_TRUST = load_trust(TRUST_BYTES), Trust(TRUST_BYTES)
STANDINGS = [
    CHAIN.proof(name_of(reference), height).encode()
    for reference, height in (("a", 2), ("a", 5), ("a", 6), ("c", 3), ("never", 5))
]
GROWTHS = [CHAIN.consistency(old, new).encode() for old, new in ((1, 2), (2, 5), (4, 5))]

values = st.one_of(
    st.integers(0, 2**64 - 1),
    st.binary(max_size=70),
    st.binary(min_size=32, max_size=32),
    st.text(max_size=20),
    st.none(),
    st.lists(st.binary(min_size=32, max_size=32), max_size=3),
)


def judge(data: bytes) -> bool:
    """Say whether it verifies as either proof; both verifiers agree on outcome and step."""
    standing = verify_standing(data, ANCHOR)
    ours = standing.outcome.value, standing.failure and standing.failure.step
    assert ours == independent_proofs.verify_standing(data, THEIR_TRUST)
    growth = verify_consistency_proof(data, ANCHOR)
    ours = growth.outcome.value, growth.failure and growth.failure.step
    assert ours == independent_proofs.verify_consistency(data, THEIR_TRUST)
    return Outcome.VERIFIED in (standing.outcome, growth.outcome)


def places(value: Any, at: tuple[int, ...] = ()) -> list[tuple[int, ...]]:  # noqa: ANN401 - decoded CBOR
    """Return the path of every item inside a decoded array."""
    found = [at] if at else []
    for index, item in enumerate(value if isinstance(value, list) else ()):
        found += places(item, (*at, index))
    return found


def test_the_proofs_under_test_verify() -> None:
    assert all(map(judge, [*STANDINGS, *GROWTHS]))


@given(st.sampled_from([*STANDINGS, *GROWTHS]), st.data())
def test_no_item_of_a_proof_can_be_replaced(proof: bytes, data: st.DataObject) -> None:
    value = cbor2.loads(proof)
    at = data.draw(st.sampled_from(places(value)))
    parent = value
    for index in at[:-1]:
        parent = parent[index]
    old = parent[at[-1]]
    near = st.integers(max(0, old - 3), old + 3) if type(old) is int else values
    parent[at[-1]] = data.draw(st.one_of(values, near))
    changed = encode(value)
    if changed != proof:
        assert not judge(changed)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_proof_fail(data: bytes) -> None:
    assert not judge(data)
