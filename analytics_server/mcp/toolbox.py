"""The tools of one server, each over its endpoint: which of them a caller has, and calling one.

Reading is for everyone who may read. What changes anything is there only for a token that names the scope `provision`:
an admin's own rights are not enough, so that no assistant gets them by the way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import msgspec
from aiohttp import web
from yarl import URL

from analytics_server.access.actions import PROVISION
from analytics_server.access.principals import Principal
from analytics_server.config import McpSection
from analytics_server.errors import AnalyticsError
from analytics_server.http.endpoint import Call, Endpoint, InnerHandler, InnerQuestion
from analytics_server.mcp.answers import DECODER, failed_result, tool_result
from analytics_server.mcp.arguments import SitesArguments
from analytics_server.mcp.messages import INVALID_PARAMS, SHOWN_CHARS, Json, RpcError
from analytics_server.mcp.schemas import input_schema
from analytics_server.mcp.tools import CHANGING_TOOLS, READING_TOOLS, Tool, ToolCall
from analytics_server.query.dimensions import DIMENSIONS
from analytics_server.query.language.request import decode_request
from analytics_server.query.metrics import METRICS


@dataclass(frozen=True, slots=True)
class _Bound:
    """A tool with its endpoint, how that is asked, and how the tool is listed."""

    tool: Tool
    endpoint: Endpoint
    arguments: type[msgspec.Struct]
    handler: InnerHandler
    listed: Json


class Toolbox:
    """`handlers`: endpoints by name, with what answers each. `script`: the address of the tracker script."""

    def __init__(self, handlers: Mapping[str, tuple[Endpoint, InnerHandler]], limits: McpSection, script: str) -> None:
        self.limits = limits
        self._script = script
        self._handlers = handlers
        self._tools = {tool.name: _bound(tool, *handlers[tool.endpoint]) for tool in (*READING_TOOLS, *CHANGING_TOOLS)}

    def listed(self, call: Call[Any]) -> list[Json]:
        """The caller's tools as the protocol lists them: to a token with a threshold those that keep to it."""
        return [bound.listed for bound in self._answering(call)]

    def answers(self, call: Call[Any], endpoint: str) -> bool:
        """Does the endpoint answer callers with a threshold, where the caller has one?"""
        return _answers(call, self._handlers[endpoint][0])

    def note(self, call: Call[Any], name: str) -> None:
        """Name the tool in the call's audit entry, if there is one of that name, for the caller or not."""
        if name in self._tools:
            call.trail.details["tool"] = name

    async def call(self, call: Call[Any], name: str, sent: Json) -> Json:
        """The result of a tool; what its endpoint refuses is a result with `isError`.

        The call's audit entry says what it was refused for. Raises `RpcError` for a tool that the caller does not have.
        """
        bound = self._tools.get(name)
        if bound is None or bound not in self._of(call):
            names = ", ".join(each.tool.name for each in self._answering(call))
            raise RpcError(INVALID_PARAMS, f"There is no tool {name[:SHOWN_CHARS]!r} for you. There are: {names}.")
        try:
            read = decode_request(msgspec.json.encode(sent), bound.arguments)
            asked = bound.tool.ask(sent, read)
            answer = await self.ask(call, bound.tool.endpoint, asked)
            return tool_result(
                self._finished(call, bound.tool, read, answer),
                self.limits,
                definitions=bound.tool.define(sent),
                reproduce=asked.shown(*bound.endpoint.route) | _upgrade(bound.endpoint),
                more=_more(answer),
            )
        except AnalyticsError as error:
            call.trail.outcome = error.code
            return failed_result(error.code, error.message)

    async def ask(self, call: Call[Any], endpoint: str, asked: ToolCall) -> Any:
        """What the endpoint answers the caller, decoded. Raises `AnalyticsError`."""
        _, handler = self._handlers[endpoint]
        body = b"" if asked.body is None else msgspec.json.encode(asked.body)
        request = call.request.clone(rel_url=URL.build(path="/", query=dict(asked.query)))
        answered = await handler(request, InnerQuestion(body=body, named=asked.named))
        assert isinstance(answered, web.Response), "an endpoint that a tool asks answers in one piece"
        assert isinstance(answered.body, bytes)
        return DECODER.decode(answered.body)

    def _of(self, call: Call[Any]) -> Iterable[_Bound]:
        provisions = isinstance(call.caller, Principal) and any(
            PROVISION.name in grant.actions for grant in call.caller.grants
        )
        return [bound for bound in self._tools.values() if provisions or not bound.tool.changes]

    def _answering(self, call: Call[Any]) -> list[_Bound]:
        return [bound for bound in self._of(call) if _answers(call, bound.endpoint)]

    def _finished(self, call: Call[Any], tool: Tool, read: Any, answer: Any) -> Any:
        if isinstance(read, SitesArguments):
            return {**answer, "sites": read.shown(answer["sites"])}
        if tool.name == "describe":
            return {**names(), "tables": answer["tables"], "limits": answer["limits"]}
        if tool.name == "get_script_tag":
            origin = (
                self._script if "://" in self._script else f"{call.request.scheme}://{call.request.host}{self._script}"
            )
            site_id = escape(answer["site_id"], quote=True)
            return {"html": f'<script defer src="{escape(origin, quote=True)}" data-site="{site_id}"></script>'}
        return answer


def names() -> Json:
    """All metrics and dimensions with their definitions."""
    return {
        "metrics": [
            {"name": each.name, "about": each.about, "aliases": list(each.aliases), "unit": each.kind.value}
            for each in METRICS
        ],
        "dimensions": [{"name": each.name, "about": each.about} for each in DIMENSIONS],
    }


def _answers(call: Call[Any], endpoint: Endpoint) -> bool:
    return endpoint.keeps_threshold or call.caller.narrowed_by is None


def _upgrade(endpoint: Endpoint) -> Json:
    """What a call needs beside method and path: that of an address that only speaks WebSocket."""
    return {"upgrade": "websocket"} if endpoint.status == 101 else {}


def _more(answer: Any) -> str:
    """Of a query: whether its own limit was reached, beyond which there may be rows."""
    asked = answer.get("query")
    pages = asked.get("pagination") if isinstance(asked, dict) else None
    if not isinstance(pages, dict) or len(answer.get("results", ())) < pages["limit"]:
        return ""
    return (
        f"The question's own limit of {pages['limit']} rows was reached: pagination.offset shows further ones, and"
        " include.total_rows how many there are."
    )


def _bound(tool: Tool, endpoint: Endpoint, handler: InnerHandler) -> _Bound:
    arguments = tool.arguments
    if arguments is None:
        assert endpoint.body is not None, "a tool without arguments of its own takes its endpoint's body"
        (arguments,) = endpoint.body.types
    listed = {
        "name": tool.name,
        "title": tool.title,
        "description": tool.about,
        "inputSchema": input_schema(arguments, tool.notes),
        "annotations": {
            "title": tool.title,
            "readOnlyHint": not endpoint.changes,
            "destructiveHint": False,
            "idempotentHint": not endpoint.changes,
            "openWorldHint": False,
        },
    }
    return _Bound(tool, endpoint, arguments, handler, listed)
