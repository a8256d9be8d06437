"""The former place of `endpoint_parts`, for rooms that are not converted to endpoints yet."""

from __future__ import annotations

from analytics_server.query.endpoint_parts import FILTER_CODES, NO_SITE, QUESTION_CODES, REQUEST_CODES, SITE

__all__ = ["FILTER_CODES", "NO_SITE", "QUESTION_CODES", "REQUEST_CODES", "SITE"]
