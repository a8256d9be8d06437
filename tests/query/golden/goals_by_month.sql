-- site = 'berlin.example'
-- start = '2025-11-02 23:00:00.000000'
-- end = '2025-11-09 23:00:00.000000'
-- tz = 'Europe/Berlin'
-- p_4 = ['purchase']
-- p_5 = ['pageview']
-- p_6 = '(?s)\\A/blog/[^/]*\\z'
-- p_7 = ['Ordered', 'Read']
-- limit = 100
-- offset = 0
SELECT
    r.d_0 AS d_0,
    r.d_1 AS d_1,
    r.m_visitors AS m_0,
    100 * r.m_visitors / nullIf(g.m_visitors, 0) AS m_1,
    100 * r.m_visitors / nullIf((
        SELECT
            r.m_visitors
        FROM (
            SELECT
                uniqExactIf(bitXor(e.visitor_id, intHash64(toDate(e.ts, {tz:String}))), e.visitor_id != 0 AND e.passive = 0) AS m_visitors
            FROM events AS e
            WHERE
                e.site_id = {site:String}
                AND e.ts >= {start:DateTime64(6, 'UTC')}
                AND e.ts < {end:DateTime64(6, 'UTC')}
                AND e.passive = 0
        ) AS r
    ), 0) AS m_2,
    count() OVER () AS total_rows
FROM (
    SELECT
        toStartOfMonth(e.ts, {tz:String}) AS d_0,
        arrayJoin(arrayFilter((goal, holds) -> holds, {p_7:Array(String)}, CAST([e.name IN {p_4:Array(String)}, (e.name IN {p_5:Array(String)} AND (match(e.path, {p_6:String})))], 'Array(UInt8)'))) AS d_1,
        uniqExactIf(bitXor(e.visitor_id, intHash64(toDate(e.ts, {tz:String}))), e.visitor_id != 0 AND e.passive = 0) AS m_visitors
    FROM events AS e
    WHERE
        e.site_id = {site:String}
        AND e.ts >= {start:DateTime64(6, 'UTC')}
        AND e.ts < {end:DateTime64(6, 'UTC')}
        AND e.passive = 0
    GROUP BY d_0, d_1
) AS r
LEFT JOIN (
    SELECT
        r.d_0 AS d_0,
        r.m_visitors AS m_visitors
    FROM (
        SELECT
            toStartOfMonth(e.ts, {tz:String}) AS d_0,
            uniqExactIf(bitXor(e.visitor_id, intHash64(toDate(e.ts, {tz:String}))), e.visitor_id != 0 AND e.passive = 0) AS m_visitors
        FROM events AS e
        WHERE
            e.site_id = {site:String}
            AND e.ts >= {start:DateTime64(6, 'UTC')}
            AND e.ts < {end:DateTime64(6, 'UTC')}
            AND e.passive = 0
        GROUP BY d_0
    ) AS r
) AS g ON r.d_0 = g.d_0
ORDER BY d_0 ASC, d_1 ASC
LIMIT {limit:UInt64} OFFSET {offset:UInt64}
