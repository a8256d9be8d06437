"""`analytics-server archive`: the directories of files of days, and forgetting one that is deleted."""

from __future__ import annotations

import click

from analytics_server.archive.roots import ArchiveRoots
from analytics_server.cli.audit import open_store, record
from analytics_server.cli.context import config_option, read_config, with_store
from analytics_server.errors import NotFound
from analytics_server.store import Store

FORGET = "forget_archive"


@click.group()
def archive() -> None:
    """List and forget directories of files of days."""


@archive.command("list")
@config_option
def list_directories(config_path: str | None) -> None:
    """List the directories, each with its paths.

    A line is: id, paths, number of sites. Any server may have written there.
    """
    config = read_config(config_path)
    lines: list[str] = []

    async def work(store: Store) -> None:
        await open_store(store, config)
        roots = ArchiveRoots(store)
        await roots.load()
        paths = roots.paths()
        lines.extend(
            f"{id_}\t{', '.join(paths.get(id_, ('?',)))}\t{len(sites)}" for id_, sites in roots.sites().items()
        )

    with_store(config, work)
    for line in sorted(lines):
        click.echo(line)


@archive.command("forget")
@config_option
@click.argument("id_", metavar="ID")
def forget(config_path: str | None, id_: str) -> None:
    """Name the directory of ID in no certificate any more.

    For one that was deleted, or cleaned by hand. The files are not touched.
    """
    config = read_config(config_path)

    async def work(store: Store) -> None:
        await open_store(store, config)
        if not await ArchiveRoots(store).forget(id_):
            raise NotFound(f"There is no directory of files of days with the id {id_[:64]!r}.", code="unknown_archive")
        await record(store, config, FORGET, "archive forget", details={"archive": id_})

    with_store(config, work)
