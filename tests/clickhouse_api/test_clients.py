"""Real clients against a real server: clickhouse-connect, its dialect of SQLAlchemy, and the one for Node.js."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import clickhouse_connect
import pytest
import sqlalchemy
from clickhouse_connect.driver.exceptions import DatabaseError
from sqlalchemy.exc import DatabaseError as SqlalchemyError

from tests.e2e.conftest import running
from tests.server import Client, RunningServer

NODE = Path(__file__).parent / "node"
SITES = ("one.example", "two.example")
ENDLESS = "SELECT sum(a.number + b.number) FROM numbers(1000000) AS a, numbers(1000000) AS b"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with three page views of each of two sites."""

    async def fill(server: RunningServer) -> None:
        async with Client(server) as client:
            for site in SITES:
                views = [{"site": site, "name": "pageview", "url": f"https://{site}/{n}"} for n in range(3)]
                assert (await client.send(views)).json["accepted"] == 3
            await client.flushed()

    with running(tmp_path_factory.mktemp("clickhouse_api"), {"sql_timeout_s": "1.5"}) as server:
        asyncio.run(fill(server))
        yield server


def test_clickhouse_connect(server: RunningServer) -> None:
    client = clickhouse_connect.get_client(
        host="127.0.0.1", port=server.port, proxy_path="clickhouse", username="anyone", password=server.token
    )
    assert client.ping()
    assert client.command("SELECT currentDatabase()") == "analytics"
    assert client.query("SHOW TABLES").result_rows == [("events",), ("sessions",)]
    described = client.query("DESCRIBE TABLE events").result_rows
    assert ("ts", "DateTime64(6, 'UTC')") in [row[:2] for row in described]
    counts = client.query("SELECT site_id, count(), max(ts) FROM events GROUP BY site_id ORDER BY site_id").result_rows
    assert [row[:2] for row in counts] == [(site, 3) for site in SITES]
    assert len(client.query("SELECT * FROM events").result_rows[0]) == len(described)
    moment = datetime(2026, 11, 1, 9, 30, tzinfo=UTC)
    bound = client.query(
        "SELECT {s:String}, {n:Int64}, {a:Array(String)}, {t:DateTime('UTC')}, {o:Nullable(UInt8)}",
        parameters={"s": "it's\ta \\ text", "n": -5, "a": ["x", "it's"], "t": moment, "o": None},
    ).result_rows[0]
    assert bound == ("it's\ta \\ text", -5, ["x", "it's"], moment.replace(tzinfo=None), None)
    assert client.query_arrow("SELECT path FROM events").num_rows == 6
    with client.query_row_block_stream("SELECT number FROM numbers(90000)") as blocks:
        assert sum(len(block) for block in blocks) == 90_000
    with pytest.raises(DatabaseError, match=r"code: 60.*UNKNOWN_TABLE"):
        client.query("SELECT * FROM tokens")
    with pytest.raises(DatabaseError, match="TIMEOUT_EXCEEDED"):
        client.query(ENDLESS)
    with pytest.raises(DatabaseError, match="AUTHENTICATION_FAILED"):
        clickhouse_connect.get_client(
            host="127.0.0.1", port=server.port, proxy_path="clickhouse", username="anyone", password="ast_other"
        )
    client.close()


def test_sqlalchemy(server: RunningServer) -> None:
    engine = sqlalchemy.create_engine(
        f"clickhousedb://anyone:{server.token}@127.0.0.1:{server.port}/one.example?proxy_path=clickhouse"
    )
    inspector = sqlalchemy.inspect(engine)
    assert inspector.get_schema_names() == ["one.example"]
    assert inspector.get_table_names() == ["events", "sessions"]
    assert inspector.has_table("events")
    assert not inspector.has_table("tokens")
    events = sqlalchemy.Table("events", sqlalchemy.MetaData(), autoload_with=engine)
    views = sqlalchemy.func.count().label("views")
    with engine.connect() as connection:
        question = sqlalchemy.select(events.c.path, views).where(events.c.name == "pageview").group_by(events.c.path)
        assert sorted(tuple(row) for row in connection.execute(question)) == [("/0", 1), ("/1", 1), ("/2", 1)]
        with pytest.raises(SqlalchemyError, match="UNKNOWN_TABLE"):
            connection.execute(sqlalchemy.text("SELECT * FROM tokens"))
    engine.dispose()


def test_the_client_for_node(server: RunningServer) -> None:
    node = shutil.which("node")
    if node is None or not (NODE / "node_modules").is_dir():
        pytest.skip("needs Node.js and its packages: make install-dev installs them")
    done = subprocess.run(
        [node, "client.mjs", server.url.rstrip("/"), server.token],
        cwd=NODE,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == {
        "alive": True,
        "tables": [{"name": "events"}, {"name": "sessions"}],
        "pages": [{"path": f"/{n}", "views": 2} for n in range(3)],
        "within": [{"n": 4}],
        "many": 20_000,
        "refused": ["60", "UNKNOWN_TABLE"],
        "timeout": ["159", "TIMEOUT_EXCEEDED"],
    }
