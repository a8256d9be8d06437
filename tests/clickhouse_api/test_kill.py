"""`KILL QUERY`, by which clients' buttons end a question that runs: one's own, and no other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from tests.clickhouse_api.conftest import ALL, ONE, Asking, serve
from tests.clickhouse_api.questions import ENDLESS
from tests.server import wait_for
from tests.sql.conftest import SqlClient, make_service


def kill(query_id: str) -> str:
    """The statement that ends it."""
    return "KILL QUERY WHERE query_id = '" + query_id.replace("'", "\\'") + "'"


@pytest.fixture
async def patient(aiohttp_client: AiohttpClient, sql_client: SqlClient) -> AsyncIterator[Asking]:
    """An interface whose time limit no test waits for."""
    service = make_service(sql_client.service.context.store, timeout_s=600.0)
    yield await serve(aiohttp_client, service)
    await service.close()


async def left(asking: Asking) -> int:
    """How many questions without an end the engine still works at."""
    answer = await asking.service.context.store.query(
        "SELECT count() FROM system.processes WHERE query LIKE '%numbers(1000000)%' AND query NOT LIKE '%processes%'"
    )
    return int(str(answer.rows[0][0]))


async def test_the_engine_ends_what_was_killed(patient: Asking) -> None:
    running = await begun(patient, "killed")

    async def works() -> bool:
        return await left(patient) == 1

    await wait_for(works, what="the engine's work")
    assert (await patient.ask(kill("killed"))).text.startswith("waiting")
    assert (await running)[1] == "394"

    async def has_ended() -> bool:
        return await left(patient) == 0

    await wait_for(has_ended, what="the engine's end of it")


async def test_the_engine_ends_what_its_client_has_left(patient: Asking) -> None:
    running = await begun(patient, "left")

    async def works() -> bool:
        return await left(patient) == 1

    await wait_for(works, what="the engine's work")
    running.cancel()

    async def has_ended() -> bool:
        return await left(patient) == 0

    await wait_for(has_ended, what="the engine's end of it")
    assert (await patient.ask(f"{kill('left')} TEST")).text == ""


async def begun(asking: Asking, query_id: str) -> asyncio.Task[tuple[int, str, str]]:
    """A question without an end, once it is known by its id."""

    async def ask() -> tuple[int, str, str]:
        reply = await asking.ask(ENDLESS[0], query_id=query_id)
        return reply.status, reply.code, reply.text

    task = asyncio.create_task(ask())

    async def is_known() -> bool:
        return (await asking.ask(f"{kill(query_id)} TEST")).text != ""

    await wait_for(is_known, what="the question")
    return task


async def test_a_question_is_ended_by_its_id(asking: Asking) -> None:
    running = await begun(asking, "it's 1")

    assert (await asking.ask(kill("other"))).text == ""
    assert (await asking.ask(kill("it's 1"), token=ALL)).text == ""  # another token's
    assert not running.done()
    killed = await asking.ask(kill("it's 1") + " ASYNC FORMAT JSONCompact")

    assert killed.json["data"] == [["waiting", "it's 1", ONE.removeprefix("ast_"), ""]]
    status, code, text = await running
    assert (status, code) == (400, "394"), text
    assert text == "Code: 394. DB::Exception: The query was cancelled by KILL QUERY. (QUERY_WAS_CANCELLED)\n"
    assert (await asking.ask(kill("it's 1"))).text == ""
    assert "sql_cancelled" in [entry.outcome for entry in asking.noted]
    assert (await asking.ask("SELECT 1")).text == "1\n"


async def test_the_end_of_an_answer_that_has_begun_is_marked(asking: Asking) -> None:
    """The rows wait for a client that does not read: what it gets in the end is no whole answer."""
    text = b"SELECT number, repeat('x', 1000) FROM numbers(30000) FORMAT TSV"
    reader, writer = await asyncio.open_connection("127.0.0.1", asking.http.port)
    head = b"POST /clickhouse/?query_id=begun HTTP/1.1\r\nHost: localhost\r\nX-ClickHouse-Key: %b\r\n" % ONE.encode()
    writer.write(head + b"Content-Length: %d\r\n\r\n" % len(text) + text)
    assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200 ")

    assert (await asking.ask(kill("begun"))).text.startswith("waiting")
    assert (await asking.ask(kill("begun"))).status == 200  # once more changes nothing
    got = await reader.read(-1)
    writer.close()
    assert b"Code: 394. DB::Exception: The query was cancelled by KILL QUERY" in got[-500:]
    assert b"__exception__" in got[-500:]
    assert not got.endswith(b"0\r\n\r\n")  # no end that a client could take for the whole answer

    async def is_noted() -> bool:
        return "sql_cancelled" in [entry.outcome for entry in asking.noted]

    await wait_for(is_noted, what="the audit entry")


async def test_two_who_end_the_same_question_end_it_once(asking: Asking) -> None:
    running = await begun(asking, "twice")
    replies = await asyncio.gather(*(asking.ask(kill("twice")) for _ in range(4)))
    assert {reply.status for reply in replies} == {200}
    assert any(reply.text for reply in replies)
    assert (await running)[1] == "394"


async def test_all_places_taken_keep_nobody_from_ending_one(asking: Asking) -> None:
    running = await begun(asking, "first")
    limit = asking.service._slots

    async def has_a_turn() -> bool:
        return sum(limit._running.values()) == 2  # its site's and its token's, and none of the looks at it

    await wait_for(has_a_turn, what="its turn")
    limit._per_holder = {"site": 1, "token": 1}
    assert (await asking.ask("SELECT 1")).code == "202"
    limit._per_holder = {"site": 2, "token": 2}
    assert (await asking.ask(kill("first"))).text.startswith("waiting\tfirst\t")
    assert (await running)[1] == "394"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("KILL", "392"),
        ("KILLED QUERY WHERE query_id = 'a'", "392"),
        ("KILL MUTATION WHERE 1", "392"),
        ("KILL QUERY", "392"),
        ("KILL QUERY WHERE 1", "392"),
        ("KILL QUERY WHERE user = 'me'", "392"),
        ("KILL QUERY WHERE query_id = 'a' OR 1", "62"),
        ("KILL QUERY WHERE query_id != 'a'", "392"),
        ("KILL QUERY WHERE query_id = a", "392"),
        ("KILL QUERY ON x WHERE query_id = 'a'", "62"),
        ("KILL QUERY WHERE query_id = 'a'; SELECT 1", "392"),
    ],
)
async def test_other_conditions_are_refused(asking: Asking, text: str, code: str) -> None:
    refused = await asking.ask(text)
    assert (refused.status, refused.code) == (400, code), refused.text


@pytest.mark.parametrize(
    "text",
    [
        "KILL QUERY ON CLUSTER c WHERE query_id='a'",
        "kill query where query_id = 'a' sync",
        "/* by a tool */ KILL QUERY WHERE query_id = 'a'",
        "-- by a tool\nKILL -- it\nQUERY WHERE query_id = 'a'",
    ],
)
async def test_forms_that_are_taken(asking: Asking, text: str) -> None:
    assert (await asking.ask(text)).text == ""
