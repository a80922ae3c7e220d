"""What a trial says of each operation. That it says what a block does: test_authorisation.py."""

from __future__ import annotations

from dataclasses import replace

from node.chain.block import ResultCode
from node.chain.genesis import Role
from node.chain.governance import RegisterIdentity, RemoveValidator
from node.chain.identity import ChangeStatus, Status, Subject
from node.chain.policy import Measure, Rule, Scope, SetRule
from node.chain.record import RecordAction
from node.chain.transaction import Payload
from node.execution.governance import Ground
from node.execution.notary import Position
from node.execution.policy import Founding
from node.execution.registry import epoch_in_force, find_identity
from node.execution.trial import OperationTrial, Trial, try_payload
from tests.unit.execution.governed_chain import ADMINS, GOVERNED, GovernedChain, governed
from tests.unit.execution.small_chain import identity, payload, tx

OK = ResultCode.OK
FREEZE = ChangeStatus(Subject.IDENTITY, "agency-1", Status.FROZEN, "")


def tried(chain: GovernedChain, asked: Payload, sender: str) -> Trial:
    state = chain.state
    who = find_identity(state, sender)
    assert who is not None
    ground = Ground(
        epoch=epoch_in_force(state, GOVERNED.suite),
        tx_id=bytes(32),
        founding=Founding.of(GOVERNED),
        next_epoch=None,
        digest_at=state.digest_at,
    )
    at = Position(state.header.height + 1, state.header.time_ms + 1, state.log_frontier.size + 1)
    return try_payload(asked, who, at, state.get, ground)


def of(rule: str, *codes: ResultCode) -> tuple[OperationTrial, ...]:
    return tuple(OperationTrial((rule,), code) for code in codes)


def test_each_record_is_tried_as_those_before_it_that_pass_leave_it() -> None:
    chain = GovernedChain()
    references = ("one", None, "one", "two", "two")
    asked = payload(*"abcde", references=references)
    in_force = ResultCode.REFERENCE_IN_FORCE
    expected = of("notarize", OK, OK, in_force, OK, in_force)
    assert tried(chain, asked, "agency-1") == Trial(in_force, 2, expected)
    moved = payload("x", "y", action=RecordAction.SUPERSEDE, references=("one", "two"))
    absent = ResultCode.REFERENCE_NOT_IN_FORCE
    assert tried(chain, moved, "agency-1") == Trial(absent, 0, of("notarize", absent, absent))
    first = payload("a", references=("two",))
    chain.commit(tx(first, sender="agency-1", chain_id=GOVERNED.chain_id))
    assert tried(chain, moved, "agency-1") == Trial(absent, 0, of("notarize", absent, OK))


def test_the_rule_that_decides_is_that_of_the_type_where_one_is_set() -> None:
    chain = GovernedChain()
    here = Rule(
        scope=Scope.NAMED, organisations=("org-2",), roles=(Role.AGENCY,), measure=Measure.ANY
    )
    assert chain.govern(governed(SetRule("notarize:seal", here))) is OK
    refused = ResultCode.NOT_PERMITTED
    seals = payload("a", "b", type_code="seal")
    expected = Trial(refused, 0, of("notarize:seal", refused, refused))
    assert tried(chain, seals, "agency-1") == expected
    others = tried(chain, payload("a"), "agency-1")
    assert others == Trial(OK, 0, of("notarize", OK))


def test_a_governed_operation_is_tried_by_its_own_rule_and_by_what_goes_before_it() -> None:
    chain = GovernedChain()
    everybody = Rule(scope=Scope.FOUNDERS, roles=(Role.ADMIN,), measure=Measure.ALL)
    assert chain.govern(governed(SetRule("register-identity", everybody))) is OK
    nobody = replace(FREEZE, name="nobody")
    joining = RegisterIdentity(identity("agency-9", Role.AGENCY))
    asked = governed(FREEZE, FREEZE, nobody, joining)
    missing = ResultCode.APPROVALS_MISSING
    assert tried(chain, asked, "admin-1") == Trial(
        missing,
        3,
        (
            OperationTrial(("govern", "freeze-identity"), OK),
            OperationTrial(("govern", "freeze-identity"), ResultCode.STATUS_NOT_NEXT),
            OperationTrial(("govern", "freeze-identity"), ResultCode.IDENTITY_UNKNOWN),
            OperationTrial(("govern", "register-identity"), missing),
        ),
    )
    by_all = tried(chain, governed(FREEZE, joining, approvers=ADMINS), "admin-1")
    assert (by_all.code, [each.code for each in by_all.operations]) == (OK, [OK, OK])


def test_what_lacks_evidence_alone_does_not_keep_those_after_it_from_being_tried() -> None:
    chain = GovernedChain()
    again = RemoveValidator("validator-4")
    found = tried(chain, governed(again, again), "admin-1")
    lacking, unknown = ResultCode.EVIDENCE_MISSING, ResultCode.VALIDATOR_UNKNOWN
    assert [each.code for each in found.operations] == [lacking, unknown]
    assert (found.code, found.operation_index) == (unknown, 1)


def test_who_may_not_hand_it_in_is_refused_every_operation() -> None:
    chain = GovernedChain()
    refused = ResultCode.NOT_PERMITTED
    found = tried(chain, governed(FREEZE, FREEZE), "agency-1")
    assert found == Trial(refused, 0, (OperationTrial(("govern", "freeze-identity"), refused),) * 2)
