-- Backfills: what a migration adds to rows of before is worked out beside the traffic, and may take long. A migration
--   writes a row with is_done = 0 in place of its statement (store/migrate.py), the server that has done the work one with 1.
-- ORDER BY: a handful of rows. Version: is_done, so that a backfill that was done stays done. Synced: one that a power cut
--   forgets would never be done.
CREATE TABLE IF NOT EXISTS backfills ${ON_CLUSTER}
(
    name    LowCardinality(String),
    is_done UInt8,
    at      DateTime64(6, 'UTC')
)
ENGINE = ${ENGINE:ReplacingMergeTree(is_done)}
ORDER BY name
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
