"""Governance against a slow model: any sequence of changes, as plain names and numbers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from node.chain.block import ResultCode
from node.chain.governance import Operation, RemoveValidator, SetParameters
from node.chain.membership import ValidatorSet
from node.execution.registry import epoch_in_force, find_epoch_start
from tests.unit.execution.governed_chain import (
    ADMINS,
    GOVERNED,
    GovernedChain,
    adding,
    governed,
    validator,
)

NAMES = [f"validator-{number}" for number in range(1, 9)]
TIMEOUTS_MS = (1_000, 2_000)


@dataclass(frozen=True)
class Proposal:
    """What is asked for: validators to add and remove in order, and a view timeout."""

    steps: tuple[tuple[bool, str], ...]
    timeout_ms: int
    epoch_back: int
    approvers: tuple[str, ...]
    vouching: tuple[str, ...]


@dataclass
class Model:
    """The chain as a person would keep it on paper."""

    members: list[str] = field(default_factory=lambda: NAMES[:4])
    gone: list[str] = field(default_factory=list)
    timeout_ms: int = TIMEOUTS_MS[0]
    epoch: int = 0

    def expected(self, proposal: Proposal) -> ResultCode:
        """Carry a proposal out, or say why not, in the order of the rules."""
        if proposal.epoch_back:
            return ResultCode.EPOCH_NOT_IN_FORCE
        if len(proposal.approvers) < 3:
            return ResultCode.APPROVALS_MISSING
        members, gone = list(self.members), list(self.gone)
        for adds, name in proposal.steps:
            if adds and (name in members or name in gone):
                return ResultCode.NAME_TAKEN
            if not adds and name not in members:
                return ResultCode.VALIDATOR_UNKNOWN
            if adds:
                members.append(name)
            else:
                members.remove(name)
                gone.append(name)
        changed = bool(proposal.steps) or proposal.timeout_ms != self.timeout_ms
        if changed:
            code = self._refusal(proposal, members)
            if code is not None:
                return code
            self.epoch += 1
        self.members, self.gone, self.timeout_ms = members, gone, proposal.timeout_ms
        return ResultCode.OK

    def _refusal(self, proposal: Proposal, members: list[str]) -> ResultCode | None:
        if not members:
            return ResultCode.VALIDATOR_COUNT
        additions = sum(adds for adds, _ in proposal.steps)
        removals = len(proposal.steps) - additions
        if max(additions, removals) > max(1, (len(self.members) - 1) // 3):
            return ResultCode.CHANGE_TOO_LARGE
        if any(name not in members for name in proposal.vouching):
            return ResultCode.EVIDENCE_INVALID
        n = len(members)
        least = next(q for q in range(1, n + 1) if 2 * q > n + (n - 1) // 3)
        return ResultCode.EVIDENCE_MISSING if len(proposal.vouching) < least else None


def proposals() -> st.SearchStrategy[Proposal]:
    names = st.sampled_from(NAMES)
    return st.builds(
        Proposal,
        steps=st.lists(st.tuples(st.booleans(), names), max_size=3).map(tuple),
        timeout_ms=st.sampled_from(TIMEOUTS_MS),
        epoch_back=st.sampled_from((0, 0, 0, 0, 1)),
        approvers=st.sampled_from((ADMINS, ADMINS[:3], ADMINS[1:], ADMINS[:2])),
        vouching=st.one_of(st.just(()), st.lists(names, unique=True, min_size=3).map(tuple)),
    )


def operations_of(proposal: Proposal) -> list[Operation]:
    steps: list[Operation] = [
        adding(name) if adds else RemoveValidator(name) for adds, name in proposal.steps
    ]
    parameters = replace(GOVERNED.parameters, view_timeout_ms=proposal.timeout_ms)
    return [*steps, SetParameters(parameters)]


@given(st.lists(st.tuples(proposals(), st.booleans()), min_size=1, max_size=6))
@settings(max_examples=60)
def test_every_change_has_the_outcome_of_the_model(asked: list[tuple[Proposal, bool]]) -> None:
    chain, model = GovernedChain(), Model()
    for drawn, all_vouch in asked:
        proposal = drawn
        if all_vouch:  # else hardly any change would come through
            after = [name for adds, name in drawn.steps if adds]
            left = [name for name in model.members if (False, name) not in drawn.steps]
            proposal = replace(drawn, vouching=tuple(dict.fromkeys([*left, *after])))
        epoch = model.epoch + proposal.epoch_back
        got = chain.govern(
            governed(
                *operations_of(proposal),
                epoch=epoch,
                evidence=chain.statements(*proposal.vouching),
                approvers=proposal.approvers,
            )
        )
        before = model.epoch
        assert got is model.expected(proposal)
        in_force = epoch_in_force(chain.state, GOVERNED.suite)
        names = [member.validator_id for member in in_force.validators.validators]
        assert (names, in_force.number) == (model.members, model.epoch)
        assert in_force.parameters.view_timeout_ms == model.timeout_ms
        header = chain.state.header
        assert header.epoch == before
        assert header.next_set_digest == in_force.validators.digest
        start = find_epoch_start(chain.state, model.epoch, GOVERNED.suite)
        if model.epoch > before:
            assert start is not None
            assert start.first_height == header.height + 1
    assert not set(model.members) & set(model.gone)
    expected = tuple(validator(name, _organisation(name)) for name in model.members)
    assert ValidatorSet(model.epoch, expected, GOVERNED.suite) == in_force.validators


def _organisation(name: str) -> str:
    founders = {each.validator_id: each.organisation for each in GOVERNED.validators.validators}
    return founders.get(name, "org-1")
