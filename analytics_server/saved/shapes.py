"""Types of fields that requests for saved things have in common."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from analytics_server.saved.store import NAME_CHARS, NAME_PATTERN

SiteId = Annotated[str, Meta(min_length=1, max_length=253)]
Name = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=NAME_CHARS,
        extra_json_schema={"pattern": NAME_PATTERN},
    ),
]
"""No control characters, no spaces around it."""
