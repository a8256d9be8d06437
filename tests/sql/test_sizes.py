"""Texts and patterns that a query builds are bounded before it is run."""

from __future__ import annotations

import asyncio
import time

import pytest

from analytics_server.sql.guard import Guard
from analytics_server.sql.refusal import SqlRefused
from tests.sql.conftest import SqlClient
from tests.sql.world import MINE

TOO_LONG = [
    "SELECT repeat('a', 10001)",
    "SELECT repeat(path, 101) FROM events",
    "SELECT repeat(repeat('a', 1000), 11)",
    "WITH repeat('a', 1000) AS a SELECT repeat(a, 11)",
    "WITH repeat('a', 1000) AS a, repeat(a, 10) AS b, repeat(b, 2) AS c SELECT c",
    "SELECT repeat(a, 11) FROM (SELECT repeat('a', 1000) AS a)",
    "WITH t AS (SELECT repeat('a', 1000) AS a) SELECT repeat(a, 11) FROM t",
    "SELECT repeat((SELECT repeat('a', 1000)), 11)",
    "SELECT REPEAT('a', (1000000))",
    "SELECT count() FROM events WHERE position(repeat('a', 1000000), concat('aab', path)) > 0",
    "SELECT leftPad('x', 2501), rightPad('x', 2)",
    "SELECT rightPad(path, 1000000) FROM events",
    "SELECT toFixedString('a', 10001)",
    "SELECT replaceAll(repeat('a', 1000), 'a', repeat('b', 11))",
    "SELECT replaceRegexpAll(repeat('a', 1000), 'a', repeat('b', 11))",
    "SELECT format('{0}{0}{0}{0}{0}{0}{0}{0}{0}{0}{0}', repeat('a', 1000))",
    "WITH repeat('a', 6000) AS a SELECT concat(a, a)",
    "WITH repeat('a', 6000) AS a SELECT a || a",
    "SELECT hex(repeat('a', 5001))",
    "SELECT bin(repeat('a', 1251))",
    "SELECT arrayStringConcat(arrayMap(x -> repeat('a', 1000), range(11)))",
    "SELECT arrayStringConcat(range(5000), 'xxxxx')",
    "SELECT concat({t:String}, {t:String})",
    "SELECT * APPLY(x -> repeat(x, 100)) FROM (SELECT repeat('a', 101) AS a)",
    "SELECT * APPLY(x -> x || x) FROM (SELECT {t:String} AS a, 1 AS x)",
    "SELECT * APPLY(x -> repeat(x, 2)) APPLY(max) FROM (SELECT 'a' AS a)",
    "SELECT `repeat(a, 100)` || 'b' FROM (SELECT * APPLY(x -> repeat(x, 100)) FROM (SELECT repeat('a', 100) AS a))",
    "SELECT arrayMap(x -> repeat(x, 100), ['a', repeat('a', 101)])",
]
FINE = [
    "SELECT repeat('a', 10000)",
    "SELECT repeat(path, 100) FROM events",
    "SELECT repeat('█', toUInt64(count() / 10)) FROM events",
    "WITH repeat('a', 100) AS a SELECT repeat(a, 100)",
    "SELECT leftPad(toString(count()), 12, ' '), rightPad('x', 2500) FROM events",
    "SELECT replaceAll(path, '/', ' / ') FROM events",
    "SELECT arrayStringConcat(arraySort(groupArray(path)), ' > ') FROM events",
    "SELECT arrayStringConcat(arrayMap(x -> toString(x), range(24)), ', ')",
    "SELECT * APPLY(x -> repeat(x, 100)) FROM (SELECT repeat('a', 100) AS a)",
    "SELECT arrayMap(x -> repeat(x, 100), ['a', repeat('a', 100)])",
    "SELECT concat(hostname, path, ' ', title, ' ', source, ' ', browser) FROM events",
]
HEAVY = ["(a{100}){41}", "((((a{10}){10}){10}){10})", r"(\pL{10}){2}x{4000}"]


@pytest.mark.parametrize("query", TOO_LONG)
def test_a_text_that_may_become_too_long_is_refused(guard: Guard, query: str) -> None:
    with pytest.raises(SqlRefused) as caught:
        guard.check(query, {"t": "x" * 6_000}, sites={MINE: ()}, database="d")
    assert caught.value.code == "sql_too_big"


@pytest.mark.parametrize("query", FINE)
async def test_what_people_write_is_not(sql_client: SqlClient, query: str) -> None:
    assert await sql_client.rows(query)


async def test_a_computed_number_of_repetitions_is_cut(sql_client: SqlClient) -> None:
    query = (
        "SELECT length(repeat('ab', 5 + x)), length(leftPad('ab', 7 + x)) FROM (SELECT arrayJoin([0, 1000000]) AS x)"
    )
    assert sorted(await sql_client.rows(query)) == [[10, 7], [2_000, 1_000]]


@pytest.mark.parametrize("pattern", HEAVY)
def test_a_regular_expression_that_stands_for_too_much_is_refused(guard: Guard, pattern: str) -> None:
    written = pattern.replace("\\", "\\\\")
    for query in (
        f"SELECT count() FROM events WHERE match(path, '{written}')",
        f"SELECT count() FROM events WHERE path REGEXP '{written}'",
        f"SELECT replaceRegexpAll(path, '{written}', '') FROM events",
        f"SELECT splitByRegexp('{written}', path) FROM events",
        "SELECT extractAll(path, {p:String}) FROM events",
    ):
        with pytest.raises(SqlRefused) as caught:
            guard.check(query, {"p": pattern} if "{p" in query else {}, sites={MINE: ()}, database="d")
        assert caught.value.code == "sql_too_big", query


@pytest.mark.parametrize("pattern", ["path", "concat('(a{1000}', '){10}')", "repeat('(a{100})', 100)", "title || '.*'"])
def test_a_regular_expression_is_written_not_computed(guard: Guard, pattern: str) -> None:
    with pytest.raises(SqlRefused, match="a text in quotes or a parameter"):
        guard.check(f"SELECT count() FROM events WHERE match(title, {pattern})", {}, sites={MINE: ()}, database="d")


async def test_a_search_in_the_longest_text_there_may_be_ends_near_its_time_limit(sql_client: SqlClient) -> None:
    query = (
        "SELECT count() FROM (SELECT arrayJoin(range(100000)) AS n) AS a, (SELECT arrayJoin(range(100000)) AS m) AS b"
        " WHERE position(repeat('a', 10000), concat('aaaab', toString(n + m))) > 0"
    )
    began = time.monotonic()
    with pytest.raises(SqlRefused, match="took longer"):
        await sql_client.ask(query)
    if sql_client.service._ending:
        await asyncio.wait(sql_client.service._ending)
    assert time.monotonic() - began < 60
