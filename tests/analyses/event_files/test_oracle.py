"""Files of events hold what plain loops over all events find, in each format, on both engines."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import Any

import msgspec
import pyarrow.parquet as parquet  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from analytics_server.analyses.event_files.request import FORMATS, EventsRequest
from analytics_server.analyses.event_files.run import EventFiles
from analytics_server.model import COLUMN_NAMES, Site
from analytics_server.query.context import zone_of
from analytics_server.query.language.time_range import resolve_range
from tests.analyses.sessions.people import NOW, Event, Past
from tests.analyses.sessions.places import Place, date_ranges, filters, many, sites
from tests.query.world import micros, moment

Row = dict[str, Any]


async def fetched(place: Place, request: EventsRequest) -> bytes:
    return b"".join([piece async for piece in EventFiles(place.context).write(request)])


def read(format_: str, data: bytes) -> list[Row]:
    """The rows of a file, as any reader sees them."""
    if format_ == "ndjson":
        return [msgspec.json.decode(line) for line in data.splitlines()]
    if format_ == "csv":
        return list(csv.DictReader(io.StringIO(data.decode(), newline="")))
    rows: list[Row] = parquet.read_table(io.BytesIO(data)).to_pylist()
    return rows


def expected(event: Event, format_: str) -> Row:
    """What is stored of an event, as the format writes it."""
    at = moment(event.at)
    iso = at.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    props = {"plan": event.plan} if event.plan else {}
    written: dict[str, Row] = {
        "ndjson": {"ts": iso, "visitor_id": str(event.visitor_id), "passive": int(event.is_passive), "props": props},
        "csv": {
            "ts": iso,
            "visitor_id": str(event.visitor_id),
            "passive": str(int(event.is_passive)),
            "props": msgspec.json.encode(props).decode(),
        },
        "parquet": {
            "ts": at,
            "visitor_id": event.visitor_id,
            "passive": int(event.is_passive),
            "props": list(props.items()),
        },
    }
    same = ("site_id", "name", "path", "session_id", "user_id", "source")
    return {name: getattr(event, name) for name in same} | {"event_id": str(event.event_id)} | written[format_]


def in_range(past: Past, site: Site, date_range: Any, where: list[Any]) -> list[Event]:
    """Each event is judged by itself."""
    earliest = min(moment(event.at) for event in past.events) if date_range == "all" else None
    range_ = resolve_range(date_range, now=NOW, zone=zone_of(site), earliest=earliest)
    first, after = micros(range_.start), micros(range_.end)
    return [e for e in past.events if first <= e.at < after and all(past.holds(one, e) for one in where)]


def hour_and_session(row: Row, format_: str) -> tuple[datetime, bytes, datetime]:
    ts = row["ts"] if format_ == "parquet" else datetime.fromisoformat(row["ts"])
    return ts.astimezone(UTC).replace(minute=0, second=0, microsecond=0), row["session_id"].encode(), ts


@many
@given(
    site=sites,
    date_range=date_ranges(),
    where=filters(),
    format_=st.sampled_from(tuple(FORMATS)),
    columns=st.none() | st.lists(st.sampled_from(COLUMN_NAMES), min_size=1, max_size=5, unique=True),
)
def test_a_file_holds_the_events_that_pass(
    place: Place, site: Site, date_range: Any, where: list[Any], format_: str, columns: list[str] | None
) -> None:
    past = place.pasts[site.site_id]
    spec = tuple(date_range) if isinstance(date_range, list) else date_range
    request = EventsRequest(
        site_id=site.site_id,
        date_range=spec,
        filters=tuple(where),
        columns=None if columns is None else tuple(columns),
        format=format_,
        raw_csv=True,
    )
    rows = read(format_, place.run(fetched(place, request)))
    events = in_range(past, site, spec, where)
    assert {tuple(row) for row in rows} == ({tuple(columns or COLUMN_NAMES)} if events else set())
    if columns is not None:
        assert len(rows) == len(events)
        return
    wanted = [expected(event, format_) for event in events]
    found = [{name: row[name] for name in wanted[0]} for row in rows] if wanted else rows
    assert sorted(found, key=lambda row: row["event_id"]) == sorted(wanted, key=lambda row: row["event_id"])
    order = [hour_and_session(row, format_) for row in rows]
    assert order == sorted(order)
