"""Logging: structlog in front, the standard library routed through it, lines for people or JSON on stderr."""

import logging
import sys

import structlog
from structlog.typing import Processor

# Libraries that say below this level what nobody asked for: uvicorn repeats our own lines, watchfiles counts
# changes, and the others print users' data (tokens, statements, request bodies) when they debug.
QUIETER = {
    "uvicorn": logging.WARNING,
    "watchfiles": logging.WARNING,
    "alembic": logging.WARNING,
    "httpx": logging.WARNING,
    "httpcore": logging.INFO,
    "openai": logging.INFO,
    "aiosqlite": logging.INFO,
    "sse_starlette": logging.INFO,
}


def configure(level: str, json: bool) -> None:
    """Set up logging for the process; the last call counts."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=json),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    foreign: list[Processor] = [*shared, structlog.stdlib.ExtraAdder()]
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=foreign, processors=_rendering(json))
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for name, least in QUIETER.items():
        logging.getLogger(name).setLevel(max(least, logging.getLevelName(level)))
    logging.captureWarnings(True)


def through_logging() -> None:
    """Leave it to the process around us what becomes of our lines, unless it has configured structlog."""
    if not structlog.is_configured():
        structlog.configure(
            processors=[
                structlog.stdlib.filter_by_level,
                structlog.stdlib.PositionalArgumentsFormatter(),
                structlog.processors.format_exc_info,
                structlog.processors.KeyValueRenderer(key_order=["event"]),
            ],
            logger_factory=structlog.stdlib.LoggerFactory(),
            wrapper_class=structlog.stdlib.BoundLogger,
        )


def _rendering(json: bool) -> list[Processor]:
    """The last steps of every line. Tracebacks stay plain: richer ones print local variables, so secrets."""
    first = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if json:
        return [first, structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    return [
        first,
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        ),
    ]
