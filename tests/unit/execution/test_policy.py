"""Rules: what each form of one asks for, where it is bound, and that nobody is locked out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.chain.block import ResultCode
from node.chain.genesis import Role
from node.chain.governance import Governance, RegisterIdentity, SetParameters
from node.chain.identity import ChangeStatus, Status, Subject
from node.chain.policy import OPERATIONS, Measure, Rule, Scope, SetRule, read_operation
from node.errors import DecodeError
from node.execution.policy import rule_of
from tests.unit.execution.governed_chain import ADMINS, GOVERNED, GovernedChain, governed
from tests.unit.execution.small_chain import CREATED_MS, identity, newcomer, payload, tx

FREEZING = ChangeStatus(Subject.IDENTITY, "agency-1", Status.FROZEN, "")
FOUNDERS = ("validator-1", "validator-2", "validator-3", "validator-4")


def rule(
    measure: Measure,
    numerator: int = 0,
    denominator: int = 0,
    *,
    named: tuple[str, ...] = (),
    scope: Scope = Scope.FOUNDERS,
    roles: tuple[Role, ...] = (Role.ADMIN,),
) -> Rule:
    return Rule(
        scope=Scope.NAMED if named else scope,
        organisations=named,
        roles=roles,
        measure=measure,
        numerator=numerator,
        denominator=denominator,
    )


def with_rule(operation: str, wanted: Rule | None) -> GovernedChain:
    chain = GovernedChain()
    assert chain.govern(governed(SetRule(operation, wanted))) is ResultCode.OK
    return chain


def approvals_needed(chain: GovernedChain, epoch: int = 0) -> int | None:
    """Return how many administrators, in order, suffice to freeze somebody; None: not all four."""
    for count in range(1, 5):
        asked = governed(FREEZING, approvers=ADMINS[:count], epoch=epoch)
        if chain.govern(asked) is ResultCode.OK:
            return count
    return None


@pytest.mark.parametrize(
    ("wanted", "needed"),
    [
        (rule(Measure.ANY), 1),
        (rule(Measure.ALL), 4),
        (rule(Measure.MAJORITY), 3),
        (rule(Measure.COUNT, 2), 2),
        (rule(Measure.FRACTION, 1, 2), 2),
        (rule(Measure.FRACTION, 2, 3), 3),
        (rule(Measure.FRACTION, 1, 1), 4),
        (rule(Measure.ANY, named=("org-3",)), 3),
        (rule(Measure.ALL, named=("org-1", "org-2")), 2),
        (rule(Measure.ANY, scope=Scope.MEMBERS), 1),
    ],
)
def test_so_many_organisations_as_the_rule_says_are_needed(wanted: Rule, needed: int) -> None:
    chain = with_rule("freeze-identity", wanted)
    assert approvals_needed(chain) == needed


def test_without_a_rule_a_majority_of_the_founders_decides_and_a_rule_can_be_taken_back() -> None:
    assert approvals_needed(GovernedChain()) == 3
    chain = with_rule("freeze-identity", rule(Measure.ANY))
    assert chain.govern(governed(SetRule("freeze-identity", None))) is ResultCode.OK
    assert approvals_needed(chain) == 3


def test_two_of_one_organisation_count_once() -> None:
    chain = with_rule("freeze-identity", rule(Measure.COUNT, 2))
    second = RegisterIdentity(identity("admin-1b", Role.ADMIN))
    assert chain.govern(governed(second)) is ResultCode.OK
    asked = governed(FREEZING, approvers=("admin-1", "admin-1b"))
    assert chain.govern(asked) is ResultCode.APPROVALS_MISSING


def test_members_are_counted_with_those_admitted_later() -> None:
    chain = with_rule("freeze-identity", rule(Measure.MAJORITY, scope=Scope.MEMBERS))
    joining = newcomer("org-5")
    admin = replace(identity("admin-5", Role.ADMIN), organisation="org-5")
    assert chain.govern(governed(joining, RegisterIdentity(admin))) is ResultCode.OK
    for approvers, code in (
        (ADMINS[:2], ResultCode.APPROVALS_MISSING),
        (("admin-1", "admin-2", "admin-5"), ResultCode.OK),
    ):
        assert chain.govern(governed(FREEZING, approvers=approvers)) is code


def test_a_role_counts_where_the_rule_names_it() -> None:
    chain = with_rule("freeze-identity", rule(Measure.ANY, roles=(Role.AUDITOR,)))
    by_admin = governed(FREEZING, approvers=ADMINS[:1])
    assert chain.govern(by_admin) is ResultCode.APPROVAL_INVALID
    assert chain.govern(governed(FREEZING, approvers=("auditor-1",))) is ResultCode.OK


def test_each_operation_of_a_transaction_needs_its_own_rule_and_the_failing_one_is_named() -> None:
    chain = with_rule("freeze-identity", rule(Measure.ANY))
    unfreezing = replace(FREEZING, name="agency-2", status=Status.ACTIVE)
    both = governed(FREEZING, unfreezing, approvers=ADMINS[:1])
    assert chain.govern(both) is ResultCode.APPROVALS_MISSING
    assert approvals_needed(chain) == 1


def with_window(slots: int, *approvers: str, chain: GovernedChain) -> Governance:
    wanted = replace(GOVERNED.parameters, window_slots=slots)
    evidence = chain.statements(*FOUNDERS[:3])
    return governed(SetParameters(wanted), evidence=evidence, approvers=approvers)


def test_a_rule_of_one_parameter_goes_before_that_of_all() -> None:
    chain = with_rule("set-parameters:window_slots", rule(Measure.ALL))
    three = with_window(3, *ADMINS[:3], chain=chain)
    assert chain.govern(three) is ResultCode.APPROVALS_MISSING
    slower = SetParameters(replace(GOVERNED.parameters, view_timeout_ms=2_000))
    other = governed(slower, evidence=chain.statements(*FOUNDERS[:3]))
    assert chain.govern(other) is ResultCode.OK
    chain = with_rule("set-parameters:window_slots", rule(Measure.ALL))
    assert chain.govern(with_window(3, *ADMINS, chain=chain)) is ResultCode.OK


def test_what_changes_two_parameters_is_approved_for_both() -> None:
    chain = with_rule("set-parameters:window_slots", rule(Measure.ALL))
    both = SetParameters(replace(GOVERNED.parameters, window_slots=3, view_timeout_ms=2_000))
    evidence = chain.statements(*FOUNDERS[:3])
    few = governed(both, evidence=evidence)
    assert chain.govern(few) is ResultCode.APPROVALS_MISSING
    assert chain.govern(governed(both, evidence=evidence, approvers=ADMINS)) is ResultCode.OK


def test_a_rule_of_one_type_of_records_goes_before_that_of_all() -> None:
    chain = with_rule(
        "notarize:seal", rule(Measure.ANY, named=("org-1",), roles=(Role.VALIDATOR, Role.AUDITOR))
    )

    def code(sender: str, type_code: str) -> ResultCode:
        asked = tx(payload("x", type_code=type_code), sender=sender, chain_id=GOVERNED.chain_id)
        return chain.commit(asked).results[0].code

    assert code("agency-1", "licence") is ResultCode.OK
    assert code("agency-1", "seal") is ResultCode.NOT_PERMITTED
    assert code("auditor-1", "seal") is ResultCode.OK
    assert code("auditor-1", "licence") is ResultCode.NOT_PERMITTED
    elsewhere = rule(Measure.ANY, named=("org-2",), roles=(Role.AGENCY,))
    assert chain.govern(governed(SetRule("notarize", elsewhere))) is ResultCode.OK
    assert code("agency-1", "licence") is ResultCode.NOT_PERMITTED


@pytest.mark.parametrize(
    ("operation", "wanted"),
    [
        ("set-rule", rule(Measure.COUNT, 2, named=("org-1", "org-8", "org-9"))),
        ("set-rule", rule(Measure.COUNT, 5)),
        ("unfreeze-identity", rule(Measure.ANY, named=("org-9",))),
        ("govern", rule(Measure.ANY, named=("org-9",))),
        ("register-identity", rule(Measure.ALL, roles=(Role.AUDITOR,))),
    ],
)
def test_a_rule_that_nobody_could_meet_is_refused_for_what_is_vital(
    operation: str, wanted: Rule
) -> None:
    chain = GovernedChain()
    known = rule_of(chain.state.get, operation)
    code = chain.govern(governed(SetRule(operation, wanted)))
    assert code is ResultCode.NOBODY_COULD_APPROVE
    assert rule_of(chain.state.get, operation) == known


def test_the_last_who_could_undo_a_mistake_is_not_frozen() -> None:
    chain = with_rule("set-rule", rule(Measure.ANY, named=("org-4",)))
    last = replace(FREEZING, name="admin-4")
    assert chain.govern(governed(last)) is ResultCode.NOBODY_COULD_APPROVE
    assert chain.govern(governed(replace(last, name="admin-3"))) is ResultCode.OK


def test_who_may_approve_one_of_several_operations_may_approve_them_all_together() -> None:
    chain = with_rule("freeze-identity", rule(Measure.ANY, roles=(Role.AUDITOR,)))
    adding = RegisterIdentity(identity("agency-9", Role.AGENCY))
    both = governed(FREEZING, adding, approvers=(*ADMINS[:3], "auditor-1"))
    assert chain.govern(both) is ResultCode.OK


def test_rules_take_effect_with_the_next_transaction() -> None:
    chain = with_rule("set-rule", rule(Measure.ALL))
    easier = SetRule("set-rule", rule(Measure.ANY))
    assert chain.govern(governed(easier)) is ResultCode.APPROVALS_MISSING
    assert chain.govern(governed(easier, approvers=ADMINS)) is ResultCode.OK
    back = SetRule("set-rule", None)
    assert chain.govern(governed(back, approvers=("admin-4",))) is ResultCode.OK


def notarized(chain: GovernedChain, sender: str, *, at_ms: int) -> ResultCode:
    """Return what becomes of a record in a block whose T is `at_ms`."""
    asked = tx(payload("x"), sender=sender, chain_id=GOVERNED.chain_id)
    return chain.commit(asked, step_ms=at_ms - chain.state.header.time_ms).results[0].code


def test_founders_alone_act_where_a_rule_counts_founders() -> None:
    joining = newcomer("org-5")
    agency = replace(identity("agency-5", Role.AGENCY), organisation="org-5")
    chain = GovernedChain()
    assert chain.govern(governed(joining, RegisterIdentity(agency))) is ResultCode.OK
    now_ms = chain.state.header.time_ms
    assert notarized(chain, "agency-5", at_ms=now_ms + 1) is ResultCode.OK
    closed = SetRule("notarize", rule(Measure.ANY, roles=(Role.AGENCY,)))
    assert chain.govern(governed(closed)) is ResultCode.OK
    now_ms = chain.state.header.time_ms
    assert notarized(chain, "agency-5", at_ms=now_ms + 1) is ResultCode.NOT_PERMITTED
    assert notarized(chain, "agency-1", at_ms=now_ms + 2) is ResultCode.OK


def test_an_identity_may_act_from_the_first_to_the_last_millisecond_of_its_validity() -> None:
    begins_ms, ends_ms = CREATED_MS + 5_000, CREATED_MS + 7_000
    registered = replace(identity("agency-9", Role.AGENCY, ends_ms), not_before_ms=begins_ms)
    chain = GovernedChain()
    assert chain.govern(governed(RegisterIdentity(registered))) is ResultCode.OK
    for at_ms, code in (
        (begins_ms - 1, ResultCode.IDENTITY_NOT_VALID),
        (begins_ms, ResultCode.OK),
        (ends_ms, ResultCode.OK),
        (ends_ms + 1, ResultCode.IDENTITY_NOT_VALID),
    ):
        assert notarized(chain, "agency-9", at_ms=at_ms) is code, at_ms - CREATED_MS


def test_parameters_that_change_nothing_need_the_approvals_of_any_parameters() -> None:
    asked = governed(SetParameters(GOVERNED.parameters), approvers=ADMINS[:1])
    assert GovernedChain().govern(asked) is ResultCode.APPROVALS_MISSING


# --- Forms ---


@pytest.mark.parametrize(
    "sound",
    [
        rule(Measure.COUNT, 2, named=("org-1", "org-2")),
        rule(Measure.FRACTION, 2, 3, named=("org-1",)),
        rule(Measure.FRACTION, 1, 1),
        rule(Measure.ANY, roles=tuple(Role)),
    ],
)
def test_what_is_just_possible_is_a_rule(sound: Rule) -> None:
    assert Rule.decode(sound.encode()) == sound


def test_no_rule_of_its_own_is_a_form_too() -> None:
    for operation in OPERATIONS:
        back = SetRule(operation, None)
        assert SetRule.from_value(back.to_value()) == back


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (rule(Measure.COUNT, 0), "from 1 on"),
        (rule(Measure.COUNT, 1, 1), "from 1 on"),
        (rule(Measure.ANY, 1), "no number"),
        (rule(Measure.ANY, 0, 1), "no number"),
        (rule(Measure.FRACTION, 3, 2), "at most 1"),
        (rule(Measure.FRACTION, 0, 2), "above 0"),
        (rule(Measure.COUNT, 3, named=("org-1", "org-2")), "at most 2"),
        (rule(Measure.ANY, named=("org-2", "org-1")), "in order"),
        (rule(Measure.ANY, named=("org-1", "org-1")), "each once"),
        (rule(Measure.ANY, scope=Scope.NAMED), "some where they are named"),
        (replace(rule(Measure.ANY), organisations=("org-1",)), "some where they are named"),
        (rule(Measure.ANY, roles=()), "one at least"),
        (rule(Measure.ANY, roles=(Role.ADMIN, Role.AUDITOR)), "in order"),
    ],
)
def test_there_is_one_form_of_each_rule(broken: Rule, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        Rule.from_value(broken.to_value())


@pytest.mark.parametrize(
    ("at", "value", "why"),
    [
        (0, 2, "rule: expected version 1"),
        (1, 0, "rule scope: expected 1..3, got 0"),
        (3, [0, 1], "rule roles: expected 1..5"),
        (4, 0, "rule measure: expected 1..5, got 0"),
    ],
)
def test_a_number_that_stands_for_nothing_is_refused(at: int, value: object, why: str) -> None:
    fields = rule(Measure.ANY).to_value()
    fields[at] = value
    with pytest.raises(DecodeError, match=why):
        Rule.from_value(fields)


@pytest.mark.parametrize(
    ("operation", "wanted", "why"),
    [
        ("notarize", rule(Measure.MAJORITY, roles=(Role.AGENCY,)), "acts alone"),
        ("govern", rule(Measure.ANY, roles=(Role.AGENCY,)), "auditor and admin"),
        ("freeze-identity", rule(Measure.ANY, roles=(Role.AGENCY,)), "auditor and admin"),
        ("dance", rule(Measure.ANY), "is unknown; known: notarize, govern"),
        ("set-parameters:dance", rule(Measure.ANY), "expected one of precision_ms"),
        ("set-rule:notarize", rule(Measure.ANY), "expected one of none"),
        ("notarize:", rule(Measure.ANY, roles=(Role.AGENCY,)), "type of a rule"),
    ],
)
def test_a_rule_is_bound_to_what_it_can_decide(operation: str, wanted: Rule, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        SetRule.from_value(SetRule(operation, wanted).to_value())


def test_every_default_is_a_rule_that_could_be_set() -> None:
    for operation, bound in OPERATIONS.items():
        assert read_operation(operation) == operation
        wanted = SetRule(operation, bound.default)
        assert SetRule.from_value(wanted.to_value()) == wanted


def test_no_approvals_are_never_enough_and_none_of_nobody_neither() -> None:
    for measure in Measure:
        each = rule(measure, 1 if measure >= Measure.COUNT else 0, measure == Measure.FRACTION)
        assert not each.is_met(0, 4)
        assert not each.is_met(0, 0)
        assert each.is_met(4, 4)
