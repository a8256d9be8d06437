"""Polars reads what the server gives as Arrow and Parquet, with the values and types that are stored."""

from __future__ import annotations

import io
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
import pytest_asyncio
from polars.testing import assert_frame_equal

from analytics_server.model import COLUMN_NAMES
from tests.clickhouse_api.questions import MANY, MOMENTS, QUESTIONS, SITES, TITLE
from tests.clickhouse_api.real import server
from tests.server import Client, RunningServer

__all__ = ["server"]

pytestmark = pytest.mark.asyncio(loop_scope="module")

Read = Callable[[io.BytesIO], pl.DataFrame]
READ: dict[str, Read] = {"Arrow": pl.read_ipc, "ArrowStream": pl.read_ipc_stream, "Parquet": pl.read_parquet}
MICROS = pl.Datetime("us", "UTC")
TIMES = [datetime.fromisoformat(moment) for moment in MOMENTS]
STORED = pl.DataFrame(
    {
        "site_id": [site for site in SITES for _ in MOMENTS],
        "ts": TIMES * len(SITES),
        "path": ["/0", "/1", "/2"] * len(SITES),
        "title": [TITLE] * len(SITES) * len(MOMENTS),
        "revenue_amount": [Decimal("0.25"), Decimal("1.25"), Decimal("2.25")] * len(SITES),
    },
    schema_overrides={"ts": MICROS, "revenue_amount": pl.Decimal(18, 4)},
)
PROPS = [{"plan": "größer", "seats": str(n)} for n in range(len(MOMENTS))]
SECOND = datetime(2026, 11, 1, 9, 30, 1, tzinfo=UTC)
EACH_TYPE: dict[str, tuple[str, Any, Any]] = {
    "u64": ("toUInt64(18446744073709551615)", pl.UInt64(), 2**64 - 1),
    "i64": ("toInt64(-9223372036854775808)", pl.Int64(), -(2**63)),
    "u8": ("toUInt8(255)", pl.UInt8(), 255),
    "f64": ("toFloat64(0.1)", pl.Float64(), 0.1),
    "f32": ("toFloat32(1.5)", pl.Float32(), 1.5),
    "decimal": ("toDecimal64('-0.05', 2)", pl.Decimal(18, 2), Decimal("-0.05")),
    "day": ("toDate('2026-11-02')", pl.Date(), date(2026, 11, 2)),
    "moment": (
        "toDateTime64('1969-12-31 23:59:59.5', 6, 'UTC')",
        MICROS,
        datetime(1969, 12, 31, 23, 59, 59, 500_000, tzinfo=UTC),
    ),
    "yes": ("true", pl.Boolean(), True),
    "none": ("CAST(NULL, 'Nullable(UInt64)')", pl.UInt64(), None),
    "low": ("CAST('ü', 'LowCardinality(String)')", pl.String(), "ü"),
    "list": ("CAST([1, NULL], 'Array(Nullable(Int32))')", pl.List(pl.Int32), [1, None]),
    "uuid": (
        "toUUID('61f0c404-5cb3-11e7-907b-a6006ad3dba0')",
        pl.Binary(),
        uuid.UUID("61f0c404-5cb3-11e7-907b-a6006ad3dba0").bytes,
    ),
}
"""An expression, the type of its column, and the value."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(server: RunningServer) -> AsyncIterator[Client]:
    async with Client(server) as client:
        yield client


async def asked(client: Client, server: RunningServer, text: str, form: str, address: str = "/") -> pl.DataFrame:
    """The answer of the ClickHouse-compatible endpoint."""
    headers = {"X-ClickHouse-Key": server.token}
    reply = await client.request("POST", f"{address}?default_format={form}", text.encode(), headers)
    assert reply.status == 200, reply.body
    return READ[form](io.BytesIO(reply.body))


def texts(frame: pl.DataFrame) -> list[dict[str, str]]:
    """The maps of the column `props`."""
    return [dict(each) for each in frame["props"].to_list()]


@pytest.mark.parametrize("form", READ)
async def test_events_are_what_was_sent(client: Client, server: RunningServer, form: str) -> None:
    frame = await asked(client, server, QUESTIONS["stored"].text, form)
    assert_frame_equal(frame.drop("props"), STORED)
    assert texts(frame) == PROPS * len(SITES)
    counted = frame.group_by("site_id").agg(pl.col("revenue_amount").sum(), pl.len()).sort("site_id")
    assert counted.rows() == [(site, Decimal("3.75"), 3) for site in SITES]


@pytest.mark.parametrize("form", READ)
async def test_each_type_has_its_own(client: Client, server: RunningServer, form: str) -> None:
    listed = ", ".join(f"{expression} AS {name}" for name, (expression, _, _) in EACH_TYPE.items())
    frame = await asked(client, server, f"SELECT {listed}", form, "/clickhouse/")
    assert dict(frame.schema) == {name: type_ for name, (_, type_, _) in EACH_TYPE.items()}
    assert frame.row(0, named=True) == {name: value for name, (_, _, value) in EACH_TYPE.items()}


@pytest.mark.parametrize("form", READ)
async def test_whole_seconds_are_a_time_in_parquet_and_a_number_in_arrow(
    client: Client, server: RunningServer, form: str
) -> None:
    """The engine's own way, which the documentation tells: `DateTime` has no type in Arrow."""
    frame = await asked(client, server, f"SELECT toDateTime({SECOND.timestamp():.0f}) AS second", form)
    in_parquet = form == "Parquet"
    assert frame.schema["second"] == (pl.Datetime("ms", "UTC") if in_parquet else pl.UInt32())
    assert frame.item() == (SECOND if in_parquet else SECOND.timestamp())
    days = "SELECT toDateTime64(toStartOfDay(ts), 0) AS day, count() FROM events GROUP BY day"
    counted = await asked(client, server, days, form)
    assert counted.rows() == [(datetime(2025, 11, 1, tzinfo=UTC), len(SITES) * len(MOMENTS))]


@pytest.mark.parametrize("form", READ)
async def test_many_rows_and_none(client: Client, server: RunningServer, form: str) -> None:
    many = await asked(client, server, QUESTIONS["many"].text, form)
    numbers = pl.Series("number", range(MANY), dtype=pl.UInt64)
    assert many.get_column("number").equals(numbers)
    assert many.to_series(1).equals((numbers * 7).cast(pl.String))
    none = await asked(client, server, "SELECT path, ts FROM events WHERE path = '/none'", form)
    assert none.height == 0
    assert none.schema == {"path": pl.String(), "ts": MICROS}


@pytest.mark.parametrize("site", SITES)
async def test_a_file_of_events_is_read(client: Client, site: str) -> None:
    reply = await client.call("GET", f"/api/v1/export/events?site_id={site}&date_range=all&format=parquet")
    assert reply.status == 200, reply.body
    frame = pl.read_parquet(io.BytesIO(reply.body))
    assert frame.columns == list(COLUMN_NAMES)
    mine = STORED.filter(pl.col("site_id") == site)
    assert_frame_equal(frame.select(mine.columns), mine)
    assert texts(frame) == PROPS
    assert (frame.schema["visitor_id"], frame["visitor_id"].n_unique()) == (pl.UInt64(), 1)
    assert frame["session_start"].to_list() == [TIMES[0]] * 3
    assert set(frame["event_id"].map_elements(lambda text: len(uuid.UUID(text).bytes), pl.Int64)) == {16}
    lazy = pl.scan_parquet(io.BytesIO(reply.body)).filter(pl.col("ts") > TIMES[0]).select("path").collect()
    assert lazy["path"].to_list() == ["/1", "/2"]
