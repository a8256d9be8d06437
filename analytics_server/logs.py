"""The log: one structured line per lifecycle event, as JSON or as text.

Constraint: never an address, a user agent, a full URL, a visitor id or a token.
Fields come through `extra`; control characters are escaped, so that nothing a client
sent can forge a line. Of an exception the places and the type are logged, not its
message, which may quote what a client sent.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

from aiohttp.http_exceptions import HttpProcessingError

from analytics_server.config import LogSection

_STANDARD = frozenset(logging.LogRecord("", 0, "", 0, "", None, None).__dict__) | {"message", "asctime", "taskName"}


QUIET = ("urllib3", "clickhouse_connect", "aiohttp.websocket")
"""Their warnings quote whole addresses with parameters, or a visitor's address and the subprotocols offered, which may
hold a token; whatever fails there is raised, and logged by the caller."""


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """One JSON object, on one line."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name.removeprefix("analytics_server."),
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            entry["exception"] = _trace(record.exc_info[1])
        return json.dumps(entry, default=str, ensure_ascii=True)


class TextFormatter(logging.Formatter):
    """A line to read in a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Time, level, message and fields as `key=value`."""
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        fields = " ".join(f"{key}={_escape(value)}" for key, value in _fields(record).items())
        line = f"{time} {record.levelname.lower():7} {_escape(record.getMessage())} {fields}".rstrip()
        if record.exc_info:
            line += "\n" + _trace(record.exc_info[1])
        return line


def _trace(error: BaseException | None) -> str:
    """The stack of an exception and of those that led to it, oldest first, without their messages."""
    pieces: list[str] = []
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        reason = f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
        stack = "".join(traceback.format_tb(error.__traceback__))
        pieces.append(f"Traceback (most recent call last):\n{stack}{type(error).__qualname__}{reason}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n".join(reversed(pieces))


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in record.__dict__.items() if key not in _STANDARD}


def _escape(value: object) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(value))


class _AiohttpFilter(logging.Filter):
    """aiohttp logs the address and a stack trace for every request that is no HTTP: that is the sender's fault."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], (HttpProcessingError, ConnectionError)):
            return False
        record.msg, record.args = "request crashed", ()
        return True


def set_up(settings: LogSection) -> None:
    """Send all logging to standard error in the configured form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("aiohttp.server").addFilter(_AiohttpFilter())
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("analytics_server").setLevel(settings.level.upper())
