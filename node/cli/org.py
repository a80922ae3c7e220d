"""`govchain org`: the organisations of a chain, their authorities, and what becomes of them."""

from __future__ import annotations

from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from node.chain.quota import SHARE_MAX, Quota, SetQuota
from node.cli.choice import NetworkChoice, network_options
from node.cli.course import Course, by_file, change_chain, course_options
from node.cli.screen import Answer, Screen
from node.cli.verb import VerbGroup, verb
from node.limits import MEMPOOL_TXS_MAX

if TYPE_CHECKING:
    from node.chain.genesis import Organisation
    from node.chain.identity import Status
    from node.cli.rights import Rights

reason_option = click.option(
    "--reason",
    default="",
    help=_("Why: at most 256 bytes, for ever on the chain. Name nobody in it."),
)


@click.group("org", cls=VerbGroup, help=_("Organisations of the chain, and their rights."))
def org() -> None:
    """Hold the verbs."""


@org.command("list", help=_("List the organisations, and whether they have their rights."))
@network_options
@verb("org list")
def list_organisations(screen: Screen, *, network: NetworkChoice) -> Answer:
    """List the organisations."""
    from node.cli.rights import read_rights
    from node.cli.rights_wording import status_text

    rights = read_rights(network.open())
    facts = [_facts(rights, each) for each in rights.organisations()]
    titles = (_("organisation"), _("name"), _("status"), _("founder"), _("CAs"), _("identities"))
    screen.table(
        titles,
        [
            (
                each["organisation"],
                each["name"],
                status_text(each["status"]),
                _("yes") if each["is_founder"] else _("no"),
                len(each["authorities"]),
                each["identities"],
            )
            for each in facts
        ],
    )
    return Answer({"organisations": facts})


@org.command("show", help=_("Show an organisation: its CAs, and what became of it so far."))
@click.argument("name")
@network_options
@verb("org show")
def show(screen: Screen, *, name: str, network: NetworkChoice) -> Answer:
    """Show an organisation."""
    from node.chain.identity import Subject
    from node.cli.rights import read_approvers, read_rights
    from node.cli.rights_wording import status_text, tell_trail, trail_facts
    from node.cli.rules import tell_quota

    found = network.open()
    rights = read_rights(found)
    organisation = rights.organisation(name)
    facts = _facts(rights, organisation)
    screen.line(f"{name}: {organisation.name}, {status_text(facts['status'])}")
    for each in facts["authorities"]:
        screen.line(_("  CA, SHA-256 {digest}").format(digest=each))
    screen.line("  " + tell_quota(name, rights.quota(name)))
    trail = rights.trail(Subject.ORGANISATION, name)
    approvers = read_approvers(found, trail)
    tell_trail(screen, trail, approvers)
    return Answer({**facts, "history": trail_facts(trail, approvers)})


@org.command(
    "add",
    help=_(
        "Admit an organisation by the certificate of its CA. Compare its SHA-256, which is shown, "
        "with what the organisation says by another way."
    ),
)
@click.argument("name", required=False)
@click.option("--title", help=_("What it is called in full.") + "  [NAME]")
@click.option(
    "--ca",
    "authorities",
    type=click.Path(path_type=Path, dir_okay=False),
    multiple=True,
    help=_("Certificate (PEM) of a CA of it; several times for several."),
)
@course_options
@verb("org add")
def add(
    screen: Screen,
    *,
    course: Course,
    name: str | None,
    title: str | None,
    authorities: tuple[Path, ...],
) -> Answer:
    """Admit an organisation."""
    from node.chain.genesis import Organisation
    from node.chain.governance import AddOrganisation, Operation
    from node.chain.identity import SetAuthorities
    from node.cli.credentials import read_authorities

    if (done := by_file(screen, course)) is not None:
        return done
    if name is None or not authorities:
        raise click.UsageError(_("name the organisation, and its CA: --ca"))
    certificates = read_authorities(authorities, course.network.open().suite)
    organisation = Organisation(
        organisation_id=name, name=title or name, ca_certificate=certificates[0]
    )
    operations: tuple[Operation, ...] = (AddOrganisation(organisation),)
    if len(certificates) > 1:
        operations += (SetAuthorities(name, certificates, ""),)
    return change_chain(screen, course, operations)


@org.command(
    "authorities",
    help=_(
        "Say which CAs certify the members of an organisation from now on, its own or external "
        "ones. Certificates of others are refused at once: name the old one, too, until all are "
        "renewed."
    ),
)
@click.argument("name", required=False)
@click.option(
    "--ca",
    "authorities",
    type=click.Path(path_type=Path, dir_okay=False),
    multiple=True,
    help=_("Certificate (PEM) of a CA; several times for several."),
)
@reason_option
@course_options
@verb("org authorities")
def set_authorities(
    screen: Screen,
    *,
    course: Course,
    name: str | None,
    authorities: tuple[Path, ...],
    reason: str,
) -> Answer:
    """Say who certifies the members of an organisation."""
    from node.chain.identity import SetAuthorities
    from node.cli.credentials import read_authorities

    if (done := by_file(screen, course)) is not None:
        return done
    if name is None or not authorities:
        raise click.UsageError(_("name the organisation, and its CAs: --ca"))
    certificates = read_authorities(authorities, course.network.open().suite)
    return change_chain(screen, course, (SetAuthorities(name, certificates, reason),))


@org.command(
    "quota",
    help=_(
        "Say what an organisation may ask of the validators at a time: its share of each turn, and "
        "how many of its transactions may wait at each. Beyond that they are refused, with the "
        "time after which to come back."
    ),
)
@click.argument("name", required=False)
@click.option(
    "--share",
    type=click.IntRange(1, SHARE_MAX),
    help=_("How many times what an organisation without quota is served in turn.") + "  [1]",
)
@click.option(
    "--waiting",
    type=click.IntRange(1, MEMPOOL_TXS_MAX),
    help=_("How many of its transactions may wait at a validator.") + _("  [as find room]"),
)
@click.option("--default", "is_default", is_flag=True, help=_("As if none had ever been set."))
@course_options
@verb("org quota")
def set_quota(
    screen: Screen,
    *,
    course: Course,
    name: str | None,
    share: int | None,
    waiting: int | None,
    is_default: bool,
) -> Answer:
    """Say what an organisation may ask of the validators at a time."""
    if (done := by_file(screen, course)) is not None:
        return done
    is_given = share is not None or waiting is not None
    if name is None or is_given == is_default:
        raise click.UsageError(_("name the organisation, and --share, --waiting or --default"))
    quota = None if is_default else Quota(share or 1, waiting or 0)
    return change_chain(screen, course, (SetQuota(name, quota),))


@org.command(
    "freeze",
    help=_(
        "Take an organisation and all of its own their rights for now. Its validators leave: an "
        "epoch ends, and a quorum of the others has to hold the chain."
    ),
)
@click.argument("name", required=False)
@reason_option
@course_options
@verb("org freeze")
def freeze(screen: Screen, *, course: Course, name: str | None, reason: str) -> Answer:
    """Freeze an organisation."""
    from node.chain.identity import Status

    return _change(screen, course, name, Status.FROZEN, reason)


@org.command(
    "unfreeze",
    help=_("Give a frozen organisation its rights again. Its validators do not come back by it."),
)
@click.argument("name", required=False)
@reason_option
@course_options
@verb("org unfreeze")
def unfreeze(screen: Screen, *, course: Course, name: str | None, reason: str) -> Answer:
    """Unfreeze an organisation."""
    from node.chain.identity import Status

    return _change(screen, course, name, Status.ACTIVE, reason)


@org.command("revoke", help=_("Take an organisation and all of its own their rights for good."))
@click.argument("name", required=False)
@reason_option
@course_options
@verb("org revoke")
def revoke(screen: Screen, *, course: Course, name: str | None, reason: str) -> Answer:
    """Revoke an organisation."""
    from node.chain.identity import Status

    return _change(screen, course, name, Status.REVOKED, reason)


def _change(
    screen: Screen, course: Course, name: str | None, status: Status, reason: str
) -> Answer:
    from node.chain.identity import Subject
    from node.cli.rights_change import change_status

    return change_status(screen, course, Subject.ORGANISATION, name, status=status, reason=reason)


def _facts(rights: Rights, organisation: Organisation) -> dict[str, Any]:
    import hashlib

    from node.chain.identity import Subject
    from node.cli.rules import describe_quota

    name = organisation.organisation_id
    return {
        "organisation": name,
        "name": organisation.name,
        "status": rights.status(Subject.ORGANISATION, name).name.lower(),
        "quota": describe_quota(rights.quota(name)),
        "is_founder": name in rights.founding.organisations,
        "authorities": [
            hashlib.sha256(each).hexdigest() for each in rights.authorities(organisation)
        ],
        "identities": sum(each.organisation == name for each in rights.identities()),
    }
