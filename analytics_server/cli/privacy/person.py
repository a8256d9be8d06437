"""`analytics-server export` and `erase`: a person's rights, at the running server or, while none runs, at its data."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import click
import msgspec

from analytics_server.access.actions import ERASE_PERSON, EXPORT_PERSON
from analytics_server.cli.context import config_option, json_format, read_config, run_async
from analytics_server.cli.privacy.offline import offline_privacy
from analytics_server.cli.progress import AmountLines, PhaseLines
from analytics_server.cli.running import OF_A_ROLE, AskedServer, answer_of, running_server, token_option, url_option
from analytics_server.config import Config
from analytics_server.privacy.routes import USER_ID_CHARS, ErasureView, view_of
from analytics_server.privacy.scope import SiteScope

ASK_AGAIN_S = 1.0
STEP_BYTES = 10_000_000


@click.command("export")
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
@json_format
@url_option
@token_option
def export(config_path: str | None, user_id: str, format_: str, output: Path | None, url: str, token: str) -> None:
    """Write every stored row that names USER_ID, one JSON object a line, or a zip of that with a page for people.

    \b
    Exit code: 0 it is complete, 1 it is not.

    USER_ID is the application's own id of a person; `-` reads it from standard
    input, so that it stands in no list of processes.
    """
    config, user = read_config(config_path), user_of(user_id)

    async def work() -> None:
        with click.open_file(str(output) if output else "-", "wb") as opened:
            file = _Told(opened)
            server = running_server(config, url, token, needed=OF_A_ROLE)
            if server is not None:
                await _fetch(server, {"user_id": user, "format": format_}, file)
                return
            async with offline_privacy(config, EXPORT_PERSON, "export", user) as privacy:
                told = PhaseLines()
                told("deliver")
                await privacy.export.begin()
                pieces = privacy.export.zip if format_ == "zip" else privacy.export.ndjson
                async for piece in pieces(user, SiteScope(), told):
                    file.write(piece)

    run_async(work())


@click.command("erase")
@config_option
@click.argument("user_id")
@click.option("--yes", is_flag=True, help="Don't ask: it can't be undone.")
@click.option("--opt-out", is_flag=True, help="Store nothing of the person any more.")
@click.option("--json", "as_json", is_flag=True, help="Print the certificate as one JSON document.")
@url_option
@token_option
def erase(config_path: str | None, user_id: str, yes: bool, opt_out: bool, as_json: bool, url: str, token: str) -> None:
    """Remove everything that names USER_ID, on all sites, and print the certificate.

    \b
    Exit code: 0 it is done, 1 it is not.

    An erasure that is broken off is gone on with by the next start of the server
    or by the same command. USER_ID `-` is read from standard input.
    """
    config, user = read_config(config_path), user_of(user_id)
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
    told = PhaseLines()
    server = running_server(config, url, token, needed=OF_A_ROLE)
    if server is not None:
        return await _ask(server, {"user_id": user, "confirm": True, "opt_out": opt_out}, told)
    async with offline_privacy(config, ERASE_PERSON, "erase", user) as privacy:
        if opt_out:
            await privacy.opt_outs.add(user, ())
        working = asyncio.create_task(privacy.erasures.run())
        try:
            job = await privacy.erasures.request(user, SiteScope(), opted_out=opt_out)
            while not job.is_done:
                job = await privacy.erasures.wait(job, ASK_AGAIN_S)
                if not job.is_done:
                    told(job.phase.value)
                if working.done():
                    await working
        finally:
            working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await working
    return view_of(job)


class _Told:
    """A file that tells how much was written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._bytes = 0
        self._lines = AmountLines(STEP_BYTES, lambda amount: f"{amount / 1e6:,.0f} MB")

    def write(self, piece: bytes) -> None:
        """Write it, and tell."""
        self._file.write(piece)
        self._bytes += len(piece)
        self._lines.reach(self._bytes)


def user_of(user_id: str) -> str:
    """The id that is given, or the line of standard input that `-` stands for. Raises `UsageError`."""
    text = sys.stdin.readline().rstrip("\r\n") if user_id == "-" else user_id
    if not 0 < len(text) <= USER_ID_CHARS:
        raise click.UsageError(f"USER_ID must have 1 to {USER_ID_CHARS} characters.")
    return text


async def _fetch(server: AskedServer, body: Mapping[str, object], file: _Told) -> None:
    async with answer_of(server, "POST", "/api/v1/privacy/export", body) as response:
        async for piece in response.content.iter_any():
            file.write(piece)


async def _ask(server: AskedServer, body: Mapping[str, object], told: PhaseLines) -> ErasureView:
    async with answer_of(server, "POST", "/api/v1/privacy/erase", body) as response:
        view = msgspec.json.decode(await response.read(), type=ErasureView)
    while view.state != "done":
        told(view.phase.value)
        await asyncio.sleep(ASK_AGAIN_S)
        async with answer_of(server, "GET", f"/api/v1/privacy/erasures/{view.id}") as response:
            view = msgspec.json.decode(await response.read(), type=ErasureView)
    return view
