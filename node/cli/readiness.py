"""Waiting for a network that is just starting, so that a command may follow it at once."""

from __future__ import annotations

import asyncio
import time
from gettext import gettext as _
from typing import Final

from node.cli.network import Network
from node.cli.screen import Screen
from node.rpc.client import LedgerClient, NetworkUnavailable
from node.rpc.port import Health, NodeStatus

_ASK_MS: Final = 5_000
_ASK_ALL_MS: Final = 1_000
_PAUSE_S: Final = 0.2


def await_service(screen: Screen, network: Network, patience_s: float) -> None:
    """Return once a validator serves; wait for one `patience_s` at most, and say so.

    Raises `NetworkUnavailable` where none answers by then. One that answers, though it does not
    serve, is enough in the end: it says why better than we could.
    """
    network.ask(lambda client: _await_service(client, screen, patience_s))


async def _await_service(client: LedgerClient, screen: Screen, patience_s: float) -> None:
    try:
        if (await client.status(_ASK_MS)).health is Health.READY:
            return
        silence = None
    except NetworkUnavailable as error:
        silence = error
    deadline_s = time.monotonic() + patience_s
    if patience_s:
        said = _("no validator serves yet; waiting up to {seconds:.0f} s for one (--wait)")
        screen.note(said.format(seconds=patience_s))
    while time.monotonic() < deadline_s:
        await asyncio.sleep(_PAUSE_S)
        statuses = (await client.statuses(_ASK_ALL_MS)).values()
        answers = [each for each in statuses if isinstance(each, NodeStatus)]
        if any(each.health is Health.READY for each in answers):
            return
        if answers:
            silence = None
    if silence is not None:
        raise silence
