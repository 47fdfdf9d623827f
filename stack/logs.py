"""Write logs to standard error as events with fields, one line each. A log that can't be written stops nothing."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import TextIO, cast

import structlog

from stack import temporal_logs
from tracing.log_ids import identify
from workflows.core_log import CORE_LOGGER


class Unfailing:
    """A stream that drops and counts what it cannot write, because the disk is full or the reader has gone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.dropped = 0

    def write(self, text: str) -> int:
        """Write the text or drop it. Returns its length in both cases."""
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # ValueError: the stream is closed
            self.dropped += 1
        return len(text)

    def flush(self) -> None:
        """Write what an earlier write could not."""
        with suppress(OSError, ValueError):
            self._stream.flush()

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """The file descriptor to which the stream writes."""
        return self._stream.fileno()

    @property
    def encoding(self) -> str:
        return self._stream.encoding


def configure(*, level: str, log_format: str, service: str, traced: bool = False) -> None:
    """Set up the logging of this process and its libraries. `traced`: with the trace that each line belongs to."""
    stream = Unfailing(sys.stderr)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _named(service),
        *([identify] if traced else []),
        _counting(stream),
    ]
    if log_format == "json":
        rendering: list[structlog.typing.Processor] = [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=str),
        ]
    else:
        plain = structlog.dev.plain_traceback  # others show the values of variables, and secrets among them
        rendering = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", stream)),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(cast("TextIO", stream))
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, temporal_logs.as_event],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)
    for name in ("aio_pika", "aiormq", "psycopg.pool"):
        # Their warnings are about lost connections, which we log once ourselves.
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger(CORE_LOGGER).addFilter(temporal_logs.Throttled())
    logging.captureWarnings(True)


def _named(service: str) -> structlog.typing.Processor:
    def add(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["service"] = service
        return event

    return add


def _counting(stream: Unfailing) -> structlog.typing.Processor:
    def add(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        """Add the number of earlier lines that could not be written."""
        if stream.dropped:
            event["lines_dropped"], stream.dropped = stream.dropped, 0
        return event

    return add
