"""A small, exactly known traffic of one site: yesterday and today."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from tests.server import Client, wait_for

SITE = "shop.example"

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
)
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0"


@dataclass(slots=True)
class Traffic:
    """Three sessions now (two from Google) and one, from Bing, a day ago."""

    events: list[dict[str, object]] = field(default_factory=list)

    def __post_init__(self) -> None:
        now = int(time.time() * 1_000)
        google, bing = "https://www.google.com/", "https://www.bing.com/"
        self._session("1", now, CHROME, "10.0.0.1", google, ["/", "/pricing", "/docs"])
        self._session("2", now, FIREFOX, "10.0.0.2", google, ["/"])
        self._session("3", now, FIREFOX, "10.0.0.3", "", ["/", "/pricing"])
        self._session("4", now - 86_400_000, CHROME, "10.0.0.4", bing, ["/old"])
        self.events.append({**self.events[2], "name": "signup", "event_id": None})
        self.events = [{key: value for key, value in event.items() if value is not None} for event in self.events]

    def _session(self, name: str, at: int, agent: str, address: str, referrer: str, paths: list[str]) -> None:
        self.events.extend(
            {
                "site": SITE,
                "name": "pageview",
                "url": f"https://{SITE}{path}",
                "referrer": referrer,
                "session_id": f"session-{name}",
                "timestamp": at,
                "ip": address,
                "user_agent": agent,
                "screen": {"width": 1440, "height": 900},
            }
            for path in paths
        )


async def measured(client: Client, site: str, events: int) -> None:
    """Wait until so many events of the site can be queried."""

    async def there() -> bool:
        return await client.count(site) >= events

    await wait_for(there, what=f"{events} events of {site}")
