-- site = 'berlin.example'
-- start = '2025-11-02 23:00:00.000000'
-- end = '2025-11-09 23:00:00.000000'
-- tz = 'Europe/Berlin'
-- p_4 = ['pageview']
-- p_5 = '(?s)\\A/blog/[^/]*\\z'
-- p_6 = ['/']
-- p_7 = 75
-- p_8 = 'plan'
-- p_9 = '(?s)\\Apro.*\\z'
-- limit = 100
-- offset = 0
SELECT
    r.d_0 AS d_0,
    r.m_events AS m_0,
    count() OVER () AS total_rows
FROM (
    SELECT
        toString(intDiv(e.scroll_depth, 10) * 10) AS d_0,
        countIf(e.passive = 0) AS m_events
    FROM events AS e
    WHERE
        e.site_id = {site:String}
        AND e.ts >= {start:DateTime64(6, 'UTC')}
        AND e.ts < {end:DateTime64(6, 'UTC')}
        AND (e.session_start, e.session_id) IN (
            SELECT
                q.key_0,
                q.key_1
            FROM (
                SELECT
                    arrayMin(arrayPushBack(arrayFilter(at -> at > q.taken, q.at_1), toDateTime64('2299-12-31 00:00:00', 6, 'UTC'))) AS taken,
                    q.key_0 AS key_0,
                    q.key_1 AS key_1,
                    q.last AS last
                FROM (
                    SELECT
                        q.key_0 AS key_0,
                        q.key_1 AS key_1,
                        min(if(q.step_0, q.at, toDateTime64('2299-12-31 00:00:00', 6, 'UTC'))) AS taken,
                        groupArrayIf(q.at, q.step_1) AS at_1,
                        max(if(q.step_2, q.at, toDateTime64('1900-01-01 00:00:00', 6, 'UTC'))) AS last
                    FROM (
                        SELECT
                            e.session_start AS key_0,
                            e.session_id AS key_1,
                            e.ts AS at,
                            (e.name IN {p_4:Array(String)} AND (match(e.path, {p_5:String}))) AS step_0,
                            s.exit_page IN {p_6:Array(String)} AS step_1,
                            e.scroll_depth >= {p_7:UInt8} AS step_2
                        FROM events AS e
                        INNER JOIN (
                            SELECT
                                s.opened_at AS opened_at,
                                s.session_id AS session_id,
                                tupleElement(min(s.entry), 'path') AS entry_page,
                                tupleElement(max(s.exit), 'path') AS exit_page,
                                tupleElement(min(s.entry_host), 'host') AS entry_page_hostname,
                                tupleElement(max(s.exit_host), 'host') AS exit_page_hostname
                            FROM sessions AS s
                            WHERE
                                s.site_id = {site:String}
                                AND s.opened_at >= (SELECT if(count() = 0, {start:DateTime64(6, 'UTC')}, min(o.opened_at)) FROM sessions AS o WHERE o.site_id = {site:String} AND o.opened_at < {start:DateTime64(6, 'UTC')} AND o.ended_at >= {start:DateTime64(6, 'UTC')}) - INTERVAL 86400 SECOND
                                AND s.opened_at < {end:DateTime64(6, 'UTC')} + INTERVAL 86400 SECOND
                            GROUP BY s.opened_at, s.session_id
                        ) AS s ON e.session_start = s.opened_at AND e.session_id = s.session_id
                        WHERE
                            e.site_id = {site:String}
                            AND e.ts >= (SELECT if(count() = 0, {start:DateTime64(6, 'UTC')}, min(o.opened_at)) FROM sessions AS o WHERE o.site_id = {site:String} AND o.opened_at < {start:DateTime64(6, 'UTC')} AND o.ended_at >= {start:DateTime64(6, 'UTC')}) - INTERVAL 86400 SECOND
                            AND e.ts <= (SELECT if(count() = 0, {end:DateTime64(6, 'UTC')}, max(o.ended_at)) FROM sessions AS o WHERE o.site_id = {site:String} AND o.opened_at < {end:DateTime64(6, 'UTC')} + INTERVAL 86400 SECOND AND o.ended_at >= {end:DateTime64(6, 'UTC')})
                            AND (step_0 OR step_1 OR step_2)
                    ) AS q
                    GROUP BY q.key_0, q.key_1
                ) AS q
            ) AS q
            WHERE
                q.taken < q.last
        )
        AND (mapContains(e.props, {p_8:String}) AND NOT ((match(e.props[{p_8:String}], {p_9:String}))))
        AND e.passive = 0
    GROUP BY d_0
) AS r
ORDER BY toUInt64OrZero(d_0) DESC
LIMIT {limit:UInt64} OFFSET {offset:UInt64}
