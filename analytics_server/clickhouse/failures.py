"""Errors in ClickHouse's own form: `Code: 60. DB::Exception: … (UNKNOWN_TABLE)`, with the number in a header."""

from __future__ import annotations

import logging

from aiohttp import web

from analytics_server.clickhouse.compression import packed_block
from analytics_server.errors import AnalyticsError
from analytics_server.http.streams.pieces import NO_STORE

log = logging.getLogger(__name__)

CODES: dict[str, tuple[int, str]] = {
    "bad_sql": (62, "SYNTAX_ERROR"),
    "sql_not_allowed": (392, "QUERY_IS_PROHIBITED"),
    "sql_too_big": (168, "TOO_BIG_AST"),
    "unknown_table": (60, "UNKNOWN_TABLE"),
    "unknown_column": (47, "UNKNOWN_IDENTIFIER"),
    "unknown_function": (46, "UNKNOWN_FUNCTION"),
    "unknown_type": (50, "UNKNOWN_TYPE"),
    "unsupported_join": (48, "NOT_IMPLEMENTED"),
    "bad_parameter": (457, "BAD_QUERY_PARAMETER"),
    "bad_pattern": (427, "CANNOT_COMPILE_REGEXP"),
    "bad_format": (73, "UNKNOWN_FORMAT"),
    "bad_setting": (36, "BAD_ARGUMENTS"),
    "bad_request": (36, "BAD_ARGUMENTS"),
    "bad_body": (36, "BAD_ARGUMENTS"),
    "request_timeout": (209, "SOCKET_TIMEOUT"),
    "too_large": (307, "TOO_MANY_BYTES"),
    "sql_failed": (80, "INCORRECT_QUERY"),
    "sql_timeout": (159, "TIMEOUT_EXCEEDED"),
    "sql_cancelled": (394, "QUERY_WAS_CANCELLED"),
    "sql_memory": (241, "MEMORY_LIMIT_EXCEEDED"),
    "sql_too_much_read": (158, "TOO_MANY_ROWS"),
    "sql_answer_too_big": (396, "TOO_MANY_ROWS_OR_BYTES"),
    "unauthorized": (516, "AUTHENTICATION_FAILED"),
    "forbidden": (497, "ACCESS_DENIED"),
    "bad_origin": (497, "ACCESS_DENIED"),
    "unknown_site": (81, "UNKNOWN_DATABASE"),
    "too_many_sites": (81, "UNKNOWN_DATABASE"),
    "too_many_queries": (202, "TOO_MANY_SIMULTANEOUS_QUERIES"),
    "busy": (202, "TOO_MANY_SIMULTANEOUS_QUERIES"),
    "query_timeout": (159, "TIMEOUT_EXCEEDED"),
}
"""The code of an error here → ClickHouse's number and name."""

TRUE = ("1", "true")
NEVER_PACKED = (401, 403)
"""Clients that ask for blocks read these as plain text."""

OTHER = (1002, "UNKNOWN_EXCEPTION")
CODE_HEADER = "X-ClickHouse-Exception-Code"
TAG_HEADER = "X-ClickHouse-Exception-Tag"
TAG_BYTES = 16
"""Clients count on so many."""


def failure_text(error: AnalyticsError) -> bytes:
    """The error as one line. What it quotes of a header may be no UTF-8."""
    number, name = CODES.get(error.code, OTHER)
    said = error.message if error.message.endswith("?") else f"{error.message.rstrip('.')}."
    return f"Code: {number}. DB::Exception: {said} ({name})\n".encode("utf-8", "replace")


def failure_behind_rows(error: AnalyticsError, tag: str) -> bytes:
    """The error behind the pieces of an answer that were sent, as ClickHouse (25.11 and newer) and its clients mark it.

    The tag, which a header has named before, tells it from rows; the number is the text's length in bytes.
    """
    text, mark = failure_text(error), tag.encode()
    return b"\r\n__exception__\r\n%b\r\n%b%d %b\r\n__exception__\r\n" % (mark, text, len(text), mark)


def _challenge(request: web.Request) -> str:
    """How to sign in: by a password, but not for a browser at the root, which would send it to the dashboard too."""
    by_browser = "Sec-Fetch-Site" in request.headers or "Sec-Fetch-Mode" in request.headers
    return "Bearer" if request.path == "/" and by_browser else "Basic"


def failure_response(request: web.Request, error: AnalyticsError) -> web.Response:
    """The error as an answer, for one of which nothing was sent yet."""
    log.log(error.log_level, "request failed", extra={"route": request.path, "code": error.code})
    headers = {**NO_STORE, CODE_HEADER: str(CODES.get(error.code, OTHER)[0])}
    if error.status == 401:
        headers["WWW-Authenticate"] = f'{_challenge(request)} realm="analytics-server"'
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    body = failure_text(error)
    if request.query.get("compress") in TRUE and error.status not in NEVER_PACKED:
        headers["Content-Type"], body = "application/octet-stream", packed_block(body)
    else:
        headers["Content-Type"] = "text/plain; charset=UTF-8"
    response = web.Response(status=error.status, body=body, headers=headers)
    if error.status == 408:  # the rest of the body would be read as the next request
        response.force_close()
    return response
