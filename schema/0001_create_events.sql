-- The one table every number can be recomputed from: one row per accepted event.
-- ORDER BY: the site first (every question names one), then the hour (ranges prune on it),
--   then session and time: a session's events lie together, which compresses ids, attributes
--   and times, and is the order funnels and paths read in.
-- PARTITION BY month: expiry and rebuilds work on whole partitions; a batch rarely spans two.
-- Codecs: Delta for times (neighbours are close); ZSTD(1) for long strings. LZ4 for what questions about
--   events read of every row, ts, visitor_id and session_key: half the time to unpack, two bytes a row more.
-- LowCardinality where a site has at most thousands of distinct values. A path may have more: that stays
--   right, and takes up to twice the space of plain strings (3 to 6 bytes a row more at worst).
-- session_key: the session as one number. Questions that join events to sessions compare 8 bytes instead
--   of a time and a text; it is computed by the engine, so no insert names it.
-- batch_id minmax index: "did this batch arrive?" reads a few granules, not the month.
-- Deduplication by block is off on purpose: exactly-once rests on verification by batch_id.
CREATE TABLE IF NOT EXISTS events ${ON_CLUSTER}
(
    site_id          LowCardinality(String),
    ts               DateTime64(6, 'UTC') CODEC(Delta, LZ4),
    name             LowCardinality(String),
    event_id         UUID,
    session_id       String CODEC(ZSTD(1)),
    session_start    DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    visitor_id       UInt64 CODEC(LZ4),
    user_id          String CODEC(ZSTD(1)),
    hostname         LowCardinality(String),
    path             LowCardinality(String),
    title            String CODEC(ZSTD(1)),
    referrer         String CODEC(ZSTD(1)),
    source           LowCardinality(String),
    channel          LowCardinality(String),
    utm_source       LowCardinality(String),
    utm_medium       LowCardinality(String),
    utm_campaign     LowCardinality(String),
    utm_content      LowCardinality(String),
    utm_term         LowCardinality(String),
    country          LowCardinality(String),
    region           LowCardinality(String),
    city             LowCardinality(String),
    browser          LowCardinality(String),
    browser_version  LowCardinality(String),
    os               LowCardinality(String),
    os_version       LowCardinality(String),
    device           LowCardinality(String),
    screen           LowCardinality(String),
    language         LowCardinality(String),
    scroll_depth     UInt8,
    engagement_ms    UInt32,
    element_id       LowCardinality(String),
    element_tag      LowCardinality(String),
    element_text     String CODEC(ZSTD(1)),
    element_href     String CODEC(ZSTD(1)),
    revenue_amount   Decimal(18, 4),
    revenue_currency LowCardinality(String),
    experiment       LowCardinality(String),
    variant          LowCardinality(String),
    props            Map(LowCardinality(String), String),
    batch_id         UInt64 CODEC(Delta, ZSTD(1)),
    session_key      UInt64 MATERIALIZED cityHash64(session_start, session_id) CODEC(LZ4),
    INDEX batch_id_minmax batch_id TYPE minmax GRANULARITY 1
)
ENGINE = ${ENGINE:MergeTree}
PARTITION BY toYYYYMM(ts)
ORDER BY (site_id, toStartOfHour(ts), session_id, ts)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
