"""An error forced at each line of the product that something runs, and what is to be seen of it."""

from __future__ import annotations

import base64
import io
import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import structlog

import node
from node.service.logs import configure_logs

PRODUCT = str(Path(node.__file__).parent)
PIECE_DIGITS = 16
"""Of a hexadecimal number: so much of a secret is too much."""


_HEXADECIMAL = re.compile(f"[0-9a-f]{{{PIECE_DIGITS},}}")


class ForcedError(Exception):
    """What nobody foresees."""


def forms_of(secret: bytes) -> Iterator[str]:
    """Yield how a secret may be written, besides in hexadecimal."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(secret).decode().rstrip("=")
    yield repr(secret)[2:-1]
    yield str(list(secret))[1:-1]
    yield str(int.from_bytes(secret))
    yield str(int.from_bytes(secret, "little"))
    yield secret.decode("latin-1")


def leaks(text: str, hidden: list[bytes]) -> list[str]:
    """Return how secrets show in a text: written whole, or 8 bytes of them in hexadecimal."""
    found = [form for secret in hidden for form in forms_of(secret) if form in text]
    pieces = {piece for secret in hidden for piece in _pieces(secret.hex())}
    runs = _HEXADECIMAL.findall(text.lower())
    return found + [piece for run in runs for piece in _pieces(run) if piece in pieces]


def _pieces(digits: str) -> Iterator[str]:
    for start in range(max(1, len(digits) - PIECE_DIGITS + 1)):
        yield digits[start : start + PIECE_DIGITS]


@contextmanager
def node_logs() -> Iterator[Callable[[BaseException], str]]:
    """Lend what writes an error as logs do: a node's own, a library's in it, and by default."""
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    written = io.StringIO()
    configure_logs("info", validator="validator-1", stream=written)
    ours, theirs = structlog.get_logger(), logging.getLogger("some.library")
    plain = logging.Formatter("%(message)s")

    def write(error: BaseException) -> str:
        written.seek(0)
        written.truncate()
        ours.error("failed", exc_info=error)
        theirs.error("failed: %r", error, exc_info=error)
        record = logging.LogRecord("x", logging.ERROR, "x", 1, "x", (), None)
        record.exc_info = (type(error), error, error.__traceback__)
        return written.getvalue() + plain.format(record)

    try:
        yield write
    finally:
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()
        logging.basicConfig(handlers=before[0], level=before[1], force=True)


def shown_of(error: BaseException) -> str:
    """Return what a program may show of an error: all that leads to it, and what was held there."""
    parts = [*traceback.format_exception(error), repr(error), str(error), repr(error.args)]
    seen: BaseException | None = error
    while seen is not None:
        parts += [repr(seen), repr(seen.args)]
        parts += _held_in(seen.__traceback__)
        seen = seen.__cause__ or seen.__context__
    return "\n".join(parts)


def _held_in(trace: TracebackType | None) -> Iterator[str]:
    """Yield what the product's own objects say of themselves, in each frame that was left."""
    while trace is not None:
        for value in trace.tb_frame.f_locals.values():
            if type(value).__module__.startswith("node."):
                yield repr(value)
        trace = trace.tb_next


def force_at_each_line(act: Callable[[], object]) -> Iterator[BaseException]:
    """Run `act` again and again, each time with an error at one line later; yield what came out.

    A line that is run often breaks the first time. Ends once `act` runs to its end unbroken.
    """
    tracer = _Tracer()
    while True:
        tracer.has_forced = False
        sys.settrace(tracer)
        try:
            act()
        except Exception as error:  # noqa: BLE001 - whatever became of it
            sys.settrace(None)
            yield error
        finally:
            sys.settrace(None)
        if not tracer.has_forced:
            return


class _Tracer:
    """Raises at the first line of the product that is run and did not break before."""

    def __init__(self) -> None:
        self.has_forced = False
        self._broken: set[tuple[str, int]] = set()

    def __call__(self, frame: FrameType, _event: str, _argument: object) -> Any:  # noqa: ANN401 - sys.settrace
        return self._line if frame.f_code.co_filename.startswith(PRODUCT) else None

    def _line(self, frame: FrameType, event: str, _argument: object) -> Any:  # noqa: ANN401 - as above
        place = (frame.f_code.co_filename, frame.f_lineno)
        if event == "line" and not self.has_forced and place not in self._broken:
            self._broken.add(place)
            self.has_forced = True
            raise ForcedError(frame.f_code.co_name)
        return self._line
