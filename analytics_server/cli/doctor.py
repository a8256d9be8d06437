"""`analytics-server doctor`: examine, print, and the exit code."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Sequence

import click
import msgspec

from analytics_server.cli.audit import record
from analytics_server.cli.context import config_option, read_config, run_async
from analytics_server.config import Config
from analytics_server.doctor.examination import Examination, report_of
from analytics_server.doctor.report import Finding, Report
from analytics_server.doctor.show import ProgressLine, show
from analytics_server.errors import ConfigError
from analytics_server.store import Store

REPAIR = "repair"


@click.command()
@config_option
@click.option("--repair", is_flag=True, help="Mend what can be mended, and check that again.")
@click.option("--accept-loss", is_flag=True, help="With --repair: what is left of lost data is complete.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, for programs.")
def doctor(config_path: str | None, repair: bool, accept_loss: bool, as_json: bool) -> None:
    """Check log, tables, rollups, clock and disk; say what is wrong and what to do.

    \b
    Exit code: 0 all is well, 1 warnings, 2 errors.

    Every rollup is compared with a recomputation from the events, per day and
    site. Without --repair nothing is changed. With ClickHouse in process the
    tables can be looked at only while the server is stopped; the files always.
    """
    if accept_loss and not repair:
        raise click.UsageError("--accept-loss says how far --repair may go: give both.")
    examined = run_doctor(lambda: read_config(config_path), repair=repair, accept_loss=accept_loss, as_json=as_json)
    sys.exit(run_async(examined))


async def run_doctor(read_config: Callable[[], Config], *, repair: bool, accept_loss: bool, as_json: bool) -> int:
    """Check (and repair), print the report, and return the exit code: 0 all ok, 1 warnings, 2 errors."""
    logging.getLogger("analytics_server").addHandler(logging.NullHandler())  # the report says it all
    report = await _report(read_config, repair=repair, accept_loss=accept_loss)
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n")
    else:
        show(report, sys.stdout)
    sys.stdout.flush()
    return report.exit_code


async def _report(read_config: Callable[[], Config], *, repair: bool, accept_loss: bool) -> Report:
    try:
        config = read_config()
    except ConfigError as error:
        finding = Finding(check="config", status="error", message=error.message, remedy="Correct the configuration.")
        return report_of([finding], time.time())

    async def told(store: Store, repaired: Sequence[Finding]) -> None:
        details = {finding.check: finding.repaired for finding in repaired}
        await record(store, config, REPAIR, "doctor --repair", details={"accept_loss": str(accept_loss), **details})

    with ProgressLine(sys.stderr) as line:
        return await Examination(
            config,
            repair=repair,
            accept_loss=accept_loss,
            clock=time.time,
            advance=line.advance,
            on_repaired=told,
        ).run()
