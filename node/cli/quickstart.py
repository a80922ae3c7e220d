"""`govchain quickstart`: from nothing to verified receipts in one command. `./run` runs it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

import node
from node.cli.receipt import RECEIPTS_FOLDER
from node.cli.screen import Answer, Fault, Screen
from node.cli.verb import DEFAULT_HOME, PROGRAM, Verb, home_option, verb

if TYPE_CHECKING:
    from node.cli.inputs import Document
    from node.timestamp.trust import TrustAnchor

_DOCUMENTS: Final = ("*.md", "LICENSE", "pyproject.toml", "*.cddl", "*.proto")


@click.command(
    "quickstart",
    cls=Verb,
    help=_(
        "Start a network of four validators here, notarize the given files and folders (or this "
        "program's own documents), and verify every receipt offline."
    ),
)
@click.argument("paths", nargs=-1, metavar="[FILE|DIR...]")
@click.option(
    "--once", is_flag=True, help=_("Stop the network afterwards, if it was started here.")
)
@home_option
@verb("quickstart")
def quickstart(screen: Screen, *, paths: tuple[str, ...], once: bool, home: Path) -> Answer:
    """Start, notarize, verify."""
    from node.cli.testnet import bring_up
    from node.operations.supervisor import Supervisor
    from node.operations.topology import is_network

    silent = Supervisor(home, lambda _step, _node: None) if is_network(home) else None
    ran_already = silent is not None and any(each.process for each in silent.inspect())
    started = bring_up(screen, home, None, None, wait=True)
    if started.fault is not None:
        return started
    try:
        answer = _notarize_and_verify(screen, home, paths or own_documents())
    finally:
        if once and not ran_already:
            Supervisor(home, lambda _step, _node: None).down()
    if not once:
        screen.line()
        screen.line(_("The network stays up. Try next:"))
        for command in suggest_commands(home, answer):
            screen.line(f"  {command}")
    return answer


def own_documents() -> list[str]:
    """Return the documents of this program's checkout, else those of the installed package."""
    package = Path(node.__file__).parent
    root = package.parent
    found = [path for path in _tracked(root) if path.is_file()]
    if not found:
        found = [path for path in (root / "README.md", root / "LICENSE") if path.is_file()]
        found += sorted(package.rglob("README.md"))
    here = Path.cwd()
    return [str(path.relative_to(here) if path.is_relative_to(here) else path) for path in found]


def _tracked(root: Path) -> list[Path]:
    """Return the documents that git knows in a checkout; none where it is no checkout."""
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return []
    command = (git, "-C", str(root), "ls-files", "-z", "--", *_DOCUMENTS)
    listed = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - fixed
    return [root / os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]


def _notarize_and_verify(screen: Screen, home: Path, paths: Sequence[str]) -> Answer:
    from node.cli.inputs import find_documents
    from node.cli.network import Network
    from node.cli.notarize import TYPE_DEFAULT
    from node.cli.recording import record_documents, summarize, tell_trouble
    from node.cli.trust import export_trust
    from node.cli.trust_file import load_anchor
    from node.client.recording import Outlook

    network = Network.open(home, None, None)
    out, trust = Path(RECEIPTS_FOLDER), network.trust_path
    documents = find_documents(paths, apart_from=(out, home))
    items = record_documents(screen, network, documents, Outlook(TYPE_DEFAULT), out)
    export_trust(network, trust)
    anchor = load_anchor(trust)
    for item in items:
        tell_trouble(screen, item)
    verdicts = {
        item.document.label: _verify_one(screen, anchor, item.document, item.receipt)
        for item in items
        if item.receipt is not None
    }
    answer = summarize(items)
    rows = [{**row, "verdict": verdicts.get(row["path"])} for row in answer.facts["items"]]
    verified = sum(verdict == "verified" for verdict in verdicts.values())
    facts = {**answer.facts, "home": str(home), "trust": str(trust), "items": rows}
    screen.line(
        _("{verified} of {count} receipts verified offline against {trust}").format(
            verified=verified, count=len(verdicts), trust=trust
        )
    )
    if verified < len(verdicts):
        message, fix = _("not every receipt verified"), _("see the lines above")
        return Answer({**facts, "verified": verified}, Fault("GC-2309", message, fix))
    return Answer({**facts, "verified": verified}, answer.fault)


def _verify_one(screen: Screen, anchor: TrustAnchor, document: Document, receipt: Path) -> str:
    """Verify a receipt as an auditor would: from its file, against the document read again."""
    from node.cli.inputs import STANDARD_INPUT
    from node.cli.subjects import read_document, read_file
    from node.cli.wording import headline, outcome_style, tell_unchecked
    from node.timestamp.verify import NamedDigest, verify_receipt

    algorithm = document.algorithm or anchor.suite.document_digest
    if document.label == STANDARD_INPUT and document.digest is not None:
        digest = NamedDigest(algorithm, document.digest)  # it cannot be read twice
    else:
        digest = read_document(str(document.path), algorithm)
    verdict = verify_receipt(read_file(receipt), anchor, digest)
    screen.line(headline(document.label, verdict), style=outcome_style(verdict.outcome))
    tell_unchecked(screen, verdict.steps)
    return verdict.outcome.value


def suggest_commands(home: Path, answer: Answer) -> list[str]:
    """Return what to try next with a network and what was recorded, as lines for a shell."""
    where = () if str(home) == DEFAULT_HOME else ("--home", str(home))
    kept = [row for row in answer.facts.get("items", ()) if row.get("receipt")]
    commands = [("testnet", "status", *where), ("notarize", "FILE", *where)]
    for row in kept[:1]:
        proof = ("--receipt", row["receipt"], "--trust", answer.facts["trust"], "--offline")
        commands.append(("verify", row["path"], *proof))
    commands.append(("testnet", "down", *where))
    return [f"{own_program()} {shlex.join(words)}" for words in commands]


def own_program() -> str:
    """Return how this program can be called from here, as words for a shell."""
    called = Path(sys.argv[0])
    if shutil.which(PROGRAM):
        return PROGRAM
    if called.name != PROGRAM:
        return "python -m node"
    here = Path.cwd()
    return shlex.quote(str(called.relative_to(here) if called.is_relative_to(here) else called))
