"""`govchain anchor`: checkpoints of the chain stamped by authorities outside, and verified."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from node.cli.anchor_run import describe_kept, run, run_at_once, utc_ms
from node.cli.choice import NetworkChoice, network_options
from node.cli.outputs import OutputFile, expect_nothing, name_after, write_anew
from node.cli.screen import Answer, Fault, Screen
from node.cli.token_options import FILE, read_certificates
from node.cli.verb import CommandError, VerbGroup, verb

if TYPE_CHECKING:
    from node.operations.anchor_home import AnchorHome
    from node.timestamp.outside.anchor_verify import AnchoredRecord
    from node.timestamp.trust import TrustAnchor

_FOLDER: Final = click.Path(path_type=Path, file_okay=False)
_POLL_S: Final = 60

_folder_argument = click.argument("folder", metavar="ANCHORS", type=_FOLDER)
_policy_option = click.option(
    "--policy", metavar="OID", help=_("Policy that its tokens are under.")
)
_ed25519_option = click.option(
    "--ed25519", "allows_ed25519", is_flag=True, help=_("Take signatures by Ed25519, too.")
)
_others_option = click.option(
    "--certificates",
    "others_paths",
    type=FILE,
    multiple=True,
    help=_("Certificates (PEM) between its own and those believed, if its tokens lack them."),
)


@click.group(
    "anchor", cls=VerbGroup, help=_("Have authorities outside the chain stamp its checkpoints.")
)
def anchor() -> None:
    """Hold the verbs."""


anchor.add_command(run)


@anchor.command(
    "add",
    help=_(
        "Have the anchors of the folder ANCHORS stamped by one more authority (RFC 3161), which is "
        "asked at URL. Its word counts by the certificates of --ca alone, which are copied. It is "
        "said if it is not outside, but of the chain that --home or --profile names."
    ),
)
@_folder_argument
@click.argument("name")
@click.argument("url")
@click.option(
    "--ca", "roots_path", type=FILE, required=True, help=_("Certificates (PEM) to believe.")
)
@_others_option
@_policy_option
@_ed25519_option
@network_options
@verb("anchor add")
def add(
    screen: Screen,
    *,
    folder: Path,
    name: str,
    url: str,
    roots_path: Path,
    others_paths: Sequence[Path],
    network: NetworkChoice,
    **said: Any,  # noqa: ANN401 - as click gives them
) -> Answer:
    """Believe another authority."""
    from node.cli.anchor_verify import warn_of_insider
    from node.operations.anchor_home import AnchorHome
    from node.timestamp.outside.kinship import find_insider

    roots, others = read_certificates([roots_path]), read_certificates(others_paths)
    trust = _trust_of(network)
    insider = None if trust is None else find_insider([*roots, *others], trust)
    AnchorHome(folder).add(name, url, roots, others=others, **said)
    screen.line(_("{name} will be asked at {url}").format(name=name, url=url))
    if insider is not None:
        warn_of_insider(screen, name, insider)
    facts = {"anchors_folder": str(folder), "name": name, "url": url, "certificates": len(roots)}
    outside = None if trust is None else insider is None
    return Answer({**facts, "outside": outside, "insider": insider})


@anchor.command(
    "list",
    help=_(
        "List the anchors kept in ANCHORS. Nothing is verified. It ends with 6 where an authority "
        "has stamped nothing yet, or nothing for two days."
    ),
)
@_folder_argument
@verb("anchor list")
def list_anchors(screen: Screen, *, folder: Path) -> Answer:
    """List anchors."""
    from node.operations.anchor_home import AnchorHome
    from node.operations.anchoring import STALE_MS

    kept, oldest_ms = AnchorHome(folder), utc_ms() - STALE_MS
    last_ms = kept.last_stamped_ms()
    stale = sorted(name for name, ms in last_ms.items() if ms < oldest_ms)
    facts = [describe_kept(each) for each in kept.anchors()]
    titles = (_("day"), _("block"), _("authority"), _("stamped"), _("recorded"))
    rows = [
        (each["date"], each["height"], each["authority"], each["stamped"] or "-",
         _("yes") if each["recorded"] else _("not yet"))
        for each in facts
    ]  # fmt: skip
    screen.table(titles, rows)
    fault = None
    if stale:
        said = (
            (_("nothing stamped yet by {names}"), [each for each in stale if not last_ms[each]]),
            (
                _("nothing stamped for two days by {names}"),
                [each for each in stale if last_ms[each]],
            ),
        )
        message = "; ".join(text.format(names=", ".join(names)) for text, names in said if names)
        told = _("see what it says: {command}").format(command=run_at_once(folder))
        fault = Fault("GC-2372", message, told)
    return Answer({"anchors_folder": str(folder), "anchors": facts, "stale": stale}, fault)


@anchor.command(
    "export",
    help=_(
        "Write the anchor that covers the record of RECEIPT, joined to its block: the first one "
        "of ANCHORS that verifies. Verify it by anybody, offline: govchain anchor verify."
    ),
)
@_folder_argument
@click.argument("receipt_path", metavar="RECEIPT", type=FILE)
@click.option("--by", "name", help=_("Name of the authority; any, unless named."))
@click.option("--out", type=OutputFile(), help=_("File to write.") + "  [RECEIPT.anchor]")
@network_options
@verb("anchor export")
def export(
    screen: Screen,
    *,
    folder: Path,
    receipt_path: Path,
    name: str | None,
    out: Path | None,
    network: NetworkChoice,
) -> Answer:
    """Join an anchor to a receipt."""
    from node.cli.anchor_verify import tell_anchor
    from node.operations.anchor_home import AnchorHome
    from node.timestamp.outside.anchor import ANCHOR_SUFFIX

    named = receipt_path.with_name(name_after(receipt_path.name, ANCHOR_SUFFIX))
    target = named if out is None else out
    expect_nothing(target)
    record = _read_record(receipt_path)
    data, verdict = _join(AnchorHome(folder), record, name, network)
    write_anew(target, data)
    facts = tell_anchor(screen, str(target), verdict)
    screen.line(_("written to {path}").format(path=target))
    return Answer({"anchor": str(target), **facts})


@anchor.command(
    "verify",
    help=_(
        "Verify an anchor offline: the chain's validators, and the record of --receipt, said so "
        "before the authority's time, even if all their keys are broken later."
    ),
)
@click.argument("file", type=FILE)
@click.option("--trust", "trust_path", type=FILE, required=True, help=_("Trust file of the chain."))
@click.option(
    "--authority",
    "roots_path",
    type=FILE,
    required=True,
    help=_("Certificates (PEM) of authorities that you believe."),
)
@click.option("--receipt", "receipt_path", type=FILE, help=_("Receipt of the record asked for."))
@click.option(
    "--document",
    metavar="FILE|DIGEST|-",
    help=_("The document it is of; else what the receipt names."),
)
@_others_option
@_policy_option
@_ed25519_option
@verb("anchor verify")
def verify(  # noqa: PLR0913 - one for each option
    screen: Screen,
    *,
    file: Path,
    trust_path: Path,
    roots_path: Path,
    receipt_path: Path | None,
    document: str | None,
    others_paths: Sequence[Path],
    policy: str | None,
    allows_ed25519: bool,
) -> Answer:
    """Verify an anchor."""
    from node.cli.anchor_verify import fault_of, tell_anchor
    from node.cli.kinds import ANCHOR, read_claim
    from node.cli.trust_file import load_anchor
    from node.timestamp.outside.anchor_verify import verify_anchor
    from node.timestamp.outside.stamp import OutsideAuthority

    if document is not None and receipt_path is None:
        raise click.UsageError(_("--document goes with --receipt"))
    trust = load_anchor(trust_path)
    authority = OutsideAuthority(
        roots=read_certificates([roots_path]),
        certificates=read_certificates(others_paths),
        policies=() if policy is None else (policy,),
        allows_ed25519=allows_ed25519,
    )
    record = None if receipt_path is None else _read_record(receipt_path, document)
    data = read_claim(file, ANCHOR)
    verdict = verify_anchor(data, trust, authority, record, now_ms=utc_ms())
    return Answer(
        {"anchor": str(file), **tell_anchor(screen, str(file), verdict)},
        fault_of(verdict, roots_path),
    )


def _trust_of(network: NetworkChoice) -> TrustAnchor | None:
    """Return what is believed of the chain; None where none was named and none is at hand."""
    from node.errors import NodeError

    try:
        return network.open().pinned
    except NodeError:
        if network.is_explicit:
            raise
        return None


def _read_record(path: Path, document: str | None = None) -> AnchoredRecord:
    """Return a receipt with the document's digest, which is the receipt's own unless told."""
    from node.cli.kinds import RECEIPTS, read_kind
    from node.cli.subjects import read_document
    from node.crypto.suite import document_digest_by_id
    from node.errors import CryptoError, DecodeError, ProofError
    from node.timestamp.opening import open_receipt
    from node.timestamp.outside.anchor_verify import AnchoredRecord
    from node.timestamp.steps import NotRootedError
    from node.timestamp.verify import NamedDigest

    data = read_kind(path, *RECEIPTS)
    try:
        held = open_receipt(data).receipt.leaf.record
        algorithm = document_digest_by_id(held.digest_algorithm)
    except (CryptoError, DecodeError, ProofError, NotRootedError) as error:
        fix = _("name a file made by govchain notarize or govchain receipt export")
        raise CommandError("GC-1001", f"{path}: {error}", fix) from error
    if document is None:
        return AnchoredRecord(data, NamedDigest(algorithm, held.digest))
    return AnchoredRecord(data, read_document(document, algorithm))


def _join(
    home: AnchorHome, record: AnchoredRecord, name: str | None, network: NetworkChoice
) -> tuple[bytes, Any]:
    """Return the first anchor that verifies for a record, joined to it, and the verdict on it."""
    from node.cli.anchor_chain import ReachedChain
    from node.errors import DecodeError, StorageError
    from node.operations.anchoring import covering
    from node.timestamp.opening import open_receipt
    from node.timestamp.outside.anchor_verify import verify_anchor

    known = {each.name: each for each in home.authorities()}
    chain = ReachedChain(network.open())
    height = open_receipt(record.receipt).receipt.block.header.height
    failures = []
    for kept in covering(home.anchors(name), height):
        if kept.authority not in known:
            continue
        try:
            held = kept.read()
        except (DecodeError, StorageError) as error:
            failures.append(str(error))
            continue
        path = None if kept.height == height else chain.header_path(height, kept.height)
        data, outside = held.joined(path).encode(), known[kept.authority].outside
        verify = partial(verify_anchor, data, authority=outside, record=record, now_ms=utc_ms())
        verdict = chain.network.judge_by(chain.trust, verify)
        if verdict.failure is None:
            return data, verdict
        failures.append(f"{kept.path.name}: {verdict.failure.detail}")
    if failures:
        raise CommandError("GC-2305", failures[0])
    message = _("no anchor covers block {height} yet").format(height=height)
    fix = _("make one: {command}").format(command=run_at_once(home.folder))
    raise CommandError("GC-2373", message, fix)
