"""Sends synthetic traffic to a running server, as a server-side application would.

`POST /track` with a token of role admin or collect: such events may lie in the past and
carry the visitor's own address and user agent. The server enriches them itself, so the
countries come from its own database, by addresses registered in the wanted country.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Mapping

import aiohttp
import msgspec

from analytics_server.demo.fill import Filled, SiteNotEmpty, check_order
from analytics_server.demo.progress import Meter
from analytics_server.demo.sessions import PlannedEvent, PlannedSession
from analytics_server.demo.traffic import TrafficOrder, planned_sessions
from analytics_server.demo.world import HOSTNAME
from analytics_server.errors import AnalyticsError, Unavailable

BATCH_EVENTS = 10_000
ATTEMPTS = 5
TIMEOUT_S = 120.0


class NotTaken(AnalyticsError):
    """The server refused what was sent."""

    code = "not_taken"


class _Site(msgspec.Struct):
    site_id: str
    timezone: str


class _Sites(msgspec.Struct):
    sites: list[_Site]


class _Answer(msgspec.Struct):
    accepted: int
    dropped: dict[str, int] = {}
    rejected: list[dict[str, object]] = []


class _Query(msgspec.Struct):
    class Row(msgspec.Struct):
        """The numbers of one row of the answer."""

        metrics: list[float | None]

    results: list[Row]


async def send(order: TrafficOrder, url: str, token: str, meter: Meter, *, add: bool) -> Filled:
    """Fill a site of the server at `url`. Raises `AnalyticsError` with what the server said."""
    check_order(order)
    headers = {"Authorization": f"Bearer {token}"}
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    try:
        async with aiohttp.ClientSession(url.rstrip("/") + "/", headers=headers, timeout=timeout) as client:
            return await _send(_Server(client), order, meter, add=add)
    except (aiohttp.ClientError, aiohttp.InvalidURL, TimeoutError) as error:
        raise Unavailable(f"The server at {url} can't be reached: {str(error) or type(error).__name__}.") from error


async def _send(server: _Server, order: TrafficOrder, meter: Meter, *, add: bool) -> Filled:
    order = msgspec.structs.replace(order, timezone=await server.prepare(order, add=add))
    started = time.perf_counter()
    encode = Encoder(order.site, order.seed)
    batch: list[dict[str, object]] = []
    sessions = events = 0
    for session in planned_sessions(order):
        beacons = encode(session)
        sessions += 1
        for beacon in beacons:
            batch.append(beacon)
            if len(batch) == BATCH_EVENTS:
                events += await server.track(batch)
                batch = []
        meter.advance(1, len(beacons))
    if batch:
        events += await server.track(batch)
    return Filled(site=order.site, sessions=sessions, events=events, seconds=time.perf_counter() - started)


class _Server:
    """What is asked of the server; `client` has its address and the token."""

    def __init__(self, client: aiohttp.ClientSession) -> None:
        self._client = client

    async def prepare(self, order: TrafficOrder, *, add: bool) -> str:
        """Make or check the site; returns its time zone."""
        status, body = await self._call("GET", "api/v1/sites")
        if status != 200:
            raise _refused(status, body)
        known = {site.site_id: site for site in msgspec.json.decode(body, type=_Sites).sites}
        site = known.get(order.site)
        if site is None:
            wanted = {"site_id": order.site, "timezone": order.timezone or "UTC"}
            status, body = await self._call("POST", "api/v1/sites", wanted)
            if status != 201:
                raise _refused(status, body)
            return wanted["timezone"]
        if not add:
            query = {"site_id": order.site, "metrics": ["events"], "date_range": "all"}
            status, body = await self._call("POST", "api/v1/query", query)
            if status != 200:
                raise _refused(status, body)
            if any(row.metrics[0] for row in msgspec.json.decode(body, type=_Query).results):
                raise SiteNotEmpty(order.site)
        if order.timezone and order.timezone != site.timezone:
            status, body = await self._call("PUT", f"api/v1/sites/{order.site}", {"timezone": order.timezone})
            if status != 200:
                raise _refused(status, body)
            return order.timezone
        return site.timezone

    async def track(self, batch: list[dict[str, object]]) -> int:
        """Send one batch, again when the server has too much to do; returns how many it kept."""
        for attempt in range(ATTEMPTS):
            status, body = await self._call("POST", "track", batch)
            if status == 202:
                answer = msgspec.json.decode(body, type=_Answer)
                if answer.rejected or answer.dropped:
                    raise NotTaken(f"The server took {answer.accepted} of {len(batch)} events: {body[:300]!r}")
                return answer.accepted
            if status not in (429, 503):
                raise _refused(status, body)
            await asyncio.sleep(2.0**attempt)
        raise _refused(status, body)

    async def _call(self, method: str, path: str, document: object = None) -> tuple[int, bytes]:
        data = None if document is None else msgspec.json.encode(document)
        async with self._client.request(
            method, path, data=data, headers={"Content-Type": "application/json"}
        ) as answer:
            return answer.status, await answer.read()


def _refused(status: int, body: bytes) -> NotTaken:
    try:
        message = msgspec.json.decode(body)["error"]["message"]
    except (msgspec.DecodeError, KeyError, TypeError):
        message = body[:200].decode("utf-8", "replace")
    return NotTaken(f"The server answered {status}: {message}")


class Encoder:
    """Sessions as the events of `POST /track`."""

    def __init__(self, site: str, seed: int) -> None:
        self._site = site
        self._rng = random.Random(f"rows {seed}")

    def __call__(self, session: PlannedSession) -> list[dict[str, object]]:
        visitor = session.visitor
        width, height = visitor.profile.screen.split("x")
        common: dict[str, object] = {
            "site": self._site,
            "session_id": session.session_id,
            "screen": {"width": int(width), "height": int(height)},
            "language": visitor.place.language,
            "ip": visitor.address,
            "user_agent": visitor.profile.user_agent,
        }
        beacons = [self._beacon(common, session, event) for event in session.events]
        beacons[0]["url"] = session.url
        if session.referrer:
            beacons[0]["referrer"] = session.referrer
        return beacons

    def _beacon(self, common: Mapping[str, object], session: PlannedSession, event: PlannedEvent) -> dict[str, object]:
        beacon = {
            **common,
            "name": event.name,
            "event_id": str(uuid.UUID(int=self._rng.getrandbits(128), version=4)),
            "timestamp": session.start_ms + event.at_ms,
            "url": f"https://{HOSTNAME}{event.page.path}",
            "title": event.page.title,
        }
        scroll, engaged, id_, tag, text, href, amount, currency, experiment, variant = event.details
        if event.user_id:
            beacon["user_id"] = event.user_id
        if scroll:
            beacon["scroll_depth"] = scroll
        if engaged:
            beacon["engagement_ms"] = engaged
        if tag:
            beacon["element"] = {"id": id_, "tag": tag, "text": text, "href": href}
        if currency:
            beacon["revenue"] = {"amount": amount, "currency": currency}
        if experiment:
            beacon["experiment"] = {"id": experiment, "variant": variant}
        if event.props:
            beacon["props"] = event.props
        return beacon
