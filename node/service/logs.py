"""Structured logs: one JSON object per line on standard error, ours and those of libraries alike.

What may be logged: rule ids, heights, views, digests, validator ids, counts, error codes. Never a
key, a secret, a passphrase, or what a client submitted.
"""

from __future__ import annotations

import logging
import sys
from typing import Final

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_LEVELS: Final = logging.getLevelNamesMapping()
_FIRST: Final = ("timestamp", "level", "validator", "event")


def configure_logs(level: str, *, validator: str) -> None:
    """Write logs from `level` on (one of `LOG_LEVELS`) to standard error, naming the validator.

    Libraries are heard from warnings on.
    """
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
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(validator=validator)
    foreign = logging.StreamHandler(sys.stderr)
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
