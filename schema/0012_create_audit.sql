-- The audit log: who did what, append-only, one chain of entries per server and one for the commands of each machine.
-- server: whose chain; sequence: 1, 2, 3 … in it, without a gap. entry: the canonical JSON of everything that was
--   recorded, with the hash of the entry before; hash: SHA-256 of that text, hex. The other columns repeat what stands
--   in the text, for filters; a check compares them with it.
-- ORDER BY: a chain is read and checked from its beginning. PARTITION BY month: a question names a range of time, and
--   what is older than it is kept leaves whole parts. at moves a few microseconds from entry to entry: Delta.
-- A plain MergeTree: nothing is replaced, summed or deduplicated, so a second row of one number shows.
-- Synced: an entry of a change is durable before the change is answered.
CREATE TABLE IF NOT EXISTS audit ${ON_CLUSTER}
(
    server   LowCardinality(String),
    sequence UInt64 CODEC(Delta, ZSTD(1)),
    at       DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    action   LowCardinality(String),
    site_id  LowCardinality(String),
    entry    String CODEC(ZSTD(3)),
    hash     String CODEC(ZSTD(1))
)
ENGINE = ${ENGINE:MergeTree}
PARTITION BY toYYYYMM(at)
ORDER BY (server, sequence)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
