"""What a governed transaction does, and each reason for which it does nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from node.chain.block import ResultCode
from node.chain.encoding import decode
from node.chain.genesis import Role
from node.chain.governance import (
    AddOrganisation,
    Endpoint,
    Governance,
    Operation,
    RegisterIdentity,
    RemoveValidator,
    SetEndpoint,
    SetParameters,
)
from node.chain.identity import ChangeStatus, Status, Subject
from node.chain.transaction import VerifiedTransaction, sign_transaction, verify_transaction
from node.errors import PeerError
from node.execution import governance
from node.execution.governance import EVIDENCE_AGE_MS_MAX, EVIDENCE_CHECKPOINTS_MAX
from node.execution.policy import stuck
from node.execution.registry import (
    PARAMETERS_KEY,
    endpoint_key,
    epoch_in_force,
    find_epoch_start,
    find_identity,
    organisation_key,
)
from tests.unit.execution.governed_chain import (
    GOVERNED,
    GovernedChain,
    adding,
    governed,
    governed_tx,
    statement,
    validator,
)
from tests.unit.execution.small_chain import identity, newcomer, next_inputs, payload, signer, tx

FOUNDERS = ("validator-1", "validator-2", "validator-3", "validator-4")
FIFTH = "validator-5"
SLOWER = replace(GOVERNED.parameters, view_timeout_ms=2_000)
NEW_ORGANISATION = newcomer("org-5")
NEW_IDENTITY = RegisterIdentity(identity("agency-9", Role.AGENCY))


def names_of(chain: GovernedChain) -> list[str]:
    validators = epoch_in_force(chain.state, GOVERNED.suite).validators
    return [member.validator_id for member in validators.validators]


def add_fifth(chain: GovernedChain) -> ResultCode:
    return chain.govern(governed(adding(FIFTH), evidence=chain.statements(*FOUNDERS)))


# --- What it does ---


def test_what_leaves_set_and_parameters_alone_needs_no_evidence_and_ends_no_epoch() -> None:
    chain = GovernedChain()
    endpoint = Endpoint("::1", 7_000)
    operations = (NEW_ORGANISATION, NEW_IDENTITY, SetEndpoint(FIFTH, endpoint))
    assert chain.govern(governed(*operations)) is ResultCode.OK
    assert chain.state.get(organisation_key("org-5")) is not None
    assert find_identity(chain.state, "agency-9") == identity("agency-9", Role.AGENCY)
    stored = chain.state.get(endpoint_key(FIFTH))
    assert stored is not None
    placed = Endpoint.from_value(decode(stored, what="endpoint", size_max=512))
    assert (placed, str(placed)) == (endpoint, "[::1]:7000")
    assert chain.state.header.next_set_digest == GOVERNED.validators.digest
    assert epoch_in_force(chain.state, GOVERNED.suite).number == 0


def test_a_new_set_decides_from_the_height_after_the_barrier_on() -> None:
    chain = GovernedChain()
    chain.commit(tx(payload("first"), chain_id=GOVERNED.chain_id))
    assert add_fifth(chain) is ResultCode.OK
    barrier = chain.state.header
    epoch = epoch_in_force(chain.state, GOVERNED.suite)
    assert names_of(chain) == [*FOUNDERS, FIFTH]
    assert (barrier.epoch, barrier.height, epoch.number) == (0, 2, 1)
    assert barrier.next_set_digest == epoch.validators.digest != GOVERNED.validators.digest
    start = find_epoch_start(chain.state, 1, GOVERNED.suite)
    assert start is not None
    assert (start.first_height, start.validators) == (3, epoch.validators)
    assert find_epoch_start(chain.state, 0, GOVERNED.suite) is None
    block = chain.commit(tx(payload("second"), chain_id=GOVERNED.chain_id))
    assert (block.header.epoch, block.header.next_set_digest) == (1, barrier.next_set_digest)


def test_the_set_in_force_says_who_proposes() -> None:
    chain = GovernedChain()
    assert add_fifth(chain) is ResultCode.OK
    transaction = tx(payload("x"), chain_id=GOVERNED.chain_id)
    inputs = replace(next_inputs(chain.state), view=4, proposer=4)
    assert chain.executor.execute(chain.state, inputs, [transaction]).header.proposer == 4
    with pytest.raises(PeerError) as caught:
        chain.executor.execute(chain.state, replace(inputs, proposer=0), [transaction])
    assert caught.value.rule == "header-proposer"


def test_removing_and_replacing_keep_the_order_of_the_others() -> None:
    chain = GovernedChain()
    removal = governed(
        RemoveValidator("validator-2"),
        adding("validator-2b", "org-2"),
        evidence=chain.statements("validator-1", "validator-3", "validator-2b"),
    )
    assert chain.govern(removal) is ResultCode.OK
    assert names_of(chain) == ["validator-1", "validator-3", "validator-4", "validator-2b"]


def test_parameters_hold_from_the_next_height_on() -> None:
    chain = GovernedChain()
    change = governed(SetParameters(SLOWER), evidence=chain.statements(*FOUNDERS[:3]))
    assert chain.govern(change) is ResultCode.OK
    barrier = chain.state.header
    assert barrier.parameters_digest == GOVERNED.parameters.digest(GOVERNED.suite)
    epoch = epoch_in_force(chain.state, GOVERNED.suite)
    assert (epoch.number, epoch.parameters) == (1, SLOWER)
    assert epoch.validators.validators == GOVERNED.validators.validators
    block = chain.commit(tx(payload("x"), chain_id=GOVERNED.chain_id))
    assert block.header.parameters_digest == SLOWER.digest(GOVERNED.suite)


def test_smaller_blocks_bind_the_first_block_of_the_epoch() -> None:
    chain = GovernedChain()
    small = replace(GOVERNED.parameters, block_txs_max=1)
    change = governed(SetParameters(small), evidence=chain.statements(*FOUNDERS))
    assert chain.govern(change) is ResultCode.OK
    two = [tx(payload(f"{n}"), chain_id=GOVERNED.chain_id) for n in range(2)]
    with pytest.raises(PeerError) as caught:
        chain.execute(*two)
    assert caught.value.rule == "block-transactions"


def test_parameters_as_they_are_change_nothing() -> None:
    chain = GovernedChain()
    assert chain.govern(governed(SetParameters(GOVERNED.parameters))) is ResultCode.OK
    assert epoch_in_force(chain.state, GOVERNED.suite).number == 0
    assert chain.state.get(PARAMETERS_KEY) is not None


# --- V1, V2: in force, and approved ---


def test_it_is_void_in_another_epoch() -> None:
    chain = GovernedChain()
    assert chain.govern(governed(NEW_IDENTITY, epoch=1)) is ResultCode.EPOCH_NOT_IN_FORCE
    assert add_fifth(chain) is ResultCode.OK
    assert chain.govern(governed(NEW_IDENTITY)) is ResultCode.EPOCH_NOT_IN_FORCE
    assert chain.govern(governed(NEW_IDENTITY, epoch=1)) is ResultCode.OK


@pytest.mark.parametrize(
    ("approvers", "code"),
    [
        ((), ResultCode.APPROVALS_MISSING),
        (("admin-1", "admin-2"), ResultCode.APPROVALS_MISSING),
        (("admin-4", "admin-1", "admin-3"), ResultCode.OK),
        (("admin-1", "admin-2", "admin-2"), ResultCode.APPROVAL_INVALID),
        (("admin-1", "admin-2", "agency-1"), ResultCode.APPROVAL_INVALID),
        (("admin-1", "admin-2", "nobody"), ResultCode.APPROVAL_INVALID),
    ],
)
def test_a_majority_of_the_founding_organisations_approves(
    approvers: Sequence[str], code: ResultCode
) -> None:
    assert GovernedChain().govern(governed(NEW_IDENTITY, approvers=approvers)) is code


def test_two_administrators_of_one_organisation_count_once() -> None:
    chain = GovernedChain()
    second = RegisterIdentity(identity("admin-1b", Role.ADMIN))
    assert chain.govern(governed(second)) is ResultCode.OK
    approvers = ("admin-1", "admin-1b", "admin-2")
    refused = chain.govern(governed(NEW_IDENTITY, approvers=approvers))
    assert refused is ResultCode.APPROVALS_MISSING


def test_an_organisation_that_came_later_approves_nothing() -> None:
    chain = GovernedChain()
    later = replace(identity("admin-5", Role.ADMIN), organisation="org-5")
    assert chain.govern(governed(NEW_ORGANISATION, RegisterIdentity(later))) is ResultCode.OK
    approvers = ("admin-1", "admin-2", "admin-5")
    refused = chain.govern(governed(NEW_IDENTITY, approvers=approvers))
    assert refused is ResultCode.APPROVALS_MISSING


def test_an_administrator_whose_certificate_ended_approves_nothing() -> None:
    chain = GovernedChain()
    ended = identity("admin-1b", Role.ADMIN, not_after_ms=chain.state.header.time_ms + 1_500)
    assert chain.govern(governed(RegisterIdentity(ended))) is ResultCode.OK
    approvers = ("admin-1b", "admin-2", "admin-3")
    refused = chain.govern(governed(NEW_IDENTITY, approvers=approvers))
    assert refused is ResultCode.APPROVAL_INVALID


@pytest.mark.parametrize(
    "altered",
    [
        lambda sound: replace(sound, operations=(NEW_ORGANISATION,)),
        lambda sound: replace(
            sound, approvals=(*sound.approvals[:2], replace(sound.approvals[2], signature=b"1"))
        ),
        lambda sound: replace(
            sound, approvals=(replace(sound.approvals[0], identity_id="admin-4"),)
        ),
    ],
)
def test_an_approval_is_of_these_very_operations_by_its_own_key(
    altered: Callable[[Governance], Governance],
) -> None:
    sound = governed(NEW_IDENTITY)
    assert GovernedChain().govern(altered(sound)) is ResultCode.APPROVAL_INVALID


def test_evidence_is_gathered_after_the_approvals() -> None:
    chain = GovernedChain()
    approved = governed(adding(FIFTH))
    chain.commit(tx(payload("later"), chain_id=GOVERNED.chain_id))
    complete = replace(approved, evidence=tuple(chain.statements(*FOUNDERS)))
    assert chain.govern(complete) is ResultCode.OK


def test_only_an_administrator_hands_it_in_and_he_notarizes_nothing() -> None:
    chain = GovernedChain()
    assert chain.govern(governed(NEW_IDENTITY), sender="agency-1") is ResultCode.NOT_PERMITTED
    notarizing = tx(payload("x"), sender="admin-2", chain_id=GOVERNED.chain_id)
    assert chain.commit(notarizing).results[0].code is ResultCode.NOT_PERMITTED


# --- V3, V4: names, keys, and who they are of ---

REFUSED: dict[str, tuple[Operation, ResultCode]] = {
    "organisation": (
        AddOrganisation(GOVERNED.organisations[0]),
        ResultCode.NAME_TAKEN,
    ),
    "identity": (RegisterIdentity(identity("agency-1", Role.AGENCY)), ResultCode.NAME_TAKEN),
    "identity of nobody": (
        RegisterIdentity(replace(identity("agency-8", Role.AGENCY), organisation="org-9")),
        ResultCode.ORGANISATION_UNKNOWN,
    ),
    "identity without a key": (
        RegisterIdentity(replace(identity("agency-8", Role.AGENCY), public_key=bytes(33))),
        ResultCode.KEY_INVALID,
    ),
    "validator of nobody": (adding(FIFTH, "org-9"), ResultCode.ORGANISATION_UNKNOWN),
    "validator id in use": (adding("validator-1"), ResultCode.NAME_TAKEN),
    "key not shown": (
        replace(adding(FIFTH), possession=adding("validator-6").possession),
        ResultCode.KEY_INVALID,
    ),
    "key not shown at all": (replace(adding(FIFTH), possession=b""), ResultCode.KEY_INVALID),
    "malformed vote key": (
        replace(adding(FIFTH), validator=replace(validator(FIFTH), vote_key=bytes(33))),
        ResultCode.KEY_INVALID,
    ),
    "malformed cosignature key": (
        replace(adding(FIFTH), validator=replace(validator(FIFTH), cosignature_key=bytes(32))),
        ResultCode.KEY_INVALID,
    ),
    "vote key in use": (
        replace(
            adding(FIFTH),
            validator=replace(validator(FIFTH), vote_key=validator("validator-2").vote_key),
        ),
        ResultCode.KEY_TAKEN,
    ),
    "cosignature key in use": (
        replace(
            adding(FIFTH),
            validator=replace(
                validator(FIFTH), cosignature_key=validator("validator-2").cosignature_key
            ),
        ),
        ResultCode.KEY_TAKEN,
    ),
    "removing nobody": (RemoveValidator(FIFTH), ResultCode.VALIDATOR_UNKNOWN),
}


@pytest.mark.parametrize("what", REFUSED)
def test_an_operation_is_refused_and_nothing_of_its_transaction_holds(what: str) -> None:
    chain = GovernedChain()
    operation, code = REFUSED[what]
    change = governed(NEW_IDENTITY, operation, evidence=chain.statements(*FOUNDERS))
    block = chain.commit(governed_tx(change))
    (result,) = block.results
    assert (result.code, result.operation_index) == (code, 1)
    assert (dict(block.state_writes), len(block.leaves)) == ({}, 1)
    assert block.header.next_set_digest == GOVERNED.validators.digest


def test_neither_id_nor_key_of_a_removed_validator_comes_back() -> None:
    chain = GovernedChain()
    removal = governed(
        RemoveValidator("validator-2"), evidence=chain.statements(*FOUNDERS[2:], "validator-1")
    )
    assert chain.govern(removal) is ResultCode.OK
    evidence = chain.statements("validator-1", "validator-3", "validator-4")
    again = governed(adding("validator-2"), epoch=1, evidence=evidence)
    assert chain.govern(again) is ResultCode.NAME_TAKEN
    for old in (
        replace(validator(FIFTH), vote_key=validator("validator-2").vote_key),
        replace(validator(FIFTH), cosignature_key=validator("validator-2").cosignature_key),
    ):
        reused = governed(replace(adding(FIFTH), validator=old), epoch=1, evidence=evidence)
        assert chain.govern(reused) is ResultCode.KEY_TAKEN


def test_nor_within_the_transaction_that_removes_it() -> None:
    chain = GovernedChain()
    evidence = chain.statements("validator-1", "validator-3", "validator-4")
    for operation, code in (
        (adding("validator-2"), ResultCode.NAME_TAKEN),
        (
            replace(
                adding(FIFTH),
                validator=replace(validator(FIFTH), vote_key=validator("validator-2").vote_key),
            ),
            ResultCode.KEY_TAKEN,
        ),
    ):
        change = governed(RemoveValidator("validator-2"), operation, evidence=evidence)
        assert chain.govern(change) is code


# --- V5 to V7: how an epoch may end ---


def test_one_transaction_of_a_block_ends_the_epoch_and_others_have_their_effect() -> None:
    chain = GovernedChain()
    evidence = chain.statements(*FOUNDERS)
    block = chain.commit(
        governed_tx(governed(adding(FIFTH), evidence=evidence), nonce=1),
        governed_tx(governed(SetParameters(SLOWER), evidence=evidence), nonce=2),
        governed_tx(governed(NEW_IDENTITY), nonce=3),
        tx(payload("x"), chain_id=GOVERNED.chain_id),
    )
    codes = [result.code for result in block.results]
    assert codes == [ResultCode.OK, ResultCode.EPOCH_ENDING, ResultCode.OK, ResultCode.OK]
    epoch = epoch_in_force(chain.state, GOVERNED.suite)
    assert (epoch.number, epoch.parameters) == (1, GOVERNED.parameters)
    assert names_of(chain) == [*FOUNDERS, FIFTH]
    assert find_identity(chain.state, "agency-9") is not None


def test_no_set_has_more_members_than_there_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    for most, code in ((4, ResultCode.VALIDATOR_COUNT), (5, ResultCode.OK)):
        monkeypatch.setattr(governance, "VALIDATORS_MAX", most)
        assert add_fifth(GovernedChain()) is code


def test_what_takes_nobody_a_right_is_not_searched_for_whom_it_would_lock_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    searches: list[object] = []

    def noting(*asked: Any) -> Any:  # noqa: ANN401 - as it is passed on
        searches.append(asked)
        return stuck(*asked)

    monkeypatch.setattr(governance, "stuck", noting)
    chain = GovernedChain()
    assert chain.govern(governed(NEW_ORGANISATION, NEW_IDENTITY)) is ResultCode.OK
    assert searches == []
    freezing = ChangeStatus(Subject.IDENTITY, "agency-9", Status.FROZEN, "seal lost")
    assert chain.govern(governed(freezing)) is ResultCode.OK
    assert len(searches) == 2, "before and after"


@pytest.mark.parametrize(
    "operations",
    [
        (adding(FIFTH), adding("validator-6")),
        (RemoveValidator("validator-1"), RemoveValidator("validator-2")),
    ],
)
def test_at_most_as_many_come_or_go_as_may_fail(operations: Sequence[Operation]) -> None:
    chain = GovernedChain()
    change = governed(*operations, evidence=chain.statements("validator-3", "validator-4"))
    assert chain.govern(change) is ResultCode.CHANGE_TOO_LARGE


def test_no_set_is_empty() -> None:
    chain = GovernedChain()
    change = governed(*(RemoveValidator(name) for name in FOUNDERS))
    assert chain.govern(change) is ResultCode.VALIDATOR_COUNT


def test_even_a_set_that_tolerates_nobody_can_grow_and_shrink_by_one() -> None:
    chain = GovernedChain()
    left = list(FOUNDERS)
    for epoch in range(3):
        left.pop()
        change = governed(
            RemoveValidator(FOUNDERS[3 - epoch]), epoch=epoch, evidence=chain.statements(*left)
        )
        assert chain.govern(change) is ResultCode.OK
    assert names_of(chain) == ["validator-1"]
    grown = governed(adding(FIFTH), epoch=3, evidence=chain.statements("validator-1", FIFTH))
    assert chain.govern(grown) is ResultCode.OK
    assert names_of(chain) == ["validator-1", FIFTH]


@pytest.mark.parametrize(
    ("names", "code"),
    [
        ((), ResultCode.EVIDENCE_MISSING),
        (FOUNDERS[:3], ResultCode.EVIDENCE_MISSING),
        ((*FOUNDERS[:3], FIFTH), ResultCode.OK),
        (FOUNDERS, ResultCode.OK),
        ((*FOUNDERS, FIFTH), ResultCode.OK),
        ((*FOUNDERS, "validator-6"), ResultCode.EVIDENCE_INVALID),
        ((*FOUNDERS[:3], "validator-1"), ResultCode.EVIDENCE_INVALID),
    ],
)
def test_a_quorum_of_the_new_set_holds_the_chain(names: Sequence[str], code: ResultCode) -> None:
    chain = GovernedChain()
    change = governed(adding(FIFTH), evidence=chain.statements(*names))
    assert chain.govern(change) is code


def test_who_is_removed_vouches_for_nothing() -> None:
    chain = GovernedChain()
    change = governed(RemoveValidator("validator-4"), evidence=chain.statements(*FOUNDERS))
    assert chain.govern(change) is ResultCode.EVIDENCE_INVALID


def test_a_statement_is_of_this_chain_under_the_members_own_key() -> None:
    chain = GovernedChain()
    chain.commit(tx(payload("x"), chain_id=GOVERNED.chain_id))
    header = chain.state.header
    sound = [statement(name, header) for name in FOUNDERS]
    for false in (
        replace(statement("validator-3", header), validator_id="validator-4"),
        statement("validator-4", replace(header, state_root=bytes(32))),
        statement("validator-4", replace(header, height=2)),
        statement("validator-4", replace(header, height=9)),
        replace(sound[3], header=header.encode()[:-1]),
        replace(sound[3], signature=bytes(64)),
    ):
        change = governed(adding(FIFTH), evidence=[*sound[:3], false])
        result = chain.execute(governed_tx(change)).results[0]
        assert (result.code, result.operation_index) == (ResultCode.EVIDENCE_INVALID, 3)


def aged(blocks: int, step_ms: int) -> ResultCode:
    """Return what becomes of a change whose evidence is so many blocks old when it is judged."""
    chain = GovernedChain()
    change = governed(adding(FIFTH), evidence=chain.statements(*FOUNDERS))
    for number in range(blocks - 1):
        not_after_ms = chain.state.header.time_ms + step_ms
        filler = tx(payload(f"{number}"), chain_id=GOVERNED.chain_id, not_after_ms=not_after_ms)
        chain.commit(filler, step_ms=step_ms)
    late = governed_tx(change)
    body = replace_not_after(late, chain.state.header.time_ms + step_ms)
    return chain.execute(body, step_ms=step_ms).results[0].code


def replace_not_after(transaction: VerifiedTransaction, not_after_ms: int) -> VerifiedTransaction:
    body = msgspec.structs.replace(transaction.transaction.body, not_after_ms=not_after_ms)
    key = signer(body.sender)
    return verify_transaction(sign_transaction(body, key, GOVERNED.suite), key.public_key)


def test_evidence_is_recent_by_height_or_by_time() -> None:
    assert GOVERNED.parameters.checkpoint_blocks == 100
    reach = EVIDENCE_CHECKPOINTS_MAX * GOVERNED.parameters.checkpoint_blocks
    assert EVIDENCE_AGE_MS_MAX == 600_000
    assert aged(2, EVIDENCE_AGE_MS_MAX) is ResultCode.OK  # long ago, two blocks ago
    assert aged(reach + 1, 1) is ResultCode.OK  # many blocks ago, just now
    assert aged(reach, 3_001) is ResultCode.OK
    assert aged(reach + 1, 3_001) is ResultCode.EVIDENCE_INVALID


# --- What an earlier transaction of the block began ---


def in_one_block(chain: GovernedChain, *payloads: Governance) -> list[ResultCode]:
    transactions = [governed_tx(each, nonce=90 + place) for place, each in enumerate(payloads)]
    return [each.code for each in chain.commit(*transactions).results]


@pytest.mark.parametrize("status", [Status.FROZEN, Status.REVOKED])
@pytest.mark.parametrize(
    ("subject", "name"), [(Subject.IDENTITY, "validator-5"), (Subject.ORGANISATION, "org-5")]
)
def test_nobody_joins_the_set_who_loses_its_rights_in_the_same_block(
    subject: Subject, name: str, status: Status
) -> None:
    chain = GovernedChain()
    node = replace(identity("validator-5", Role.VALIDATOR), organisation="org-5")
    admitted = governed(newcomer("org-5"), RegisterIdentity(node))
    assert chain.govern(admitted) is ResultCode.OK
    members = (*FOUNDERS, "validator-5")
    joining = governed(adding("validator-5", "org-5"), evidence=chain.statements(*members))
    barring = ChangeStatus(subject, name, status, "")
    codes = in_one_block(chain, joining, governed(barring))
    assert codes == [ResultCode.OK, ResultCode.EPOCH_ENDING]
    evidence = chain.statements(*FOUNDERS)
    assert chain.govern(governed(barring, epoch=1, evidence=evidence)) is ResultCode.OK
    validators = epoch_in_force(chain.state, GOVERNED.suite).validators
    assert [each.validator_id for each in validators.validators] == [*FOUNDERS]


def test_parameters_as_they_are_undo_none_that_are_to_come() -> None:
    chain = GovernedChain()
    change = governed(SetParameters(SLOWER), evidence=chain.statements(*FOUNDERS))
    as_they_are = governed(SetParameters(GOVERNED.parameters))
    assert in_one_block(chain, change, as_they_are) == [ResultCode.OK, ResultCode.OK]
    epoch = epoch_in_force(chain.state, GOVERNED.suite)
    assert (epoch.number, epoch.parameters) == (1, SLOWER)
