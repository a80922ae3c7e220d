"""What an audit says of anchors: how far each authority outside has stamped the chain audited."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from gettext import gettext as _
from pathlib import Path
from typing import Any

from node.chain.block import Header
from node.cli.network import Network
from node.errors import NodeError
from node.operations.anchor_home import AnchorHome, KeptAnchor, PinnedAuthority
from node.timestamp.outside.anchor_verify import verify_anchor
from node.timestamp.receipt import iso_time


@dataclass(frozen=True, slots=True)
class Anchored:
    """What a folder of anchors shows."""

    headers: Mapping[int, Header]
    """Stamped, by height: a chain without them is another one."""
    described: list[dict[str, Any]]
    """The newest anchor of each authority, as members of a report."""


def read_anchors(folder: Path, network: Network, now_ms: int) -> Anchored:
    """Verify the newest anchor of every authority in a folder; raises `ConfigError`."""
    home = AnchorHome(folder)
    headers: dict[int, Header] = {}
    described = []
    for authority in home.authorities():
        facts: dict[str, Any] = {"authority": authority.name, "height": None, "stamped": None}
        facts |= {"verified": False, "outside": None, "insider": None}
        for kept in home.anchors(authority.name)[-1:]:
            header, found = _verify(kept, authority, network, now_ms)
            facts |= found
            if header is not None:
                headers[header.height] = header
        described.append(facts)
    return Anchored(headers, described)


def _verify(
    kept: KeptAnchor, authority: PinnedAuthority, network: Network, now_ms: int
) -> tuple[Header | None, dict[str, Any]]:
    try:
        data = kept.read().encode()
    except NodeError as error:
        return None, {"height": kept.height, "finding": str(error)}
    verify = partial(verify_anchor, data, authority=authority.outside, now_ms=now_ms)
    verdict = network.judge_by(network.pinned, verify)
    shown = verdict.attestation
    if shown is None:
        last = verdict.steps[-1]
        return None, {"height": kept.height, "finding": f"step {int(last.step)}: {last.detail}"}
    return shown.header, {
        "height": shown.header.height,
        "stamped": iso_time(shown.stamp.time_ms),
        "verified": True,
        "outside": shown.insider is None,
        "insider": shown.insider,
    }


def anchor_rows(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what a report says of anchors, as rows for a person; whoever signed it wrote it."""
    said = report.get("anchors")
    for each in said if isinstance(said, list) else ():
        if isinstance(each, dict):
            label = _("anchored by {authority}").format(authority=each.get("authority"))
            yield label, _spoken(each)


def _spoken(said: Mapping[str, Any]) -> str:
    if said.get("height") is None:
        return _("never")
    if said.get("verified") is not True:
        return _("NOT VERIFIED, block {height}: {finding}").format(
            height=said.get("height"), finding=said.get("finding")
        )
    text = _("block {height}, at {time}")
    if said.get("outside") is not True:
        text = _("NOT OUTSIDE, it is of {insider}: block {height}, at {time}")
    return text.format(
        height=said.get("height"), time=said.get("stamped"), insider=said.get("insider")
    )
