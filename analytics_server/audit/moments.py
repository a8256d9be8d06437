"""Time parameters of the audit log: days, times and milliseconds, UTC where nothing else is said."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta

from analytics_server.errors import RequestError

EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)
MOST_DIGITS = 18
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(_DAY.pattern + "[Tt ][0-9]")


def parse_moment(text: str, name: str, *, is_end: bool = False) -> datetime:
    """ISO 8601 or milliseconds since 1970, UTC where no offset is given; a day as an end is included.

    Raises `RequestError`.
    """
    try:
        if text.isascii() and text.isdigit() and 8 < len(text) <= MOST_DIGITS:
            found = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=int(text))
        elif _DAY.fullmatch(text):
            day = date.fromisoformat(text) + timedelta(days=is_end)
            found = datetime.combine(day, time(), UTC)
        elif _TIME.match(text):
            found = datetime.fromisoformat(text)
            found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        else:
            raise ValueError("neither a day nor a time")
    except (ValueError, OverflowError):
        raise RequestError(
            f"{name} is {text[:40]!r}: write a day such as 2026-11-29, a time in ISO 8601, or milliseconds since 1970.",
            code="bad_date_range",
        ) from None
    if not EARLIEST <= found <= LATEST:
        raise RequestError(f"{name} lies outside the years 1970 to 2200.", code="bad_date_range")
    return found
