"""The options by which verbs say which network or validator they mean, who asks, and more."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from node.cli.verb import DEFAULT_HOME

if TYPE_CHECKING:
    from node.chain.reference import ReferenceName
    from node.cli.network import Network
    from node.crypto.suite import DocumentDigest, Suite

HEIGHT_MAX: Final = 2**63 - 1
"""The highest that an option takes."""
validator_home = click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help=_("Folder of the validator."),
)
"""Adds `--home`, of one validator."""


SUITE_VARIABLE: Final = "GOVCHAIN_SUITE"
"""Names in the environment the algorithms of networks that are made without saying them."""


suite_option = click.option(
    "--suite",
    help=_(
        "Algorithms of the chain: international (SHA-256, ECDSA P-256, AES-256-GCM) or national "
        "(SM3, SM2, SM4-GCM)."
    )
    + f"  [international; ${SUITE_VARIABLE}]",
)


DIGEST_NAMES: Final = ("sha-256", "sha-384", "sha-512", "sm3")
"""How documents may be hashed, on a chain of any suite: the names in the table of suite.py."""


digest_option = click.option(
    "--digest",
    "digest_name",
    type=click.Choice(DIGEST_NAMES),
    help=_(
        "How files are hashed, and digests without a name were; unless named, as the chain does: "
        "sha-256, a national one sm3."
    ),
)
"""Adds `--digest`, of records on a chain."""


def choose_digest(name: str | None, suite: Suite) -> DocumentDigest:
    """Return how documents are hashed: as `--digest` says, or as a chain of this suite does."""
    from node.crypto.suite import document_digest_by_name

    return suite.document_digest if name is None else document_digest_by_name(name)


def choose_suite(name: str | None) -> Suite:
    """Return the suite that `--suite` names, or the environment; wrong usage where it is none."""
    from node.crypto.suite import INTERNATIONAL, SUITES

    name = name or os.environ.get(SUITE_VARIABLE) or INTERNATIONAL.name
    for suite in SUITES:
        if suite.name == name:
            return suite
    known = ", ".join(suite.name for suite in SUITES)
    message = _("{name!r} is not known; known are: {known}").format(name=name, known=known)
    raise click.BadParameter(message, param_hint="--suite")


@dataclass(frozen=True, slots=True)
class NetworkChoice:
    """What the options say of which network is meant, and who asks; None where they say nothing."""

    home: Path | None = None
    profile: Path | None = None
    identity: str | None = None

    @property
    def is_explicit(self) -> bool:
        """Tell whether a network was named."""
        return self.home is not None or self.profile is not None

    def open(self) -> Network:
        """Find the network; raises `ConfigError` where there is none."""
        from node.cli.network import Network

        return Network.open(self.home, self.profile, self.identity)


def read_reference_name(issuer: str, type_code: str, reference: str) -> ReferenceName:
    """Return the name that options give; wrong usage for what no record can carry."""
    from node.chain.reference import ReferenceName
    from node.errors import DecodeError

    try:
        return ReferenceName.from_value([issuer, type_code, reference])
    except (DecodeError, UnicodeEncodeError) as error:
        raise click.UsageError(str(error)) from error


def network_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--home`, `--profile` and `--as`, given to the function as one `NetworkChoice`."""

    @click.option(
        "--home",
        type=click.Path(path_type=Path),
        help=_("Folder of the network.") + f"  [{DEFAULT_HOME}]",
    )
    @click.option(
        "--profile",
        type=click.Path(path_type=Path, dir_okay=False),
        help=_("Client profile of the network, instead of --home."),
    )
    @click.option("--as", "identity", help=_("Who signs and asks.") + "  [agency-1]")
    @functools.wraps(function)
    def run(
        home: Path | None, profile: Path | None, identity: str | None, **arguments: object
    ) -> object:
        if identity == "":
            raise click.BadParameter(_("expected an identity, got nothing"), param_hint="--as")
        return function(network=NetworkChoice(home, profile, identity), **arguments)

    return run
