-- site = 'berlin.example'
-- start = '2025-11-02 23:00:00.000000'
-- end = '2025-11-09 23:00:00.000000'
-- tz = 'Europe/Berlin'
-- limit = 100
-- offset = 0
SELECT
    r.d_0 AS d_0,
    r.m_total_revenue AS m_0,
    r.m_average_revenue AS m_1,
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
    ), 0) AS m_2,
    count() OVER () AS total_rows
FROM (
    SELECT
        e.revenue_currency AS d_0,
        toFloat64(sumIf(e.revenue_amount, e.revenue_currency != '')) AS m_total_revenue,
        if(countIf(e.revenue_currency != '') = 0, NULL, toFloat64(sumIf(e.revenue_amount, e.revenue_currency != '')) / countIf(e.revenue_currency != '')) AS m_average_revenue,
        uniqExactIf(bitXor(e.visitor_id, intHash64(toDate(e.ts, {tz:String}))), e.visitor_id != 0 AND e.passive = 0) AS m_visitors
    FROM events AS e
    WHERE
        e.site_id = {site:String}
        AND e.ts >= {start:DateTime64(6, 'UTC')}
        AND e.ts < {end:DateTime64(6, 'UTC')}
    GROUP BY d_0
) AS r
ORDER BY m_0 DESC, d_0 ASC
LIMIT {limit:UInt64} OFFSET {offset:UInt64}
