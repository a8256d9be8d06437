"""What an assistant may read beside the tools: the schema of SQL, and what all metrics and dimensions mean."""

from __future__ import annotations

from typing import Any

import msgspec

from analytics_server.errors import AnalyticsError
from analytics_server.http.endpoint import Call
from analytics_server.mcp.answers import bounded
from analytics_server.mcp.messages import INTERNAL_ERROR, RESOURCE_NOT_FOUND, SHOWN_CHARS, Json, RpcError
from analytics_server.mcp.toolbox import Toolbox, names
from analytics_server.mcp.tools import ToolCall

SCHEMA_ENDPOINT = "get_schema"
SCHEMA_URI = "analytics://schema"
DEFINITIONS_URI = "analytics://metrics"
_JSON = "application/json"
MOST_ITEMS = 1_000
"""Of a list: both are the server's own texts, whose length is known."""

RESOURCES: tuple[Json, ...] = (
    {
        "uri": SCHEMA_URI,
        "name": "schema",
        "title": "Schema of SQL",
        "description": "Tables, columns, functions and limits of the tool sql, as GET /api/v1/schema tells them.",
        "mimeType": _JSON,
    },
    {
        "uri": DEFINITIONS_URI,
        "name": "metrics",
        "title": "Definitions of metrics and dimensions",
        "description": "What each number of query and trends means, and what it can be grouped and filtered by.",
        "mimeType": _JSON,
    },
)


def listed_resources(toolbox: Toolbox, call: Call[Any]) -> list[Json]:
    """The resources that the caller may read: a token with a threshold can't read the schema of SQL."""
    return [each for each in RESOURCES if each["uri"] != SCHEMA_URI or toolbox.answers(call, SCHEMA_ENDPOINT)]


async def read_resource(toolbox: Toolbox, call: Call[Any], uri: object) -> Json:
    """A resource's content, within the bytes of answers: `cut` in it says what was left out. Raises `RpcError`."""
    try:
        if uri == DEFINITIONS_URI:
            told: Any = names()
        elif uri == SCHEMA_URI:
            told = await toolbox.ask(call, SCHEMA_ENDPOINT, ToolCall())
        else:
            shown = str(uri)[:SHOWN_CHARS]
            raise RpcError(RESOURCE_NOT_FOUND, f"There is no resource {shown!r}.", {"uri": shown})
        text = bounded(told, msgspec.structs.replace(toolbox.limits, rows=MOST_ITEMS)).text
    except AnalyticsError as error:
        raise RpcError(INTERNAL_ERROR, f"{error.code}: {error.message}") from error
    return {"contents": [{"uri": uri, "mimeType": _JSON, "text": text}]}
