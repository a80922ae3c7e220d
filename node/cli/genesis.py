"""`govchain genesis`: organisations found a chain together, each with keys that it made at home."""

from __future__ import annotations

import hashlib
import time
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from node.cli.choice import choose_suite, suite_option
from node.cli.kinds import FOUNDER, FOUNDING, FOUNDING_DRAFT, read_kind
from node.cli.outputs import OutputFile, write_anew, write_over
from node.cli.screen import Answer, Screen
from node.cli.verb import VerbGroup, verb

if TYPE_CHECKING:
    from node.chain.genesis import Genesis
    from node.operations.founding import Draft, Founder, Terms

_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_FOLDER: Final = click.Path(path_type=Path, file_okay=False)


@click.group(
    "genesis",
    cls=VerbGroup,
    help=_("Found a chain together, each organisation with keys that it made at home."),
)
def genesis() -> None:
    """Hold the verbs."""


@genesis.command(
    "new",
    help=_(
        "Make an organisation's keys in the folder HOME: a validator, an administrator, an agency. "
        "What is public of them is HOME/bundle.json, for who assembles the chain."
    ),
)
@click.argument("home", type=_FOLDER)
@click.option("--organisation", required=True, help=_("Its name on the chain."))
@click.option("--title", help=_("What it is called in full.") + "  [ORGANISATION]")
@click.option(
    "--authority",
    type=_FOLDER,
    required=True,
    help=_("Folder of its authority (ca.pem, ca.key); founded if nothing is there."),
)
@click.option("--validator", help=_("Its validator.") + "  [validator-ORGANISATION]")
@click.option("--admin", help=_("Its administrator.") + "  [admin-ORGANISATION]")
@click.option("--agency", help=_("Its agency, who records.") + "  [agency-ORGANISATION]")
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
@click.option(
    "--at",
    "host",
    metavar="HOST",
    help=_("Name or address by which others reach it.") + "  [" + _("host of --listen") + "]",
)
@click.option(
    "--bls/--no-bls",
    "has_bls",
    default=False,
    help=_("Whether it has a BLS key, for receipts that fit a QR code: all validators or none."),
)
@click.option("--key-file", type=_FILE, help=_("What opens its keys.") + "  [HOME/secret.key]")
@click.option("--passphrase", is_flag=True, help=_("A passphrase opens its keys, instead."))
@suite_option
@verb("genesis new")
def new(screen: Screen, *, home: Path, **said: Any) -> Answer:  # noqa: ANN401 - as click gives them
    """Make what an organisation brings."""
    from node.chain.genesis import Role
    from node.cli.node_init import choose_secret, read_address
    from node.config import Address
    from node.operations.founder_home import BUNDLE_FILE, FounderPlan, make_founder

    name = said["organisation"]
    listen = read_address("--listen", said["listen"])
    plan = FounderPlan(
        suite=choose_suite(said["suite"]),
        organisation_id=name,
        title=said["title"] or name,
        validator_id=said["validator"] or f"validator-{name}",
        people={
            said["admin"] or f"admin-{name}": Role.ADMIN,
            said["agency"] or f"agency-{name}": Role.AGENCY,
        },
        peer_address=listen,
        client_address=(
            Address(listen.host, listen.port + 1)
            if said["clients"] is None
            else read_address("--clients", said["clients"])
        ),
        host=said["host"] or listen.host,
        with_aggregate_key=said["has_bls"],
    )
    secret = choose_secret(said["key_file"], has_passphrase=said["passphrase"])
    now_ms = time.time_ns() // 1_000_000
    signed = make_founder(home, plan, said["authority"], secret, now_ms)
    facts = _facts(signed.founder)
    _tell_founder(screen, facts)
    text = _("send {file} to who assembles the chain, and tell all others these by another way")
    screen.line(text.format(file=home / BUNDLE_FILE))
    return Answer({"home": str(home), "bundle": str(home / BUNDLE_FILE), **facts})


@genesis.command(
    "add",
    help=_(
        "Add bundles of organisations to the draft of a chain, which is made if need be. Compare "
        "what is shown of each with what that organisation says by another way."
    ),
)
@click.argument("draft", type=_FILE)
@click.argument("bundles", type=_FILE, nargs=-1)
@click.option("--name", help=_("What the chain is called; with the first bundles."))
@click.option(
    "--trial",
    is_flag=True,
    help=_("For trials: clocks need no time server, and faults may be made on purpose."),
)
@verb("genesis add")
def add(
    screen: Screen, *, draft: Path, bundles: tuple[Path, ...], name: str | None, trial: bool
) -> Answer:
    """Add bundles to a draft."""
    from node.operations.founding import Draft, SignedFounder

    if not bundles:
        raise click.UsageError(_("name the bundles: bundle.json of each organisation"))
    added = [SignedFounder.decode(read_kind(path, FOUNDER)) for path in bundles]
    if draft.exists():
        if name is not None or trial:
            raise click.UsageError(_("the draft is there: its name and kind stay as they are"))
        current = Draft.decode(read_kind(draft, FOUNDING_DRAFT))
    else:
        current = Draft(_terms(name, added[0].founder, is_trial=trial))
    for each in added:
        current = current.with_founder(each)
        _tell_founder(screen, _facts(each.founder))
    write_over(draft, current.encode())
    count = len(current.founders)
    screen.line(_("{count} organisations so far").format(count=count))
    return Answer({"draft": str(draft), **_founding_facts(current)})


@genesis.command(
    "seal",
    help=_(
        "Say which chain the organisations of a draft found, in a file that goes to all of them. "
        "Each checks it: govchain genesis take."
    ),
)
@click.argument("draft", type=_FILE)
@click.option(
    "--out", "sealed", type=OutputFile(), required=True, help=_("File to write, for all of them.")
)
@verb("genesis seal")
def seal(screen: Screen, *, draft: Path, sealed: Path) -> Answer:
    """Seal a draft."""
    from node.operations.founding import Draft, open_sealed

    content = Draft.decode(read_kind(draft, FOUNDING_DRAFT)).seal()
    founding, made = open_sealed(content)
    write_anew(sealed, content)
    _tell_chain(screen, founding, made)
    screen.line(_("send {file} to all of them").format(file=sealed))
    return Answer({"sealed": str(sealed), **_chain_facts(founding, made)})


@genesis.command(
    "check",
    help=_(
        "Check what was sealed: that the chain it names is the one its organisations make, and "
        "that it says of the organisation of HOME what its own bundle says. Nothing is changed."
    ),
)
@click.argument("home", type=_FOLDER)
@click.argument("sealed", type=_FILE)
@verb("genesis check")
def check(screen: Screen, *, home: Path, sealed: Path) -> Answer:
    """Check what was sealed."""
    from node.operations.founder_home import check_founding
    from node.operations.founding import open_sealed

    founding, made = open_sealed(read_kind(sealed, FOUNDING))
    check_founding(home, founding)
    _tell_chain(screen, founding, made)
    return Answer({"home": str(home), **_chain_facts(founding, made)})


@genesis.command(
    "take",
    help=_(
        "Check what was sealed, and make HOME run that chain. Compare the chain id with the other "
        "organisations before the first start."
    ),
)
@click.argument("home", type=_FOLDER)
@click.argument("sealed", type=_FILE)
@verb("genesis take")
def take(screen: Screen, *, home: Path, sealed: Path) -> Answer:
    """Make a home run the chain that was sealed."""
    from node.operations.founder_home import NODE_FOLDER, take_founding
    from node.operations.founding import open_sealed

    founding, made = open_sealed(read_kind(sealed, FOUNDING))
    take_founding(home, founding, made)
    _tell_chain(screen, founding, made)
    text = _("compare the chain id with the others, then start: {command}")
    screen.line(text.format(command=f"govchain node run --home {home / NODE_FOLDER}"))
    return Answer({"home": str(home), **_chain_facts(founding, made)})


def _terms(name: str | None, first: Founder, *, is_trial: bool) -> Terms:
    from node.operations.founding import Terms

    if name is None:
        raise click.UsageError(_("say what the chain is called: --name"))
    now_ms = time.time_ns() // 1_000_000
    return Terms(name=name, suite=first.suite, created_ms=now_ms, testnet=is_trial)


def _facts(founder: Founder) -> dict[str, Any]:
    validator = founder.validator
    return {
        "organisation": founder.organisation.organisation_id,
        "name": founder.organisation.name,
        "suite": founder.suite.name,
        "ca_sha256": hashlib.sha256(founder.organisation.ca_certificate).hexdigest(),
        "validator": validator.validator_id,
        "vote_key": validator.vote_key.hex(),
        "peers_at": str(founder.peers_at),
        "clients_at": str(founder.clients_at),
        "identities": [
            {
                "identity": each.identity_id,
                "role": each.role.name.lower(),
                "public_key": each.public_key.hex(),
            }
            for each in founder.identities
        ],
    }


def _founding_facts(draft: Draft) -> dict[str, Any]:
    return {
        "name": draft.terms.name,
        "suite": draft.terms.suite.name,
        "trial": draft.terms.testnet,
        "organisations": [_facts(each.founder) for each in draft.founders],
    }


def _chain_facts(draft: Draft, made: Genesis) -> dict[str, Any]:
    return {
        "chain_id": made.chain_id.hex(),
        "faults_tolerated": made.validators.faults,
        **_founding_facts(draft),
    }


def _tell_founder(screen: Screen, facts: dict[str, Any]) -> None:
    text = _("{organisation} ({name}): {validator}, for others at {peers_at}")
    screen.line(text.format(**facts))
    screen.line(
        "  "
        + _("SHA-256 of the CA of {name}: {sum}").format(
            name=facts["organisation"], sum=facts["ca_sha256"]
        )
    )
    screen.line(
        "  " + _("vote key of {node}: {key}").format(node=facts["validator"], key=facts["vote_key"])
    )


def _tell_chain(screen: Screen, draft: Draft, made: Genesis) -> None:
    for each in draft.founders:
        _tell_founder(screen, _facts(each.founder))
    text = _("chain {chain} of {count} validators, which tolerates {faults} faulty ones")
    screen.line(
        text.format(
            chain=made.chain_id.hex(), count=made.validators.size, faults=made.validators.faults
        )
    )
