-- Leases: which of several servers does some work in the background. Who holds one has the only claim that has not ended.
-- claim: one attempt to take a lease; holder: who made it, for people who look. step: a claim's rows in their order, the
--   last one counts: taken, renewed, released (ends_at in the past). ends_at, at: by ClickHouse's clock, so that the
--   servers' own clocks don't matter.
-- ORDER BY: all claims of a lease are read together. No partitions: some rows a day. TTL: claims end within minutes or
--   hours; the rest is for people who look. Synced: a claim that a power cut takes would let a second holder in.
CREATE TABLE IF NOT EXISTS leases ${ON_CLUSTER}
(
    name    LowCardinality(String),
    claim   String,
    step    UInt32,
    holder  String,
    ends_at DateTime64(6, 'UTC'),
    at      DateTime64(6, 'UTC')
)
ENGINE = ${ENGINE:MergeTree}
ORDER BY (name, claim, step)
TTL toDateTime(at) + INTERVAL 30 DAY
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
