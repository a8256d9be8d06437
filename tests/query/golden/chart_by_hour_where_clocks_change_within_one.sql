-- site = 'berlin.example'
-- start = '2025-04-04 10:15:00.000000'
-- end = '2025-04-06 11:15:00.000000'
-- tz = 'Pacific/Chatham'
-- clock_changes = [0, 1743861600]
-- clock_offsets = [49500, 45900]
-- limit = 100
-- offset = 0
SELECT
    r.d_0 AS d_0,
    sum(r.m_pageviews) AS m_0,
    sum(r.m_sessions) AS m_1,
    count() OVER () AS total_rows
FROM (
    SELECT
        p.d_0 AS d_0,
        p.m_pageviews AS m_pageviews,
        toUInt64(0) AS m_sessions
    FROM (
        SELECT
            t.d_0 AS d_0,
            sum(t.pageviews) AS m_pageviews
        FROM (
            SELECT
                greatest(toUnixTimestamp(b.bucket) - (toUnixTimestamp(b.bucket) + transform(roundDown(toUnixTimestamp(b.bucket), {clock_changes:Array(UInt32)}), {clock_changes:Array(UInt32)}, {clock_offsets:Array(Int32)}, 0)) % 3600, roundDown(toUnixTimestamp(b.bucket), {clock_changes:Array(UInt32)})) AS d_0,
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
    ) AS p
    UNION ALL
    SELECT
        p.d_0 AS d_0,
        toUInt64(0) AS m_pageviews,
        p.m_sessions AS m_sessions
    FROM (
        SELECT
            greatest(toUnixTimestamp(s.started_at) - (toUnixTimestamp(s.started_at) + transform(roundDown(toUnixTimestamp(s.started_at), {clock_changes:Array(UInt32)}), {clock_changes:Array(UInt32)}, {clock_offsets:Array(Int32)}, 0)) % 3600, roundDown(toUnixTimestamp(s.started_at), {clock_changes:Array(UInt32)})) AS d_0,
            count() AS m_sessions
        FROM sessions AS s FINAL
        WHERE
            s.site_id = {site:String}
            AND s.opened_at >= {start:DateTime64(6, 'UTC')} - INTERVAL 86400 SECOND
            AND s.opened_at < {end:DateTime64(6, 'UTC')} + INTERVAL 86400 SECOND
            AND s.started_at >= {start:DateTime64(6, 'UTC')}
            AND s.started_at < {end:DateTime64(6, 'UTC')}
        GROUP BY d_0
    ) AS p
) AS r
GROUP BY r.d_0
ORDER BY d_0 ASC
LIMIT {limit:UInt64} OFFSET {offset:UInt64}
