-- site = 'berlin.example'
-- start = '2025-11-02 23:00:00.000000'
-- end = '2025-11-09 23:00:00.000000'
-- tz = 'Europe/Berlin'
-- limit = 100
-- offset = 0
SELECT
    r.d_0 AS d_0,
    r.m_visitors AS m_0,
    r.m_pageviews AS m_1,
    count() OVER () AS total_rows
FROM (
    SELECT
        t.d_0 AS d_0,
        sum(t.visitors) AS m_visitors,
        sum(t.pageviews) AS m_pageviews
    FROM (
        SELECT
            toDate(b.bucket, {tz:String}) AS d_0,
            uniqIfMerge(b.visitors) AS visitors,
            sumIf(b.events, b.name = 'pageview') AS pageviews,
            sum(b.active) AS events
        FROM traffic AS b
        WHERE
            b.site_id = {site:String}
            AND b.bucket >= {start:DateTime64(6, 'UTC')}
            AND b.bucket < {end:DateTime64(6, 'UTC')}
            AND b.active > 0
        GROUP BY d_0, toDate(b.bucket, {tz:String})
    ) AS t
    GROUP BY d_0
) AS r
ORDER BY d_0 ASC
LIMIT {limit:UInt64} OFFSET {offset:UInt64}
