"""How every verb ends: one number, the same meaning everywhere."""

from __future__ import annotations

from enum import IntEnum
from gettext import gettext as _


class ExitCode(IntEnum):
    """The exit codes of `govchain`. Scripts depend on them: they never change."""

    DONE = 0
    NOT_VERIFIED = 1
    USAGE = 2
    NO_SUCH_RECORD = 3
    NOT_FINAL = 4
    NOT_ROOTED = 5
    UNAVAILABLE = 6
    SOME_FAILED = 7
    REFUSED = 8
    DEFECT = 70
    INTERRUPTED = 130
    UNREAD = 141
    """128 + SIGPIPE, by which a shell tells of others that nobody read to the end: `| head`."""

    @property
    def meaning(self) -> str:
        """Return what it means, in the user's language."""
        return {
            ExitCode.DONE: _("done, verified"),
            ExitCode.NOT_VERIFIED: _("not verified: mismatch, broken proof, withdrawn"),
            ExitCode.USAGE: _("wrong usage, unreadable or missing input"),
            ExitCode.NO_SUCH_RECORD: _("no such record"),
            ExitCode.NOT_FINAL: _("accepted, not final yet"),
            ExitCode.NOT_ROOTED: _("proof sound, but not rooted in the trust file"),
            ExitCode.UNAVAILABLE: _("network or node unavailable (never with --offline)"),
            ExitCode.SOME_FAILED: _("some items of several failed"),
            ExitCode.REFUSED: _("refused by policy"),
            ExitCode.DEFECT: _("a defect of this program"),
            ExitCode.INTERRUPTED: _("interrupted"),
            ExitCode.UNREAD: _("nobody read the answer to its end (a closed pipe)"),
        }[self]
