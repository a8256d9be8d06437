-- site = 'berlin.example'
-- start = '2025-11-02 23:00:00.000000'
-- end = '2025-11-09 23:00:00.000000'
-- tz = 'Europe/Berlin'
-- p_4 = ['purchase']
-- p_5 = 'plan'
-- p_6 = ['pro']
-- p_7 = ['DE']
-- until = '2025-11-09 23:00:00.000000'
-- limit = 100
-- offset = 0
SELECT
    r.d_0 AS d_0,
    sum(r.m_visitors) AS m_0,
    max(r.m_bounce_rate) AS m_1,
    count() OVER () AS total_rows
FROM (
    SELECT
        p.d_0 AS d_0,
        p.m_visitors AS m_visitors,
        CAST(NULL, 'Nullable(Float64)') AS m_bounce_rate
    FROM (
        SELECT
            e.path AS d_0,
            uniqIf(bitXor(e.visitor_id, intHash64(toDate(e.ts, {tz:String}))), e.visitor_id != 0 AND e.passive = 0) AS m_visitors
        FROM events AS e
        WHERE
            e.site_id = {site:String}
            AND e.ts >= {start:DateTime64(6, 'UTC')}
            AND e.ts < {end:DateTime64(6, 'UTC')}
            AND (e.name IN {p_4:Array(String)} AND e.props[{p_5:String}] IN {p_6:Array(String)})
            AND NOT (e.country IN {p_7:Array(String)})
            AND e.passive = 0
        GROUP BY d_0
    ) AS p
    UNION ALL
    SELECT
        p.d_0 AS d_0,
        toUInt64(0) AS m_visitors,
        p.m_bounce_rate AS m_bounce_rate
    FROM (
        SELECT
            tupleElement(s.entry, 'path') AS d_0,
            if(countIf(s.pageviews > 0) = 0, NULL, 100 * countIf(s.pageviews = 1 AND s.interactions = 0) / countIf(s.pageviews > 0)) AS m_bounce_rate
        FROM (
            SELECT
                min(s.entry) AS entry,
                sum(s.interactions) AS interactions,
                sum(s.pageviews) AS pageviews,
                any(s.session_key) AS session_key,
                min(s.started_at) AS started_at
            FROM sessions AS s
            PREWHERE
                NOT (s.country IN {p_7:Array(String)})
                AND (s.session_key) IN (
                    SELECT
                        e.session_key
                    FROM events AS e
                    WHERE
                        e.site_id = {site:String}
                        AND e.ts >= {start:DateTime64(6, 'UTC')}
                        AND e.ts < {end:DateTime64(6, 'UTC')}
                        AND (e.name IN {p_4:Array(String)} AND e.props[{p_5:String}] IN {p_6:Array(String)})
                )
            WHERE
                s.site_id = {site:String}
                AND s.opened_at >= {start:DateTime64(6, 'UTC')} - INTERVAL 86400 SECOND
                AND s.opened_at < {end:DateTime64(6, 'UTC')} + INTERVAL 86400 SECOND
            GROUP BY s.session_key
        ) AS s
        WHERE
            s.started_at >= {start:DateTime64(6, 'UTC')}
            AND s.started_at < {end:DateTime64(6, 'UTC')}
            AND tupleElement(s.entry, 'at') < {until:DateTime64(6, 'UTC')}
            AND (s.session_key, tupleElement(s.entry, 'path')) IN (
                SELECT
                    e.session_key,
                    e.path
                FROM events AS e
                WHERE
                    e.site_id = {site:String}
                    AND e.ts >= {start:DateTime64(6, 'UTC')}
                    AND e.ts < {end:DateTime64(6, 'UTC')}
                    AND (e.name IN {p_4:Array(String)} AND e.props[{p_5:String}] IN {p_6:Array(String)})
            )
        GROUP BY d_0
    ) AS p
) AS r
GROUP BY r.d_0
ORDER BY m_0 DESC, d_0 ASC
LIMIT {limit:UInt64} OFFSET {offset:UInt64}
