"""Quotas in the state: set by those who govern, of organisations there are."""

from __future__ import annotations

from node.chain.block import ResultCode
from node.chain.quota import Quota, SetQuota
from node.execution.registry import read_quota
from tests.unit.execution.governed_chain import ADMINS, GovernedChain, governed


def test_a_quota_is_set_by_a_majority_and_taken_away_again() -> None:
    chain = GovernedChain()
    assert read_quota(chain.state.get, "org-1") is None
    asked = SetQuota("org-1", Quota(3, 50))
    assert chain.govern(governed(asked, approvers=ADMINS[:2])) is ResultCode.APPROVALS_MISSING
    assert chain.govern(governed(asked)) is ResultCode.OK
    assert read_quota(chain.state.get, "org-1") == Quota(3, 50)
    assert read_quota(chain.state.get, "org-2") is None
    assert chain.govern(governed(SetQuota("org-1", None))) is ResultCode.OK  # the same epoch
    assert read_quota(chain.state.get, "org-1") is None


def test_who_is_no_organisation_gets_none() -> None:
    chain = GovernedChain()
    assert chain.govern(governed(SetQuota("org-9", Quota()))) is ResultCode.ORGANISATION_UNKNOWN
    assert read_quota(chain.state.get, "org-9") is None
