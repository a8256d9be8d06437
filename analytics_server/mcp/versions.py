"""Versions of the protocol: which ones are spoken, and what a request has to say of its own.

Until 2025-11-25 a client begins with `initialize`, and names the version that was agreed on in a header. From
2026-07-28 on each request carries version and abilities itself (`_meta`), its headers repeat what proxies route by, and
`server/discover` takes the place of `initialize`. Without a session both are served alike.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from analytics_server.mcp.messages import HEADER_MISMATCH, INVALID_PARAMS, UNSUPPORTED_VERSION, Message, RpcError

UNNAMED = "2025-03-26"
"""The version of a request without the header. Its batches are not taken: no later version has any."""

HANDSHAKE = (UNNAMED, "2025-06-18", "2025-11-25")
MODERN = ("2026-07-28",)
SUPPORTED = (*HANDSHAKE, *MODERN)

VERSION_HEADER = "MCP-Protocol-Version"
METHOD_HEADER = "Mcp-Method"
NAME_HEADER = "Mcp-Name"
VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
ABILITIES_KEY = "io.modelcontextprotocol/clientCapabilities"
SERVER_KEY = "io.modelcontextprotocol/serverInfo"
NAMED = {"tools/call": "name", "resources/read": "uri"}
"""Methods whose headers name what they are about, and which parameter that is."""


def version_of(headers: Mapping[str, str]) -> str:
    """The version that a request is of. Raises `RpcError`."""
    version = headers.get(VERSION_HEADER, UNNAMED)
    if version not in SUPPORTED:
        # Bytes that are no UTF-8 are lone surrogates in a header's text, which JSON can't hold.
        shown = version[:40].encode(errors="backslashreplace").decode()
        raise RpcError(
            UNSUPPORTED_VERSION,
            f"{VERSION_HEADER} {shown!r} is not spoken here: use one of {', '.join(SUPPORTED)}.",
            {"supported": list(SUPPORTED), "requested": shown},
        )
    return version


def agreed_version(wanted: object) -> str:
    """What `initialize` is answered with: the version that the client wants, or the latest that begins so."""
    return wanted if isinstance(wanted, str) and wanted in HANDSHAKE else HANDSHAKE[-1]


def check_modern(message: Message, version: str, headers: Mapping[str, str]) -> None:
    """Raises `RpcError` unless a request says of itself what the modern versions demand."""
    meta = message.arguments.get("_meta")
    if not isinstance(meta, dict) or VERSION_KEY not in meta or ABILITIES_KEY not in meta:
        raise RpcError(INVALID_PARAMS, f"params._meta needs {VERSION_KEY!r} and {ABILITIES_KEY!r}.")
    said = {VERSION_HEADER: (version, meta[VERSION_KEY]), METHOD_HEADER: (headers.get(METHOD_HEADER), message.method)}
    if name := NAMED.get(message.method):
        said[NAME_HEADER] = (_decoded(headers.get(NAME_HEADER, "")), message.arguments.get(name, ""))
    for header, (outside, inside) in said.items():
        if outside != inside:
            raise RpcError(HEADER_MISMATCH, f"The header {header} does not say what the message says.")


def header_text(value: str) -> str:
    """A header's value for any text: as it is, or as the protocol packs what headers can't hold."""
    if value.isascii() and value.isprintable() and value == value.strip() and not value.startswith("=?base64?"):
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode()}?="


def _decoded(value: str) -> str | None:
    if not (value.startswith("=?base64?") and value.endswith("?=")):
        return value
    try:
        return base64.b64decode(value[9:-2], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
