"""`govchain node stamping`: the identity under which a node records requests for time stamps."""

from __future__ import annotations

import time
from collections.abc import Mapping
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from node.cli.course import Course, by_file, change_chain, course_options
from node.cli.screen import Answer, Screen
from node.cli.verb import Verb, verb

if TYPE_CHECKING:
    from node.chain.genesis import Identity
    from node.config import NodeConfig

_NAMES_TRIED: Final = 16
"""Names taken one after another; whoever says so of more is not to be believed."""


@click.command(
    "stamping",
    cls=Verb,
    help=_(
        "Give a node another identity to record requests for time stamps under: one that has none, "
        "or whose identity ends. The chain registers it, then the node is to be started again."
    ),
)
@click.argument("name", required=False)
@click.option(
    "--node-home",
    type=click.Path(path_type=Path, file_okay=False),
    help=_("Folder of a node on a machine of its own, instead of NAME."),
)
@click.option(
    "--use",
    "registered",
    metavar="ID",
    help=_("The proposal was handed in elsewhere: have the node use the identity it names."),
)
@course_options
@verb("node stamping")
def stamping(
    screen: Screen,
    *,
    course: Course,
    name: str | None,
    node_home: Path | None,
    registered: str | None,
) -> Answer:
    """Register another identity for time-stamping, and have the node use it."""
    if (done := by_file(screen, course)) is not None:
        return done
    if (name is None) == (node_home is None):
        raise click.UsageError(_("name the node, or give its folder: --node-home"))
    from node.config import NodeConfig

    config = NodeConfig.load(node_home or course.home / "nodes" / str(name))
    if registered is not None:
        return _use(screen, config, registered, {})
    from node.operations.stamping_identity import next_identity_id

    identity = _prepare(course, config, next_identity_id(config))
    if course.propose is not None:
        return _register(screen, course, identity)
    identity, answer = _register_any(screen, course, config, identity)
    return _use(screen, config, identity.identity_id, answer.facts)


def _prepare(course: Course, config: NodeConfig, identity_id: str) -> Identity:
    from node.cli.network import open_secret
    from node.operations.stamping_identity import prepare_identity

    genesis = course.network.open().genesis
    secret = open_secret(config.key_file)
    return prepare_identity(config, genesis, secret, identity_id, time.time_ns() // 1_000_000)


def _register(screen: Screen, course: Course, identity: Identity) -> Answer:
    from node.chain.governance import RegisterIdentity

    return change_chain(screen, course, (RegisterIdentity(identity),))


def _register_any(
    screen: Screen, course: Course, config: NodeConfig, identity: Identity
) -> tuple[Identity, Answer]:
    """Register it under the next name that was never used; return it as the chain knows it."""
    from node.chain.block import ResultCode
    from node.cli.change import ChangeRefused
    from node.operations.equipment import next_name

    tried = 0
    while True:
        try:
            return identity, _register(screen, course, identity)
        except ChangeRefused as refused:
            tried += 1
            if tried == _NAMES_TRIED or refused.result is not ResultCode.NAME_TAKEN:
                raise
        identity = _prepare(course, config, next_name(identity.identity_id))


def _use(screen: Screen, config: NodeConfig, identity_id: str, facts: Mapping[str, Any]) -> Answer:
    from node.operations.stamping_identity import use_identity

    use_identity(config.home, identity_id)
    said = _("{node} records requests under {identity} once it is started again")
    screen.line(said.format(node=config.validator_id, identity=identity_id))
    return Answer({**facts, "node": config.validator_id, "identity": identity_id})
