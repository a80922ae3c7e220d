"""`govchain vault`: content kept for whom it is granted, and destroyed for good when ordered."""

from __future__ import annotations

from collections.abc import Callable
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from node.cli.choice import NetworkChoice, network_options
from node.cli.outputs import OutputFile
from node.cli.screen import Answer, Fault, Screen
from node.cli.verb import CommandError, VerbGroup, verb

if TYPE_CHECKING:
    from node.cli.vault.chain import Known, VaultDesk

_FILE: Final = click.Path(path_type=Path, exists=True, dir_okay=False)


def _to_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--to",
        "recipients",
        multiple=True,
        required=True,
        metavar="NAME",
        help=_(
            "Organisation (all its identities that have an encryption key), identity, or "
            "ORGANISATION:IDENTITY. May be given several times."
        ),
    )(function)


def terms_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say for what and until when somebody may read."""
    options = (
        click.option(
            "--purpose",
            required=True,
            help=_("For what: it goes on chain, for all to read; name no person."),
        ),
        click.option(
            "--until",
            required=True,
            metavar="TIME",
            help=_("Nothing is read later: 2027-01-31, or 2027-01-31T12:00:00+08:00."),
        ),
        click.option(
            "--basis",
            type=_FILE,
            help=_("What allows it, such as a consent: its digest goes on chain."),
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def authorised_limits() -> str:
    """Return what terms cannot do, in the user's language."""
    return _(
        "whoever read it keeps what it read: terms bind the nodes of this organisation, which "
        "refuse it later and destroy the wrapped key"
    )


@click.group(
    "vault", cls=VerbGroup, help=_("Keep content for whom it is granted, sealed, off the chain.")
)
def vault() -> None:
    """Hold the verbs."""


@vault.command(
    "key",
    help=_(
        "Make the encryption key of this identity and register it, so that others can grant it "
        "documents. With --new, replace the one in force; older ones are kept, for what was "
        "granted under them."
    ),
)
@click.option("--new", "is_new", is_flag=True, help=_("Replace the key in force."))
@network_options
@verb("vault key")
def make_key(screen: Screen, *, is_new: bool, network: NetworkChoice) -> Answer:
    """Register a key."""
    desk = _desk(network)
    known = desk.own_key()
    if known is None or is_new:
        desk.register_key(1 if known is None else known.number + 1)
        known = desk.own_key()
    if known is None:
        raise CommandError("GC-2207", _("the key is registered, and not to be seen yet"))
    said = _("{identity}: encryption key {number}, since block {height}")
    told = said.format(identity=known.identity_id, number=known.number, height=known.height)
    screen.line(told)
    return Answer(
        {
            "identity": known.identity_id,
            "number": known.number,
            "public_key": known.public_key.hex(),
            "height": known.height,
        }
    )


@vault.command("keys", help=_("Show, proved, who of an organisation can be granted documents."))
@click.argument("organisation", required=False)
@network_options
@verb("vault keys")
def show_keys(screen: Screen, *, organisation: str | None, network: NetworkChoice) -> Answer:
    """Show an organisation's keys."""
    desk = _desk(network)
    keys = desk.keys_of(organisation or desk.organisation).keys
    rows = [(each.identity_id, each.number, each.height) for each in keys]
    screen.table((_("identity"), _("key"), _("since block")), rows)
    return Answer(
        {
            "organisation": organisation or desk.organisation,
            "keys": [
                {
                    "identity": each.identity_id,
                    "number": each.number,
                    "public_key": each.public_key.hex(),
                    "height": each.height,
                }
                for each in keys
            ],
        }
    )


@vault.command(
    "put",
    help=_(
        "Seal a file here, have the node of this organisation keep it, and grant it to others: "
        "their nodes fetch copies. Only the commitment and the grants go on chain. A put that was "
        "stopped goes on when it is run again."
    ),
)
@click.argument("path", type=_FILE, metavar="FILE")
@_to_option
@network_options
@verb("vault put")
def put(
    screen: Screen, *, path: Path, recipients: tuple[str, ...], network: NetworkChoice
) -> Answer:
    """Put a file."""
    from node.cli.vault.moving import put_file
    from node.cli.vault.telling import describe_document

    known = put_file(screen, _desk(network), path, recipients)
    said = _("KEPT  {document}  {path} (block {height}), for {recipients}")
    granted = [grant.wrap.recipient for grant in known.document.grants]
    screen.line(
        said.format(
            document=known.document_id.hex(),
            path=path,
            height=known.document.height,
            recipients=", ".join(granted),
        ),
        style="green",
    )
    return Answer({"file": str(path), **describe_document(known)})


@vault.command(
    "get",
    help=_(
        "Fetch a document that is granted to this identity, check every chunk, and open it. A get "
        "that was stopped goes on when it is run again with the same --out."
    ),
)
@click.argument("document")
@click.option("--out", "path", type=OutputFile(), help=_("File to write.") + "  [its own name]")
@network_options
@verb("vault get")
def get(screen: Screen, *, document: str, path: Path | None, network: NetworkChoice) -> Answer:
    """Get a document."""
    from node.cli.vault.chain import read_document_id
    from node.cli.vault.moving import get_file
    from node.cli.vault.telling import describe_document

    known, target = get_file(screen, _desk(network), read_document_id(document), path)
    said = _("OPENED  {document}, version {version}: {path}")
    told = said.format(
        document=known.document_id.hex(), version=known.document.version, path=target
    )
    screen.line(told, style="green")
    return Answer({"file": str(target), **describe_document(known)})


@vault.command("grant", help=_("Let more recipients open a document."))
@click.argument("document")
@_to_option
@network_options
@verb("vault grant")
def grant(
    screen: Screen, *, document: str, recipients: tuple[str, ...], network: NetworkChoice
) -> Answer:
    """Grant a document."""
    from node.cli.vault.chain import read_document_id
    from node.cli.vault.moving import grant_document
    from node.cli.vault.telling import tell_change

    desk = _desk(network)
    known, height = grant_document(desk, read_document_id(document), recipients)
    return tell_change(screen, desk.find(known.document_id, height), _("GRANTED"))


@vault.command(
    "revoke",
    help=_(
        "Give a document to these recipients no more: nodes refuse them, and destroy their wrapped "
        "keys. What they have opened, or kept the key of, they have: rotate it besides."
    ),
)
@click.argument("document")
@click.option(
    "--from",
    "names",
    multiple=True,
    required=True,
    metavar="NAME",
    help=_("Organisation or identity. May be given several times."),
)
@network_options
@verb("vault revoke")
def revoke(
    screen: Screen, *, document: str, names: tuple[str, ...], network: NetworkChoice
) -> Answer:
    """Revoke grants."""
    from node.chain.vault import Revoke
    from node.cli.vault.chain import read_document_id
    from node.cli.vault.telling import tell_change

    desk = _desk(network)
    known = desk.find_kept(read_document_id(document))
    gone = _named(known, names)
    height = desk.order(Revoke(known.document_id, gone)).height
    limits = _(
        "whoever was granted it may have opened it, or kept its key: nothing takes that back; "
        "govchain vault rotate seals it anew under another key"
    )
    return tell_change(screen, desk.find(known.document_id, height), _("REVOKED"), limits)


@vault.command(
    "rotate",
    help=_(
        "Seal a document anew under another key, or replace its content by a file, for its "
        "recipients, less those named. Nodes destroy the old version."
    ),
)
@click.argument("document")
@click.option("--file", "path", type=_FILE, help=_("New content, instead of the old sealed anew."))
@click.option(
    "--without",
    "names",
    multiple=True,
    metavar="NAME",
    help=_("Organisation or identity that loses it. May be given several times."),
)
@network_options
@verb("vault rotate")
def rotate(
    screen: Screen,
    *,
    document: str,
    path: Path | None,
    names: tuple[str, ...],
    network: NetworkChoice,
) -> Answer:
    """Rotate a document."""
    from node.cli.vault.chain import read_document_id
    from node.cli.vault.moving import rotate_document
    from node.cli.vault.telling import tell_change

    desk = _desk(network)
    known = desk.find_kept(read_document_id(document))
    gone = _named(known, names)
    height = rotate_document(screen, desk, known, path, gone)
    limits = _(
        "who opened an older version, or kept its key and its chunks, can open that version still"
    )
    return tell_change(screen, desk.find(known.document_id, height), _("ROTATED"), limits)


@vault.command(
    "shred",
    help=_(
        "Have every node destroy a document for good: chunks, wrapped keys, its name. What stays "
        "is a tombstone on chain that proves when, and by whose order."
    ),
)
@click.argument("document")
@click.option(
    "--decision", type=_FILE, help=_("The decision that orders it: its digest goes on chain.")
)
@click.option("--yes", "is_sure", is_flag=True, help=_("Do not ask."))
@network_options
@verb("vault shred")
def shred(
    screen: Screen,
    *,
    document: str,
    decision: Path | None,
    is_sure: bool,
    network: NetworkChoice,
) -> Answer:
    """Shred a document."""
    from node.chain.vault import Shred
    from node.cli.inputs import hash_one
    from node.cli.vault.chain import read_document_id
    from node.cli.vault.telling import tell_change
    from node.client.recording import DIGEST

    desk = _desk(network)
    known = desk.find_kept(read_document_id(document))
    if not is_sure:
        question = _("destroy {document} for good?").format(document=document)
        screen.confirm(question, _("it cannot be undone: say --yes"))
    reason = None if decision is None else hash_one(str(decision), DIGEST)
    height = desk.order(Shred(known.document_id, reason)).height
    limits = _(
        "nodes destroy it as they learn of it, those that are away once they are back; what "
        "somebody opened and kept elsewhere, no order reaches"
    )
    return tell_change(screen, desk.find(known.document_id, height), _("SHREDDED"), limits)


@vault.command(
    "authorise",
    help=_(
        "Let one recipient read a document for a purpose and until a time: at the nodes of this "
        "organisation alone, each time with a trace on chain. Revoke it as any grant."
    ),
)
@click.argument("document")
@click.option("--to", "recipient", required=True, metavar="NAME", help=_("Who may read it."))
@terms_options
@network_options
@verb("vault authorise")
def authorise(
    screen: Screen,
    *,
    document: str,
    recipient: str,
    purpose: str,
    until: str,
    basis: Path | None,
    network: NetworkChoice,
) -> Answer:
    """Authorise a recipient."""
    from node.cli.vault.authorising import authorise_document, read_terms
    from node.cli.vault.chain import read_document_id
    from node.cli.vault.telling import tell_change

    terms = read_terms(purpose, until, basis, ())
    desk = _desk(network)
    known = authorise_document(desk, read_document_id(document), recipient, terms)
    return tell_change(screen, known, _("AUTHORISED"), authorised_limits())


@vault.command(
    "uses",
    help=_("List, each proved by its block, when a document was read by who is authorised to."),
)
@click.argument("document")
@network_options
@verb("vault uses")
def show_uses(screen: Screen, *, document: str, network: NetworkChoice) -> Answer:
    """List uses."""
    from node.cli.vault.authorising import find_uses
    from node.cli.vault.chain import read_document_id

    found = find_uses(_desk(network), read_document_id(document))
    columns = (_("identity"), _("time"), _("block"), _("transaction"))
    rows = [(each.identity, each.time, each.height, each.tx_id.hex()) for each in found]
    screen.table(columns, rows)
    return Answer({"uses": [each.to_json() for each in found]})


@vault.command("show", help=_("Show, proved, what the chain knows of a document."))
@click.argument("document")
@network_options
@verb("vault show")
def show(screen: Screen, *, document: str, network: NetworkChoice) -> Answer:
    """Show a document."""
    from node.cli.vault.chain import read_document_id
    from node.cli.vault.telling import describe_document, tell_document

    known = _desk(network).find(read_document_id(document))
    tell_document(screen, known)
    return Answer(describe_document(known))


@vault.command(
    "list",
    help=_(
        "List, each proved, the documents that this identity may open or its organisation owns. "
        "That none is left out, a node alone says."
    ),
)
@network_options
@verb("vault list")
def list_documents(screen: Screen, *, network: NetworkChoice) -> Answer:
    """List documents."""
    from node.cli.vault.moving import find_documents
    from node.cli.vault.telling import describe_document, standing_word

    known, unproved = find_documents(screen, _desk(network))
    rows = [
        (
            each.document_id.hex(),
            standing_word(each),
            each.document.version,
            "" if each.document.content is None else each.document.content.size_bytes,
            each.document.owner,
            len(each.document.grants),
        )
        for each in known
    ]
    columns = (_("document"), _("standing"), _("version"), _("bytes"), _("owner"), _("recipients"))
    screen.table(columns, rows)
    fault = None
    if unproved:
        said = _("{count} documents could not be proved").format(count=len(unproved))
        fault = Fault("GC-2305", said, _("ask again; see which nodes answer: govchain node health"))
    return Answer({"documents": [describe_document(each) for each in known]}, fault)


@vault.command(
    "check",
    help=_(
        "Have nodes read all that they keep of a document, or of all that `vault list` lists, and "
        "name each chunk that is damaged or missing. They fetch it again from others."
    ),
)
@click.argument("document", required=False)
@click.option("--node", "node_id", help=_("Ask this node alone, not those of the organisation."))
@network_options
@verb("vault check")
def check(
    screen: Screen, *, document: str | None, node_id: str | None, network: NetworkChoice
) -> Answer:
    """Check what nodes keep."""
    from node.cli.vault.chain import read_document_id
    from node.cli.vault.checking import check_documents
    from node.cli.vault.moving import find_documents

    desk = _desk(network)
    if document is not None:
        chosen = [desk.find_kept(read_document_id(document))]
    else:
        found, _unproved = find_documents(screen, desk)
        chosen = [each for each in found if each.document.is_kept]
    nodes = [node_id] if node_id is not None else list(desk.own_nodes)
    reports = check_documents(screen, desk, chosen, nodes)
    faults = sum(len(each["faults"]) for each in reports)
    fault = None
    if faults:
        said = _("{count} objects are damaged or missing").format(count=faults)
        fix = _("the nodes fetch them again; check once more, and check the disks")
        fault = Fault("GC-2603", said, fix)
    return Answer({"checks": reports}, fault)


def _desk(network: NetworkChoice) -> VaultDesk:
    from node.cli.vault.chain import VaultDesk

    return VaultDesk(network.open())


def _named(known: Known, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the recipients that names mean; raises `CommandError` for a name of none."""
    found: dict[str, None] = {}
    for name in names:
        meant = [
            grant.wrap.recipient
            for grant in known.document.grants
            if name
            in (
                grant.wrap.recipient,
                grant.organisation,
                f"{grant.organisation}:{grant.wrap.recipient}",
            )
        ]
        if not meant:
            said = _("{name} has no grant of {document}")
            told = said.format(name=name, document=known.document_id.hex())
            raise CommandError("GC-2605", told, _("see who has: govchain vault show"))
        found |= dict.fromkeys(meant)
    return tuple(found)
