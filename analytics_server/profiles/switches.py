"""What a profile can switch, and which stored columns, dimensions and metrics each switch is about.

Names only, so that every package may use them: tests hold them against the columns of `model.py` and the registries of
`query/`. A profile is one value of `SiteProfile`; a new country is a new table, not new code.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cached_property

import msgspec


class CollectedKind(StrEnum):
    """A kind of data that a profile may leave out."""

    USER = "user"
    SOURCE = "source"
    CAMPAIGN = "campaign"
    REGION = "region"
    CITY = "city"
    SCREEN = "screen"
    SCROLL = "scroll"
    ENGAGEMENT = "engagement"


class CollectedFields(msgspec.Struct, frozen=True, kw_only=True):
    """Where a kind of data stands: columns of `events` and `sessions`, dimensions and metrics of questions."""

    about: str
    columns: tuple[str, ...]
    dimensions: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()


_TAGS = ("utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term")

FIELDS: dict[CollectedKind, CollectedFields] = {
    CollectedKind.USER: CollectedFields(
        about="the application's own id of a person, and questions by it",
        columns=("user_id",),
    ),
    CollectedKind.SOURCE: CollectedFields(
        about="where a session came from: referrer, traffic source and channel",
        columns=("referrer", "source", "channel"),
        dimensions=("visit:referrer", "visit:source", "visit:channel"),
    ),
    CollectedKind.CAMPAIGN: CollectedFields(
        about="campaign tags", columns=_TAGS, dimensions=tuple(f"visit:{tag}" for tag in _TAGS)
    ),
    CollectedKind.REGION: CollectedFields(
        about="region within the country", columns=("region",), dimensions=("visit:region",)
    ),
    CollectedKind.CITY: CollectedFields(about="city", columns=("city",), dimensions=("visit:city",)),
    CollectedKind.SCREEN: CollectedFields(about="screen size", columns=("screen",), dimensions=("visit:screen",)),
    CollectedKind.SCROLL: CollectedFields(
        about="how far pages are scrolled",
        columns=("scroll_depth",),
        dimensions=("event:scroll_depth",),
        metrics=("scroll_depth",),
    ),
    CollectedKind.ENGAGEMENT: CollectedFields(
        about="how long pages are looked at", columns=("engagement_ms",), metrics=("engagement_time",)
    ),
}


class SiteProfile(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One table of switches.

    `left_out`: what is neither stored nor answered. `script`: are events of the browser's script taken? `cohorts`:
    may people be followed over days? `sharing`: may the site's numbers be shown to others by a link?
    `shortened_bytes`: so many of an address's bytes are set to zero before it is hashed. `most_retention_days`: how
    long events may be kept at most, 0 for no limit; `default_retention_days`: what is usual, which nothing enforces.
    `duties`: what the operator has to do besides. `sources`: what the table rests on.
    """

    name: str
    about: str
    left_out: frozenset[CollectedKind] = frozenset()
    script: bool = True
    cohorts: bool = True
    sharing: bool = True
    shortened_bytes: int = 0
    most_retention_days: int = 0
    default_retention_days: int = 0
    duties: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    @cached_property
    def hidden_columns(self) -> frozenset[str]:
        """Columns that are neither stored nor answered."""
        return frozenset(column for kind in self.left_out for column in FIELDS[kind].columns)

    @cached_property
    def forbidden_dimensions(self) -> frozenset[str]:
        """Dimensions that no question may name."""
        return frozenset(name for kind in self.left_out for name in FIELDS[kind].dimensions)

    @cached_property
    def forbidden_metrics(self) -> frozenset[str]:
        """Metrics that no question may name, by their full names."""
        return frozenset(name for kind in self.left_out for name in FIELDS[kind].metrics)

    @property
    def by_user(self) -> bool:
        """May questions be asked by the application's id of a person?"""
        return CollectedKind.USER not in self.left_out

    @property
    def restricts(self) -> bool:
        """Does it forbid anything that a question or an event may hold?"""
        return bool(self.left_out) or not (self.script and self.cohorts) or self.shortened_bytes > 0
