"""Freezing, unfreezing and revoking: what the chain would refuse is told before."""

from __future__ import annotations

from gettext import gettext as _
from typing import TYPE_CHECKING

import click

from node.chain.identity import ChangeStatus, Status, Subject
from node.cli.course import Course, by_file, change_chain
from node.cli.screen import Answer, Screen
from node.cli.verb import CommandError

if TYPE_CHECKING:
    from node.cli.network import Network
    from node.cli.rights import Rights


def change_status(
    screen: Screen,
    course: Course,
    subject: Subject,
    name: str | None,
    *,
    status: Status,
    reason: str,
) -> Answer:
    """Change whether somebody has its rights, or propose it, or go on with a proposal."""
    from node.cli.rights import read_rights

    if (done := by_file(screen, course)) is not None:
        return done
    if name is None:
        raise click.UsageError(_("name who is meant"))
    network = course.network.open()
    rights = read_rights(network)
    _refuse_what_leads_nowhere(rights, subject, name, status)
    operation = ChangeStatus(subject, name, status, reason)
    _tell_of_validators(screen, network, rights, operation)
    return change_chain(screen, course, (operation,))


def _refuse_what_leads_nowhere(rights: Rights, subject: Subject, name: str, status: Status) -> None:
    if subject is Subject.ORGANISATION:
        rights.organisation(name)
    now = rights.status(subject, name)
    if now is status:
        message = _("{name} is {status} already")
        raise CommandError("GC-2307", message.format(name=name, status=now.name.lower()))
    if now is Status.REVOKED:
        message = _("{name} is revoked, for good")
        fix = _("register it anew, under another name: govchain identity add, govchain org add")
        raise CommandError("GC-2307", message.format(name=name), fix)


def _tell_of_validators(
    screen: Screen, network: Network, rights: Rights, operation: ChangeStatus
) -> None:
    """Say which validators leave by it, or why there is nobody of that name."""
    from node.chain.governance import is_barred_by

    validators = network.validators.validators
    leaving = [each.validator_id for each in validators if is_barred_by(operation, each)]
    if leaving:
        said = _("validators that leave by it, and do not come back when it is unfrozen: {names}")
        screen.note(said.format(names=", ".join(leaving)))
    elif operation.subject is Subject.IDENTITY and rights.identity(operation.name) is None:
        known = rights.last_change(Subject.IDENTITY, operation.name) is not None
        ids = [each.validator_id for each in validators]
        if not known and operation.name not in ids:
            message = _("{name}: neither an identity nor a validator of this chain")
            fix = _("see who there is: govchain identity list, govchain node list")
            raise CommandError("GC-2203", message.format(name=operation.name), fix)
