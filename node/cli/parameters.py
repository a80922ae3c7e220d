"""`govchain parameters`: the consensus parameters in force, and a governed change of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from gettext import gettext as _
from typing import TYPE_CHECKING, Final

import click

from node.cli.choice import NetworkChoice, network_options
from node.cli.course import Course, by_file, change_chain, course_options
from node.cli.remedies import N_
from node.cli.screen import Answer, Screen
from node.cli.verb import VerbGroup, verb
from node.limits import (
    BLOCK_BYTES_MAX,
    BLOCK_TXS_MAX,
    DURATION_MS_MAX,
    ROTATION_BLOCKS_MAX,
    WINDOW_SLOTS_MAX,
)

if TYPE_CHECKING:
    from node.chain.genesis import Parameters


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the chain lets a parameter be, by itself; some are bound by each other, too."""

    least: int
    most: int
    unit: str
    """For people; translated when it is told."""


_DURATION: Final = N_("ms")
_BLOCKS: Final = N_("blocks")

BOUNDS: Final[Mapping[str, Bounds]] = {
    "precision_ms": Bounds(1, DURATION_MS_MAX, _DURATION),
    "message_delay_ms": Bounds(1, DURATION_MS_MAX, _DURATION),
    "clock_error_ms": Bounds(0, DURATION_MS_MAX, _DURATION),
    "accuracy_ms": Bounds(1, DURATION_MS_MAX, _DURATION),
    "window_slots": Bounds(1, WINDOW_SLOTS_MAX, N_("slots")),
    "view_timeout_ms": Bounds(10, DURATION_MS_MAX, _DURATION),
    "view_timeout_max_ms": Bounds(10, DURATION_MS_MAX, _DURATION),
    "block_txs_max": Bounds(1, BLOCK_TXS_MAX, N_("transactions")),
    "block_bytes_max": Bounds(1_024, BLOCK_BYTES_MAX, N_("bytes")),
    "checkpoint_blocks": Bounds(1, 1_000_000, _BLOCKS),
    "rotation_blocks": Bounds(1, ROTATION_BLOCKS_MAX, _BLOCKS),
    "rotation_ms": Bounds(20, DURATION_MS_MAX, _DURATION),
    "fairness_ms": Bounds(10, DURATION_MS_MAX, _DURATION),
}


@click.group("parameters", cls=VerbGroup, help=_("What all validators of a chain go by."))
def parameters() -> None:
    """Hold the verbs."""


@parameters.command("show", help=_("List the parameters in force, and what each may be."))
@network_options
@verb("parameters show")
def show(screen: Screen, *, network: NetworkChoice) -> Answer:
    """List the parameters in force."""
    from node.cli.parameters_in_force import read_parameters

    found = network.open()
    values = asdict(read_parameters(found))
    said = _("epoch {epoch} of chain {chain}:")
    epoch = found.validators.epoch
    screen.line(said.format(epoch=epoch, chain=found.profile.chain_id.hex()))
    titles = (_("parameter"), _("value"), _("at least"), _("at most"), _("unit"))
    screen.table(
        titles,
        [
            (name, values[name], each.least, each.most, _(each.unit))
            for name, each in BOUNDS.items()
        ],
    )
    facts = {
        name: {"value": values[name], "least": each.least, "most": each.most, "unit": each.unit}
        for name, each in BOUNDS.items()
    }
    return Answer({"epoch": epoch, "parameters": facts})


@parameters.command(
    "set",
    help=_(
        "Change parameters, all others staying as they are: administrators of a majority of the "
        "founding organisations have to approve. An epoch ends by it."
    ),
)
@click.argument("changes", metavar="NAME=VALUE", nargs=-1)
@course_options
@verb("parameters set")
def set_parameters(screen: Screen, *, course: Course, changes: tuple[str, ...]) -> Answer:
    """Change parameters, or propose it."""
    from node.chain.governance import SetParameters
    from node.cli.parameters_in_force import read_parameters

    if (done := by_file(screen, course)) is not None:
        return done
    wanted = read_changes(changes)
    before = read_parameters(course.network.open())
    after = change(before, wanted)
    for name in wanted:
        old, new = getattr(before, name), getattr(after, name)
        said = _("{name}: {old} now, {new} then")
        screen.line(said.format(name=name, old=old, new=new))
    return change_chain(screen, course, (SetParameters(after),))


def read_changes(changes: Sequence[str]) -> dict[str, int]:
    """Read what is to be changed; wrong usage unless each is a known name and a value it may be."""
    if not changes:
        raise click.UsageError(_("say what is to be changed: NAME=VALUE"))
    wanted: dict[str, int] = {}
    for each in changes:
        name, _equals, text = each.partition("=")
        if name not in BOUNDS:
            message = _("{name}: no parameter; there are {known}")
            raise click.UsageError(message.format(name=name, known=", ".join(BOUNDS)))
        if name in wanted:
            raise click.UsageError(_("{name}: given twice").format(name=name))
        bounds = BOUNDS[name]
        is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(bounds.most))
        if not (is_number and bounds.least <= int(text) <= bounds.most):
            message = _("{name}: expected a whole number from {least} to {most} ({unit})")
            raise click.UsageError(
                message.format(name=name, least=bounds.least, most=bounds.most, unit=_(bounds.unit))
            )
        wanted[name] = int(text)
    return wanted


def change(before: Parameters, wanted: Mapping[str, int]) -> Parameters:
    """Return changed parameters; wrong usage where they are the same, or contradict each other."""
    from node.chain.genesis import Parameters
    from node.errors import DecodeError

    after = Parameters(**{**asdict(before), **wanted})
    if after == before:
        raise click.UsageError(_("nothing would change: these values are in force"))
    try:
        return Parameters.from_value(after.to_value())
    except DecodeError as error:
        raise click.UsageError(str(error)) from error
