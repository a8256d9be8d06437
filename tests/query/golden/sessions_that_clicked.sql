-- site = 'berlin.example'
-- start = '2025-11-02 23:00:00.000000'
-- end = '2025-11-09 23:00:00.000000'
-- tz = 'Europe/Berlin'
-- p_4 = '(?s)\\A/blog/.*\\z'
-- p_5 = ['click']
-- limit = 100
-- offset = 0
SELECT
    r.m_sessions AS m_0,
    r.m_session_duration AS m_1,
    count() OVER () AS total_rows
FROM (
    SELECT
        count() AS m_sessions,
        if(count() = 0, NULL, avg(toUnixTimestamp64Micro(s.ended_at) - toUnixTimestamp64Micro(s.started_at)) / 1000000) AS m_session_duration
    FROM (
        SELECT
            max(s.ended_at) AS ended_at,
            min(s.entry) AS entry,
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
                    AND e.name IN {p_5:Array(String)}
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
        AND (match(tupleElement(s.entry, 'path'), {p_4:String}))
) AS r
LIMIT {limit:UInt64} OFFSET {offset:UInt64}
