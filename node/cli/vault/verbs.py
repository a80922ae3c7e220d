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
    return Answer({"file": str(path), **_facts_of(known)})


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

    known, target = get_file(screen, _desk(network), read_document_id(document), path)
    said = _("OPENED  {document}, version {version}: {path}")
    told = said.format(
        document=known.document_id.hex(), version=known.document.version, path=target
    )
    screen.line(told, style="green")
    return Answer({"file": str(target), **_facts_of(known)})


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

    desk = _desk(network)
    known, height = grant_document(desk, read_document_id(document), recipients)
    return _tell_change(screen, desk.find(known.document_id, height), _("GRANTED"))


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

    desk = _desk(network)
    known = desk.find_kept(read_document_id(document))
    gone = _named(known, names)
    height = desk.order(Revoke(known.document_id, gone)).height
    limits = _(
        "whoever was granted it may have opened it, or kept its key: nothing takes that back; "
        "govchain vault rotate seals it anew under another key"
    )
    return _tell_change(screen, desk.find(known.document_id, height), _("REVOKED"), limits)


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

    desk = _desk(network)
    known = desk.find_kept(read_document_id(document))
    gone = _named(known, names)
    height = rotate_document(screen, desk, known, path, gone)
    limits = _(
        "who opened an older version, or kept its key and its chunks, can open that version still"
    )
    return _tell_change(screen, desk.find(known.document_id, height), _("ROTATED"), limits)


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
    return _tell_change(screen, desk.find(known.document_id, height), _("SHREDDED"), limits)


@vault.command("show", help=_("Show, proved, what the chain knows of a document."))
@click.argument("document")
@network_options
@verb("vault show")
def show(screen: Screen, *, document: str, network: NetworkChoice) -> Answer:
    """Show a document."""
    from node.cli.vault.chain import read_document_id

    known = _desk(network).find(read_document_id(document))
    _tell(screen, known)
    return Answer(_facts_of(known))


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

    known, unproved = find_documents(screen, _desk(network))
    rows = [
        (
            each.document_id.hex(),
            _standing(each),
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
    return Answer({"documents": [_facts_of(each) for each in known]}, fault)


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


def _tell_change(screen: Screen, known: Known, word: str, limits: str = "") -> Answer:
    """Say what an order changed, and what it could not."""
    said = _("{word}  {document} (block {height})")
    told = said.format(word=word, document=known.document_id.hex(), height=known.document.height)
    screen.line(told, style="green")
    _tell(screen, known)
    if limits:
        screen.line("  " + _("note: {limits}").format(limits=limits))
    return Answer({**_facts_of(known), **({"limits": limits} if limits else {})})


def _standing(known: Known) -> str:
    return _("kept") if known.document.is_kept else _("shredded")


def _tell(screen: Screen, known: Known) -> None:
    from node.timestamp.receipt import iso_time

    document = known.document
    rows: list[tuple[str, object]] = [
        (_("document"), known.document_id.hex()),
        (_("standing"), _standing(known)),
        (_("owner"), f"{document.owner} ({document.organisation})"),
        (_("version"), document.version),
    ]
    if document.content is not None:
        rows += [
            (_("bytes"), document.content.size_bytes),
            (_("root of its chunks"), document.content.root.hex()),
        ]
    ordered = _("{identity}, {time} (block {height}), change {number}")
    rows.append(
        (
            _("last order"),
            ordered.format(
                identity=document.ordered_by,
                time=iso_time(document.time_ms),
                height=document.height,
                number=document.changes,
            ),
        )
    )
    if document.reason is not None:
        rows.append((_("decision"), document.reason.hex()))
    for each in document.grants:
        who = _("{identity} ({organisation}), key {number}, since block {height}")
        rows.append(
            (
                _("granted to"),
                who.format(
                    identity=each.wrap.recipient,
                    organisation=each.organisation,
                    number=each.wrap.key_number,
                    height=each.height,
                ),
            )
        )
    rows.append((_("so it was at"), iso_time(known.proved.time_ms)))
    screen.table((_("field"), _("value")), rows)


def _facts_of(known: Known) -> dict[str, Any]:
    from node.timestamp.receipt import iso_time

    document, content = known.document, known.document.content
    return {
        "document": known.document_id.hex(),
        "standing": document.standing.name.lower(),
        "owner": document.owner,
        "organisation": document.organisation,
        "content_version": document.version,
        "content": None
        if content is None
        else {
            "envelope": content.envelope,
            "size_bytes": content.size_bytes,
            "root": content.root.hex(),
        },
        "changes": document.changes,
        "ordered_by": document.ordered_by,
        "ordered_at": iso_time(document.time_ms),
        "ordered_in_block": document.height,
        "decision": None if document.reason is None else document.reason.hex(),
        "recipients": [
            {
                "identity": each.wrap.recipient,
                "organisation": each.organisation,
                "key_number": each.wrap.key_number,
                "height": each.height,
            }
            for each in document.grants
        ],
        "proved_height": known.proved.height,
        "proved_time": iso_time(known.proved.time_ms),
    }
