-- Small tables that all servers share: a row is a version, the newest (by updated_at) counts.
-- Read with FINAL; they hold tens of rows.
CREATE TABLE IF NOT EXISTS sites ${ON_CLUSTER}
(
    site_id    String,
    document   String,
    deleted    UInt8,
    updated_at DateTime64(6, 'UTC')
)
ENGINE = ${ENGINE:ReplacingMergeTree(updated_at)}
ORDER BY site_id
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- token_hash: SHA-256 of a random 256-bit token, hex; the token itself is never stored.
CREATE TABLE IF NOT EXISTS tokens ${ON_CLUSTER}
(
    token_hash String,
    document   String,
    deleted    UInt8,
    updated_at DateTime64(6, 'UTC')
)
ENGINE = ${ENGINE:ReplacingMergeTree(updated_at)}
ORDER BY token_hash
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- The day's salts: partition by day, so that destroying one drops its files.
CREATE TABLE IF NOT EXISTS salts ${ON_CLUSTER}
(
    day        Date,
    salt       String,
    created_at DateTime64(6, 'UTC')
)
ENGINE = ${ENGINE:MergeTree}
PARTITION BY day
ORDER BY (day, created_at)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, old_parts_lifetime = 30;
