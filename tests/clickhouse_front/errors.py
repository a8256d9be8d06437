"""Exceptions as ClickHouse's HTTP interface shows them: number, name, text, status.

The numbers come from the engine (`errorCodeToName`), the statuses from ClickHouse's
`exceptionCodeToHTTPStatus`.
"""

from __future__ import annotations

import re

_STATUS = {
    401: ("REQUIRED_PASSWORD",),
    403: ("UNKNOWN_USER", "WRONG_PASSWORD", "AUTHENTICATION_FAILED", "ACCESS_DENIED", "READONLY"),
    400: (
        "CANNOT_PARSE_TEXT",
        "CANNOT_PARSE_ESCAPE_SEQUENCE",
        "CANNOT_PARSE_QUOTED_STRING",
        "CANNOT_PARSE_DATE",
        "CANNOT_PARSE_DATETIME",
        "CANNOT_PARSE_NUMBER",
        "CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING",
        "CANNOT_PARSE_IPV4",
        "CANNOT_PARSE_IPV6",
        "CANNOT_PARSE_UUID",
        "CANNOT_PARSE_INPUT_ASSERTION_FAILED",
        "UNKNOWN_ELEMENT_IN_AST",
        "UNKNOWN_TYPE_OF_AST_NODE",
        "TOO_DEEP_AST",
        "TOO_BIG_AST",
        "UNEXPECTED_AST_STRUCTURE",
        "SYNTAX_ERROR",
        "INCORRECT_DATA",
        "TYPE_MISMATCH",
        "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE",
    ),
    404: (
        "UNKNOWN_TABLE",
        "UNKNOWN_FUNCTION",
        "UNKNOWN_IDENTIFIER",
        "UNKNOWN_TYPE",
        "UNKNOWN_STORAGE",
        "UNKNOWN_DATABASE",
        "UNKNOWN_SETTING",
        "UNKNOWN_DIRECTION_OF_SORTING",
        "UNKNOWN_AGGREGATE_FUNCTION",
        "UNKNOWN_FORMAT",
        "UNKNOWN_DATABASE_ENGINE",
        "UNKNOWN_TYPE_OF_QUERY",
        "UNKNOWN_ROLE",
        "SESSION_NOT_FOUND",
    ),
    408: ("TIMEOUT_EXCEEDED",),
    411: ("HTTP_LENGTH_REQUIRED",),
    413: ("QUERY_IS_TOO_LARGE",),
    501: ("NOT_IMPLEMENTED",),
    503: ("SOCKET_TIMEOUT", "CANNOT_SCHEDULE_TASK"),
}
_STATUS_OF = {name: status for status, names in _STATUS.items() for name in names}

_HEAD = re.compile(r"Code:\s*(\d+)\.\s*DB::Exception:\s*")
_TAIL = re.compile(r"[.\s]*\(([A-Z][A-Z0-9_]+)\)\s*$")
_VERSION = re.compile(r"\s*\(version [^()]*(?:\([^()]*\))*\)")


class EngineError(Exception):
    """An exception of ClickHouse. `number` 0 means: to be looked up by name."""

    def __init__(self, message: str, name: str, number: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.name = name
        self.number = number

    @property
    def status(self) -> int:
        return _STATUS_OF.get(self.name, 500)

    def body(self, version: str) -> str:
        return f"Code: {self.number}. DB::Exception: {self.message}. ({self.name}) (version {version})\n"


def from_engine(text: str) -> EngineError:
    """What the engine in process raised; it wraps some exceptions in themselves, which is undone here."""
    number = 0
    while head := _HEAD.match(text):
        number = int(head[1])
        text = text[head.end() :]
    text = _VERSION.sub("", text)
    name = ""
    while tail := _TAIL.search(text):
        name = tail[1]
        text = text[: tail.start()]
    return EngineError(text.strip() or "Unknown exception", name or "UNKNOWN_EXCEPTION", number or 1002)
