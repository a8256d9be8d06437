-- site = 'berlin.example'
-- start = '2025-11-02 23:00:00.000000'
-- end = '2025-11-09 23:00:00.000000'
-- tz = 'Europe/Berlin'
-- p_4 = ['purchase']
-- p_5 = 'plan'
-- p_6 = ['pro']
-- limit = 100
-- offset = 0
SELECT
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
    ), 0) AS m_0,
    count() OVER () AS total_rows
FROM (
    SELECT
        uniqExactIf(bitXor(e.visitor_id, intHash64(toDate(e.ts, {tz:String}))), e.visitor_id != 0 AND e.passive = 0) AS m_visitors
    FROM events AS e
    WHERE
        e.site_id = {site:String}
        AND e.ts >= {start:DateTime64(6, 'UTC')}
        AND e.ts < {end:DateTime64(6, 'UTC')}
        AND e.name IN {p_4:Array(String)}
        AND e.props[{p_5:String}] IN {p_6:Array(String)}
        AND e.passive = 0
) AS r
LIMIT {limit:UInt64} OFFSET {offset:UInt64}
