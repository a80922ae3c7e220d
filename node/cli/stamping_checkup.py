"""The checks of `doctor` that look at time-stamping: who can do it, and for how long yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from gettext import gettext as _
from pathlib import Path
from typing import Final

from node.assembly.stamping import is_rooted
from node.chain.genesis import Genesis
from node.cli.checkup import Finding, Level
from node.config import NODE_FILE
from node.crypto.authority import read_timestamp_certificate
from node.crypto.certificate import split_pem
from node.errors import CryptoError
from node.rpc.port import Diagnosis
from node.service.home import TSA_FILE
from node.timestamp.receipt import iso_time

_CHECK: Final = "time-stamping"
_IDENTITY_CHECK: Final = "time-stamping identity"
_WARNING_DAYS: Final = 90
"""Whoever renews it may be another organisation's people, and a token waits for nobody."""
_IDENTITY_NOTICE_DAYS: Final = 30
_IDENTITY_WARNING_DAYS: Final = 7
_IDENTITY_PROBLEM_DAYS: Final = 1
"""Another takes its place by a governed transaction: days, where organisations have to approve."""
_MS_PER_DAY: Final = 86_400_000


def check_time_stamping(home: Path, now_ms: int) -> Iterator[Finding]:
    """Look at the certificates by which the nodes below `home` stamp time."""
    soonest: tuple[int, Path] | None = None
    for settings in sorted(home.rglob(NODE_FILE)):
        path = settings.with_name(TSA_FILE)
        if not path.exists():
            detail = _("{path}: missing, so this node gives no time stamps").format(path=path)
            fix = _("have one issued for its keys/tsa.key, put it there and restart the node")
            yield Finding(_CHECK, Level.UNKNOWN, detail, fix)
            continue
        try:
            days = _days_left(path, now_ms)
        except (OSError, CryptoError) as error:
            fix = _("restore the file from a backup")
            yield Finding(_CHECK, Level.PROBLEM, f"{path}: {error}", fix)
            continue
        if days < _WARNING_DAYS:
            level = Level.PROBLEM if days < 0 else Level.WARNING
            detail = _("{path}: valid for {days:.0f} more days").format(path=path, days=days)
            fix = _("have it issued anew for the same key, append it to the file, restart the node")
            yield Finding(_CHECK, level, detail, fix)
        elif soonest is None or days < soonest[0]:
            soonest = (days, path)
    if soonest is not None:
        detail = _("the first to end has {days:.0f} more days: {path}")
        yield Finding(_CHECK, Level.OK, detail.format(days=soonest[0], path=soonest[1]))


def check_token_roots(home: Path, genesis: Genesis) -> Iterator[Finding]:
    """Look at whether trust files lead to who issued the certificates of the nodes below `home`.

    What cannot be read is told by `check_time_stamping`.
    """
    for path in sorted(each.with_name(TSA_FILE) for each in home.rglob(NODE_FILE)):
        try:
            certificates = split_pem(path.read_bytes())
            if all(is_rooted(each, genesis) for each in certificates):
                continue
        except (OSError, CryptoError):
            continue
        detail = _(
            "{path}: by an authority that is not in the genesis, as of an organisation that joined "
            "later. No trust file names it: its tokens are NOT ROOTED, and its receipts hold none"
        )
        fix = _("have time stamped by the validators of founding organisations")
        yield Finding(_CHECK, Level.WARNING, detail.format(path=path), fix)


def check_stamping_identities(
    heard: Mapping[str, Diagnosis], home: Path, now_ms: int
) -> Iterator[Finding]:
    """Look at how long nodes may yet record requests for time stamps, by their own word.

    `home` is the network that they are of.
    """
    for name, said in heard.items():
        identity, ends_ms = said.stamping_identity, said.stamping_identity_ends_ms
        if not identity:
            continue
        fix = _("give it another, registered on the running chain: {command}").format(
            command=f"govchain node stamping {name} --home {home}"
        )
        if not ends_ms:
            detail = _("{node}: the chain does not know {identity}, so no request is recorded")
            told = detail.format(node=name, identity=identity)
            yield Finding(_IDENTITY_CHECK, Level.WARNING, told, fix)
            continue
        days, time = (ends_ms - now_ms) // _MS_PER_DAY, iso_time(ends_ms)
        if days >= _IDENTITY_NOTICE_DAYS:
            detail = _("{node}: {identity} may record requests until {time}")
            told = detail.format(node=name, identity=identity, time=time)
            yield Finding(_IDENTITY_CHECK, Level.OK, told)
        elif ends_ms <= now_ms:
            detail = _("{node}: {identity} ended at {time}: requests for time stamps are refused")
            told = detail.format(node=name, identity=identity, time=time)
            yield Finding(_IDENTITY_CHECK, Level.PROBLEM, told, fix)
        else:
            detail = _(
                "{node}: {identity} ends at {time}, {urgency}; then requests for time stamps are "
                "refused"
            )
            told = detail.format(node=name, identity=identity, time=time, urgency=_urgency(days))
            level = Level.PROBLEM if days < _IDENTITY_PROBLEM_DAYS else Level.WARNING
            yield Finding(_IDENTITY_CHECK, level, told, fix)


def _urgency(days: int) -> str:
    if days < _IDENTITY_PROBLEM_DAYS:
        return _("within a day")
    if days < _IDENTITY_WARNING_DAYS:
        return _("within a week")
    return _("in {days} days").format(days=days)


def _days_left(path: Path, now_ms: int) -> int:
    certificates = map(read_timestamp_certificate, split_pem(path.read_bytes()))
    return (max(each.not_after_ms for each in certificates) - now_ms) // _MS_PER_DAY
