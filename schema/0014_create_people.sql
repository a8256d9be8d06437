-- Who signs in, beside the tokens of 0004: small versioned documents, one row a version, the newest (by updated_at)
-- counts; read with FINAL. People are tens of rows, so no codec and no partition earn anything here.
-- kind: person, invitation, share_link. id: random, made once, never used again.
CREATE TABLE IF NOT EXISTS people ${ON_CLUSTER}
(
    kind       LowCardinality(String),
    id         String,
    document   String,
    deleted    UInt8,
    updated_at DateTime64(6, 'UTC')
)
ENGINE = ${ENGINE:ReplacingMergeTree(updated_at)}
ORDER BY (kind, id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Sign-in sessions of people. session_hash: hash of the cookie's 256 random bits, hex; the cookie itself is never stored.
-- A document is written once and deleted once. TTL: by the absolute end that the document names, also of deleted ones.
CREATE TABLE IF NOT EXISTS person_sessions ${ON_CLUSTER}
(
    session_hash String,
    document     String,
    deleted      UInt8,
    updated_at   DateTime64(6, 'UTC')
)
ENGINE = ${ENGINE:ReplacingMergeTree(updated_at)}
ORDER BY session_hash
TTL toDateTime(JSONExtractUInt(document, 'ends_at_s'), 'UTC') + INTERVAL 1 DAY
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- When a credential was last used, by its id: of tokens the day, of sessions coarse minutes. Apart from the documents, so
-- that a use never writes over a change or a revocation that another server makes at the same moment. Not synced: what a
-- power cut takes is written again by the next use.
CREATE TABLE IF NOT EXISTS credential_uses ${ON_CLUSTER}
(
    id      String,
    used_at SimpleAggregateFunction(max, DateTime('UTC'))
)
ENGINE = ${ENGINE:AggregatingMergeTree}
ORDER BY id
TTL used_at + INTERVAL 400 DAY;
