"""HTTP client of commands for a running server: by default the one on the data directory of the settings."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

import aiohttp
import click
import msgspec

from analytics_server.config import Config
from analytics_server.doctor.lock import DirectoryLock
from analytics_server.errors import AnalyticsError, Unavailable
from analytics_server.http.address_file import read_address
from analytics_server.listening import base_url, reachable
from analytics_server.store import capabilities_of

T = TypeVar("T")

CONNECT_S = 10.0
_ADDRESS = re.compile(r"https?://[^/\s]", re.IGNORECASE)
OF_A_ROLE = "one of role admin"
OF_ALL_SITES = f"{OF_A_ROLE}, for all sites"


def checked_url(ctx: click.Context, parameter: click.Parameter, url: str) -> str:
    """The value of `--url`, for click. Raises `BadParameter`."""
    if url and not _ADDRESS.match(url):
        raise click.BadParameter(f"{url!r} is no address of a server: write it as http://127.0.0.1:8000.")
    return url


url_option = click.option(
    "--url",
    default="",
    callback=checked_url,
    help="A running server, e.g. http://127.0.0.1:8000. Default: this one.",
)

token_option = click.option(
    "--token", default="", envvar="ANALYTICS_ADMIN_TOKEN", help="For a running server: a token of role admin."
)


class NotCarriedOut(AnalyticsError):
    """The running server refused what was asked for, with that status."""

    code = "not_carried_out"

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class AskedServer(msgspec.Struct, frozen=True):
    """A running server and the token to ask it with."""

    url: str
    token: str


def running_server(config: Config, url: str, token: str, *, needed: str) -> AskedServer | None:
    """The server to ask; None if none runs on the data directory. `needed`: what the token must be.

    Raises `AnalyticsError`.
    """
    if not url:
        lock = DirectoryLock(config.wal_dir)
        lock.take(keep=False)
        if not lock.busy:
            return None
        running = read_address(config.data_dir)
        if running is None:
            raise AnalyticsError(
                f"A server on {config.data_dir} is starting or stopping: try again.", code="server_running"
            )
        url = base_url(*reachable(list(running.addresses))[0])
    if not token:
        raise AnalyticsError(
            f"The server at {url} has to be asked, which needs --token (or ANALYTICS_ADMIN_TOKEN): {needed}.",
            code="server_running",
        )
    return AskedServer(url.rstrip("/"), token)


def server_beside(config: Config, url: str, token: str, *, needed: str) -> AskedServer | None:
    """The server to ask where the command can't work on the data itself: the one that is named, or with ClickHouse in
    process the one that runs. Raises `AnalyticsError`."""
    if not url and not capabilities_of(config).owns_files:
        return None
    return running_server(config, url, token, needed=needed)


async def answered(
    server: AskedServer, method: str, path: str, kind: type[T], body: Mapping[str, object] | None = None
) -> T:
    """The answer, decoded. Raises what `answer_of` raises."""
    async with answer_of(server, method, path, body) as response:
        return msgspec.json.decode(await response.read(), type=kind)


@asynccontextmanager
async def answer_of(
    server: AskedServer,
    method: str,
    path: str,
    body: Mapping[str, object] | None = None,
    parameters: Mapping[str, str] | None = None,
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Raises `NotCarriedOut` with what the server said, or `Unavailable`, also where the answer breaks off."""
    timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_S)
    headers = {"Authorization": f"Bearer {server.token}"}
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=headers) as client,
            client.request(
                method,
                server.url + path,
                params=parameters,
                data=None if body is None else msgspec.json.encode(body),
            ) as response,
        ):
            if response.status >= 400:
                raise NotCarriedOut(_message(await response.read(), response.status), response.status)
            yield response
    except (aiohttp.ClientError, aiohttp.InvalidURL, TimeoutError) as error:
        raise Unavailable(
            f"The server at {server.url} can't be reached: {str(error) or type(error).__name__}."
        ) from error


def _message(body: bytes, status: int) -> str:
    try:
        return str(msgspec.json.decode(body)["error"]["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return f"The server answered with status {status}."
