"""Who asks, about which sites, with which parameters and settings, and how a refusal looks."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re

from aiohttp import ClientError
from pytest_aiohttp.plugin import AiohttpClient

from analytics_server.access.principals import Role
from analytics_server.access.tokens import Token
from analytics_server.clickhouse.scope import scope_of
from analytics_server.clickhouse.statements import read_statement
from analytics_server.http.audit import hash_of
from analytics_server.sql.catalog import Catalog
from analytics_server.sql.printer.tables import TABLES
from analytics_server.store import Store
from tests.clickhouse_api.conftest import ALL, GONE, ODD, ONE, TWO, Asking, serve
from tests.server import wait_for
from tests.sql.conftest import SqlClient, make_service
from tests.sql.world import FOREIGN, MINE, World

KEY = {"X-ClickHouse-Key": ONE}
OF_ALL = Token(token_id="all", role=Role.READ, sites=()).principal()
ENDLESS = "SELECT sum(a.number + b.number) FROM numbers(1000000) AS a, numbers(1000000) AS b"
COUNT = "SELECT site_id, count() AS n FROM events GROUP BY site_id ORDER BY site_id FORMAT TSV"


def basic(password: str, user: str = "anyone") -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


async def test_a_token_is_taken_in_each_way(asking: Asking, worlds: tuple[World, object]) -> None:
    mine = f"{MINE}\t{len(worlds[0].events)}\n"
    for params, headers in (
        ({}, {"Authorization": f"Bearer {ONE}"}),
        ({}, {"Authorization": basic(ONE)}),
        ({}, {"X-ClickHouse-User": "anyone", "X-ClickHouse-Key": ONE}),
        ({"user": "anyone", "password": ONE}, {}),
    ):
        for method in ("GET", "POST"):
            query = params | ({"query": COUNT} if method == "GET" else {})
            reply = await asking.send(COUNT, query, headers, method=method)
            assert (reply.status, reply.text) == (200, mine)


UNAUTHENTICATED: tuple[dict[str, str], ...] = (
    {},
    {"Authorization": "Bearer ast_other"},
    {"Authorization": "Basic !"},
    {"Authorization": "Basic /w=="},
    {"Authorization": basic("")},
    {"Authorization": basic("ast_other")},
    {"X-ClickHouse-Key": "ast_other"},
)


async def test_nobody_without_a_token(asking: Asking) -> None:
    for headers in UNAUTHENTICATED:
        reply = await asking.send("SELECT 1", {}, headers)
        assert (reply.status, reply.code) == (401, "516")
        assert reply.text.startswith("Code: 516. DB::Exception: ")
        assert reply.text.endswith(" (AUTHENTICATION_FAILED)\n")
        assert reply.headers["WWW-Authenticate"].startswith("Basic ")


async def test_no_page_of_another_address_asks_with_a_password_that_the_browser_kept(asking: Asking) -> None:
    own = f"{asking.http.make_url('/').origin()}"
    port = asking.http.port
    for method in ("GET", "POST"):
        for headers, status in (
            ({"Sec-Fetch-Site": "cross-site"}, 403),
            ({"Sec-Fetch-Site": "same-site"}, 403),
            ({"Origin": "https://elsewhere.example"}, 403),
            ({"Origin": f"http://127.0.0.2:{port}"}, 403),
            ({"Origin": "null"}, 403),
            ({"Origin": own, "Sec-Fetch-Site": "same-origin"}, 200),
            ({"Origin": own}, 200),
            ({"Sec-Fetch-Site": "none"}, 200),
            ({}, 200),
        ):
            params = {"query": "SELECT 1"} if method == "GET" else {}
            reply = await asking.send("SELECT 1", params, {"Authorization": basic(ONE), **headers}, method=method)
            assert reply.status == status, (headers, reply.text)
            assert status == 200 or reply.code == "497"


async def test_a_header_that_is_no_utf8_is_refused_like_any_other(asking: Asking) -> None:
    for header in (b"X-ClickHouse-Format: \xff", b"X-ClickHouse-Database: \xff", b"X-ClickHouse-Key: \xff"):
        reader, writer = await asyncio.open_connection("127.0.0.1", asking.http.port)
        key = b"" if b"Key" in header else f"X-ClickHouse-Key: {ONE}\r\n".encode()
        lines = b"POST /clickhouse/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 8\r\n"
        writer.write(lines + key + header + b"\r\n\r\nSELECT 1")
        answer = await reader.read()
        writer.close()
        assert re.match(rb"HTTP/1\.1 40[013] ", answer), answer
        assert re.search(rb"\r\n\r\nCode: \d+\. DB::Exception: ", answer), answer


async def test_the_sign_of_life_needs_no_token(asking: Asking) -> None:
    async with asking.http.get("/clickhouse/ping") as answer:
        assert (answer.status, await answer.text()) == (200, "Ok.\n")


async def test_a_token_sees_its_sites_and_a_database_one_of_them(
    asking: Asking, worlds: tuple[World, list[object]]
) -> None:
    mine, foreign = f"{MINE}\t{len(worlds[0].events)}\n", f"{FOREIGN}\t{len(worlds[1])}\n"
    for token, database, rows in (
        (ONE, "", mine),
        (ONE, "default", mine),
        (ONE, MINE.upper(), mine),
        (TWO, "analytics", mine),
        (ALL, "analytics", mine + foreign),
        (ALL, MINE, mine),
        (ALL, FOREIGN, foreign),
        (ALL, "it's.example", ""),
    ):
        reply = await asking.ask(COUNT, token=token, database=database)
        assert (reply.status, reply.text) == (200, rows), (token, database)
    sessions = "SELECT uniqExact(site_id), max(site_id) FROM sessions"
    assert (await asking.ask(sessions, token=ALL)).text == f"2\t{FOREIGN}\n"
    assert (await asking.ask(sessions, token=TWO)).text == f"1\t{MINE}\n"
    header = {"X-ClickHouse-Key": ALL, "X-ClickHouse-Database": FOREIGN}
    assert (await asking.send(COUNT, {}, header)).text == foreign


def test_a_site_called_like_a_database_is_asked_alone() -> None:
    names = ("default", "analytics", "system", MINE)
    scopes = {name: scope_of(name, OF_ALL, names, most_sites=9) for name in (*names, "")}
    assert {name: scope.sites for name, scope in scopes.items()} == {
        **{name: (name,) for name in names},
        "": names,
    }
    assert scope_of("default", OF_ALL, (MINE, FOREIGN), most_sites=9).sites == (MINE, FOREIGN)
    catalog = Catalog(databases=frozenset({"analytics", "default", "system"}))
    described = read_statement("DESCRIBE events", "system", catalog).table
    assert described is not None
    assert len(described.rows) == len(TABLES["events"].columns)


async def test_another_database_is_refused_the_same_way_whether_it_exists_or_not(asking: Asking) -> None:
    for database in (FOREIGN, "nowhere.example", "system", "sql_test"):
        reply = await asking.ask("SELECT 1", database=database)
        assert (reply.status, reply.code) == (403, "497")
        assert f"There is no database {database} for this token" in reply.text
    assert (await asking.ask("SELECT 1", token=GONE)).code == "497"


async def test_so_many_sites_at_once_and_no_more(aiohttp_client: AiohttpClient, sql_client: SqlClient) -> None:
    three = await serve(aiohttp_client, sql_client.service, most_sites=3)
    two = await serve(aiohttp_client, sql_client.service, most_sites=2)
    assert (await three.ask(COUNT, token=ALL)).status == 200
    assert (await two.ask(COUNT, token=TWO)).status == 200
    reply = await two.ask(COUNT, token=ALL)
    assert (reply.status, reply.code) == (400, "81")
    assert "[clickhouse_api] sites" in reply.text
    assert (await two.ask(COUNT, token=ALL, database=MINE)).status == 200


async def test_parameters_are_read_by_their_types(asking: Asking) -> None:
    text = (
        "SELECT {s:String}, {n:Int32}, {f:Float64}, {b:Bool}, {o:Nullable(String)}, {a:Array(String)},"
        " {i:Array(UInt8)}, {d:DateTime('UTC')}, {e:Array(String)}, {u:DateTime('Europe/Berlin')},"
        " {m:DateTime64(3, 'UTC')}, {l:Array(DateTime('UTC'))}, {q:String}, {r:Array(String)}"
        " FORMAT JSONCompactEachRow"
    )
    reply = await asking.ask(
        text,
        param_s="it\\'s\\ta \\\\ b",
        param_n="-5",
        param_f="1.5",
        param_b="true",
        param_o="\\N",
        param_a="['x', 'it\\'s', 'q''q', 'a,b]']",
        param_i="[1,2, 3]",
        param_d="2026-11-01 09:30:00",
        param_e="[]",
        param_u="1793525400",  # as `@clickhouse/client` sends a Date
        param_m="1793525400.250",
        param_l="[1793525400,0000086400]",
        param_q="two '' are two",
        param_r="['in a list '' is one', 'c\\'''']",
        param_unused="x",
    )
    assert reply.status == 200, reply.text
    assert reply.json == [
        "it's\ta \\ b", -5, 1.5, True, None, ["x", "it's", "q'q", "a,b]"], [1, 2, 3], "2026-11-01 09:30:00", [],
        "2026-11-01 10:30:00", "2026-11-01 09:30:00.250", ["2026-11-01 09:30:00", "1970-01-02 00:00:00"],
        "two '' are two", ["in a list ' is one", "c''"],
    ]  # fmt: skip
    for query, value in (
        ("{n:Int32}", "x"),
        ("{a:Array(String)}", "x"),
        ("{a:Array(UInt8)}", "['x']"),
        ("{b:Bool}", "2"),
        ("{d:DateTime}", "1793525400.250"),
        ("{d:DateTime}", "2026-11-01 09:30:00.250"),
    ):
        refused = await asking.ask(f"SELECT {query}", **{f"param_{query[1]}": value})
        assert (refused.status, refused.code) == (400, "457"), refused.text
    assert (await asking.ask("SELECT {missing:String}")).code == "457"


async def test_settings_are_followed_or_dropped_and_named(asking: Asking) -> None:
    reply = await asking.ask(
        "SELECT 1 AS n SETTINGS max_threads = 4, join_use_nulls = 1, max_execution_time = 900 FORMAT JSON",
        readonly="0",
        max_memory_usage="1",
        session_id="a",
        wait_end_of_query="1",
    )
    assert (reply.status, reply.json["data"]) == (200, [{"n": 1}])
    assert (
        reply.headers["X-ClickHouse-Dropped-Settings"] == "readonly, max_memory_usage, max_threads, max_execution_time"
    )
    assert "statistics" not in reply.json
    moment = "SELECT toDateTime('2026-11-01 09:30:00') AS t, toUInt64(5) AS n FORMAT JSONEachRow"
    assert (await asking.ask(moment)).json == {"t": "2026-11-01 09:30:00", "n": 5}
    followed = await asking.ask(
        moment.replace("toDateTime('", "toDateTime(toDateTime64('").replace("')", "', 0, 'UTC'))"),
        session_timezone="Europe/Berlin",
        date_time_output_format="iso",
        output_format_json_quote_64bit_integers="1",
    )
    assert followed.json["n"] == "5"
    assert "X-ClickHouse-Dropped-Settings" not in followed.headers
    assert (await asking.ask("SELECT 1", session_timezone="Nowhere/No")).headers[
        "X-ClickHouse-Dropped-Settings"
    ] == "session_timezone"
    refused = await asking.ask("SELECT 1", additional_table_filters="{'events': 'path = 1'}")
    assert (refused.status, refused.code) == (400, "36")
    for setting in (
        "additional_table_filters = {'events': 'path = 1'}",
        "max_threads = 4, additional_result_filter = 'number = 1'",
        "limit = 1",
        "`offset` = 1",
    ):
        refused = await asking.ask(f"SELECT number FROM numbers(2) SETTINGS {setting} FORMAT TSV")
        assert (refused.status, refused.code) == (400, "36"), (setting, refused.text)


REFUSED = (
    ("", "62"),
    ("SELECT 1; SELECT 2", "392"),
    ("SHOW TABLES; SELECT 2", "392"),
    ("SET a = 1; DROP TABLE events", "392"),
    ("INSERT INTO events VALUES (1)", "392"),
    ("KILL QUERY WHERE 1", "392"),
    ("SELECT * FROM tokens", "60"),
    ("SELECT * FROM sql_test.tokens", "60"),
    ("SELECT * FROM system.query_thread_log", "60"),
    ("DESCRIBE TABLE tokens", "60"),
    ("SHOW CREATE TABLE system.nothing", "60"),
    ("SHOW GRANTS", "392"),
    ("SHOW TABLES NONSENSE", "62"),
    ("SELECT nothing FROM events", "47"),
    ("SELECT nothing(1)", "46"),
    ("SELECT 1 FORMAT Nothing", "73"),
    ("SELECT toDate('x')", "80"),
    (ENDLESS, "159"),
)


async def test_refusals_have_the_codes_of_clickhouse(asking: Asking) -> None:
    for text, code in REFUSED:
        reply = await asking.ask(text)
        assert (reply.status, reply.code) == (400, code), (text, reply.text)
        assert reply.text.startswith(f"Code: {code}. DB::Exception: ")
        assert reply.text.endswith(")\n")


async def test_a_fault_in_the_middle_is_told_and_no_whole_answer(
    aiohttp_client: AiohttpClient, filled: tuple[str, Store]
) -> None:
    asking = await serve(aiohttp_client, make_service(filled[1], rows=1_000_000, timeout_s=20.0))
    text = "SELECT number, intDiv(1, toInt32(number) - 900000) AS n FROM numbers(1000000) FORMAT TSV"
    for params in ({}, {"enable_http_compression": "1"}):
        body, whole = b"", True
        async with asking.http.post("/clickhouse/", params=params, data=text, headers=KEY) as answer:
            try:
                async for piece in answer.content.iter_any():
                    body += piece
            except ClientError:
                whole = False
        assert body.startswith(b"0\t0\n") or answer.status == 400
        assert not whole or answer.status == 400
        told = rb"Code: 80\. DB::Exception: [^\n]+ \(INCORRECT_QUERY\)\n"
        if answer.status == 400:
            assert re.fullmatch(told, body), body
        else:
            tag = answer.headers["X-ClickHouse-Exception-Tag"].encode()
            marked = rb"\r\n__exception__\r\n%b\r\n(%b)(\d+) %b\r\n__exception__\r\n$" % (tag, told, tag)
            found = re.search(marked, body)
            assert found, body[-300:]
            assert len(found[1]) == int(found[2])


async def test_the_audit_entry_tells_of_a_fault_behind_the_first_rows(
    aiohttp_client: AiohttpClient, filled: tuple[str, Store]
) -> None:
    asking = await serve(aiohttp_client, make_service(filled[1], rows=200_000, answer_mb=1, timeout_s=20.0))
    text = "SELECT number AS `a long name` FROM numbers(100000) FORMAT JSONEachRow"  # longer as a text than in memory
    body = b""
    async with asking.http.post("/clickhouse/", data=text, headers=KEY) as answer:
        with contextlib.suppress(ClientError):
            async for piece in answer.content.iter_any():
                body += piece
    assert (answer.status, body[:17]) == (200, b'{"a long name":0}')
    assert b"\nCode: 396. DB::Exception: " in body

    async def is_noted() -> bool:
        return bool(asking.noted)

    await wait_for(is_noted, what="the audit entry")
    assert [entry.outcome for entry in asking.noted] == ["sql_answer_too_big"]


async def test_a_client_that_goes_away_ends_its_query(aiohttp_client: AiohttpClient, filled: tuple[str, Store]) -> None:
    service = make_service(filled[1], timeout_s=5.0)
    asking = await serve(aiohttp_client, service)
    task = asyncio.ensure_future(asking.ask(ENDLESS))

    async def runs() -> bool:
        return bool(service._slots._running)

    async def is_given_up() -> bool:
        return bool(asking.noted)

    await wait_for(runs, what="the query")
    task.cancel()
    await asyncio.wait({task})
    await wait_for(is_given_up, what="the end of the query")
    assert asking.noted[0].outcome != "sql_timeout"
    if service._ending:
        await asyncio.wait(set(service._ending))
    assert not service._slots._present


async def test_the_audit_entry_names_the_site_and_never_the_token(asking: Asking) -> None:
    await asking.send(COUNT, {"user": "anyone", "password": ONE}, {})
    await asking.ask(COUNT, token=ALL)
    await asking.ask("DROP TABLE events", token=TWO)
    await asking.ask("DROP TABLE events")
    entries = [(each.operation, each.outcome, each.site_id, each.resource) for each in asking.noted]
    assert entries == [
        ("clickhouse_post", "ok", MINE, ""),
        *(("clickhouse_post", "ok", site, "analytics") for site in (MINE, FOREIGN, ODD)),
        *(("clickhouse_post", "sql_not_allowed", site, "analytics") for site in (MINE, ODD)),
        ("clickhouse_post", "sql_not_allowed", MINE, ""),
    ]
    first, second, *_ = asking.noted
    assert first.query_hash == second.query_hash == hash_of(COUNT.removesuffix(" FORMAT TSV").encode())
