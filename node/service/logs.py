"""Structured logs: one JSON object per line on standard error, ours and those of libraries alike.

What may be logged: rule ids, heights, views, digests, validator ids, counts, error codes. Never a
key, a secret, a passphrase, or what a client submitted.
"""

from __future__ import annotations

import logging
import sys
from typing import Final, Protocol, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_LEVELS: Final = logging.getLevelNamesMapping()
_FIRST: Final = ("timestamp", "level", "validator", "event")


class LogStream(Protocol):
    """Where lines are written: a text stream, as far as it matters here."""

    def write(self, text: str, /) -> object:
        """Write whole lines."""
        ...

    def flush(self) -> object:
        """Let everything written be seen."""
        ...


def configure_logs(level: str, *, validator: str, stream: LogStream | None = None) -> None:
    """Write logs from `level` on (one of `LOG_LEVELS`), naming the validator.

    They go to `stream`, standard error unless told otherwise. Libraries are heard from warnings on.
    """
    written_to = cast("TextIO", sys.stderr if stream is None else stream)  # no more is used of one
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _put_in_order,
    ]
    render = structlog.processors.JSONRenderer(ensure_ascii=False)
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(written_to),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(validator=validator)
    foreign = logging.StreamHandler(written_to)
    foreign.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[foreign], force=True)


def _put_in_order(_logger: WrappedLogger, _method: str, fields: EventDict) -> EventDict:
    """Put what every line has first, so that people can read down a column."""
    first = {name: fields.pop(name) for name in _FIRST if name in fields}
    return {**first, **fields}
