"""How much of numbers of people a verb shows: by the chain's policy, by another, or all of it."""

from __future__ import annotations

from collections.abc import Callable
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from node.cli.verb import CommandError
from node.errors import DecodeError

if TYPE_CHECKING:
    from node.client.chain import Chain
    from node.disclosure.masking import MaskingPolicy


def masking_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Take `--masking` and `--clear`."""
    options = (
        click.option(
            "--masking",
            "masking_path",
            type=click.Path(path_type=Path, exists=True, dir_okay=False),
            metavar="POLICY",
            help=_("How much of values is shown (TOML), instead of every number masked."),
        ),
        click.option("--clear", is_flag=True, help=_("Show values as they are.")),
    )
    for option in reversed(options):
        function = option(function)
    return function


def choose_policy(
    path: Path | None, *, clear: bool, chain: Chain | None = None
) -> MaskingPolicy | None:
    """Return how values are masked, None for not at all.

    By a file that is named, else by the chain's policy (`masking.toml` beside its profile), else
    every number. Raises `NodeError` for a file that is no policy.
    """
    from node.cli.inputs import open_file
    from node.disclosure.masking import DEFAULT_POLICY, POLICY_BYTES_MAX, MaskingPolicy

    if clear:
        return None
    if path is None:
        return DEFAULT_POLICY if chain is None else chain.masking
    try:
        with open_file(path) as file:
            data = file.read(POLICY_BYTES_MAX + 1)
        return MaskingPolicy.read(data)
    except OSError as error:
        raise CommandError("GC-2301", f"{path}: {error.strerror}") from error
    except DecodeError as error:
        raise CommandError("GC-2301", f"{path}: {error}", _("correct the policy")) from error
