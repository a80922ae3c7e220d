"""The check of `doctor` that looks at anchors: whether each authority still stamps."""

from __future__ import annotations

from collections.abc import Iterator
from gettext import gettext as _
from pathlib import Path
from typing import Final

from node.cli.anchor_run import run_at_once
from node.cli.checkup import Finding, Level
from node.errors import ConfigError
from node.operations.anchor_home import AnchorHome
from node.operations.anchoring import OVERDUE_MS, STALE_MS
from node.timestamp.outside.kinship import find_insider
from node.timestamp.receipt import iso_time
from node.timestamp.trust import TrustAnchor

_CHECK: Final = "anchors"


def check_anchors(folder: Path, now_ms: int, trust: TrustAnchor | None) -> Iterator[Finding]:
    """Look at the anchors kept in `folder`, of every authority that it believes.

    Whether those are outside the chain is told where `trust` says which that is.
    """
    home = AnchorHome(folder)
    try:
        authorities, last_ms = home.authorities(), home.last_stamped_ms()
    except ConfigError as error:
        fix = _("name the folder of govchain anchor add")
        yield Finding(_CHECK, Level.PROBLEM, str(error), fix)
        return
    see = _("see what it says: {command}").format(command=run_at_once(folder))
    for name, stamped_ms in last_ms.items():
        if not stamped_ms:
            detail = _("{name}: stamped nothing yet").format(name=name)
            yield Finding(_CHECK, Level.WARNING, detail, see)
            continue
        detail = _("{name}: stamped last at {time}").format(name=name, time=iso_time(stamped_ms))
        age_ms = now_ms - stamped_ms
        if age_ms > OVERDUE_MS:
            level = Level.PROBLEM if age_ms > STALE_MS else Level.WARNING
            yield Finding(_CHECK, level, detail + _("; one is due every day"), see)
        else:
            yield Finding(_CHECK, Level.OK, detail)
    for each in authorities:
        insider = None if trust is None else find_insider(each.outside.known, trust)
        if insider is not None:
            detail = _("{name}: not outside, it is of {insider}; its stamps add nothing")
            fix = _("add one that depends on nobody of the chain: govchain anchor add")
            told = detail.format(name=each.name, insider=insider)
            yield Finding(_CHECK, Level.WARNING, told, fix)
    waiting = sum(each.receipt is None for each in home.anchors())
    if waiting:
        detail = _("{count} anchors are not recorded on the chain yet").format(count=waiting)
        yield Finding(_CHECK, Level.WARNING, detail, see)
