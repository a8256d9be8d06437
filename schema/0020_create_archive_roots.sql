-- Archive roots: directories of files of days ([export] directory), by the id that lies in each, and the sites that have files
--   there: an erasure names those that the server can't search. site_id: '' for the directory itself. A row is a version, the
--   newest (by updated_at) counts; read with FINAL.
-- ORDER BY: a row for each directory and site. Synced: a directory that a power cut forgets would be named by no erasure.
CREATE TABLE IF NOT EXISTS archive_roots ${ON_CLUSTER}
(
    root       String,
    site_id    String,
    document   String,
    deleted    UInt8,
    updated_at DateTime64(6, 'UTC')
)
ENGINE = ${ENGINE:ReplacingMergeTree(updated_at)}
ORDER BY (root, site_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
