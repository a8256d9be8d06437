-- site = 'berlin.example'
-- start = '2025-11-02 23:00:00.000000'
-- end = '2025-11-09 23:00:00.000000'
-- tz = 'Europe/Berlin'
-- p_4 = ['/blog/a']
-- until = '2025-11-09 23:00:00.000000'
-- limit = 100
-- offset = 0
SELECT
    sum(r.m_visitors) AS m_0,
    sum(r.m_sessions) AS m_1,
    max(r.m_bounce_rate) AS m_2,
    count() OVER () AS total_rows
FROM (
    SELECT
        p.m_visitors AS m_visitors,
        toUInt64(0) AS m_sessions,
        CAST(NULL, 'Nullable(Float64)') AS m_bounce_rate
    FROM (
        SELECT
            uniqIf(bitXor(e.visitor_id, intHash64(toDate(e.ts, {tz:String}))), e.visitor_id != 0 AND e.passive = 0) AS m_visitors
        FROM events AS e
        WHERE
            e.site_id = {site:String}
            AND e.ts >= {start:DateTime64(6, 'UTC')}
            AND e.ts < {end:DateTime64(6, 'UTC')}
            AND e.path IN {p_4:Array(String)}
            AND e.passive = 0
    ) AS p
    UNION ALL
    SELECT
        toUInt64(0) AS m_visitors,
        p.m_sessions AS m_sessions,
        CAST(NULL, 'Nullable(Float64)') AS m_bounce_rate
    FROM (
        SELECT
            count() AS m_sessions
        FROM (
            SELECT
                min(s.started_at) AS started_at
            FROM sessions AS s
            PREWHERE
                (s.session_key) IN (
                    SELECT
                        e.session_key
                    FROM events AS e
                    WHERE
                        e.site_id = {site:String}
                        AND e.ts >= {start:DateTime64(6, 'UTC')}
                        AND e.ts < {end:DateTime64(6, 'UTC')}
                        AND e.path IN {p_4:Array(String)}
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
    ) AS p
    UNION ALL
    SELECT
        toUInt64(0) AS m_visitors,
        toUInt64(0) AS m_sessions,
        p.m_bounce_rate AS m_bounce_rate
    FROM (
        SELECT
            if(countIf(s.pageviews > 0) = 0, NULL, 100 * countIf(s.pageviews = 1 AND s.interactions = 0) / countIf(s.pageviews > 0)) AS m_bounce_rate
        FROM (
            SELECT
                min(s.entry) AS entry,
                sum(s.interactions) AS interactions,
                sum(s.pageviews) AS pageviews,
                min(s.started_at) AS started_at
            FROM sessions AS s
            PREWHERE
                (s.session_key) IN (
                    SELECT
                        s.session_key
                    FROM sessions AS s
                    WHERE
                        s.site_id = {site:String}
                        AND s.opened_at >= {start:DateTime64(6, 'UTC')} - INTERVAL 86400 SECOND
                        AND s.opened_at < {end:DateTime64(6, 'UTC')} + INTERVAL 86400 SECOND
                        AND tupleElement(s.entry, 'path') IN {p_4:Array(String)}
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
            AND tupleElement(s.entry, 'path') IN {p_4:Array(String)}
    ) AS p
) AS r
LIMIT {limit:UInt64} OFFSET {offset:UInt64}
