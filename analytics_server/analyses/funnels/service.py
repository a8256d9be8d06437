"""Answers funnels: decode → check → range → SQL → steps. Reads the clock once per question."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from msgspec import UNSET, UnsetType

from analytics_server.analyses.funnels.answer import (
    DrillAnswer,
    DrilledSession,
    FunnelAnswer,
    FunnelMeta,
    SavedState,
    ValueAnswer,
    show_steps,
)
from analytics_server.analyses.funnels.compile import compile_funnel
from analytics_server.analyses.funnels.definition import (
    DrillRequest,
    Funnel,
    FunnelRequest,
    body_of_request,
    check_funnel,
    find_breakdown,
    refuse_parts,
)
from analytics_server.analyses.funnels.drill import SESSION_COLUMNS, SESSIONS, compile_drill, session_keys
from analytics_server.analyses.funnels.materialized.days import CACHE_S, FunnelDayReader, compile_saved
from analytics_server.analyses.funnels.materialized.definitions import SavedFunnels
from analytics_server.analyses.funnels.materialized.maintenance import FunnelMaintenance
from analytics_server.errors import RequestError, StoreFatal
from analytics_server.model import Site
from analytics_server.profiles.refusal import refuse_users
from analytics_server.profiles.tables import profile_of
from analytics_server.query.answer import whole_number
from analytics_server.query.context import Cost, QueryContext, show_range
from analytics_server.query.dimensions import Dimension
from analytics_server.query.language.time_range import TimeRange
from analytics_server.query.sql.select import Statement
from analytics_server.saved.store import SavedThing
from analytics_server.store.error_codes import EngineCode
from analytics_server.store.protocol import ResultSet

GONE = frozenset({EngineCode.UNKNOWN_TABLE, EngineCode.UNKNOWN_DATABASE, EngineCode.TABLE_IS_DROPPED})
"""The table is not there (any more): the funnel has just been changed or deleted."""


@dataclass(frozen=True, slots=True)
class PreparedFunnel:
    """A funnel with everything needed to answer it. `saved`: the document it was read from."""

    funnel: Funnel
    site: Site
    range_: TimeRange
    now: datetime
    saved: SavedThing | None = None


class FunnelService:
    """Answers funnels of known sites. Raises `RequestError`, `NotFound` or a `StoreError`."""

    def __init__(
        self, context: QueryContext, saved: SavedFunnels, maintenance: FunnelMaintenance, *, cache_s: float = CACHE_S
    ) -> None:
        self._context = context
        self._saved = saved
        self._maintenance = maintenance
        self._days = FunnelDayReader(context.store, cache_s=cache_s)

    async def run(self, request: FunnelRequest) -> FunnelAnswer:
        """Answer `POST /api/v1/funnels`."""
        breakdown = find_breakdown(request.breakdown) if request.breakdown is not None else None
        asked = await self.prepare(request)
        self._context.check_profile(asked.site, dimensions=[breakdown])
        if breakdown is None:
            return await self._whole(asked)
        return await self._broken_down(asked, breakdown, request.limit)

    async def prepare(self, request: FunnelRequest) -> PreparedFunnel:
        """Check a request and fix its range."""
        site_id = self._context.own_id(request.site_id)
        saved: SavedThing | None = None
        if request.funnel is not UNSET:
            refuse_parts(request)
            site = self._context.site(site_id)
            saved = self._saved.find(site_id, request.funnel)
            funnel = self._saved.facts(saved).funnel  # its patterns were checked when it was saved
        else:
            funnel = check_funnel(body_of_request(request), self._context.library(site_id))
            site = self._context.site(site_id)
            await self._context.check_patterns(funnel.conditions())
        if funnel.by == "user":
            refuse_users(site.profile)
        self._context.check_profile(site, funnel.conditions())
        range_, now = await self._context.range_of(site, request.date_range)
        return PreparedFunnel(funnel, site, range_, now, saved)

    async def sessions(self, request: DrillRequest) -> DrillAnswer:
        """Answer `POST /api/v1/funnels/sessions`."""
        drill = request.drill
        if request.breakdown is not None:
            raise RequestError("A list of sessions has no breakdown: put the value into filters.", code="bad_drill")
        asked = await self.prepare(request)
        least = 2 if drill.kind == "dropped" else 1
        if not least <= drill.step <= len(asked.funnel.steps):
            raise RequestError(
                f"drill.step must be {least} to {len(asked.funnel.steps)} for sessions that were {drill.kind}.",
                code="bad_drill",
            )
        found = await self._ask(compile_drill(asked.funnel, asked.site.site_id, asked.range_, drill))
        cost = Cost().plus(found)
        rows = found.rows
        total = whole_number(rows[0][0]) if rows else 0
        known: dict[tuple[object, ...], tuple[object, ...]] = {}
        if rows:
            parameters = session_keys(asked.site.site_id, [(row[4], row[5]) for row in rows])
            sessions = await self._context.query(SESSIONS, parameters)
            cost = cost.plus(sessions)
            known = {row[:2]: row[2:] for row in sessions.rows}
        elif drill.offset:
            first = await self._ask(
                compile_drill(asked.funnel, asked.site.site_id, asked.range_, drill, only_first=True)
            )
            cost, total = cost.plus(first), whole_number(first.rows[0][0]) if first.rows else 0
        zone = asked.range_.zone
        hidden = profile_of(asked.site.profile).hidden_columns
        listed = []
        for _, level, start, subject, opened, session_id in rows:
            started, *texts = known.get((opened, session_id), (whole_number(start), *[""] * len(SESSION_COLUMNS)))
            entry_page, source, country = map(str, texts)
            if "source" in hidden:
                source = ""
            listed.append(
                DrilledSession(
                    session_id=str(session_id),
                    started_at=_show(started, zone),
                    entered_at=_show(start, zone),
                    entry_page=entry_page,
                    source=source,
                    country=country,
                    steps=whole_number(level),
                    user_id=str(subject) if asked.funnel.by == "user" else UNSET,
                )
            )
        return DrillAnswer(
            sessions=listed, total=total, meta=self._meta(asked, "events+sessions", cost), query=self._query(asked)
        )

    async def _whole(self, asked: PreparedFunnel) -> FunnelAnswer:
        funnel = asked.funnel
        found = await self._from_facts(asked)
        if found is None:
            table, result = "events", await self._ask(compile_funnel(funnel, asked.site.site_id, asked.range_))
        else:
            table, result = found
        return FunnelAnswer(
            steps=show_steps(funnel.steps, result.rows[0]),
            breakdown=[],
            meta=self._meta(asked, table, Cost().plus(result)),
            query=self._query(asked),
        )

    async def _from_facts(self, asked: PreparedFunnel) -> tuple[str, ResultSet] | None:
        """Which tables and what they say; None if the funnel has none of its own, or not yet."""
        if asked.saved is None:
            return None
        facts = self._saved.facts(asked.saved)
        if not self._maintenance.state(facts).usable:
            return None
        division = await self._days.divide(facts, asked.range_, timeout_s=self._context.limits.query_timeout_s)
        tables = [name for name, used in (("funnel_days", division.builds), (facts.table, division.rest)) if used]
        try:
            return "+".join(tables), await self._ask(compile_saved(facts, asked.range_, division))
        except StoreFatal as error:
            if error.engine_code not in GONE:
                raise
            return None

    async def _broken_down(self, asked: PreparedFunnel, breakdown: Dimension, limit: int) -> FunnelAnswer:
        funnel = asked.funnel
        found = await self._ask(compile_funnel(funnel, asked.site.site_id, asked.range_, breakdown, limit))
        nothing = [0] * (3 * len(funnel.steps) - 2)
        totals = next((row for row in found.rows if row[0]), (1, "", 1, *nothing))
        return FunnelAnswer(
            steps=show_steps(funnel.steps, totals[3:]),
            breakdown=[
                ValueAnswer(value=str(row[1]), steps=show_steps(funnel.steps, row[3:]))
                for row in found.rows
                if not row[0]
            ],
            meta=self._meta(asked, "events", Cost().plus(found), values=max(0, whole_number(totals[2]) - 1)),
            query=self._query(asked) | {"breakdown": breakdown.name, "limit": limit},
        )

    async def _ask(self, statement: Statement) -> ResultSet:
        return await self._context.query(statement.query, statement.parameters)

    def _query(self, asked: PreparedFunnel) -> dict[str, object]:
        return {
            "site_id": asked.site.site_id,
            "date_range": list(show_range(asked.range_)),
            **asked.funnel.normalised(),
        }

    def _meta(
        self,
        asked: PreparedFunnel,
        table: str,
        cost: Cost,
        *,
        values: int | UnsetType = UNSET,
    ) -> FunnelMeta:
        saved: SavedState | UnsetType = UNSET
        if asked.saved is not None:
            state = self._maintenance.state(self._saved.facts(asked.saved))
            saved = SavedState(id=asked.saved.id, name=asked.saved.name, status=state.status, progress=state.progress)
        return FunnelMeta(
            table=table,
            time_zone=asked.range_.zone.key,
            date_range=show_range(asked.range_),
            elapsed_ms=round(cost.elapsed_ms, 1),
            rows_read=cost.rows_read,
            bytes_read=cost.bytes_read,
            warnings=_warnings(asked, self._context),
            saved=saved,
            total_rows=values,
        )


def _warnings(asked: PreparedFunnel, context: QueryContext) -> list[str]:
    found = context.site_warnings(asked.site, asked.range_)
    if asked.funnel.by == "visitor":
        found.append(
            "A visitor is known for one day (UTC) and the visit that lasts over its end: later steps are not seen."
        )
    if asked.range_.end + timedelta(seconds=asked.funnel.window_s) > asked.now > asked.range_.start:
        found.append("The window of the latest attempts is not over: they may still advance.")
    return found


def _show(at_us: object, zone: ZoneInfo) -> str:
    """Microseconds since 1970 as the site's time."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=whole_number(at_us))
    return moment.astimezone(zone).isoformat()
