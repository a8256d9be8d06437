"""What endpoints that ask about a site have in common: the body's limits and the error codes."""

from __future__ import annotations

from analytics_server.config import LimitsSection
from analytics_server.http.body import BodyLimits
from analytics_server.profiles.refusal import FORBIDDEN
from analytics_server.query.language.request import decode_request

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
