-- site = 'berlin.example'
-- start = '2025-11-02 23:00:00.000000'
-- end = '2025-11-09 23:00:00.000000'
-- tz = 'Europe/Berlin'
-- limit = 100
-- offset = 0
SELECT
    r.d_0 AS d_0,
    r.d_1 AS d_1,
    sum(r.m_pageviews) AS m_0,
    if(sum(r.m_pageviews) = 0, NULL, least(100, 100 * sum(r.m_exits) / sum(r.m_pageviews))) AS m_1,
    count() OVER () AS total_rows
FROM (
    SELECT
        p.d_0 AS d_0,
        p.d_1 AS d_1,
        p.m_pageviews AS m_pageviews,
        toUInt64(0) AS m_exits
    FROM (
        SELECT
            toDate(e.ts, {tz:String}) AS d_0,
            e.title AS d_1,
            countIf(e.name = 'pageview') AS m_pageviews
        FROM events AS e
        WHERE
            e.site_id = {site:String}
            AND e.ts >= {start:DateTime64(6, 'UTC')}
            AND e.ts < {end:DateTime64(6, 'UTC')}
            AND e.passive = 0
        GROUP BY d_0, d_1
    ) AS p
    UNION ALL
    SELECT
        p.d_0 AS d_0,
        p.d_1 AS d_1,
        toUInt64(0) AS m_pageviews,
        p.m_exits AS m_exits
    FROM (
        SELECT
            toDate(e.ts, {tz:String}) AS d_0,
            e.title AS d_1,
            uniqExact(e.session_key) AS m_exits
        FROM events AS e
        WHERE
            e.site_id = {site:String}
            AND e.ts >= {start:DateTime64(6, 'UTC')}
            AND e.ts < {end:DateTime64(6, 'UTC')}
            AND e.name = 'pageview'
            AND (e.session_key, e.ts, e.path) IN (
                SELECT
                    s.session_key,
                    tupleElement(s.exit, 'at'),
                    tupleElement(s.exit, 'path')
                FROM sessions AS s FINAL
                WHERE
                    s.site_id = {site:String}
                    AND s.opened_at >= (SELECT if(count() = 0, {start:DateTime64(6, 'UTC')}, min(o.opened_at)) FROM sessions AS o WHERE o.site_id = {site:String} AND o.opened_at < {start:DateTime64(6, 'UTC')} AND o.ended_at >= {start:DateTime64(6, 'UTC')}) - INTERVAL 86400 SECOND
                    AND s.opened_at < {end:DateTime64(6, 'UTC')} + INTERVAL 86400 SECOND
                    AND s.started_at < {end:DateTime64(6, 'UTC')}
                    AND s.ended_at >= {start:DateTime64(6, 'UTC')}
                    AND tupleElement(s.exit, 'at') >= {start:DateTime64(6, 'UTC')}
                    AND tupleElement(s.exit, 'at') < {end:DateTime64(6, 'UTC')}
            )
        GROUP BY d_0, d_1
    ) AS p
) AS r
GROUP BY r.d_0, r.d_1
ORDER BY d_0 ASC, d_1 ASC
LIMIT {limit:UInt64} OFFSET {offset:UInt64}
