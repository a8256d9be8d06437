"""`analytics-server dead-letters`: what ClickHouse would not take, listed, exported, put back.

Putting back goes through the log and the flusher like any other batch, so it is exactly once;
it needs the log's lock, and therefore that no server runs on the same directory.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
from prometheus_client import CollectorRegistry

from analytics_server.cli.audit import record
from analytics_server.cli.context import config_option, json_anyway, read_config, run_async
from analytics_server.config import Config
from analytics_server.errors import AnalyticsError
from analytics_server.ingest.flush import dead_letters
from analytics_server.ingest.flush.dead_letters import ABOUT, DeadLetterError, Found
from analytics_server.ingest.flush.flusher import Flusher
from analytics_server.ingest.metrics import IngestMetrics
from analytics_server.ingest.wal.log import Wal
from analytics_server.ingest.wal.recovery import recover
from analytics_server.ingest.wal.segment import SUFFIX
from analytics_server.store import make_store, migrate

RETRY = "retry_dead_letters"

Run = Callable[[Awaitable[bool]], bool]
Decorator = Callable[[Any], Any]


def commands(load: Callable[[str | None], Config], run: Run, config_option: Decorator) -> click.Group:
    """The group of commands; how a config is found and a coroutine run is the caller's."""

    @click.group("dead-letters")
    def group() -> None:
        """List, export and put back what ClickHouse refused.

        A dead letter holds the rows of one batch that could not be stored, or a
        whole segment of the log that had to be set aside, and says why.
        """

    @group.command("list")
    @config_option
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON array, for programs.")
    def list_letters(config_path: str | None, as_json: bool) -> None:
        """List the dead letters: how many events each holds, and why."""
        found = dead_letters.read_all(directory(load(config_path)))
        click.echo(as_document(found) if as_json else as_table(found))

    @group.command("export")
    @config_option
    @click.argument("names", nargs=-1)
    @click.option("--all", "every", is_flag=True, help="All letters.")
    @click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="A file; default: standard output.")
    @json_anyway
    def export(config_path: str | None, names: tuple[str, ...], every: bool, output: Path | None) -> None:
        """Write the rows of letters as NDJSON, one object a line.

        The letters stay as they are. NAMES are those of `dead-letters list`; the
        beginning of a name is enough if it is clear.
        """
        chosen = choose(dead_letters.read_all(directory(load(config_path))), names, every=every)
        with click.open_file(str(output) if output else "-", "wb") as file:
            for found in chosen:
                for row in dead_letters.rows_of(found):
                    file.write(msgspec.json.encode(row) + b"\n")

    @group.command("retry")
    @config_option
    @click.argument("names", nargs=-1)
    @click.option("--all", "every", is_flag=True, help="All letters that can be put back.")
    @click.option(
        "--timeout",
        "timeout_s",
        type=click.FloatRange(min=1),
        default=300.0,
        show_default=True,
        help="Seconds to wait.",
    )
    def retry_letters(config_path: str | None, names: tuple[str, ...], every: bool, timeout_s: float) -> None:
        """Put letters back and deliver them, each event exactly once.

        \b
        Exit code: 0 all is in ClickHouse, 1 something is not.

        The server on this data directory must be stopped. The events go through
        the log: what is not delivered in time stays there for the next start.
        What is refused again becomes a letter again.
        """
        config = load(config_path)
        chosen = choose(dead_letters.read_all(directory(config)), names, every=every)
        if not run(retry(config, chosen, every=every, timeout_s=timeout_s)):
            sys.exit(1)

    return group


def directory(config: Config) -> Path:
    """Where the letters lie."""
    return config.data_dir / "dead-letters"


def choose(found: Sequence[Found], names: Sequence[str], *, every: bool) -> list[Found]:
    """The letters that were named. Raises `click.UsageError`."""
    if every:
        return list(found)
    if not names:
        raise click.UsageError("Name at least one letter (see `analytics-server dead-letters list`), or give --all.")
    chosen: dict[str, Found] = {}
    for name in names:
        matching = [letter for letter in found if letter.name.startswith(name)]
        if len(matching) != 1:
            what = "There is no letter" if not matching else f"{len(matching)} letters begin with"
            raise click.UsageError(f"{what} {name}: see `analytics-server dead-letters list`.")
        chosen[matching[0].name] = matching[0]
    return list(chosen.values())


def as_table(found: Sequence[Found]) -> str:
    """One line a letter, and why in words."""
    if not found:
        return "There are no dead letters."
    rows = [("NAME", "WRITTEN", "EVENTS", "OF", "WHY")]
    rows += [
        (one.name, one.letter.written_at, str(one.letter.events), str(one.letter.batch_events), _why(one))
        for one in found
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join((row[0].ljust(widths[0]), row[1].ljust(widths[1]), row[2].rjust(widths[2]), row[3].rjust(widths[3])))
        + f"  {row[4]}"
        for row in rows
    ]
    total = sum(one.letter.events for one in found)
    return "\n".join([*lines, f"{total} events are not stored."])


def _why(found: Found) -> str:
    letter = found.letter
    causes = {f"{cause.error}{f' {cause.engine_code}' if cause.engine_code else ''}" for cause in letter.causes}
    return ABOUT[letter.reason] + (f" ({', '.join(sorted(causes))})" if causes else "")


def as_document(found: Sequence[Found]) -> str:
    """The same for programs: batch ids as text, because they are longer than what JavaScript can count."""
    shown = [
        {
            "name": one.name,
            "batch_id": str(one.letter.batch_id),
            "kind": one.letter.kind,
            "reason": one.letter.reason,
            "events": one.letter.events,
            "batch_events": one.letter.batch_events,
            "written_at": one.letter.written_at,
            "causes": one.letter.causes,
            "file": str(one.path),
            "bytes": one.bytes,
        }
        for one in found
    ]
    return msgspec.json.format(msgspec.json.encode(shown), indent=2).decode()


async def retry(config: Config, chosen: Sequence[Found], *, every: bool, timeout_s: float) -> bool:
    """Put letters back into the log and deliver it; is everything in ClickHouse? `every`: what can't be is left."""
    if not chosen:
        click.echo("There are no dead letters.")
        return True
    metrics = IngestMetrics(CollectorRegistry())
    wal = Wal(config.wal_dir, config.ingest, metrics, on_sealed=lambda _: None, on_broken=lambda _: None)
    wal.open()  # its lock keeps servers out, and tells whether one is running
    try:
        store = make_store(config)
        try:
            await store.open()
            await migrate(store, cluster=config.clickhouse.cluster)
            # Before it begins: what is put back is in ClickHouse even where this is killed.
            events = sum(one.letter.events for one in chosen)
            details = {"letters": " ".join(one.name for one in chosen)}
            await record(store, config, RETRY, "dead-letters retry", rows=events, details=details)
            good = True
            # A whole segment first: the rows refused of the same batch mean what they mean while it is not delivered.
            for kind in ("segment", "rows"):
                moved, left = _put_back([one for one in chosen if one.letter.kind == kind], config, every=every)
                good = good and not left
                if moved or any(config.wal_dir.glob(f"*{SUFFIX}")):
                    flusher = Flusher(
                        store,
                        config.ingest,
                        metrics,
                        directory(config),
                        insert_timeout_s=config.clickhouse.insert_timeout_s,
                        cluster=config.clickhouse.cluster,
                        jitter=random.Random(),
                    )
                    good = await _deliver(flusher, wal, config, metrics, timeout_s) and good
            return good
        finally:
            await store.close()
    finally:
        await wal.close()


def _put_back(letters: Sequence[Found], config: Config, *, every: bool) -> tuple[int, int]:
    """How many letters are in the log now, and how many could not be put there."""
    moved = left = 0
    for found in letters:
        try:
            dead_letters.put_back(found, config.wal_dir)
        except DeadLetterError as error:
            if not every:
                raise
            click.secho(error.message, fg="yellow", err=True)
            left += 1
        else:
            click.echo(f"{found.name}  put back, {found.letter.events} events")
            moved += 1
    return moved, left


async def _deliver(flusher: Flusher, wal: Wal, config: Config, metrics: IngestMetrics, timeout_s: float) -> bool:
    before = set(directory(config).glob("*"))
    flusher.start(wal, recover(config.wal_dir, metrics))
    drained = await flusher.drain(timeout_s)
    await flusher.close()
    again = [one for one in dead_letters.read_all(directory(config)) if one.path not in before]
    for one in again:
        click.secho(f"{one.name}  refused again, {one.letter.events} events: {_why(one)}", fg="yellow", err=True)
    if not drained:
        raise AnalyticsError(
            f"Not everything was delivered within {timeout_s:.0f} s: "
            "the rest is in the log, and the next start sends it."
        )
    if not again:
        click.echo("Everything is in ClickHouse.")
    return not again


letters = commands(read_config, run_async, config_option)
