"""Nobody is accused who signs one header for each place, whatever else is done to its votes."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from node.chain.block import Header
from node.chain.certificate import Phase, Vote
from node.consensus.messages import Proposal
from node.service.wire import Message
from tests.unit.consensus.signing import chain_of_blocks, validator_signer, vote
from tests.unit.execution.small_chain import CREATED_MS, GENESIS
from tests.unit.service.lone import Lone, proposal_of

FIRST = chain_of_blocks(1)[1]


@cache
def header_of(validator: int, phase: Phase, view: int, height: int, choice: int) -> Header:
    """Return the header that a validator chose for a place: any, but always the same."""
    time_ms = FIRST.header.time_ms + (validator + phase + view + height + choice) % 3
    return replace(FIRST.header, height=height, view=view, time_ms=time_ms)


@cache
def signed(  # noqa: PLR0917 - all that a vote depends on
    validator: int, phase: Phase, view: int, height: int, choice: int, life: int
) -> Vote:
    """Return an honest vote; in another life of its process it is signed anew, at another time."""
    header = header_of(validator, phase, view, height, choice)
    cast = vote(phase, view, header, validator)
    time_ms = CREATED_MS + life
    message = cast.subject.sign_bytes(GENESIS.chain_id, GENESIS.validators, time_ms)
    return replace(cast, time_ms=time_ms, signature=validator_signer(validator).sign(message))


@st.composite
def honest_messages(draw: st.DrawFn) -> list[tuple[int, Message]]:
    """Return votes and proposals of validators 0 to 2, from any peer, in any order and number."""
    choice = draw(st.integers(0, 2))
    said: list[tuple[int, Message]] = []
    for _ in range(draw(st.integers(1, 30))):
        validator, peer = draw(st.integers(0, 2)), draw(st.integers(0, 2))
        phase, view = draw(st.sampled_from(Phase)), draw(st.integers(0, 3))
        height, life = draw(st.integers(1, 4)), draw(st.integers(0, 2))
        cast = signed(validator, phase, view, height, choice, life)
        message: Message = cast
        is_primary = GENESIS.validators.primary(view) == validator
        if phase is Phase.PREPARE and is_primary and draw(st.booleans()):
            header = header_of(validator, phase, view, height, choice)
            message = Proposal(header, proposal_of(FIRST).tx_hashes, cast)
        said.append((peer, message))
    return said


@settings(max_examples=150)
@given(honest_messages())
def test_honest_votes_never_make_evidence(said: list[tuple[int, Message]]) -> None:
    node = Lone(3)
    for elapsed_ms, (peer, message) in enumerate(said):
        node.hear(peer, message, elapsed_ms)
    assert node.engine.evidence == ()


@settings(max_examples=100)
@given(honest_messages(), st.integers(0, 2), st.data())
def test_among_many_honest_votes_the_one_equivocator_alone_is_named(
    said: list[tuple[int, Message]], guilty: int, data: st.DataObject
) -> None:
    node = Lone(3)
    header = replace(FIRST.header, height=1)
    one = vote(Phase.COMMIT, 0, replace(header, time_ms=header.time_ms + 77), guilty)
    other = vote(Phase.COMMIT, 0, replace(header, time_ms=header.time_ms + 78), guilty)
    mixed = data.draw(st.permutations([*said, (guilty, one), (guilty, other)]))
    for elapsed_ms, (peer, message) in enumerate(mixed):
        node.hear(peer, message, elapsed_ms)
    assert all(each.validator == guilty for each in node.engine.evidence)
