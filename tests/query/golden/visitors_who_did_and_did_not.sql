-- site = 'berlin.example'
-- start = '2025-11-02 23:00:00.000000'
-- end = '2025-11-09 23:00:00.000000'
-- tz = 'Europe/Berlin'
-- p_4 = ['click']
-- p_5 = ['/']
-- p_6 = ['purchase']
-- limit = 100
-- offset = 0
SELECT
    sum(r.m_visitors) AS m_0,
    sum(r.m_sessions) AS m_1,
    count() OVER () AS total_rows
FROM (
    SELECT
        p.m_visitors AS m_visitors,
        toUInt64(0) AS m_sessions
    FROM (
        SELECT
            uniqIf(bitXor(e.visitor_id, intHash64(toDate(e.ts, {tz:String}))), e.visitor_id != 0 AND e.passive = 0) AS m_visitors
        FROM events AS e
        WHERE
            e.site_id = {site:String}
            AND e.ts >= {start:DateTime64(6, 'UTC')}
            AND e.ts < {end:DateTime64(6, 'UTC')}
            AND (e.session_key) IN (
                SELECT
                    e.session_key
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
                    AND (e.name IN {p_4:Array(String)} AND s.exit_page IN {p_5:Array(String)})
            )
            AND (e.session_key) NOT IN (
                SELECT
                    e.session_key
                FROM events AS e
                WHERE
                    e.site_id = {site:String}
                    AND e.ts >= (SELECT if(count() = 0, {start:DateTime64(6, 'UTC')}, min(o.opened_at)) FROM sessions AS o WHERE o.site_id = {site:String} AND o.opened_at < {start:DateTime64(6, 'UTC')} AND o.ended_at >= {start:DateTime64(6, 'UTC')}) - INTERVAL 86400 SECOND
                    AND e.ts <= (SELECT if(count() = 0, {end:DateTime64(6, 'UTC')}, max(o.ended_at)) FROM sessions AS o WHERE o.site_id = {site:String} AND o.opened_at < {end:DateTime64(6, 'UTC')} + INTERVAL 86400 SECOND AND o.ended_at >= {end:DateTime64(6, 'UTC')})
                    AND e.name IN {p_6:Array(String)}
            )
            AND e.passive = 0
    ) AS p
    UNION ALL
    SELECT
        toUInt64(0) AS m_visitors,
        p.m_sessions AS m_sessions
    FROM (
        SELECT
            count() AS m_sessions
        FROM sessions AS s FINAL
        PREWHERE
            (s.session_key) IN (
                SELECT
                    e.session_key
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
                    AND (e.name IN {p_4:Array(String)} AND s.exit_page IN {p_5:Array(String)})
            )
            AND (s.session_key) NOT IN (
                SELECT
                    e.session_key
                FROM events AS e
                WHERE
                    e.site_id = {site:String}
                    AND e.ts >= (SELECT if(count() = 0, {start:DateTime64(6, 'UTC')}, min(o.opened_at)) FROM sessions AS o WHERE o.site_id = {site:String} AND o.opened_at < {start:DateTime64(6, 'UTC')} AND o.ended_at >= {start:DateTime64(6, 'UTC')}) - INTERVAL 86400 SECOND
                    AND e.ts <= (SELECT if(count() = 0, {end:DateTime64(6, 'UTC')}, max(o.ended_at)) FROM sessions AS o WHERE o.site_id = {site:String} AND o.opened_at < {end:DateTime64(6, 'UTC')} + INTERVAL 86400 SECOND AND o.ended_at >= {end:DateTime64(6, 'UTC')})
                    AND e.name IN {p_6:Array(String)}
            )
        WHERE
            s.site_id = {site:String}
            AND s.opened_at >= {start:DateTime64(6, 'UTC')} - INTERVAL 86400 SECOND
            AND s.opened_at < {end:DateTime64(6, 'UTC')} + INTERVAL 86400 SECOND
            AND s.started_at >= {start:DateTime64(6, 'UTC')}
            AND s.started_at < {end:DateTime64(6, 'UTC')}
    ) AS p
) AS r
LIMIT {limit:UInt64} OFFSET {offset:UInt64}
