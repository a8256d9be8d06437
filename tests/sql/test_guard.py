"""What is printed, where a refusal points, and what the parts of the guard allow."""

# ruff: noqa: E501 (a query, and a case, is one line)
from __future__ import annotations

import contextlib
import re

import pytest

from analytics_server.model import COLUMN_NAMES, SESSION_ATTRIBUTES
from analytics_server.sql.catalog import Catalog, VirtualTable
from analytics_server.sql.guard import Guard
from analytics_server.sql.printer import dialect, weight
from analytics_server.sql.printer.functions import AGGREGATES, Functions
from analytics_server.sql.printer.tables import EVENTS, SESSIONS
from analytics_server.sql.printer.types import BadSqlType, parse_type
from analytics_server.sql.refusal import SqlRefused
from tests.sql.hostile import TEXTS
from tests.sql.useful import QUERIES


def printed(guard: Guard, text: str, params: dict[str, object] | None = None) -> str:
    return guard.check(text, params or {}, sites={"mine.example": ()}, database="db").sql


def refusal(guard: Guard, text: str, params: dict[str, object] | None = None) -> SqlRefused:
    with pytest.raises(SqlRefused) as caught:
        guard.check(text, params or {}, sites={"mine.example": ()}, database="db")
    return caught.value


def test_tables_have_the_columns_of_the_contract() -> None:
    assert EVENTS.names == [name for name in COLUMN_NAMES if name != "session_start"]
    first = "site_id session_id visitor_id user_id started_at ended_at duration_s pageviews events is_bounce entry_page"
    assert SESSIONS.names == [*first.split(), "exit_page", "hostname", *SESSION_ATTRIBUTES]


@pytest.mark.parametrize(
    "zone",
    [
        "'{}'",
        "concat('{}', '')",
        "lower('{}')",
        "(SELECT '{}')",
        "if(1, '{}', '{}')",
        "'{}' || ''",
        "{{zone:String}}",
        "zone",
        "['{}'][1]",
    ],
)
@pytest.mark.parametrize("call", [
    "toTimeZone(ts, {})", "toHour(ts, {})", "toString(ts, {})", "now({})", "toDate(ts, {})", "toDateTime('2026-01-01 00:00:00', {})",
    "toDateTime64(1, 3, {})", "toStartOfWeek(ts, 1, {})", "dateTrunc('day', ts, {})", "dateDiff('day', ts, ts, {})",
    "makeDateTime(2026, 1, 1, 1, 1, 1, {})", "formatDateTime(ts, '%Y', {})", "addDays(ts, 1, {})", "toStartOfInterval(ts, INTERVAL 1 DAY, ts, {})",
    "arrayMap(x -> toHour(x, {}), [ts])", "TOHOUR(ts, {})",
])  # fmt: skip
def test_no_time_zone_is_a_file(guard: Guard, call: str, zone: str) -> None:
    """ClickHouse would open it, whatever it is, and wait for its end with everybody else's queries."""
    written = zone.format(*["file:/dev/stdin"] * 2)
    asked = f"WITH 'file:/x' AS zone SELECT {call.format(written)} FROM events"
    params: dict[str, object] = {"zone": "file:/dev/stdin"} if "{" in written else {}
    assert "a time zone is a name in quotes" in refusal(guard, asked, params).message


def named(table: str, times: int) -> str:
    return f"SELECT count() FROM {', '.join(f'{table} AS t{n}' for n in range(times))}"


def test_tables_of_constant_rows_weigh_what_they_print(guard: Guard) -> None:
    """Ten thousand characters would become megabytes, which the engine reads without looking at the time."""
    rows = {"ascii": "x" * 1_000, "two bytes": "ü" * 999, "small": "x"}
    tables = {("system", name): VirtualTable({"a": "String"}, [(row,)] * 100) for name, row in rows.items()}
    catalog = Catalog(databases=frozenset({"system"}), tables=tables)
    one = tables["system", "ascii"].scoped({"a"})

    def check(text: str) -> str:
        return guard.check(text, {}, sites={"mine.example": ()}, database="db", catalog=catalog).sql

    most = weight.PRINTED_BYTES // len(one)
    assert len(check(named("system.ascii", most))) <= weight.PRINTED_BYTES
    assert check(named("system.small", 49)).count("arrayJoin") == 49
    within = "WITH t AS (SELECT a FROM system.small) "
    assert check(within + named("t", 32))
    for text in (
        named("system.ascii", most + 1),
        named("system.`two bytes`", most // 2 + 2),
        named("system.small", 50),
        within + named("t", 33),
    ):
        with pytest.raises(SqlRefused) as caught:
            check(text)
        assert caught.value.code == "sql_too_big"


def test_a_table_with_an_alias_is_still_known_by_its_database_and_name(guard: Guard) -> None:
    tables = {("system", name): VirtualTable({"a": "String", "b": "String"}, [("x", "y")]) for name in ("one", "two")}
    catalog = Catalog(databases=frozenset({"system", "db"}), tables=tables)

    def check(text: str) -> str:
        return guard.check(text, {}, sites={"mine.example": ()}, database="db", catalog=catalog).sql

    joined = check("SELECT t.a FROM system.one t JOIN system.two u ON system.one.a = system.two.b")
    assert "ON `t`.`a` = `u`.`b`" in joined
    assert "WHERE `e`.`path` = ''" in check("SELECT 1 FROM db.events AS e WHERE db.events.path = ''")
    assert "arrayElement(`e`.`props`, 'plan')" in check("SELECT db.events.props.plan FROM db.events AS e")
    assert "WHERE `one`.`a` = ''" in check("SELECT 1 FROM system.one WHERE system.one.a = ''")
    inner = check("SELECT 1 FROM system.one t WHERE EXISTS (SELECT 1 FROM system.two u WHERE system.one.a = u.a)")
    assert "`t`.`a` = `u`.`a`" in inner
    twice = check("SELECT 1 FROM system.one t JOIN system.one u ON system.one.a = u.a")
    assert "`system`.`one`.`a` = `u`.`a`" in twice  # of two, none is meant: the engine says so
    aside = check("SELECT 1 FROM system.one t WHERE system.two.a = ''")
    assert "`system`.`two`.`a` = ''" in aside


def test_values_are_rows_of_constants(guard: Guard) -> None:
    text = printed(guard, "SELECT v.c1, c2 FROM VALUES (('a', -1), ('it''s', NULL)) AS v")
    assert "arrayJoin([tuple('a', -1), tuple('it\\'s', NULL)])" in text
    assert "tupleElement(`__cells`, 2) AS `c2`" in text
    for values in ("VALUES ('a', 1)", "VALUES (('a', 1), ('b'))", "VALUES (('a', 1), ('b', path))", "VALUES ((1, now()))",
                   "VALUES ((1, (SELECT 1)))", "VALUES ('a Int8', 1, 2)", "VALUES ((1, {p:String}))"):  # fmt: skip
        params: dict[str, object] = {"p": "x"} if "{" in values else {}
        assert refusal(guard, f"SELECT 1 FROM {values}", params).code == "bad_sql", values


def test_of_names_with_two_underscores_one_is_free(guard: Guard) -> None:
    assert "AS `__timestamp`" in printed(guard, "SELECT ts AS __timestamp FROM events")
    for name in ("__timestamps", "__TIMESTAMP", "__row", "__with_x", "__cells", "__"):
        assert "reserved" in refusal(guard, f"SELECT ts AS {name} FROM events").message


def test_sites_that_hide_columns_weigh_what_they_print(guard: Guard) -> None:
    hiding = {f"{'a' * 200}{n}.example": ("path", "title", "country", "city", "region") for n in range(99)}
    sites = {"mine.example": (), **hiding}
    where = " WHERE t0.path = '' OR t0.title = ''"
    one = guard.check(named("events", 1) + where, {}, sites=sites, database="db").sql
    most = weight.PRINTED_BYTES // len(one)
    assert guard.check(named("events", most) + where, {}, sites=sites, database="db").sql
    with pytest.raises(SqlRefused, match="name fewer tables") as caught:
        guard.check(named("events", most + 1) + where, {}, sites=sites, database="db")
    assert caught.value.code == "sql_too_big"


@pytest.mark.parametrize("zone", ["right/Europe/Berlin", "posix/Europe/Berlin", "europe/berlin"])
def test_a_time_zone_is_one_that_clickhouse_and_browsers_know(guard: Guard, zone: str) -> None:
    for query in (f"SELECT toHour(ts, '{zone}') FROM events", "SELECT toHour(ts, {z:String}) FROM events"):
        refused = refusal(guard, query, {"z": zone} if "{" in query else {})
        assert "did you mean Europe/Berlin?" in refused.message
    assert refusal(guard, f"SELECT CAST(ts, 'DateTime(\\'{zone}\\')') FROM events").code == "unknown_type"


@pytest.mark.parametrize(
    "zone",
    ["file:/etc/passwd", "/etc/passwd", "../etc/passwd", "a/../b", "", "a:b", "UTC/", "Europe/Berlin\n", "U" * 65],
)
def test_a_time_zone_is_a_name(guard: Guard, zone: str) -> None:
    refusal(guard, "SELECT toHour(ts, {zone:String}) FROM events", {"zone": zone})
    with pytest.raises(BadSqlType):
        parse_type(f"DateTime('{zone}')")


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "Etc/GMT-14"])
def test_a_named_time_zone_is_printed(guard: Guard, zone: str) -> None:
    assert f"toHour(`ts`, '{zone}')" in printed(guard, f"SELECT toHour(ts, '{zone}') FROM events")
    assert "toHour(`ts`, {user_zone:String})" in printed(
        guard, "SELECT toHour(ts, {zone:String}) FROM events", {"zone": zone}
    )
    assert str(parse_type(f"DateTime64(3, '{zone}')")) == f"DateTime64(3, '{zone}')"


def test_table_becomes_a_subquery_of_one_site_with_the_columns_that_are_named(guard: Guard) -> None:
    assert printed(guard, "SELECT path, e.ts FROM events e WHERE name = 'x'") == (
        "SELECT `path`, `e`.`ts` FROM (SELECT `__row`.`ts` AS `ts`, CAST(`__row`.`name`, 'String') AS `name`,"
        " CAST(`__row`.`path`, 'String') AS `path` FROM `db`.`events` AS `__row`"
        " PREWHERE `__row`.`site_id` = {site:String}) AS `e` WHERE `name` = 'x' LIMIT 1001"
    )


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        ("SELECT 1 LIMIT 7", "SELECT 1 AS `1` LIMIT 7"),
        ("SELECT 1 LIMIT 5000", "SELECT 1 AS `1` LIMIT 1001"),
        ("SELECT a - b - c * -1", "SELECT `a` - `b` - (`c` * (-1)) AS `a - b - c * -1` LIMIT 1001"),
        ("SELECT props.a.b, x.1.2", "SELECT arrayElement(`props`, 'a.b') AS `props.a.b`, tupleElement(tupleElement(`x`, 1), 2) AS `x.1.2` LIMIT 1001"),
        ("SELECT 'a\\'b' AS `c\\`d`", "SELECT 'a\\'b' AS `c\\`d` LIMIT 1001"),
        ("SELECT x IN (1), y NOT IN (1, 2)", "SELECT `x` IN (1) AS `x IN (1)`, NOT (`y` IN (1, 2)) AS `y NOT IN (1, 2)` LIMIT 1001"),
        ("WITH a AS (SELECT 1) SELECT * FROM a", "WITH `__with_a` AS (SELECT 1) SELECT * FROM `__with_a` AS `a` LIMIT 1001"),
        ("SELECT 1 UNION ALL SELECT 2", "SELECT * FROM (SELECT 1 UNION ALL SELECT 2) LIMIT 1001"),
        ("SELECT COUNT(*), Quantile(0.5)(x)", "SELECT count() AS `COUNT(*)`, quantile(0.5)(`x`) AS `Quantile(0.5)(x)` LIMIT 1001"),
    ],
)  # fmt: skip
def test_prints(guard: Guard, text: str, sql: str) -> None:
    assert printed(guard, text) == sql


def test_never_prints_the_text_itself(guard: Guard) -> None:
    assert "secret" not in printed(guard, "SELECT /* secret */ 1 AS a -- secret\n")


@pytest.mark.parametrize(
    ("text", "code", "line", "column", "word"),
    [
        ("SELECT\n  path,\n  file('x')\nFROM events", "unknown_function", 3, 3, "file"),
        ("SELECT toDaet(ts) FROM events", "unknown_function", 1, 8, "toDate"),
        ("SELECT * FROM evnts", "unknown_table", 1, 15, "events"),
        ("SELECT *\nFROM system.tables", "unknown_table", 2, 13, "system.tables"),
        ("SELECT 1;\nDROP TABLE events", "sql_not_allowed", 1, 9, "one statement"),
        ("DROP TABLE events", "sql_not_allowed", 1, 1, "DROP"),
        ("SELECT path FROM events\nSETTINGS readonly = 0", "sql_not_allowed", 2, 1, "SETTINGS"),
        ("SELECT path FROM events\nSAMPLE 1", "sql_not_allowed", 2, 1, "WHERE"),
        ("SELECT CAST(ts AS Nested(a Int8)) FROM events", "unknown_type", 1, 19, "Nested"),
        ("SELECT a b c FROM events", "bad_sql", 1, 12, "c"),
        ("SELECT 'ü', (1 FROM events", "bad_sql", None, None, ""),
        ("SELECT 1 WHERE 'x' IN (tokens)", "sql_not_allowed", 1, 24, "IN"),
    ],
)
def test_refusal_points_at_the_place(
    guard: Guard, text: str, code: str, line: int | None, column: int | None, word: str
) -> None:
    error = refusal(guard, text)
    assert error.code == code
    assert error.status == 400
    assert word in error.message
    if line is not None:
        assert error.place is not None
        assert (error.place.line, error.place.column) == (line, column), error.message
        assert error.message.startswith(f"Line {line}, column {column}: ")


def test_bounds_hold_just_below_and_just_above(guard: Guard) -> None:
    deep, nodes = dialect.MAX_DEPTH, weight.MAX_NODES
    assert printed(guard, f"SELECT {'(' * deep}1{')' * deep}")
    assert refusal(guard, f"SELECT {'(' * (deep + 1)}1{')' * (deep + 1)}").code == "sql_too_big"
    assert printed(guard, "SELECT " + ",".join(["1"] * (nodes - 2)))
    assert refusal(guard, "SELECT " + ",".join(["1"] * nodes)).code == "sql_too_big"
    head = "SELECT 1"
    assert printed(guard, head + " " * (guard.max_chars - len(head)))
    assert refusal(guard, head + " " * (guard.max_chars - len(head) + 1)).code == "sql_too_big"
    unions = " UNION ALL ".join(["SELECT 1"] * weight.MAX_SELECTS)
    assert printed(guard, unions)
    assert refusal(guard, unions + " UNION ALL SELECT 1").code == "sql_too_big"
    assert printed(guard, "SELECT " + ", ".join(["arrayMap(x -> arrayMap(y -> 1, a), a)"] * weight.MAX_NESTED_LAMBDAS))
    many = ", ".join(["arrayMap(x -> arrayMap(y -> 1, a), a)"] * (weight.MAX_NESTED_LAMBDAS + 1))
    assert refusal(guard, "SELECT " + many).code == "sql_too_big"
    applied = " APPLY(x -> x + x)"
    assert printed(guard, f"SELECT *{applied * 2} FROM events")
    assert refusal(guard, f"SELECT *{applied * 4} FROM events").code == "sql_too_big"
    assert refusal(guard, "SELECT f" + "." * 5).code == "bad_sql"


def test_names_that_double_are_counted_before_they_are_expanded(guard: Guard) -> None:
    def doubled(count: int) -> str:
        return "SELECT path AS a0, " + ", ".join(f"a{n} || a{n} AS a{n + 1}" for n in range(count)) + " FROM events"

    assert printed(guard, doubled(6))
    assert refusal(guard, doubled(20)).code == "sql_too_big"


def test_every_useful_query_is_printed_quickly(guard: Guard) -> None:
    for query in QUERIES:
        assert "{site:String}" in printed(guard, query.sql, query.params) or "events" not in query.sql


def test_function_names_are_found_in_any_case_and_never_twice(functions: Functions) -> None:
    names = [function.name for family in functions.families.values() for function in family]
    assert len(names) == len(set(names)) > 500
    for name in names:
        found = functions.find(name)
        assert found is not None
        assert found.name == name
    upper = functions.find("COUNTIF")
    assert upper is None or upper.name == "countIf"
    combined = functions.find("sumArrayIf")
    assert combined is not None
    assert (combined.name, combined.family) == ("sumArrayIf", AGGREGATES)
    for unknown in (
        "topKState",
        "groupArrayMerge",
        "sumMergeIf",
        "sumIfIf",
        "lowerIf",
        "row_numberIf",
        "sumIfArrayOrNull",
        "file",
        "",
    ):
        assert functions.find(unknown) is None, unknown


def test_functions_have_a_signature_and_a_sentence(functions: Functions) -> None:
    for function in (each for family in functions.families.values() for each in family):
        assert function.signature.startswith(function.name)
        assert re.fullmatch(r".+[.?…']", function.about), function.about


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("UInt8", "UInt8"),
        ("int", "Int32"),
        ("DateTime64", "DateTime64(3)"),
        ("DateTime64(6, 'Europe/Berlin')", "DateTime64(6, 'Europe/Berlin')"),
        ("Nullable( LowCardinality( String ) )", "Nullable(LowCardinality(String))"),
        ("Map(String, Array(Tuple(a UInt8, b String)))", "Map(String, Array(Tuple(a UInt8, b String)))"),
        ("Decimal(9)", "Decimal(9, 0)"),
        ("FixedString(256)", "FixedString(256)"),
    ],
)
def test_reads_types(text: str, kind: str) -> None:
    assert str(parse_type(text)) == kind


@pytest.mark.parametrize(
    "text",
    [
        "", "UInt9", "uint8", "Array", "Array()", "Array(UInt8", "Array(UInt8))", "Map(String)", "FixedString(257)", "FixedString(0)",
        "DateTime('../etc')", "DateTime64(10)", "Decimal(77)", "Nested(a Int8)", "AggregateFunction(sum, UInt8)", "JSON", "Dynamic",
        "Variant(String)", "Object('json')", "Tuple(a UInt8, String)", "String; DROP", "Array(" * 9 + "UInt8" + ")" * 9,
        "Tuple(" + ", ".join(["UInt8"] * 64) + ")", "Tuple(`a` UInt8)", "Enum8('a' = 1)",
    ],
)  # fmt: skip
def test_refuses_types(text: str) -> None:
    with pytest.raises(BadSqlType):
        parse_type(text)


@pytest.mark.parametrize(
    ("kind", "value", "fits"),
    [
        ("UInt8", 255, True), ("UInt8", 256, False), ("UInt8", -1, False), ("UInt8", True, False), ("UInt8", "5", False),
        ("Int8", -128, True), ("Int8", -129, False), ("UInt64", 2**64 - 1, True), ("UInt64", 2**64, False), ("Int64", 1.5, False),
        ("Float64", 1, True), ("Float64", float("inf"), False), ("Float64", 10**400, False), ("Float64", "1", False),
        ("String", "x", True), ("String", 5, False), ("String", None, False), ("String", "x" * 10_000, True), ("String", "x" * 10_001, False),
        ("String", "\ud800", False), ("String", "\x00", True), ("Bool", True, True), ("Bool", 1, False),
        ("Date", "2026-02-28", True), ("Date", "2026-02-30", False), ("Date", "yesterday", False), ("Date", 20260228, False),
        ("DateTime", "2026-01-01 10:00:00", True), ("DateTime", "2026-01-01", False), ("DateTime64(3)", "2026-01-01T10:00:00.123", True),
        ("DateTime", "2026-01-01 10:00:00.5", False), ("DateTime", "1793525400", True), ("DateTime", "4294967295", True),
        ("DateTime", "4294967296", False), ("DateTime", "1793525400.5", False), ("DateTime", "793525400", False),
        ("DateTime64(3)", "1793525400", True), ("DateTime64(3)", "1793525400.123", True), ("DateTime64(3)", "1793525400123", False),
        ("DateTime64(3)", "1793525400.", False), ("DateTime64(3)", "-793525400", False), ("DateTime", 1793525400, False),
        ("Array(DateTime('UTC'))", ["1793525400"], True), ("Date", "1793525400", False),
        ("UUID", "00000000-0000-0000-0000-000000000001", True), ("UUID", "1", False),
        ("Decimal(9, 2)", "1.50", True), ("Decimal(9, 2)", 1.5, True), ("Decimal(9, 2)", "NaN", False), ("Decimal(9, 2)", "x", False),
        ("IPv4", "127.0.0.1", True), ("IPv4", "x", False), ("IPv6", "::1", True), ("FixedString(2)", "ab", True), ("FixedString(2)", "abc", False),
        ("Nullable(UInt8)", None, True), ("Array(String)", ["a"], True), ("Array(String)", "a", False), ("Array(String)", [1], False),
        ("Array(UInt8)", [1] * 10_000, True), ("Array(UInt8)", [1] * 10_001, False), ("Map(String, String)", {"a": "b"}, False),
        ("LowCardinality(String)", "x", True), ("Array(Array(UInt8))", [[1]], False), ("String", {"a": [1]}, False),
    ],
)  # fmt: skip
def test_parameters_fit_their_type(guard: Guard, kind: str, value: object, fits: bool) -> None:
    text = f"SELECT {{v:{kind}}}"
    if fits:
        assert list(guard.check(text, {"v": value}, sites={"s": ()}, database="d").parameters) == ["user_v"]
    else:
        error = refusal(guard, text, {"v": value})
        assert error.code == "bad_parameter"
        assert "v" in error.message


def test_parameters_are_neither_missing_nor_superfluous(guard: Guard) -> None:
    assert refusal(guard, "SELECT {a:UInt8}", {}).code == "bad_parameter"
    assert "b" in refusal(guard, "SELECT {a:UInt8}", {"a": 1, "b": 2}).message
    assert "two types" in refusal(guard, "SELECT {a:UInt8}, {a:String}", {"a": 1}).message
    names = [f"p{n}" for n in range(101)]
    text = "SELECT " + ", ".join(f"{{{name}:UInt8}}" for name in names[:100])
    assert printed(guard, text, dict.fromkeys(names[:100], 1))
    assert refusal(guard, "SELECT 1", dict.fromkeys(names, 1)).code == "bad_parameter"
    assert refusal(guard, "SELECT 1 LIMIT {n:String}", {"n": "1"}).code == "sql_not_allowed"
    assert printed(guard, "SELECT 1 LIMIT {n:UInt8}", {"n": 3}).endswith("LIMIT 3")


def test_nothing_of_a_text_is_logged(guard: Guard, caplog: pytest.LogCaptureFixture) -> None:
    for text in [
        *(text for _, text in TEXTS),
        "SELECT a -> 'x.(y'",
        "SELECT a #> 'x'",
        "SELECT a:b.c",
        "SELECT a.:Int8, b.^c",
    ]:
        with contextlib.suppress(SqlRefused):
            guard.check(text, {}, sites={"mine.example": ()}, database="db")
    assert not caplog.records


def test_wide_rows_of_constants_weigh_what_they_cost(guard: Guard) -> None:
    def values(width: int, rows: int = 1) -> str:
        return "SELECT 1 FROM VALUES (" + ", ".join(["(" + ", ".join(["1"] * width) + ")"] * rows) + ")"

    assert printed(guard, values(99))
    assert printed(guard, values(2, 900))
    assert refusal(guard, values(100)).code == "sql_too_big"
    one = "VALUES ((1, 2))"
    assert refusal(guard, "SELECT 1 FROM " + ", ".join(f"{one} AS v{n}" for n in range(100))).code == "sql_too_big"
    assert refusal(guard, f"WITH 5 AS a SELECT a FROM {one} AS v(a, b)").code == "sql_not_allowed"


def test_columns_that_a_with_names_weigh_what_they_stand_for(guard: Guard) -> None:
    assert printed(guard, "WITH c (a, b) AS (SELECT path, count() FROM events GROUP BY path) SELECT a, b FROM c")
    many = ", ".join(["1"] * 20)
    text = f"WITH c0 (x0) AS (SELECT tuple({many}))"
    for n in range(1, 5):
        text += f", c{n} (x{n}) AS (SELECT tuple({', '.join([f'x{n - 1}'] * 20)}) FROM c{n - 1})"
    assert refusal(guard, text + " SELECT x4 FROM c4").code == "sql_too_big"


def test_a_table_is_known_by_database_and_name_only_where_that_is_clear(guard: Guard) -> None:
    catalog = Catalog(databases=frozenset({"db"}), tables={})

    def with_database(text: str) -> str:
        return guard.check(text, {}, sites={"mine.example": ()}, database="db", catalog=catalog).sql

    assert "`e`.`path`" in with_database("SELECT db.events.path FROM db.events AS e")
    for text in (
        "SELECT (SELECT count() FROM events WHERE db.events.path = '/') FROM db.events AS e",
        "SELECT EXISTS (SELECT 1 FROM db.sessions AS e WHERE db.events.path = '/') FROM db.events AS e",
    ):
        assert "`e`.`path`" not in with_database(text)
    two = "FROM db.events a JOIN db.events b ON a.event_id = b.event_id CROSS JOIN (SELECT 'x' AS path) AS events"
    assert "SELECT `events`.`path`" not in with_database(f"SELECT db.events.path {two}")
