"""What endpoints that ask about a site have in common: the body's limits, the error codes, and share links' filters."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from analytics_server.config import LimitsSection
from analytics_server.errors import Forbidden
from analytics_server.http.body import BodyLimits
from analytics_server.profiles.refusal import FORBIDDEN
from analytics_server.query.dimensions import GOAL
from analytics_server.query.language.request import QueryRequest, decode_request

NO_SITE = {404: ("unknown_site",)}
FILTER_CODES = (
    "bad_filter",
    "bad_goal",
    "bad_pattern",
    FORBIDDEN,
    "too_complex",
    "unknown_country",
    "unknown_dimension",
    "unknown_goal",
    "unknown_operator",
    "unknown_segment",
    "unsupported_dimension",
)
REQUEST_CODES = ("bad_json", "bad_request", "unknown_key", "bad_date_range")
QUESTION_CODES = (
    *REQUEST_CODES,
    *FILTER_CODES,
    "bad_order",
    "bad_pagination",
    "several_currencies",
    "too_many_buckets",
    "too_many_groups",
    "unknown_metric",
    "unsupported_combination",
)


def query_body(limits: LimitsSection, *, if_empty: bytes = b"") -> BodyLimits:
    """How the body of a question is read: strictly, and within `[limits] query_bytes`."""
    return BodyLimits(
        most_bytes=limits.query_bytes,
        too_large=f"A query may have {limits.query_bytes} bytes at most ([limits] query_bytes).",
        decode=decode_request,
        if_empty=if_empty,
    )


# ---- questions by a share link ---------------------------------------
# Nothing that such a question says may look past the link's filters, as conditions about other events of a session
# and metrics whose denominator leaves filters out do.

PLAIN_METRICS = frozenset(
    {
        *("visitors", "sessions", "visits", "pageviews", "events", "bounce_rate", "session_duration"),
        *("visit_duration", "views_per_session", "views_per_visit", "scroll_depth", "engagement_time", "time_on_page"),
    }
)
"""Of the rows that the filters keep, and of nothing else."""
PLAIN_GROUPS = ("and", "or", "not")


def narrow_query(request: QueryRequest, fixed: tuple[object, ...]) -> QueryRequest:
    """The question within the fixed filters. Raises `Forbidden`."""
    if not fixed:
        return request
    for metric in (*request.metrics, *(name for name, _ in request.order_by if ":" not in name and name != "time")):
        if metric not in PLAIN_METRICS:
            raise Forbidden(f"This link does not show {metric[:64]!r}: it would count past the link's filters.")
    for dimension in request.dimensions:
        check_breakdown(dimension)
    _check_plain(request.filters)
    return msgspec.structs.replace(request, filters=(*request.filters, *fixed))


def check_breakdown(dimension: str) -> None:
    """Raises `Forbidden` for a dimension whose rows count past a link's filters."""
    if dimension == GOAL.name:
        raise Forbidden("This link shows no goals: they would count past the link's filters.")


def _check_plain(filters: Sequence[object]) -> None:
    left: list[object] = list(filters)
    while left:
        item = left.pop()
        if not isinstance(item, list) or not item:
            continue  # refused where filters are read
        if item[0] in PLAIN_GROUPS:
            inner = item[1] if len(item) > 1 else None
            left += inner if item[0] != "not" and isinstance(inner, list) else [inner]
        elif len(item) < 3 or str(item[1]) in (GOAL.name, "segment"):
            raise Forbidden(f"This link takes no filter {str(item[0])[:64]!r}: it would look past the link's filters.")
