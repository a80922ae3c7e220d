"""Rules in words, and back; a sentence for each operation, in either language."""

from __future__ import annotations

import pytest

from node.chain.genesis import Role
from node.chain.policy import OPERATIONS, Measure, Scope
from node.cli.rules import describe_rule, read_rule, tell_operation, tell_rule
from node.cli.verb import CommandError


@pytest.mark.parametrize("how_many", ["any", "all", "majority", "2", "2/3"])
@pytest.mark.parametrize("who", ["founders", "members", "org-1,org-2"])
def test_words_and_rules_say_the_same(who: str, how_many: str) -> None:
    rule = read_rule(who, ("admin", "auditor"), how_many)
    described = describe_rule(rule)
    assert (described["who"], described["how_many"]) == (who, how_many)
    assert read_rule(described["who"], described["roles"], described["how_many"]) == rule


def test_words_are_put_in_order_and_parts_cut_down() -> None:
    rule = read_rule("org-2,org-1,org-2", ("admin", "auditor", "admin"), "4/6")
    assert (rule.scope, rule.organisations) == (Scope.NAMED, ("org-1", "org-2"))
    assert rule.roles == (Role.AUDITOR, Role.ADMIN)
    assert (rule.measure, rule.numerator, rule.denominator) == (Measure.FRACTION, 2, 3)


@pytest.mark.parametrize(
    ("who", "role", "how_many", "said"),
    [
        ("founders", "king", "any", "king"),
        ("founders", "admin", "most", "most"),
        ("founders", "admin", "1/0", "1/0"),
        ("founders", "admin", "0", "from 1 on"),
        ("founders", "admin", "3/2", "at most 1"),
        ("org-1,", "admin", "any", "organisation of a rule"),
        ("org-1", "admin", "2", "at most 1 of those named"),
    ],
)
def test_words_that_mean_nothing_are_named(who: str, role: str, how_many: str, said: str) -> None:
    with pytest.raises(CommandError, match=said):
        read_rule(who, (role,), how_many)


def test_every_operation_has_a_sentence_of_its_own() -> None:
    told = [tell_rule(name, bound.default) for name, bound in OPERATIONS.items()]
    assert len({tell_operation(name) for name in OPERATIONS}) == len(OPERATIONS)
    assert told[0] == "record documents: an agency of any of the member organisations"
    assert tell_operation("notarize:seal") == "record documents of type seal"
    assert tell_operation("set-parameters:window_slots") == "change the parameter window_slots"
