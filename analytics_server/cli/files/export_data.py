"""`analytics-server export-data`: all events of a site, a file a month, and a manifest of what is whole."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated

import click
import msgspec
from msgspec import Meta

from analytics_server.archive.whole_files import (
    WrittenFile,
    is_whole,
    read_manifest,
    remove_parts,
    write_manifest,
    write_whole,
)
from analytics_server.cli.context import config_option, read_config, run_async
from analytics_server.cli.running import AskedServer, answer_of, running_server, url_option
from analytics_server.config import Config
from analytics_server.errors import AnalyticsError

MANIFEST = "manifest.json"
STALE_S = 86_400.0
"""A file that was not written to for so long was left by a crash."""
SETTLED_DAYS = 2
"""So long after its end a month may still get events: what was sent late, or waited for ClickHouse."""


class MonthFile(WrittenFile, frozen=True, kw_only=True):
    """One file. `complete`: the month was over long enough; such a file is written again only if more events came."""

    month: Annotated[str, Meta(pattern="^[0-9]{4}-[0-9]{2}$")]
    complete: bool


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What lies in the directory, the oldest month first. A file that is not named here is none of it."""

    site_id: str
    format: str
    files: tuple[MonthFile, ...] = ()


class _Row(msgspec.Struct, frozen=True):
    time: str


class _Meta(msgspec.Struct, frozen=True):
    time_zone: str


class _Totals(msgspec.Struct, frozen=True):
    rows: list[_Row]
    meta: _Meta


class _Counted(msgspec.Struct, frozen=True):
    rows: list[tuple[str, int]]


class _Months(msgspec.Struct, frozen=True):
    """`counted`: the events themselves of each month, as `2026-11`; totals of days may outlive them."""

    names: set[str]
    counted: dict[str, int]

    @property
    def first(self) -> str:
        """The first month that has events: those before it have none any more."""
        return min(self.counted, default="9999-12")


@click.command("export-data")
@config_option
@click.argument("site_id")
@click.option(
    "--to",
    "directory",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="A directory for this site and format; made if it is not there.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["parquet", "ndjson", "csv"]),
    default="parquet",
    show_default=True,
    help="Of the files. CSV has texts as they are.",
)
@click.option("--again", is_flag=True, help="Write complete months again, too, if their events are still there.")
@url_option
@click.option(
    "--token", default="", envvar="ANALYTICS_ADMIN_TOKEN", help="A token that may read the site. Also: the variable."
)
def export_data(
    config_path: str | None, site_id: str, directory: Path, format_: str, again: bool, url: str, token: str
) -> None:
    """Write every stored event of SITE_ID, a file for each month of the site's time zone.

    \b
    Exit code: 0 all files are written, 1 they are not.

    manifest.json names the files with their sizes and SHA-256 sums. Asked again,
    only months are written that were not complete or have got more events: the
    command goes on where it was broken off, and a daily call keeps the directory
    up to date. A month is complete two days after its end. A file is kept where
    the server has fewer events by now. A server must run.
    """
    config = read_config(config_path)
    directory.mkdir(parents=True, exist_ok=True)
    run_async(_export(config, site_id, directory, format_, again=again, url=url, token=token))


async def _export(
    config: Config, site_id: str, directory: Path, format_: str, *, again: bool, url: str, token: str
) -> None:
    server = running_server(config, url, token, needed="one that may read the site")
    if server is None:
        raise AnalyticsError(
            f"No server runs on {config.data_dir}: start it, or name one with --url.", code="no_server"
        )
    remove_parts(directory, older_than_s=STALE_S)
    manifest = _read(directory / MANIFEST, Manifest(site_id=site_id, format=format_))
    kept = {file.month: file for file in manifest.files}
    months = await _months(server, site_id)
    for month in sorted({*months.names, *kept}):
        known, events = kept.get(month), months.counted.get(month, 0)
        if known is not None and (directory / known.name).is_file():
            # Fewer events than before were erased or have expired; in the first month nothing tells which.
            fewer = events < known.events and (not again or month <= months.first)
            is_kept = is_whole(directory / known.name, known.bytes)
            if known.complete and is_kept and events <= known.events and not again:
                continue
            if fewer:
                about = "kept" if is_kept else "not as it was written, but kept"
                click.echo(f"{known.name}: {about}: the server has fewer events now.", err=True)
                continue
        elif not events and month < months.first:
            click.echo(f"{month}: no file: the server has no events of it any more.", err=True)
            continue
        written = await _write_month(server, site_id, directory, format_, month, events)
        kept[month] = written
        files = tuple(kept[name] for name in sorted(kept))
        write_manifest(directory / MANIFEST, _with(manifest, files))
        click.echo(f"{written.name}: {written.bytes:,} bytes{'' if written.complete else ', the month goes on'}")


def _with(manifest: Manifest, files: Sequence[MonthFile]) -> Manifest:
    return msgspec.structs.replace(manifest, files=tuple(files))


async def _months(server: AskedServer, site_id: str) -> _Months:
    asked = {"site_id": site_id, "date_range": "all", "interval": "month", "metrics": "events"}
    async with answer_of(server, "GET", "/api/v1/trends", parameters=asked) as response:
        totals = msgspec.json.decode(await response.read(), type=_Totals)
    query = {
        "site_id": site_id,
        "query": "SELECT formatDateTime(ts, '%Y-%m', {zone:String}) AS month, count() FROM events GROUP BY month",
        "params": {"zone": totals.meta.time_zone},
    }
    async with answer_of(server, "POST", "/api/v1/sql", query) as response:
        counted = dict(msgspec.json.decode(await response.read(), type=_Counted).rows)
    return _Months({row.time[:7] for row in totals.rows} | counted.keys(), counted)


async def _write_month(
    server: AskedServer, site_id: str, directory: Path, format_: str, month: str, events: int
) -> MonthFile:
    first = date.fromisoformat(f"{month}-01")
    last = first.replace(day=monthrange(first.year, first.month)[1])
    asked = {"site_id": site_id, "from": str(first), "to": str(last), "format": format_, "csv": "raw"}
    began = datetime.now(UTC)
    name = f"events-{month}.{format_}"
    async with answer_of(server, "GET", "/api/v1/export/events", parameters=asked) as response:
        written = await write_whole(directory / name, response.content.iter_any())
    assert written is not None
    size, digest = written
    return MonthFile(
        name=name,
        month=month,
        bytes=size,
        sha256=digest,
        written_at=began.isoformat(timespec="seconds"),
        complete=began.date() > last + timedelta(days=SETTLED_DAYS),
        events=events,
    )


def _read(path: Path, wanted: Manifest) -> Manifest:
    """The manifest that is there. Raises `AnalyticsError` where it is of another site or format, or not readable."""
    found = read_manifest(path, Manifest)
    if found is None:
        return wanted
    if (found.site_id, found.format) != (wanted.site_id, wanted.format):
        raise AnalyticsError(
            f"{path.parent} holds {found.format} files of {found.site_id}: choose another directory.",
            code="bad_manifest",
        )
    return found
