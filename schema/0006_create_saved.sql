-- What people save: goals, funnels, segments, experiments, annotations and queries. Small, shared by all
--   servers; a row is a version, the newest (by updated_at) counts. Read with FINAL; tens to hundreds of rows.
-- document is JSON whose shape belongs to the kind; the server checks it before it is written.
-- ORDER BY: all of a kind and site together, then the id, which is what makes a row a version of another.
CREATE TABLE IF NOT EXISTS saved ${ON_CLUSTER}
(
    kind       LowCardinality(String),
    site_id    LowCardinality(String),
    id         String,
    document   String,
    deleted    UInt8,
    updated_at DateTime64(6, 'UTC')
)
ENGINE = ${ENGINE:ReplacingMergeTree(updated_at)}
ORDER BY (kind, site_id, id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
