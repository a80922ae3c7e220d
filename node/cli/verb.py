"""What all verbs share: `--json`, the folder of a network, and how errors end a command."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from gettext import gettext as _
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from node.cli.remedies import DEFECT_CODE, remedy_of
from node.cli.screen import Answer, Fault, Screen
from node.errors import NodeError

PROGRAM: Final = "govchain"
DEFAULT_HOME: Final = ".testnet"

_F = TypeVar("_F", bound=Callable[..., Any])


class Verb(click.Command):
    """A command that refuses what is said twice: the last value would win, without a word."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments, as click does."""
        _values, _rest, said = self.make_parser(ctx).parse_args([*args])
        for each in {id(option): option for option in said}.values():
            if isinstance(each, click.Option) and not _is_repeatable(each) and said.count(each) > 1:
                message = _("{option}: given more than once").format(option=each.opts[0])
                raise click.UsageError(message, ctx)
        return super().parse_args(ctx, args)


class VerbGroup(click.Group):
    """A group of verbs, or of such groups."""

    command_class = Verb
    group_class = type


def _is_repeatable(option: click.Option) -> bool:
    """Tell whether nothing is lost of an option said twice."""
    return option.multiple or option.count or (option.is_flag and not option.secondary_opts)


class CommandError(NodeError):
    """A verb cannot do what it was asked; `code` is one of the table in remedies.py."""

    def __init__(self, code: str, message: str, fix: str = "") -> None:
        super().__init__(message, code=code, fix=fix)

    @property
    def fault(self) -> Fault:
        """Return how it is told: its fix is in the user's language already."""
        return Fault(self.code, str(self), self.fix or remedy_of(self.code).fix)


def verb(name: str) -> Callable[[Callable[..., Answer]], Callable[..., int]]:
    """Make a command's function of one that takes a `Screen` first and returns an `Answer`.

    Put it below `@command`; it adds `--json`, and turns errors of ours into answers.
    """

    def decorate(function: Callable[..., Answer]) -> Callable[..., int]:
        from node.cli.outputs import refuse_taken  # it raises what is defined above

        @click.option("--json", "as_json", is_flag=True, help=_("Print one JSON object."))
        @functools.wraps(function)
        def run(*, as_json: bool, **arguments: object) -> int:
            screen = Screen(name, as_json=as_json)
            try:
                refuse_taken(click.get_current_context())
                answer = function(screen, **arguments)
            except NodeError as error:
                answer = Answer(fault=_fault_of(error))
            except KeyboardInterrupt:
                message = _("stopped before it was done")
                answer = Answer(fault=Fault("GC-2313", message, _("run it again")))
            except (click.ClickException, BrokenPipeError):
                raise
            except Exception as error:  # noqa: BLE001 - the last resort: say what to report
                answer = Answer(fault=_fault_of_unforeseen(error))
            return screen.finish(answer)

        return run

    return decorate


def _fault_of(error: NodeError) -> Fault:
    """Return how an error is told; wrong usage that says no more leads to the verb's own help."""
    if error.code == "GC-2303" and not error.fix:
        command = click.get_current_context().command_path
        return Fault(error.code, str(error), _("see {command} --help").format(command=command))
    return error.fault if isinstance(error, CommandError) else Fault.of(error)


def _fault_of_unforeseen(error: Exception) -> Fault:
    """Return how an error is told that is none of ours: a defect, or a library that is not here."""
    from node.crypto.bls_backend import MissingLibraryError  # it may be the first that is imported

    if isinstance(error, MissingLibraryError):
        return Fault("GC-2342", str(error), remedy_of("GC-2342").fix)
    traceback.print_exception(error)
    return Fault(DEFECT_CODE, repr(error), _("report it, with the lines above"))


def home_option(function: _F) -> _F:
    """Add `--home`, the folder of a local network."""
    return click.option(
        "--home",
        type=click.Path(path_type=Path),
        default=DEFAULT_HOME,
        show_default=True,
        help=_("Folder of the network."),
    )(function)
