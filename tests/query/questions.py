"""Short ways to write requests in tests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from analytics_server.query.language.buckets import choose_interval
from analytics_server.query.language.library import Library
from analytics_server.query.language.request import QueryRequest, Question, check_request, decode_request
from analytics_server.query.language.time_range import TimeRange, resolve_range

NOW = datetime(2025, 11, 9, 12, 34, 56, tzinfo=UTC)


def body(**parts: Any) -> bytes:
    """A query's JSON; what isn't given is a plain count of visitors over a week."""
    return msgspec.json.encode({"site_id": "berlin.example", "metrics": ["visitors"], "date_range": "7d"} | parts)


def request(**parts: Any) -> QueryRequest:
    return decode_request(body(**parts), QueryRequest)


def question(zone: str = "Europe/Berlin", library: Library | None = None, **parts: Any) -> tuple[Question, TimeRange]:
    """A checked question and its range."""
    asked = check_request(request(**parts), library, max_rows=10_000)
    range_ = resolve_range(asked.date_range, now=NOW, zone=ZoneInfo(zone))
    return asked.with_interval(choose_interval(range_)), range_
