"""One person with about one event in a hundred is erased from a filled data directory, beside a visitor.

How long it takes from the request to the certificate, how the server answers beacons meanwhile, its greatest memory,
and that all of the person's events are gone and no other. `--rows 100000000` is a million of a hundred million.
"""

from __future__ import annotations

import statistics
import time
import urllib.request
from pathlib import Path
from typing import Any

import msgspec

from analytics_server.config import Config, ServerSection
from analytics_server.store import make_store
from benchmarks.drain import Visitor
from benchmarks.million import SITE, fill
from benchmarks.process import TOKEN, Running, server
from benchmarks.report import Figure, Result, below, exactly
from benchmarks.settings import Settings
from benchmarks.worker import ask

MODULE = "benchmarks.erasure"
USERS = 5
"""One session in twenty has a user, so each of so many has one in a hundred."""

PERSON = "user-2"
"""Whose sessions have as many events as any user's: of the others some have fewer, since both follow one hash."""
MOST_S = 1_800.0
POLL_S = 0.5
MINUTES_S = 600.0


class FilledEvents(msgspec.Struct, frozen=True, kw_only=True):
    """What there is before: in all of the site, and of the person."""

    events: int
    of_person: int
    of_person_on_site: int


def run(settings: Settings) -> Result:
    """Fill, start, erase, count."""
    data_dir = settings.directory / "erasure"
    filled = ask(MODULE, data_dir, (settings.erasure_rows, settings.erasure_inserts), FilledEvents)
    with server(data_dir) as found:
        visitor = Visitor(found)
        visitor.start()
        began = time.perf_counter()
        certificate = _erase(found)
        seconds = time.perf_counter() - began
        visitor.stop()
        left = _count(found)
    removed = int(certificate["removed"].get("events", 0))
    figures = [
        Figure(
            name="erased after",
            value=seconds,
            unit="s",
            target=below(MINUTES_S),
            note=f"{removed:,} of {filled.events:,} events of the site and others",
        ),
        Figure(name="beacons meanwhile, p50", value=statistics.median(visitor.answers_ms or [0.0]), unit="ms"),
        Figure(name="beacons meanwhile, slowest", value=max(visitor.answers_ms, default=0.0), unit="ms"),
        Figure(name="beacons meanwhile: refused", value=visitor.refused, unit="", target=exactly(0)),
        Figure(name="peak resident memory", value=visitor.peak_mb, unit="MiB"),
        Figure(name="left of the person: lost", value=filled.of_person - removed, unit="events", target=exactly(0)),
        Figure(
            name="others: lost",
            value=filled.events - filled.of_person_on_site - left,
            unit="events",
            target=exactly(0),
        ),
    ]
    return Result(benchmark="erasure", figures=figures, details={"certificate": certificate, "filled": filled})


async def work(directory: Path, rows: int, inserts: int) -> FilledEvents:
    """In a process of its own: fill and count."""
    await fill(directory, rows, inserts, time.time(), users=USERS)
    store = make_store(Config(server=ServerSection(data_dir=str(directory))))
    await store.open()
    answer = await store.query(
        "SELECT countIf(site_id = {site:String}), countIf(user_id = {user:String}), "
        "countIf(site_id = {site:String} AND user_id = {user:String}) FROM events",
        {"site": SITE, "user": PERSON},
        timeout_s=600.0,
    )
    await store.close()
    events, of_person, on_site = (int(str(number)) for number in answer.rows[0])
    return FilledEvents(events=events, of_person=of_person, of_person_on_site=on_site)


def _erase(found: Running) -> dict[str, Any]:
    """Ask for it, and wait for the certificate."""
    view = _call(found, "POST", "/api/v1/privacy/erase", {"user_id": PERSON, "confirm": True})
    began = time.perf_counter()
    while view["state"] != "done":
        if time.perf_counter() - began > MOST_S:
            raise RuntimeError("The erasure did not end in time.")
        time.sleep(POLL_S)
        view = _call(found, "GET", f"/api/v1/privacy/erasures/{view['id']}", None)
    certificate: dict[str, Any] = view["certificate"]
    return certificate


def _count(found: Running) -> int:
    sql = {"site_id": SITE, "query": "SELECT count() AS n FROM events"}
    return int(_call(found, "POST", "/api/v1/sql", sql)["rows"][0][0])


def _call(found: Running, method: str, path: str, body: object) -> dict[str, Any]:
    request = urllib.request.Request(
        found.url + path,
        None if body is None else msgspec.json.encode(body),
        {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        decoded: dict[str, Any] = msgspec.json.decode(answer.read())
    return decoded
