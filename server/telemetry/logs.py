"""Logging: structlog in front, the standard library routed through it, lines for people or JSON on stderr.

What is bound to the context (`request_id`, `run_id`, `thread_id`, `graph_id`, `identity`) is in every line,
also in those of graphs' own code. A line is one line, whatever it tells of, and holds no secret we know
(reliability L3; docs/operations.md).
"""

import logging
import re
import sys
import traceback
from collections.abc import Sequence
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

# Libraries that say below this level what nobody asked for: uvicorn repeats our own lines, watchfiles counts
# changes, and the others print users' data (tokens, statements, request bodies) when they debug.
QUIETER = {
    "uvicorn": logging.WARNING,
    "watchfiles": logging.WARNING,
    "alembic": logging.WARNING,
    "httpx": logging.WARNING,
    "httpcore": logging.INFO,
    "openai": logging.INFO,
    "anthropic": logging.INFO,
    "urllib3": logging.INFO,
    "websockets": logging.INFO,
    "psycopg": logging.INFO,
    "aiosqlite": logging.INFO,
    "sse_starlette": logging.INFO,
}

# In a text for people: what would begin a line, move the cursor, or turn the order of letters round.
_UNSEEN = [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_CONTROLS = {code: ascii(chr(code))[1:-1] for code in _UNSEEN}
_IN_TRACEBACKS = {code: escaped for code, escaped in _CONTROLS.items() if chr(code) not in "\t\n"}

_PASSWORD = re.compile(r"""(://[^\s/@:"']*:)[^\s/@"']+@""")  # of a URL
HIDDEN = "***"
SECRET_LENGTH_MIN = 6  # a shorter one would be found in words


def configure(level: str, json: bool, secrets: Sequence[str] = ()) -> None:
    """Set up logging for the process; the last call counts. `secrets` are never printed."""
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
    rendering: list[Any] = [*_rendering(json), _hiding(secrets)]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=foreign, processors=rendering))
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
        _on_one_line,
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=_indented),
    ]


def _on_one_line(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Control characters as escapes, in what is no exception. JSON has its own."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable():  # most are: that is quick to see
            event[key] = value.translate(_CONTROLS)
    return event


def _indented(out: TextIO, failure: ExcInfo) -> None:
    """A traceback whose lines cannot be taken for lines of the log, whatever stands in the exception."""
    text = "".join(traceback.format_exception(*failure)).translate(_IN_TRACEBACKS)
    out.write("\n" + "".join(f"    {line}\n" for line in text.rstrip("\n").split("\n")).rstrip("\n"))


def _hiding(secrets: Sequence[str]) -> Any:
    """The last step: passwords in URLs, and secrets by their text, wherever they came from."""
    known = sorted({text for text in secrets if len(text) >= SECRET_LENGTH_MIN}, key=len, reverse=True)

    def hide(_: WrappedLogger, __: str, line: str) -> str:
        if "://" in line:
            line = _PASSWORD.sub(rf"\1{HIDDEN}@", line)
        for secret in known:
            if secret in line:
                line = line.replace(secret, HIDDEN)
        return line

    return hide


def bind(**known: str | None) -> None:
    """From now on lines from this context tell these, and no others of an earlier call."""
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**{key: value for key, value in known.items() if value})
