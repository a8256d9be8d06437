"""Real clients against a real server on both engines: those for Python, Node.js, Go and Java.

All ask the same questions and have to read the same values, at the root and below `/clickhouse/`, by each compression
that they offer, of all sites and of one site as the database.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import clickhouse_connect
import msgspec
import pytest
import sqlalchemy
from clickhouse_connect.driver.client import Client as PythonClient
from clickhouse_connect.driver.exceptions import DatabaseError
from sqlalchemy.exc import DatabaseError as SqlalchemyError

from analytics_server.sql.printer.tables import TABLES
from tests.clickhouse_api.questions import (
    ALWAYS,
    BOUND,
    BOUND_TEXT,
    ENDLESS,
    QUESTIONS,
    REFUSED,
    SITES,
    STRANGER,
    TEXT,
    TITLE,
    Rows,
    expected,
    lines,
    plain,
)
from tests.clickhouse_api.real import server
from tests.server import RunningServer

__all__ = ["server"]

FOLDER = Path(__file__).parent
BUILT = FOLDER.parents[1] / ".build" / "clients"
ONE_SITE = SITES[0]
ONLY_STANDARD = "v2.17.1"
"""The client for Go that Debian 12's Go can build has no interface of its own over HTTP, only Go's to databases."""


@dataclass(frozen=True, slots=True)
class Program:
    """One that is started once for all its ways to connect. `ways`: path, database and compression of each."""

    command: tuple[str, ...]
    ways: tuple[str, ...]
    folder: Path = FOLDER


def go() -> Program:
    program = BUILT / "go"
    if not program.is_file():
        pytest.skip("the client for Go is not built: `make test` does it where Go is there (Debian: golang-go)")
    packed = ("none", "lz4", "zstd", "gzip", "deflate", "br")
    ways = (*(f",analytics,{each}" for each in packed), "/clickhouse/,default,lz4", f"/clickhouse,{ONE_SITE},none")
    return Program((str(program),), ways)


def java() -> Program:
    program = shutil.which("java")
    if program is None or not (BUILT / "java" / "Client.class").is_file():
        pytest.skip("the client for Java is not built: `make test` does it where Maven is there")
    ways = (",analytics,lz4", ",analytics,none", ",default,lz4", f",{ONE_SITE},lz4")
    options = ("-Dfile.encoding=UTF-8", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
    return Program((program, *options, "-cp", f"{BUILT / 'java'}{os.pathsep}{BUILT / 'java' / '*'}", "Client"), ways)


def node() -> Program:
    program, folder = shutil.which("node"), FOLDER / "node"
    if program is None or not (folder / "node_modules").is_dir():
        pytest.skip("the client for Node.js is not installed: `make test` does it where npm is there")
    ways = (",analytics,gzip", ",analytics,none", "/clickhouse,default,gzip", f"/clickhouse,{ONE_SITE},none")
    return Program((program, "client.mjs"), ways, folder)


def asked() -> Iterator[Iterable[str]]:
    """The questions that a program asks by its first way to connect, its second one, and so on."""
    yield QUESTIONS
    yield from itertools.repeat(ALWAYS)


def run(program: Program, server: RunningServer) -> list[dict[str, Any]]:
    """What it found by each way; where it has to be refused it was."""
    refused = {**REFUSED, "endless": ENDLESS}
    done = subprocess.run(
        [*program.command, f"127.0.0.1:{server.port}", server.token, TEXT, *program.ways],
        cwd=program.folder,
        input=lines(refused),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *found, numbers = [msgspec.json.decode(line) for line in done.stdout.splitlines()]
    assert [each["way"] for each in found] == list(program.ways)
    wanted = {"stranger": STRANGER, **{name: number for name, (_, number) in refused.items()}}
    if found[0].get("client") == ONLY_STANDARD:  # whose fault is to take an answer that breaks off for an empty one
        del numbers["midway"], wanted["midway"]
    assert numbers == wanted
    return found


def seen(way: str) -> tuple[str, ...]:
    """The sites that are seen by a way."""
    return (ONE_SITE,) if f",{ONE_SITE}," in way else SITES


def compare(way: str, answers: Mapping[str, Rows], names: Iterable[str] = QUESTIONS) -> None:
    """Question by question, so that a fault is shown with its name."""
    wanted = expected(seen(way), way.split(",")[1], names)
    assert answers.keys() == wanted.keys()
    for name, rows in wanted.items():
        assert answers[name] == rows, f"{name} by {way}"


def test_the_client_for_go(server: RunningServer) -> None:
    for names, each in zip(asked(), run(go(), server), strict=False):
        assert ("native" in each) is (each["client"] != ONLY_STANDARD and (names is QUESTIONS or each["way"][0] == "/"))
        for one in each.keys() & {"standard", "native"}:
            found = each[one]
            compare(f"{each['way']},{one}", found["answers"], names)
            assert (found["bound"], found["counted"]) == (BOUND, [[str(len(seen(each["way"])))]])
            assert found["named"] == [["1", "2026-11-02", ["x", "ü"]]]
        assert each.get("server", "analytics-server") == "analytics-server"


def test_the_driver_for_java(server: RunningServer) -> None:
    for names, each in zip(asked(), run(java(), server), strict=False):
        compare(each["way"], each["answers"], names)
        assert (each["bound"], each["counted"]) == (BOUND, [[str(len(seen(each["way"])))]])
        assert each["listed"] == {
            "schemas": [each["way"].split(",")[1]],
            "tables": ["events", "sessions"],
            "columns": [[column.name, column.type] for column in TABLES["sessions"].columns],
            "keys": "2",
            "product": "ClickHouse",
        }


def test_the_client_for_node(server: RunningServer) -> None:
    for names, each in zip(asked(), run(node(), server), strict=False):
        compare(each["way"], each["answers"], names)
        assert (each["bound"], each["counted"]) == (BOUND, [[str(len(seen(each["way"])))]])
        assert (each["streamed"], each["pings"]) == (90_000, [True, True])


def connected(server: RunningServer, way: str, password: str = "") -> PythonClient:
    path, database, compression = way.split(",")
    return clickhouse_connect.get_client(
        host="127.0.0.1",
        port=server.port,
        proxy_path=path,
        database=database,
        compress=False if compression == "none" else compression,
        username="anyone",
        password=password or server.token,
    )


@pytest.mark.parametrize(
    "way",
    [
        *(f",analytics,{packed}" for packed in ("none", "gzip", "lz4", "zstd", "true")),
        "clickhouse,default,lz4",
        f"clickhouse,{ONE_SITE},zstd",
    ],
)
def test_clickhouse_connect(server: RunningServer, way: str) -> None:
    names = tuple(QUESTIONS) if way == ",analytics,none" else ALWAYS
    with contextlib.closing(connected(server, way)) as client:
        assert client.ping()
        answers = {name: [plain(row) for row in client.query(QUESTIONS[name].text).result_rows] for name in names}
        compare(way, answers, names)  # type: ignore[arg-type]  # a row is a list
        second = datetime(2026, 11, 1, 9, 30, tzinfo=UTC)
        values = {
            "text": TEXT,
            "number": -5,
            "list": ["x", "it's"],
            "second": second,
            "moment_64": second.replace(microsecond=250_000),
            "none": None,
            "uuid": uuid.UUID("61f0c404-5cb3-11e7-907b-a6006ad3dba0"),
            "float": 1.5,
            "bool": True,
            "decimal": Decimal("-12.34"),
            "many": [9_007_199_254_740_993],
            "day": date(2026, 11, 2),
        }
        bound = client.query(BOUND_TEXT, parameters=values).result_rows
        assert [plain(row) for row in bound] == BOUND
        assert client.query_arrow("SELECT path FROM events").num_rows == 3 * len(seen(way))
        with client.query_row_block_stream("SELECT number FROM numbers(90000)") as blocks:
            assert sum(len(block) for block in blocks) == 90_000


def test_clickhouse_connect_is_refused(server: RunningServer) -> None:
    with contextlib.closing(connected(server, ",analytics,lz4")) as client:
        for text, number in (*REFUSED.values(), ENDLESS):
            with pytest.raises(DatabaseError, match=f"(?i)code: {number}"):
                _ = client.query(text).result_rows
    with pytest.raises(DatabaseError, match="AUTHENTICATION_FAILED"):
        connected(server, ",analytics,lz4", "ast_other")


def sqlalchemy_engine(server: RunningServer, where: str, password: str = "") -> sqlalchemy.Engine:
    """`where`: the database, and what may follow it in the address."""
    return sqlalchemy.create_engine(f"clickhousedb://anyone:{password or server.token}@127.0.0.1:{server.port}/{where}")


@pytest.mark.parametrize("path", ["", "clickhouse"])
def test_sqlalchemy(server: RunningServer, path: str) -> None:
    engine = sqlalchemy_engine(server, f"{ONE_SITE}?proxy_path={path}" if path else ONE_SITE)
    inspector = sqlalchemy.inspect(engine)
    assert inspector.get_schema_names() == [ONE_SITE]
    assert inspector.get_table_names() == ["events", "sessions"]
    assert inspector.has_table("events")
    assert not inspector.has_table("tokens")
    assert [each["name"] for each in inspector.get_columns("sessions")] == TABLES["sessions"].names
    events = sqlalchemy.Table("events", sqlalchemy.MetaData(), autoload_with=engine)
    views = sqlalchemy.func.count().label("views")
    with engine.connect() as connection:
        answers = {
            name: [plain(tuple(row)) for row in connection.exec_driver_sql(question.text)]
            for name, question in QUESTIONS.items()
        }
        compare(f"{path},{ONE_SITE},", answers)  # type: ignore[arg-type]  # a row is a list
        question = sqlalchemy.select(events.c.path, views).where(events.c.title == TITLE).group_by(events.c.path)
        assert sorted(tuple(row) for row in connection.execute(question)) == [("/0", 1), ("/1", 1), ("/2", 1)]
    engine.dispose()


def test_sqlalchemy_is_refused(server: RunningServer) -> None:
    engine = sqlalchemy_engine(server, "analytics")
    with engine.connect() as connection:
        for text, number in (*REFUSED.values(), ENDLESS):
            with pytest.raises(SqlalchemyError, match=f"(?i)code: {number}"):
                connection.exec_driver_sql(text).all()
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1
    engine.dispose()
    stranger = sqlalchemy_engine(server, "analytics", "ast_other")
    with pytest.raises(SqlalchemyError, match="AUTHENTICATION_FAILED"):
        stranger.connect()
    stranger.dispose()
