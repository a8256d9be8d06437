"""Nothing of another site, no file, no socket, no query without end, whatever is asked."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from analytics_server.errors import AnalyticsError
from analytics_server.sql.guard import Guarded
from analytics_server.sql.refusal import SqlRefused
from analytics_server.sql.service import SqlQuestion, SqlService
from analytics_server.store import Store
from tests.sql.conftest import TIMEOUT_S, SqlClient, make_service
from tests.sql.hostile import FAMILIES, SIDE_CHANNELS, TEXTS, UNBOUNDED
from tests.sql.world import FOREIGN, MARK, MARK_NUMBER

MOST_S = TIMEOUT_S + 3.0


@dataclass(frozen=True, slots=True)
class Places:
    """Where a hostile text would leave or find a trace."""

    file: Path
    out: Path
    listener: socket.socket

    def fill(self, text: str) -> str:
        port = str(self.listener.getsockname()[1])
        return text.replace("{file}", str(self.file)).replace("{out}", str(self.out)).replace("{port}", port)

    def assert_untouched(self) -> None:
        assert not self.out.exists()
        with pytest.raises(BlockingIOError):
            self.listener.accept()


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Places]:
    file = tmp_path / "secret.csv"
    file.write_text(f"{MARK},{MARK}\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield Places(file, tmp_path / "out", listener)


def is_foreign(text: str) -> bool:
    """Does the answer or message hold anything of the other site, or of a secret file?"""
    marks = (f"{MARK} ", f" {MARK}", str(MARK_NUMBER)[:9], "root:x:")
    return any(mark in text for mark in marks)


async def outcome(sql_client: SqlClient, text: str) -> tuple[int, str, float]:
    """Status (200 or the refusal's), what the client gets to see, seconds."""
    started = time.monotonic()
    try:
        answer = (await sql_client.raw(text)).decode()
        status = 200
    except AnalyticsError as error:
        answer, status = error.message, error.status
    return status, answer, time.monotonic() - started


def test_there_are_enough_texts_in_each_family() -> None:
    assert len(FAMILIES) == 10
    assert len({text for _, text in TEXTS}) == len(TEXTS) >= 180
    assert min(len(texts) for texts in FAMILIES.values()) >= 15


@pytest.mark.parametrize("family", list(FAMILIES))
async def test_hostile_text_sees_and_touches_nothing(sql_client: SqlClient, places: Places, family: str) -> None:
    for text in FAMILIES[family]:
        status, answer, seconds = await outcome(sql_client, places.fill(text))
        assert status == 200 or 400 <= status < 500, (text, status, answer)
        assert not is_foreign(answer.replace(text, "")), (text, answer)
        assert seconds < MOST_S, (text, seconds)
        places.assert_untouched()
        if status == 200:
            assert FOREIGN not in answer or FOREIGN in text, (text, answer)


async def test_nothing_keeps_the_engine_busy_long_after_its_answer(sql_client: SqlClient) -> None:
    for text in UNBOUNDED:
        status, answer, seconds = await outcome(sql_client, text)
        assert status == 200 or 400 <= status < 500, (text, status, answer)
        assert seconds < MOST_S, (text, seconds)
        if sql_client.service._ending:
            _, still_busy = await asyncio.wait(sql_client.service._ending, timeout=MOST_S)
            assert not still_busy, text


class Unwalled(SqlService):
    """Without the engine's own filters: the guard alone."""

    def _settings(self, guarded: Guarded, question: SqlQuestion) -> Mapping[str, str]:
        settings = dict(super()._settings(guarded, question))
        del settings["additional_table_filters"]
        return settings


@pytest.fixture
def unwalled(filled: tuple[str, Store]) -> SqlClient:
    kind, store = filled
    service = make_service(store)
    service.__class__ = Unwalled
    return SqlClient(service, kind)


@pytest.mark.parametrize("family", ["tenant escape", "system tables", "quoting", "comments", "engine tricks"])
async def test_guard_alone_lets_nothing_through(unwalled: SqlClient, places: Places, family: str) -> None:
    for text in FAMILIES[family]:
        _, answer, _ = await outcome(unwalled, places.fill(text))
        assert not is_foreign(answer.replace(text, "")), (text, answer)


@pytest.mark.parametrize("text", SIDE_CHANNELS)
@pytest.mark.parametrize("walled", [True, False])
async def test_no_expression_is_evaluated_on_foreign_values(
    sql_client: SqlClient, unwalled: SqlClient, text: str, walled: bool
) -> None:
    status, answer, _ = await outcome(sql_client if walled else unwalled, text)
    assert status == 200, answer
    assert not is_foreign(answer)


async def test_engine_alone_shows_no_foreign_row(sql_client: SqlClient, filled: tuple[str, Store]) -> None:
    """The second wall, with the first taken away: tables are read as they are, under the service's settings."""
    _, store = filled
    await sql_client.service.database()
    settings = sql_client.service._settings(Guarded("", {}), SqlQuestion(sites=("mine.example",), query=""))
    clause = ", ".join(f"{name} = {value}" for name, value in settings.items())

    async def ask(sql: str) -> str:
        pieces: list[Any] = [
            piece
            async for piece in store.stream(
                f"{sql} SETTINGS {clause}", {}, format="CSV", has_settings=True, timeout_s=5.0
            )
        ]
        return b"".join(pieces).decode()

    assert await ask("SELECT DISTINCT site_id FROM events") == '"mine.example"\n'
    assert await ask("SELECT DISTINCT site_id FROM sessions FINAL") == '"mine.example"\n'
    for table in ("tokens", "salts", "saved", "sites", "traffic", "openings", "day_totals", "day_builds"):
        assert await ask(f"SELECT count() FROM {table}") == "0\n"
    with pytest.raises(AnalyticsError, match=r"(?i)readonly"):
        await ask("INSERT INTO tokens SELECT * FROM tokens")


@pytest.mark.parametrize("format_", ["ndjson", "csv"])
async def test_an_answer_may_have_so_many_bytes(filled: tuple[str, Store], format_: str) -> None:
    service = make_service(filled[1], rows=100_000, answer_mb=1, timeout_s=60.0)
    sql_client = SqlClient(service, filled[0])
    row = {"ndjson": len('{"t":""}\n'), "csv": len('""\n')}[format_] + 9_000
    head = {"ndjson": 0, "csv": len('"t"\n')}[format_]
    most = (1024 * 1024 - head) // row
    text = "SELECT repeat('a', 9000) AS t FROM numbers({})"
    assert len(await sql_client.raw(text.format(most), format_=format_)) == head + most * row
    for rows in (most + 1, 20 * most):
        with pytest.raises(SqlRefused, match="answer_mb") as caught:
            await sql_client.raw(text.format(rows), format_=format_)
        assert caught.value.code == "sql_answer_too_big"
    await service.close()
