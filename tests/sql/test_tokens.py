"""Texts that are too long are refused before they are read, and none keeps the event loop waiting."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp

from analytics_server.errors import AnalyticsError
from analytics_server.housekeeping import start_collecting_young
from analytics_server.query.language.filters import MAX_DEPTH, MAX_FILTERS
from analytics_server.query.language.request import QueryRequest, check_request, decode_request
from analytics_server.sql import guard
from analytics_server.sql.printer import dialect
from analytics_server.sql.printer.dialect import _Dialect
from analytics_server.sql.refusal import SqlRefused
from analytics_server.sql.service import SqlRequest
from analytics_server.sql.tokens import check_size
from tests.sql.conftest import SqlClient
from tests.sql.world import MINE

MOST = 6_000
QUICK_S = 0.05
TOO_MANY = {
    "array join": "SELECT 1 ARRAY JOIN " + ",".join(["a"] * 9_900),
    "sums": "SELECT " + "+".join(["1"] * 9_900),
    "brackets": "SELECT " + "[" * 9_000,
    "dots": "SELECT " + "a." * 9_000 + "a",
    "minus": "SELECT " + "- " * 9_900 + "1",
    "signs": "SELECT " + "!" * 19_000,
    "texts": "SELECT " + "'' " * 6_000,
    "lines": "SELECT " + "--\n" * 6_000,
}
SLOW_TO_SCAN = [
    "'\\" * 9_900,
    "'a" * 9_900,
    "/*/" * 6_600,
    "/" * 19_000,
    "`a" * 9_000,
    '"\\' * 9_000,
    "--" * 9_900,
    "/*" * 9_900,
]


def cpu_s(text: str) -> float:
    """The least time of some tries that a text takes until it is refused or let through."""
    tries = []
    for _ in range(5):
        began = time.thread_time()
        with contextlib.suppress(SqlRefused):
            check_size(text, max_chars=20_000, max_tokens=MOST)
        tries.append(time.thread_time() - began)
    return min(tries)


@pytest.mark.parametrize("name", TOO_MANY)
def test_too_many_tokens_are_refused_at_once(name: str) -> None:
    with pytest.raises(SqlRefused, match="max_tokens") as caught:
        check_size(TOO_MANY[name], max_chars=20_000, max_tokens=MOST)
    assert caught.value.code == "sql_too_big"
    assert cpu_s(TOO_MANY[name]) < QUICK_S


@pytest.mark.parametrize("text", SLOW_TO_SCAN)
def test_no_text_takes_long_to_count(text: str) -> None:
    assert cpu_s(text) < QUICK_S


def test_the_limit_is_where_it_is_said_to_be() -> None:
    head = "SELECT 1"
    check_size(head + "+1" * 2_999, max_chars=20_000, max_tokens=MOST)
    check_size(head + " " * 19_992, max_chars=20_000, max_tokens=MOST)
    for text, place in ((head + "+1" * 3_000, "max_tokens"), (head + " " * 19_993, "max_chars")):
        with pytest.raises(SqlRefused, match=place):
            check_size(text, max_chars=20_000, max_tokens=MOST)


@given(
    st.lists(st.sampled_from(["a", "1", "'x\\'y'", '"c"', "`d`", "+", ",", "(", "1.5", "::", "{p:Int8}"]), max_size=60)
)
def test_no_text_has_more_tokens_than_are_counted(parts: list[str]) -> None:
    text = " ".join(parts)
    tokens = len(_Dialect().tokenize(text))
    if tokens:
        with pytest.raises(SqlRefused):
            check_size(text, max_chars=20_000, max_tokens=tokens - 1)


@pytest.fixture
def garbage_as_in_a_server() -> Iterator[None]:
    """A server's loop never walks all objects on the way of a request; in this process there are many more of them."""
    thresholds = gc.get_threshold()
    start_collecting_young()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


async def worst_work_s(stop: asyncio.Event) -> float:
    """How long the loop's own thread worked at one go at most, until told to stop: other tests' load doesn't count."""
    worst, before = 0.0, time.thread_time()
    while not stop.is_set():
        await asyncio.sleep(0)
        now = time.thread_time()
        worst, before = max(worst, now - before), now
    return worst


@pytest.mark.usefixtures("garbage_as_in_a_server")
async def test_no_text_is_read_on_the_loop(sql_client: SqlClient, monkeypatch: pytest.MonkeyPatch) -> None:
    readers = []
    read = dialect.parse

    def parse(text: str) -> exp.Query:
        readers.append(threading.get_ident())
        return read(text)

    monkeypatch.setattr(guard, "parse", parse)
    stop = asyncio.Event()
    work = asyncio.create_task(worst_work_s(stop))
    short_enough = ["SELECT " + ",".join(["path"] * 1_490) + " FROM events", "SELECT 1" + "::Int8" * 600]
    for text in (*short_enough, *TOO_MANY.values()):
        for _ in range(3):
            await asyncio.sleep(0)  # so that each turn of the loop has one text, as it has one request
            with contextlib.suppress(AnalyticsError):
                async for _ in sql_client.service.run(SqlRequest(site_id=MINE, query=text), "json"):
                    pass  # decoding the answer is a client's work
    stop.set()

    assert len(readers) == 3 * len(short_enough), "what is too long is not read at all"
    assert threading.get_ident() not in readers
    assert await work < QUICK_S


MATCH = ["is", "event:page", ["/"]]
QUESTION: dict[str, object] = {"site_id": "a.example", "metrics": ["visitors"], "date_range": "day"}


def tree(width: int, depth: int) -> list[object]:
    """Filters in filters."""
    return list(MATCH) if depth == 0 else ["and", [tree(width, depth - 1)] * width]


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("wide", {"filters": [["and", [MATCH] * 8_000]]}),
        ("many", {"filters": [MATCH] * 8_000}),
        ("tree", {"filters": [tree(4, 6)]}),
        ("empty groups", {"filters": [["or", [["and", [["not", []]] * 50]] * 50]] * 10}),
        ("values", {"filters": [["is", "event:page", ["a"] * 60_000]]}),
        ("operator", {"filters": [["x" * 250_000, "event:page", ["a"]]]}),
        ("metric", {"metrics": ["v" * 250_000]}),
        ("dimension", {"dimensions": ["v" * 250_000]}),
        ("key", {"k" * 250_000: 1}),
        ("order", {"order_by": [["visitors", "asc"]] * 9_000}),
    ],
)
def test_a_question_that_is_too_big_is_refused_at_once(name: str, more: dict[str, object]) -> None:
    body = msgspec.json.encode(QUESTION | more)
    tries = []
    for _ in range(5):
        began = time.thread_time()
        with pytest.raises(AnalyticsError):
            check_request(decode_request(body, QueryRequest), max_rows=10_000)
        tries.append(time.thread_time() - began)
    assert min(tries) < QUICK_S


def test_as_many_filters_as_may_be_are_still_taken() -> None:
    filters: list[object] = [MATCH] * (MAX_FILTERS - 1)
    deep: list[object] = list(MATCH)
    for _ in range(MAX_DEPTH - 1):
        deep = ["and", [deep]]
    asked = check_request(
        decode_request(msgspec.json.encode(QUESTION | {"filters": [*filters, deep]}), QueryRequest), max_rows=10_000
    )
    assert len(asked.where) == MAX_FILTERS
