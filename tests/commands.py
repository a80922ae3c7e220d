"""What the commands of the tests share: bounds of their arguments, and a tidy end.

A command that ends well has tried something: what leaves it nothing to try is wrong usage.
"""

from __future__ import annotations

import argparse
import math
import signal
import sys
from collections.abc import Callable


def at_least(least: int, most: int | None = None) -> Callable[[str], int]:
    """Return what reads a whole number from `least` to `most`; none: however much."""
    bounds = f"{least} or more" if most is None else f"{least} to {most}"

    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(f"expected {bounds}, got {text}")
        return value

    return number


def above_zero(text: str) -> float:
    """Read a finite number above 0."""
    if not 0 < (value := _number(text)) < math.inf:
        raise argparse.ArgumentTypeError(f"expected more than 0, got {text}")
    return value


def not_below_zero(text: str) -> float:
    """Read a number that is 0 or more."""
    if not (value := _number(text)) >= 0:
        raise argparse.ArgumentTypeError(f"expected 0 or more, got {text}")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def end_tidily() -> None:
    """Have SIGTERM end this process as an exception does: what it opened is closed and removed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
