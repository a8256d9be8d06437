"""What can be chosen in Grafana: metrics with their payload, the options of each key, keys of ad-hoc filters. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from analytics_server.grafana.payload import FORMATS
from analytics_server.grafana.reports import ANNOTATIONS, FUNNEL, LIVE, REPORTS
from analytics_server.query.dimensions import DIMENSIONS, Scope
from analytics_server.query.language.time_range import RANGE_NAMES
from analytics_server.query.metrics import METRICS
from analytics_server.query.trends import INTERVALS

DIMENSION_NAMES = tuple(one.name for one in DIMENSIONS if one.scope is not Scope.TIME and not one.family)
METRIC_NAMES = tuple(one.name for one in METRICS)
OPTIONS: dict[str, tuple[str, ...]] = {
    "dimension": DIMENSION_NAMES,
    "interval": INTERVALS,
    "format": FORMATS,
    "range": RANGE_NAMES,
}
"""Keys of the payload whose values are the same for every site."""

FREE = ("filters", "limit")
"""Keys of the payload that are typed in."""

OF_A_SITE = ("site", "funnel")
"""Keys of the payload whose values are asked for when the list is opened."""

_OF_METRICS = ("site", "dimension", "interval", "format", "range", "filters", "limit")
_OF_REPORTS = {
    ANNOTATIONS: ("site", "range"),
    FUNNEL: ("site", "funnel", "dimension", "format", "range", "limit"),
    LIVE: ("site", "dimension", "format", "filters", "limit"),
}
_HINTS = {
    "site": "The only site of the token",
    "dimension": "All together",
    "interval": "As the panel has room",
    "format": FORMATS[0],
    "range": "The panel's",
    "filters": '[["is", "visit:country", ["SE"]]]',
    "limit": "Values of the dimension",
    "funnel": "A saved funnel",
}


class OptionAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a list."""

    label: str
    value: str


class PayloadKey(msgspec.Struct, frozen=True, kw_only=True):
    """One key of a metric's payload. A `select` without options asks for them."""

    name: str
    label: str
    type: Literal["select", "input", "textarea"]
    placeholder: str
    options: list[OptionAnswer] | UnsetType = UNSET


class MetricChoice(msgspec.Struct, frozen=True, kw_only=True):
    """A metric or report, with the keys of its payload."""

    label: str
    value: str
    payloads: list[PayloadKey]


class VariableValue(msgspec.Struct, frozen=True, kw_only=True):
    """One value of a variable."""

    text: str = msgspec.field(name="__text")
    value: str = msgspec.field(name="__value")


class TagKey(msgspec.Struct, frozen=True, kw_only=True):
    """A dimension that can be filtered by."""

    type: Literal["string"]
    text: str


class TagValue(msgspec.Struct, frozen=True, kw_only=True):
    """A value of a dimension."""

    text: str


class FoundName(msgspec.Struct, frozen=True, kw_only=True):
    """What a search found."""

    text: str
    value: str


def metric_choices() -> list[MetricChoice]:
    """All metrics, and the reports after them."""
    named = [*((name, _OF_METRICS) for name in METRIC_NAMES), *((name, _OF_REPORTS[name]) for name in REPORTS)]
    return [MetricChoice(label=name, value=name, payloads=[_key(key) for key in keys]) for name, keys in named]


def options_of(names: Iterable[str]) -> list[OptionAnswer]:
    """Entries whose text is their value."""
    return [OptionAnswer(label=name, value=name) for name in names]


def tag_keys() -> list[TagKey]:
    """The dimensions that have a name of their own; properties can be typed in: `event:props:plan`."""
    return [TagKey(type="string", text=name) for name in DIMENSION_NAMES]


def _key(name: str) -> PayloadKey:
    type_: Literal["select", "input", "textarea"] = "select"
    if name in FREE:
        type_ = "textarea" if name == "filters" else "input"
    options = options_of(OPTIONS[name]) if name in OPTIONS else UNSET
    return PayloadKey(name=name, label=name, type=type_, placeholder=_HINTS[name], options=options)
