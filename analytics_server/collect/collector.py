"""Takes a beacon request as bytes and headers, and says what to answer.

It knows no web framework: a front hands it the body, the headers that matter and the
peer's address, and sends back status and body. The order is fixed: read within
bounds, decode, run the pipeline, make durable, tell the live hub, answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from analytics_server.access.gate import Gate
from analytics_server.collect.body import decompress
from analytics_server.collect.limits import RateLimiter
from analytics_server.collect.metrics import CollectMetrics
from analytics_server.collect.payload import Beacon, Decoded, Rejection, decode_client_batch, decode_interaction
from analytics_server.collect.payload import decode_track, decode_view
from analytics_server.collect.pipeline import Origin, Outcome, Pipeline
from analytics_server.config import LimitsSection
from analytics_server.errors import AnalyticsError, Forbidden, NotFound, RequestError, TooLarge, TooManyRequests
from analytics_server.errors import WalError
from analytics_server.ingest.wal import Wal
from analytics_server.model import Row

Kind = Literal["track", "view", "interaction", "batch", "pixel"]
ACCEPTED_ONE = b'{"accepted":1,"dropped":{},"rejected":[]}'

_encode_row = msgspec.msgpack.Encoder().encode
_encode_json = msgspec.json.Encoder().encode


class Answer(msgspec.Struct, frozen=True):
    """What the front sends back."""

    status: int
    body: bytes
    retry_after_s: int | None = None


class _Accepted(msgspec.Struct, frozen=True):
    accepted: int
    dropped: dict[str, int]
    rejected: list[Rejection]


_ONE = Answer(202, ACCEPTED_ONE)


class Collector:
    """The core of the beacon endpoints. `on_rows` hears of rows once they are durable."""

    def __init__(
        self,
        pipeline: Pipeline,
        wal: Wal,
        gate: Gate,
        limits: LimitsSection,
        metrics: CollectMetrics,
        *,
        on_rows: Callable[[list[Row]], None],
        forget_ids: Callable[[list[tuple[str, bytes]]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pipeline = pipeline
        self._wal = wal
        self._gate = gate
        self._limits = limits
        self._metrics = metrics
        self._on_rows = on_rows
        self._forget_ids = forget_ids
        self._by_address = RateLimiter(limits.address_events_per_s, limits.limiter_addresses, clock)

    def most_bytes(self, *, trusted: bool) -> int:
        """How large a body may be, before and after decompression."""
        return self._limits.trusted_batch_bytes if trusted else self._limits.batch_bytes

    async def collect(self, kind: Kind, body: bytes, headers: Mapping[str, str], address: str) -> Answer:
        """Handle one beacon. Never raises for what a client sent."""
        try:
            return await self._collect(kind, body, headers, address)
        except AnalyticsError as error:
            return refuse(error)

    async def _collect(self, kind: Kind, body: bytes, headers: Mapping[str, str], address: str) -> Answer:
        authorization = headers.get("Authorization")
        trusted = False
        if authorization is not None:
            principal = self._gate.known(authorization) or await self._gate.authenticate(authorization)
            if not principal.may_collect:
                raise Forbidden("This token may not collect: use one of the role collect or admin.")
            trusted = True
        most = self.most_bytes(trusted=trusted)
        encoding = headers.get("Content-Encoding")
        if encoding is not None:
            body = decompress(body, encoding, most)
        if len(body) > most:
            raise TooLarge(f"The body has {len(body)} bytes; {most} are allowed.")
        beacons, rejected, sent = self._decode(kind, body, trusted=trusted, most=most)
        if not trusted and not self._by_address.allow(address, max(1, sent)):
            raise TooManyRequests("Too many events from this address. Send them again later.")
        origin = Origin(
            address,
            headers.get("User-Agent", ""),
            headers.get("DNT"),
            headers.get("Sec-GPC"),
            headers.get("Sec-Purpose"),
            headers.get("Purpose"),
            headers.get("X-Moz"),
            headers.get("Accept-Language", ""),
            trusted,
        )
        if authorization is not None and principal.sites:
            beacons, foreign = _covered(beacons, principal.sites)
            rejected = rejected + foreign
        outcome = self._pipeline.run(beacons, origin)
        if rejected:
            outcome.rejected = sorted(rejected + outcome.rejected, key=_by_index)
        self._check_whole(outcome, sent)
        if outcome.rows:
            await self._keep(outcome)
        return self._answer(outcome, sent)

    def _decode(self, kind: Kind, body: bytes, *, trusted: bool, most: int) -> Decoded:
        limits = self._limits
        max_events = limits.trusted_batch_events if trusted else limits.batch_events
        if kind in ("track", "pixel"):
            return decode_track(body, limits, max_events=max_events, max_bytes=most)
        if kind == "batch":
            return decode_client_batch(body, max_events=max_events)
        if len(body) > limits.event_bytes:
            raise TooLarge(f"One event may have {limits.event_bytes} bytes; this one has {len(body)}.")
        return decode_view(body) if kind == "view" else decode_interaction(body)

    def _check_whole(self, outcome: Outcome, sent: int) -> None:
        """When one fault took every event, the request as a whole gets its status."""
        if outcome.unknown_sites and outcome.unknown_sites == sent:
            self._metrics.rejected.inc(sent)
            raise NotFound(outcome.rejected[0].message, code="unknown_site")
        if outcome.limited and outcome.limited == sent:
            self._metrics.rejected.inc(sent)
            raise TooManyRequests(outcome.rejected[0].message)

    async def _keep(self, outcome: Outcome) -> None:
        rows = outcome.rows
        try:
            await self._wal.append([_encode_row(row) for row in rows], len(rows))
        except WalError:
            self._forget_ids(outcome.event_ids)
            self._metrics.failed.inc(len(rows))
            raise
        except asyncio.CancelledError:
            raise  # the client went away; whether the rows are durable is not known, so ids stay remembered
        self._on_rows(rows)

    def _answer(self, outcome: Outcome, sent: int) -> Answer:
        duplicates = outcome.dropped.pop("duplicate", 0)
        accepted = len(outcome.rows) + duplicates
        metrics = self._metrics
        if outcome.rows:
            metrics.accepted.inc(len(outcome.rows))
        if duplicates:
            metrics.dropped.labels("duplicate").inc(duplicates)
        if outcome.clamped:
            metrics.clamped.inc(outcome.clamped)
        if sent == 1 and accepted == 1:
            return _ONE
        if outcome.dropped:
            for reason, number in outcome.dropped.items():
                metrics.dropped.labels(reason).inc(number)
                metrics.dropped_events.inc(number)
        if outcome.rejected:
            metrics.rejected.inc(len(outcome.rejected))
        return Answer(202, _encode_json(_Accepted(accepted, outcome.dropped, outcome.rejected)))


def refuse(error: AnalyticsError) -> Answer:
    """The answer for an error of the house."""
    body = _encode_json({"error": {"code": error.code, "message": error.message}})
    return Answer(error.status, body, error.retry_after_s)


def pixel_body(query: Mapping[str, str], referer: str | None) -> bytes:
    """The event a pixel's query string stands for, as JSON. Raises `RequestError`."""
    site = query.get("site")
    if not site:
        raise RequestError("The pixel needs ?site=… in its address.", code="missing_site")
    event: dict[str, str] = {"site": site, "name": query.get("name") or "pageview"}
    url = query.get("url") or referer
    if url:
        event["url"] = url
    for key in ("referrer", "title", "session_id", "user_id", "event_id"):
        if value := query.get(key):
            event[key] = value
    return _encode_json(event)


def _covered(beacons: list[tuple[int, Beacon]], sites: tuple[str, ...]) -> tuple[list[tuple[int, Beacon]], list[Rejection]]:
    """Events of the token's own sites, and rejections for the others."""
    good = [(index, beacon) for index, beacon in beacons if beacon.site.strip().lower() in sites]
    bad = [
        Rejection(index, "forbidden_site", "This token does not cover the event's site.")
        for index, beacon in beacons
        if beacon.site.strip().lower() not in sites
    ]
    return good, bad


def _by_index(rejection: Rejection) -> int:
    return rejection.index
