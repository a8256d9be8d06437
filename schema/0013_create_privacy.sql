-- What is kept of people's rights: who may not be stored again, and which erasures were asked for.
-- privacy_keys: the random key of the hashes below; the oldest counts, so that servers that start together agree.
CREATE TABLE IF NOT EXISTS privacy_keys ${ON_CLUSTER}
(
    key        String,
    created_at DateTime64(6, 'UTC')
)
ENGINE = ${ENGINE:MergeTree}
ORDER BY created_at
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- opt_outs: users that must not be stored again, by the keyed hash of their user_id, never by the id itself.
-- site_id: '' for all sites. A row is a version, the newest (by updated_at) counts; read with FINAL.
CREATE TABLE IF NOT EXISTS opt_outs ${ON_CLUSTER}
(
    site_id    String,
    user_hash  String,
    document   String,
    deleted    UInt8,
    updated_at DateTime64(6, 'UTC')
)
ENGINE = ${ENGINE:ReplacingMergeTree(updated_at)}
ORDER BY (user_hash, site_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- erasures: each erasure with its phase, and at the end its certificate; the person as a keyed hash only. Versions as above.
CREATE TABLE IF NOT EXISTS erasures ${ON_CLUSTER}
(
    id         String,
    document   String,
    deleted    UInt8,
    updated_at DateTime64(6, 'UTC')
)
ENGINE = ${ENGINE:ReplacingMergeTree(updated_at)}
ORDER BY id
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- erasure_subjects: whose data an erasure under way removes. The one place where the user_id stands in clear, so that
--   no statement, mutation or log of ClickHouse has to name it.
-- PARTITION BY id: at the end the partition is dropped, and with it the files, at once.
CREATE TABLE IF NOT EXISTS erasure_subjects ${ON_CLUSTER}
(
    id      String,
    user_id String CODEC(ZSTD(1))
)
ENGINE = ${ENGINE:MergeTree}
PARTITION BY id
ORDER BY id
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- erasure_keys: what an erasure under way touches, fixed before anything is removed, so that it can go on after a crash.
--   part = 'events': the person's batches (key: hash of batch and month, the unit in which events arrive).
--   part = 'days': the days of builds to be made again. Else a rollup's name: hashes of the keys that count the person.
CREATE TABLE IF NOT EXISTS erasure_keys ${ON_CLUSTER}
(
    id      String,
    part    LowCardinality(String),
    site_id LowCardinality(String),
    day     Date,
    key     UInt64 CODEC(LZ4)
)
ENGINE = ${ENGINE:MergeTree}
PARTITION BY id
ORDER BY (part, site_id, day)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
