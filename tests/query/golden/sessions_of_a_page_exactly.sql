-- site = 'berlin.example'
-- start = '2025-11-02 23:00:00.000000'
-- end = '2025-11-09 23:00:00.000000'
-- tz = 'Europe/Berlin'
-- p_4 = ['/blog/a']
-- limit = 100
-- offset = 0
SELECT
    r.m_sessions AS m_0,
    count() OVER () AS total_rows
FROM (
    SELECT
        count() AS m_sessions
    FROM (
        SELECT
            min(s.started_at) AS started_at
        FROM sessions AS s
        PREWHERE
            (s.opened_at, s.session_id) IN (
                SELECT
                    e.session_start,
                    e.session_id
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
        GROUP BY s.opened_at, s.session_id
    ) AS s
    WHERE
        s.started_at >= {start:DateTime64(6, 'UTC')}
        AND s.started_at < {end:DateTime64(6, 'UTC')}
) AS r
LIMIT {limit:UInt64} OFFSET {offset:UInt64}
