"""One parsed request: its text, parameters, settings, and the form of its answer."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from aiohttp import web

from analytics_server.clickhouse.failures import TRUE
from analytics_server.clickhouse.formats import CLAUSE_CHARS, DEFAULT, known_format, without_format
from analytics_server.clickhouse.settings import Settings, read_settings
from analytics_server.config import LimitsSection
from analytics_server.errors import RequestError
from analytics_server.http.body import read_within
from analytics_server.http.parameters import single_values
from analytics_server.sql.guard import Guard

FORMAT_HEADER = "X-ClickHouse-Format"
DATABASE_HEADER = "X-ClickHouse-Database"
MOST_ID_CHARS = 128
WHOLE = ("wait_end_of_query", "http_wait_end_of_query")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClickHouseQuery:
    """What a client wants. `text` is without its FORMAT clause; `revision` is the client's, of the format Native.

    `wants_blocks`: packed in ClickHouse's own way. `is_whole`: nothing is to be sent before the answer's end.
    """

    text: str
    database: str
    format: str
    params: dict[str, str]
    settings: Settings
    query_id: str
    revision: int = 0
    wants_gzip: bool = False
    wants_blocks: bool = False
    is_whole: bool = False


async def read_query(request: web.Request, limits: LimitsSection, guard: Guard) -> ClickHouseQuery:
    """The request, body included. A text that the guard would find too long is not read. Raises `RequestError`."""
    given = single_values(request)
    if request.content_type.startswith("multipart/"):
        raise RequestError("Forms can't be read here: send the query as the body, parameters in the address.")
    body = await read_within(
        request,
        limits.query_bytes,
        f"A query may have {limits.query_bytes} bytes at most ([limits] query_bytes).",
    )
    try:
        written = body.decode()
    except UnicodeDecodeError as error:
        raise RequestError("The query is not UTF-8.", code="bad_body") from error
    whole = "\n".join(part for part in (given.get("query", ""), written) if part.strip())
    guard.check_size(whole, spare=CLAUSE_CHARS)
    text, format_ = without_format(whole)
    wished = given.get("default_format", "") or request.headers.get(FORMAT_HEADER, "") or DEFAULT
    revision = given.get("client_protocol_version", "0")
    return ClickHouseQuery(
        text=text,
        database=given.get("database", "") or request.headers.get(DATABASE_HEADER, ""),
        format=format_ or known_format(wished),
        params={name.removeprefix("param_"): value for name, value in given.items() if name.startswith("param_")},
        settings=read_settings(given),
        query_id=_query_id(given.get("query_id", "")),
        revision=int(revision) if revision.isascii() and revision.isdigit() and len(revision) < 10 else 0,
        wants_blocks=given.get("compress") in TRUE,
        is_whole=any(given.get(name) in TRUE for name in WHOLE),
        wants_gzip=given.get("enable_http_compression") in TRUE
        and "gzip" in request.headers.get("Accept-Encoding", "").lower(),
    )


def _query_id(given: str) -> str:
    """The client's own id, if a header can hold it, or a new one."""
    fits = 0 < len(given) <= MOST_ID_CHARS and given.isascii() and given.isprintable()
    return given if fits else str(uuid.uuid4())
