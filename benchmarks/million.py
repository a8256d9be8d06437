"""Fills a data directory with millions of events, made by the engine itself.

`python -m benchmarks.million DIR ROWS INSERTS [DAYS]`. Rows come from INSERT … SELECT over
numbers(): no Python per row. What shapes the cost of queries is as on a real site:
sessions of one to eight events (mean four), 800 pages with a steep popularity, 20 sources
and 60 countries of which few are large, visitor ids that live one day, a rhythm over the
day, one session in twenty of a known user, and 5 % of the rows on fifty other sites. The
inserts follow one another in time, as batches do, and the materialized views fill the rollups.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from analytics_server.access.sites.sites import Sites
from analytics_server.config import Config, ServerSection, SitesSection
from analytics_server.store import Store, make_store, migrate

SITE = "bench.example"
DAYS = 30
USERS_A_MONTH = 20_000
OTHER_SITES = 50
EVENTS_PER_SESSION = 4
MERGE_POLL_S = 0.5
MERGE_TIMEOUT_S = 600.0

_INSERT = """
INSERT INTO events
    (site_id, ts, name, event_id, session_id, session_start, visitor_id, user_id, hostname, path, title, referrer,
     source, channel, utm_source, utm_medium, utm_campaign, country, region, city, browser, browser_version, os,
     os_version, device, screen, language, scroll_depth, engagement_ms,
     revenue_amount, revenue_currency, props, batch_id)
WITH
    number + {first:UInt64} AS session,
    sipHash64(session) AS h,
    sipHash64(session, 1) AS h1,
    sipHash64(session, 2) AS h2,
    (h % 1000003) / 1000003 AS u,
    {start:Float64} + {length:Float64} * u AS uneven,
    uneven - 12000 * sin(2 * pi() * uneven / 86400) AS opened_s,
    toDateTime64(opened_s, 6, 'UTC') AS opened,
    h % 20 = 0 AS foreign_site,
    pow((h1 % 10007) / 10007, 2) AS steep,
    toUInt8(steep * 21) AS source_number,
    toUInt8(pow((h2 % 10009) / 10009, 3) * 60) AS country_number,
    toUInt8(pow((h2 % 997) / 997, 2) * 12) AS browser_number,
    [1, 1, 2, 3, 3, 4, 5, 6, 7, 8][h1 % 10 + 1] AS events_in_session,
    arrayJoin(range(events_in_session)) AS step,
    sipHash64(session, step, 3) AS e,
    [0, 1, 0, 2, 0, 1, 3, 0, 4, 0][(step + h2 % 3) % 10 + 1] AS kind,
    toUInt16(pow((e % 100003) / 100003, 3) * 800) AS page
SELECT
    if(foreign_site, concat('other-', toString(h1 % {other_sites:UInt32}), '.example'), {site:String}),
    opened + toIntervalSecond(step * (3 + e % 60)) + toIntervalMicrosecond(step),
    if(step = 0, 'pageview',
       ['pageview', 'engagement', 'scroll', 'click', if(e % 4 = 0, 'purchase', 'signup')][kind + 1]) AS event,
    generateUUIDv4(step),
    concat('s', lower(hex(h))),
    opened,
    sipHash64(toDate(opened), h2 % 200000),
    if(h2 % 20 = 0, concat('user-', toString(h1 % {users:UInt32})), ''),
    concat('www.', {site:String}),
    if(page = 0, '/', concat('/articles/', toString(page), '/how-to-brew-better-coffee')),
    concat('How to brew better coffee, part ', toString(page)),
    if(source_number < 2, '', concat('https://site-', toString(h1 % 300), '.example/page')),
    if(source_number < 2, 'Direct', concat('Source ', toString(source_number))),
    ['Direct', 'Organic Search', 'Organic Social', 'Referral', 'Email', 'Paid Search', 'AI Assistants']
        [toUInt8(steep * 7) + 1],
    if(h1 % 8 = 0, ['newsletter', 'google', 'bing', 'facebook'][h1 % 4 + 1], ''),
    if(h1 % 8 = 0, ['email', 'cpc'][h1 % 2 + 1], ''),
    if(h1 % 8 = 0, concat('campaign-', toString(h1 % 30)), ''),
    concat(char(65 + country_number % 26), char(65 + intDiv(country_number, 26))),
    concat('Region ', toString(country_number * 8 + h1 % 8)),
    concat('City ', toString(country_number * 40 + h1 % 40)),
    ['Chrome', 'Safari', 'Firefox', 'Edge', 'Samsung Internet', 'Opera', 'Google App', 'DuckDuckGo', 'Yandex',
     'Vivaldi', 'UC Browser', 'iOS WebView'][browser_number + 1],
    toString(120 + h2 % 26),
    ['Windows', 'iOS', 'Android', 'macOS', 'Linux', 'ChromeOS'][h2 % 6 + 1],
    toString(10 + h2 % 9),
    ['Desktop', 'Mobile', 'Mobile', 'Desktop', 'Tablet'][h2 % 5 + 1],
    concat(toString(320 + (h2 % 80) * 20), 'x', toString(600 + (h2 % 80) * 10)),
    ['en-US', 'en-GB', 'de-DE', 'fr-FR', 'es-ES', 'pt-BR', 'nl-NL', 'sv-SE'][h2 % 8 + 1],
    if(step > 0 AND kind = 2, e % 101, 0),
    if(step > 0 AND kind = 1, e % 60000, 0),
    if(event = 'purchase', toDecimal64(5 + e % 200, 4), toDecimal64(0, 4)),
    if(event = 'purchase', 'EUR', ''),
    if(step > 0 AND kind = 4, map('plan', ['free', 'pro', 'team'][e % 3 + 1]), map()),
    {batch:UInt64}
FROM numbers({sessions:UInt64})
SETTINGS max_threads = 2, max_insert_threads = 1, max_insert_block_size = 10000000,
    min_insert_block_size_rows = 10000000, min_insert_block_size_bytes = 0,
    optimize_on_insert = 1, max_partitions_per_insert_block = 100
"""


async def fill(data_dir: Path, rows: int, inserts: int, now: float, days: int = DAYS, *, users: int = 0) -> None:
    """About `rows` events of `SITE` in the days before `now`, and 5 % more elsewhere. `users`: how many known ones."""
    store = make_store(Config(server=ServerSection(data_dir=str(data_dir))))
    await store.open()
    try:
        await migrate(store)
        await Sites(store, SitesSection()).create(SITE)
        sessions = max(inserts, round(rows / 0.95 / EVENTS_PER_SESSION))
        length = days * 86_400 / inserts
        for number in range(inserts):
            first = sessions * number // inserts
            await store.command(
                _INSERT,
                {
                    "first": first,
                    "sessions": sessions * (number + 1) // inserts - first,
                    "start": now - days * 86_400 + number * length,
                    "length": length,
                    "site": SITE,
                    "batch": number + 1,
                    "users": users or USERS_A_MONTH * max(1, round(days / 30)),
                    "other_sites": OTHER_SITES,
                },
            )
        await _settle(store)
    finally:
        await store.close()


async def _settle(store: Store) -> None:
    """Wait until no merge runs any more and none begins."""
    deadline = time.monotonic() + MERGE_TIMEOUT_S
    quiet = 0
    while quiet < 4 and time.monotonic() < deadline:
        answer = await store.query("SELECT count() FROM system.merges")
        quiet = quiet + 1 if answer.rows[0][0] == 0 else 0
        await asyncio.sleep(MERGE_POLL_S)


if __name__ == "__main__":
    rows, inserts, *others = map(int, sys.argv[2:])
    asyncio.run(fill(Path(sys.argv[1]), rows, inserts, time.time(), *others))
