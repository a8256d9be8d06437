"""Turns the client library's exceptions into the four kinds of store error.

Constraint: nothing outside `store/` ever sees a clickhouse-connect exception.
"""

from __future__ import annotations

import re

from clickhouse_connect.driver.exceptions import DataError, ProgrammingError
from clickhouse_connect.driver.exceptions import Error as DriverError

from analytics_server.errors import StoreAmbiguous, StoreBadRows, StoreError, StoreFatal, StoreRetryable, StoreTimeout
from analytics_server.store.error_codes import EngineCode

TIMEOUT_CODES = frozenset({EngineCode.TIMEOUT_EXCEEDED, EngineCode.TOO_SLOW, EngineCode.SOCKET_TIMEOUT})

RETRYABLE_CODES = frozenset(
    {
        EngineCode.READONLY,
        EngineCode.TOO_MANY_SIMULTANEOUS_QUERIES,
        EngineCode.NO_FREE_CONNECTION,
        EngineCode.NETWORK_ERROR,
        EngineCode.NO_ZOOKEEPER,
        EngineCode.ABORTED,
        EngineCode.MEMORY_LIMIT_EXCEEDED,
        EngineCode.TABLE_IS_READ_ONLY,
        EngineCode.NOT_ENOUGH_SPACE,
        EngineCode.TOO_MANY_PARTS,
        EngineCode.ALL_CONNECTION_TRIES_FAILED,
        EngineCode.TOO_FEW_LIVE_REPLICAS,
        EngineCode.UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE,
        EngineCode.UNKNOWN_STATUS_OF_INSERT,
        EngineCode.QUERY_WAS_CANCELLED,
        EngineCode.SYSTEM_ERROR,
        EngineCode.CANNOT_SCHEDULE_TASK,
        EngineCode.DEADLOCK_AVOIDED,
        EngineCode.NO_REMOTE_SHARD_AVAILABLE,
        EngineCode.KEEPER_EXCEPTION,
    }
)

DAMAGE_CODES = frozenset(
    {
        EngineCode.ATTEMPT_TO_READ_AFTER_EOF,
        EngineCode.CANNOT_READ_ALL_DATA,
        EngineCode.CHECKSUM_DOESNT_MATCH,
        EngineCode.CANNOT_READ_FROM_FILE_DESCRIPTOR,
        EngineCode.CANNOT_OPEN_FILE,
        EngineCode.FILE_DOESNT_EXIST,
        EngineCode.INCORRECT_DATA,
        EngineCode.TOO_LARGE_ARRAY_SIZE,
        EngineCode.TOO_LARGE_STRING_SIZE,
        EngineCode.NO_FILE_IN_DATA_PART,
        EngineCode.BAD_SIZE_OF_FILE_IN_DATA_PART,
        EngineCode.CORRUPTED_DATA,
        EngineCode.CANNOT_DECOMPRESS,
        EngineCode.UNKNOWN_CODEC,
    }
)
"""What a read of damaged files ends in."""

_URL_QUERY = re.compile(r"\?[^\s'\")]+=[^\s'\")]*")
"""The parameters of a question, which may name a person, stand in the address that the HTTP client's errors quote."""

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
    """The store error for what the client raised while doing `what`."""
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


def not_sent(error: StoreError) -> StoreError:
    """The error of a call of which nothing was sent yet: fatal only if the server itself refused it."""
    return error if error.engine_code else StoreRetryable(error.message)
