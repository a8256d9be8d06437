-- Which events are active, which only tell more about a page view that was counted, and which custom events are no
--   interaction: fixed by the program that takes the event, so that what is stored keeps the meaning it had.
-- passive: 0 = active. 1 = engagement, scroll or web vital of a session that was open. 2 = the same, later than the
--   inactivity gap: it moves the session's end, and doesn't keep it open. Rows of before: 0, as they were counted.
-- interactive: 0 = a custom event that ends no bounce.
ALTER TABLE events ${ON_CLUSTER}
    ADD COLUMN IF NOT EXISTS passive UInt8 DEFAULT 0 AFTER visitor_id,
    ADD COLUMN IF NOT EXISTS interactive UInt8 DEFAULT 1 AFTER passive;

-- active_events: what the metric `events` counts. Rows of before: all their events.
-- kept_open_at: the last event that kept the session open; `ended_at` may be later (passive = 2).
-- entry_host, exit_host: as entry and exit, the host instead of the path.
-- visitor_ids, visitor_id: those of active events from now on. visitor_id becomes the greatest, so that where there is
--   one it is that one, in whatever order parts are merged (a part may hold passive events alone, and has 0).
ALTER TABLE sessions ${ON_CLUSTER}
    ADD COLUMN IF NOT EXISTS active_events SimpleAggregateFunction(sum, UInt64) DEFAULT events CODEC(T64, ZSTD(1)) AFTER events,
    ADD COLUMN IF NOT EXISTS kept_open_at SimpleAggregateFunction(max, DateTime64(6, 'UTC')) DEFAULT ended_at CODEC(Delta, ZSTD(1)) AFTER ended_at,
    ADD COLUMN IF NOT EXISTS entry_host SimpleAggregateFunction(min, Tuple(at DateTime64(6, 'UTC'), host String))
        DEFAULT (toDateTime64('2299-12-31 00:00:00', 6, 'UTC'), '') CODEC(ZSTD(1)) AFTER exit,
    ADD COLUMN IF NOT EXISTS exit_host SimpleAggregateFunction(max, Tuple(at DateTime64(6, 'UTC'), host String))
        DEFAULT (toDateTime64('1900-01-01 00:00:00', 6, 'UTC'), '') CODEC(ZSTD(1)) AFTER entry_host,
    MODIFY COLUMN visitor_id SimpleAggregateFunction(max, UInt64) CODEC(ZSTD(1));

ALTER TABLE sessions_from_events ${ON_CLUSTER} MODIFY QUERY
SELECT
    e.site_id AS site_id,
    e.session_start AS opened_at,
    e.session_id AS session_id,
    cityHash64(e.session_start, e.session_id) AS session_key,
    min(e.ts) AS started_at,
    max(e.ts) AS ended_at,
    maxIf(e.ts, e.passive < 2) AS kept_open_at,
    maxIf(e.visitor_id, e.passive = 0) AS visitor_id,
    groupUniqArrayIf(e.visitor_id, e.passive = 0) AS visitor_ids,
    max(e.user_id) AS user_id,
    countIf(e.name = 'pageview') AS pageviews,
    count() AS events,
    countIf(e.passive = 0) AS active_events,
    countIf((e.interactive != 0) AND (e.name NOT IN ('pageview', 'scroll', 'engagement', 'web_vital', 'exposure', 'not_found'))) AS interactions,
    min(if(e.name = 'pageview', (e.ts, e.path), (toDateTime64('2299-12-31 00:00:00', 6, 'UTC'), ''))) AS entry,
    max(if(e.name = 'pageview', (e.ts, e.path), (toDateTime64('1900-01-01 00:00:00', 6, 'UTC'), ''))) AS exit,
    min(if(e.name = 'pageview', (e.ts, toString(e.hostname)), (toDateTime64('2299-12-31 00:00:00', 6, 'UTC'), ''))) AS entry_host,
    max(if(e.name = 'pageview', (e.ts, toString(e.hostname)), (toDateTime64('1900-01-01 00:00:00', 6, 'UTC'), ''))) AS exit_host,
    any(e.hostname) AS hostname,
    any(e.referrer) AS referrer,
    any(e.source) AS source,
    any(e.channel) AS channel,
    any(e.utm_source) AS utm_source,
    any(e.utm_medium) AS utm_medium,
    any(e.utm_campaign) AS utm_campaign,
    any(e.utm_content) AS utm_content,
    any(e.utm_term) AS utm_term,
    any(e.country) AS country,
    any(e.region) AS region,
    any(e.city) AS city,
    any(e.browser) AS browser,
    any(e.browser_version) AS browser_version,
    any(e.os) AS os,
    any(e.os_version) AS os_version,
    any(e.device) AS device,
    any(e.screen) AS screen,
    any(e.language) AS language
FROM events AS e
GROUP BY site_id, opened_at, session_id;

-- active: the events that `events` and `visitors` count. Rows of before: all of them.
ALTER TABLE traffic ${ON_CLUSTER}
    ADD COLUMN IF NOT EXISTS active SimpleAggregateFunction(sum, UInt64) DEFAULT events AFTER events;

ALTER TABLE traffic_from_events ${ON_CLUSTER} MODIFY QUERY
SELECT
    e.site_id AS site_id,
    toStartOfFifteenMinutes(e.ts) AS bucket,
    e.name AS name,
    count() AS events,
    countIf(e.passive = 0) AS active,
    uniqIfState(e.visitor_id, (e.visitor_id != 0) AND (e.passive = 0)) AS visitors
FROM events AS e
GROUP BY site_id, bucket, name;

-- What the new columns say of the sessions of before. Sums are 0 and everything else is idempotent, so that doing it
--   twice changes nothing.
INSERT INTO sessions (
    site_id, opened_at, session_id, session_key, started_at, ended_at, kept_open_at, visitor_id, visitor_ids,
    user_id, pageviews, events, active_events, interactions, entry, exit, entry_host, exit_host, hostname,
    referrer, source, channel, utm_source, utm_medium, utm_campaign, utm_content, utm_term, country, region,
    city, browser, browser_version, os, os_version, device, screen, language
)
SELECT
    e.site_id, e.session_start, e.session_id, cityHash64(e.session_start, e.session_id),
    min(e.ts), max(e.ts), max(e.ts), max(e.visitor_id), groupUniqArray(e.visitor_id), max(e.user_id), 0, 0, 0, 0,
    min(if(e.name = 'pageview', (e.ts, e.path), (toDateTime64('2299-12-31 00:00:00', 6, 'UTC'), ''))),
    max(if(e.name = 'pageview', (e.ts, e.path), (toDateTime64('1900-01-01 00:00:00', 6, 'UTC'), ''))),
    min(if(e.name = 'pageview', (e.ts, toString(e.hostname)), (toDateTime64('2299-12-31 00:00:00', 6, 'UTC'), ''))),
    max(if(e.name = 'pageview', (e.ts, toString(e.hostname)), (toDateTime64('1900-01-01 00:00:00', 6, 'UTC'), ''))),
    any(e.hostname),
    any(e.referrer), any(e.source), any(e.channel), any(e.utm_source), any(e.utm_medium), any(e.utm_campaign),
    any(e.utm_content), any(e.utm_term), any(e.country), any(e.region), any(e.city), any(e.browser),
    any(e.browser_version), any(e.os), any(e.os_version), any(e.device), any(e.screen), any(e.language)
FROM events AS e
GROUP BY e.site_id, e.session_start, e.session_id
SETTINGS max_partitions_per_insert_block = 0, max_bytes_before_external_group_by = 300000000;

-- From when on events of a site are taken by which version of the definitions (docs/metrics.md says what changed);
--   sites without a row have had the present ones from their first event on.
CREATE TABLE IF NOT EXISTS definitions ${ON_CLUSTER}
(
    site_id LowCardinality(String),
    version UInt16,
    since   DateTime64(6, 'UTC')
)
ENGINE = ${ENGINE:ReplacingMergeTree}
ORDER BY (site_id, version)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

INSERT INTO definitions (site_id, version, since)
SELECT DISTINCT b.site_id, 2, now64(6, 'UTC') FROM traffic AS b
WHERE (b.site_id, 2) NOT IN (SELECT d.site_id, d.version FROM definitions AS d);
