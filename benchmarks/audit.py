"""The audit log: what an entry costs on the way of an answer, how fast entries are written, how long a check takes.

A chain is written by the log itself into ClickHouse in process, then every entry of it is checked.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, cast

from analytics_server.audit.chain import SERVER_CHAIN, known_heads
from analytics_server.audit.log import MOST_IN_BATCH, AuditLog
from analytics_server.audit.verify import verify
from analytics_server.config import Config, ServerSection
from analytics_server.http.audit import OK, AuditTrail
from analytics_server.store import make_store, migrate
from benchmarks.report import Figure, Result, below
from benchmarks.settings import Settings

MOST_VERIFY_S = 60.0
MOST_ENTRY_US = 100.0
BODY = b'{"site_id":"example.com","metrics":["visitors"],"date_range":"30d","dimensions":["visit:source"]}'


class TokenPrincipal:
    """The principal of a token."""

    kind = "token"
    id = "0123456789ab"
    name = "Dashboard"


def run(settings: Settings) -> Result:
    """Write, then check."""
    return asyncio.run(_run(settings.directory / "audit", settings.audit_entries))


async def _run(directory: Path, entries: int) -> Result:
    store = make_store(Config(server=ServerSection(data_dir=str(directory))))
    await store.open()
    try:
        await migrate(store)
        log = AuditLog(store, directory, SERVER_CHAIN)
        await log.open()
        noting_s, began = 0.0, time.perf_counter()
        for start in range(0, entries, MOST_IN_BATCH):
            noting_s += _note(log, min(MOST_IN_BATCH, entries - start))
            await log.write()
        written_s, began, cpu_began = time.perf_counter() - began, time.perf_counter(), time.process_time()
        report = await verify(store, known_heads(directory))
        verify_s, verify_cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
    finally:
        await store.close()
    if not report.ok or report.entries != entries:
        raise RuntimeError(f"{entries} entries were written: {report}")
    return Result(
        benchmark="audit",
        figures=[
            Figure(
                name="an entry on the way of an answer",
                value=noting_s / entries * 1e6,
                unit="µs",
                target=below(MOST_ENTRY_US),
            ),
            Figure(name="entries written, in batches", value=entries / written_s, unit="/s"),
            Figure(name=f"{entries:,} entries checked", value=verify_s, unit="s", target=below(MOST_VERIFY_S)),
            Figure(name="the same, processor time", value=verify_cpu_s, unit="s"),
        ],
    )


def _note(log: AuditLog, entries: int) -> float:
    """What a question's handler does for its entry, so many times; returns seconds."""
    began = time.perf_counter()
    for number in range(entries):
        trail = AuditTrail()
        trail.caller, trail.asked, trail.site_id, trail.rows = cast(Any, TokenPrincipal), BODY, "example.com", number
        log.note(trail.entry("query_site", "query", OK))
    return time.perf_counter() - began
