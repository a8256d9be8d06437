"""A view that is added while servers run, like a saved funnel's: idempotent columns only, conditions with literals."""

from __future__ import annotations

from analytics_server.store import Store

TABLE = """
CREATE TABLE steps
(
    site_id    LowCardinality(String),
    opened_at  DateTime64(6, 'UTC'),
    session_id String,
    done       SimpleAggregateFunction(groupUniqArrayArray, Array(Tuple(DateTime64(6, 'UTC'), UInt8))),
    again      AggregateFunction(groupUniqArray, Tuple(DateTime64(6, 'UTC'), UInt8)),
    visitors   AggregateFunction(uniqIf, UInt64, UInt8),
    last_at    SimpleAggregateFunction(max, DateTime64(6, 'UTC')),
    revenue    SimpleAggregateFunction(max, Decimal(18, 4))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(opened_at)
ORDER BY (site_id, opened_at, session_id)
"""

VIEW = r"""
CREATE MATERIALIZED VIEW steps_from_events TO steps AS
SELECT
    e.site_id AS site_id,
    e.session_start AS opened_at,
    e.session_id AS session_id,
    groupUniqArray((e.ts, toUInt8(if(e.path = 'it\'s  FROM events AS e, AS done', 1, 2)))) AS done,
    groupUniqArrayState((e.ts, toUInt8(if(e.path IN ('/1', '{batch:UInt64}'), 1, 2)))) AS again,
    uniqIfState(e.visitor_id, e.visitor_id != 0) AS visitors,
    max(e.ts) AS last_at,
    max(e.revenue_amount) AS revenue
FROM events AS e
WHERE e.name IN ('pageview', 'click') AND e.path != ''
GROUP BY site_id, opened_at, session_id
"""

STATE = """
SELECT site_id, opened_at, session_id, arraySort(groupUniqArrayArray(done)), arraySort(groupUniqArrayMerge(again)),
    uniqIfMerge(visitors), max(last_at), max(revenue)
FROM steps GROUP BY site_id, opened_at, session_id ORDER BY site_id, opened_at, session_id
"""


async def add(store: Store) -> None:
    """As the server does for a funnel that is saved."""
    await store.command(TABLE)
    await store.command(VIEW)


async def back_fill(store: Store) -> None:
    """What there was before; no other insert may run, or it has to wait for that (what comes twice is no harm)."""
    columns = "site_id, opened_at, session_id, done, again, visitors, last_at, revenue"
    select = VIEW[VIEW.index("SELECT") :]
    await store.command(f"INSERT INTO steps ({columns}) {select}")


async def remove(store: Store) -> None:
    """As for one that is deleted."""
    await store.command("DROP VIEW IF EXISTS steps_from_events")
    await store.command("DROP TABLE IF EXISTS steps")
