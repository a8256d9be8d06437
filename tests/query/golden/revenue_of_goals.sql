-- site = 'berlin.example'
-- start = '2025-11-02 23:00:00.000000'
-- end = '2025-11-09 23:00:00.000000'
-- tz = 'Europe/Berlin'
-- p_4 = ['purchase']
-- p_5 = ['pageview']
-- p_6 = '(?s)\\A/blog/[^/]*\\z'
-- p_7 = ['Ordered', 'Read']
-- p_8 = ['EUR', '']
-- limit = 100
-- offset = 0
SELECT
    r.d_0 AS d_0,
    r.m_total_revenue AS m_0,
    r.m_average_revenue AS m_1,
    count() OVER () AS total_rows
FROM (
    SELECT
        arrayJoin(arrayFilter((goal, holds) -> holds, {p_7:Array(String)}, CAST([e.name IN {p_4:Array(String)}, (e.name IN {p_5:Array(String)} AND (match(e.path, {p_6:String})))], 'Array(UInt8)'))) AS d_0,
        toFloat64(sumIf(e.revenue_amount, e.revenue_currency != '' AND transform(d_0, {p_7:Array(String)}, {p_8:Array(String)}, '') IN ('', e.revenue_currency))) AS m_total_revenue,
        if(countIf(e.revenue_currency != '' AND transform(d_0, {p_7:Array(String)}, {p_8:Array(String)}, '') IN ('', e.revenue_currency)) = 0, NULL, toFloat64(sumIf(e.revenue_amount, e.revenue_currency != '' AND transform(d_0, {p_7:Array(String)}, {p_8:Array(String)}, '') IN ('', e.revenue_currency))) / countIf(e.revenue_currency != '' AND transform(d_0, {p_7:Array(String)}, {p_8:Array(String)}, '') IN ('', e.revenue_currency))) AS m_average_revenue
    FROM events AS e
    WHERE
        e.site_id = {site:String}
        AND e.ts >= {start:DateTime64(6, 'UTC')}
        AND e.ts < {end:DateTime64(6, 'UTC')}
    GROUP BY d_0
) AS r
ORDER BY m_0 DESC, d_0 ASC
LIMIT {limit:UInt64} OFFSET {offset:UInt64}
