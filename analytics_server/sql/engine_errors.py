"""Errors of ClickHouse about a query, in words for the one who wrote it.

ClickHouse speaks of the SQL it got, which is ours: names of inner tables, other databases'
paths and settings may stand in its messages. So its text is never passed on as it is:
what is quoted in it is shown only if the caller wrote it, and everything behind the first
sentence is cut off.
"""

from __future__ import annotations

import re

from analytics_server.errors import RequestError, StoreError, StoreFatal, StoreRetryable, StoreTimeout
from analytics_server.sql.printer.context import CTE
from analytics_server.sql.printer.expressions import PARAMETER
from analytics_server.sql.printer.tables import TABLES
from analytics_server.sql.refusal import SqlRefused, TextPosition, nearest, place_of, shown
from analytics_server.store.error_codes import EngineCode

UNKNOWN_FUNCTIONS = (EngineCode.UNKNOWN_FUNCTION, EngineCode.UNKNOWN_AGGREGATE_FUNCTION)
MEMORY = (EngineCode.CANNOT_ALLOCATE_MEMORY, EngineCode.MEMORY_LIMIT_EXCEEDED)
TOO_MUCH_READ = (EngineCode.TOO_MANY_ROWS, EngineCode.TOO_MANY_BYTES)

EXPLAINED = frozenset(
    {
        EngineCode.CANNOT_PARSE_TEXT,
        EngineCode.PARAMETER_OUT_OF_BOUND,
        EngineCode.NUMBER_OF_COLUMNS_DOESNT_MATCH,
        EngineCode.CANNOT_PARSE_INPUT_ASSERTION_FAILED,
        EngineCode.ATTEMPT_TO_READ_AFTER_EOF,
        EngineCode.TOO_FEW_ARGUMENTS_FOR_FUNCTION,
        EngineCode.BAD_ARGUMENTS,
        EngineCode.CANNOT_PARSE_DATE,
        EngineCode.CANNOT_PARSE_DATETIME,
        EngineCode.NUMBER_OF_ARGUMENTS_DOESNT_MATCH,
        EngineCode.ILLEGAL_TYPE_OF_ARGUMENT,
        EngineCode.ILLEGAL_COLUMN,
        EngineCode.LOGICAL_ERROR,
        EngineCode.UNKNOWN_TYPE,
        EngineCode.TYPE_MISMATCH,
        EngineCode.ARGUMENT_OUT_OF_BOUND,
        EngineCode.CANNOT_CONVERT_TYPE,
        EngineCode.CANNOT_PARSE_NUMBER,
        EngineCode.INCORRECT_QUERY,
        EngineCode.INCORRECT_DATA,
        EngineCode.ILLEGAL_INDEX,
        EngineCode.TOO_LARGE_ARRAY_SIZE,
        EngineCode.CANNOT_READ_ARRAY_FROM_TEXT,
        EngineCode.TOO_LARGE_STRING_SIZE,
        EngineCode.PARAMETERS_TO_AGGREGATE_FUNCTIONS_MUST_BE_LITERALS,
        EngineCode.ZERO_ARRAY_OR_TUPLE_INDEX,
        EngineCode.ILLEGAL_DIVISION,
        EngineCode.MULTIPLE_EXPRESSIONS_FOR_ALIAS,
        EngineCode.ILLEGAL_PREWHERE,
        EngineCode.ILLEGAL_AGGREGATION,
        EngineCode.SIZES_OF_ARRAYS_DONT_MATCH,
        EngineCode.AMBIGUOUS_IDENTIFIER,
        EngineCode.NOT_AN_AGGREGATE,
        EngineCode.UNION_ALL_RESULT_STRUCTURES_MISMATCH,
        EngineCode.VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE,
        EngineCode.CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN,
        EngineCode.AMBIGUOUS_COLUMN_NAME,
        EngineCode.NO_COMMON_TYPE,
        EngineCode.INVALID_JOIN_ON_EXPRESSION,
        EngineCode.DECIMAL_OVERFLOW,
        EngineCode.INVALID_LIMIT_EXPRESSION,
        EngineCode.CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING,
        EngineCode.BAD_QUERY_PARAMETER,
        EngineCode.INVALID_WITH_FILL_EXPRESSION,
        EngineCode.CANNOT_READ_MAP_FROM_TEXT,
        EngineCode.UNKNOWN_ELEMENT_OF_ENUM,
    }
)
"""Errors whose first sentence helps: types, numbers of arguments, aggregation, parsing."""

DECIMAL_FAULTS = (EngineCode.ILLEGAL_TYPE_OF_ARGUMENT, EngineCode.CANNOT_CONVERT_TYPE)
"""What an engine says that can't calculate with a Decimal."""
MAX_SENTENCE = 300
_TEXT = re.compile(r"DB::Exception:\s*(?P<text>.*)", re.DOTALL)
_NAME = re.compile(r"\((?P<name>[A-Z][A-Z0-9_]{2,})\)")
_END = re.compile(
    r"\s*(?:[.:,;]?\s*(?:\bin scope\b|\bIn scope\b|\bwhile executing\b|\bWhile (?:executing|processing)\b|\bin query\b"
    r"|\bStack trace\b|\bMaybe you meant\b|\bNote:|\bNote that\b|\bIn query\b|\(version\b|\(in file\b))"
)
_QUOTED = re.compile(r"'(?P<single>(?:[^'\\]|\\.)*)'|`(?P<back>[^`]*)`|\"(?P<double>[^\"]*)\"")
_INNER = re.compile(r"\b__table\d+\.")
_IDENTIFIER = re.compile(r"[`'](?P<name>[^`']+)[`']")
_SUSPECT = re.compile(r"__|/|\\|\bsystem\b|\bdatabase\b|\bsetting\b", re.IGNORECASE)


def explain(error: StoreError, text: str) -> Exception:
    """The error to raise for one that ClickHouse raised while it ran the caller's text."""
    code = error.engine_code
    if isinstance(error, StoreTimeout):
        return SqlRefused(
            "The query took longer than it may ([sql] timeout_s): read fewer days or columns.", code="sql_timeout"
        )
    if code in MEMORY:
        return SqlRefused(
            "The query needs more memory than it may use ([sql] memory_mb): group by less, or read fewer days.",
            code="sql_memory",
        )
    if code in TOO_MUCH_READ:
        return SqlRefused(
            "The query reads more than it may ([sql] read_rows, read_mb): read fewer days or columns.",
            code="sql_too_much_read",
        )
    if code == EngineCode.TOO_MANY_ROWS_OR_BYTES:
        return answer_too_big()
    if isinstance(error, StoreFatal) and code:
        return _refused(code, error.message, text)
    if isinstance(error, StoreRetryable):
        return StoreRetryable("ClickHouse can't be asked just now.", engine_code=code)
    return type(error)("The query failed in ClickHouse.", engine_code=code)


def answer_too_big() -> SqlRefused:
    """The error for an answer of more bytes than it may have."""
    return SqlRefused(
        "The answer is larger than it may be ([sql] answer_mb): ask for fewer rows or columns.",
        code="sql_answer_too_big",
    )


def _refused(code: int, message: str, text: str) -> RequestError:
    said = _TEXT.search(message)
    sentence = said["text"] if said else message
    if code == EngineCode.UNKNOWN_IDENTIFIER:
        return _unknown_column(sentence, text)
    if code in UNKNOWN_FUNCTIONS:
        name = _first_name(sentence)
        return SqlRefused(
            f"This server's ClickHouse has no function {shown(name)} that could stand here."
            if name
            else "This server's ClickHouse lacks a function of the query.",
            code="unknown_function",
            place=_find(name, text),
        )
    if code == EngineCode.CANNOT_COMPILE_REGEXP:
        return SqlRefused(
            "A regular expression can't be read. The syntax is RE2's, without lookaround and back-references;"
            " in SQL a backslash is written twice.",
            code="bad_pattern",
        )
    if code == EngineCode.LOGICAL_ERROR and "JOIN combination" in message:
        return SqlRefused(
            "This server's ClickHouse has no SEMI, ANTI and ASOF joins: write IN (SELECT …) or NOT IN (SELECT …).",
            code="unsupported_join",
        )
    if code == EngineCode.TOO_DEEP_RECURSION:
        return SqlRefused(
            "WITH RECURSIVE went on for too many rounds: give it a condition that ends it, such as WHERE n < 100.",
            code="sql_too_big",
        )
    names = _NAME.findall(message)
    name = names[-1] if names else "error"
    helpful = _sentence(sentence, text) if code in EXPLAINED else ""
    about = f"ClickHouse can't run this: {helpful}" if helpful else f"ClickHouse can't run this query ({name})."
    if code in DECIMAL_FAULTS and "Decimal(" in sentence:
        about += " With a Decimal, write toFloat64(…) or toDecimal64(…, 4) around it."
    return SqlRefused(about, code="sql_failed", place=_find(_first_name(helpful), text))


def _unknown_column(sentence: str, text: str) -> SqlRefused:
    name = _own(_first_name(sentence))
    if not name:
        return SqlRefused("The query names a column that does not exist.", code="unknown_column")
    known = sorted({column.name for table in TABLES.values() for column in table.columns})
    return SqlRefused(
        f"There is no column {shown(name)} here.{nearest(name.split('.')[-1], known)}",
        code="unknown_column",
        place=_find(name, text) or _find(name.split(".")[-1], text),
    )


def _first_name(sentence: str) -> str:
    found = _IDENTIFIER.search(sentence)
    return found["name"] if found else ""


def _own(name: str) -> str:
    """A name as the caller gave it."""
    return _INNER.sub("", name).replace(CTE, "").removeprefix(PARAMETER)


def _sentence(sentence: str, text: str) -> str:
    """ClickHouse's first sentence, with nothing quoted that the caller didn't write; empty if it says too much."""
    end = _END.search(sentence)
    sentence = " ".join(sentence[: end.start()].split()) if end else " ".join(sentence.split())
    sentence = _NAME.sub("", _INNER.sub("", sentence)).strip(" .:,")

    def keep(found: re.Match[str]) -> str:
        inner = _own(next((group for group in found.groups() if group is not None), ""))
        last = inner.rpartition(".")[2]
        return f"'{inner}'" if inner and inner in text else f"'{last}'" if last and last in text else "…"

    sentence = _QUOTED.sub(keep, sentence)
    if not sentence or _SUSPECT.search(_QUOTED.sub("", sentence)):
        return ""
    return f"{sentence[:MAX_SENTENCE]}."


def _find(name: str, text: str) -> TextPosition | None:
    """Where the caller wrote a name first."""
    if not name:
        return None
    found = re.search(rf"(?<!\w){re.escape(_own(name))}(?!\w)", text)
    return place_of(text, found.start()) if found else None
