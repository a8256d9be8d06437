-- site = 'berlin.example'
-- start = '2025-11-02 23:00:00.000000'
-- end = '2025-11-09 23:00:00.000000'
-- tz = 'Europe/Berlin'
-- limit = 100
-- offset = 0
SELECT
    sum(r.m_visitors) AS m_0,
    sum(r.m_sessions) AS m_1,
    sum(r.m_pageviews) AS m_2,
    max(r.m_bounce_rate) AS m_3,
    max(r.m_session_duration) AS m_4,
    max(r.m_views_per_session) AS m_5,
    count() OVER () AS total_rows
FROM (
    SELECT
        p.m_visitors AS m_visitors,
        p.m_pageviews AS m_pageviews,
        toUInt64(0) AS m_sessions,
        CAST(NULL, 'Nullable(Float64)') AS m_bounce_rate,
        CAST(NULL, 'Nullable(Float64)') AS m_session_duration,
        CAST(NULL, 'Nullable(Float64)') AS m_views_per_session
    FROM (
        SELECT
            sum(t.visitors) AS m_visitors,
            sum(t.pageviews) AS m_pageviews
        FROM (
            SELECT
                uniqIfMerge(b.visitors) AS visitors,
                sumIf(b.events, b.name = 'pageview') AS pageviews,
                sum(b.active) AS events
            FROM traffic AS b
            WHERE
                b.site_id = {site:String}
                AND b.bucket >= {start:DateTime64(6, 'UTC')}
                AND b.bucket < {end:DateTime64(6, 'UTC')}
                AND b.active > 0
            GROUP BY toDate(b.bucket, {tz:String})
        ) AS t
    ) AS p
    UNION ALL
    SELECT
        toUInt64(0) AS m_visitors,
        toUInt64(0) AS m_pageviews,
        p.m_sessions AS m_sessions,
        p.m_bounce_rate AS m_bounce_rate,
        p.m_session_duration AS m_session_duration,
        p.m_views_per_session AS m_views_per_session
    FROM (
        SELECT
            count() AS m_sessions,
            if(countIf(s.pageviews > 0) = 0, NULL, 100 * countIf(s.pageviews = 1 AND s.interactions = 0) / countIf(s.pageviews > 0)) AS m_bounce_rate,
            if(count() = 0, NULL, avg(toUnixTimestamp64Micro(s.ended_at) - toUnixTimestamp64Micro(s.started_at)) / 1000000) AS m_session_duration,
            if(count() = 0, NULL, sum(s.pageviews) / count()) AS m_views_per_session
        FROM sessions AS s FINAL
        WHERE
            s.site_id = {site:String}
            AND s.opened_at >= {start:DateTime64(6, 'UTC')} - INTERVAL 86400 SECOND
            AND s.opened_at < {end:DateTime64(6, 'UTC')} + INTERVAL 86400 SECOND
            AND s.started_at >= {start:DateTime64(6, 'UTC')}
            AND s.started_at < {end:DateTime64(6, 'UTC')}
    ) AS p
) AS r
LIMIT {limit:UInt64} OFFSET {offset:UInt64}
