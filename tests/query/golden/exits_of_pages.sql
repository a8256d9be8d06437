-- site = 'berlin.example'
-- start = '2025-11-02 23:00:00.000000'
-- end = '2025-11-09 23:00:00.000000'
-- tz = 'Europe/Berlin'
-- p_4 = ['DE']
-- limit = 100
-- offset = 0
SELECT
    r.d_0 AS d_0,
    if(sum(r.m_pageviews) = 0, NULL, least(100, 100 * sum(r.m_exits) / sum(r.m_pageviews))) AS m_0,
    count() OVER () AS total_rows
FROM (
    SELECT
        p.d_0 AS d_0,
        p.m_pageviews AS m_pageviews,
        toUInt64(0) AS m_exits
    FROM (
        SELECT
            e.path AS d_0,
            countIf(e.name = 'pageview') AS m_pageviews
        FROM events AS e
        WHERE
            e.site_id = {site:String}
            AND e.ts >= {start:DateTime64(6, 'UTC')}
            AND e.ts < {end:DateTime64(6, 'UTC')}
            AND e.country IN {p_4:Array(String)}
            AND e.passive = 0
        GROUP BY d_0
    ) AS p
    UNION ALL
    SELECT
        p.d_0 AS d_0,
        toUInt64(0) AS m_pageviews,
        p.m_exits AS m_exits
    FROM (
        SELECT
            tupleElement(s.exit, 'path') AS d_0,
            count() AS m_exits
        FROM sessions AS s FINAL
        PREWHERE
            s.country IN {p_4:Array(String)}
        WHERE
            s.site_id = {site:String}
            AND s.opened_at >= (SELECT if(count() = 0, {start:DateTime64(6, 'UTC')}, min(o.opened_at)) FROM sessions AS o WHERE o.site_id = {site:String} AND o.opened_at < {start:DateTime64(6, 'UTC')} AND o.ended_at >= {start:DateTime64(6, 'UTC')}) - INTERVAL 86400 SECOND
            AND s.opened_at < {end:DateTime64(6, 'UTC')} + INTERVAL 86400 SECOND
            AND s.started_at < {end:DateTime64(6, 'UTC')}
            AND s.ended_at >= {start:DateTime64(6, 'UTC')}
            AND tupleElement(s.exit, 'at') >= {start:DateTime64(6, 'UTC')}
            AND tupleElement(s.exit, 'at') < {end:DateTime64(6, 'UTC')}
        GROUP BY d_0
    ) AS p
) AS r
GROUP BY r.d_0
ORDER BY m_0 DESC, d_0 ASC
LIMIT {limit:UInt64} OFFSET {offset:UInt64}
