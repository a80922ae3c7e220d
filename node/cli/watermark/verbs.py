"""`govchain watermark`: copies marked for whom they are, and found copies led back to that."""

from __future__ import annotations

import time
from gettext import gettext as _
from pathlib import Path
from typing import Final

import click

from node.cli.choice import NetworkChoice, network_options
from node.cli.notarize import recording_options
from node.cli.outputs import OutputFile
from node.cli.screen import Answer, Fault, Screen
from node.cli.verb import CommandError, VerbGroup, verb

_FILE: Final = click.Path(path_type=Path, exists=True, dir_okay=False)
_PLACE: Final = click.Path(path_type=Path, exists=True)


@click.group(
    "watermark", cls=VerbGroup, help=_("Mark copies for whom they are, and find out whose one is.")
)
def watermark() -> None:
    """Hold the verbs."""


@watermark.command(
    "mark",
    help=_(
        "Write a copy of a PDF or an image (PNG, JPEG) for one recipient: with visible text and a "
        "code of its own, in images hidden besides. What states whose it is is kept beside the "
        "receipts, and notarized before the copy is there."
    ),
)
@click.argument("path", type=_FILE, metavar="FILE")
@click.option("--to", "recipient", required=True, metavar="NAME", help=_("For whom: any text."))
@click.option("--copy", "target", type=OutputFile(), required=True, help=_("The copy to write."))
@recording_options
@network_options
@verb("watermark mark")
def mark(
    screen: Screen,
    *,
    path: Path,
    recipient: str,
    target: Path,
    out: Path,
    type_code: str,
    patience_s: int,
    network: NetworkChoice,
) -> Answer:
    """Mark a copy."""
    from node.cli.inputs import Document
    from node.cli.outputs import write_anew
    from node.cli.recording import expect_folder, record_documents, summarize, tell_recorded
    from node.cli.watermark.marking import (
        make_statement,
        marked_copy,
        read_original,
        statement_place,
    )
    from node.client.recording import Outlook

    data = read_original(path)
    found = network.open()
    expect_folder(out)
    statement_path = statement_place(out, target)
    statement = make_statement(data, recipient, time.time_ns() // 1_000_000, found.suite)
    copy = marked_copy(data, statement)  # what cannot be marked is refused before it is notarized
    write_anew(statement_path, statement.encode())
    document = Document(str(statement_path), statement_path)
    (item,) = record_documents(
        screen, found, [document], Outlook(type_code), out, patience_s=patience_s
    )
    tell_recorded(screen, item)
    answer = summarize([item])
    facts = {**answer.facts, "statement": str(statement_path), "code": statement.code_text}
    if answer.fault is not None:
        return Answer(facts, answer.fault)
    write_anew(target, copy, "--copy")
    said = _("MARKED  {path} for {recipient}: code {code}")
    told = said.format(path=target, recipient=recipient, code=statement.code_text)
    screen.line(told, style="green")
    return Answer({**facts, "copy": str(target), "recipient": recipient})


@watermark.command(
    "find",
    help=_(
        "Say whose copy a PDF or image is: by the statements of copies given, files or folders of "
        "them. Open no connection; verify the receipt of a statement as that of any document."
    ),
)
@click.argument("path", type=_FILE, metavar="FILE")
@click.argument("places", type=_PLACE, metavar="STATEMENT...", nargs=-1, required=True)
@verb("watermark find")
def find(screen: Screen, *, path: Path, places: tuple[Path, ...]) -> Answer:
    """Find out whose copy it is."""
    from node.cli.watermark.marking import find_marks, read_original, read_statements
    from node.timestamp.receipt import iso_time

    statements = read_statements(places)
    if not statements:
        raise CommandError("GC-2616", _("none of these holds a statement of a copy"))
    found = find_marks(read_original(path), statements)
    columns = (_("recipient"), _("time"), _("code"), _("statement"))
    rows = [
        (each.mark.recipient, iso_time(each.mark.time_ms), each.mark.code_text, each.path)
        for each in found
    ]
    screen.table(columns, rows)
    facts = {
        "file": str(path),
        "statements": len(statements),
        "found": [
            {
                "recipient": each.mark.recipient,
                "time": iso_time(each.mark.time_ms),
                "code": each.mark.code_text,
                "statement": str(each.path),
                "score": each.score,
            }
            for each in found
        ],
    }
    if found:
        return Answer(facts)
    message = _("{path} shows no mark of {count} copies").format(path=path, count=len(statements))
    fix = _("it may be scaled or edited: read the code that is printed on it, if there is one")
    return Answer(facts, Fault("GC-2616", message, fix))
