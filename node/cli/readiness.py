"""Waiting for a network that is just starting, so that a command may follow it at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from gettext import gettext as _
from typing import Final

from node.chain.membership import quorum_size
from node.cli.network import Network
from node.cli.screen import Screen
from node.cli.verb import CommandError
from node.rpc.client import LedgerClient, NetworkUnavailable
from node.rpc.connection import judge
from node.rpc.port import Health, NodeStatus

_ASK_MS: Final = 5_000
_ASK_ALL_MS: Final = 1_000
_PAUSE_S: Final = 0.2


def await_service(screen: Screen, network: Network, patience_s: float) -> None:
    """Return once a validator serves; wait for one `patience_s` at most, and say so.

    Raises, where none does by then, `ClientError` if none answers either, else `CommandError` with
    how many answer, and what one of them says.
    """
    network.ask(lambda client: _await_service(client, screen, patience_s))


async def _await_service(client: LedgerClient, screen: Screen, patience_s: float) -> None:
    with suppress(NetworkUnavailable):
        if (await client.status(_ASK_MS)).health is Health.READY:
            return
    deadline_s = time.monotonic() + patience_s
    if patience_s:
        said = _("no validator serves yet; waiting up to {seconds:.0f} s for one (--wait)")
        screen.note(said.format(seconds=patience_s))
    while True:
        statuses = [*(await client.statuses(_ASK_ALL_MS)).values()]
        answers = [each for each in statuses if isinstance(each, NodeStatus)]
        if any(each.health is Health.READY for each in answers):
            return
        if time.monotonic() >= deadline_s:
            break
        await asyncio.sleep(_PAUSE_S)
    if not answers:
        raise judge([each for each in statuses if not isinstance(each, NodeStatus)])
    raise _not_serving(answers, len(statuses))


def _not_serving(answers: Sequence[NodeStatus], count: int) -> CommandError:
    """Return the error of validators that answer, though none of them serves."""
    needed, first = quorum_size(count), answers[0]
    said = _("{answering} of {count} validators answer, {needed} are needed to decide anything")
    if len(answers) >= needed:
        said = _("{answering} of {count} validators answer, but none is ready")
    numbers = said.format(answering=len(answers), count=count, needed=needed)
    reason = f"{first.validator_id}: {first.health.name}: {first.health_detail}"
    fix = _("start what is stopped: govchain testnet up; or see what is wrong: govchain doctor")
    return CommandError("GC-2106", f"{numbers} ({reason})", fix)
