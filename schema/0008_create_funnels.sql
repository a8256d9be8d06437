-- What is kept of saved funnels beside their own tables (funnel_<id>_<definition>, which servers create and drop).
-- funnel_fills: how far a funnel's own table has been filled from events that were there before its view. A row is
--   a version, the newest counts; read with FINAL, it holds a row per saved funnel. `definition` is the hash of what
--   the funnel means: another meaning is another row. from_day: all events since that day are in. server,
--   updated_at: who is at it, so that two servers don't do the same work (which would do no harm).
CREATE TABLE IF NOT EXISTS funnel_fills ${ON_CLUSTER}
(
    site_id    LowCardinality(String),
    funnel_id  String,
    definition String,
    from_day   Date,
    first_day  Date,
    filled     UInt8,
    server     String,
    updated_at DateTime64(6, 'UTC')
)
ENGINE = ${ENGINE:ReplacingMergeTree(updated_at)}
ORDER BY (site_id, funnel_id, definition)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- The best attempts that begin on a local day that is over, one row each: best of a range of whole days is the best
--   of the days'. shared = 0: the subject can begin attempts on no other day, so that it needs no comparison; of
--   those who came no further than step 1 one row says how many they are (subjects).
-- after: microseconds from step 1 to each further step. start: of step 1, microseconds since 1970; 0 if not shared.
-- ORDER BY: a question names site, funnel and builds, and reads all of them, first what needs no comparison.
-- PARTITION BY month as in events, for expiry.
CREATE TABLE IF NOT EXISTS funnel_days ${ON_CLUSTER}
(
    site_id    LowCardinality(String),
    definition LowCardinality(String),
    day        Date,
    build_id   UInt64 CODEC(Delta, ZSTD(1)),
    shared     UInt8,
    level      UInt8,
    subject    String CODEC(ZSTD(1)),
    start      UInt64 CODEC(ZSTD(1)),
    after      Array(UInt64) CODEC(ZSTD(1)),
    subjects   UInt64 CODEC(T64, ZSTD(1))
)
ENGINE = ${ENGINE:MergeTree}
PARTITION BY toYYYYMM(day)
ORDER BY (site_id, definition, build_id, shared, level)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- The build that counts for a day: the newest. It holds while `traffic` has as many events between since and until,
--   and `openings` as many of sessions opened between opened_since and opened_until, as when it was made.
CREATE TABLE IF NOT EXISTS funnel_builds ${ON_CLUSTER}
(
    site_id       LowCardinality(String),
    definition    LowCardinality(String),
    day           Date,
    build_id      UInt64,
    timezone      LowCardinality(String),
    since         DateTime('UTC'),
    until         DateTime('UTC'),
    events        UInt64,
    opened_since  DateTime('UTC'),
    opened_until  DateTime('UTC'),
    opened_events UInt64
)
ENGINE = ${ENGINE:ReplacingMergeTree(build_id)}
ORDER BY (site_id, definition, day)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
