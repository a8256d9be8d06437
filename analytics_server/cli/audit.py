"""`analytics-server audit`: check the audit log, export it, retire chains; and how commands record what they do.

Commands have a chain of their own in each data directory, because they may run beside its server. One command writes
to it at a time.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from analytics_server.access.actions import MANAGE_AUDIT
from analytics_server.audit.chain import COMMANDS_CHAIN, FOLDER, known_heads
from analytics_server.audit.export import PAGE, export_lines
from analytics_server.audit.log import AuditLog
from analytics_server.audit.moments import EARLIEST, LATEST, parse_moment
from analytics_server.audit.retiring import Retired, RetiredChain, retire_in_turn, shown_retired
from analytics_server.audit.seals import SealKey, SealKeyFile
from analytics_server.audit.verify import ChainReport, VerifyReport
from analytics_server.audit.verify import verify as verify_chains
from analytics_server.cli.context import (
    config_option,
    echo_json,
    json_format,
    json_option,
    read_config,
    run_async,
    with_store,
)
from analytics_server.cli.progress import AmountLines
from analytics_server.cli.running import (
    OF_ALL_SITES,
    AskedServer,
    answer_of,
    answered,
    server_beside,
    token_option,
    url_option,
)
from analytics_server.config import Config
from analytics_server.http.audit import OK, AuditEntry, SiteDetails, append_all
from analytics_server.store import Store, migrate

VERIFY, EXPORT, RETIRE = (f"/api/v1/privacy/audit/{name}" for name in ("verify", "export", "retire"))


@click.group()
def audit() -> None:
    """Check the audit log, write it out, or remove the chain of a server that is gone."""


@audit.command("verify")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, for programs.")
@url_option
@token_option
def audit_verify(config_path: str | None, as_json: bool, url: str, token: str) -> None:
    """Check that no entry was edited, removed, moved or stored twice.

    \b
    Exit code: 0 all chains are whole, 1 one is not.

    Every server has a chain of entries, and so have the commands of each data
    directory. That the newest entries are there can be said of the chains whose
    heads lie in this data directory.
    """
    config = read_config(config_path)
    server = server_beside(config, url, token, needed=OF_ALL_SITES)
    report = _verify(config) if server is None else run_async(answered(server, "POST", VERIFY, VerifyReport))
    if as_json:
        echo_json(report)
    else:
        for chain in report.chains:
            click.echo(_line(chain))
        click.echo(f"{report.entries} entries in {len(report.chains)} chains are whole." if report.ok else "BROKEN")
    if not report.ok:
        sys.exit(1)


def _verify(config: Config) -> VerifyReport:
    reports: list[VerifyReport] = []

    async def work(store: Store) -> None:
        heads, key = known_heads(config.data_dir), _seal_key(config)
        await open_store(store, config)
        report = await verify_chains(store, heads, key=key, advance=_progress)
        reports.append(report)
        outcome = OK if report.ok else "broken_chain"
        await record(store, config, MANAGE_AUDIT.name, "audit verify", outcome=outcome, rows=report.entries)

    with_store(config, work, route=f"POST {VERIFY}")
    (report,) = reports
    return report


@audit.command("export")
@config_option
@click.option("--from", "start", default="", help="The first day or moment, UTC. Default: the beginning.")
@click.option("--to", "end", default="", help="The end: a day is included, a moment is not. Default: the end.")
@click.option("--format", type=click.Choice(["ndjson"]), default="ndjson", show_default=True)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="A file; default: standard output.")
@json_format
@url_option
@token_option
def audit_export(
    config_path: str | None, start: str, end: str, format: str, output: Path | None, url: str, token: str
) -> None:
    """Write entries as NDJSON, one a line, chain by chain, in their order.

    The hash of a line is SHA-256 of its other members, as docs/audit.md says.
    The export is recorded; made without a running server, it holds an entry of itself.
    """
    config = read_config(config_path)
    first = parse_moment(start, "--from") if start else EARLIEST
    last = parse_moment(end, "--to", is_end=True) if end else LATEST
    if first >= last:
        raise click.UsageError("--from must be before --to.")
    server = server_beside(config, url, token, needed=OF_ALL_SITES)
    if server is not None:
        run_async(_fetch(server, {name: text for name, text in (("from", start), ("to", end)) if text}, output))
        return

    async def work(store: Store) -> None:
        await open_store(store, config)
        details = {"from": start, "to": end} if start or end else {}
        await record(store, config, MANAGE_AUDIT.name, "audit export", details=details)
        of_all = 0
        lines = AmountLines(PAGE, lambda done: f"{done:,} of {of_all:,} entries")

        def advance(done: int, total: int) -> None:
            nonlocal of_all
            of_all = total
            lines.reach(done)

        with click.open_file(str(output) if output else "-", "wb") as file:
            async for line in export_lines(store, first, last, advance):
                file.write(line)

    with_store(config, work, route=f"GET {EXPORT}")


async def _fetch(server: AskedServer, range_: Mapping[str, str], output: Path | None) -> None:
    async with answer_of(server, "GET", EXPORT, parameters=range_) as response:
        with click.open_file(str(output) if output else "-", "wb") as file:
            async for piece in response.content.iter_any():
                file.write(piece)


@audit.command("retire")
@config_option
@click.argument("chain")
@click.option("--accept-broken", is_flag=True, help="Also if the chain is not as it was written.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@url_option
@token_option
def audit_retire(
    config_path: str | None, chain: str, accept_broken: bool, yes: bool, as_json: bool, url: str, token: str
) -> None:
    """Remove CHAIN, that of a server which is gone for good.

    A server cuts the chains of its own data directory alone. This removes one of
    another data directory, once its newest entry is older than [privacy]
    audit_retention_days. It is checked and sealed before; docs/audit.md says more.
    """
    config = read_config(config_path)
    if not yes:
        click.confirm(f"Is the server of {chain} gone for good? Its entries are removed", abort=True, err=as_json)
    server = server_beside(config, url, token, needed=OF_ALL_SITES)
    if server is None:
        retired = _retire(config, chain, accept_broken=accept_broken)
    else:
        wanted = {"chain": chain, "accept_broken": accept_broken}
        retired = run_async(answered(server, "POST", RETIRE, RetiredChain, wanted))
    if as_json:
        echo_json(retired)
    else:
        click.echo(f"{chain} is removed as far as its last entry, {retired.last}.")


def _retire(config: Config, chain: str, *, accept_broken: bool) -> RetiredChain:
    removed: list[Retired] = []

    async def work(store: Store) -> None:
        key = _seal_key(config)
        if key is None:
            raise click.ClickException("There is no key of the audit log's seals yet: start the server once.")
        await open_store(store, config)
        async with command_log(store, config) as log:
            retired = await retire_in_turn(
                store,
                log,
                chain,
                now=datetime.now(UTC),
                keep_days=config.privacy.audit_retention_days,
                key=key,
                own={head.server for head in known_heads(config.data_dir)},
                server=log.head.server,
                entry=lambda done: _entry(MANAGE_AUDIT.name, "audit retire", resource=chain, details=done.details()),
                accept_broken=accept_broken,
            )
        removed.append(retired)

    with_store(config, work, route=f"POST {RETIRE}")
    return shown_retired(removed[0])


async def open_store(store: Store, config: Config) -> None:
    """Connect, and bring the schema up to date. Raises a store error."""
    await store.open()
    await migrate(store, cluster=config.clickhouse.cluster)


async def record(
    store: Store,
    config: Config,
    action: str,
    command: str,
    *,
    site_id: str = "",
    resource: str = "",
    outcome: str = OK,
    rows: int | None = None,
    details: Mapping[str, str] | None = None,
    sites: SiteDetails | None = None,
) -> None:
    """Record what a command did, by the user of the machine who gave it. Raises `AuditUnavailable`, `OSError`.

    `sites`: those that it was about, where they may be several, each of which has an entry.
    """
    entry = _entry(action, command, site_id=site_id, resource=resource, outcome=outcome, rows=rows, details=details)
    of_sites = [
        msgspec.structs.replace(entry, site_id=site, details={**entry.details, **own})
        for site, own in (sites or {}).items()
    ]
    async with command_log(store, config) as log:
        await append_all(log, of_sites or [entry])


def _entry(
    action: str,
    command: str,
    *,
    site_id: str = "",
    resource: str = "",
    outcome: str = OK,
    rows: int | None = None,
    details: Mapping[str, str] | None = None,
) -> AuditEntry:
    return AuditEntry(
        action=action,
        operation=command,
        outcome=outcome,
        principal_kind="internal",
        principal_id="cli",
        principal_name=machine_user(),
        site_id=site_id,
        resource=resource,
        rows=rows,
        details=details or {},
    )


def machine_user() -> str:
    """Who gave a command: the name of the machine's user."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


@asynccontextmanager
async def command_log(store: Store, config: Config) -> AsyncIterator[AuditLog]:
    """The commands' chain, open, and closed to other commands meanwhile. Raises a store error, `OSError`."""
    folder = config.data_dir / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "commands.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        log = AuditLog(store, config.data_dir, COMMANDS_CHAIN)
        await log.open()
        try:
            yield log
        finally:
            await log.close()


def _seal_key(config: Config) -> SealKey | None:
    try:
        return SealKeyFile(config.data_dir).read()
    except ValueError as error:
        raise click.ClickException(f"{error}. Put back the file, or start the server: it makes a new key.") from error
    except OSError as error:
        raise click.ClickException(f"The key of the audit log's seals can't be read: {error}.") from error


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        with contextlib.suppress(OSError):
            sys.stderr.write(f"\r{done} of {total} entries checked{'' if done < total else chr(10)}")
            sys.stderr.flush()


def _line(chain: ChainReport) -> str:
    head = "" if chain.is_head_known else "; its newest entries can be checked on its own machine only"
    proof = "" if chain.is_seal_proven else " (by no key of this data directory)"
    sealed = f", sealed until {chain.sealed_until}{proof}" if chain.sealed_until else ""
    if chain.broken is None:
        return f"{chain.server}  {chain.entries} entries, {chain.first} to {chain.last}{sealed}{head}"
    broken = chain.broken
    what = " ".join(filter(None, (broken.at, broken.action)))
    which = f"entry {broken.sequence}{f' ({what})' if what else ''}"
    return f"{chain.server}  BROKEN at {which}: {broken.fault}. {broken.about}"
