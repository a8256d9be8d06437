-- Traffic per quarter of an hour and event name: what the headline numbers and the chart read.
-- A quarter, not an hour: every time zone in use is a multiple of 15 minutes from UTC, so that
--   local days are whole buckets everywhere.
-- visitors is a uniqIf state (visitor 0 = none kept, not counted): idempotent. events is a sum, see 0002 on verification.
CREATE TABLE IF NOT EXISTS traffic ${ON_CLUSTER}
(
    site_id  LowCardinality(String),
    bucket   DateTime('UTC') CODEC(Delta, ZSTD(1)),
    name     LowCardinality(String),
    events   SimpleAggregateFunction(sum, UInt64),
    visitors AggregateFunction(uniqIf, UInt64, UInt8)
)
ENGINE = ${ENGINE:AggregatingMergeTree}
PARTITION BY toYYYYMM(bucket)
ORDER BY (site_id, bucket, name)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS traffic_from_events ${ON_CLUSTER} TO traffic AS
SELECT
    e.site_id AS site_id,
    toStartOfFifteenMinutes(e.ts) AS bucket,
    e.name AS name,
    count() AS events,
    uniqIfState(e.visitor_id, e.visitor_id != 0) AS visitors
FROM events AS e
GROUP BY site_id, bucket, name;
