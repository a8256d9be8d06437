"""CSV cells that a spreadsheet would run are made harmless; everything else stays byte for byte."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_server.http.streams.csv_cells import HarmlessCells
from analytics_server.sql.service import SqlRequest
from tests.sql.conftest import SqlClient
from tests.sql.world import MINE

DANGEROUS = [
    *("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\tx", "\r=1", "\rx", "\nx", "  =1", "\u00a0=1", "\ufeff=1", "\u200b=1"),
    *(
        "'=1",
        "''=1",
        '"=1',
        '"" =1',
        "\u3000＝1",
        "＝1+1",
        "＋1",
        "－1",
        "＠x",
        "﹦1",
        "−1",
        "\x00=1",
        "-",
        "=cmd|' /C calc'!A0",
    ),
]
HARMLESS = [
    "",
    "a",
    "a=1",
    "1-2",
    "/path?x=-1",
    "(−1)",
    " a",
    "'a'",
    'say "=1"',
    "a,=1",
    "a\n=1",
    'a,"=1',
    "[-1]",
    "％",
    "é=",
]


def written(rows: list[list[str]]) -> bytes:
    """As ClickHouse writes texts: all in quotes, lines end with a line feed."""
    return "".join(",".join(f'"{cell.replace(chr(34), chr(34) * 2)}"' for cell in row) + "\n" for row in rows).encode()


def passed(data: bytes, size: int = 10**9) -> bytes:
    shape = HarmlessCells()
    return b"".join(shape.feed(data[at : at + size]) for at in range(0, len(data), size)) + shape.end()


def read(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline="")))


@pytest.mark.parametrize("cell", DANGEROUS)
def test_a_dangerous_cell_gets_an_apostrophe(cell: str) -> None:
    rows = [["a", cell, "b"], [cell, "c", cell]]
    for data in (written(rows), written(rows).removesuffix(b"\n")):
        found = passed(data)
        assert read(found)[0] == ["a", f"'{cell}", "b"]
        assert read(found)[1][0] == read(found)[1][2] == f"'{cell}"


@pytest.mark.parametrize("cell", HARMLESS)
def test_any_other_cell_stays_as_it_is(cell: str) -> None:
    data = written([["=x", cell], [cell, cell]])
    assert read(passed(data)) == [["'=x", cell], [cell, cell]]
    assert passed(written([[cell]])) == written([[cell]])


def test_numbers_stay_numbers() -> None:
    data = b'-1,+2.5,-inf,"-1",\\N\n-3,4,nan,"x",-5\n'
    assert passed(data) == b'-1,+2.5,-inf,"\'-1",\\N\n-3,4,nan,"x",-5\n'


@given(
    rows=st.lists(
        st.lists(st.text(alphabet="=+-@\"',\n\r\t a＝é", max_size=6), min_size=2, max_size=2), min_size=1, max_size=4
    ),
    size=st.integers(1, 9),
)
def test_pieces_of_any_size_give_the_same(rows: list[list[str]], size: int) -> None:
    data = written(rows)
    whole = passed(data)
    assert passed(data, size) == whole
    for before, after in zip(read(data), read(whole), strict=True):
        for was, is_ in zip(before, after, strict=True):
            assert is_ in (was, f"'{was}")
            assert not is_.lstrip(" \"'").startswith(("=", "+", "-", "@", "＝")) or is_.startswith("'")


async def test_the_engine_s_csv_is_harmless_and_raw_where_it_is_asked_for(sql_client: SqlClient) -> None:
    query = (
        "SELECT '=1+1' AS `=name`, -5 AS n, toDecimal64(-3.2, 1) AS d, '-5' AS t, ['=1'] AS a,"
        " toDate('2026-01-01') AS day, ('＝1', -2) AS pair, map('=k', '@v') AS m"
    )
    request = SqlRequest(site_id=MINE, query=query)
    safe = await sql_client.raw(query, format_="csv")
    raw = b"".join([piece async for piece in sql_client.service.run(request, "csv", raw_csv=True)])
    head, row = read(safe)
    assert head[0] == "'=name"
    assert row[:4] == ["'=1+1", "-5", "-3.2", "'-5"]
    assert row[4:6] == ["['=1']", "2026-01-01"]
    assert row[6] == "'＝1"
    assert read(raw)[0][0] == "=name"
    assert read(raw)[1][0] == "=1+1"
    for format_ in ("json", "ndjson"):
        assert b'"=1+1"' in await sql_client.raw(query, format_=format_)
