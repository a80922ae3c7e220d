"""A reference moved: what stands under it superseded or withdrawn, after a look at what that is."""

from __future__ import annotations

import json
import secrets
from gettext import gettext as _
from pathlib import Path
from typing import Final

from node.chain.record import RecordAction
from node.chain.reference import ReferenceName, ReferenceStatus
from node.cli.inputs import STANDARD_INPUT, Document
from node.cli.network import Network
from node.cli.outputs import name_after, write_anew
from node.cli.readiness import await_service
from node.cli.recording import record_documents, summarize, tell_trouble
from node.cli.screen import Answer, Screen
from node.cli.standing import ask_standing, spoken
from node.cli.verb import CommandError
from node.client.recording import Outlook
from node.crypto.suite import document_digest_by_id
from node.timestamp.receipt import iso_time
from node.timestamp.standing import Fate, status_digest

REASON_FORMAT: Final = "govchain-withdrawal-1"
REASON_SUFFIX: Final = ".reason.json"
_SALT_BYTES: Final = 16
_MARK_DIGITS: Final = 8


def document_at(argument: str) -> Document:
    """Return the document that a file or, for -, standard input holds."""
    return Document(argument, None if argument == STANDARD_INPUT else Path(argument))


def find_in_force(
    screen: Screen, network: Network, name: ReferenceName, patience_s: float
) -> ReferenceStatus:
    """Return what is in force under a reference, proved; raises `CommandError` if nothing is."""
    await_service(screen, network, patience_s)
    _proof, verdict = ask_standing(network, name, network.pinned)
    attestation = verdict.attestation
    if attestation is None or attestation.status is None or attestation.fate is not Fate.IN_FORCE:
        message = "" if attestation is None else spoken(attestation)
        fix = _("see what stands: govchain history; record it first: govchain notarize --ref")
        raise CommandError("GC-2307", message, fix)
    return attestation.status


def move(
    screen: Screen,
    network: Network,
    name: ReferenceName,
    document: Document,
    *,
    action: RecordAction,
    out: Path,
    said: str,
) -> Answer:
    """Record a document that supersedes or withdraws, and keep the receipt.

    `said` is the sentence for a person: reference, file, time, height and receipt are filled in.
    """
    document.reference = name.reference
    outlook = Outlook(name.type_code, action=action, digest=document.algorithm)
    items = record_documents(screen, network, [document], outlook, out)
    for item in items:
        attestation = None if item.recorded is None else item.recorded.attestation
        if item.receipt is not None and attestation is not None:
            degraded = attestation.time_degraded
            known_ms = attestation.seal_time_ms if degraded else attestation.time_ms
            text = said.format(
                reference=name.reference,
                file=item.document.label,
                time=iso_time(known_ms),
                height=attestation.height,
                receipt=item.receipt,
            )
            screen.line(text, style="green")
        tell_trouble(screen, item)
    return summarize(items)


def same_document(name: ReferenceName, status: ReferenceStatus) -> Document:
    """Return the document in force, by its digest. Its receipt is named after the reference."""
    return Document(
        name.reference,
        Path(name.reference),
        digest=status.digest,
        algorithm=document_digest_by_id(status.digest_algorithm),
    )


def keep_reason(name: ReferenceName, status: ReferenceStatus, reason: str, out: Path) -> Document:
    """Write why something is withdrawn to a file among the receipts; return that as a document.

    Its digest tells nobody what it says: a salt in it keeps short texts from being guessed.
    """
    salt = secrets.token_hex(_SALT_BYTES)
    said = {
        "format": REASON_FORMAT,
        "issuer": name.issuer,
        "type": name.type_code,
        "reference": name.reference,
        "withdrawn": status_digest(status),
        "reason": reason,
        "salt": salt,
    }
    called = f"{Path(name.reference).name}.{salt[:_MARK_DIGITS]}"
    path = out / name_after(called, REASON_SUFFIX)
    write_anew(path, f"{json.dumps(said, ensure_ascii=False, indent=2)}\n".encode())
    return Document(str(path), path)
