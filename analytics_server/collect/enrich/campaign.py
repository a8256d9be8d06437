"""Campaign enrichment: the campaign tags and click ids of a page's URL.

Click ids identify one click of one person, so only their kind is ever kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from analytics_server.collect.enrich.url import CLICK_ID_KEYS


class Campaign(NamedTuple):
    """The five UTM tags, the source named by `ref` or `source`, and the kind of click id, or ""."""

    utm_source: str = ""
    utm_medium: str = ""
    utm_campaign: str = ""
    utm_content: str = ""
    utm_term: str = ""
    ref: str = ""
    click_id_kind: str = ""


NO_CAMPAIGN = Campaign()


def campaign(query: Mapping[str, str]) -> Campaign:
    """The campaign in `CleanUrl.query`. `ref` goes before `source`; the first known click id counts."""
    if not query:
        return NO_CAMPAIGN
    get = query.get
    return Campaign(
        get("utm_source", ""),
        get("utm_medium", ""),
        get("utm_campaign", ""),
        get("utm_content", ""),
        get("utm_term", ""),
        get("ref") or get("source", ""),
        next((key for key in CLICK_ID_KEYS if key in query), ""),
    )
