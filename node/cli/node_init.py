"""`govchain node init`: the home of a validator to be, made on a machine of its own.

What others need to let it in is a file to be sent to them: `govchain node join --introduction`.
"""

from __future__ import annotations

import hashlib
import time
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from node.cli.screen import Answer, Screen
from node.cli.verb import Verb, verb

if TYPE_CHECKING:
    from node.config import Address, Endpoint
    from node.operations.homes import HomePlan, Secret
    from node.operations.introduction import Introduction

_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_FOLDER: Final = click.Path(path_type=Path, file_okay=False)


@click.command(
    "init",
    cls=Verb,
    help=_(
        "Make keys, certificate and settings of a validator to be in the folder HOME, on a machine "
        "of its own. The others are sent what is public of it, introduction.json, and let it in: "
        "govchain node join --introduction."
    )
    + "\n\n"
    + _(
        "Where the organisation's authority is kept elsewhere, --request makes tls.csr in HOME; "
        "once it is issued, the same command with --certificate and --ca instead finishes HOME."
    ),
)
@click.argument("home", type=_FOLDER)
@click.option("--genesis", type=_FILE, required=True, help=_("The chain's genesis file."))
@click.option("--id", "node_id", required=True, help=_("Its name, one that was never used."))
@click.option("--organisation", required=True, help=_("Its organisation."))
@click.option(
    "--authority",
    type=_FOLDER,
    help=_("Folder of its organisation's authority (ca.pem, ca.key); founded if nothing is there."),
)
@click.option("--request", is_flag=True, help=_("Ask for the certificate instead: HOME/tls.csr."))
@click.option("--certificate", type=_FILE, help=_("The certificate issued at that request."))
@click.option("--ca", type=_FILE, help=_("The certificate of the authority that issued it."))
@click.option(
    "--listen",
    metavar="HOST:PORT",
    required=True,
    help=_("Where it listens for validators; an IPv6 host in brackets."),
)
@click.option(
    "--clients",
    metavar="HOST:PORT",
    help=_("Where it listens for clients.") + "  [" + _("the next port") + "]",
)
@click.option("--metrics", metavar="HOST:PORT", help=_("Where it serves metrics, in clear text."))
@click.option(
    "--http",
    metavar="HOST:PORT",
    help=_("Where it serves time stamps and the log over HTTP, in clear text."),
)
@click.option(
    "--at",
    "host",
    metavar="HOST",
    help=_("Name or address by which others reach it.") + "  [" + _("host of --listen") + "]",
)
@click.option(
    "--peer",
    "peers",
    metavar="ID=HOST:PORT",
    multiple=True,
    required=True,
    help=_("A validator and where it listens for validators; name several."),
)
@click.option("--key-file", type=_FILE, help=_("What opens its keys.") + "  [HOME/secret.key]")
@click.option("--passphrase", is_flag=True, help=_("A passphrase opens its keys, instead."))
@verb("node init")
def init(screen: Screen, *, home: Path, **said: Any) -> Answer:  # noqa: ANN401 - as click gives them
    """Make the home of a validator to be."""
    from node.cli.kinds import CERTIFICATE, read_kind
    from node.operations.homes import Issued, apply_for_home, certify_home, make_home

    authority, certificate, ca = said["authority"], said["certificate"], said["ca"]
    ways = [authority is not None, said["request"], certificate is not None]
    if ways.count(True) != 1 or (certificate is None) != (ca is None):
        raise click.UsageError(_("give one of --authority, --request, and --certificate with --ca"))
    plan = _plan(said)
    secret = choose_secret(said["key_file"], has_passphrase=said["passphrase"])
    now_ms = time.time_ns() // 1_000_000
    if said["request"]:
        request = apply_for_home(home, plan, secret, now_ms)
        text = _("have {file} issued as it asks, then say this again with --certificate and --ca")
        screen.line(text.format(file=request))
        return Answer({"home": str(home), "request": str(request), "node": plan.node_id})
    if certificate is None:
        introduction = make_home(home, plan, authority, secret, now_ms)
    else:
        issued = Issued(*(read_kind(each, CERTIFICATE) for each in (certificate, ca)))
        introduction = certify_home(home, plan, issued, secret, now_ms)
    return _tell(screen, home, introduction)


def _plan(said: dict[str, Any]) -> HomePlan:
    from node.cli.network import read_genesis
    from node.config import Address
    from node.operations.homes import HomePlan

    listen, clients = read_address("--listen", said["listen"]), said["clients"]
    metrics, http = said["metrics"], said["http"]
    return HomePlan(
        node_id=said["node_id"],
        organisation_id=said["organisation"],
        genesis=read_genesis(said["genesis"]),
        peer_address=listen,
        client_address=(
            Address(listen.host, listen.port + 1)
            if clients is None
            else read_address("--clients", clients)
        ),
        metrics_address=None if metrics is None else read_address("--metrics", metrics),
        http_address=None if http is None else read_address("--http", http),
        host=said["host"] or listen.host,
        peers=tuple(map(_peer, said["peers"])),
    )


def _tell(screen: Screen, home: Path, introduction: Introduction) -> Answer:
    """Say what others are to be told, and what is next."""
    from node.operations.introduction import INTRODUCTION_FILE

    newcomer = introduction.newcomer
    validator = newcomer.joining.validator
    file = home / INTRODUCTION_FILE
    fingerprint = hashlib.sha256(newcomer.organisation.ca_certificate).hexdigest()
    screen.line(_("for chain {chain}").format(chain=introduction.chain_id.hex()))
    text = _("SHA-256 of the CA of {name}: {sum}")
    screen.line(text.format(name=validator.organisation, sum=fingerprint))
    text = _("vote key of {node}: {key}")
    screen.line(text.format(node=validator.validator_id, key=validator.vote_key.hex()))
    text = _("send {file} to the others, tell them these by another way, and start: {command}")
    screen.line(text.format(file=file, command=f"govchain node run --home {home}"))
    facts = {
        "home": str(home),
        "introduction": str(file),
        "chain_id": introduction.chain_id.hex(),
        "node": validator.validator_id,
        "organisation": validator.organisation,
        "ca_sha256": fingerprint,
        "vote_key": validator.vote_key.hex(),
        "cosignature_key": validator.cosignature_key.hex(),
        "peers_at": str(newcomer.endpoint.endpoint),
        "clients_at": str(introduction.client_address),
    }
    return Answer(facts)


def read_address(option: str, text: str) -> Address:
    """Return the address that an option names; raises `click.BadParameter`."""
    from node.config import Address
    from node.errors import ConfigError

    try:
        return Address.parse(text)
    except ConfigError as error:
        raise click.BadParameter(str(error), param_hint=option) from error


def _peer(text: str) -> Endpoint:
    from node.config import Endpoint

    node_id, equals, address = text.partition("=")
    if not (node_id and equals):
        message = _("expected ID=HOST:PORT, got {text}").format(text=text)
        raise click.BadParameter(message, param_hint="--peer")
    return Endpoint(node_id, read_address("--peer", address))


def choose_secret(key_file: Path | None, *, has_passphrase: bool) -> Secret | None:
    """Return what is to open the keys; None: a key file that is made."""
    from node.cli.network import open_secret
    from node.operations.homes import Secret

    if key_file is not None and has_passphrase:
        raise click.UsageError(_("give --key-file or --passphrase, not both"))
    if key_file is None and not has_passphrase:
        return None
    return Secret(open_secret(key_file), key_file)
