"""`analytics-server export` and `erase`: a person's rights, at the running server or, while none runs, at its data."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import aiohttp
import click
import msgspec

from analytics_server.access.actions import ERASE_PERSON, EXPORT_PERSON
from analytics_server.cli.context import config_option, read_config, run_async
from analytics_server.cli.offline import offline_privacy
from analytics_server.config import Config
from analytics_server.doctor.lock import DirectoryLock
from analytics_server.errors import AnalyticsError, Unavailable
from analytics_server.http.address_file import read_address
from analytics_server.listening import base_url, reachable
from analytics_server.privacy.routes import USER_ID_CHARS, ErasureView, view_of
from analytics_server.privacy.scope import SiteScope

ASK_AGAIN_S = 1.0
CONNECT_S = 10.0
_Said = Callable[[ErasureView], None]

_url = click.option("--url", default="", help="A running server, e.g. http://127.0.0.1:8000. Default: this one.")
_token = click.option(
    "--token", default="", envvar="ANALYTICS_ADMIN_TOKEN", help="For a running server: a token of role admin."
)


class NotCarriedOut(AnalyticsError):
    """The running server refused what was asked for."""

    code = "not_carried_out"


@click.command("export", short_help="Export all that is stored of a person.")
@config_option
@click.argument("user_id")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["ndjson", "zip"]),
    default="ndjson",
    show_default=True,
    help="What to write.",
)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="A file; default: standard output.")
@_url
@_token
def export(config_path: str | None, user_id: str, format_: str, output: Path | None, url: str, token: str) -> None:
    """Write every stored row that names USER_ID, one JSON object a line, or a zip of that with a page for people.

    \b
    Exit code: 0 it is complete, 1 it is not.

    USER_ID is the application's own id of a person; `-` reads it from standard
    input, so that it stands in no list of processes.
    """
    config, user = read_config(config_path), _user(user_id)

    async def work() -> None:
        with click.open_file(str(output) if output else "-", "wb") as file:
            server = _running(config, url, token)
            if server is not None:
                await _fetch(server, {"user_id": user, "format": format_}, file)
                return
            async with offline_privacy(config, EXPORT_PERSON, "export", user) as privacy:
                await privacy.export.begin()
                pieces = privacy.export.zip if format_ == "zip" else privacy.export.ndjson
                async for piece in pieces(user, SiteScope()):
                    file.write(piece)

    run_async(work())


@click.command("erase", short_help="Erase all that is stored of a person.")
@config_option
@click.argument("user_id")
@click.option("--yes", is_flag=True, help="Don't ask: it can't be undone.")
@click.option("--opt-out", is_flag=True, help="Store nothing of the person any more.")
@click.option("--json", "as_json", is_flag=True, help="Print the certificate as one JSON document.")
@_url
@_token
def erase(config_path: str | None, user_id: str, yes: bool, opt_out: bool, as_json: bool, url: str, token: str) -> None:
    """Remove everything that names USER_ID, on all sites, and print the certificate.

    \b
    Exit code: 0 it is done, 1 it is not.

    An erasure that is broken off is gone on with by the next start of the server
    or by the same command. USER_ID `-` is read from standard input.
    """
    config, user = read_config(config_path), _user(user_id)
    if not yes:
        click.confirm("Erase all that is stored of this person? It can't be undone", abort=True, err=True)
    done = run_async(_erase(config, user, opt_out=opt_out, url=url, token=token))
    assert done.certificate is not None
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(done.certificate), indent=2).decode())
        return
    for name, rows in sorted(done.certificate.removed.items()):
        click.echo(f"{name}: {rows:,} rows removed")
    for name, rows in sorted(done.certificate.rebuilt.items()):
        click.echo(f"{name}: {rows:,} rows made again without the person")
    for what in done.certificate.not_searched:
        click.secho(f"not searched: {what}", fg="yellow", err=True)
    for what in done.certificate.named_in:
        click.secho(f"still named in: {what}", fg="yellow", err=True)
    click.echo(f"Done. Certificate {done.certificate.hash}.")


async def _erase(config: Config, user: str, *, opt_out: bool, url: str, token: str) -> ErasureView:
    said = _progress()
    server = _running(config, url, token)
    if server is not None:
        return await _ask(server, {"user_id": user, "confirm": True, "opt_out": opt_out}, said)
    async with offline_privacy(config, ERASE_PERSON, "erase", user) as privacy:
        if opt_out:
            await privacy.opt_outs.add(user, ())
        working = asyncio.create_task(privacy.erasures.run())
        try:
            job = await privacy.erasures.request(user, SiteScope(), opted_out=opt_out)
            while not job.is_done:
                job = await privacy.erasures.wait(job, ASK_AGAIN_S)
                said(view_of(job))
                if working.done():
                    await working
        finally:
            working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await working
    return view_of(job)


def _progress() -> _Said:
    """Tells each phase once."""
    told: list[str] = []

    def said(view: ErasureView) -> None:
        if view.phase.value not in told:
            told.append(view.phase.value)
            click.echo(f"{view.phase.value} …", err=True)

    return said


def _user(user_id: str) -> str:
    text = sys.stdin.readline().rstrip("\r\n") if user_id == "-" else user_id
    if not 0 < len(text) <= USER_ID_CHARS:
        raise click.UsageError(f"USER_ID must have 1 to {USER_ID_CHARS} characters.")
    return text


class _Server(msgspec.Struct, frozen=True):
    url: str
    token: str


def _running(config: Config, url: str, token: str) -> _Server | None:
    """The server to ask; None if none runs on the data directory. Raises `AnalyticsError`."""
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
            f"The server at {url} has to be asked, which needs --token (or ANALYTICS_ADMIN_TOKEN): one of role admin.",
            code="server_running",
        )
    return _Server(url.rstrip("/"), token)


@asynccontextmanager
async def _answer(
    server: _Server, method: str, path: str, body: Mapping[str, object] | None
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Raises `NotCarriedOut` with what the server said, or `Unavailable`."""
    timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_S)
    headers = {"Authorization": f"Bearer {server.token}"}
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=headers) as client,
            client.request(
                method, server.url + path, data=None if body is None else msgspec.json.encode(body)
            ) as response,
        ):
            if response.status >= 400:
                raise NotCarriedOut(_message(await response.read(), response.status))
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


async def _fetch(server: _Server, body: Mapping[str, object], file: IO[bytes]) -> None:
    async with _answer(server, "POST", "/api/v1/privacy/export", body) as response:
        async for piece in response.content.iter_any():
            file.write(piece)


async def _ask(server: _Server, body: Mapping[str, object], said: _Said) -> ErasureView:
    async with _answer(server, "POST", "/api/v1/privacy/erase", body) as response:
        view = msgspec.json.decode(await response.read(), type=ErasureView)
    while view.state != "done":
        said(view)
        await asyncio.sleep(ASK_AGAIN_S)
        async with _answer(server, "GET", f"/api/v1/privacy/erasures/{view.id}", None) as response:
            view = msgspec.json.decode(await response.read(), type=ErasureView)
    return view
