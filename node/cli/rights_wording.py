"""What became of identities and organisations, in words and as members of JSON objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from gettext import gettext as _
from typing import Any

from node.chain.identity import Event, StatusEntry
from node.cli.screen import Screen
from node.timestamp.receipt import iso_time

Approvers = Mapping[bytes, Sequence[str] | None]
"""Who approved, by transaction; None where no validator asked holds it any more."""


def tell_trail(screen: Screen, trail: Sequence[StatusEntry], approvers: Approvers) -> None:
    """Show what happened to somebody, and who approved it, the oldest first."""
    if not trail:
        screen.line(_("nothing happened to it since genesis"))
        return
    titles = [_("block"), _("time"), _("what"), _("reason"), _("approved by"), _("transaction")]
    texts = _event_texts()
    screen.table(
        titles,
        [
            (
                each.height,
                iso_time(each.time_ms),
                texts[each.event],
                each.reason,
                _told(approvers[each.tx_id]),
                each.tx_id.hex(),
            )
            for each in trail
        ],
    )


def _told(names: Sequence[str] | None) -> str:
    return _("(pruned)") if names is None else ", ".join(names)


def trail_facts(trail: Sequence[StatusEntry], approvers: Approvers) -> list[dict[str, Any]]:
    """Return the same as members of a JSON array."""
    return [
        {
            "height": each.height,
            "time": iso_time(each.time_ms),
            "event": each.event.name.lower(),
            "status": each.status.name.lower(),
            "reason": each.reason,
            "approved_by": approvers[each.tx_id],
            "transaction": each.tx_id.hex(),
        }
        for each in trail
    ]


def status_text(status: str) -> str:
    """Return a status, as `Status` names it in lower case, in the user's language."""
    return {"active": _("active"), "frozen": _("frozen"), "revoked": _("revoked")}[status]


def role_text(role: str) -> str:
    """Return a role, as `Role` names it in lower case, in the user's language."""
    texts = {
        "validator": _("validator"),
        "observer": _("observer"),
        "agency": _("agency"),
        "auditor": _("auditor"),
        "admin": _("admin"),
    }
    return texts[role]


def _event_texts() -> dict[Event, str]:
    return {
        Event.REGISTERED: _("registered"),
        Event.FROZEN: _("frozen"),
        Event.UNFROZEN: _("unfrozen"),
        Event.REVOKED: _("revoked"),
        Event.ROTATED: _("certificate, key or CA renewed"),
    }
