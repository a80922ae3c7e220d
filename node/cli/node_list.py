"""`govchain node list`: who decides in the epoch in force, and who follows the chain."""

from __future__ import annotations

from gettext import gettext as _
from typing import TYPE_CHECKING, Any, Final

import click

from node.cli.choice import NetworkChoice, network_options
from node.cli.screen import Answer, Screen
from node.cli.verb import Verb, verb

if TYPE_CHECKING:
    from node.rpc.client import LedgerClient

_ASK_MS: Final = 2_000
_FOLLOWING: Final = ("FOLLOWING", "CATCHING_UP")


@click.command(
    "list", cls=Verb, help=_("List the validators of the epoch in force, and who follows.")
)
@network_options
@verb("node list")
def list_nodes(screen: Screen, *, network: NetworkChoice) -> Answer:
    """List who decides and who follows."""
    found = network.open()
    validators = found.validators
    rows = found.ask(_rows)
    members = [each.validator_id for each in validators.validators]
    by_id = {row["id"]: row for row in rows}
    listed = [
        {
            **by_id.pop(each.validator_id, {"address": "", "health": "-", "height": None}),
            "id": each.validator_id,
            "organisation": each.organisation,
            "part": "validator",
        }
        for each in validators.validators
    ]
    listed += [{**row, "part": "follower" if row["follows"] else None} for row in by_id.values()]
    said = _("epoch {epoch}: {count} validators, {quorum} are needed to decide")
    screen.line(
        said.format(epoch=validators.epoch, count=validators.size, quorum=validators.quorum)
    )
    titles = (_("node"), _("organisation"), _("part"), _("health"), _("height"), _("peers at"))
    shown = ("id", "organisation", "part", "health", "height", "address")
    parts = {"validator": _("validator"), "follower": _("follower"), None: None}
    told = [{**row, "part": parts[row["part"]]} for row in listed]
    screen.table(
        titles,
        [["-" if row.get(name) in (None, "") else row[name] for name in shown] for row in told],
    )
    facts = {
        "epoch": validators.epoch,
        "quorum": validators.quorum,
        "validators": members,
        "nodes": [{name: row.get(name) for name in shown} for row in listed],
    }
    return Answer(facts)


async def _rows(client: LedgerClient) -> list[dict[str, Any]]:
    """Return what nodes say of themselves, and one of them of the others."""
    from node.rpc.port import NodeStatus

    told, statuses = await client.membership(_ASK_MS), await client.statuses(_ASK_MS)
    rows: dict[str, dict[str, Any]] = {
        each.validator_id: {"organisation": each.organisation, "address": each.address}
        for each in told.members
    }
    for each in told.followers:
        rows[each.node_id] = {"organisation": each.organisation, "height": each.height}
    for node_id, status in statuses.items():
        row = rows.setdefault(node_id, {"organisation": None})
        if isinstance(status, NodeStatus):
            row |= {"health": status.health.name, "height": status.height}
        else:
            row["health"] = "UNKNOWN"
    following = [each.node_id for each in told.followers]
    following += [name for name, row in rows.items() if row.get("health") in _FOLLOWING]
    return [{**row, "id": name, "follows": name in following} for name, row in rows.items()]
