"""The hostile texts in all formats of the interface, in sessions, beside other statements, as values of parameters."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import cycle

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from analytics_server.clickhouse.formats import FORMATS
from tests.clickhouse_api.conftest import ONE, TWO, Asking, Reply
from tests.sql.hostile import FAMILIES
from tests.sql.test_hostile import Places, is_foreign, places
from tests.sql.world import FOREIGN, MARK_NUMBER

__all__ = ["places"]

ALIASES = {"TabSeparated": "TSV", "JSONLines": "JSONEachRow", "NDJSON": "JSONEachRow"}
EACH = [name for name in FORMATS if name not in ALIASES and not name.startswith("TabSeparated")]
"""Those that differ by more than their name."""

MARK_BYTES = (MARK_NUMBER >> 16).to_bytes(6, "little")
"""What is the same in the binary form of all foreign visitors' ids."""

READERS: dict[str, Callable[[bytes], pa.Table]] = {
    "Parquet": lambda body: pq.read_table(io.BytesIO(body)),
    "Arrow": lambda body: pa.ipc.open_file(body).read_all(),
    "ArrowStream": lambda body: pa.ipc.open_stream(body).read_all(),
}
BESIDE_ROWS = ("Native", "Parquet", "Arrow", "ArrowStream", "JSON", "JSONColumnsWithMetadata", "XML")
"""Dictionaries, statistics and counts."""

SMALL = [name for name in FAMILIES if name != "resource bombs"]


def assert_nothing_foreign(reply: Reply, format_: str, text: str) -> None:
    """Neither in the answer's bytes nor in what they say once they are unpacked."""
    assert reply.status in (200, 400, 429, 503), (text, format_, reply.status)
    shown = reply.body.decode("utf-8", "replace").replace(text, "")
    assert reply.status == 200 or shown.startswith("Code: "), (text, format_, shown[:500])
    if (
        reply.status == 200
        and reply.body
        and reply.headers["Content-Type"] == FORMATS.get(format_)
        and format_ in READERS
    ):
        shown += str(READERS[format_](reply.body).to_pydict())
    assert not is_foreign(shown), (text, format_, shown[:500])
    assert MARK_BYTES not in reply.body, (text, format_)


@pytest.mark.parametrize("family", SMALL)
async def test_no_row_of_another_site_beside_rows(asking: Asking, places: Places, family: str) -> None:
    """A text that is refused is refused before its format counts; what is answered is asked in all formats that send
    more than rows, and in another one of the rest each time."""
    turns = cycle(EACH)
    for number, text in enumerate(map(places.fill, FAMILIES[family])):
        token, format_ = (ONE, TWO)[number % 2], next(turns)
        reply = await asking.ask(text, token=token, default_format=format_)
        assert_nothing_foreign(reply, format_, text)
        if reply.status == 200:
            for other in BESIDE_ROWS:
                assert_nothing_foreign(await asking.ask(text, token=token, default_format=other), other, text)
    places.assert_untouched()


@pytest.mark.parametrize("format_", EACH)
async def test_every_format_holds_rows_of_the_own_site_alone(asking: Asking, format_: str) -> None:
    for table in ("events", "sessions", "events AS a JOIN events AS b ON a.site_id != b.path"):
        text = f"SELECT * FROM {table} LIMIT 2000"
        reply = await asking.ask(text, default_format=format_)
        assert reply.status == 200, (text, reply.text)
        assert_nothing_foreign(reply, format_, text)
        assert reply.body or format_ == "Null"


@pytest.mark.parametrize("family", SMALL)
async def test_sessions_and_other_statements_beside_open_nothing(asking: Asking, places: Places, family: str) -> None:
    turns = cycle(EACH)
    for text in map(places.fill, FAMILIES[family]):
        for whole in (text, f"SELECT 1; {text}", f"{text}; SELECT 1", f"USE `{FOREIGN}`; {text}"):
            format_ = next(turns)
            reply = await asking.ask(whole, session_id="one", session_timeout="60", default_format=format_)
            assert_nothing_foreign(reply, format_, whole)
    places.assert_untouched()


@pytest.mark.parametrize("family", SMALL)
async def test_values_of_parameters_stay_values(asking: Asking, places: Places, family: str) -> None:
    for text in map(places.fill, FAMILIES[family]):
        said = await asking.ask("SELECT {p:String} AS said FORMAT JSONEachRow", param_p=escaped(text))
        assert said.status == 200, (text, said.text)
        assert said.json == {"said": text}
        for wanted in ("SELECT path FROM events WHERE site_id = {p:String}", "SELECT * FROM {p:Identifier}"):
            assert_nothing_foreign(await asking.ask(wanted, param_p=escaped(text)), "TSV", text)
    places.assert_untouched()


def escaped(text: str) -> str:
    """As a value of a parameter is sent: like a cell of TSV."""
    for sign, written in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"), ("\0", "\\0")):
        text = text.replace(sign, written)
    return text


async def test_resource_bombs_end_in_time(asking: Asking, places: Places) -> None:
    turns = cycle(EACH)
    for text in map(places.fill, FAMILIES["resource bombs"]):
        format_ = next(turns)
        assert_nothing_foreign(await asking.ask(text, default_format=format_), format_, text)
    assert (await asking.ask("SELECT 1")).text == "1\n"
    places.assert_untouched()
