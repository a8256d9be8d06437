-- site = 'berlin.example'
-- start = '2025-11-02 23:00:00.000000'
-- end = '2025-11-09 23:00:00.000000'
-- tz = 'Europe/Berlin'
-- p_4 = ['a']
-- p_5 = '[bB]'
-- p_6 = '^a'
-- p_7 = 'b$'
-- p_8 = '\\A(?:[eE][xX][aA][mM][pP][lL][eE]\\.[cC][oO][mM])\\z'
-- limit = 100
-- offset = 0
SELECT
    r.m_events AS m_0,
    count() OVER () AS total_rows
FROM (
    SELECT
        countIf(e.passive = 0) AS m_events
    FROM events AS e
    WHERE
        e.site_id = {site:String}
        AND e.ts >= {start:DateTime64(6, 'UTC')}
        AND e.ts < {end:DateTime64(6, 'UTC')}
        AND (multiSearchAny(e.path, {p_4:Array(String)}) OR NOT (match(e.path, {p_5:String})))
        AND NOT ((match(e.title, {p_6:String}) OR match(e.title, {p_7:String})))
        AND match(e.hostname, {p_8:String})
        AND e.passive = 0
) AS r
LIMIT {limit:UInt64} OFFSET {offset:UInt64}
