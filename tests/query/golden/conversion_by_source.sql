-- site = 'berlin.example'
-- start = '2025-11-02 23:00:00.000000'
-- end = '2025-11-09 23:00:00.000000'
-- tz = 'Europe/Berlin'
-- p_4 = ['purchase']
-- p_5 = ['DE']
-- limit = 100
-- offset = 0
SELECT
    r.d_0 AS d_0,
    r.m_visitors AS m_0,
    100 * r.m_visitors / nullIf((
        SELECT
            r.m_visitors
        FROM (
            SELECT
                uniqExactIf(v.visitor, v.visitor != 0) AS m_visitors
            FROM (
                SELECT
                    if(s.visitor_id = 0, 0, bitXor(s.visitor_id, intHash64(toDate(s.started_at, {tz:String})))) AS visitor,
                    s.pageviews AS pageviews,
                    s.active_events AS events
                FROM sessions AS s
                PREWHERE
                    s.country IN {p_5:Array(String)}
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
                    if(e.visitor_id = 0, 0, bitXor(e.visitor_id, intHash64(toDate(e.ts, {tz:String})))) AS visitor,
                    toUInt64(e.name = 'pageview') AS pageviews,
                    toUInt64(1) AS events
                FROM events AS e
                WHERE
                    e.site_id = {site:String}
                    AND e.ts >= {start:DateTime64(6, 'UTC')}
                    AND e.ts < {end:DateTime64(6, 'UTC')}
                    AND e.country IN {p_5:Array(String)}
                    AND (toStartOfHour(e.ts), e.session_key) IN (
                        SELECT
                            arrayJoin(arrayMap(step -> toStartOfHour(greatest(s.started_at, {start:DateTime64(6, 'UTC')})) + INTERVAL step HOUR, range(toUInt32(dateDiff('hour', greatest(s.started_at, {start:DateTime64(6, 'UTC')}), least(s.ended_at, {end:DateTime64(6, 'UTC')})) + 1)))) AS hour,
                            s.session_key
                        FROM sessions AS s
                        PREWHERE
                            s.country IN {p_5:Array(String)}
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
        ) AS r
    ), 0) AS m_1,
    100 * r.m_visitors / nullIf(g.m_visitors, 0) AS m_2,
    count() OVER () AS total_rows
FROM (
    SELECT
        e.source AS d_0,
        uniqExactIf(bitXor(e.visitor_id, intHash64(toDate(e.ts, {tz:String}))), e.visitor_id != 0 AND e.passive = 0) AS m_visitors
    FROM events AS e
    WHERE
        e.site_id = {site:String}
        AND e.ts >= {start:DateTime64(6, 'UTC')}
        AND e.ts < {end:DateTime64(6, 'UTC')}
        AND e.name IN {p_4:Array(String)}
        AND e.country IN {p_5:Array(String)}
        AND e.passive = 0
    GROUP BY d_0
) AS r
LEFT JOIN (
    SELECT
        r.d_0 AS d_0,
        r.m_visitors AS m_visitors
    FROM (
        SELECT
            v.d_0 AS d_0,
            uniqExactIf(v.visitor, v.visitor != 0) AS m_visitors
        FROM (
            SELECT
                s.source AS d_0,
                if(s.visitor_id = 0, 0, bitXor(s.visitor_id, intHash64(toDate(s.started_at, {tz:String})))) AS visitor,
                s.pageviews AS pageviews,
                s.active_events AS events
            FROM sessions AS s
            PREWHERE
                s.country IN {p_5:Array(String)}
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
                AND e.country IN {p_5:Array(String)}
                AND (toStartOfHour(e.ts), e.session_key) IN (
                    SELECT
                        arrayJoin(arrayMap(step -> toStartOfHour(greatest(s.started_at, {start:DateTime64(6, 'UTC')})) + INTERVAL step HOUR, range(toUInt32(dateDiff('hour', greatest(s.started_at, {start:DateTime64(6, 'UTC')}), least(s.ended_at, {end:DateTime64(6, 'UTC')})) + 1)))) AS hour,
                        s.session_key
                    FROM sessions AS s
                    PREWHERE
                        s.country IN {p_5:Array(String)}
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
) AS g ON r.d_0 = g.d_0
ORDER BY m_2 DESC, d_0 ASC
LIMIT {limit:UInt64} OFFSET {offset:UInt64}
