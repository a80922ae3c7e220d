"""Rules in words that a non-programmer reads, and back from the words of a command line."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from gettext import gettext as _
from typing import Any, Final

from node.chain.genesis import Role
from node.chain.policy import COUNT_MAX, NOTARIZE, SET_PARAMETERS, Measure, Rule, Scope
from node.chain.quota import Quota
from node.cli.verb import CommandError
from node.errors import DecodeError

_MEASURES: Final = {
    "any": (Measure.ANY, 0, 0),
    "all": (Measure.ALL, 0, 0),
    "majority": (Measure.MAJORITY, 0, 0),
}
_SCOPES: Final = {"founders": Scope.FOUNDERS, "members": Scope.MEMBERS}


def describe_rule(rule: Rule) -> dict[str, Any]:
    """Return a rule as the members of a JSON object, in the words `read_rule` takes."""
    return {
        "who": ",".join(rule.organisations) or rule.scope.name.lower(),
        "roles": [role.name.lower() for role in rule.roles],
        "how_many": _measure_word(rule),
    }


def describe_bound(operation: str, rule: Rule, *, is_default: bool) -> dict[str, Any]:
    """Return the rule in force for an operation so, with its sentence."""
    return {
        **describe_rule(rule),
        "sentence": tell_rule(operation, rule),
        "is_default": is_default,
    }


def read_rule(who: str, roles: Sequence[str], how_many: str) -> Rule:
    """Return the rule that words of a command line mean; raises `CommandError` naming the word."""
    scope = _SCOPES.get(who, Scope.NAMED)
    named = tuple(sorted(frozenset(who.split(",")))) if scope is Scope.NAMED else ()
    measure, numerator, denominator = _read_measure(how_many)
    known = {role.name.lower(): role for role in Role}
    unknown = [each for each in roles if each not in known]
    if unknown:
        message = _("role {role}: expected one of {roles}")
        raise CommandError("GC-2303", message.format(role=unknown[0], roles=", ".join(known)))
    rule = Rule(
        scope=scope,
        organisations=named,
        roles=tuple(sorted({known[each] for each in roles})),
        measure=measure,
        numerator=numerator,
        denominator=denominator,
    )
    try:
        return Rule.from_value(rule.to_value())
    except DecodeError as error:
        raise CommandError("GC-2303", str(error)) from error


def _read_measure(word: str) -> tuple[Measure, int, int]:
    if word in _MEASURES:
        return _MEASURES[word]
    if word.isdecimal() and int(word) <= COUNT_MAX:
        return Measure.COUNT, int(word), 0
    numerator, slash, denominator = word.partition("/")
    if slash and numerator.isdecimal() and denominator.isdecimal() and int(denominator):
        part = Fraction(int(numerator), int(denominator))
        if part.denominator <= COUNT_MAX:
            return Measure.FRACTION, part.numerator, part.denominator
    message = _("{word}: expected any, all, majority, a number, or a part like 2/3")
    raise CommandError("GC-2303", message.format(word=word))


def _measure_word(rule: Rule) -> str:
    match rule.measure:
        case Measure.COUNT:
            return str(rule.numerator)
        case Measure.FRACTION:
            return f"{rule.numerator}/{rule.denominator}"
        case _:
            return rule.measure.name.lower()


def describe_quota(quota: Quota | None) -> dict[str, int] | None:
    """Return a quota as the members of a JSON object."""
    return None if quota is None else {"share": quota.share, "waiting_max": quota.waiting_max}


def tell_quota(organisation: str, quota: Quota | None) -> str:
    """Return a sentence: what an organisation may ask of the validators at a time."""
    if quota is None:
        return _(
            "{organisation}: one share of each turn, and as much may wait as finds room"
        ).format(organisation=organisation)
    if not quota.waiting_max:
        text = _("{organisation}: {share} shares of each turn, and as much may wait as finds room")
        return text.format(organisation=organisation, share=quota.share)
    text = _(
        "{organisation}: {share} shares of each turn, and {waiting} transactions may wait at each "
        "validator"
    )
    return text.format(organisation=organisation, share=quota.share, waiting=quota.waiting_max)


def tell_rule(operation: str, rule: Rule) -> str:
    """Return a sentence: what is done, by whom, and how many of them it takes."""
    return _("{what}: {who}").format(what=tell_operation(operation), who=tell_who(rule))


def tell_operation(operation: str) -> str:
    """Return what an operation does, for a person."""
    base, colon, detail = operation.partition(":")
    if colon and base == NOTARIZE:
        return _("record documents of type {type}").format(type=detail)
    if colon and base == SET_PARAMETERS:
        return _("change the parameter {name}").format(name=detail)
    return _operation_texts()[base]


def tell_who(rule: Rule) -> str:
    """Return who has to act, for a person."""
    roles = _(" or ").join(_role_texts()[role] for role in rule.roles)
    return _measure_texts()[rule.measure].format(
        roles=roles,
        scope=_scope_text(rule),
        n=rule.numerator,
        part=f"{rule.numerator}/{rule.denominator}",
    )


def _scope_text(rule: Rule) -> str:
    match rule.scope:
        case Scope.FOUNDERS:
            return _("the founding organisations")
        case Scope.MEMBERS:
            return _("the member organisations")
        case Scope.NAMED:
            return ", ".join(rule.organisations)


def _measure_texts() -> dict[Measure, str]:
    return {
        Measure.ANY: _("{roles} of any of {scope}"),
        Measure.ALL: _("{roles} of each of {scope}"),
        Measure.MAJORITY: _("{roles} of more than half of {scope}"),
        Measure.COUNT: _("{roles} of at least {n} of {scope}"),
        Measure.FRACTION: _("{roles} of at least {part} of {scope}"),
    }


def _role_texts() -> dict[Role, str]:
    return {
        Role.VALIDATOR: _("a validator"),
        Role.OBSERVER: _("an observer"),
        Role.AGENCY: _("an agency"),
        Role.AUDITOR: _("an auditor"),
        Role.ADMIN: _("an administrator"),
    }


def _operation_texts() -> dict[str, str]:
    return {
        "notarize": _("record documents"),
        "vault-register-key": _("register an encryption key"),
        "vault-keep": _("have a document kept in the vault"),
        "vault-grant": _("let others open a document of the vault"),
        "vault-revoke": _("take back who may open a document of the vault"),
        "vault-rotate": _("seal a document of the vault anew"),
        "vault-shred": _("destroy a document of the vault"),
        "vault-authorise": _("authorise others to read a document of the vault, under terms"),
        "vault-use": _("read, as who was authorised, a document of the vault"),
        "govern": _("hand in what was approved"),
        "add-organisation": _("admit an organisation"),
        "freeze-organisation": _("freeze an organisation"),
        "unfreeze-organisation": _("unfreeze an organisation"),
        "revoke-organisation": _("revoke an organisation"),
        "set-authorities": _("say which CAs certify an organisation"),
        "set-quota": _("say how much of an organisation may wait"),
        "register-identity": _("register an identity"),
        "freeze-identity": _("freeze an identity"),
        "unfreeze-identity": _("unfreeze an identity"),
        "revoke-identity": _("revoke an identity"),
        "rotate-identity": _("give an identity another certificate"),
        "add-validator": _("add a validator"),
        "remove-validator": _("remove a validator"),
        "set-endpoint": _("say where a node listens"),
        "set-parameters": _("change the parameters"),
        "set-rule": _("change these rules"),
    }
