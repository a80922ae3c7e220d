"""`govchain identity`: who may sign, with which certificate, and what becomes of it."""

from __future__ import annotations

from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from node.cli.choice import NetworkChoice, network_options
from node.cli.course import Course, by_file, change_chain, course_options
from node.cli.org import reason_option
from node.cli.screen import Answer, Screen
from node.cli.verb import CommandError, VerbGroup, verb

if TYPE_CHECKING:
    from node.chain.genesis import Identity
    from node.chain.identity import Status
    from node.cli.rights import Rights

ROLES: Final = ("validator", "observer", "agency", "auditor", "admin")
_OVERLAP_DAYS_DEFAULT: Final = 1.0
_DAY_MS: Final = 86_400_000


@click.group("identity", cls=VerbGroup, help=_("Who may sign on the chain, and their rights."))
def identity() -> None:
    """Hold the verbs."""


@identity.command("list", help=_("List the identities, and whether they have their rights."))
@click.option("--organisation", help=_("Only those of this organisation."))
@network_options
@verb("identity list")
def list_identities(screen: Screen, *, organisation: str | None, network: NetworkChoice) -> Answer:
    """List the identities."""
    from node.cli.rights import read_rights
    from node.cli.rights_wording import role_text, status_text
    from node.timestamp.receipt import iso_time

    rights = read_rights(network.open())
    if organisation is not None:
        rights.organisation(organisation)
    facts = [
        _facts(rights, each)
        for each in rights.identities()
        if organisation in (None, each.organisation)
    ]
    titles = (_("identity"), _("organisation"), _("role"), _("status"), _("valid until"))
    screen.table(
        titles,
        [
            (
                each["identity"],
                each["organisation"],
                role_text(each["role"]),
                status_text(each["status"]),
                iso_time(each["not_after_ms"]),
            )
            for each in facts
        ],
    )
    return Answer({"identities": facts})


@identity.command("show", help=_("Show an identity: role, key, validity, certificates, status."))
@click.argument("name")
@network_options
@verb("identity show")
def show(screen: Screen, *, name: str, network: NetworkChoice) -> Answer:
    """Show an identity."""
    from node.cli.rights import read_rights
    from node.cli.rights_wording import role_text, status_text
    from node.execution.identity import why_barred
    from node.timestamp.receipt import iso_time

    rights = read_rights(network.open())
    found = rights.identity(name)
    if found is None:
        raise _unknown(rights, name)
    facts = _facts(rights, found)
    said = _("{name}: {role} of {organisation}, {status}, valid from {start} to {end}")
    screen.line(
        said.format(
            name=name,
            role=role_text(facts["role"]),
            organisation=found.organisation,
            status=status_text(facts["status"]),
            start=iso_time(found.not_before_ms),
            end=iso_time(found.not_after_ms),
        )
    )
    barred = why_barred(rights.read, name, found.organisation)
    if barred is not None:
        screen.line(f"  {barred}", style="yellow")
    for each in facts["certificates"] or ():
        text = _("  certificate, SHA-256 {digest}, until {end}")
        screen.line(text.format(digest=each["sha256"], end=iso_time(each["until_ms"])))
    if facts["certificates"] is None:
        screen.line(_("  any certificate that a CA of its organisation issued for it is accepted"))
    return Answer({**facts, "barred": barred})


@identity.command(
    "history",
    help=_("Show what happened to an identity or validator: when, why, who approved it."),
)
@click.argument("name")
@network_options
@verb("identity history")
def history(screen: Screen, *, name: str, network: NetworkChoice) -> Answer:
    """Show what happened to an identity."""
    from node.chain.identity import Subject
    from node.cli.rights import read_approvers, read_rights
    from node.cli.rights_wording import tell_trail, trail_facts

    found = network.open()
    rights = read_rights(found)
    trail = rights.trail(Subject.IDENTITY, name)
    if not trail and rights.identity(name) is None and found.validators.index_of(name) is None:
        raise _unknown(rights, name)
    approvers = read_approvers(found, trail)
    tell_trail(screen, trail, approvers)
    return Answer({"identity": name, "history": trail_facts(trail, approvers)})


@identity.command(
    "lock",
    help=_(
        "Have the private key by which an identity signs open with the passphrases of two people, "
        "each useless alone; or again as the other keys of the profile do. Copies of the file as "
        "it was, in backups too, open as they did: destroy them."
    ),
)
@click.option(
    "--people",
    type=click.Choice(("1", "2")),
    required=True,
    help=_("How many people it takes to sign."),
)
@network_options
@verb("identity lock")
def lock(screen: Screen, *, people: str, network: NetworkChoice) -> Answer:
    """Lock a private key anew."""
    from node.cli.network import open_secret
    from node.cli.passphrases import ask_two_people
    from node.client.chain import KEY_FILE
    from node.crypto.keystore import KeyPurpose, lock_anew, takes_two_people

    chain = network.open()
    path = chain.credentials / KEY_FILE
    is_changed = takes_two_people(path) is not (people == "2")
    if is_changed:
        usual = open_secret(chain.profile.key_file)
        both = ask_two_people(is_new=people == "2")
        before, after = (usual, both) if people == "2" else (both, usual)
        lock_anew(path, before, after, KeyPurpose.IDENTITY)
    said = _("{path}: takes two people to open") if people == "2" else _("{path}: opens as usual")
    screen.line(said.format(path=path))
    return Answer({"identity": chain.identity, "people": int(people), "changed": is_changed})


@identity.command(
    "add",
    help=_(
        "Register an identity by its certificate. In the folder of a network its keys and "
        "certificate are made; from elsewhere they come as --certificate and --key."
    ),
)
@click.argument("name", required=False)
@click.option("--organisation", help=_("Whose it is."))
@click.option("--role", type=click.Choice(ROLES), default="agency", show_default=True)
@click.option(
    "--certificate",
    type=click.Path(path_type=Path, dir_okay=False),
    help=_("Its certificate (PEM), issued by a CA of its organisation."),
)
@click.option("--key", help=_("Its public key for transactions, in hexadecimal."))
@course_options
@verb("identity add")
def add(
    screen: Screen,
    *,
    course: Course,
    name: str | None,
    organisation: str | None,
    role: str,
    certificate: Path | None,
    key: str | None,
) -> Answer:
    """Register an identity."""
    if (done := by_file(screen, course)) is not None:
        return done
    if name is None or organisation is None:
        raise click.UsageError(_("name the identity, and its organisation: --organisation"))
    if (certificate is None) != (key is None):
        raise click.UsageError(_("give both --certificate and --key, or neither"))
    from node.chain.genesis import Role
    from node.cli.credentials import enrolment_of, make_credentials
    from node.cli.rights import read_rights

    network = course.network.open()
    rights = read_rights(network)
    rights.organisation(organisation)
    if rights.identity(name) is not None:
        message = _("{name}: is an identity of this chain already")
        raise CommandError("GC-2102", message.format(name=name), _("name another one"))
    known_role = Role[role.upper()]
    if certificate is None or key is None:
        made = make_credentials(course.home, name, known_role, organisation)
        screen.note(_("its keys and certificate are in {folder}").format(folder=made))
        operation = enrolment_of(network, name, known_role, organisation, made)
    else:
        from node.cli.credentials import enrolment_from_elsewhere

        operation = enrolment_from_elsewhere(name, known_role, organisation, certificate, key)
    return change_chain(screen, course, (operation,))


@identity.command(
    "freeze",
    help=_(
        "Take an identity its rights for now: with the next block every node refuses it, on open "
        "connections, too. A validator leaves: an epoch ends."
    ),
)
@click.argument("name", required=False)
@reason_option
@course_options
@verb("identity freeze")
def freeze(screen: Screen, *, course: Course, name: str | None, reason: str) -> Answer:
    """Freeze an identity."""
    from node.chain.identity import Status

    return _change(screen, course, name, Status.FROZEN, reason)


@identity.command(
    "unfreeze",
    help=_("Give a frozen identity its rights again. A validator does not come back by it."),
)
@click.argument("name", required=False)
@reason_option
@course_options
@verb("identity unfreeze")
def unfreeze(screen: Screen, *, course: Course, name: str | None, reason: str) -> Answer:
    """Unfreeze an identity."""
    from node.chain.identity import Status

    return _change(screen, course, name, Status.ACTIVE, reason)


@identity.command("revoke", help=_("Take an identity its rights for good."))
@click.argument("name", required=False)
@reason_option
@course_options
@verb("identity revoke")
def revoke(screen: Screen, *, course: Course, name: str | None, reason: str) -> Answer:
    """Revoke an identity."""
    from node.chain.identity import Status

    return _change(screen, course, name, Status.REVOKED, reason)


@identity.command(
    "rotate",
    help=_(
        "Give an identity another certificate under the same name. In the folder of a network it "
        "is made, with a new key for TLS, and put in place once the chain knows it; from elsewhere "
        "it comes as --certificate."
    ),
)
@click.argument("name", required=False)
@click.option(
    "--certificate",
    type=click.Path(path_type=Path, dir_okay=False),
    help=_("The new certificate (PEM), issued by a CA of its organisation."),
)
@click.option(
    "--key",
    help=_(
        "A new public key for transactions, in hexadecimal. What the one before signed, and no "
        "block holds yet, is void."
    ),
)
@click.option(
    "--overlap",
    "overlap_days",
    type=click.FloatRange(0, 30),
    default=_OVERLAP_DAYS_DEFAULT,
    show_default=True,
    help=_("Days for which the certificate before is accepted still; 0 where it was stolen."),
)
@reason_option
@course_options
@verb("identity rotate")
def rotate(
    screen: Screen,
    *,
    course: Course,
    name: str | None,
    certificate: Path | None,
    key: str | None,
    overlap_days: float,
    reason: str,
) -> Answer:
    """Give an identity another certificate."""
    from node.chain.identity import RotateIdentity
    from node.cli.credentials import put_in_place, read_certificate, read_key, renew_credentials
    from node.cli.rights import read_rights

    if (done := by_file(screen, course)) is not None:
        return done
    if name is None:
        raise click.UsageError(_("name who is meant"))
    rights = read_rights(course.network.open())
    found = rights.identity(name)
    if found is None:
        raise _unknown(rights, name)
    made = None
    if certificate is None:
        made = renew_credentials(course.home, found)
        certificate = made / "client.pem"
    operation = RotateIdentity(
        name,
        read_certificate(certificate),
        None if key is None else read_key(key),
        int(overlap_days * _DAY_MS),
        reason,
    )
    answer = change_chain(screen, course, (operation,))
    if made is not None and course.propose is None:
        put_in_place(made)
    elif made is not None:
        said = _("once it is in force, move the files of {folder} to the folder above it")
        screen.note(said.format(folder=made))
    return answer


def _change(
    screen: Screen, course: Course, name: str | None, status: Status, reason: str
) -> Answer:
    from node.chain.identity import Subject
    from node.cli.rights_change import change_status

    return change_status(screen, course, Subject.IDENTITY, name, status=status, reason=reason)


def _unknown(rights: Rights, name: str) -> CommandError:
    message = _("no identity {name} on this chain, of {count} there are")
    return CommandError(
        "GC-2203",
        message.format(name=name, count=len(rights.identities())),
        _("see who there is: govchain identity list, govchain node list"),
    )


def _facts(rights: Rights, found: Identity) -> dict[str, Any]:
    from node.chain.identity import Subject

    accepted = rights.certificates(found.identity_id)
    return {
        "identity": found.identity_id,
        "organisation": found.organisation,
        "role": found.role.name.lower(),
        "status": rights.status(Subject.IDENTITY, found.identity_id).name.lower(),
        "organisation_status": rights.status(Subject.ORGANISATION, found.organisation).name.lower(),
        "public_key": found.public_key.hex(),
        "not_before_ms": found.not_before_ms,
        "not_after_ms": found.not_after_ms,
        "certificates": None
        if accepted is None
        else [
            {"sha256": each.fingerprint.hex(), "until_ms": each.until_ms}
            for each in accepted.certificates
        ],
    }
