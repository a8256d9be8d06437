-- site = 'berlin.example'
-- start = '2025-11-08 23:00:00.000000'
-- end = '2025-11-09 23:00:00.000000'
-- tz = 'Europe/Berlin'
-- p_4 = ['Google']
-- limit = 100
-- offset = 0
SELECT
    r.d_0 AS d_0,
    r.m_visitors AS m_0,
    count() OVER () AS total_rows
FROM (
    SELECT
        toUnixTimestamp(e.ts) - 60 * toMinute(e.ts, {tz:String}) - toSecond(e.ts) AS d_0,
        uniqIf(e.visitor_id, e.visitor_id != 0 AND e.passive = 0) AS m_visitors
    FROM events AS e
    WHERE
        e.site_id = {site:String}
        AND e.ts >= {start:DateTime64(6, 'UTC')}
        AND e.ts < {end:DateTime64(6, 'UTC')}
        AND e.source IN {p_4:Array(String)}
        AND e.passive = 0
    GROUP BY d_0
) AS r
ORDER BY d_0 ASC
LIMIT {limit:UInt64} OFFSET {offset:UInt64}
