"""The beacon handlers on aiohttp: read the request, hand it to the core, send the answer.

No middleware and no per-request objects beyond what is needed: this is the path of
every beacon. Bodies are read within bounds whatever Content-Length says.
"""

from __future__ import annotations

import asyncio
import re

from aiohttp import web
from multidict import CIMultiDict

from analytics_server.collect.address import AddressResolver, bare
from analytics_server.collect.answer import BeaconAnswer, refuse
from analytics_server.collect.collector import Collector
from analytics_server.collect.endpoints import endpoints
from analytics_server.collect.formats.table import FORMATS, Format
from analytics_server.collect.tracker import load_extras
from analytics_server.errors import AnalyticsError, TooLarge, Unavailable
from analytics_server.http.body import too_slow
from analytics_server.http.endpoint import Endpoint, RawHandler
from analytics_server.http.entity_tag import entity_tag, is_unchanged

PREFLIGHT = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET, OPTIONS",
    "Access-Control-Max-Age": "86400",
    "Vary": "Access-Control-Request-Headers",
}
ALLOWED_HEADERS = "Content-Type, Content-Encoding, Authorization"
# No `Cache-Control: no-store`: with it Chromium does not give a page's budget for keepalive requests back.
_HEADERS = CIMultiDict(
    {
        "Access-Control-Allow-Origin": "*",
        "Content-Type": "application/json",
        "X-Content-Type-Options": "nosniff",
    }
)
_HEADER_NAMES = re.compile(r"[\w!#$%&'*+.^`|~-]+(?:[ \t]*,[ \t]*[\w!#$%&'*+.^`|~-]+)*", re.ASCII)
SCRIPT_MAX_AGE_S = 3_600
ACCEPTED = 202


class CollectRoutes:
    """Owns the handlers; `script` is the tracker as it is served.

    `held_bytes`: what unfinished bodies of all senders without a token may hold together. A client that opens
    many connections and leaves its requests unfinished must not exhaust the memory.
    """

    def __init__(
        self,
        collector: Collector,
        addresses: AddressResolver,
        script: bytes,
        collect_path: str,
        script_path: str,
        *,
        held_bytes: int,
        body_timeout_s: float,
    ) -> None:
        self._collector = collector
        self._addresses = addresses
        self._script = script
        self._script_etag = entity_tag(script)
        self._extras = load_extras()
        self._extras_etag = entity_tag(self._extras)
        self._collect_path = collect_path
        self._script_path = script_path
        self._most_held = held_bytes
        self._held = 0
        self._body_timeout_s = body_timeout_s

    def endpoints(self) -> list[Endpoint]:
        """Everything a page may send, under the configured paths, and the script."""
        return endpoints(
            FORMATS,
            self._handler,
            preflight=self.preflight,
            script=self.script,
            collect_path=self._collect_path,
            script_path=self._script_path,
        )

    def _handler(self, format: Format) -> RawHandler:
        take = self._take_body if format.query_to_body is None else self._take_query

        async def handle(request: web.Request) -> web.Response:
            answer = await take(request, format)
            if format.reply is None or answer.status != ACCEPTED:
                return _respond(answer)
            reply = format.reply
            return web.Response(body=reply.body, content_type=reply.content_type, headers=reply.headers)

        return handle

    async def _take_body(self, request: web.Request, format: Format) -> BeaconAnswer:
        headers = request.headers
        try:
            authorization = headers.get("Authorization")
            if authorization is not None:  # before an unauthenticated client can make this process hold 10 MiB
                await self._collector.admit(authorization)
            async with asyncio.timeout(self._body_timeout_s):
                body = await self._read(request)
        except AnalyticsError as error:
            return self._collector.refuse(error)
        except TimeoutError:
            return refuse(too_slow(self._body_timeout_s))
        return await self._collector.collect(format, body, headers, self._address_of(request))

    async def _read(self, request: web.Request) -> bytes:
        trusted = "Authorization" in request.headers
        most = self._collector.most_bytes(trusted=trusted)
        length = request.content_length
        if length is not None and length > most:
            raise TooLarge(f"The body has {length} bytes; {most} are allowed.")
        content = request.content
        first = await content.readany()
        if content.at_eof():
            return first
        pieces, size, held = [first], len(first), 0
        try:
            while not content.at_eof():
                if not trusted:
                    self._held += size - held
                    held = size
                    if self._held > self._most_held:
                        raise Unavailable("Too many large bodies are under way: send it again soon.", code="busy")
                piece = await content.readany()
                size += len(piece)
                if size > most:
                    raise TooLarge(f"The body has more than {most} bytes.")
                pieces.append(piece)
        finally:
            self._held -= held
        return b"".join(pieces)

    async def preflight(self, request: web.Request) -> web.Response:
        """Any page may send, without credentials."""
        # What a page's own wrapper of fetch adds (tracing, say) must not cost the beacon.
        wanted = request.headers.get("Access-Control-Request-Headers", "")
        allowed = wanted if _HEADER_NAMES.fullmatch(wanted) else ALLOWED_HEADERS
        return web.Response(status=204, headers={**PREFLIGHT, "Access-Control-Allow-Headers": allowed})

    async def _take_query(self, request: web.Request, format: Format) -> BeaconAnswer:
        """For pages without script: what an image's address says."""
        assert format.query_to_body is not None
        headers = request.headers
        try:
            body = format.query_to_body(request.query, _readable(headers.get("Referer", "")))
        except AnalyticsError as error:
            return self._collector.refuse(error)
        return await self._collector.collect(format, body, headers, self._address_of(request))

    def _address_of(self, request: web.Request) -> str:
        headers = request.headers
        return self._addresses.client(bare(request.remote or ""), lambda name: headers.getall(name, ()))

    async def script(self, request: web.Request) -> web.Response:
        """The tracker, or with `?more` what it loads on pages that ask for more."""
        body, tag = (self._extras, self._extras_etag) if "more" in request.query else (self._script, self._script_etag)
        headers = {
            "Cache-Control": f"public, max-age={SCRIPT_MAX_AGE_S}",
            "ETag": tag,
            "Vary": "Accept-Encoding",
            "Access-Control-Allow-Origin": "*",
            "Cross-Origin-Resource-Policy": "cross-origin",
            "X-Content-Type-Options": "nosniff",
        }
        if is_unchanged(request.headers.getall("If-None-Match", ()), tag):
            return web.Response(status=304, headers=headers)
        response = web.Response(body=body, content_type="text/javascript", charset="utf-8", headers=headers)
        response.enable_compression()
        return response


def _readable(value: str) -> str:
    """A header's text with U+FFFD for bytes that are no UTF-8 (aiohttp hands them on as lone surrogates)."""
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _respond(answer: BeaconAnswer) -> web.Response:
    headers = _HEADERS
    if answer.retry_after_s is not None:
        headers = CIMultiDict(_HEADERS)
        headers["Retry-After"] = str(answer.retry_after_s)
        headers["Access-Control-Expose-Headers"] = "Retry-After"  # Else no page of another origin may read it.
    elif answer.status == 401:
        headers = CIMultiDict(_HEADERS)
        headers["WWW-Authenticate"] = "Bearer"
    return web.Response(body=answer.body, status=answer.status, headers=headers)
