"""What the data source sends, as far as it is read: all versions of the plugin add keys, so unknown ones are tolerated.

Earlier versions say `adhocFilters` for `filters` and `data` for `payload`; both are taken. Only the payload is the
user's own text, and `payload.py` reads it strictly.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, field

MOST_TARGETS = 50
"""Of one panel."""

Positive = Annotated[float, Meta(gt=0)]
Texts = Annotated[tuple[str, ...], Meta(max_length=1_000)]


class PanelRange(msgspec.Struct, frozen=True, kw_only=True):
    """The panel's range: both as ISO 8601 with an offset, or epoch milliseconds."""

    from_: str | int = field(name="from")
    to: str | int


class AdHocFilter(msgspec.Struct, frozen=True, kw_only=True):
    """One ad-hoc filter of the dashboard. `values`: of the operators for one of several."""

    key: str
    operator: str = "="
    value: str | None = None
    values: Texts | None = None


class PanelTarget(msgspec.Struct, frozen=True, kw_only=True):
    """One query of a panel. `type`: `timeserie` or `table`, of early versions of the plugin."""

    ref_id: str = field(name="refId", default="")
    target: str | None = None
    payload: object = None
    data: object = None
    type: str | None = None


class PanelQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `POST …/query`. `interval_ms`, `max_data_points`: how close together the panel can draw points."""

    range: PanelRange
    targets: Annotated[tuple[PanelTarget, ...], Meta(min_length=1, max_length=MOST_TARGETS)]
    interval_ms: Positive | None = field(name="intervalMs", default=None)
    max_data_points: Positive | None = field(name="maxDataPoints", default=None)
    filters: tuple[AdHocFilter, ...] | None = None
    adhoc_filters: tuple[AdHocFilter, ...] | None = field(name="adhocFilters", default=None)


class PayloadOptionsQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `POST …/metric-payload-options`: which key of the payload is being chosen, and what stands in it."""

    name: str
    metric: str | None = None
    payload: object = None


class VariableQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `POST …/variable`."""

    payload: object
    range: PanelRange | None = None


class TagValuesQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `POST …/tag-values`. The plugin names no `site`; a client of one's own may."""

    key: str
    site: str = ""
    time_range: PanelRange | None = field(name="timeRange", default=None)


class SearchQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `POST …/search`. The plugin names no `site`; a client of one's own may."""

    target: str
    site: str = ""


class AnnotationSource(msgspec.Struct, frozen=True, kw_only=True):
    """A dashboard's annotation query of early versions. `query`: the site, or a payload as JSON."""

    query: str | None = ""
    name: str | None = ""
    enable: bool | None = True
    icon_color: str | None = field(name="iconColor", default="")


class AnnotationsQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `POST …/annotations`."""

    annotation: AnnotationSource
    range: PanelRange
