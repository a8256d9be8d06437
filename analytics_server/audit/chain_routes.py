"""Whole chains of the audit log over HTTP: checked, exported, and retired where their server is gone for good.

For who manages all sites: a chain holds the entries of all of them. As long as the server runs, no command can do this
beside it with the engine in process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from analytics_server.access.actions import MANAGE_AUDIT
from analytics_server.audit.chain import known_heads
from analytics_server.audit.export import export_lines
from analytics_server.audit.log import AuditLog
from analytics_server.audit.moments import EARLIEST, LATEST, parse_moment
from analytics_server.audit.retiring import Retired, RetiredChain, retire_in_turn, shown_retired
from analytics_server.audit.seals import SealKey
from analytics_server.audit.verify import VerifyReport, verify
from analytics_server.errors import Conflict, RequestError, Unavailable
from analytics_server.http.audit import AuditEntry
from analytics_server.http.declaration import Body, Parameter, Reply
from analytics_server.http.endpoint import Call, Endpoint
from analytics_server.http.parameters import known_values
from analytics_server.http.streams.pieces import send_pieces
from analytics_server.store.protocol import Store

NDJSON = "application/x-ndjson"
BROKEN = "broken_chain"
_RETIRE = "retire_audit_chain"
_RANGE = (
    Parameter(name="from", about="The first moment or day, UTC if no offset is given; all if left out."),
    Parameter(name="to", about="The end: a moment is left out, a day is included; now if left out."),
)


class RetireRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which chain. `accept_broken`: also if it is not as it was written."""

    chain: Annotated[str, Meta(min_length=1, max_length=128)]
    accept_broken: bool = False


class ExportRange(msgspec.Struct, frozen=True, kw_only=True):
    """From when to when."""

    start: datetime
    end: datetime


class ChainRoutes:
    """Handlers. `key`: that of this data directory's seals, made where there is none; raises `OSError`."""

    def __init__(
        self,
        store: Store,
        log: AuditLog,
        *,
        data_dir: Path,
        keep_days: int,
        key: Callable[[], Awaitable[SealKey]],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._log = log
        self._data_dir = data_dir
        self._keep_days = keep_days
        self._make_key = key
        self._clock = clock
        self._checking = asyncio.Lock()

    def endpoints(self) -> list[Endpoint]:
        """The declarations."""
        return [
            Endpoint(
                method="POST",
                path="/api/v1/privacy/audit/verify",
                name="verify_audit",
                summary="Check every chain of the audit log",
                tag="privacy",
                about="What `analytics-server audit verify` says, of all chains that are stored. The ends of those"
                " whose heads lie in this server's data directory are checked too. One check at a time; a million"
                " entries take some ten seconds.",
                action=MANAGE_AUDIT,
                handle=self.verify,
                replies=(Reply(about="Each chain, with its first wrong entry.", type=VerifyReport),),
                errors={409: ("verify_under_way",), 503: ("seal_key_unreadable",)},
                asks_store=True,
                is_question=True,
            ),
            Endpoint(
                method="GET",
                path="/api/v1/privacy/audit/export",
                name="export_audit",
                summary="All entries of the audit log as they were hashed, chain by chain",
                tag="privacy",
                about="One entry a line, with its `hash`: from that the chains can be checked without this program.",
                action=MANAGE_AUDIT,
                handle=self.export,
                parse=_range,
                parameters=_RANGE,
                replies=(Reply(about="The entries, streamed.", formats=(NDJSON,)),),
                errors={400: ("bad_date_range", "unknown_key")},
                asks_store=True,
            ),
            Endpoint(
                method="POST",
                path="/api/v1/privacy/audit/retire",
                name=_RETIRE,
                summary="Remove the chain of a server that is gone for good",
                tag="privacy",
                about="Of another data directory, once its newest entry is older than `[privacy] audit_retention_days`."
                " It is checked and sealed before. It can't be undone.",
                action=MANAGE_AUDIT,
                handle=self.retire,
                body=Body(
                    types=(RetireRequest,),
                    examples={"gone": {"chain": "0123456789abcdef", "accept_broken": False}},
                ),
                replies=(Reply(about="Its last entry, and what was wrong with it.", type=RetiredChain),),
                errors={
                    404: ("unknown_chain",),
                    409: ("audit_cut_under_way", BROKEN, "cannot_retire"),
                    503: ("seal_key_unreadable",),
                },
                asks_store=True,
            ),
        ]

    async def verify(self, call: Call[None]) -> VerifyReport:
        """The report. Raises `Conflict`, `Unavailable`, a store error."""
        if self._checking.locked():
            raise Conflict(
                "The audit log is being checked already: ask again when that is done.", code="verify_under_way"
            )
        async with self._checking:
            await self._log.write()
            heads = await asyncio.to_thread(known_heads, self._data_dir)
            report = await verify(self._store, heads, key=await self._key())
        call.trail.rows = report.entries
        if not report.ok:
            call.trail.outcome = BROKEN
        return report

    async def export(self, call: Call[ExportRange]) -> web.StreamResponse:
        """The entries, streamed. Raises a store error."""
        await self._log.write()
        headers = {"Content-Type": NDJSON, "Content-Disposition": 'attachment; filename="audit.ndjson"'}
        return await send_pieces(call.request, export_lines(self._store, call.body.start, call.body.end), headers)

    async def retire(self, call: Call[RetireRequest]) -> RetiredChain:
        """Remove a chain; an entry of state `begun` stands in front of that. Raises what `retire_in_turn` raises."""
        wanted, trail = call.body, call.trail
        trail.resource = wanted.chain

        def begun(retired: Retired) -> AuditEntry:
            trail.details |= retired.details()
            entry = trail.entry(MANAGE_AUDIT.name, _RETIRE, trail.outcome)
            return msgspec.structs.replace(entry, details={**trail.details, "state": "begun"})

        retired = await retire_in_turn(
            self._store,
            self._log,
            wanted.chain,
            now=self._clock(),
            keep_days=self._keep_days,
            key=await self._key(),
            own={head.server for head in await asyncio.to_thread(known_heads, self._data_dir)},
            server=self._log.head.server,
            entry=begun,
            accept_broken=wanted.accept_broken,
        )
        return shown_retired(retired)

    async def _key(self) -> SealKey:
        try:
            return await self._make_key()
        except OSError as error:
            raise Unavailable(
                f"The key of the audit log's seals can't be read or made: {error.strerror or error}.",
                code="seal_key_unreadable",
            ) from error


def _range(request: web.Request) -> ExportRange:
    given = known_values(request, *(parameter.name for parameter in _RANGE))
    start = parse_moment(given["from"], "from") if given["from"] else EARLIEST
    end = parse_moment(given["to"], "to", is_end=True) if given["to"] else LATEST
    if start >= end:
        raise RequestError("from must be before to.", code="bad_date_range")
    return ExportRange(start=start, end=end)
