-- site = 'berlin.example'
-- start = '2025-11-02 23:00:00.000000'
-- end = '2025-11-09 23:00:00.000000'
-- tz = 'Europe/Berlin'
-- limit = 100
-- offset = 0
SELECT
    r.d_0 AS d_0,
    r.d_1 AS d_1,
    r.m_sessions AS m_0,
    count() OVER () AS total_rows
FROM (
    SELECT
        toDate(s.started_at, {tz:String}) AS d_0,
        e.path AS d_1,
        uniq(e.session_key) AS m_sessions
    FROM events AS e
    INNER JOIN (
        SELECT
            s.opened_at AS opened_at,
            s.session_id AS session_id,
            s.started_at AS started_at,
            tupleElement(s.entry, 'path') AS entry_page,
            tupleElement(s.exit, 'path') AS exit_page,
            tupleElement(s.entry_host, 'host') AS entry_page_hostname,
            tupleElement(s.exit_host, 'host') AS exit_page_hostname
        FROM sessions AS s FINAL
        WHERE
            s.site_id = {site:String}
            AND s.opened_at >= (SELECT if(count() = 0, {start:DateTime64(6, 'UTC')}, min(o.opened_at)) FROM sessions AS o WHERE o.site_id = {site:String} AND o.opened_at < {start:DateTime64(6, 'UTC')} AND o.ended_at >= {start:DateTime64(6, 'UTC')}) - INTERVAL 86400 SECOND
            AND s.opened_at < {end:DateTime64(6, 'UTC')} + INTERVAL 86400 SECOND
            AND s.started_at < {end:DateTime64(6, 'UTC')}
            AND s.ended_at >= {start:DateTime64(6, 'UTC')}
    ) AS s ON e.session_start = s.opened_at AND e.session_id = s.session_id
    WHERE
        e.site_id = {site:String}
        AND e.ts >= {start:DateTime64(6, 'UTC')}
        AND e.ts < {end:DateTime64(6, 'UTC')}
        AND s.started_at >= {start:DateTime64(6, 'UTC')}
    GROUP BY d_0, d_1
) AS r
ORDER BY d_0 ASC, d_1 ASC
LIMIT {limit:UInt64} OFFSET {offset:UInt64}
