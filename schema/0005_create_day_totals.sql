-- Days that are over don't change any more, so their totals are kept as plain numbers: a breakdown of
--   a month then reads a few thousand rows instead of millions. Exact, because every number in
--   day_totals adds up over local days: visitors are counted per day anyway, and a session's numbers
--   stand on the day of its first event.
-- Nothing marks a day as changed. A build remembers how many events it rests on, and `traffic` and
--   `openings`, which the same insert fills, say how many there are now; where they differ, queries
--   read the day from `events` and `sessions` until it is built again.

-- Events by the quarter of an hour in which their session was opened: says whether a session of a day
--   has grown since, also by events of the days after.
CREATE TABLE IF NOT EXISTS openings ${ON_CLUSTER}
(
    site_id LowCardinality(String),
    bucket  DateTime('UTC') CODEC(Delta, ZSTD(1)),
    events  SimpleAggregateFunction(sum, UInt64)
)
ENGINE = ${ENGINE:AggregatingMergeTree}
PARTITION BY toYYYYMM(bucket)
ORDER BY (site_id, bucket)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS openings_from_events ${ON_CLUSTER} TO openings AS
SELECT
    e.site_id AS site_id,
    toStartOfFifteenMinutes(e.session_start) AS bucket,
    count() AS events
FROM events AS e
GROUP BY site_id, bucket;

-- One row per value of a dimension; dimension '' is the whole day. ORDER BY: a question names site and
--   dimension and reads consecutive days; PARTITION BY month as in events, for expiry. Small granules, because
--   a dimension of few values is a few rows in each of many parts: a year's headline reads a twentieth.
CREATE TABLE IF NOT EXISTS day_totals ${ON_CLUSTER}
(
    site_id         LowCardinality(String),
    dimension       LowCardinality(String),
    day             Date,
    build_id        UInt64 CODEC(Delta, ZSTD(1)),
    value           String CODEC(ZSTD(1)),
    visitors        UInt64 CODEC(T64, ZSTD(1)),
    pageviews       UInt64 CODEC(T64, ZSTD(1)),
    events          UInt64 CODEC(T64, ZSTD(1)),
    sessions        UInt64 CODEC(T64, ZSTD(1)),
    viewed_sessions UInt64 CODEC(T64, ZSTD(1)),
    bounces         UInt64 CODEC(T64, ZSTD(1)),
    duration_us     UInt64 CODEC(T64, ZSTD(1)),
    session_views   UInt64 CODEC(T64, ZSTD(1))
)
ENGINE = ${ENGINE:MergeTree}
PARTITION BY toYYYYMM(day)
ORDER BY (site_id, dimension, day, build_id, value)
SETTINGS index_granularity = 512, fsync_after_insert = 1, fsync_part_directory = 1;

-- The build that counts for a day: the newest (build_id begins with its time). Written last, after the
--   totals were compared with the counts, so a build that died halfway is never read.
-- opened_from, opened_to: local days on which the sessions with events on this day were opened;
--   opened_events: how many events `openings` held for them.
CREATE TABLE IF NOT EXISTS day_builds ${ON_CLUSTER}
(
    site_id       LowCardinality(String),
    day           Date,
    build_id      UInt64,
    timezone      LowCardinality(String),
    version       UInt16,
    events        UInt64,
    opened_from   Date,
    opened_to     Date,
    opened_events UInt64
)
ENGINE = ${ENGINE:ReplacingMergeTree(build_id)}
ORDER BY (site_id, day)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
