-- site = 'berlin.example'
-- start = '2025-11-02 23:00:00.000000'
-- end = '2025-11-09 23:00:00.000000'
-- tz = 'Europe/Berlin'
-- p_4 = 'plan'
-- p_5 = 'cta'
-- limit = 100
-- offset = 0
SELECT
    r.d_0 AS d_0,
    r.d_1 AS d_1,
    r.m_events AS m_0,
    count() OVER () AS total_rows
FROM (
    SELECT
        e.props[{p_4:String}] AS d_0,
        if(e.experiment = {p_5:String}, e.variant, '') AS d_1,
        countIf(e.passive = 0) AS m_events
    FROM events AS e
    WHERE
        e.site_id = {site:String}
        AND e.ts >= {start:DateTime64(6, 'UTC')}
        AND e.ts < {end:DateTime64(6, 'UTC')}
        AND e.passive = 0
    GROUP BY d_0, d_1
) AS r
ORDER BY m_0 DESC, d_0 ASC, d_1 ASC
LIMIT {limit:UInt64} OFFSET {offset:UInt64}
