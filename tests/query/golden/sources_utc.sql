-- site = 'berlin.example'
-- start = '2025-11-03 00:00:00.000000'
-- end = '2025-11-10 00:00:00.000000'
-- tz = 'UTC'
-- limit = 100
-- offset = 0
SELECT
    r.d_0 AS d_0,
    r.m_visitors AS m_0,
    count() OVER () AS total_rows
FROM (
    SELECT
        v.d_0 AS d_0,
        uniqIf(v.visitor, v.visitor != 0) AS m_visitors
    FROM (
        SELECT
            s.source AS d_0,
            if(s.visitor_id = 0, 0, bitXor(s.visitor_id, intHash64(toDate(s.started_at, {tz:String})))) AS visitor,
            s.pageviews AS pageviews,
            s.active_events AS events
        FROM sessions AS s
        WHERE
            s.site_id = {site:String}
            AND s.opened_at >= (SELECT if(count() = 0, {start:DateTime64(6, 'UTC')}, min(o.opened_at)) FROM sessions AS o WHERE o.site_id = {site:String} AND o.opened_at < {start:DateTime64(6, 'UTC')} AND o.ended_at >= {start:DateTime64(6, 'UTC')}) - INTERVAL 86400 SECOND
            AND s.opened_at < {end:DateTime64(6, 'UTC')} + INTERVAL 86400 SECOND
            AND s.started_at >= {start:DateTime64(6, 'UTC')}
            AND s.ended_at < {end:DateTime64(6, 'UTC')}
            AND toDate(s.started_at, {tz:String}) = toDate(s.ended_at, {tz:String})
            AND s.visitor_ids.size0 <= 1
            AND s.active_events > 0
        UNION ALL
        SELECT
            e.source AS d_0,
            if(e.visitor_id = 0, 0, bitXor(e.visitor_id, intHash64(toDate(e.ts, {tz:String})))) AS visitor,
            toUInt64(e.name = 'pageview') AS pageviews,
            toUInt64(1) AS events
        FROM events AS e
        WHERE
            e.site_id = {site:String}
            AND e.ts >= {start:DateTime64(6, 'UTC')}
            AND e.ts < {end:DateTime64(6, 'UTC')}
            AND (toStartOfHour(e.ts), e.session_key) IN (
                SELECT
                    arrayJoin(arrayMap(step -> toStartOfHour(greatest(s.started_at, {start:DateTime64(6, 'UTC')})) + INTERVAL step HOUR, range(toUInt32(dateDiff('hour', greatest(s.started_at, {start:DateTime64(6, 'UTC')}), least(s.ended_at, {end:DateTime64(6, 'UTC')})) + 1)))) AS hour,
                    s.session_key
                FROM sessions AS s
                WHERE
                    s.site_id = {site:String}
                    AND s.opened_at >= (SELECT if(count() = 0, {start:DateTime64(6, 'UTC')}, min(o.opened_at)) FROM sessions AS o WHERE o.site_id = {site:String} AND o.opened_at < {start:DateTime64(6, 'UTC')} AND o.ended_at >= {start:DateTime64(6, 'UTC')}) - INTERVAL 86400 SECOND
                    AND s.opened_at < {end:DateTime64(6, 'UTC')} + INTERVAL 86400 SECOND
                    AND s.started_at < {end:DateTime64(6, 'UTC')}
                    AND s.ended_at >= {start:DateTime64(6, 'UTC')}
                    AND NOT (s.started_at >= {start:DateTime64(6, 'UTC')} AND s.ended_at < {end:DateTime64(6, 'UTC')} AND toDate(s.started_at, {tz:String}) = toDate(s.ended_at, {tz:String}) AND s.visitor_ids.size0 <= 1)
            )
            AND e.passive = 0
    ) AS v
    GROUP BY d_0
) AS r
ORDER BY m_0 DESC, d_0 ASC
LIMIT {limit:UInt64} OFFSET {offset:UInt64}
