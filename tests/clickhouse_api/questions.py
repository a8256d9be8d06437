"""The questions that each real client asks, and what it has to read, whatever the client's own types.

An answer is rows of cells: a text for all that is no list, map or NULL. Numbers are written out, times are UTC with six
digits behind the second. So programs in several languages answer in one form.
"""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum

from analytics_server.sql.printer.tables import TABLES

SITES = ("one.example", "two.example")
TITLE = "Grüße, 世界 🌍"
TEXT = 'it\'s\ta \\ "x" ü ? 世'
MOMENTS = tuple(f"2025-11-01T09:30:0{n}.250000Z" for n in range(3))
DATABASE = "the database"
"""Stands for the name by which a client connects."""
MANY = 25_000

Cell = str | list["Cell"] | dict[str, "Cell"] | None
Rows = list[list[Cell]]


ALWAYS = ("sites", "stored", "sessions", "nullable", "texts", "empty", "many")
"""Questions that are asked by each way to connect; the others are asked by the first one."""


@dataclass(frozen=True, slots=True)
class Question:
    """A statement and its rows. `of_sites`: only rows that begin with a site that is seen; others are always there."""

    text: str
    rows: Rows
    of_sites: bool = False


def _described(table: str) -> Rows:
    return [[column.name, column.type, "", "", column.about, "", ""] for column in TABLES[table].columns]


QUESTIONS: dict[str, Question] = {
    "databases": Question("SHOW DATABASES", [[DATABASE]]),
    "tables": Question("SHOW TABLES", [["events"], ["sessions"]]),
    "described": Question("DESCRIBE TABLE events", _described("events")),
    "described_sessions": Question("DESC TABLE sessions", _described("sessions")),
    "there": Question("EXISTS TABLE sessions", [["1"]]),
    "columns": Question(
        "SELECT name, type FROM system.columns WHERE table = 'sessions' ORDER BY position",
        [[column.name, column.type] for column in TABLES["sessions"].columns],
    ),
    "sites": Question(
        "SELECT site_id, count() AS n, uniq(visitor_id) FROM events GROUP BY site_id ORDER BY site_id",
        [[site, "3", "1"] for site in SITES],
        of_sites=True,
    ),
    "stored": Question(
        "SELECT site_id, ts, path, title, props, revenue_amount FROM events ORDER BY site_id, ts",
        [
            [site, moment, f"/{n}", TITLE, {"plan": "größer", "seats": str(n)}, f"{n}.25"]
            for site in SITES
            for n, moment in enumerate(MOMENTS)
        ],
        of_sites=True,
    ),
    "sessions": Question(
        "SELECT site_id, pageviews, entry_page, exit_page, started_at, duration_s FROM sessions ORDER BY site_id",
        [[site, "3", "/0", "/2", MOMENTS[0], "2"] for site in SITES],
        of_sites=True,
    ),
    "joined": Question(
        "SELECT e.site_id, e.path, s.entry_page FROM events AS e JOIN sessions AS s"
        " ON e.session_id = s.session_id AND e.site_id = s.site_id WHERE e.path = '/1' ORDER BY e.site_id",
        [[site, "/1", "/0"] for site in SITES],
        of_sites=True,
    ),
    "daily": Question(
        "SELECT site_id, toStartOfDay(ts) AS day, countIf(name = 'pageview') AS n FROM events"
        " GROUP BY site_id, day ORDER BY site_id, day",
        [[site, "2025-11-01T00:00:00.000000Z", "3"] for site in SITES],
        of_sites=True,
    ),
    "uuid": Question(
        "SELECT toUUID('61f0c404-5cb3-11e7-907b-a6006ad3dba0')", [["61f0c404-5cb3-11e7-907b-a6006ad3dba0"]]
    ),
    "times": Question(
        "SELECT toDateTime64('2026-11-01 09:30:00.123', 3, 'UTC'), toDateTime('2026-11-01 09:30:01', 'UTC'),"
        " toDate('2026-11-02'), toDateTime64('1969-12-31 23:59:59.5', 6, 'UTC')",
        [["2026-11-01T09:30:00.123000Z", "2026-11-01T09:30:01.000000Z", "2026-11-02", "1969-12-31T23:59:59.500000Z"]],
    ),
    "decimals": Question(
        "SELECT toDecimal64('1234567890.1234', 4), toDecimal64('-0.05', 2), toDecimal32('7.5', 1)",
        [["1234567890.1234", "-0.05", "7.5"]],
    ),
    "whole": Question(
        "SELECT toUInt64(18446744073709551615), toUInt64(9007199254740993), toInt64(-9223372036854775808),"
        " toUInt8(255), toInt32(-2147483648)",
        [["18446744073709551615", "9007199254740993", "-9223372036854775808", "255", "-2147483648"]],
    ),
    "floats": Question(
        "SELECT toFloat64(0.1), toFloat32(1.5), toFloat64(-1234567.25)", [["0.1", "1.5", "-1234567.25"]]
    ),
    "maps": Question(
        "SELECT map('a', toUInt64(1), 'ü', toUInt64(9007199254740993)), map('k', ['x', 'y']),"
        " CAST(map(), 'Map(String, String)')",
        [[{"a": "1", "ü": "9007199254740993"}, {"k": ["x", "y"]}, {}]],
    ),
    "arrays": Question(
        "SELECT ['a', 'ü'], [toUInt64(9007199254740993)], [[1, 2], [3]], CAST([], 'Array(String)')",
        [[["a", "ü"], ["9007199254740993"], [["1", "2"], ["3"]], []]],
    ),
    "nullable": Question(
        "SELECT CAST(NULL, 'Nullable(String)'), CAST('x', 'Nullable(String)'), CAST(NULL, 'Nullable(UInt64)'),"
        " CAST(5, 'Nullable(UInt64)'), CAST([1, NULL], 'Array(Nullable(Int32))')",
        [[None, "x", None, "5", ["1", None]]],
    ),
    "dictionary": Question(
        "SELECT CAST('x', 'LowCardinality(String)'), CAST(NULL, 'LowCardinality(Nullable(String))'),"
        " CAST('ab', 'FixedString(2)'), true, CAST('1.2.3.4', 'IPv4'), CAST('2001:db8::1', 'IPv6')",
        [["x", None, "ab", "true", "1.2.3.4", "2001:db8::1"]],
    ),
    "texts": Question(
        f"SELECT '{TITLE}', 'it\\'s', 'a\\\\b', '', 'tab\\there'", [[TITLE, "it's", "a\\b", "", "tab\there"]]
    ),
    "empty": Question("SELECT site_id, path, ts, props FROM events WHERE path = '/none'", []),
    "many": Question(
        f"SELECT number, toString(number * 7) FROM numbers({MANY}) ORDER BY number",
        [[str(n), str(n * 7)] for n in range(MANY)],
    ),
    "windows": Question(
        "WITH n AS (SELECT number AS x FROM numbers(3)) SELECT x, sum(x) OVER (ORDER BY x) AS s FROM n ORDER BY x",
        [["0", "0"], ["1", "1"], ["2", "3"]],
    ),
}
REFUSED = {
    "table": ("SELECT * FROM tokens", "60"),
    "column": ("SELECT tokens FROM events", "47"),
    "statement": ("DROP TABLE events", "392"),
    "text": ("SELECT 1 FROM", "62"),
    "by the engine": ("SELECT toUInt8('x')", "80"),
    "midway": ("SELECT number, toUInt8(if(number = 80000, 'x', '1')) FROM numbers(90000)", "80"),
}
"""Statements that are refused, and the number of ClickHouse's error."""
ENDLESS = ("SELECT sum(a.number + b.number) FROM numbers(1000000) AS a, numbers(1000000) AS b", "159")
STRANGER = "516"
"""The number where the password is no token."""
BOUND: Rows = [
    [
        TEXT,
        "-5",
        ["x", "it's"],
        "2026-11-01T09:30:00.000000Z",
        "2026-11-01T09:30:00.250000Z",
        None,
        "61f0c404-5cb3-11e7-907b-a6006ad3dba0",
        "1.5",
        "true",
        "-12.34",
        ["9007199254740993"],
        "2026-11-02",
    ]
]
"""What comes back of a statement's parameters."""
BOUND_TEXT = (
    "SELECT {text:String}, {number:Int64}, {list:Array(String)}, {second:DateTime('UTC')},"
    " {moment:DateTime64(3, 'UTC')}, {none:Nullable(UInt8)}, {uuid:UUID}, {float:Float64}, {bool:Bool},"
    " {decimal:Decimal(9, 2)}, {many:Array(UInt64)}, {day:Date}"
)


def expected(sites: Sequence[str], database: str, names: Iterable[str] = QUESTIONS) -> dict[str, Rows]:
    """The answers for one who sees these sites and connects to a database by this name."""
    asked = {name: QUESTIONS[name] for name in names}
    return {
        name: [
            [database if cell == DATABASE else cell for cell in row]
            for row in question.rows
            if not question.of_sites or row[0] in sites
        ]
        for name, question in asked.items()
    }


def lines(refused: Mapping[str, tuple[str, str]]) -> str:
    """What a program asks: a name, when, and a statement, with tabulators between them."""
    asked = [(name, "always" if name in ALWAYS else "once", each.text) for name, each in QUESTIONS.items()]
    asked += [("bound", "bound", BOUND_TEXT)]
    asked += [(name, "refused", text) for name, (text, _) in refused.items()]
    return "".join("\t".join(line) + "\n" for line in asked)


def plain(value: object) -> Cell:
    """A value of a client for Python in the common form."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        moment = value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)
        return f"{moment.isoformat(timespec='microseconds')}Z"
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    if isinstance(value, bytes):
        return value.decode()
    assert isinstance(value, str | int | date | uuid.UUID | Enum | ipaddress.IPv4Address | ipaddress.IPv6Address), type(
        value
    )
    return str(value)
