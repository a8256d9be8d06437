"""What one server answers about stored events: query, SQL, analyses, drops and saved things, with their endpoints."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry

from analytics_server.access.service import AccessService
from analytics_server.analyses.service import AnalysesService
from analytics_server.archive.service import Archive
from analytics_server.clickhouse.root import with_root
from analytics_server.clickhouse.routes import endpoints as clickhouse_endpoints
from analytics_server.clickhouse.service import ClickhouseService
from analytics_server.config import Config
from analytics_server.drops.routes import endpoints as drop_endpoints
from analytics_server.drops.service import DropService
from analytics_server.flat.routes import endpoints as flat_endpoints
from analytics_server.grafana.reports import PanelReports
from analytics_server.grafana.routes import endpoints as grafana_endpoints
from analytics_server.grafana.service import GrafanaService
from analytics_server.http.audit import Recorder
from analytics_server.http.endpoint import Endpoint
from analytics_server.query.day_totals import DayTotals
from analytics_server.query.endpoint_parts import query_body
from analytics_server.query.engine import QueryService
from analytics_server.query.routes import endpoints as query_endpoints
from analytics_server.query.saved_kinds.annotations import annotation_type
from analytics_server.query.saved_kinds.goals import goal_type
from analytics_server.query.saved_kinds.queries import query_type
from analytics_server.query.saved_kinds.segments import segment_type
from analytics_server.query.share_links.narrowing import LinkQuestions
from analytics_server.rollups.backfill import Backfill
from analytics_server.saved.owners import OwnerWatch
from analytics_server.saved.routes import endpoints as saved_endpoints
from analytics_server.saved.store import Saved
from analytics_server.saved.types import SavedType
from analytics_server.sql.codes import CHECK_CODES
from analytics_server.sql.routes import endpoints as sql_endpoints
from analytics_server.sql.service import SqlService
from analytics_server.store import Store


class Questions:
    """`recorder` gets the archive's entries. `has_lost`: are rows of a table missing? `must_wait`: work in the
    background that is not urgent has to wait."""

    def __init__(
        self,
        config: Config,
        store: Store,
        access: AccessService,
        recorder: Recorder,
        registry: CollectorRegistry,
        has_lost: Callable[[str], bool],
        *,
        must_wait: Callable[[], bool],
    ) -> None:
        sites, saved = access.sites, Saved(store, unreadable=access.unreadable)
        self._owners = OwnerWatch(saved, access.people.people, has_lost)
        self._sites = sites
        self.saved = saved
        self._backfill = Backfill(store, must_wait=must_wait)
        self._queries = QueryService(
            store,
            sites,
            _utc_now,
            config.limits,
            saved,
            unfinished=self._backfill.warning,
            kept_days=config.privacy,
        )
        self.links = LinkQuestions(self._queries.context)
        self.drops = DropService(config, store, _utc_now, sites.get)
        self.sql = SqlService(self._queries.context, config.sql)
        self.clickhouse = ClickhouseService(self.sql, sites.all, config.clickhouse_api)
        self.analyses = AnalysesService(store, sites, saved, self._queries.context, _utc_now, config.clickhouse.cluster)
        self.grafana = GrafanaService(PanelReports(self._queries, self.analyses.funnels), sites.all)
        self.day_totals = DayTotals(store, sites, _utc_now, must_wait=must_wait)
        self.archive = Archive(
            config, store, sites, recorder, registry, must_wait=must_wait, unreadable=access.unreadable
        )

    async def load(self) -> None:
        """Read what is saved, and what is left of the last update to be done. Raises a store error."""
        await self.saved.load()
        await self._backfill.load()

    def tasks(
        self, *, removing: Callable[[], AbstractAsyncContextManager[None]]
    ) -> Iterator[tuple[Callable[[], Coroutine[Any, Any, None]], str]]:
        """What runs in the background, with a name for each. `removing`: within it no rows are taken out of rollups."""
        yield self.saved.run, "saved"
        yield self._owners.run, "private-things"
        yield self.drops.run, "drops"
        yield self.day_totals.run, "day-totals"
        yield self.analyses.funnel_tables.run, "saved-funnels"
        yield partial(self._backfill.run, removing), "backfill"

    def daily(self) -> Iterator[tuple[str, Callable[[], Awaitable[bool]]]]:
        """What is done once a day, with a name for it."""
        yield from self.archive.daily()

    async def close(self) -> None:
        """Write the last counts of drops, and end what SQL still runs."""
        await self.drops.close()
        await self.sql.close()

    def endpoints(self) -> list[Endpoint]:
        """All endpoints; handlers raise `AnalyticsError`."""
        context = self._queries.context
        return [
            *query_endpoints(self._queries),
            *saved_endpoints(self._saved_types(), self.saved, context.site, query_body(context.limits)),
            *self.analyses.endpoints(),
            *drop_endpoints(self.drops, self._sites),
            *sql_endpoints(self.sql),
            *flat_endpoints(self._queries, self.analyses.funnels),
            *grafana_endpoints(self.grafana),
            *clickhouse_endpoints(self.clickhouse),
        ]

    def with_root(self, others: Sequence[Endpoint]) -> list[Endpoint]:
        """All endpoints of the server, and those of ClickHouse's interface at the root."""
        return with_root(others, self.clickhouse)

    def _saved_types(self) -> list[SavedType]:
        """All types of saved things."""
        context = self._queries.context
        return [
            *self.analyses.saved_types(),
            goal_type(context),
            segment_type(context),
            annotation_type(),
            query_type(self._queries, self.sql.check_text, CHECK_CODES),
        ]


def _utc_now() -> datetime:
    return datetime.now(UTC)
