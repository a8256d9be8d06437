-- Rows of activity without a name stand for a day's active events: a tab that is closed on the next day is no return.
--   Passive events are there by their names only, so events adds up to twice the active ones and once the others.
ALTER TABLE activity_from_events ${ON_CLUSTER} MODIFY QUERY
SELECT
    e.site_id AS site_id,
    arrayJoin(if(e.passive = 0, ['', toString(e.name)], [toString(e.name)])) AS name,
    cityHash64(e.user_id) AS user_key,
    e.user_id AS user_id,
    toStartOfDay(e.ts) AS day,
    count() AS events,
    min(toDateTime(e.ts, 'UTC')) AS first_at,
    max(toDateTime(e.ts, 'UTC')) AS last_at
FROM events AS e
WHERE e.user_id != ''
GROUP BY site_id, name, user_key, user_id, day;
