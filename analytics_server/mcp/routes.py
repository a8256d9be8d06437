"""`POST /mcp`: the Model Context Protocol over Streamable HTTP, and the endpoints that its tools ask within a request.

Two endpoints don't answer in one piece: SQL streams, and the live numbers are a socket. In their place stand the same
endpoints with handlers that do. Those that change something are asked by the action `provision`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from aiohttp import web

from analytics_server.access.actions import LIST_SITES, PROVISION
from analytics_server.config import Config
from analytics_server.errors import NotFound, TooLarge
from analytics_server.http.audit import Recorder
from analytics_server.http.authorization import Action, Authorizer
from analytics_server.http.body import BodyLimits
from analytics_server.http.declaration import Body, Reply
from analytics_server.http.endpoint import Call, Endpoint, SiteFrom, for_tokens
from analytics_server.http.parameters import single_values
from analytics_server.http.routing.routes import inner_handler
from analytics_server.http.security.host_check import HostCheck
from analytics_server.http.security.session_cookie import SessionCookies
from analytics_server.http.streams.row_tally import RowTally
from analytics_server.live.socket import LiveSockets
from analytics_server.mcp.messages import METHOD_NOT_FOUND, Answered, Message
from analytics_server.mcp.service import REFUSED, McpService
from analytics_server.mcp.toolbox import Toolbox
from analytics_server.mcp.tools import CHANGING_TOOLS, READING_TOOLS
from analytics_server.model import stored_site_id
from analytics_server.sql.service import SqlRequest, SqlService

PATH = "/mcp"
WIDEST = 16
"""How many times as many bytes as an answer may have SQL may give before the rows are cut."""


def endpoints(
    config: Config,
    others: Iterable[Endpoint],
    authorizer: Authorizer[Any],
    recorder: Recorder,
    sql: SqlService,
    live: LiveSockets,
    hosts: HostCheck,
) -> list[Endpoint]:
    """The endpoint, unless the configuration has none. `others`: all others of this server."""
    if not config.mcp.enabled:
        return []
    cookies = SessionCookies(config.server.public_url)
    asked = {tool.endpoint: tool.changes for tool in (*READING_TOOLS, *CHANGING_TOOLS)}
    found = [_inner(each, asked[each.name], config, sql, live) for each in others if each.name in asked]
    handlers = {each.name: (each, inner_handler(each, authorizer, recorder, cookies)) for each in found}
    script = config.server.public_url.rstrip("/") + config.tracker.script_path
    service = McpService(Toolbox(handlers, config.mcp, script), cookies, hosts)
    most = config.limits.query_bytes
    return [
        Endpoint(
            method="POST",
            path=PATH,
            name="ask_assistant",
            summary="The Model Context Protocol: questions by AI assistants",
            tag="query",
            about="One JSON-RPC message of the protocol's Streamable HTTP, without a session; notifications are"
            " answered with 202. docs/mcp.md lists the tools.",
            action=LIST_SITES,
            handle=service.answer,
            narrow=for_tokens,
            is_question=True,
            reading=BodyLimits(
                most_bytes=most,
                too_large=f"A message may have {most} bytes at most ([limits] query_bytes).",
                decode=lambda body, kind: body,
            ),
            body=Body(
                types=(Message,),
                examples={
                    "tools": {"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
                    "sources": {
                        "jsonrpc": "2.0",
                        "id": 2,
                        "method": "tools/call",
                        "params": {"name": "list_sites", "arguments": {}},
                    },
                },
            ),
            replies=(
                Reply(about="The message's result, or its error.", type=Answered),
                Reply(status=202, about="A notification was taken."),
                Reply(status=400, about="What is no message, or of an unknown version.", type=Answered),
                Reply(status=404, about="An unknown method, with the version 2026-07-28.", type=Answered),
            ),
            errors={400: tuple(map(str, REFUSED)), 404: (str(METHOD_NOT_FOUND),)},
        )
    ]


def _inner(endpoint: Endpoint, changes: bool, config: Config, sql: SqlService, live: LiveSockets) -> Endpoint:
    """The endpoint as a tool asks it."""
    if endpoint.name == "sql":
        return replace(endpoint, handle=_sql_in_one_piece(config, sql))
    if endpoint.name == "watch_live":
        return replace(endpoint, serve=None, handle=_snapshot(live), site=SiteFrom.HANDLER)
    if changes and endpoint.changes:
        assert isinstance(endpoint.action, Action)
        return replace(endpoint, action=replace(PROVISION, resource=endpoint.action.resource))
    return endpoint


def _sql_in_one_piece(config: Config, sql: SqlService) -> Callable[[Call[SqlRequest]], Any]:
    most_rows, most_bytes = config.mcp.rows, WIDEST * config.mcp.answer_bytes

    async def answer(call: Call[SqlRequest]) -> web.Response:
        pieces, size, tally = [], 0, RowTally("json")
        asked, who = call.body, call.caller.token_id
        async for piece in sql.run(asked, "json", token_id=who, most_rows=most_rows, tally=tally):
            size += len(piece)
            if size > most_bytes:
                raise TooLarge("The rows are too wide for an assistant: select fewer or shorter columns.")
            pieces.append(piece)
        call.trail.rows = tally.rows
        return web.Response(body=b"".join(pieces))

    return answer


def _snapshot(live: LiveSockets) -> Callable[[Call[None]], Any]:
    async def answer(call: Call[None]) -> web.Response:
        site_id = stored_site_id(single_values(call.request).get("site_id", ""))
        call.authorize(site_id)
        found = live.snapshot_of(site_id)
        if found is None:
            raise NotFound(f"There is no site {site_id!r}.", code="unknown_site")
        return web.Response(body=found.encode())

    return answer
