"""Makes a data directory to keep: `python -m tests.upgrade.make NAME [CODE]`.

CODE is a check-out of the version that shall write the data (default: this one), whose server and commands run in it.
The archive is written to `tests/upgrade/data-NAME.tar.xz`; from then on the test starts every later version on it.

The directory holds a week of made-up traffic with fixed days, tokens of every role, two sites, all kinds of saved
things, a dead letter, and a write-ahead log with events that were acknowledged and never flushed, recent and historic.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import clickhouse_connect
import msgspec

from tests.server import ADMIN_TOKEN, Client, RunningServer, wait_for
from tests.upgrade.kept import ANSWERS, DATA, Kept, ask
from tests.upgrade.questions import DEMO, IMPORTED, LAST_DAY, SAVED, SHOP, WEEK, questions

PAST = {"collect_max_past_s": "604800"}
"""A browser's event may be some days old, so that all that is sent lies on days that are over."""

OFTEN = {"ingest_flush_interval_ms": "100", **PAST}
NEVER = {"ingest_flush_interval_ms": "3600000", **PAST}
"""What arrives stays in the log."""

BUILT_S = 240.0
SYSTEM_LOGS = "SELECT name FROM system.tables WHERE database = 'system' AND endsWith(name, '_log')"


def main() -> None:
    """Write the archive, and say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("code", nargs="?", default=".", type=Path)
    options = parser.parse_args()
    target = Path(__file__).with_name(f"data-{options.name}.tar.xz")
    os.chdir(options.code)  # the processes find the package there
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_make(Path(directory), target))
    print(f"{target}: {target.stat().st_size:,} bytes")


async def _make(directory: Path, target: Path) -> None:
    sent_on = datetime.now(UTC).date() - timedelta(days=2)
    place = directory / "place"
    tokens = {"admin": ADMIN_TOKEN, **_prepare(RunningServer(place))}
    server = RunningServer(place, OFTEN).start()
    async with Client(server) as client:
        await _save(client)
        await _send(client, sent_on, "first")
        await client.flushed()
        await _built(client)
    assert server.terminate() == 0
    await _leave_dead_letter(place, sent_on)
    await _leave_backlog(place, sent_on)
    _strip(place / "data")
    shutil.copytree(place / "data", directory / "copy" / "data", symlinks=True)
    kept = await _record(directory / "copy", tokens, sent_on)
    with tarfile.open(target, "w:xz", preset=9) as archive:
        archive.add(place / "data", DATA)
        answers = directory / ANSWERS
        answers.write_bytes(msgspec.json.format(msgspec.json.encode(kept), indent=1))
        archive.add(answers, ANSWERS)


def _prepare(server: RunningServer) -> dict[str, str]:
    """What the commands make: sites, tokens (the answer, by name) and the made-up traffic."""
    _command(server, "site", "create", SHOP, "--timezone", "Europe/Berlin")
    traffic = ("--days", "7", "--sessions", "300", "--end", LAST_DAY, "--timezone", "Europe/Stockholm")
    _command(server, "demo", "--site", DEMO, *traffic)
    wanted = {
        "read": ("--role", "read"),
        "shop": ("--role", "read", "--site", SHOP),
        "collect": ("--role", "collect", "--site", SHOP),
        "manage": ("--role", "admin", "--site", DEMO),
    }
    return {
        name: _command(server, "token", "create", "--name", name, *options).strip() for name, options in wanted.items()
    }


def _command(server: RunningServer, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "analytics_server", *arguments],
        env=server.environment(),
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


async def _save(client: Client) -> None:
    for path, body in SAVED:
        reply = await client.call("POST", path, body)
        assert reply.status == 201, (path, reply.body)
    changed = await client.call("PUT", f"/api/v1/sites/{SHOP}", {"allowed_hosts": [SHOP]})
    assert changed.status == 200, changed.body


async def _send(client: Client, sent_on: date, name: str) -> None:
    """Events of the shop: imported ones of a past year, and recent ones of a server and of a browser."""
    for day, kind in ((date.fromisoformat(IMPORTED), "old"), (sent_on, "new")):
        events = [_event(day, hour, f"{name}-{kind}-{number}") for number in range(4) for hour in range(8, 12)]
        reply = await client.send(events, trusted=True)
        assert reply.json["accepted"] == len(events), reply.body
    from_browser = {
        "site": SHOP,
        "name": "pageview",
        "url": f"https://{SHOP}/{name}?utm_source=letter&utm_campaign={name}",
        "referrer": "https://www.bing.com/",
        "timestamp": _moment(sent_on, 20, 30),
    }
    reply = await client.send(from_browser)
    assert reply.json["accepted"] == 1, reply.body


def _event(day: date, hour: int, session: str) -> dict[str, object]:
    bought = hour == 11
    return {
        "site": SHOP,
        "name": ("pageview", "add_to_basket", "pageview", "purchase")[hour - 8],
        "url": f"https://{SHOP}/shop/{session}?utm_source=ad&utm_campaign={session[:5]}",
        "session_id": session,
        "user_id": f"user-{session}",
        "timestamp": _moment(day, hour, 15),
        "ip": "192.0.2.7",
        "props": {"plan": session[-1], "basket": hour},
        **({"revenue": {"amount": "19.90", "currency": "EUR"}} if bought else {}),
    }


def _moment(day: date, hour: int, minute: int) -> str:
    return datetime.combine(day, time(hour, minute), UTC).isoformat()


async def _built(client: Client) -> None:
    """Until the totals of the days and the saved funnel's table are there."""
    figures = {"site_id": DEMO, "metrics": ["pageviews"], "date_range": WEEK}
    funnel = {"site_id": DEMO, "date_range": WEEK, "funnel": "To sign up"}

    async def tables() -> bool:
        totals = await client.call("POST", "/api/v1/query", figures)
        steps = await client.call("POST", "/api/v1/funnels", funnel)
        assert (totals.status, steps.status) == (200, 200), (totals.body, steps.body)
        found = totals.json["meta"]["table"], steps.json["meta"]["table"]
        return bool(found[0] == "day_totals" and found[1] != "events")

    await wait_for(tables, BUILT_S, "day totals and the table of the saved funnel")


async def _leave_dead_letter(place: Path, sent_on: date) -> None:
    """A segment of the log, set aside as a server does after delivering it failed too often."""
    server = RunningServer(place, NEVER).start()
    async with Client(server) as client:
        reply = await client.send([_event(sent_on, 9, f"letter-{number}") for number in range(3)], trusted=True)
        assert reply.json["accepted"] == 3
    server.kill()
    (segment,) = (server.data_dir / "wal").glob("*.wal")
    letters = server.data_dir / "dead-letters"
    letters.mkdir(exist_ok=True)
    segment.rename(letters / segment.name)
    note = {
        "batch_id": int(segment.stem),
        "kind": "segment",
        "reason": "failed",
        "file": segment.name,
        "events": 3,
        "batch_events": 3,
        "written_at": _moment(sent_on, 12, 0),
        "causes": [{"error": "StoreFatal", "engine_code": 469, "detail": "constraint"}],
    }
    (letters / f"{segment.stem}.json").write_bytes(msgspec.json.encode(note))


async def _leave_backlog(place: Path, sent_on: date) -> None:
    server = RunningServer(place, NEVER).start()
    async with Client(server) as client:
        await _send(client, sent_on, "later")
    server.kill()
    assert len(list((server.data_dir / "wal").glob("*.wal"))) == 2  # historic events have a segment of their own


def _strip(data: Path) -> None:
    """Without ClickHouse's logs about itself, and what only a running server needs."""
    client = clickhouse_connect.get_client(dsn=f"chdb://{data / 'clickhouse'}", database="analytics")
    for (name,) in client.query(SYSTEM_LOGS).result_rows:
        client.command(f"DROP TABLE system.`{name}` SYNC")
    client.close()


async def _record(place: Path, tokens: dict[str, str], sent_on: date) -> Kept:
    """The answers of the same version, after it has delivered the backlog."""
    server = RunningServer(place, OFTEN).start()
    async with Client(server) as client:
        await client.flushed()
        answers = [await ask(client, tokens, question) for question in questions(sent_on)]
    assert server.terminate() == 0
    exported = _command(server, "dead-letters", "export", "--all")
    version = _command(server, "--version").split()[-1]
    return Kept(
        version=version,
        commit=_commit(),
        tokens=tokens,
        answers=answers,
        dead_letters=[msgspec.json.decode(line) for line in exported.splitlines()],
    )


def _commit() -> str:
    return subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, check=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
