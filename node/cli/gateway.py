"""`govchain gateway`: REST for applications of others, each with credentials of its own."""

from __future__ import annotations

from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from node.cli.outputs import OutputFile, write_anew
from node.cli.remedies import remedy_of
from node.cli.screen import Answer, Fault, Screen
from node.cli.verb import CommandError, VerbGroup, verb

if TYPE_CHECKING:
    from node.gateway.applications import Application
    from node.gateway.webhooks import Webhook

_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_FOLDER: Final = click.Path(path_type=Path, file_okay=False)
_RIGHTS: Final = ("read", "notarize", "submit", "events")
_TYPES: Final = ("block", "transaction", "governance")


@click.group("gateway", cls=VerbGroup, help=_("REST for applications of others, beside gRPC."))
def gateway() -> None:
    """Hold the verbs."""


@gateway.command(
    "init",
    help=_(
        "Make a gateway in the folder HOME, which acts on the chain as the identity of a client "
        "profile. It has fresh keys, knows no application yet, and listens on loopback."
    ),
)
@click.argument("home", type=_FOLDER)
@click.option("--profile", type=_FILE, required=True, help=_("Client profile it acts by."))
@click.option(
    "--listen",
    default="127.0.0.1:8443",
    show_default=True,
    metavar="HOST:PORT",
    help=_("Where it listens."),
)
@click.option(
    "--name",
    "names",
    multiple=True,
    metavar="HOST:PORT",
    help=_("Under what name applications reach it, where that is another; may be repeated."),
)
@click.option("--clear-text", is_flag=True, help=_("No TLS: on loopback alone, behind a proxy."))
@verb("gateway init")
def init(
    screen: Screen,
    *,
    home: Path,
    profile: Path,
    listen: str,
    names: tuple[str, ...],
    clear_text: bool,
) -> Answer:
    """Make a gateway."""
    from node.config import ClientProfile
    from node.crypto.suite import NATIONAL
    from node.gateway.home import AUTHORITY_FILE, Settings, make_gateway

    settings = Settings(
        version=1, profile=str(profile), listen=listen, names=names, tls=not clear_text
    )
    make_gateway(home, profile, settings)
    authority = home / AUTHORITY_FILE
    text = _("applications believe the authority in {path}").format(path=authority)
    screen.line(text)
    text = _("let an application in: {command}")
    command = f"govchain gateway app add {home} NAME --key PUBLIC.pem --may notarize --may read"
    screen.line(text.format(command=command))
    if ClientProfile.load(profile).suite == NATIONAL.name:
        screen.line(
            _(
                "the chain goes by SM2, SM3 and SM4; TLS, signed requests and webhooks go by "
                "P-256, Ed25519 and SHA-256, since their standards know no others"
            )
        )
    return Answer({"home": str(home), "listen": listen, "authority": str(authority)})


@gateway.command("run", help=_("Serve until told to stop (SIGTERM, Ctrl-C)."))
@click.argument("home", type=_FOLDER)
@verb("gateway run")
def run(screen: Screen, *, home: Path) -> Answer:
    """Run a gateway."""
    from node.errors import NodeError
    from node.gateway.home import GatewayHome
    from node.gateway.run import run_gateway
    from node.operations.process import allow_open_files

    opened = GatewayHome.load(home)
    allow_open_files()

    def meaning(code: str) -> tuple[str, str]:
        remedy = remedy_of(code)
        return remedy.summary, remedy.fix

    def complain(error: Exception) -> None:
        screen.note(Fault.of(error).sentence if isinstance(error, NodeError) else repr(error))

    def started(port: int) -> None:
        screen.note(_("listens on port {port}").format(port=port))

    run_gateway(opened, meaning, started=started, complain=complain)
    return Answer({"home": str(home)})


@gateway.command("health", help=_("Ask the running gateway of a folder whether it serves."))
@click.argument("home", type=_FOLDER)
@verb("gateway health")
def health(screen: Screen, *, home: Path) -> Answer:
    """Ask a gateway."""
    from node.gateway.health import ask_health
    from node.gateway.home import GatewayHome

    opened = GatewayHome.load(home)
    facts = {"home": str(home), "listen": opened.settings.listen}
    failure = ask_health(opened)
    if failure is not None:
        return Answer(facts, Fault("GC-2315", failure, _("wait, or see what its log says")))
    screen.line(_("it serves"))
    return Answer(facts)


@gateway.command(
    "renew",
    help=_(
        "Make a new TLS key and certificate for the server, and new certificates of applications. "
        "A gateway that runs takes them up within seconds, without a restart; certificates before "
        "are good until they end. All of it, unless applications are named."
    ),
)
@click.argument("home", type=_FOLDER)
@click.argument("names", metavar="[APPLICATION]...", nargs=-1)
@verb("gateway renew")
def renew(screen: Screen, *, home: Path, names: tuple[str, ...]) -> Answer:
    """Renew certificates of a gateway."""
    import time

    from node.crypto.member_certificate import read_identity
    from node.gateway.applications import read_applications
    from node.gateway.home import GatewayHome
    from node.operations.topology import lock_folder
    from node.timestamp.receipt import iso_time

    opened, now_ms = GatewayHome.load(home), time.time_ns() // 1_000_000
    with lock_folder(home, wait=True):
        known = {each.name: each for each in read_applications(home)}
        for name in names:
            if name not in known:
                raise CommandError("GC-2203", _("no application {name}").format(name=name))
        server = None
        if not names:
            server = iso_time(opened.renew_server(now_ms))
            screen.line(_("server: renewed, valid until {end}").format(end=server))
        chosen = [known[name] for name in dict.fromkeys(names)] or [*known.values()]
        made = opened.renew_applications(chosen, now_ms)
    renewed = []
    for application, key, path in made:
        until = iso_time(read_identity(path.read_bytes()).not_after_ms)
        text = _("{name}: renewed, valid until {end}: {path}")
        screen.line(text.format(name=application.name, end=until, path=path))
        renewed.append(
            {"name": application.name, "key": key.key_id, "certificate": str(path), "until": until}
        )
    return Answer({"server_until": server, "applications": renewed})


@gateway.command(
    "openapi", help=_("Write the description of the API (OpenAPI 3.1), for tools and people.")
)
@click.option("--out", "path", type=OutputFile(), help=_("File to write it to."))
@verb("gateway openapi")
def openapi(screen: Screen, *, path: Path | None) -> Answer:
    """Write the OpenAPI page."""
    import json

    from node.gateway.openapi import build_page

    page = build_page()
    if path is None:
        screen.line(page.decode().rstrip())
        return Answer({"openapi": json.loads(page)})
    write_anew(path, page, "--out")
    screen.line(_("written to {path}").format(path=path))
    return Answer({"path": str(path)})


# --- Applications ---


@gateway.group("app", cls=VerbGroup, help=_("Applications: who is let in, and may do what."))
def app() -> None:
    """Hold the verbs."""


@app.command(
    "add",
    help=_(
        "Let an application in by its public key (PEM, Ed25519 or P-256), which it made itself. Of "
        "one that is known, another key or other rights. A running gateway knows at once."
    ),
)
@click.argument("home", type=_FOLDER)
@click.argument("name")
@click.option("--key", "key_path", type=_FILE, help=_("Public key of the application, PEM."))
@click.option(
    "--may",
    "rights",
    multiple=True,
    type=click.Choice(_RIGHTS),
    help=_("What it may do; may be repeated."),
)
@click.option(
    "--per-minute",
    "per_minute",
    type=click.IntRange(1, 60_000),
    help=_("Requests a minute, at most.") + "  [600]",
)
@verb("gateway app add")
def add_application(
    screen: Screen,
    *,
    home: Path,
    name: str,
    key_path: Path | None,
    rights: tuple[str, ...],
    per_minute: int | None,
) -> Answer:
    """Let an application in."""
    import time

    from node.client.chain import read_file
    from node.crypto.application_key import ApplicationKey
    from node.gateway.applications import (
        REQUESTS_PER_MINUTE_DEFAULT,
        Application,
        read_applications,
        write_applications,
    )
    from node.gateway.home import GatewayHome
    from node.operations.topology import lock_folder

    opened = GatewayHome.load(home)
    with lock_folder(home, wait=True):
        known = {each.name: each for each in read_applications(home)}
        before = known.get(name)
        if key_path is None and before is None:
            raise click.UsageError(_("an application has a key of its own: --key PUBLIC.pem"))
        keys: tuple[str, ...] = ()
        kept_rights: tuple[str, ...] = ("read",)
        kept_rate = REQUESTS_PER_MINUTE_DEFAULT
        if before is not None:
            keys, kept_rights = before.keys, before.rights
            kept_rate = before.requests_per_minute
        key = None
        if key_path is not None:
            pem = read_file(key_path)
            key = ApplicationKey.read(pem)
            if pem.decode() not in keys:
                keys = (*keys, pem.decode())
        known[name] = Application(
            name=name,
            keys=keys,
            rights=tuple(dict.fromkeys(rights)) or kept_rights,
            requests_per_minute=per_minute or kept_rate,
        )
        write_applications(home, tuple(known.values()))
    _tell_application(screen, known[name])
    facts = _describe_application(known[name])
    made = None
    if key is not None:
        made = opened.certify(name, key, time.time_ns() // 1_000_000)
        facts["key"] = key.key_id
    if made is not None:
        screen.line(_("its certificate for TLS: {path}").format(path=made))
        facts["certificate"] = str(made)
    return Answer({"application": facts})


@app.command("list", help=_("List the applications that are let in."))
@click.argument("home", type=_FOLDER)
@verb("gateway app list")
def list_applications(screen: Screen, *, home: Path) -> Answer:
    """List applications."""
    from node.gateway.applications import read_applications

    found = read_applications(home)
    rows = [_describe_application(each) for each in found]
    screen.table(
        (_("application"), _("keys"), _("rights"), _("requests a minute")),
        [
            [row["name"], ", ".join(row["keys"]), ", ".join(row["rights"]), row["per_minute"]]
            for row in rows
        ],
    )
    return Answer({"applications": rows})


@app.command(
    "remove",
    help=_("Let an application in no more, or only one of its keys. At once, and for good."),
)
@click.argument("home", type=_FOLDER)
@click.argument("name")
@click.option("--key", "key_id", help=_("Id of the one key to be removed."))
@verb("gateway app remove")
def remove_application(screen: Screen, *, home: Path, name: str, key_id: str | None) -> Answer:
    """Let an application in no more."""
    from node.crypto.application_key import ApplicationKey
    from node.gateway.applications import Application, read_applications, write_applications
    from node.operations.topology import lock_folder

    with lock_folder(home, wait=True):
        known = {each.name: each for each in read_applications(home)}
        before = known.pop(name, None)
        if before is None:
            raise CommandError("GC-2203", _("no application {name}").format(name=name))
        if key_id is not None:
            left = [
                each for each in before.keys if ApplicationKey.read(each.encode()).key_id != key_id
            ]
            if len(left) == len(before.keys):
                raise CommandError("GC-2203", _("no key {key} of it").format(key=key_id))
            if left:
                known[name] = Application(
                    name=name,
                    keys=tuple(left),
                    rights=before.rights,
                    requests_per_minute=before.requests_per_minute,
                )
        write_applications(home, tuple(known.values()))
    screen.line(_("{name} is let in no more").format(name=name if key_id is None else key_id))
    return Answer({"name": name, "key": key_id, "left": name in known})


def _describe_application(application: Application) -> dict[str, Any]:
    from node.crypto.application_key import ApplicationKey

    keys = [ApplicationKey.read(each.encode()) for each in application.keys]
    return {
        "name": application.name,
        "keys": [each.key_id for each in keys],
        "rights": list(application.rights),
        "per_minute": application.requests_per_minute,
    }


def _tell_application(screen: Screen, application: Application) -> None:
    said = _("{name} is let in by key {keys} and may: {rights}")
    facts = _describe_application(application)
    keys, rights = facts["keys"], facts["rights"]
    screen.line(
        said.format(
            name=application.name,
            keys=", ".join(keys),
            rights=", ".join(rights),
        )
    )


# --- Webhooks ---


@gateway.group("webhook", cls=VerbGroup, help=_("Addresses that are told what happens."))
def webhook() -> None:
    """Hold the verbs."""


@webhook.command(
    "add",
    help=_(
        "Tell an address of what happens from now on, each at least once, signed. A running "
        "gateway begins with it when it is started again."
    ),
)
@click.argument("home", type=_FOLDER)
@click.argument("name")
@click.argument("url")
@click.option(
    "--type",
    "types",
    multiple=True,
    type=click.Choice(_TYPES),
    help=_("Kind of event; all unless told; may be repeated."),
)
@click.option(
    "--allow-private",
    is_flag=True,
    help=_("It may be on this machine or in a private network, or in clear text."),
)
@verb("gateway webhook add")
def add_webhook(
    screen: Screen,
    *,
    home: Path,
    name: str,
    url: str,
    types: tuple[str, ...],
    allow_private: bool,
) -> Answer:
    """Register a webhook."""
    from node.gateway.home import GatewayHome
    from node.gateway.webhooks import Webhook, read_webhooks, write_webhooks
    from node.operations.topology import lock_folder

    opened = GatewayHome.load(home)
    made = Webhook(
        name=name,
        url=url,
        types=tuple(dict.fromkeys(types)) or _TYPES,
        allow_private=allow_private,
    )
    with lock_folder(home, wait=True):
        known = {each.name: each for each in read_webhooks(home)}
        if name in known:
            text = _("webhook {name} is there already").format(name=name)
            raise CommandError("GC-2303", text, _("remove it first, or choose another name"))
        write_webhooks(home, (*known.values(), made))
    key = opened.webhook_public_pem().decode()
    screen.line(_("receivers check deliveries by this key (Ed25519):"))
    screen.line(key.rstrip())
    return Answer({"webhook": _describe_webhook(made), "public_key": key})


@webhook.command("list", help=_("List the addresses that are told what happens."))
@click.argument("home", type=_FOLDER)
@verb("gateway webhook list")
def list_webhooks(screen: Screen, *, home: Path) -> Answer:
    """List webhooks."""
    from node.gateway.webhooks import read_webhooks

    rows = [_describe_webhook(each) for each in read_webhooks(home)]
    screen.table(
        (_("webhook"), _("address"), _("events")),
        [[row["name"], row["url"], ", ".join(row["types"])] for row in rows],
    )
    return Answer({"webhooks": rows})


@webhook.command("remove", help=_("Tell an address no more, once the gateway is started again."))
@click.argument("home", type=_FOLDER)
@click.argument("name")
@verb("gateway webhook remove")
def remove_webhook(screen: Screen, *, home: Path, name: str) -> Answer:
    """Remove a webhook."""
    from node.gateway.webhooks import read_webhooks, write_webhooks
    from node.operations.topology import lock_folder

    with lock_folder(home, wait=True):
        known = {each.name: each for each in read_webhooks(home)}
        if known.pop(name, None) is None:
            raise CommandError("GC-2203", _("no webhook {name}").format(name=name))
        write_webhooks(home, tuple(known.values()))
    screen.line(_("{name} is told no more").format(name=name))
    return Answer({"name": name})


def _describe_webhook(webhook: Webhook) -> dict[str, Any]:
    return {
        "name": webhook.name,
        "url": webhook.url,
        "types": list(webhook.types),
        "allow_private": webhook.allow_private,
    }
