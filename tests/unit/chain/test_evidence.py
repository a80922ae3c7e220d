"""Evidence proves what it says, of one chain and one set, and nothing else counts as evidence."""

from __future__ import annotations

from dataclasses import replace

import cbor2
import pytest

from node.chain.block import CertifiedHeader, Header, checkpoint_of
from node.chain.certificate import Phase, Subject, Vote, build_certificate
from node.chain.evidence import Charge, Evidence, Offence, Statement, contradict
from node.chain.governance import CheckpointStatement
from node.chain.membership import ValidatorSet
from node.errors import DecodeError, InvariantViolation, PeerError
from node.limits import EVIDENCE_BYTES_MAX
from tests.unit.consensus.signing import (
    chain_of_blocks,
    evidence_against,
    evidence_of_messages,
    two_new_views,
    two_view_changes,
    validator_signer,
    view_change,
    vote,
)
from tests.unit.execution.governed_chain import GOVERNED, cosigner, statement
from tests.unit.execution.small_chain import CREATED_MS, GENESIS

SUITE, VALIDATORS = GENESIS.suite, GENESIS.validators
FIRST = chain_of_blocks(1)[1].header
NAME = "validator-3"
INDEX = 2


def stated_header(time_ms: int = 0) -> Header:
    """Return a header of the governed chain, at height 1."""
    return replace(FIRST, chain_id=GOVERNED.chain_id, time_ms=CREATED_MS + 1_000 + time_ms)


def governed_certificate(header: Header) -> CertifiedHeader:
    subject = Subject(Phase.COMMIT, header.view, header.height, header.digest(SUITE))
    message = subject.sign_bytes(GOVERNED.chain_id, GOVERNED.validators, CREATED_MS)
    votes = [
        Vote(subject, index, CREATED_MS, validator_signer(index).sign(message), 0)
        for index in range(3)
    ]
    return CertifiedHeader(header, build_certificate(votes, GOVERNED.validators))


def of_two_checkpoints() -> Evidence:
    one, other = statement(NAME, stated_header()), statement(NAME, stated_header(1))
    return Evidence.of_checkpoints(one, other, GOVERNED.validators)


def of_a_false_checkpoint() -> Evidence:
    certified = governed_certificate(stated_header())
    return Evidence.of_false_checkpoint(
        statement(NAME, stated_header(1)), certified, GOVERNED.validators
    )


VOTES = evidence_against(INDEX, view=3, height=7, phase=Phase.COMMIT)
LEAVING = evidence_of_messages(*two_view_changes(INDEX, 5), INDEX)
BEGINNING = evidence_of_messages(*two_new_views(INDEX), INDEX)
KINDS: dict[Offence, tuple[Evidence, bytes, ValidatorSet]] = {
    Offence.PREPARE: (evidence_against(INDEX), GENESIS.chain_id, VALIDATORS),
    Offence.COMMIT: (VOTES, GENESIS.chain_id, VALIDATORS),
    Offence.VIEW_CHANGE: (LEAVING, GENESIS.chain_id, VALIDATORS),
    Offence.NEW_VIEW: (BEGINNING, GENESIS.chain_id, VALIDATORS),
    Offence.CHECKPOINT: (of_two_checkpoints(), GOVERNED.chain_id, GOVERNED.validators),
    Offence.FALSE_CHECKPOINT: (of_a_false_checkpoint(), GOVERNED.chain_id, GOVERNED.validators),
}


def test_there_is_a_kind_for_every_offence() -> None:
    assert list(KINDS) == list(Offence)


@pytest.mark.parametrize("offence", Offence)
def test_it_names_the_charge_and_proves_it(offence: Offence) -> None:
    evidence, chain_id, validators = KINDS[offence]
    assert evidence.charge == Charge(0, offence, INDEX)
    evidence.check(chain_id, validators)
    one, other = evidence.digests(SUITE)
    assert len(one) == len(other) == 32
    assert one != other


@pytest.mark.parametrize("offence", Offence)
def test_it_round_trips(offence: Offence) -> None:
    data = KINDS[offence][0].encode()
    assert len(data) < EVIDENCE_BYTES_MAX
    assert Evidence.decode(data, SUITE) == KINDS[offence][0]


def test_one_pair_has_one_encoding() -> None:
    header = chain_of_blocks(1)[1].header
    one = vote(Phase.COMMIT, 0, header, 1)
    other = vote(Phase.COMMIT, 0, replace(header, time_ms=header.time_ms + 1), 1)
    made = {Evidence.of(*pair, VALIDATORS).encode() for pair in ((one, other), (other, one))}
    first, second = two_view_changes(1)
    more = {evidence_of_messages(*pair, 1).encode() for pair in ((first, second), (second, first))}
    assert (len(made), len(more)) == (1, 1)


@pytest.mark.parametrize("offence", Offence)
@pytest.mark.parametrize(
    ("position", "changed"),
    [(0, 2), (3, 0), (3, 7), (6, 64), (7, []), (1, -1), (1, 1), (4, 9), (5, 9), (6, 3)],
)
def test_a_changed_one_is_malformed_or_proves_nothing(
    offence: Offence, position: int, changed: object
) -> None:
    evidence, chain_id, validators = KINDS[offence]
    value = cbor2.loads(evidence.encode())
    value[position] = changed
    with pytest.raises((DecodeError, PeerError)):
        Evidence.decode(cbor2.dumps(value), SUITE).check(chain_id, validators)


@pytest.mark.parametrize("offence", Offence)
@pytest.mark.parametrize("which", [7, 8])
@pytest.mark.parametrize("part", [0, 1, 2])
def test_every_byte_of_a_statement_counts(offence: Offence, which: int, part: int) -> None:
    evidence, chain_id, validators = KINDS[offence]
    value = cbor2.loads(evidence.encode())
    held = value[which][part]
    for index in range(0, len(held), max(len(held) // 12, 1)) if part != 1 else (0,):
        changed = cbor2.loads(evidence.encode())
        if part == 1:
            changed[which][1] = held + 1
        else:
            changed[which][part] = held[:index] + bytes([held[index] ^ 1]) + held[index + 1 :]
        with pytest.raises((DecodeError, PeerError)):
            Evidence.decode(cbor2.dumps(changed), SUITE).check(chain_id, validators)


@pytest.mark.parametrize("offence", Offence)
def test_equal_statements_and_a_wrong_order_are_refused(offence: Offence) -> None:
    evidence, chain_id, validators = KINDS[offence]
    value = cbor2.loads(evidence.encode())
    for pair in ([value[7], value[7]], [value[8], value[7]]):
        with pytest.raises((DecodeError, PeerError)):
            Evidence.decode(cbor2.dumps([*value[:7], *pair]), SUITE).check(chain_id, validators)


@pytest.mark.parametrize("offence", Offence)
def test_it_proves_nothing_to_another_chain_or_set_or_about_another_validator(
    offence: Offence,
) -> None:
    evidence, chain_id, validators = KINDS[offence]
    with pytest.raises(PeerError, match="evidence-signature"):
        evidence.check(bytes(32), validators)
    with pytest.raises(PeerError, match="evidence-set"):
        evidence.check(chain_id, replace(validators, epoch=1))
    for other in (replace(evidence, epoch=1), replace(evidence, set_digest=bytes(32))):
        with pytest.raises(PeerError, match="evidence-set"):
            other.check(chain_id, validators)
    for index in (1, validators.size, 63):
        with pytest.raises(PeerError, match=r"evidence-(signature|primary)"):
            replace(evidence, validator=index).check(chain_id, validators)


@pytest.mark.parametrize("offence", Offence)
@pytest.mark.parametrize("which", ["first", "second"])
def test_a_single_genuine_statement_proves_nothing(offence: Offence, which: str) -> None:
    evidence, chain_id, validators = KINDS[offence]
    if offence is Offence.FALSE_CHECKPOINT and which == "second":
        certified = CertifiedHeader.decode(evidence.second.content, SUITE)
        votes = certified.certificate.votes
        few = replace(certified.certificate, votes=votes[:2])
        content = replace(certified, certificate=few).encode()
        forged = replace(evidence, second=Statement(content, 0, b""))
    else:
        statements = {"first": evidence.first, "second": evidence.second}
        bad = {which: replace(statements[which], signature=bytes(64))}
        forged = replace(evidence, **bad)  # type: ignore[arg-type]
    with pytest.raises(PeerError, match=r"evidence-signature|certificate-quorum"):
        forged.check(chain_id, validators)


def test_only_votes_of_one_place_for_different_headers_contradict() -> None:
    header = chain_of_blocks(1)[1].header
    other = replace(header, time_ms=header.time_ms + 1)
    cast = vote(Phase.PREPARE, 0, header, 1)
    assert contradict(cast, vote(Phase.PREPARE, 0, other, 1))
    for harmless in (
        replace(cast, time_ms=cast.time_ms + 5),
        vote(Phase.COMMIT, 0, other, 1),
        vote(Phase.PREPARE, 1, other, 1),
        vote(Phase.PREPARE, 0, replace(other, height=2), 1),
        vote(Phase.PREPARE, 0, other, 2),
        replace(vote(Phase.PREPARE, 0, other, 1), epoch=1),
    ):
        assert not contradict(cast, harmless)
        with pytest.raises(InvariantViolation):
            Evidence.of(cast, harmless, VALIDATORS)


def refuses(evidence: Evidence, why: str) -> None:
    """Assert that it is malformed, whoever signed it."""
    with pytest.raises(DecodeError, match=why):
        Evidence.decode(evidence.encode(), SUITE)


def test_a_vote_is_for_a_digest_of_its_size() -> None:
    shorter = replace(VOTES.first, content=VOTES.first.content[:-1])
    refuses(replace(VOTES, first=shorter), "evidence digest")
    longer = replace(VOTES.second, content=VOTES.second.content + b"\0")
    refuses(replace(VOTES, second=longer), "evidence digest")


def test_a_validator_number_is_that_of_a_member_of_the_largest_set() -> None:
    assert Evidence.decode(replace(VOTES, validator=63).encode(), SUITE).validator == 63
    refuses(replace(VOTES, validator=64), "evidence validator")


@pytest.mark.parametrize("evidence", [LEAVING, BEGINNING])
@pytest.mark.parametrize("changes", [{0: True}, {1: False}, {2: 6}, {0: 2}, {1: 1}])
def test_a_message_begins_with_its_version_epoch_and_view_in_numbers(
    evidence: Evidence, changes: dict[int, object]
) -> None:
    for which in ("first", "second"):
        held: Statement = getattr(evidence, which)
        fields = cbor2.loads(held.content)
        for at, value in changes.items():
            fields[at] = value
        other = replace(held, content=cbor2.dumps(fields))
        pair = sorted(
            [other, evidence.second if which == "first" else evidence.first],
            key=lambda each: each.content,
        )
        refuses(replace(evidence, first=pair[0], second=pair[1]), "another epoch, view or sender")


def test_leaving_a_view_is_charged_to_who_says_it_leaves() -> None:
    """Whose key signs messages in another's name has not contradicted itself."""
    refuses(replace(LEAVING, validator=1), "of another epoch, view or sender")


@pytest.mark.parametrize(
    "other", [replace(stated_header(1), height=2), replace(stated_header(1), epoch=1)]
)
def test_checkpoints_are_of_the_epoch_and_height_that_they_are_evidence_about(
    other: Header,
) -> None:
    stated = Statement(other.encode(), 0, bytes(64))
    two = KINDS[Offence.CHECKPOINT][0]
    for held in (two.first, two.second):
        first, second = sorted([stated, held], key=lambda each: each.content)
        refuses(replace(two, first=first, second=second), "of another epoch or height")
    false = KINDS[Offence.FALSE_CHECKPOINT][0]
    refuses(replace(false, first=stated), "of another epoch or height")
    certified = Statement(governed_certificate(other).encode(), 0, b"")
    refuses(replace(false, second=certified), "of another epoch or height")


def test_under_a_key_that_cannot_be_read_nothing_is_proven() -> None:
    members = [
        replace(each, cosignature_key=bytes(32)) if each.validator_id == NAME else each
        for each in GOVERNED.validators.validators
    ]
    validators = replace(GOVERNED.validators, validators=tuple(members))
    for offence in (Offence.CHECKPOINT, Offence.FALSE_CHECKPOINT):
        evidence = replace(KINDS[offence][0], set_digest=validators.digest)
        with pytest.raises(PeerError, match="evidence-signature"):
            evidence.check(GOVERNED.chain_id, validators)


def test_who_is_no_member_states_nothing() -> None:
    strangers = (statement("stranger", stated_header()), statement("stranger", stated_header(1)))
    with pytest.raises(InvariantViolation, match="stranger is no member of epoch 0"):
        Evidence.of_checkpoints(*strangers, GOVERNED.validators)


def test_messages_of_two_views_make_no_evidence() -> None:
    for pair in ((view_change(1, 1), view_change(1, 2)), (view_change(1, 2), view_change(1, 1))):
        data = evidence_of_messages(*pair, 1).encode()
        with pytest.raises(DecodeError, match="of another epoch, view or sender"):
            Evidence.decode(data, SUITE)


def test_a_new_view_of_who_is_not_the_primary_is_no_evidence() -> None:
    """Nobody takes it for a NEW-VIEW: what else was signed there is not known."""
    one, other = two_new_views(1)
    with pytest.raises(PeerError, match="evidence-primary"):
        evidence_of_messages(one, other, 2).check(GENESIS.chain_id, VALIDATORS)


def test_a_vote_is_no_view_change_although_one_key_signs_both() -> None:
    """The tags keep apart what is signed: contents of one kind prove nothing as another."""
    value = cbor2.loads(LEAVING.encode())
    for offence in (1, 2, 4, 5, 6):
        value[3] = offence
        with pytest.raises((DecodeError, PeerError)):
            Evidence.decode(cbor2.dumps(value), SUITE).check(GENESIS.chain_id, VALIDATORS)


def test_a_true_checkpoint_contradicts_nothing() -> None:
    certified = governed_certificate(stated_header())
    true = statement(NAME, stated_header())
    evidence = Evidence.of_false_checkpoint(true, certified, GOVERNED.validators)
    with pytest.raises(PeerError, match="evidence-certificate"):
        evidence.check(GOVERNED.chain_id, GOVERNED.validators)


def test_a_checkpoint_is_judged_by_the_cosignature_key_alone() -> None:
    header = stated_header(1)
    message = checkpoint_of(header, header.digest(SUITE))
    for key in (validator_signer(INDEX), cosigner("validator-1")):
        stated = CheckpointStatement(NAME, header.encode(), key.sign(message))
        certified = governed_certificate(stated_header())
        evidence = Evidence.of_false_checkpoint(stated, certified, GOVERNED.validators)
        with pytest.raises(PeerError, match="evidence-signature"):
            evidence.check(GOVERNED.chain_id, GOVERNED.validators)


def test_two_new_views_of_many_validators_fit() -> None:
    """64 validators with two slots, all of them full, are the most that fits."""
    largest = Statement(bytes(EVIDENCE_BYTES_MAX // 2 - 200), 0, bytes(64))
    assert len(replace(BEGINNING, first=largest, second=largest).encode()) < EVIDENCE_BYTES_MAX
    header = len(stated_header().encode())
    certificate = len(cbor2.dumps([[63, CREATED_MS, bytes(64)]] * 43)) + 200
    leaving = 4 * (header + certificate) + 200
    assert 43 * leaving < EVIDENCE_BYTES_MAX // 2
