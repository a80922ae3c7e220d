"""What is said of documents in the vault: as the chain proves them, and what an order changed."""

from __future__ import annotations

from gettext import gettext as _
from typing import Any

from node.chain.authorisation import Authorised
from node.chain.vault import VaultGrant
from node.cli.screen import Answer, Screen
from node.cli.vault.chain import Known
from node.disclosure.masking import DEFAULT_POLICY
from node.timestamp.receipt import iso_time


def tell_change(screen: Screen, known: Known, word: str, limits: str = "") -> Answer:
    """Say what an order changed, and what it could not."""
    said = _("{word}  {document} (block {height})")
    told = said.format(word=word, document=known.document_id.hex(), height=known.document.height)
    screen.line(told, style="green")
    tell_document(screen, known)
    if limits:
        screen.line("  " + _("note: {limits}").format(limits=limits))
    return Answer({**describe_document(known), **({"limits": limits} if limits else {})})


def standing_word(known: Known) -> str:
    """Return whether a document is kept, in the user's language."""
    return _("kept") if known.document.is_kept else _("shredded")


def tell_document(screen: Screen, known: Known) -> None:
    """Say what the chain knows of a document, as a table."""
    document = known.document
    rows: list[tuple[str, object]] = [
        (_("document"), known.document_id.hex()),
        (_("standing"), standing_word(known)),
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
                )
                + _told(each),
            )
        )
    rows.append((_("so it was at"), iso_time(known.proved.time_ms)))
    screen.table((_("field"), _("value")), rows)


def describe_document(known: Known) -> dict[str, Any]:
    """Return what the chain knows of a document as JSON members."""
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
                "terms": describe_terms(each.authorised),
            }
            for each in document.grants
        ],
        "proved_height": known.proved.height,
        "proved_time": iso_time(known.proved.time_ms),
    }


def _told(grant: VaultGrant) -> str:
    """Say of a grant under terms what it allows, and what use was made of it."""
    if grant.authorised is None:
        return ""
    terms, uses = grant.authorised.terms, grant.authorised.uses
    said = _("; for {purpose}, until {end}, fields: {fields}; used {count} times")
    return said.format(
        purpose=DEFAULT_POLICY.mask_text(terms.purpose),
        end=iso_time(terms.not_after_ms),
        fields=", ".join(terms.fields) or _("all of it"),
        count=uses.count,
    )


def describe_terms(authorised: Authorised | None) -> dict[str, Any] | None:
    """Return terms and uses as JSON members; None where there are none."""
    if authorised is None:
        return None
    terms, uses = authorised.terms, authorised.uses
    return {
        "purpose": DEFAULT_POLICY.mask_text(terms.purpose),
        "fields": list(terms.fields),
        "until": iso_time(terms.not_after_ms),
        "basis": None if terms.basis is None else terms.basis.hex(),
        "uses": uses.count,
        "last_use_height": uses.height or None,
        "last_use_time": iso_time(uses.time_ms) if uses.count else None,
    }
