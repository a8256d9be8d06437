"""Streams a file of events: the rows come from ClickHouse in the file's format and are passed on as they come."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from analytics_server.analyses.event_files.request import FORMATS, EventsRequest
from analytics_server.analyses.event_files.statement import select_rows
from analytics_server.errors import RequestError, StoreError, TooManyRequests, Unavailable
from analytics_server.http.streams.csv_cells import HarmlessCells
from analytics_server.http.streams.row_tally import RowTally
from analytics_server.model import COLUMN_NAMES, Site
from analytics_server.profiles.refusal import FORBIDDEN
from analytics_server.profiles.tables import profile_of
from analytics_server.query.context import SETTINGS, QueryContext
from analytics_server.query.language.filters import parse_filters
from analytics_server.query.parameters import TEXT, Binder
from analytics_server.query.sql.select import print_sql
from analytics_server.store.error_codes import EngineCode
from analytics_server.store.protocol import Settings

MB = 1024 * 1024

_FORMAT_SETTINGS: Settings = {
    "output_format_json_quote_64bit_integers": 1,  # JavaScript can't hold them
    "output_format_json_quote_decimals": 0,
    "date_time_output_format": "iso",
    "output_format_parquet_compression_method": "zstd",
    "output_format_parquet_row_group_size": 65_536,  # what is held in memory before it is written
    "max_threads": 2,
    "wait_end_of_query": 1,  # a server's error may come late, and must not look like an end
    "max_block_size": 8_192,
    "optimize_read_in_order": 1,
}


class EventFiles:
    """Files of events, few of which are written at once: `[limits] export_files`, one less of a site and of a token."""

    def __init__(self, context: QueryContext) -> None:
        self._context = context
        self._at_once = context.limits.export_files
        self._running: Counter[str] = Counter()
        self._of_tokens: Counter[str] = Counter()

    async def write(
        self, request: EventsRequest, *, token_id: str = "", tally: RowTally | None = None
    ) -> AsyncGenerator[bytes, None]:
        """The file in pieces; `tally` counts its rows.

        Raises `RequestError`, `NotFound`, `TooManyRequests`, `Unavailable` or a store error."""
        context = self._context
        site = context.site(request.site_id)
        where = parse_filters(request.filters, context.library(request.site_id))
        context.check_profile(site, where)
        await context.check_patterns(where)
        columns = columns_of(site, request.columns)
        range_, _ = await context.range_of(site, request.date_range)
        binder = Binder()
        binder.name("site", site.site_id, TEXT)
        binder.moment("start", range_.start)
        binder.moment("end", range_.end)
        statement = print_sql(select_rows(columns, where, binder, as_csv=request.format == "csv"))
        cells = HarmlessCells() if request.format == "csv" and not request.raw_csv else None
        self._begin(site.site_id, token_id)
        try:
            pieces = context.store.stream(
                statement,
                binder.values,
                format=FORMATS[request.format][0],
                settings={**SETTINGS, **_FORMAT_SETTINGS, "max_memory_usage": context.limits.export_memory_mb * MB},
                timeout_s=context.limits.export_timeout_s,
            )
            head = _csv_head(columns) if request.format == "csv" else b""
            async with aclosing(pieces):
                async for piece in pieces:  # the status is sent with the first piece: not before the engine has begun
                    if tally is not None:
                        tally.feed(piece)
                    if ready := head + (cells.feed(piece) if cells else piece):
                        yield ready
                    head = b""
            if last := head + (cells.end() if cells else b""):
                yield last
        except StoreError as error:
            if error.engine_code != EngineCode.MEMORY_LIMIT_EXCEEDED:
                raise
            raise RequestError(
                "The file needs more memory than it may use ([limits] export_memory_mb): ask for fewer days, or without"
                " filters on entry and exit pages.",
                code="too_much_memory",
            ) from error
        finally:
            self._running[site.site_id] -= 1
            self._of_tokens[token_id] -= 1
            if not self._of_tokens[token_id]:
                del self._of_tokens[token_id]

    def _begin(self, site_id: str, token_id: str) -> None:
        """Take a place. `token_id` "": of no token, which is not counted."""
        most = max(1, self._at_once - 1)
        of_token = self._of_tokens[token_id] if token_id else 0
        for running, holder in ((self._running[site_id], "site"), (of_token, "token")):
            if running >= most:
                raise TooManyRequests(
                    f"{running} files of this {holder} are being written ([limits] export_files): ask again when"
                    " one has ended.",
                    code="too_many_queries",
                )
        if self._running.total() >= self._at_once:
            raise Unavailable(
                f"{self._at_once} files are being written already ([limits] export_files): ask again soon.", code="busy"
            )
        self._running[site_id] += 1
        self._of_tokens[token_id] += 1


def _csv_head(columns: Sequence[str]) -> bytes:
    return ",".join(f'"{name}"' for name in columns).encode() + b"\n"


def columns_of(site: Site, asked: Sequence[str] | None) -> list[str]:
    """The columns of a file. Raises `RequestError` where one was named that the site's profile forbids."""
    hidden = profile_of(site.profile).hidden_columns
    if asked is None:
        return [name for name in COLUMN_NAMES if name not in hidden]
    for name in asked:
        if name in hidden:
            raise RequestError(
                f"The column {name!r} is forbidden by the site's profile {site.profile!r}: leave it out.",
                code=FORBIDDEN,
            )
    return list(asked)
