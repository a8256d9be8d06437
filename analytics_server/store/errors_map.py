"""Turns the client library's exceptions into the house's four kinds of store error.

Constraint: nothing outside `store/` ever sees a clickhouse-connect exception. The
numbers are ClickHouse's own error codes (`SELECT code, name FROM system.errors`).
"""

from __future__ import annotations

import re

from clickhouse_connect.driver.exceptions import DataError, ProgrammingError
from clickhouse_connect.driver.exceptions import Error as DriverError

from analytics_server.errors import StoreAmbiguous, StoreBadRows, StoreError, StoreFatal, StoreRetryable, StoreTimeout

TIMEOUT_CODES = frozenset({159, 160, 209})
"""TIMEOUT_EXCEEDED, TOO_SLOW, SOCKET_TIMEOUT."""

RETRYABLE_CODES = frozenset(
    {164, 202, 203, 210, 225, 236, 241, 242, 243, 252, 279, 285, 286, 319, 394, 425, 439, 473, 519, 999}
)
"""READONLY, TOO_MANY_SIMULTANEOUS_QUERIES, NO_FREE_CONNECTION, NETWORK_ERROR, NO_ZOOKEEPER, ABORTED,
MEMORY_LIMIT_EXCEEDED, TABLE_IS_READ_ONLY, NOT_ENOUGH_SPACE, TOO_MANY_PARTS, ALL_CONNECTION_TRIES_FAILED,
TOO_FEW_LIVE_REPLICAS, UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE, UNKNOWN_STATUS_OF_INSERT, QUERY_WAS_CANCELLED,
SYSTEM_ERROR, CANNOT_SCHEDULE_TASK, DEADLOCK_AVOIDED, NO_REMOTE_SHARD_AVAILABLE, KEEPER_EXCEPTION."""

_URL_QUERY = re.compile(r"\?[^\s'\")]+=[^\s'\")]*")
"""The parameters of a question, which may name a person, stand in the address that the HTTP client's errors quote."""

DAMAGE_CODES = frozenset({32, 33, 40, 74, 76, 107, 117, 128, 131, 226, 228, 246, 271, 432})
"""ATTEMPT_TO_READ_AFTER_EOF, CANNOT_READ_ALL_DATA, CHECKSUM_DOESNT_MATCH, CANNOT_READ_FROM_FILE_DESCRIPTOR,
CANNOT_OPEN_FILE, FILE_DOESNT_EXIST, INCORRECT_DATA, TOO_LARGE_ARRAY_SIZE, TOO_LARGE_STRING_SIZE,
NO_FILE_IN_DATA_PART, BAD_SIZE_OF_FILE_IN_DATA_PART, CORRUPTED_DATA, CANNOT_DECOMPRESS, UNKNOWN_CODEC: what a
read of damaged files ends in."""

_DAMAGED_PART = re.compile(r"reading from part \S*?([^/\s]+)/? in table \S*?\.?`?(\w+)`? \(")
"""ClickHouse's own words for where it was."""

NEVER_SENT = ("connection refused", "newconnectionerror", "name or service not known", "connecttimeout")
"""Marks of a failure before anything reached the server."""


_CODE = re.compile(r"Code: \d+[.,] (?:DB|Poco)::Exception: ")
_NOISE = re.compile(
    r"Code: \d+[.,] |(?:DB|Poco)::Exception[.:]?,? ?|e\.code\(\) = \d+, |std::(?:\w+::)*\w+: |\(version [^)]*\)"
)
_STACK = re.compile(r"[.,:]? *(?:Stack trace|\s\d{1,2}\. +(?:\./|\S*(?:DB|Poco|std)::)).*", re.DOTALL)


def plain(text: str) -> str:
    """What the engine says without its C++ names, stack and version: one line of 400 characters at most."""
    line = _CODE.sub("", " ".join(text.split()))  # first: its number looks like that of a stack's frame
    line = _NOISE.sub("", _STACK.sub("", line))
    return " ".join(line.split())[:400].rstrip(". ")


def translate(error: Exception, what: str) -> StoreError:
    """The house's error for whatever the client raised while doing `what`."""
    text = _URL_QUERY.sub("?…", " ".join(str(error).split()))
    code = getattr(error, "code", None)
    engine_code = code if isinstance(code, int) else 0
    message = f"{what} failed: {text[:600]}"
    if engine_code in TIMEOUT_CODES:
        return StoreTimeout(message, engine_code=engine_code)
    if engine_code in RETRYABLE_CODES:
        return StoreRetryable(message, engine_code=engine_code)
    if engine_code in DAMAGE_CODES and (place := _DAMAGED_PART.search(text)):
        return StoreFatal(
            f"{what} failed: the files of part {place[1]} of table {place[2]} are damaged (ClickHouse's error "
            f"{engine_code}). analytics-server doctor says what to do.",
            engine_code=engine_code,
            damaged_part=(place[2], place[1]),
        )
    if engine_code:
        return StoreFatal(message, engine_code=engine_code)
    if any(mark in text.lower() for mark in NEVER_SENT):
        return StoreRetryable(message)
    if isinstance(error, ProgrammingError):
        return StoreFatal(message)
    if isinstance(error, (DriverError, OSError)) and not isinstance(error, DataError):
        return StoreAmbiguous(message)
    # Raised before anything was sent, while Python's values became ClickHouse's: the message may quote a value.
    return StoreBadRows(f"{what} failed before it was sent: {type(error).__name__}.")
