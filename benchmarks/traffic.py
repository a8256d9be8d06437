"""Beacons as browsers send them: pages, events, user agents, addresses, all by seed.

A request is cut into parts so that the load generator can put in, each time, a fresh
`event_id` (the tracker sends one, and a repeated one counts once) and a fresh third
number of the address (each round over the requests is made by new visitors, so the
share of beacons that begin a session stays what it is on a real site: about one in four).
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence

import msgspec

from analytics_server.demo.profiles import Profile, load_profiles

SITE = "bench.example"
EVENTS_PER_VISITOR = 4
REFERRERS = (
    *("",) * 5,
    *("https://www.google.com/",) * 6,
    "https://www.bing.com/",
    "https://duckduckgo.com/",
    "https://t.co/aB3dE",
    "https://news.ycombinator.com/item?id=41000000",
    "https://www.reddit.com/r/selfhosted/comments/1abcd/a_thread/",
    "https://www.linkedin.com/feed/",
    "https://chatgpt.com/",
    "https://blog.example.net/review?utm_noise=1",
)
CAMPAIGNS = (
    *("",) * 8,
    "?utm_source=newsletter&utm_medium=email&utm_campaign=november",
    "?utm_source=google&utm_medium=cpc&utm_campaign=brand&gclid=EAIaIQobChMI",
)
PAGES = 400


class Template(msgspec.Struct, frozen=True):
    """A request's parts: `X-Forwarded-For` is `address[0] + round + address[1]`, the body `body[0] + id + body[1]`."""

    user_agent: str
    language: str
    address: tuple[str, str]
    body: tuple[str, str]


_ID = "@event_id@"


def templates(count: int, seed: int = 1) -> list[Template]:
    """`count` single beacons in the order they are sent; events of one visitor stay in order."""
    draw = random.Random(seed)
    profiles = load_profiles()
    weights = [profile.weight for profile in profiles]
    placed: list[tuple[float, Template]] = []
    while len(placed) < count:
        profile = draw.choices(profiles, weights)[0]
        address = (f"{draw.choice(_FIRST)}.{draw.randrange(256)}.", f".{draw.randrange(1, 255)}")
        begins = draw.random()
        for index, event in enumerate(_session(draw, profile)):
            body = msgspec.json.encode(event).decode().split(_ID)
            template = Template(profile.user_agent, profile.language, address, (body[0], body[1]))
            placed.append((begins + index * 0.002, template))
    placed.sort(key=lambda item: item[0])
    return [template for _, template in placed[:count]]


def batches(count: int, events: int, *, server_side: bool, seed: int = 1) -> list[tuple[str, bytes]]:
    """(user agent, body) of `count` arrays of `events` events, every `event_id` fresh.

    `server_side`: events of many visitors with their own `ip` and `user_agent`, as an
    application's server sends them; else all of one browser.
    """
    draw = random.Random(seed)
    profiles = load_profiles()
    weights = [profile.weight for profile in profiles]
    encode = msgspec.json.Encoder().encode
    made = []
    for _ in range(count):
        found: list[dict[str, object]] = []
        profile = draw.choices(profiles, weights)[0]
        while len(found) < events:
            if server_side:
                profile = draw.choices(profiles, weights)[0]
                address = f"{draw.choice(_FIRST)}.{draw.randrange(256)}.{draw.randrange(256)}.{draw.randrange(1, 255)}"
            for event in _session(draw, profile):
                event["event_id"] = str(uuid.UUID(int=draw.getrandbits(128), version=4))
                if server_side:
                    event["ip"], event["user_agent"] = address, profile.user_agent
                found.append(event)
        made.append((profile.user_agent, encode(found[:events])))
    return made


_FIRST = [number for number in range(1, 224) if number not in (10, 100, 127, 169, 172, 192, 198, 203)]


def _session(draw: random.Random, profile: Profile) -> Sequence[dict[str, object]]:
    """The events of one session, in order: page views, and what the tracker reports beside them."""
    width, height = map(int, profile.screen.split("x"))
    events: list[dict[str, object]] = []
    pages = 1 + min(7, int(draw.expovariate(0.8)))
    for index in range(pages):
        number = int(PAGES * draw.random() ** 3)
        path = "/" if number == 0 else f"/articles/{number}/how-to-brew-better-coffee-{number}"
        url = "https://www.bench.example" + path + (draw.choice(CAMPAIGNS) if index == 0 else "")
        common: dict[str, object] = {
            "site": SITE,
            "event_id": _ID,
            "title": f"How to brew better coffee, part {number} – Bench Roasters",
            "screen": {"width": width, "height": height},
            "language": profile.language,
            "url": url,
        }
        view = {**common, "name": "pageview"}
        if index == 0 and (referrer := draw.choice(REFERRERS)):
            view["referrer"] = referrer
        events.append(view)
        if draw.random() < 0.6:
            seconds = draw.randrange(1_000, 90_000)
            events.append(
                {**common, "name": "engagement", "engagement_ms": seconds, "scroll_depth": draw.randrange(101)}
            )
        if draw.random() < 0.15:
            element = {"id": "signup", "tag": "button", "text": "Sign up", "href": "https://www.bench.example/signup"}
            events.append({**common, "name": "click", "element": element})
        if draw.random() < 0.1:
            events.append(
                {**common, "name": "signup", "props": {"plan": draw.choice("abc"), "seats": 3, "trial": True}}
            )
    return events
