-- site = 'berlin.example'
-- start = '2025-11-02 23:00:00.000000'
-- end = '2025-11-09 23:00:00.000000'
-- tz = 'Europe/Berlin'
-- p_4 = ['AD', 'AE', 'AF', 'AG', 'AI', 'AL', 'AM', 'AO', 'AQ', 'AR', 'AS', 'AT', 'AU', 'AW', 'AX', 'AZ', 'BA', 'BB', 'BD', 'BE', 'BF', 'BG', 'BH', 'BI', 'BJ', 'BL', 'BM', 'BN', 'BO', 'BQ', 'BR', 'BS', 'BT', 'BV', 'BW', 'BY', 'BZ', 'CA', 'CC', 'CD', 'CF', 'CG', 'CH', 'CI', 'CK', 'CL', 'CM', 'CN', 'CO', 'CR', 'CU', 'CV', 'CW', 'CX', 'CY', 'CZ', 'DE', 'DJ', 'DK', 'DM', 'DO', 'DZ', 'EC', 'EE', 'EG', 'EH', 'ER', 'ES', 'ET', 'FI', 'FJ', 'FK', 'FM', 'FO', 'FR', 'GA', 'GB', 'GD', 'GE', 'GF', 'GG', 'GH', 'GI', 'GL', 'GM', 'GN', 'GP', 'GQ', 'GR', 'GS', 'GT', 'GU', 'GW', 'GY', 'HK', 'HM', 'HN', 'HR', 'HT', 'HU', 'ID', 'IE', 'IL', 'IM', 'IN', 'IO', 'IQ', 'IR', 'IS', 'IT', 'JE', 'JM', 'JO', 'JP', 'KE', 'KG', 'KH', 'KI', 'KM', 'KN', 'KP', 'KR', 'KW', 'KY', 'KZ', 'LA', 'LB', 'LC', 'LI', 'LK', 'LR', 'LS', 'LT', 'LU', 'LV', 'LY', 'MA', 'MC', 'MD', 'ME', 'MF', 'MG', 'MH', 'MK', 'ML', 'MM', 'MN', 'MO', 'MP', 'MQ', 'MR', 'MS', 'MT', 'MU', 'MV', 'MW', 'MX', 'MY', 'MZ', 'NA', 'NC', 'NE', 'NF', 'NG', 'NI', 'NL', 'NO', 'NP', 'NR', 'NU', 'NZ', 'OM', 'PA', 'PE', 'PF', 'PG', 'PH', 'PK', 'PL', 'PM', 'PN', 'PR', 'PS', 'PT', 'PW', 'PY', 'QA', 'RE', 'RO', 'RS', 'RU', 'RW', 'SA', 'SB', 'SC', 'SD', 'SE', 'SG', 'SH', 'SI', 'SJ', 'SK', 'SL', 'SM', 'SN', 'SO', 'SR', 'SS', 'ST', 'SV', 'SX', 'SY', 'SZ', 'TC', 'TD', 'TF', 'TG', 'TH', 'TJ', 'TK', 'TL', 'TM', 'TN', 'TO', 'TR', 'TT', 'TV', 'TW', 'TZ', 'UA', 'UG', 'UM', 'US', 'UY', 'UZ', 'VA', 'VC', 'VE', 'VG', 'VI', 'VN', 'VU', 'WF', 'WS', 'XK', 'YE', 'YT', 'ZA', 'ZM', 'ZW']
-- p_5 = ['Andorra', 'United Arab Emirates', 'Afghanistan', 'Antigua and Barbuda', 'Anguilla', 'Albania', 'Armenia', 'Angola', 'Antarctica', 'Argentina', 'American Samoa', 'Austria', 'Australia', 'Aruba', 'Åland Islands', 'Azerbaijan', 'Bosnia and Herzegovina', 'Barbados', 'Bangladesh', 'Belgium', 'Burkina Faso', 'Bulgaria', 'Bahrain', 'Burundi', 'Benin', 'Saint Barthélemy', 'Bermuda', 'Brunei', 'Bolivia', 'Caribbean Netherlands', 'Brazil', 'Bahamas', 'Bhutan', 'Bouvet Island', 'Botswana', 'Belarus', 'Belize', 'Canada', 'Cocos (Keeling) Islands', 'DR Congo', 'Central African Republic', 'Congo', 'Switzerland', "Côte d'Ivoire", 'Cook Islands', 'Chile', 'Cameroon', 'China', 'Colombia', 'Costa Rica', 'Cuba', 'Cape Verde', 'Curaçao', 'Christmas Island', 'Cyprus', 'Czechia', 'Germany', 'Djibouti', 'Denmark', 'Dominica', 'Dominican Republic', 'Algeria', 'Ecuador', 'Estonia', 'Egypt', 'Western Sahara', 'Eritrea', 'Spain', 'Ethiopia', 'Finland', 'Fiji', 'Falkland Islands', 'Micronesia', 'Faroe Islands', 'France', 'Gabon', 'United Kingdom', 'Grenada', 'Georgia', 'French Guiana', 'Guernsey', 'Ghana', 'Gibraltar', 'Greenland', 'Gambia', 'Guinea', 'Guadeloupe', 'Equatorial Guinea', 'Greece', 'South Georgia and the South Sandwich Islands', 'Guatemala', 'Guam', 'Guinea-Bissau', 'Guyana', 'Hong Kong', 'Heard and McDonald Islands', 'Honduras', 'Croatia', 'Haiti', 'Hungary', 'Indonesia', 'Ireland', 'Israel', 'Isle of Man', 'India', 'British Indian Ocean Territory', 'Iraq', 'Iran', 'Iceland', 'Italy', 'Jersey', 'Jamaica', 'Jordan', 'Japan', 'Kenya', 'Kyrgyzstan', 'Cambodia', 'Kiribati', 'Comoros', 'Saint Kitts and Nevis', 'North Korea', 'South Korea', 'Kuwait', 'Cayman Islands', 'Kazakhstan', 'Laos', 'Lebanon', 'Saint Lucia', 'Liechtenstein', 'Sri Lanka', 'Liberia', 'Lesotho', 'Lithuania', 'Luxembourg', 'Latvia', 'Libya', 'Morocco', 'Monaco', 'Moldova', 'Montenegro', 'Saint Martin', 'Madagascar', 'Marshall Islands', 'North Macedonia', 'Mali', 'Myanmar', 'Mongolia', 'Macao', 'Northern Mariana Islands', 'Martinique', 'Mauritania', 'Montserrat', 'Malta', 'Mauritius', 'Maldives', 'Malawi', 'Mexico', 'Malaysia', 'Mozambique', 'Namibia', 'New Caledonia', 'Niger', 'Norfolk Island', 'Nigeria', 'Nicaragua', 'Netherlands', 'Norway', 'Nepal', 'Nauru', 'Niue', 'New Zealand', 'Oman', 'Panama', 'Peru', 'French Polynesia', 'Papua New Guinea', 'Philippines', 'Pakistan', 'Poland', 'Saint Pierre and Miquelon', 'Pitcairn Islands', 'Puerto Rico', 'Palestine', 'Portugal', 'Palau', 'Paraguay', 'Qatar', 'Réunion', 'Romania', 'Serbia', 'Russia', 'Rwanda', 'Saudi Arabia', 'Solomon Islands', 'Seychelles', 'Sudan', 'Sweden', 'Singapore', 'Saint Helena', 'Slovenia', 'Svalbard and Jan Mayen', 'Slovakia', 'Sierra Leone', 'San Marino', 'Senegal', 'Somalia', 'Suriname', 'South Sudan', 'São Tomé and Príncipe', 'El Salvador', 'Sint Maarten', 'Syria', 'Eswatini', 'Turks and Caicos Islands', 'Chad', 'French Southern Territories', 'Togo', 'Thailand', 'Tajikistan', 'Tokelau', 'Timor-Leste', 'Turkmenistan', 'Tunisia', 'Tonga', 'Türkiye', 'Trinidad and Tobago', 'Tuvalu', 'Taiwan', 'Tanzania', 'Ukraine', 'Uganda', 'U.S. Outlying Islands', 'United States', 'Uruguay', 'Uzbekistan', 'Vatican City', 'Saint Vincent and the Grenadines', 'Venezuela', 'British Virgin Islands', 'U.S. Virgin Islands', 'Vietnam', 'Vanuatu', 'Wallis and Futuna', 'Samoa', 'Kosovo', 'Yemen', 'Mayotte', 'South Africa', 'Zambia', 'Zimbabwe']
-- p_6 = ['blog']
-- p_7 = ['purchase']
-- p_8 = ['Germany']
-- limit = 100
-- offset = 0
SELECT
    r.d_0 AS d_0,
    sum(r.m_visitors) AS m_0,
    sum(r.m_sessions) AS m_1,
    count() OVER () AS total_rows
FROM (
    SELECT
        p.d_0 AS d_0,
        p.m_visitors AS m_visitors,
        toUInt64(0) AS m_sessions
    FROM (
        SELECT
            transform(e.country, {p_4:Array(String)}, {p_5:Array(String)}, e.country) AS d_0,
            uniqIf(bitXor(e.visitor_id, intHash64(toDate(e.ts, {tz:String}))), e.visitor_id != 0 AND e.passive = 0) AS m_visitors
        FROM events AS e
        WHERE
            e.site_id = {site:String}
            AND e.ts >= {start:DateTime64(6, 'UTC')}
            AND e.ts < {end:DateTime64(6, 'UTC')}
            AND (e.session_key) IN (
                SELECT
                    q.key_0
                FROM (
                    SELECT
                        q.key_0 AS key_0,
                        min(if(q.step_0, q.at, toDateTime64('2299-12-31 00:00:00', 6, 'UTC'))) AS taken,
                        max(if(q.step_1, q.at, toDateTime64('1900-01-01 00:00:00', 6, 'UTC'))) AS last
                    FROM (
                        SELECT
                            e.session_key AS key_0,
                            e.ts AS at,
                            multiSearchAny(e.path, {p_6:Array(String)}) AS step_0,
                            e.name IN {p_7:Array(String)} AS step_1
                        FROM events AS e
                        WHERE
                            e.site_id = {site:String}
                            AND e.ts >= (SELECT if(count() = 0, {start:DateTime64(6, 'UTC')}, min(o.opened_at)) FROM sessions AS o WHERE o.site_id = {site:String} AND o.opened_at < {start:DateTime64(6, 'UTC')} AND o.ended_at >= {start:DateTime64(6, 'UTC')}) - INTERVAL 86400 SECOND
                            AND e.ts <= (SELECT if(count() = 0, {end:DateTime64(6, 'UTC')}, max(o.ended_at)) FROM sessions AS o WHERE o.site_id = {site:String} AND o.opened_at < {end:DateTime64(6, 'UTC')} + INTERVAL 86400 SECOND AND o.ended_at >= {end:DateTime64(6, 'UTC')})
                            AND (step_0 OR step_1)
                    ) AS q
                    GROUP BY q.key_0
                ) AS q
                WHERE
                    q.taken < q.last
            )
            AND NOT (transform(e.country, {p_4:Array(String)}, {p_5:Array(String)}, e.country) IN {p_8:Array(String)})
            AND e.passive = 0
        GROUP BY d_0
    ) AS p
    UNION ALL
    SELECT
        p.d_0 AS d_0,
        toUInt64(0) AS m_visitors,
        p.m_sessions AS m_sessions
    FROM (
        SELECT
            transform(s.country, {p_4:Array(String)}, {p_5:Array(String)}, s.country) AS d_0,
            count() AS m_sessions
        FROM sessions AS s FINAL
        PREWHERE
            (s.session_key) IN (
                SELECT
                    q.key_0
                FROM (
                    SELECT
                        q.key_0 AS key_0,
                        min(if(q.step_0, q.at, toDateTime64('2299-12-31 00:00:00', 6, 'UTC'))) AS taken,
                        max(if(q.step_1, q.at, toDateTime64('1900-01-01 00:00:00', 6, 'UTC'))) AS last
                    FROM (
                        SELECT
                            e.session_key AS key_0,
                            e.ts AS at,
                            multiSearchAny(e.path, {p_6:Array(String)}) AS step_0,
                            e.name IN {p_7:Array(String)} AS step_1
                        FROM events AS e
                        WHERE
                            e.site_id = {site:String}
                            AND e.ts >= (SELECT if(count() = 0, {start:DateTime64(6, 'UTC')}, min(o.opened_at)) FROM sessions AS o WHERE o.site_id = {site:String} AND o.opened_at < {start:DateTime64(6, 'UTC')} AND o.ended_at >= {start:DateTime64(6, 'UTC')}) - INTERVAL 86400 SECOND
                            AND e.ts <= (SELECT if(count() = 0, {end:DateTime64(6, 'UTC')}, max(o.ended_at)) FROM sessions AS o WHERE o.site_id = {site:String} AND o.opened_at < {end:DateTime64(6, 'UTC')} + INTERVAL 86400 SECOND AND o.ended_at >= {end:DateTime64(6, 'UTC')})
                            AND (step_0 OR step_1)
                    ) AS q
                    GROUP BY q.key_0
                ) AS q
                WHERE
                    q.taken < q.last
            )
            AND NOT (transform(s.country, {p_4:Array(String)}, {p_5:Array(String)}, s.country) IN {p_8:Array(String)})
        WHERE
            s.site_id = {site:String}
            AND s.opened_at >= {start:DateTime64(6, 'UTC')} - INTERVAL 86400 SECOND
            AND s.opened_at < {end:DateTime64(6, 'UTC')} + INTERVAL 86400 SECOND
            AND s.started_at >= {start:DateTime64(6, 'UTC')}
            AND s.started_at < {end:DateTime64(6, 'UTC')}
        GROUP BY d_0
    ) AS p
) AS r
GROUP BY r.d_0
ORDER BY m_0 DESC, d_0 ASC
LIMIT {limit:UInt64} OFFSET {offset:UInt64}
