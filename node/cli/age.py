"""How old something is: read from the command line, and told."""

from __future__ import annotations

import re
from gettext import gettext as _
from typing import Final

import click

_UNITS_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_AGE: Final = re.compile(r"([0-9]{1,9})([smhd])")


class AgeType(click.ParamType[int]):
    """An age such as 90s, 30m, 24h or 7d, in milliseconds."""

    name = "age"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Return milliseconds; wrong usage for anything else."""
        found = _AGE.fullmatch(str(value))
        if found is None:
            message = _("{text}: expected an age such as 90s, 30m, 24h or 7d")
            self.fail(message.format(text=value), param, ctx)
        return int(found[1]) * _UNITS_MS[found[2]]


def told_age(age_ms: int) -> str:
    """Return an age in its largest whole unit; none is below zero."""
    age_s = max(age_ms, 0) // 1_000
    if age_s < 120:  # noqa: PLR2004 - as the next ones, two of the larger unit
        return _("{count} s").format(count=age_s)
    if age_s < 7_200:  # noqa: PLR2004
        return _("{count} minutes").format(count=age_s // 60)
    if age_s < 172_800:  # noqa: PLR2004
        return _("{count} hours").format(count=age_s // 3_600)
    return _("{count} days").format(count=age_s // 86_400)
