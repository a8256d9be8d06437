"""`python -m benchmarks [NAME …]`: measure, print a table, write benchmarks/results/*.json."""

from __future__ import annotations

import importlib
import shutil
import tempfile
import time
from pathlib import Path

import click
import msgspec

from benchmarks import machine, report
from benchmarks.process import ToolMissing
from benchmarks.settings import Settings, quick

NAMES = (
    "beacons",
    "batches",
    "flush",
    "drain",
    "queries",
    "year",
    "erasure",
    "idle",
    "abuse",
    "steps",
    "audit",
    "access",
    "node",
    "files",
    "wire",
    "tracking",
)
RESULTS = Path(__file__).resolve().parent / "results"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, type=click.Choice(NAMES))
@click.option("--quick", "is_quick", is_flag=True, help="Tiny sizes: shows that it works, measures nothing.")
@click.option("--seconds", type=float, help="Length of a round of single beacons.")
@click.option("--rows", type=int, help="Rows for the queries and the erasure.")
@click.option("--events", type=int, help="Events of the backlog to drain.")
@click.option("--repeats", type=int, help="How often each query is asked.")
@click.option(
    "--data", type=click.Path(path_type=Path, exists=True), help="For queries or year: a directory filled before."
)
@click.option("--dir", "base", type=click.Path(path_type=Path), help="Where the data go. Default: benchmarks/results.")
def main(
    names: tuple[str, ...],
    is_quick: bool,
    seconds: float | None,
    rows: int | None,
    events: int | None,
    repeats: int | None,
    data: Path | None,
    base: Path | None,
) -> None:
    """Measure all that is named; all there is if nothing is."""
    place = base or RESULTS
    place.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="run-", dir=place))
    try:
        settings = quick(directory) if is_quick else Settings(directory=directory)
        if seconds is not None:
            settings = msgspec.structs.replace(settings, beacon_seconds=seconds)
        if rows is not None:
            settings = msgspec.structs.replace(settings, query_rows=rows, erasure_rows=rows)
        if events is not None:
            settings = msgspec.structs.replace(settings, drain_events=events)
        if repeats is not None:
            settings = msgspec.structs.replace(settings, query_repeats=repeats)
        if data is not None:
            settings = msgspec.structs.replace(settings, query_data=data, year_data=data)
        _measure(names or NAMES, settings, is_quick=is_quick)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _measure(names: tuple[str, ...], settings: Settings, *, is_quick: bool) -> None:
    found = machine.describe(settings.directory)
    click.echo(
        f"{found.processor}, {found.cores} cores, {found.memory_gb} GiB, {found.system}, Python {found.python}, "
        f"load {found.load_average[0]}, fdatasync {found.fdatasync_ms} ms"
    )
    results = []
    for name in names:
        click.echo(f"{name} …", err=True)
        started = time.perf_counter()
        try:
            result = importlib.import_module(f"benchmarks.{name}").run(settings)
        except ToolMissing as missing:
            click.secho(f"{name}: left out. {missing}", fg="yellow", err=True)
            continue
        result = msgspec.structs.replace(result, seconds=round(time.perf_counter() - started, 1))
        click.echo("\n" + report.table([result]))
        results.append(result)
    path = report.save(report.Report(at=report.now_text(), quick=is_quick, machine=found, results=results), RESULTS)
    click.echo(f"\nWritten to {path}")


if __name__ == "__main__":
    main()
