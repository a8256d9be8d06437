"""Beacons of every fate that the metrics of `/metrics` tell apart."""

from __future__ import annotations

from typing import Any

from tests.server import Client

SITE = "shop.example"
CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"


async def send_traffic(client: Client) -> None:
    """One that is kept, one of a bot, one with warnings, one that is rejected."""
    event: dict[str, Any] = {"site": SITE, "name": "pageview", "url": f"https://{SITE}/"}
    for sent in (
        {**event, "user_agent": CHROME},
        {**event, "user_agent": "Googlebot/2.1 (+http://www.google.com/bot.html)"},
        {**event, "user_agent": CHROME, "timestamp": "2031-01-01T00:00:00Z", "props": {"a": {}}, "screen": 7},
        {"site": SITE},
    ):
        await client.send({"events": [sent]}, trusted=True)
