"""What the data source is answered with, within what the caller may see.

A payload without a site means the token's only one. The endpoints whose requests may name a site or not check the right
to ask about it here, because no address says which one it is.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from analytics_server.access.actions import QUERY_SITE, VIEW_SAVED, refusal
from analytics_server.access.principals import Principal
from analytics_server.errors import Forbidden, RequestError, StoreTimeout
from analytics_server.grafana.annotations import AnnotationEvent, annotations_within, event_of
from analytics_server.grafana.bodies import (
    AnnotationsQuestion,
    PanelQuestion,
    PanelRange,
    PayloadOptionsQuestion,
    SearchQuestion,
    TagValuesQuestion,
    VariableQuestion,
)
from analytics_server.grafana.choices import DIMENSION_NAMES, FREE, METRIC_NAMES, OF_A_SITE, OPTIONS
from analytics_server.grafana.frames import PanelAnswer, answers_of, row_count
from analytics_server.grafana.payload import Payload, dimension_name, format_of, range_spec, read_payload
from analytics_server.grafana.reports import ANNOTATIONS, MAX_ROWS, REPORTS, PanelReports, report_name
from analytics_server.http.authorization import Action, Caller, Resource
from analytics_server.http.endpoint import Call
from analytics_server.model import Site, stored_site_id
from analytics_server.query.dimensions import find_dimension, nearest
from analytics_server.query.trends import DEFAULT_RANGE
from analytics_server.saved.store import Kind

DEFAULT_CHOICES = 100
"""Values of a dimension in a variable or a list."""

PANEL_REPORTS = 5
"""A panel's answers may have so many times the rows of one answer, together."""

_SAVED = {"goals": Kind.GOAL, "segments": Kind.SEGMENT, "funnels": Kind.FUNNEL}
LISTS = ("sites", "metrics", "dimensions", *_SAVED)
"""What a variable can list besides the values of a dimension."""


class GrafanaService:
    """`sites`: all sites there are. Methods raise `RequestError`, `Forbidden`, `NotFound` or a store error."""

    def __init__(self, reports: PanelReports, sites: Callable[[], Iterable[Site]]) -> None:
        self._reports = reports
        self._context = reports.context
        self.limits = self._context.limits
        self._sites = sites

    async def panel(self, call: Call[PanelQuestion]) -> list[PanelAnswer]:
        """The answers to a panel's queries. The right to every site is checked before the first one is asked about."""
        asked = []
        only = ""
        for target in call.body.targets:
            payload = self._payload(target.payload or target.data)
            site_id = stored_site_id(payload.site) if payload.site else only or self._only_site(call.caller)
            only = only if payload.site else site_id
            call.authorize(site_id)
            if report_name(target) == ANNOTATIONS:
                _require(call.caller, VIEW_SAVED, site_id)
            asked.append((target, payload, site_id))
        sites = tuple(dict.fromkeys(site_id for _, _, site_id in asked))
        if len(sites) > 1:
            call.trail.sites = sites
        answers: list[PanelAnswer] = []
        rows: Counter[str] = Counter()
        clock = asyncio.get_running_loop().time
        until = clock() + self.limits.query_timeout_s
        for target, payload, site_id in asked:
            if answers and clock() > until:
                raise StoreTimeout("The panel's queries took too long together: ask for less, or make several panels.")
            if call.request.transport is None or call.request.transport.is_closing():
                break  # The client has gone.
            try:
                report = await self._reports.report(call.body, target, payload, site_id)
                rows[site_id] += row_count(report)
                if rows.total() > PANEL_REPORTS * self.limits.query_rows:
                    raise RequestError(
                        f"The panel's queries have more than {PANEL_REPORTS} × query_rows rows together: ask for "
                        "less, or make several panels.",
                        code="too_many_buckets",
                    )
                answers += answers_of(report, target.ref_id, format_of(payload, target.type))
            except RequestError as error:
                if len(asked) > 1 and target.ref_id:
                    error.message = f"Query {target.ref_id[:40]}: {error.message}"
                raise
            await asyncio.sleep(0)  # Others' turn: what is saved is answered without waiting for anything.
        call.trail.rows, call.trail.site_rows = rows.total(), rows
        return answers

    async def annotations(self, call: Call[AnnotationsQuestion]) -> list[AnnotationEvent]:
        """A site's annotations within the dashboard's range. The endpoint's action is `view_saved`."""
        asked = call.body.annotation
        text = (asked.query or "").strip()
        payload = self._payload(text if text.startswith("{") else {"site": text})
        site_id = self._site_id(payload.site, call.caller, VIEW_SAVED)
        call.authorize(site_id)
        site = self._context.site(site_id)
        range_, _ = await self._context.range_of(site, range_spec(call.body.range, payload.range, DEFAULT_RANGE))
        found = [event_of(one, asked) for one in annotations_within(self._context, site, range_)]
        call.trail.rows = len(found)
        return found

    def options(self, call: Call[PayloadOptionsQuestion]) -> list[str]:
        """The values of one key of a payload."""
        name = call.body.name
        if name in OPTIONS:
            return list(OPTIONS[name])
        if name in FREE:
            return []
        if name == "site":
            return self._visible(call.caller)
        if name == "funnel":
            payload = self._payload(call.body.payload)
            return self._saved(call, Kind.FUNNEL, self._site_id(payload.site, call.caller))
        known = (*OPTIONS, *OF_A_SITE, *FREE)
        raise RequestError(f"The payload has no key {name[:120]!r}.{nearest(name, known)}", code="unknown_key")

    async def variable(self, call: Call[VariableQuestion]) -> list[str]:
        """The values of a variable."""
        payload = self._payload(_as_target(call.body.payload), "target")
        return await self._listed(call, payload, call.body.range)

    async def search(self, call: Call[SearchQuestion]) -> list[str]:
        """The names that queries may have; or, in early versions of the plugin, the values of a variable."""
        text = call.body.target.strip()
        if not text:
            return [*METRIC_NAMES, *REPORTS]
        payload = self._payload(_as_target(text), "target")
        return await self._listed(call, replace(payload, site=payload.site or call.body.site), None)

    async def tag_values(self, call: Call[TagValuesQuestion]) -> list[str]:
        """Values of a dimension: of the token's only site, as the plugin names none."""
        asked = call.body
        dimension = dimension_name(asked.key)
        find_dimension(dimension)
        visible = self._visible(call.caller)
        if not asked.site and len(visible) != 1:
            return []
        return await self._values(call, Payload(site=asked.site, dimension=dimension), asked.time_range)

    async def _listed(self, call: Call[Any], payload: Payload, range_: PanelRange | None) -> list[str]:
        target = payload.target
        if target == "sites":
            return self._visible(call.caller)
        if target == "metrics":
            return list(METRIC_NAMES)
        if target == "dimensions":
            return list(DIMENSION_NAMES)
        if target in _SAVED:
            return self._saved(call, _SAVED[target], self._site_id(payload.site, call.caller))
        if not target:
            raise RequestError(
                f"target is missing: name a dimension, or one of {', '.join(LISTS)}.", code="bad_request"
            )
        dimension = dimension_name(target)
        find_dimension(dimension)
        return await self._values(call, replace(payload, dimension=dimension), range_)

    async def _values(self, call: Call[Any], payload: Payload, range_: PanelRange | None) -> list[str]:
        site_id = self._site_id(payload.site, call.caller)
        _require_in(call, QUERY_SITE, site_id)
        spec = range_spec(range_, payload.range, DEFAULT_RANGE)
        found = await self._reports.values(payload, site_id, spec, DEFAULT_CHOICES)
        call.trail.rows = len(found)
        return found

    def _saved(self, call: Call[Any], kind: Kind, site_id: str) -> list[str]:
        _require_in(call, VIEW_SAVED, site_id)
        site, saved = self._context.site(site_id), self._context.saved
        return [] if saved is None else [thing.name for thing in saved.all(kind, site.site_id)]

    def _visible(self, caller: Caller, action: Action = QUERY_SITE) -> list[str]:
        """The sites that the caller may ask about."""
        return [site.site_id for site in self._sites() if not _refusal(caller, action, site.site_id)]

    def _site_id(self, named: str, caller: Caller, action: Action = QUERY_SITE) -> str:
        return stored_site_id(named) if named else self._only_site(caller, action)

    def _only_site(self, caller: Caller, action: Action = QUERY_SITE) -> str:
        visible = self._visible(caller, action)
        if len(visible) != 1:
            raise RequestError(
                f'The token covers {len(visible)} sites: name one in the payload, such as {{"site": "example.com"}}.',
                code="bad_request",
            )
        return visible[0]

    @staticmethod
    def _payload(sent: object, *more_keys: str) -> Payload:
        return read_payload(sent, most_rows=MAX_ROWS, more_keys=more_keys)


def _as_target(sent: object) -> object:
    """A variable's text that is no JSON names its target."""
    return {"target": sent} if isinstance(sent, str) and not sent.lstrip().startswith("{") else sent


def _refusal(caller: Caller, action: Action, site_id: str) -> str:
    assert isinstance(caller, Principal), "callers of endpoints are principals"
    return refusal(caller, action, Resource.site(site_id))


def _require(caller: Caller, action: Action, site_id: str) -> None:
    if why := _refusal(caller, action, site_id):
        raise Forbidden(why)


def _require_in(call: Call[Any], action: Action, site_id: str) -> None:
    """The right to the site, which the call's audit entry names."""
    call.trail.site_id = site_id
    _require(call.caller, action, site_id)
