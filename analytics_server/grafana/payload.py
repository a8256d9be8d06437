"""What a query's payload and a dashboard's ad-hoc filters say, read strictly. Pure.

Values come as JSON or as texts, because the plugin's form sends texts. Where it fills a variable into one, it writes
the value as a regular expression: `shop\\.example`, and `(a|b)` for several.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import msgspec

from analytics_server.errors import RequestError
from analytics_server.grafana.bodies import AdHocFilter, PanelRange
from analytics_server.http.parameters import is_number_within
from analytics_server.query.dimensions import DIMENSIONS, Interval, Scope, nearest
from analytics_server.query.language.time_range import RangeSpec, TimeRange
from analytics_server.query.trends import INTERVALS, filters_of

Format = Literal["frame", "timeseries", "table"]
FORMATS: tuple[Format, ...] = get_args(Format)
KEYS = ("site", "dimension", "filters", "format", "funnel", "interval", "limit", "range")
OPERATORS = {
    "=": "is",
    "!=": "is_not",
    "=|": "is",
    "!=|": "is_not",
    "=~": "matches",
    "!~": "matches_not",
    "<": "lt",
    "<=": "lte",
    ">": "gt",
    ">=": "gte",
}
"""Grafana's operators of ad-hoc filters → those of a filter."""

_EARLY_TYPES: dict[str, Format] = {"timeserie": "timeseries", "timeseries": "timeseries", "table": "table"}
_ESCAPED = re.compile(r"\\([\\^$*+?.()|\[\]{}/])")
_SEVERAL = re.compile(r"\((.+)\)", re.DOTALL)
_BAR = re.compile(r"(?<!\\)\|")
_NO_ESCAPE = re.compile(r"\\([\\^$*+?.()|\[\]{}])")
"""In JSON: two backslashes, or one that JSON does not know and a variable has brought."""

_OF_ONE_OF = ("is", "is_not")
_OF_VALUES = (*_OF_ONE_OF, "contains", "contains_not")
_BUCKET_MS: Mapping[Interval, int] = {
    "minute": 60_000,
    "hour": 3_600_000,
    "day": 86_400_000,
    "week": 7 * 86_400_000,
    "month": 31 * 86_400_000,
}
_SHORT = {
    dimension.name.partition(":")[2].removesuffix("*"): dimension.name.removesuffix("*")
    for dimension in DIMENSIONS
    if dimension.scope is not Scope.TIME and not dimension.name.startswith("experiment:")
}
"""`country` → `visit:country`, and `props:` → `event:props:`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """What a query asks besides its metric; empty where nothing is said. `target`: of a variable."""

    site: str = ""
    dimension: str = ""
    filters: tuple[object, ...] = ()
    format: Format | None = None
    funnel: str = ""
    interval: Interval | None = None
    limit: int | None = None
    range: str = ""
    target: str = ""


def read_payload(sent: object, *, most_rows: int, more_keys: tuple[str, ...] = ()) -> Payload:
    """A payload as an object, as the text of one, or none. Raises `RequestError`."""
    given = _object_of(sent)
    known = (*KEYS, *more_keys)
    for key in given:
        if key not in known:
            raise RequestError(f"The payload has no key {key[:120]!r}.{nearest(key, known)}", code="unknown_key")
    texts = {name: _text(given.get(name), name) for name in known if name != "filters"}
    format_, interval, limit = texts["format"], texts["interval"], texts["limit"]
    if format_ and format_ not in FORMATS:
        raise _bad(f"format={format_[:120]!r} is unknown.{nearest(format_, FORMATS)}")
    if interval and interval not in INTERVALS:
        raise _bad(f"interval={interval[:120]!r} is unknown.{nearest(interval, INTERVALS)}")
    if limit and not is_number_within(limit, most_rows):
        raise _bad(f"limit must be a number from 1 to {most_rows}.")
    return Payload(
        site=texts["site"],
        dimension=dimension_name(texts["dimension"]),
        filters=_filters(given.get("filters")),
        format=next((one for one in FORMATS if one == format_), None),
        funnel=texts["funnel"],
        interval=next((one for one in INTERVALS if one == interval), None),
        limit=int(limit) if limit else None,
        range=texts["range"],
        target=texts.get("target", ""),
    )


def format_of(payload: Payload, early_type: str | None) -> Format:
    """The shape of the answer: as the payload says, or the query's type of early versions of the plugin."""
    return payload.format or _EARLY_TYPES.get(early_type or "", "frame")


def names_in(target: str) -> tuple[str, ...]:
    """The names that a query's target holds: one, several with commas, or `(a|b)` of a variable."""
    several = _SEVERAL.fullmatch(target)
    parts = _BAR.split(several[1]) if several else target.split(",")
    return tuple(name for name in (plain(part).strip() for part in parts) if name)


def plain(text: str) -> str:
    """A value without the backslashes by which a variable was made a regular expression."""
    return _ESCAPED.sub(r"\1", text)


def dimension_name(name: str) -> str:
    """The full name of a dimension that may stand without its scope; any other text as it is."""
    if name.startswith("props:"):
        return f"event:{name}"
    return _SHORT.get(name, name) if name else ""


def filters_from(ad_hoc: Iterable[AdHocFilter]) -> tuple[object, ...]:
    """A dashboard's ad-hoc filters as filters of a query. Raises `RequestError` (unknown_operator)."""
    return tuple(
        [_operator(one.operator), dimension_name(one.key), list(one.values or _values(one))]
        for one in ad_hoc
        if one.key
    )


def range_spec(given: PanelRange | None, named: str, default: str) -> RangeSpec:
    """The range with a name if there is one, else the panel's."""
    if named or given is None:
        return named or default
    return given.from_, given.to


def interval_for(range_: TimeRange, interval_ms: float | None, most_points: float | None, *, most_buckets: int) -> str:
    """The time dimension with the shortest buckets that the panel has room for; the engine's choice if it says nothing.

    `interval_ms`: how far apart points may be at least. `most_buckets`: what the engine answers.
    """
    if interval_ms is None and most_points is None:
        return "time"
    length_ms = (range_.end - range_.start).total_seconds() * 1000
    # The range's edges lie within buckets, and changes of the clock begin some more.
    most = min(most_points or most_buckets, max(1.0, 0.99 * most_buckets - 2))
    least_ms = max(interval_ms or 0.0, length_ms / most)
    fitting = (name for name, bucket_ms in _BUCKET_MS.items() if bucket_ms >= least_ms)
    return f"time:{next(fitting, 'month')}"


def _object_of(sent: object) -> Mapping[str, object]:
    if isinstance(sent, str) and sent.strip():
        try:
            sent = msgspec.json.decode(sent)
        except (msgspec.DecodeError, RecursionError) as error:
            raise _bad(f"The payload is no JSON: {error}.") from error
    if sent in (None, "") or (isinstance(sent, str) and not sent.strip()):
        return {}
    if not isinstance(sent, dict):
        raise _bad('The payload must be an object, such as {"site": "example.com"}.')
    return {str(key): value for key, value in sent.items()}


def _text(value: object, name: str) -> str:
    """One value as text; "" for none."""
    if isinstance(value, list) and len(value) <= 1:
        value = value[0] if value else None
    if value is None:
        return ""
    if isinstance(value, str):
        several = _SEVERAL.fullmatch(value)
        if several and _BAR.search(several[1]):
            raise _bad(f"{name} takes one value, and the variable in it has several.")
        return plain(value).strip()
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise _bad(f"{name} takes one text.")


def _filters(value: object) -> tuple[object, ...]:
    if isinstance(value, str):
        readable = _NO_ESCAPE.sub(lambda found: found[0] if found[1] == "\\" else f"\\{found[0]}", value.strip())
        return tuple(_with_variables(one) for one in filters_of(readable))
    if value is None:
        return ()
    if not isinstance(value, list):
        raise RequestError("filters must be a list of filters, or the JSON of one.", code="bad_filter")
    return tuple(value)


def _with_variables(given: object) -> object:
    """A filter that came as text, with the values that variables gave it: regular expressions where none is meant."""
    if not isinstance(given, list):
        return given
    if len(given) >= 3 and given[0] in _OF_VALUES and isinstance(given[2], list):
        values = [value for one in given[2] for value in _unescaped(one, several=given[0] in _OF_ONE_OF)]
        return [*given[:2], values, *given[3:]]
    return [_with_variables(one) for one in given]


def _unescaped(value: object, *, several: bool) -> Iterable[object]:
    if not isinstance(value, str):
        return (value,)
    found = _SEVERAL.fullmatch(value) if several else None
    if found and _BAR.search(found[1]):
        return tuple(plain(part) for part in _BAR.split(found[1]))
    return (plain(value),)


def _operator(operator: str) -> str:
    if operator not in OPERATORS:
        raise RequestError(
            f"There is no ad-hoc operator {operator[:40]!r}. Valid: {', '.join(OPERATORS)}.", code="unknown_operator"
        )
    return OPERATORS[operator]


def _values(given: AdHocFilter) -> tuple[str, ...]:
    value = given.value or ""
    several = _SEVERAL.fullmatch(value) if given.operator in ("=", "!=") else None
    if several and _BAR.search(several[1]):
        return tuple(plain(part) for part in _BAR.split(several[1]))
    return (value,)


def _bad(message: str) -> RequestError:
    return RequestError(message, code="bad_request")
