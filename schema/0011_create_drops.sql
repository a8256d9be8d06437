-- Events that were dropped or rejected, by site (or the name that a beacon used for one), quarter of an hour, reason and
--   example: what `GET /api/v1/drops` tells. These are no events, and nothing else is derived from them.
-- bucket: a quarter, because the hours of every time zone are made of quarters of UTC. kind: of bots, which; else ''.
-- example: the host, path, robot or name concerned, the most frequent few of each minute; '' for all the others, so
--   that events adds up. Never an address, a user agent, a query string or what a person typed.
-- Each server adds rows of its own: events is a sum, last_at (whole seconds) the latest.
-- ORDER BY: a question names one site and a range. PARTITION BY day and ttl_only_drop_parts: what is 30 days old goes as
--   whole parts, without being rewritten. Deduplication, off elsewhere: a batch whose insert may have failed is sent
--   again under the same token. Not synced: what a power cut takes are counts, which no event depends on.
CREATE TABLE IF NOT EXISTS drops ${ON_CLUSTER}
(
    site_id String CODEC(ZSTD(1)),
    bucket  DateTime('UTC') CODEC(Delta, ZSTD(1)),
    reason  LowCardinality(String),
    kind    LowCardinality(String),
    example String CODEC(ZSTD(1)),
    events  SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    last_at SimpleAggregateFunction(max, DateTime('UTC')) CODEC(Delta, ZSTD(1))
)
ENGINE = ${ENGINE:AggregatingMergeTree}
PARTITION BY toDate(bucket)
ORDER BY (site_id, bucket, reason, kind, example)
TTL bucket + INTERVAL 30 DAY
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 100;
