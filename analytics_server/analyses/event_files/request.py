"""What may be asked of a file of events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from analytics_server.errors import RequestError
from analytics_server.model import COLUMN_NAMES, stored_site_id
from analytics_server.query.dimensions import nearest
from analytics_server.query.language.time_range import RangeSpec
from analytics_server.query.trends import date_range_of, filters_of

FORMATS = {
    "ndjson": ("JSONEachRow", "application/x-ndjson"),
    "csv": ("CSV", "text/csv; charset=utf-8"),
    "parquet": ("Parquet", "application/vnd.apache.parquet"),
}
"""Name in the address → ClickHouse's format and the answer's type."""

DEFAULT_FORMAT = "ndjson"
CSV_KINDS = ("safe", "raw")
PARAMETERS = ("site_id", "date_range", "from", "to", "filters", "columns", "format", "csv")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsRequest:
    """A checked address, but for what only the site knows: its zone, its saved segments, its profile.

    `columns` None: all that the site's profile allows. `raw_csv`: CSV cells as they are, for machines.
    """

    site_id: str
    date_range: RangeSpec
    filters: tuple[object, ...] = ()
    columns: tuple[str, ...] | None = None
    format: str = DEFAULT_FORMAT
    raw_csv: bool = False


def check_request(parameters: Mapping[str, str]) -> EventsRequest:
    """Read a query string. Raises `RequestError`."""
    for name in parameters:
        if name not in PARAMETERS:
            raise RequestError(f"There is no parameter {name[:120]!r}.{nearest(name, PARAMETERS)}", code="unknown_key")
    site_id = stored_site_id(parameters.get("site_id", ""))
    if not site_id:
        raise RequestError("Name the site: ?site_id=example.com.", code="bad_request")
    return EventsRequest(
        site_id=site_id,
        date_range=date_range_of(parameters),
        filters=filters_of(parameters.get("filters", "")),
        columns=_columns(parameters.get("columns", "")),
        format=_one_of("format", parameters.get("format") or DEFAULT_FORMAT, tuple(FORMATS)),
        raw_csv=_one_of("csv", parameters.get("csv") or CSV_KINDS[0], CSV_KINDS) == "raw",
    )


def _columns(text: str) -> tuple[str, ...] | None:
    if not text:
        return None
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in COLUMN_NAMES:
            raise RequestError(
                f"Events have no column {name[:120]!r}.{nearest(name, COLUMN_NAMES)} GET /api/v1/schema lists them.",
                code="unknown_column",
            )
        if names.count(name) > 1:
            raise RequestError(f"The column {name!r} is named more than once.", code="bad_request")
    return names


def _one_of(name: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise RequestError(f"{name} is one of {', '.join(known)}, not {value[:120]!r}.", code="bad_format")
    return value
