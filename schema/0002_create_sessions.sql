-- One row per session once merged; read with FINAL, which is cheap because the key begins
--   with the site and the time the session was opened: parts of different hours don't overlap.
-- ORDER BY: opened_at is the session's start as the server knew it when it opened the session
--   (events carry it as session_start), so it never changes; started_at is the true minimum.
-- session_key: opened_at and session_id as one number, the same as in events.
-- Attributes are equal on all events of a session (first touch is fixed at ingest): any() is exact.
-- entry and exit carry (time, path) of the first and last pageview; min and max of the tuple are
--   order-independent; a session without a pageview has '' in both.
-- pageviews, events and interactions are sums: not idempotent, so a batch of unknown outcome is
--   verified by batch_id before it is ever sent again.
-- visitor_ids: normally one; two when a session lasts over midnight UTC, when the salt changes.
CREATE TABLE IF NOT EXISTS sessions ${ON_CLUSTER}
(
    site_id         LowCardinality(String),
    opened_at       DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    session_id      String CODEC(ZSTD(1)),
    session_key     SimpleAggregateFunction(max, UInt64) CODEC(LZ4),
    started_at      SimpleAggregateFunction(min, DateTime64(6, 'UTC')) CODEC(Delta, LZ4),
    ended_at        SimpleAggregateFunction(max, DateTime64(6, 'UTC')) CODEC(Delta, LZ4),
    visitor_id      SimpleAggregateFunction(any, UInt64) CODEC(ZSTD(1)),
    visitor_ids     SimpleAggregateFunction(groupUniqArrayArray, Array(UInt64)) CODEC(ZSTD(1)),
    user_id         SimpleAggregateFunction(max, String) CODEC(ZSTD(1)),
    pageviews       SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    events          SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    interactions    SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    entry           SimpleAggregateFunction(min, Tuple(at DateTime64(6, 'UTC'), path String)) CODEC(ZSTD(1)),
    exit            SimpleAggregateFunction(max, Tuple(at DateTime64(6, 'UTC'), path String)) CODEC(ZSTD(1)),
    hostname        SimpleAggregateFunction(any, LowCardinality(String)),
    referrer        SimpleAggregateFunction(any, String) CODEC(ZSTD(1)),
    source          SimpleAggregateFunction(any, LowCardinality(String)),
    channel         SimpleAggregateFunction(any, LowCardinality(String)),
    utm_source      SimpleAggregateFunction(any, LowCardinality(String)),
    utm_medium      SimpleAggregateFunction(any, LowCardinality(String)),
    utm_campaign    SimpleAggregateFunction(any, LowCardinality(String)),
    utm_content     SimpleAggregateFunction(any, LowCardinality(String)),
    utm_term        SimpleAggregateFunction(any, LowCardinality(String)),
    country         SimpleAggregateFunction(any, LowCardinality(String)),
    region          SimpleAggregateFunction(any, LowCardinality(String)),
    city            SimpleAggregateFunction(any, LowCardinality(String)),
    browser         SimpleAggregateFunction(any, LowCardinality(String)),
    browser_version SimpleAggregateFunction(any, LowCardinality(String)),
    os              SimpleAggregateFunction(any, LowCardinality(String)),
    os_version      SimpleAggregateFunction(any, LowCardinality(String)),
    device          SimpleAggregateFunction(any, LowCardinality(String)),
    screen          SimpleAggregateFunction(any, LowCardinality(String)),
    language        SimpleAggregateFunction(any, LowCardinality(String))
)
ENGINE = ${ENGINE:AggregatingMergeTree}
PARTITION BY toYYYYMM(opened_at)
ORDER BY (site_id, opened_at, session_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS sessions_from_events ${ON_CLUSTER} TO sessions AS
SELECT
    e.site_id AS site_id,
    e.session_start AS opened_at,
    e.session_id AS session_id,
    cityHash64(e.session_start, e.session_id) AS session_key,
    min(e.ts) AS started_at,
    max(e.ts) AS ended_at,
    any(e.visitor_id) AS visitor_id,
    groupUniqArray(e.visitor_id) AS visitor_ids,
    max(e.user_id) AS user_id,
    countIf(e.name = 'pageview') AS pageviews,
    count() AS events,
    countIf(e.name NOT IN ('pageview', 'scroll', 'engagement', 'web_vital', 'exposure', 'not_found')) AS interactions,
    min(if(e.name = 'pageview', (e.ts, e.path), (toDateTime64('2299-12-31 00:00:00', 6, 'UTC'), ''))) AS entry,
    max(if(e.name = 'pageview', (e.ts, e.path), (toDateTime64('1900-01-01 00:00:00', 6, 'UTC'), ''))) AS exit,
    any(e.hostname) AS hostname,
    any(e.referrer) AS referrer,
    any(e.source) AS source,
    any(e.channel) AS channel,
    any(e.utm_source) AS utm_source,
    any(e.utm_medium) AS utm_medium,
    any(e.utm_campaign) AS utm_campaign,
    any(e.utm_content) AS utm_content,
    any(e.utm_term) AS utm_term,
    any(e.country) AS country,
    any(e.region) AS region,
    any(e.city) AS city,
    any(e.browser) AS browser,
    any(e.browser_version) AS browser_version,
    any(e.os) AS os,
    any(e.os_version) AS os_version,
    any(e.device) AS device,
    any(e.screen) AS screen,
    any(e.language) AS language
FROM events AS e
GROUP BY site_id, opened_at, session_id;
