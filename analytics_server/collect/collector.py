"""The handler of beacon requests: takes bytes and headers, and says what to answer.

It knows no web framework: a front hands it the body, the headers that matter and the
peer's address, and sends back status and body. The order is fixed: read within
bounds, decode, run the pipeline, make durable, answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter

import msgspec

from analytics_server.access.gate import Gate
from analytics_server.access.principals import Principal
from analytics_server.collect.address import network_of
from analytics_server.collect.answer import ONE, BeaconAnswer, accept, refuse
from analytics_server.collect.body import decompress
from analytics_server.collect.enrich.client_hints import BRANDS_HEADER
from analytics_server.collect.formats.beacon import Beacon, MisreadEvent, Rejection
from analytics_server.collect.formats.table import Format
from analytics_server.collect.formats.warnings import Warnings
from analytics_server.collect.formats.wire import Decoded
from analytics_server.collect.limits import RateLimiter
from analytics_server.collect.metrics import CollectMetrics
from analytics_server.collect.pace import DecompressionThrottle, is_compressed_far
from analytics_server.collect.pipeline import Note, Pipeline, note_nothing
from analytics_server.collect.rejections import OF_REQUESTS, covered
from analytics_server.collect.steps.run import Origin, Outcome, Run
from analytics_server.config import LimitsSection
from analytics_server.errors import (
    AnalyticsError,
    Forbidden,
    NotFound,
    TooLarge,
    TooManyRequests,
    WalError,
)
from analytics_server.ingest.wal.group import Waiter
from analytics_server.ingest.wal.log import Wal

EVENTS_AT_ONCE = 1_000
"""A larger batch is taken in pieces of so many events, some 15 ms each: the loop must not stand still for long."""

MAY_NOT_COLLECT = "This token may not collect: use one of the role collect or admin."
LARGE_BODY = 16_384
"""A smaller body can't hold more events than are taken at once."""

LARGE_COMPRESSED = 1_024
"""A larger compressed body of a trusted sender is decompressed by a thread: it may become 10 MiB."""


class _Request(msgspec.Struct, frozen=True):
    """One request's events, decoded."""

    beacons: list[tuple[int, Beacon]]
    origin: Origin
    rejected: list[Rejection]
    sent: int
    warnings: Warnings | None


class Collector:
    """The core of the beacon endpoints."""

    def __init__(
        self,
        pipeline: Pipeline,
        wal: Wal,
        gate: Gate,
        limits: LimitsSection,
        metrics: CollectMetrics,
        *,
        forget_ids: Callable[[list[tuple[str, bytes]]], None],
        losses: Callable[[], int],
        note: Note = note_nothing,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`note` hears of what is refused before the pipeline."""
        self._pipeline = pipeline
        self._wal = wal
        self._gate = gate
        self._limits = limits
        self._metrics = metrics
        metrics.steps = pipeline.counts
        metrics.bots = pipeline.bots
        self._forget_ids = forget_ids
        self._losses = losses
        self._note = note
        self._by_address = RateLimiter(limits.address_events_per_s, limits.limiter_addresses, clock)
        self._one_large = asyncio.Lock()
        self._pace = DecompressionThrottle()
        self._behind: list[tuple[Outcome, Waiter]] | None = None
        """While a large batch is under way: who waits until it is in the log."""

    def most_bytes(self, *, trusted: bool) -> int:
        """How large a body may be, before and after decompression."""
        return self._limits.trusted_batch_bytes if trusted else self._limits.batch_bytes

    async def collect(self, format: Format, body: bytes, headers: Mapping[str, str], address: str) -> BeaconAnswer:
        """Handle one beacon. Never raises for what a client sent."""
        try:
            principal = None
            authorization = headers.get("authorization")
            if authorization is not None:
                principal = await self.admit(authorization)
            encoding = headers.get("content-encoding")
            if principal is not None and (encoding is not None or len(body) > LARGE_BODY):
                request, outcome, written = await self._take_large(format, body, encoding, headers, address, principal)
            else:
                if encoding is None or self._wal.refusal():
                    request = self._read(format, body, encoding, headers, address, principal)
                else:
                    request = await self._read_compressed(format, body, encoding, headers, address)
                outcome = self._take(request)
                written = self._written(outcome)
            if written is not None:
                await written
            return self.kept(outcome, request.sent)
        except AnalyticsError as error:
            return self.refuse(error)

    async def admit(self, authorization: str) -> Principal:
        """Who sends this header, and may. Raises `Unauthorized` or `Forbidden`."""
        principal = self.known(authorization)
        if principal is None:
            await self._gate.freshen()
            principal = await self._gate.authenticate(authorization)
        if not principal.may_collect:
            raise Forbidden(MAY_NOT_COLLECT)
        return principal

    def known(self, authorization: str) -> Principal | None:
        """Who sends this header, if that can be told without waiting."""
        is_recent = self._gate.keep_fresh()  # a token that was revoked elsewhere ends within a second
        return self._gate.known(authorization) if is_recent else None

    def take_fast(
        self,
        format: Format,
        body: bytes,
        headers: Mapping[str, str],
        address: str,
        respond: Callable[[BeaconAnswer], None],
        principal: Principal | None = None,
    ) -> None:
        """`collect` without a coroutine: `respond` is called once, now or later. `principal`: as `known` says."""
        try:
            if principal is not None and not principal.may_collect:
                raise Forbidden(MAY_NOT_COLLECT)
            request = self._read(format, body, headers.get("content-encoding"), headers, address, principal)
            outcome, sent = self._take(request), request.sent
            if not outcome.rows and not outcome.repeated:
                respond(self.kept(outcome, sent))
                return

            def settled(error: str) -> None:
                try:
                    if error:
                        self.lost(outcome)
                        raise WalError(error)
                    answer = self.kept(outcome, sent)
                except AnalyticsError as refusal:
                    answer = refuse(refusal)
                respond(answer)

            self._append(outcome, settled)
        except AnalyticsError as error:
            respond(self.refuse(error))

    def refuse(self, error: AnalyticsError) -> BeaconAnswer:
        """The answer to a request of which nothing is taken."""
        if error.code in OF_REQUESTS:
            self._note("", error.code, 1, "", "", "")
        return refuse(error)

    def _read(
        self,
        format: Format,
        body: bytes,
        encoding: str | None,
        headers: Mapping[str, str],
        address: str,
        principal: Principal | None,
        decoded: Decoded | None = None,
    ) -> _Request:
        """Everything before the pipeline. `headers` are asked by lower-case names. Raises an `AnalyticsError`."""
        if refusal := self._wal.refusal():  # before anything is remembered of events that can't be kept
            raise WalError(refusal)
        trusted = principal is not None
        most = self.most_bytes(trusted=trusted)
        get = headers.get
        if encoding is not None:
            body = decompress(body, encoding, most)
        if len(body) > most:
            raise TooLarge(f"The body has {len(body)} bytes; {most} are allowed.")
        beacons, rejected, sent, warnings = decoded or self._decode(format, body, trusted=trusted)
        if not trusted and not self._by_address.allow(network := network_of(address), max(1, sent)):
            self._note("", TooManyRequests.code, max(1, sent), "", "", "")
            wait_s = self._by_address.wait_s(network)
            raise TooManyRequests("Too many events from this address. Send them again later.", retry_after_s=wait_s)
        origin = Origin(
            address,
            get("user-agent", ""),
            get("dnt"),
            get("sec-gpc"),
            get("sec-purpose"),
            get("purpose"),
            get("x-moz"),
            get("accept-language", ""),
            trusted,
            headers if BRANDS_HEADER in headers else None,
            not trusted and format.query_to_body is None,
        )
        if principal is not None and principal.collects_for:
            beacons, foreign = covered(beacons, principal.collects_for)
            rejected = rejected + foreign
        return _Request(beacons, origin, rejected, sent, warnings)

    def _take(self, request: _Request) -> Outcome:
        """The pipeline, in one go. Raises an `AnalyticsError`."""
        run = self._begin(request)
        outcome = run.outcome
        outcome.losses = self._losses()
        try:
            self._pipeline.go_on(run, len(run.events))
        except BaseException:
            self.lost(outcome)  # its ids must not be taken for those of events that were kept
            raise
        self._judge(outcome, request)
        return outcome

    def _begin(self, request: _Request) -> Run:
        warnings = request.warnings
        return self._pipeline.begin(request.beacons, request.origin, None if warnings is None else warnings.names)

    async def _read_compressed(
        self, format: Format, body: bytes, encoding: str, headers: Mapping[str, str], address: str
    ) -> _Request:
        """`_read` for a compressed body without a token. Raises an `AnalyticsError`."""
        plain = decompress(body, encoding, self.most_bytes(trusted=False))
        if not is_compressed_far(len(body), len(plain)):
            return self._read(format, plain, None, headers, address, None)
        async with self._pace.turn(address):
            return self._read(format, plain, None, headers, address, None)

    async def _take_large(
        self,
        format: Format,
        body: bytes,
        encoding: str | None,
        headers: Mapping[str, str],
        address: str,
        principal: Principal,
    ) -> tuple[_Request, Outcome, asyncio.Future[None] | None]:
        """What may be a large batch of a trusted sender: one at a time, so that few are decoded in memory."""
        async with self._one_large:
            if encoding is not None and len(body) > LARGE_COMPRESSED and not self._wal.refusal():
                body, encoding = (
                    await asyncio.to_thread(decompress, body, encoding, self.most_bytes(trusted=True)),
                    None,
                )
            decoded = None
            if encoding is None and len(body) <= self.most_bytes(trusted=True) and not self._wal.refusal():
                # By a thread: where each event has a fault, reading 10,000 of them takes some 0.3 s.
                decoded = await asyncio.to_thread(self._decode, format, body, trusted=True)
            request = self._read(format, body, encoding, headers, address, principal, decoded)
            if len(request.beacons) <= EVENTS_AT_ONCE:
                outcome = self._take(request)
                return request, outcome, self._written(outcome)
            await asyncio.sleep(0)
            return await self._take_in_pieces(request)

    async def _take_in_pieces(self, request: _Request) -> tuple[_Request, Outcome, asyncio.Future[None] | None]:
        """The pipeline in pieces, so that other requests do not wait for a large batch; its rows reach the log in one.

        The ids of its events are known before it is in the log: a request that repeats one is put behind it, so
        that as ever it is answered after the event it repeats has met its fate.
        """
        behind: list[tuple[Outcome, Waiter]] = []
        self._behind = behind
        try:
            outcome = await self._in_pieces(request)
            self._behind = None
            self._judge(outcome, request)
            return request, outcome, self._written(outcome)
        finally:
            self._behind = None
            for waiting, settled in behind:
                try:
                    self._wal.append(waiting.rows, settled)
                except WalError as error:
                    settled(error.message)

    async def _in_pieces(self, request: _Request) -> Outcome:
        run = self._begin(request)
        run.outcome.losses = self._losses()
        try:
            for _ in range(0, len(run.events), EVENTS_AT_ONCE):
                self._pipeline.go_on(run, EVENTS_AT_ONCE)
                await asyncio.sleep(0)
        except BaseException:
            self.lost(run.outcome)
            raise
        return run.outcome

    def _judge(self, outcome: Outcome, request: _Request) -> None:
        if request.warnings is not None:
            outcome.include(request.warnings)
        if request.rejected or outcome.rejected:
            outcome.rejected = sorted([*self._noted(request.rejected), *outcome.rejected], key=attrgetter("index"))
            self._check_whole(outcome, request.sent, trusted=request.origin.trusted)

    def _noted(self, rejected: list[Rejection]) -> Iterator[Rejection]:
        for each in rejected:
            self._note(each.site if isinstance(each, MisreadEvent) else "", each.code, 1, each.message, "", "")
            yield Rejection(each.index, each.code, each.message)

    def _written(self, outcome: Outcome) -> asyncio.Future[None] | None:
        """Done when the rows, and all that came before, are durable; raises `WalError` when they are lost.

        None when there is nothing to wait for.
        A loss is noted at once, before any other waiter is told, and also when the client has gone.
        """
        if not outcome.rows and not outcome.repeated:
            return None
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def settled(error: str) -> None:
            if error:
                self.lost(outcome)
            if written.done():
                return
            if error:
                written.set_exception(WalError(error))
            else:
                written.set_result(None)

        self._append(outcome, settled)
        return written

    def _append(self, outcome: Outcome, settled: Waiter) -> None:
        if self._behind is not None and outcome.repeated:
            self._behind.append((outcome, settled))
            return
        try:
            self._wal.append(outcome.rows, settled)
        except BaseException:
            self.lost(outcome)
            raise

    def lost(self, outcome: Outcome) -> None:
        """The rows could not be written: the client may send them again."""
        self._forget_ids(outcome.event_ids)
        self._metrics.failed += len(outcome.rows)

    def _decode(self, format: Format, body: bytes, *, trusted: bool) -> Decoded:
        limits = self._limits
        return format.decode(body, limits, max_events=limits.trusted_batch_events if trusted else limits.batch_events)

    def _check_whole(self, outcome: Outcome, sent: int, *, trusted: bool) -> None:
        """When one fault took every event, or a rate all that a page could send again: the request gets its status."""
        if outcome.unknown_sites and outcome.unknown_sites == sent:
            self._metrics.rejected += sent
            raise NotFound(outcome.rejected[0].message, code="unknown_site")
        none_taken = not outcome.rows and not outcome.repeated
        if outcome.limited and (outcome.limited == sent or (none_taken and not trusted)):
            self._metrics.rejected += sent
            first = next(one for one in outcome.rejected if one.code == TooManyRequests.code)
            raise TooManyRequests(first.message, retry_after_s=outcome.wait_s)

    def kept(self, outcome: Outcome, sent: int) -> BeaconAnswer:
        """The rows are durable (or there were none): count, and word the answer.

        A repeated event is accepted only if the one before it was written: raises `WalError`. That one was known
        when this one was taken, and its fate is decided before this is called: if nothing at all was lost since,
        it is on disk. (That its id is known now would prove nothing: it may be a later try, still to be written.)
        """
        if outcome.repeated and outcome.losses != self._losses():
            raise WalError("The event could not be written to disk. Send it again later.")
        duplicates = outcome.dropped.pop("duplicate", 0) if outcome.dropped else 0
        accepted = len(outcome.rows) + duplicates
        metrics = self._metrics
        metrics.accepted += len(outcome.rows)
        metrics.clamped += outcome.clamped
        if duplicates:
            metrics.drop("duplicate", duplicates)
        if outcome.counts is not None:
            metrics.warn(outcome.counts)
        elif sent == 1 and accepted == 1:
            return ONE
        for reason, number in outcome.dropped.items():
            metrics.drop(reason, number)
        metrics.rejected += len(outcome.rejected)
        return accept(accepted, outcome.dropped, outcome.rejected, outcome)
