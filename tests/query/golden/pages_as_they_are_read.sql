-- site = 'berlin.example'
-- start = '2025-11-02 23:00:00.000000'
-- end = '2025-11-09 23:00:00.000000'
-- tz = 'Europe/Berlin'
-- limit = 100
-- offset = 0
SELECT
    r.d_0 AS d_0,
    sum(r.m_pageviews) AS m_0,
    max(r.m_scroll_depth) AS m_1,
    max(r.m_engagement_time) AS m_2,
    count() OVER () AS total_rows
FROM (
    SELECT
        p.d_0 AS d_0,
        p.m_pageviews AS m_pageviews,
        p.m_engagement_time AS m_engagement_time,
        CAST(NULL, 'Nullable(Float64)') AS m_scroll_depth
    FROM (
        SELECT
            e.path AS d_0,
            countIf(e.name = 'pageview') AS m_pageviews,
            if(countIf(e.name = 'pageview') = 0, NULL, sum(e.engagement_ms) / countIf(e.name = 'pageview') / 1000) AS m_engagement_time
        FROM events AS e
        WHERE
            e.site_id = {site:String}
            AND e.ts >= {start:DateTime64(6, 'UTC')}
            AND e.ts < {end:DateTime64(6, 'UTC')}
        GROUP BY d_0
    ) AS p
    UNION ALL
    SELECT
        p.d_0 AS d_0,
        toUInt64(0) AS m_pageviews,
        CAST(NULL, 'Nullable(Float64)') AS m_engagement_time,
        p.m_scroll_depth AS m_scroll_depth
    FROM (
        SELECT
            v.d_0 AS d_0,
            if(count() = 0, NULL, avg(v.depth)) AS m_scroll_depth
        FROM (
            SELECT
                e.path AS d_0,
                max(e.scroll_depth) AS depth
            FROM events AS e
            WHERE
                e.site_id = {site:String}
                AND e.ts >= {start:DateTime64(6, 'UTC')}
                AND e.ts < {end:DateTime64(6, 'UTC')}
                AND e.scroll_depth > 0
            GROUP BY d_0, cityHash64(e.session_key, e.path)
        ) AS v
        GROUP BY d_0
    ) AS p
) AS r
GROUP BY r.d_0
ORDER BY m_0 DESC, d_0 ASC
LIMIT {limit:UInt64} OFFSET {offset:UInt64}
