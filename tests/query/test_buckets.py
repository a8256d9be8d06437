"""ClickHouse and Python agree on where every bucket begins, in every kind of time zone."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from analytics_server.query.dimensions import find_dimension
from analytics_server.query.language.buckets import buckets
from analytics_server.query.language.time_range import TimeRange
from analytics_server.store import Store

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "America/Havana",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Pacific/Chatham",
)


@pytest.mark.parametrize("zone", ZONES)
async def test_engine_and_python_agree_on_buckets(store: Store, zone: str) -> None:
    random_ = random.Random(zone)
    moments = [datetime(2025, 1, 1, tzinfo=UTC) + timedelta(minutes=5 * n) for n in range(0, 12 * 24 * 365, 3)]
    chosen = sorted(random_.sample(moments, 800) + [m for m in moments if _clock_changes(m, ZoneInfo(zone))])
    texts = [moment.strftime("%Y-%m-%d %H:%M:%S.%f") for moment in chosen]
    for interval in ("minute", "hour", "day", "week", "month"):
        sql = find_dimension(f"time:{interval}").events.replace("@at", "moment")
        answer = await store.query(
            f"SELECT {sql} FROM (SELECT arrayJoin({{moments:Array(String)}}) AS text,"
            " toDateTime64(text, 6, 'UTC') AS moment)",
            {"moments": texts, "tz": zone},
        )
        wrong = {}
        for moment, (key,) in zip(chosen, answer.rows, strict=True):
            one = TimeRange(moment, moment + timedelta(microseconds=1), ZoneInfo(zone))
            bucket = buckets(one, interval, limit=3)[0]
            if bucket.key != key:
                wrong[moment.isoformat()] = (bucket.key, key)
        assert not wrong, f"{interval}: {dict(list(wrong.items())[:5])}"
        assert isinstance(answer.rows[0][0], int | date)


def _clock_changes(moment: datetime, zone: ZoneInfo) -> bool:
    offsets = {(moment + timedelta(hours=hours)).astimezone(zone).utcoffset() for hours in (-3, 3)}
    return len(offsets) > 1
